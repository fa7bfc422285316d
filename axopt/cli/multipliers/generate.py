"""``axopt multipliers generate``: each family is a sub-command, its parameters are flags."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.cli.arguments import Parser, add_common, figure, path, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.destination import prepare_library
from axopt.cli.multipliers.figures import figures_of
from axopt.errors import ArgumentError, CircuitError

if TYPE_CHECKING:
    from axopt.circuits import Family
    from axopt.circuits.families import Parameter

MAX_SWEEP = 256


def add_arguments(parser: Parser) -> None:
    """Add the options of this action; those of the families when they are needed."""
    parser.add_argument("--list", action="store_true", help="print all families and parameters")
    parser.later_arguments = _add_families


def run(options: argparse.Namespace) -> int:
    """Add the multipliers of all combinations of parameters to a library."""
    from axopt.circuits import FAMILIES, generate, multiplier_of
    from axopt.circuits.multipliers import add_circuit_to_library

    if options.list:
        return _list(options)
    if options.family is None:
        raise ArgumentError(f"a family must be named: {', '.join(FAMILIES.names())}; or --list.")
    family = FAMILIES[options.family]
    combinations = list(_combinations(family, options))
    if options.name is not None and len(combinations) > 1:
        raise ArgumentError(f"--name must be of one multiplier, these are {len(combinations)}.")
    figures = {
        name: value
        for name in ("power_mw", "area_um2", "delay_ns")
        if (value := getattr(options, name)) is not None
    }
    made = []
    for values in combinations:
        netlist = generate(family.name, **values)
        name = options.name or family.name_of(values)
        multiplier = multiplier_of(
            netlist,
            name,
            release=options.release,
            figures=figures,
            source=f"generated: {family.describe(values)}",
        )
        made.append((multiplier, netlist))
    directory = Path(options.to)
    prepare_library(directory, [multiplier for multiplier, _ in made])
    for multiplier, netlist in made:
        add_circuit_to_library(multiplier, netlist, directory)
    lines = [
        f"{m.key} ({'signed' if m.signed else 'unsigned'}, MAE {m.metrics.mae:.4g},"
        f" {m.power_mw:.3g} mW{' estimated' if 'power_mw' in m.intervals else ''})"
        for m, _ in made
    ]
    lines.append(f"in {directory}; search it with --library {directory}")
    result = {"library": str(directory), "multipliers": [figures_of(m) for m, _ in made]}
    print_result(options, result, "\n".join(lines))
    return 0


def _list(options: argparse.Namespace) -> int:
    from axopt.circuits import FAMILIES

    families = [FAMILIES[name] for name in FAMILIES.names()]
    lines = []
    for family in families:
        lines.append(f"{family.name}: {family.title} ({family.article})")
        lines += [f"    {_flag(p):18} {_help(p)}" for p in family.parameters]
    result = [
        {
            "family": family.name,
            "title": family.title,
            "article": family.article,
            "parameters": {p.name: f"{p.help}: {p.rule}" for p in family.parameters},
        }
        for family in families
    ]
    print_result(options, result, "\n".join(lines))
    return 0


def _add_families(parser: Parser) -> None:
    from axopt.circuits import FAMILIES

    families = parser.add_subparsers(dest="family", metavar="<family>")
    for name in FAMILIES.names():
        added = families.add_parser(name)
        added.later_arguments = _adder(name)
    parser.epilog = f"Families: {', '.join(FAMILIES.names())}."


def _adder(name: str) -> Callable[[Parser], None]:
    def add(parser: Parser) -> None:
        from axopt.circuits import FAMILIES

        family = FAMILIES[name]
        parser.description = f"{family.title.capitalize()} ({family.article})."
        group = parser.add_argument_group("parameters")
        for parameter in family.parameters:
            _add_parameter(group, parameter)
        _add_destination(parser)
        add_common(parser, default=argparse.SUPPRESS)  # the words before the family may set them

    return add


def _add_parameter(group: Any, parameter: Parameter) -> None:
    from axopt.circuits.families import Flag

    settings: dict[str, Any] = {"dest": _dest(parameter), "help": _help(parameter)}
    if isinstance(parameter, Flag):
        settings |= {"action": "store_const", "const": [True], "default": [False]}
    else:
        settings |= {"type": _values(parameter), "metavar": parameter.metavar}
        settings |= {"required": parameter.is_required}
    group.add_argument(_flag(parameter), **settings)


def _add_destination(parser: Parser) -> None:
    parser.add_argument("--name", type=word, help="name (default: one that tells the parameters)")
    parser.add_argument(
        "--release", type=word, default="user", help="release that it belongs to (default: user)"
    )
    for name, unit, metavar in (
        ("power_mw", "mW", "MW"),
        ("area_um2", "um2", "UM2"),
        ("delay_ns", "ns", "NS"),
    ):
        flag = f"--{name.split('_')[0]}"
        said = f"{flag[2:]} in {unit} (default: an estimate from the gates)"
        parser.add_argument(flag, dest=name, type=figure, metavar=metavar, help=said)
    parser.add_argument(
        "--to",
        type=path,
        metavar="DIR",
        required=True,
        help="the library; a new one gets the bundled multipliers too",
    )


def _values(parameter: Parameter) -> Callable[[str], list[Any]]:
    """Return the argument type: one value or, of integers, several: ``3-6``, ``2,4``."""
    from axopt.circuits.families import Integer

    def convert(text: str) -> list[Any]:
        texts = [text]
        if isinstance(parameter, Integer):
            texts = [part for listed in text.split(",") for part in _range(listed)]
        try:
            return [parameter.parsed(one) for one in texts]
        except CircuitError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def _range(text: str) -> list[str]:
    ends = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", text)
    if not ends or int(ends[1]) > int(ends[2]):
        return [text]
    return [str(value) for value in range(int(ends[1]), int(ends[2]) + 1)]


def _combinations(family: Family, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the parameters of each multiplier that is asked for."""
    given = {p.name: getattr(options, _dest(p)) for p in family.parameters}
    given = {name: values for name, values in given.items() if values is not None}
    count = 1
    for values in given.values():
        count *= len(values)
    if count > MAX_SWEEP:
        raise ArgumentError(
            f"the parameters must give at most {MAX_SWEEP} multipliers, not {count}."
        )
    for values in itertools.product(*given.values()):
        yield dict(zip(given, values, strict=True))


def _flag(parameter: Parameter) -> str:
    return f"--{parameter.name.replace('_', '-')}"


def _dest(parameter: Parameter) -> str:
    return f"parameter_{parameter.name}"


def _help(parameter: Parameter) -> str:
    from axopt.circuits.families import Flag, OneOf

    text = parameter.help
    if isinstance(parameter, OneOf):
        text += f": {', '.join(parameter.choices)}"
    if parameter.is_required:
        return f"{text} (required)"
    return text if isinstance(parameter, Flag) else f"{text} (default: {parameter.default})"

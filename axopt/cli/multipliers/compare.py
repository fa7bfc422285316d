"""``axopt multipliers compare``."""

from __future__ import annotations

import argparse
import fnmatch
from typing import TYPE_CHECKING

from axopt.cli.arguments import add_library, path, word
from axopt.cli.console import as_table, print_result
from axopt.cli.multipliers.figures import MARK, figures_of
from axopt.cli.multipliers.list_ import LISTED, row_of
from axopt.cli.multipliers.options import library_of
from axopt.errors import UnknownMultiplierError

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier, MultiplierLibrary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this action."""
    parser.add_argument(
        "names",
        nargs="+",
        type=word,
        metavar="name",
        help="mul8s_1L2H or v2022/mul8s_1L2J; * and ? stand for any characters: 'v1/mul8s_*'",
    )
    parser.add_argument(
        "--metric",
        choices=("mae", "wce", "mre", "wcre", "ep", "mse"),
        default="mae",
        help="the error that is drawn and sorts the rows (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=path,
        metavar="FILE",
        help="draw power against error: a .png, .pdf or .svg file",
    )
    add_library(parser)


def run(options: argparse.Namespace) -> int:
    """Print the multipliers by their error, and draw them."""
    from axopt.multipliers import compare_picture

    found = _named(library_of(options), options.names)
    chosen = sorted(found, key=lambda m: (getattr(m.metrics, options.metric), m.power_mw))
    if options.plot is not None:
        compare_picture(chosen, options.plot, metric=options.metric)
    text = as_table(LISTED, [row_of(multiplier) for multiplier in chosen])
    if any(multiplier.is_estimated for multiplier in chosen):
        text += f"\n{MARK} estimated, not published"
    if options.plot is not None:
        text += f"\nthe picture is {options.plot}"
    print_result(options, [figures_of(multiplier) for multiplier in chosen], text)
    return 0


def _named(library: MultiplierLibrary, names: list[str]) -> list[Multiplier]:
    """Return the multipliers of names and patterns, each once.

    Raises:
        UnknownMultiplierError: If a name is unknown or nothing matches a pattern.
    """
    chosen: dict[str, Multiplier] = {}
    for name in names:
        if not set(name) & set("*?["):
            multiplier = library[name]
            chosen[multiplier.key] = multiplier
            continue
        keys = [
            key
            for key in library
            if fnmatch.fnmatchcase(key if "/" in name else key.partition("/")[2], name)
        ]
        if not keys:
            raise UnknownMultiplierError(
                f"no multiplier of the library of {len(library)} matches {name!r}."
            )
        chosen |= {key: library[key] for key in keys}
    return list(chosen.values())

"""Verilog: a folder with the modules that an assignment uses, and a table of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from axopt.errors import AssignmentError, CircuitError, MissingPackageError
from axopt.export.exporter import ExportInput, register_exporter
from axopt.files import write_text_atomically
from axopt.report import csv_text

if TYPE_CHECKING:
    from axopt.circuits import Netlist
    from axopt.multipliers import Multiplier

LAYERS_FILE = "layers.csv"
MULTIPLIERS_FILE = "multipliers.csv"
ASSIGNMENT_FILE = "assignment.json"
README_FILE = "README.md"

_LAYER_COLUMNS = (
    "layer",
    "kind",
    "multiplications",
    "module",
    "file",
    "a",
    "b",
    "bits_a",
    "bits_b",
    "signed",
    "parameters",
)
_MULTIPLIER_COLUMNS = (
    "module",
    "multiplier",
    "digest",
    "layers",
    "signed",
    "bits_a",
    "bits_b",
    "gates",
    "power_mw",
    "area_um2",
    "delay_ns",
    "estimated",
    "checked_by",
)


@register_exporter(
    "verilog",
    summary="a folder with a module per multiplier, checked, and a table of layers",
    writes_folder=True,
)
def write_folder(given: ExportInput, folder: Path) -> None:
    """Write ``MODULE.v``, the tables of layers and multipliers, the assignment and a README.

    Raises:
        AssignmentError: If the library lacks a multiplier of the assignment or has another table
            under its name.
        CircuitError: If a multiplier has no gate list, or a module gives other products.
        OSError: If a file cannot be written.
    """
    used = dict(_used(given))
    modules = _module_names({key: netlist for key, (_, netlist) in used.items()})
    methods = {
        key: _write_module(folder / f"{modules[key]}.v", multiplier, netlist, modules[key])
        for key, (multiplier, netlist) in used.items()
    }
    multipliers = {key: multiplier for key, (multiplier, _) in used.items()}
    layers = csv_text(_LAYER_COLUMNS, list(_layer_rows(given, modules, multipliers)))
    write_text_atomically(folder / LAYERS_FILE, layers)
    rows = [_multiplier_row(given, modules[key], *used[key], methods[key]) for key in sorted(used)]
    write_text_atomically(folder / MULTIPLIERS_FILE, csv_text(_MULTIPLIER_COLUMNS, rows))
    write_text_atomically(folder / ASSIGNMENT_FILE, given.assignment.to_json())
    write_text_atomically(folder / README_FILE, _readme(given, list(methods.values())))


def _used(given: ExportInput) -> Iterator[tuple[str, tuple[Multiplier, Netlist]]]:
    """Yield the multipliers of the assignment by their keys, with their gate lists."""
    from axopt.circuits import gates_of
    from axopt.multipliers import load_library

    directory = given.library
    if directory is None and isinstance(given.assignment.model.get("library"), str):
        directory = Path(given.assignment.model["library"])
    library = load_library(directory, narrow=True)
    seen = set()
    for name, layer in given.assignment.layers.items():
        if layer.multiplier in seen:
            continue
        seen.add(layer.multiplier)
        if layer.multiplier not in library:
            raise AssignmentError(
                f"layer {name!r} uses {layer.multiplier}, which is not in the library of"
                f" {len(library)} multipliers; say which library: --library DIR."
            )
        multiplier = library[layer.multiplier]
        if multiplier.digest != layer.digest:
            raise AssignmentError(
                f"layer {name!r} uses {layer.multiplier} with the table {layer.digest[:16]}...,"
                f" the library has another one, {multiplier.digest[:16]}..."
            )
        netlist = gates_of(multiplier, directory)
        if netlist is None:
            raise CircuitError(
                f"layer {name!r} uses {layer.multiplier}, which has a table but no gate list, from"
                " which Verilog is written; multipliers that were imported from Verilog, BLIF or"
                " C, or generated, have one."
            )
        yield layer.multiplier, (multiplier, netlist)


def _module_names(netlists: Mapping[str, Netlist]) -> dict[str, str]:
    """Return a name for each multiplier; none differ in upper and lower case only."""
    from axopt.circuits import module_name

    names: dict[str, str] = {}
    taken: set[str] = set()
    for key, netlist in netlists.items():
        release, _, name = key.partition("/")
        candidates = [module_name(name, netlist), module_name(f"{name}_{release}", netlist)]
        number = 2
        while candidates[0].lower() in taken:
            candidates.append(f"{candidates[1]}_{number}")
            number += 1
            candidates.pop(0)
        names[key] = candidates[0]
        taken.add(candidates[0].lower())
    return names


def _write_module(file: Path, multiplier: Multiplier, netlist: Netlist, name: str) -> str:
    """Write a module and compare it with the table; return what did, or "" if nothing could."""
    from axopt.circuits import check_export, write_netlist

    write_netlist(netlist, file, name=name, multiplier=multiplier)
    try:
        return check_export(file, multiplier, quick=True)
    except MissingPackageError:
        return ""


def _layer_rows(
    given: ExportInput, modules: Mapping[str, str], multipliers: Mapping[str, Multiplier]
) -> Iterator[tuple[object, ...]]:
    known = {layer.name: layer for layer in given.layers}
    order = [name for name in known if name in given.assignment.layers]
    order += [name for name in given.assignment.layers if name not in known]
    for name in order:
        layer = given.assignment.layers[name]
        multiplier, module = multipliers[layer.multiplier], modules[layer.multiplier]
        described = known.get(name)
        a, b = ("weight", "activation") if layer.swap else ("activation", "weight")
        pointer = name.replace("~", "~0").replace("/", "~1")
        has_formats = name in given.assignment.quantisation
        yield (
            name,
            None if described is None else described.kind,
            None if described is None else described.macs,
            module,
            f"{module}.v",
            a,
            b,
            multiplier.bits_a,
            multiplier.bits_w,
            multiplier.signed,
            f"{ASSIGNMENT_FILE}#/quantisation/{pointer}" if has_formats else None,
        )


def _multiplier_row(
    given: ExportInput, module: str, multiplier: Multiplier, netlist: Netlist, method: str
) -> tuple[object, ...]:
    layers = given.assignment.layers.values()
    return (
        module,
        multiplier.key,
        multiplier.digest,
        sum(layer.multiplier == multiplier.key for layer in layers),
        multiplier.signed,
        multiplier.bits_a,
        multiplier.bits_w,
        len(netlist.gates),
        multiplier.power_mw,
        multiplier.area_um2,
        multiplier.delay_ns,
        " ".join(multiplier.intervals) or None,
        method or None,
    )


def _readme(given: ExportInput, methods: Sequence[str]) -> str:
    """Return the text that explains the folder."""
    checked = sorted(set(methods) - {""})
    if len(checked) == 0:
        check = (
            "The modules were not simulated: neither Icarus Verilog nor Yosys was there. "
            "`axopt multipliers export NAME FILE.v --check` compares a module with its table."
        )
    else:
        check = (
            "All products of all modules were compared with the tables of the multipliers "
            f"({', '.join(checked)})."
        )
    point = "" if given.point is None else f" ({given.point.label})"
    return _README.format(
        point=point,
        layers=len(given.assignment.layers),
        modules=len(methods),
        check=check,
        layers_file=LAYERS_FILE,
        multipliers_file=MULTIPLIERS_FILE,
        assignment_file=ASSIGNMENT_FILE,
    )


_README = """# Multipliers of an assignment{point}

Written by axopt: {layers} layers, {modules} distinct multipliers. {check}

- `MODULE.v`: one combinational module per multiplier, with the ports `a`, `b` and `product`. The
  comment at its head names origin, licence, figures and the digest of the table.
- `{layers_file}`: one row per layer. It names the module, which operand is the activation and
  which the weight, and the widths.
- `{multipliers_file}`: one row per module, with origin, digest, gates, power, area and delay.
  `estimated` names the figures that are estimates.
- `{assignment_file}`: the assignment as axopt reads it, with the parameters of all quantisers. The
  column `parameters` of `{layers_file}` points into it.

## From values to operands

- A quantiser turns a value `x` into a level, `clamp(round(x / scale) + zero_point, 0, top)`,
  rounded half to even, with `top = 256 / step - 1`. `step` is 1 where it is absent.
- The code of a level is the byte of `codes` at that level (two hexadecimal digits each). Without
  `codes` it is `level * step`.
- The operand of a module of B bits is the upper B bits of the code, minus `2**(B - 1)` if the
  module is signed.
- A sum is that of all products, times `2**(16 - bits_a - bits_b)`. Each operand has
  `z = zero_point * step`, minus 128 if the module is signed. The sum loses `z_w` times the sum of
  the activations and `z_a` times the sum of the weights, both in codes, minus 128 if signed. It
  gets `K * z_a * z_w` for K products.
- The result is the sum times `scale / step` of both operands and times `gain`, plus bias and
  `shift`. `gain` is 1 and `shift` is 0 where they are absent; they have one value per output
  channel.
"""

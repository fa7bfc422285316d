"""BLIF files: logic of ``.names`` covers, in one model or in several that use each other.

The first model is the multiplier. Its inputs are the bits of two operands, grouped by their names
(``a[0] a[1] ... b[0] ...``), its outputs those of the product. Latches, cells of a library and all
other directives are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder
from axopt.circuits.formats.bit_vectors import BitVector
from axopt.circuits.formats.gates import Driver, of_truth_table, operands, product, signals_of
from axopt.circuits.formats.reading import imported_circuit, order_note
from axopt.errors import CircuitError, LutFormatError
from axopt.multipliers import Imported, read_table_file, register_importer
from axopt.multipliers.formats.text import decode, stated_figures

MAX_NETS = 200_000
MAX_DEPTH = 50

_TABLE_INPUTS = 6
"""Covers of up to this many inputs become truth tables; larger ones are sums of their cubes."""


@dataclass
class _Model:
    """One model of a file."""

    name: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    covers: list[tuple[list[str], list[str]]] = field(default_factory=list)  # nets, lines
    parts: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # model, formal: actual


@register_importer("blif", suffixes=(".blif",), title="BLIF")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the multiplier that the first model of a file describes.

    Raises:
        LutFormatError: If the file is not such a model; the message names the line or the net.
    """
    text = decode(read_table_file(path), path)
    models = _models(text, path)
    top = next(iter(models.values()))
    first, second = operands([(name, [name]) for name in top.inputs], path)
    name, nets = product([(name, [name]) for name in top.outputs], path)
    build = NetlistBuilder(len(first[1]), len(second[1]), signed=False)
    known = dict(zip([*first[1], *second[1]], [*build.a, *build.w], strict=True))
    try:
        bits = signals_of(build, _drivers(models, top, path), known, nets, path)
    except CircuitError as error:
        raise LutFormatError(f"{path}: {error}") from error
    return [
        imported_circuit(
            build,
            BitVector(tuple(bits), ZERO),
            path,
            name=top.name,
            figures=stated_figures(text),
            signed=signed,
            notes=order_note(path, first[0], second[0]),
        )
    ]


def _models(text: str, where: object) -> dict[str, _Model]:
    models: dict[str, _Model] = {}
    model: _Model | None = None
    for number, words in _lines(text):
        directive, rest = words[0], words[1:]
        if directive == ".model":
            model = _Model(rest[0] if rest else "")
            if model.name in models:
                raise LutFormatError(f"{where}:{number}: a second model `{model.name[:60]}`.")
            models[model.name] = model
        elif model is None:
            raise LutFormatError(f"{where}:{number}: expected `.model`, got `{directive[:40]}`.")
        elif directive in (".inputs", ".outputs"):
            (model.inputs if directive == ".inputs" else model.outputs).extend(rest)
        elif directive == ".names" and rest:
            model.covers.append((rest, []))
        elif directive == ".subckt" and rest:
            pairs = dict(pair.partition("=")[::2] for pair in rest[1:])
            model.parts.append((rest[0], pairs))
        elif not directive.startswith(".") and model.covers:
            model.covers[-1][1].append(" ".join(words))
        elif directive != ".end":
            raise LutFormatError(f"{where}:{number}: `{directive[:40]}` is not read.")
    if not models:
        raise LutFormatError(f"{where}: expected a `.model`, got none.")
    return models


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the words of each line that says something, continued lines joined."""
    words: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.partition("#")[0].rstrip()
        continued = line.endswith("\\")
        words += line.rstrip("\\").split()
        if words and not continued:
            yield number, words
            words = []
    if words:
        yield text.count("\n") + 1, words


def _drivers(models: dict[str, _Model], top: _Model, where: object) -> dict[object, Driver]:
    """Return the driver of each net, with the nets of parts as (part, net)."""
    drivers: dict[object, Driver] = {}
    waiting: list[tuple[_Model, dict[str, object], int, tuple[int, ...]]] = [(top, {}, 0, ())]
    instances = 0
    while waiting:
        model, bound, depth, place = waiting.pop()
        instances += 1
        if depth > MAX_DEPTH or max(len(drivers), len(waiting), instances) > MAX_NETS:
            raise LutFormatError(
                f"{where}: models nest deeper than {MAX_DEPTH}, or more than {MAX_NETS:,} nets."
            )

        def net(name: str, bound: dict[str, object] = bound, place: object = place) -> object:
            return bound.get(name, (place, name) if place else name)

        for nets, cover in model.covers:
            output = net(nets[-1])
            if output in drivers or (not place and nets[-1] in model.inputs):
                raise LutFormatError(f"{where}: net `{nets[-1][:60]}` is driven twice.")
            drivers[output] = _cover([net(n) for n in nets[:-1]], cover, where)
        for number, (name, pairs) in enumerate(model.parts):
            if name not in models:
                raise LutFormatError(f"{where}: model `{name[:60]}` is not there.")
            inner = {formal: net(actual) for formal, actual in pairs.items()}
            waiting.append((models[name], inner, depth + 1, (*place, number)))
    return drivers


def _cover(inputs: list[object], cover: list[str], where: object) -> Driver:
    """Return the function whose cover has these lines, such as ``1-0 1``."""
    cubes, values = [], set()
    for line in cover:
        words = line.split()
        cube = words[0] if len(words) == 2 else ""
        if len(words) not in (1, 2) or len(cube) != len(inputs) or not set(cube) <= set("01-"):
            raise LutFormatError(f"{where}: `{line[:60]}` is no line of a cover.")
        cubes.append(cube)
        values.add(words[-1])
    if not values <= {"0", "1"} or len(values) > 1:
        raise LutFormatError(f"{where}: the lines of a cover must all end in 0, or all in 1.")
    inverted, cubes = values == {"0"}, sorted(set(cubes))

    def make(build: NetlistBuilder, signals: Sequence[int]) -> int:
        if len(signals) > _TABLE_INPUTS:
            result = _sum_of_cubes(build, signals, cubes)
        else:
            result = of_truth_table(build, signals, _truth_table(len(signals), cubes))
        return build.not_(result) if inverted else result

    return Driver(tuple(inputs), make)


def _truth_table(inputs: int, cubes: Sequence[str]) -> int:
    table = 0
    for i in range(1 << inputs):
        bits = [str(i >> place & 1) for place in range(inputs)]
        if any(all(c in ("-", bit) for c, bit in zip(cube, bits, strict=True)) for cube in cubes):
            table |= 1 << i
    return table


def _sum_of_cubes(build: NetlistBuilder, signals: Sequence[int], cubes: Sequence[str]) -> int:
    result = ZERO
    for cube in cubes:
        term = ONE
        for literal, signal in zip(cube, signals, strict=True):
            if literal != "-":
                term = build.and_(term, signal if literal == "1" else build.not_(signal))
        result = build.or_(result, term)
    return result

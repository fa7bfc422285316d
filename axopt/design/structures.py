"""Structures of multipliers: which of the 64 partial products are kept.

All truncations, narrow forms and broken arrays are such sets. A constant would cost gates and
improve nothing, because corrections subtract the mean error of every output. The sets searched
here are staircases: if a partial product is kept, so are those of higher bits of both operands.

`sweep` goes through all numbers of kept partial products twice, from 64 down and up again, and
keeps the few best sets of each number. The truncations take part, so no set of its result is
worse than a truncation with as many partial products. On layers of the digits network it finds
the best of all 6,561 staircases for every number of partial products (a slow test), in a fifth of
the time; exchanges that leave the staircases made these sets worse. So no evolutionary search
is used.

Narrow forms are no candidates of their own. An exact m x n multiplier has the gates, the power and
the products of the truncation to m x n bits, and a layer with the truncation may also use finer
codes. With one multiplier in all layers of ResNet-8 (corrected, 4,000 validation images), the
narrow form is better by -1.2 percentage points for 3 x 4 bits, 1.6 for 4 x 4, .7 for 4 x 5 and
-.2 for 5 x 5 (95 % intervals of +-.6 to 1.1): corrections try another range for the weights of one
or two layers, and no form is better throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from axopt.circuits import FAMILIES, Netlist, generate, multiplier_of
from axopt.design.statistics import Floats, Kept, LayerStatistics
from axopt.multipliers import Multiplier, MultiplierLibrary, load_library
from axopt.multipliers.multiplier import FIGURES

BITS = 8
LEAST_CELLS = 2
WIDTH = 3
"""Sets of each size that a sweep keeps."""

RELEASE = "designed"


@dataclass(frozen=True, eq=False)
class Structure:
    """A multiplier that adds kept partial products.

    Attributes:
        kept: ``(8, 8)`` bool; ``[i, j]``: whether bit i of the first operand is multiplied with
            bit j of the second.
        netlist: Its gates.
        multiplier: Its table and figures.
    """

    kept: Kept
    netlist: Netlist
    multiplier: Multiplier

    @property
    def text(self) -> str:
        """The kept bits of the second operand for each bit of the first, from the highest."""
        rows = [(i, "".join("x" if k else "." for k in self.kept[i, ::-1])) for i in range(BITS)]
        return " ".join(f"a{i}:{row}" for i, row in reversed(rows) if "x" in row)


def truncation(top_a: int, top_w: int) -> Kept:
    """Return the partial products of the top bits of both operands.

    Example:
        >>> int(truncation(4, 5).sum())
        20
    """
    kept = np.zeros((BITS, BITS), np.bool_)
    kept[BITS - top_a :, BITS - top_w :] = True
    return kept


def truncations() -> list[Kept]:
    """Return the sets of all truncations to 2..8 bits a side; one of each pair of orders."""
    return [truncation(a, w) for a in range(2, BITS + 1) for w in range(a, BITS + 1)]


def canonical(kept: Kept) -> Kept:
    """Return the set or its transpose: the one that uses fewer bits of the first operand.

    The operand order is free in every layer, and an array with fewer rows needs fewer adders.
    """
    rows, columns = int(kept.any(1).sum()), int(kept.any(0).sum())
    ordered = (rows, kept.tobytes()) <= (columns, np.ascontiguousarray(kept.T).tobytes())
    return kept if ordered else np.ascontiguousarray(kept.T)


def layer_errors(statistics: LayerStatistics, kept: Kept) -> Floats:
    """Return the expected relative squared error of a layer in the better order and format.

    Formats are those of codes without gaps, and of the strides that the dropped bits allow.

    Args:
        statistics: The layer's data.
        kept: ``(sets, 8, 8)`` bool.

    Returns:
        ``(sets,)``.
    """
    least = np.full(len(kept), np.inf)
    for sets in (kept, kept.transpose(0, 2, 1)):
        of_strides: dict[tuple[int, int], list[int]] = {}
        for number, one in enumerate(sets):
            a, w = _stride(one.any(1)), _stride(one.any(0))
            for strides in {(1, 1), (a, 1), (1, w), (a, w)}:
                of_strides.setdefault(strides, []).append(number)
        for strides, numbers in of_strides.items():
            errors = statistics.error_of_kept(sets[numbers], strides)
            least[numbers] = np.minimum(least[numbers], errors)
    return least


def _stride(used: Kept) -> int:
    """Return the stride of codes that differ in a used bit, at most 64."""
    return int(2 ** min(int(used.argmax()), BITS - 2)) if used.any() else 1


def sweep(
    error: Callable[[Kept], Floats], starts: Iterable[Kept], width: int = WIDTH
) -> list[Kept]:
    """Return the best staircase found for every number of kept partial products.

    Args:
        error: ``(sets, 8, 8)`` bool -> the error of each set, ``(sets,)``; smaller is better.
        starts: Sets that take part.
        width: Sets of each number that are kept.

    Returns:
        Sets in their `canonical` form, by falling number of partial products.
    """
    known: dict[bytes, float] = {}
    beams: dict[int, list[Kept]] = {n: [] for n in range(LEAST_CELLS, BITS * BITS + 1)}
    for kept in starts:
        beams[int(kept.sum())].append(canonical(kept))
    for n in reversed(beams):
        beams[n] = _best(error, beams[n] + _all_of(_smaller, beams.get(n + 1, [])), known, width)
    for n in beams:
        beams[n] = _best(error, beams[n] + _all_of(_larger, beams.get(n - 1, [])), known, width)
    return [beams[n][0] for n in reversed(beams) if beams[n]]


def _all_of(neighbours: Callable[[Kept], Iterator[Kept]], sets: list[Kept]) -> list[Kept]:
    return [canonical(near) for kept in sets for near in neighbours(kept)]


def _best(
    error: Callable[[Kept], Floats], sets: list[Kept], known: dict[bytes, float], width: int
) -> list[Kept]:
    distinct = {kept.tobytes(): kept for kept in sets}
    new = [key for key in distinct if key not in known]
    if new:
        found = error(np.stack([distinct[key] for key in new]))
        known.update(zip(new, found.tolist(), strict=True))
    order = sorted(distinct, key=lambda key: (known[key], key))
    return [distinct[key] for key in order[:width]]


def _smaller(kept: Kept) -> Iterator[Kept]:
    """Yield the staircases with one partial product less."""
    for i, j in np.argwhere(kept):
        if kept[: i + 1, : j + 1].sum() == 1:
            yield _changed(kept, i, j)


def _larger(kept: Kept) -> Iterator[Kept]:
    """Yield the staircases with one partial product more."""
    for i, j in np.argwhere(~kept):
        if (~kept)[i:, j:].sum() == 1:
            yield _changed(kept, i, j)


def _changed(kept: Kept, i: int, j: int) -> Kept:
    changed = kept.copy()
    changed[i, j] = not changed[i, j]
    return changed


def structure_of(kept: Kept, *, signed: bool) -> Structure:
    """Return the multiplier of a set of partial products.

    Its figures are published ones where its table, or the transposed one, is in EvoApprox8b;
    others are estimated from the gates. Multipliers are made once per process.

    Args:
        kept: ``(8, 8)`` bool.
        signed: Whether operands are in two's complement.
    """
    return _made(kept.tobytes(), signed)


@lru_cache(maxsize=1024)
def _made(kept_bytes: bytes, signed: bool) -> Structure:
    kept = np.frombuffer(kept_bytes, np.bool_).reshape(BITS, BITS)
    family, parameters = _family(kept, signed)
    netlist = generate(family, **parameters)
    name = FAMILIES[family].name_of(parameters)
    table = netlist.table()
    figures, source = None, "designed by axopt"
    for multiplier in published(signed).values():
        if any(np.array_equal(multiplier.table, one) for one in (table, table.T)):
            figures = {figure: getattr(multiplier, figure) for figure in FIGURES}
            source = f"designed by axopt; figures of {multiplier.key}"
    return Structure(
        kept,
        netlist,
        multiplier_of(netlist, name, release=RELEASE, figures=figures, source=source),
    )


def published(signed: bool) -> MultiplierLibrary:
    """Return the multipliers of EvoApprox8b that designed ones are compared with: release v1."""
    return load_library().select(release="v1", signed=signed)


def _family(kept: Kept, signed: bool) -> tuple[str, dict[str, object]]:
    rows, columns = int(kept.any(1).sum()), int(kept.any(0).sum())
    if np.array_equal(kept, truncation(rows, columns)):
        return "truncated", {"bits_a": rows, "bits_w": columns, "signed": signed}
    return "broken", {"kept": kept, "signed": signed}

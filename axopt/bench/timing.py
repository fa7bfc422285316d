"""Time several variants of one computation in turn, so that noise affects all of them alike."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

from axopt.errors import ArgumentError


@dataclass(frozen=True)
class Variant:
    """One way to compute something.

    Attributes:
        run: The function that is timed.
        set_up: Called before each timing, not timed.
    """

    run: Callable[[], object]
    set_up: Callable[[], object] = lambda: None


def interleaved(
    variants: Mapping[str, Variant],
    *,
    repeats: int,
    min_ms: float = 0.0,
    after_round: Callable[[int], None] = lambda done: None,
) -> dict[str, list[float]]:
    """Time every variant once per round, for ``repeats`` rounds after a warm-up round.

    Every other round has the opposite order, so that no variant always follows the same one.

    Args:
        variants: Name -> variant to time.
        repeats: Timed rounds.
        min_ms: Minimal time of a measurement; shorter calls are repeated and the time divided.
        after_round: Called with the number of rounds done, which includes the warm-up.

    Returns:
        Name -> milliseconds of one call, one value per round, in the order of the rounds.

    Raises:
        ArgumentError: If ``repeats`` is not positive.
    """
    if repeats < 1:
        raise ArgumentError(f"`repeats` must be >= 1, got {repeats}.")
    times: dict[str, list[float]] = {name: [] for name in variants}
    with _no_collection():
        calls = {name: _calls(variant, min_ms) for name, variant in variants.items()}
        after_round(1)
        for done in range(repeats):
            order = list(variants) if done % 2 == 0 else list(variants)[::-1]
            for name in order:
                times[name].append(_timed_ms(variants[name], calls[name]))
            gc.collect()
            after_round(done + 2)
    return times


def median_ratio(times: list[float], reference: list[float]) -> float:
    """Return the median over the rounds of time divided by the reference's time in that round."""
    return median(t / r for t, r in zip(times, reference, strict=True))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch and the kernels use ``count`` threads inside the ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _calls(variant: Variant, min_ms: float) -> int:
    """Warm up, and return the number of calls that take at least ``min_ms``."""
    _timed_ms(variant, 1)
    if min_ms <= 0:
        return 1
    return max(1, math.ceil(min_ms / max(_timed_ms(variant, 1), 1e-6)))


def _timed_ms(variant: Variant, calls: int) -> float:
    variant.set_up()
    start = perf_counter()
    for _ in range(calls):
        variant.run()
    return 1e3 * (perf_counter() - start) / calls


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from running in the middle of a timing."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

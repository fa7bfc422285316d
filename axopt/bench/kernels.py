"""Speed of every kernel on single layers, in multiply-accumulates per second."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from axopt.bench.contenders import Contender, contenders
from axopt.bench.shapes import SHAPES, LayerShape, Operands
from axopt.bench.timing import Variant, interleaved, torch_threads

_logger = logging.getLogger(__name__)

_MIN_MS = 5.0  # shorter calls are repeated, so that clock and scheduler hardly matter


@dataclass(frozen=True)
class KernelResult:
    """One layer on one number of threads.

    Attributes:
        shape: Name of the layer.
        images: Images per call.
        threads: Number of threads of torch and the kernels.
        macs: Multiplications of one call.
        gmacs_per_s: Contender -> 10**9 multiply-accumulates per second, from the median time;
            None if it cannot compute this layer.

    Example:
        >>> speeds = {"torch fp32": 61.9, "scalar": None}
        >>> result = KernelResult("3x3", images=8, threads=1, macs=9_437_184, gmacs_per_s=speeds)
        >>> result.gmacs_per_s["torch fp32"]
        61.9
    """

    shape: str
    images: int
    threads: int
    macs: int
    gmacs_per_s: dict[str, float | None]


def bench_kernels(
    *,
    batch: int = 128,
    threads: Sequence[int] = (1,),
    repeats: int = 7,
    shapes: Sequence[LayerShape] | None = None,
    among: Mapping[str, Contender] | None = None,
) -> list[KernelResult]:
    """Measure every contender on every layer; contenders of one layer are timed in turn.

    Args:
        batch: Images per call; large layers take fewer.
        threads: Numbers of threads to measure with.
        repeats: Timed rounds, after one round of warm-up.
        shapes: The layers; `SHAPES` by default.
        among: The contenders; all that this machine supports by default.

    Returns:
        One entry for each number of threads and layer.

    Raises:
        ArgumentError: If ``repeats`` is not positive.

    Example:
        >>> from axopt.bench import bench_kernels
        >>> from axopt.bench.shapes import LayerShape
        >>> layer = LayerShape("small", channels=4, out_channels=4, side=8)
        >>> [result] = bench_kernels(batch=1, repeats=1, shapes=[layer])
        >>> result.macs, result.gmacs_per_s["torch fp32"] > 0
        (9216, True)
    """
    among = contenders() if among is None else among
    results = []
    for count in threads:
        for shape in SHAPES if shapes is None else shapes:
            _logger.info("kernels, threads %d: %s", count, shape.name)
            with torch_threads(count), torch.inference_mode():
                results.append(_bench_shape(shape, batch, count, repeats, among))
    return results


def _bench_shape(
    shape: LayerShape, batch: int, threads: int, repeats: int, among: Mapping[str, Contender]
) -> KernelResult:
    operands = Operands.of(shape, batch)
    calls = {name: contender(operands) for name, contender in among.items()}
    variants = {name: Variant(call) for name, call in calls.items() if call is not None}
    times = interleaved(variants, repeats=repeats, min_ms=_MIN_MS)
    speeds = {
        name: operands.macs / median(times[name]) / 1e6 if name in times else None
        for name in among
    }
    return KernelResult(shape.name, len(operands.codes), threads, operands.macs, speeds)

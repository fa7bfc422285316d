"""Time whole emulated networks and their FP32 models, in the same process and rounds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from axopt.bench.memory import peak_growth_mb
from axopt.bench.networks import emulated_network, find_network, folded_float
from axopt.bench.timing import Variant, interleaved, median_ratio, torch_threads
from axopt.errors import ArgumentError
from axopt.kernels import plan
from axopt.model import EmulatedModel, assign_
from axopt.multipliers import Multiplier

_logger = logging.getLogger(__name__)

_FP32 = ""  # no multiplier has an empty key


@dataclass(frozen=True)
class VariantResult:
    """One multiplier in all layers of a network.

    Attributes:
        multiplier: Key of the multiplier.
        signed: Whether its operands are signed.
        rank: Matrix rank of its table.
        terms: Number of separable terms of its plan; 0 if the products are looked up.
        ms: Median milliseconds of a forward pass, quantisation included.
        ratio: Median over the rounds of the time divided by the FP32 model's in the same round.
        assign_ms: Median milliseconds to assign it to all layers, after the first time.
        memory_mb: Peak growth of the memory in a forward pass, see `bench.memory`; None if it
            was not measured. It is measured with the largest number of threads only.
        memory_ratio: ``memory_mb`` divided by that of the FP32 model.

    Example:
        >>> VariantResult("v1/mul8s_1KV8", True, 1, 1, 3.2, 1.6, 0.1, None, None).ratio
        1.6
    """

    multiplier: str
    signed: bool
    rank: int
    terms: int
    ms: float
    ratio: float
    assign_ms: float
    memory_mb: float | None
    memory_ratio: float | None


@dataclass(frozen=True)
class NetworkResult:
    """A network on one number of threads.

    Attributes:
        network: Its name.
        input: Shape of the batch.
        threads: Of torch and the kernels.
        macs: Multiplications of the emulated layers for one sample.
        layers: Number of emulated layers.
        fp32_ms: Median milliseconds of the FP32 model: batch norms folded, channels last.
        fp32_memory_mb: Peak growth of its memory; None if it was not measured.
        results: One entry per multiplier, in the order of the request.

    Example:
        >>> found = NetworkResult("digits_cnn", (1, 1, 8, 8), 1, 50_000, 3, 2.0, None, results=())
        >>> found.input, found.fp32_ms
        ((1, 1, 8, 8), 2.0)
    """

    network: str
    input: tuple[int, ...]
    threads: int
    macs: int
    layers: int
    fp32_ms: float
    fp32_memory_mb: float | None
    results: tuple[VariantResult, ...]


def bench_networks(
    networks: Sequence[str],
    multipliers: Sequence[Multiplier],
    *,
    batch: int = 128,
    threads: Sequence[int] = (1,),
    repeats: int = 7,
    memory: bool = True,
) -> list[NetworkResult]:
    """Measure every network with every multiplier in all of its layers.

    For each network and number of threads, all variants and the FP32 model are timed in turn, in
    inference mode and on the same channels-last input.

    Args:
        networks: Names in `NETWORKS`.
        multipliers: The multipliers.
        batch: Samples per call; networks for 224x224 images take a sixteenth of it.
        threads: Numbers of threads to measure with.
        repeats: Timed rounds, after one round of warm-up.
        memory: Whether to measure the memory, in one process per variant, with the largest number
            of threads.

    Returns:
        One entry for each network and number of threads.

    Raises:
        ArgumentError: If a network is unknown, a list is empty, or a number is below 1.

    Example:
        >>> import axopt
        >>> from axopt.bench import bench_networks
        >>> multiplier = axopt.load_library()["mul8s_1KV8"]
        >>> few = {"batch": 1, "repeats": 1, "memory": False}
        >>> [found] = bench_networks(["digits_cnn"], [multiplier], **few)
        >>> found.network, found.input, found.fp32_ms > 0
        ('digits_cnn', (1, 1, 8, 8), True)
    """
    for name in networks:
        find_network(name)
    for argument, values in (("networks", networks), ("multipliers", multipliers)):
        if not values:
            raise ArgumentError(f"`{argument}` must not be empty.")
    for argument, number in (("batch", batch), ("threads", min(threads, default=0))):
        if number < 1:
            raise ArgumentError(f"`{argument}` must be >= 1, got {number}.")
    return [
        result
        for name in networks
        for result in _bench_network(name, multipliers, batch, threads, repeats, memory)
    ]


def _bench_network(
    name: str,
    multipliers: Sequence[Multiplier],
    batch: int,
    threads: Sequence[int],
    repeats: int,
    memory: bool,
) -> list[NetworkResult]:
    network = find_network(name)
    _logger.info("%s: preparing", name)
    model = network.build()
    float_model = folded_float(network, model)
    emulated = emulated_network(network, model)
    inputs = network.inputs(network.batch(batch))
    timed = []
    for count in threads:
        with torch_threads(count), torch.inference_mode():
            timed.append(_time(name, float_model, emulated, multipliers, inputs, repeats))
    most = max(threads)
    peaks = _memory(name, multipliers, len(inputs), most) if memory else {}
    return [
        _result(name, emulated, multipliers, inputs, count, found, peaks if count == most else {})
        for count, found in zip(threads, timed, strict=True)
    ]


@dataclass(frozen=True)
class _Times:
    forward: dict[str, list[float]]
    assign: dict[str, list[float]]


def _time(
    name: str,
    float_model: nn.Module,
    emulated: EmulatedModel,
    multipliers: Sequence[Multiplier],
    inputs: Tensor,
    repeats: int,
) -> _Times:
    assigned: dict[str, list[float]] = {m.key: [] for m in multipliers}

    def assign(multiplier: Multiplier) -> None:
        start = perf_counter()
        assign_(emulated, multiplier)
        assigned[multiplier.key].append(1e3 * (perf_counter() - start))

    variants = {_FP32: Variant(partial(float_model, inputs))}
    for multiplier in multipliers:
        variants[multiplier.key] = Variant(partial(emulated, inputs), partial(assign, multiplier))

    def report(done: int) -> None:
        threads = torch.get_num_threads()
        _logger.info("%s, threads %d: round %d of %d", name, threads, done, repeats + 1)

    times = interleaved(variants, repeats=repeats, after_round=report)
    return _Times(times, {key: values[1:] for key, values in assigned.items()})


def _memory(
    name: str, multipliers: Sequence[Multiplier], batch: int, threads: int
) -> dict[str, float | None]:
    _logger.info("%s: memory of %d variants", name, len(multipliers) + 1)
    peak = partial(peak_growth_mb, name, batch=batch, threads=threads)
    return {_FP32: peak(None), **{m.key: peak(m) for m in multipliers}}


def _result(
    name: str,
    emulated: EmulatedModel,
    multipliers: Sequence[Multiplier],
    inputs: Tensor,
    threads: int,
    times: _Times,
    peaks: dict[str, float | None],
) -> NetworkResult:
    fp32, fp32_peak = times.forward[_FP32], peaks.get(_FP32)
    results = []
    for multiplier in multipliers:
        key, peak = multiplier.key, peaks.get(multiplier.key)
        results.append(
            VariantResult(
                multiplier=key,
                signed=multiplier.signed,
                rank=multiplier.rank,
                terms=plan(multiplier.code_table).term_count,
                ms=median(times.forward[key]),
                ratio=median_ratio(times.forward[key], fp32),
                assign_ms=median(times.assign[key]),
                memory_mb=peak,
                memory_ratio=peak / fp32_peak if peak is not None and fp32_peak else None,
            )
        )
    return NetworkResult(
        network=name,
        input=tuple(inputs.shape),
        threads=threads,
        macs=sum(emulated.macs.values()),
        layers=len(emulated.macs),
        fp32_ms=median(fp32),
        fp32_memory_mb=fp32_peak,
        results=tuple(results),
    )

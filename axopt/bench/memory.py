"""Peak memory of a forward pass, measured in a process of its own.

A fresh (spawned) process builds the network, reads its resident set, resets the peak, runs two
forward passes on a batch that is already in memory, and reads the peak: ``VmHWM`` of
/proc/self/status. The result is the peak minus the resident set before. It contains the
activations, all temporaries and everything packed or cached at first use. It does not contain the
float weights or torch itself, which has been initialised by the trace of one image.

glibc is told to take large blocks from the system and to return them at once. By default it raises
that threshold with use, keeps large blocks and fragments them. The peak then depends more on the
order of allocations than on the live data.

``getrusage`` is of no use here: on Linux, ``ru_maxrss`` of a child starts from the peak of its
parent, and it cannot be reset after the calibration.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import torch

from axopt.bench.networks import emulated_network, find_network, folded_float
from axopt.model import assign_
from axopt.multipliers import Multiplier

_logger = logging.getLogger(__name__)

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
_LARGE_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
_FORWARDS = 2  # the first pass fills caches, which the second pass has in memory


def peak_growth_mb(
    network: str, multiplier: Multiplier | None, *, batch: int, threads: int
) -> float | None:
    """Measure the peak growth of a process in a forward pass, in megabytes (10**6 bytes).

    Args:
        network: Name of the network.
        multiplier: The multiplier in all layers; None measures the FP32 model.
        batch: Samples of the forward pass.
        threads: Number of threads of torch and the kernels.

    Returns:
        The growth; None if the system does not report it (this needs Linux's /proc) or kills the
        process.
    """
    # spawn: a forked child would hang after an OpenMP region, and would inherit our memory
    context = multiprocessing.get_context("spawn")
    with _environment(_LARGE_BLOCKS), ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, network, multiplier, batch, threads).result()
        except BrokenProcessPool:  # killed, most likely because memory ran out
            key = "FP32" if multiplier is None else multiplier.key
            _logger.warning("%s, %s: the process that measures memory was killed", network, key)
            return None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that start inside the ``with`` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure(name: str, multiplier: Multiplier | None, batch: int, threads: int) -> float | None:
    torch.set_num_threads(threads)
    network = find_network(name)
    model = network.build()
    if multiplier is None:
        module = folded_float(network, model)
    else:
        emulated = emulated_network(network, model)
        assign_(emulated, multiplier)
        module = emulated
    inputs = network.inputs(batch)
    gc.collect()
    if not _forget_peak():
        return None
    before = _status_mb("VmRSS")
    with torch.inference_mode():
        for _ in range(_FORWARDS):
            module(inputs)
    return max(0.0, _status_mb("VmHWM") - before)


def _forget_peak() -> bool:
    """Reset the peak to the present resident set; False if the system cannot."""
    try:
        _CLEAR_REFS.write_text(_FORGET_PEAK)
    except OSError:
        return False
    return _STATUS.is_file()


def _status_mb(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0

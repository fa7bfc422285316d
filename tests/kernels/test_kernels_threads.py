"""Threads: torch's count, torch's runtime, the same integers."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_cases import ISAS, codes, signed_table, tensor

from axopt.kernels import PackedTable, conv2d_codes, force_isa, gemm_codes
from axopt.kernels.reference import gemm_reference

MAPS = Path("/proc/self/maps")


@pytest.fixture
def restore_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.usefixtures("restore_threads")
def test_any_number_of_threads_gives_the_same(isa, rng):
    table = PackedTable.of(signed_table(rng))
    a, w = tensor(codes(rng, 700, 70)), tensor(codes(rng, 90, 70))
    x, kernel = tensor(codes(rng, 9, 16, 18, 18)), tensor(codes(rng, 20, 8, 3, 3))
    results = set()
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        with force_isa(isa):
            product = gemm_codes(a, w, table)
            convolved = conv2d_codes(x, kernel, table, groups=2)
        results.add(product.numpy().tobytes() + convolved.numpy().tobytes())
    assert len(results) == 1


@pytest.mark.usefixtures("restore_threads")
def test_few_rows_are_shared_by_channels(rng):
    """A batch of one gives the threads blocks of channels; every block must arrive."""
    torch.set_num_threads(8)
    table = signed_table(rng)
    a, w = codes(rng, 5, 900), codes(rng, 515, 900)
    result = gemm_codes(tensor(a), tensor(w), PackedTable.of(table))
    np.testing.assert_array_equal(result.numpy(), gemm_reference(a, w, table))


@pytest.mark.parametrize("isa", ISAS)
def test_python_threads_share_inputs(isa, rng):
    table = PackedTable.of(signed_table(rng))
    x, w = tensor(codes(rng, 4, 16, 18, 18)), tensor(codes(rng, 16, 16, 3, 3))
    with force_isa(isa), ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda _: conv2d_codes(x, w, table).numpy().tobytes(), range(16))
        assert len(set(results)) == 1


@pytest.mark.skipif(not MAPS.exists(), reason="needs the list of loaded libraries of Linux")
def test_kernels_share_the_openmp_runtime_of_torch():
    """In a process of its own: other packages, such as scikit-learn, bring runtimes along."""
    program = f"import axopt.kernels; print(open({str(MAPS)!r}).read())"
    maps = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    libraries = {line.split()[-1] for line in maps.splitlines() if "/" in line}
    assert any("_lut_gemm" in path for path in libraries)
    runtimes = [path for path in libraries if os.path.basename(path).startswith("libgomp")]
    assert len(runtimes) == 1, runtimes

"""The device path equals the numpy reference; on CPU tensors here, on CUDA where there is one.

Private names of the module are used where no result shows the behaviour: how operands are cut,
what is cached, and PyTorch operators that are wrong on purpose.
"""

import itertools
import logging

import numpy as np
import pytest
import torch
from grid import each
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    codes,
    exact_signed_table,
    examples,
    expected_sums,
    signed_table,
    unsigned_table,
)

from axopt.kernels import device as device_module
from axopt.kernels.device import conv2d_codes_on_device, gemm_codes_on_device
from axopt.kernels.reference import gemm_reference
from axopt.kernels.terms import Terms, find_terms
from axopt.multipliers import load_library

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]
SIGNED = [key for key in load_library() if key.startswith("v1/mul8s_")]
# One term, two with a map that is no mask, none at all (a constant table).
SEPARABLE = [f"v1/mul8u_{name}" for name in ("1JFF", "Y48", "E9R")]
OTHER = [f"v1/mul8u_{name}" for name in ("2P7", "QJD", "L40", "12N4")]
KINDS = ("terms", "table")


@pytest.fixture(params=DEVICES)
def device(request):
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _fresh_checks():
    device_module._int_mm_is_exact.cache_clear()
    yield
    device_module._int_mm_is_exact.cache_clear()


def exact_terms() -> Terms:
    """The exact signed product: 0..255 times -128..127, and -128 times the weight."""
    values = np.arange(-128, 128)
    return Terms(
        activation=np.arange(256, dtype=np.uint8)[None],
        weight=values.astype(np.int8)[None],
        weight_offset=(-128 * values).astype(np.int32),
        activation_scale=0,
        activation_mask=0,
    )


def mapped_terms(rng: np.random.Generator, count: int = 3) -> Terms:
    """Terms of no multiplier: any maps, extreme values and a part of the activation alone."""
    activation = rng.integers(0, 256, (count, 256), dtype=np.uint8)
    weight = rng.integers(-128, 128, (count, 256)).astype(np.int8)
    activation[:, :2], weight[:, :2] = (0, 255), (-128, 127)
    offset = rng.integers(-30000, 30000, 256).astype(np.int32)
    return Terms(activation, weight, offset, activation_scale=-77, activation_mask=0b10110101)


def case(kind: str, rng: np.random.Generator):
    """A table and, for "terms", its decomposition; the table is None where it is not read."""
    if kind == "table":
        return signed_table(rng).astype(np.int32), None
    terms = mapped_terms(rng)
    return terms.table(), terms


def check_conv2d(device, x, w, table, terms, stride=(1, 1), dilation=(1, 1), groups=1):
    steps = {"stride": stride, "dilation": dilation, "groups": groups}
    result = conv2d_codes_on_device(
        torch.from_numpy(x).to(device), torch.from_numpy(w).to(device), table, terms, **steps
    )
    assert result.dtype == torch.int32
    assert result.device.type == device.type
    np.testing.assert_array_equal(result.cpu().numpy(), expected_sums(x, w, table, **steps))


def check_gemm(device, a, w, table, terms):
    result = gemm_codes_on_device(
        torch.from_numpy(a).to(device), torch.from_numpy(w).to(device), table, terms
    )
    assert result.dtype == torch.int32
    np.testing.assert_array_equal(result.cpu().numpy(), gemm_reference(a, w, table))


@each(
    "key, kind",
    [*itertools.product(SIGNED + SEPARABLE, KINDS), *itertools.product(OTHER, ["table"])],
)
def test_library_tables(device, key, kind, library, rng):
    table = library[key].table
    terms = find_terms(table) if kind == "terms" else None
    assert (terms is None) == (kind == "table")
    assert len(SIGNED) == 13
    for groups in (1, 3, 6):
        x, w = codes(rng, 2, 6, 7, 9), codes(rng, 12, 6 // groups, 3, 2)
        check_conv2d(device, x, w, table, terms, (2, 1), (1, 2), groups)
    check_gemm(device, codes(rng, 19, 33), codes(rng, 5, 33), table, terms)


@each("kind", KINDS)
@each("swapped", [False, True])
def test_operand_order(device, kind, swapped, rng):
    """The table is not symmetric, so a mixed-up operand shows."""
    table, terms = case(kind, rng)
    assert not np.array_equal(table, table.T)
    sizes = (3, 40) if swapped else (40, 3)
    check_gemm(device, codes(rng, sizes[0], 7), codes(rng, sizes[1], 7), table, terms)


@st.composite
def convolutions(draw):
    size = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(size, size))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    image = [e + draw(st.integers(0, 5)) for e in extent]
    x_shape = (draw(size), groups * draw(size), *image)
    w_shape = (groups * draw(size), x_shape[1] // groups, *kernel)
    return x_shape, w_shape, (draw(size), draw(size)), dilation, groups


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", DEVICES)
@given(shapes=convolutions(), budget=st.integers(1, 20_000), seed=st.integers(0, 2**32))
@settings(max_examples=examples(25), deadline=None)
def test_any_convolution_in_any_chunks(place, kind, shapes, budget, seed):
    x_shape, w_shape, *steps = shapes
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_module, "_CHUNK_BYTES", budget)
        x, w = codes(rng, *x_shape), codes(rng, *w_shape)
        check_conv2d(torch.device(place), x, w, *case(kind, rng), *steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 6], ids=["dense", "grouped", "depthwise"])
def test_every_chunk_boundary(device, kind, groups, rng, monkeypatch):
    """From one line at a time over several lines and several images to all at once."""
    table, terms = case(kind, rng)
    x, w = codes(rng, 3, 6, 7, 6), codes(rng, 6, 6 // groups, 3, 3)
    cuts = set()
    plain_chunks = device_module._chunks

    def counted(*arguments):
        chunks = list(plain_chunks(*arguments))
        cuts.add(len(chunks))
        return chunks

    monkeypatch.setattr(device_module, "_chunks", counted)
    steps = {"stride": (1, 2), "dilation": (1, 1), "groups": groups}
    expected = expected_sums(x, w, table, **steps)
    x_there, w_there = torch.from_numpy(x).to(device), torch.from_numpy(w).to(device)
    for budget in np.geomspace(20, 2**18, 20).astype(int).tolist():
        monkeypatch.setattr(device_module, "_CHUNK_BYTES", budget)
        sums = conv2d_codes_on_device(x_there, w_there, table, terms, **steps)
        np.testing.assert_array_equal(sums.cpu().numpy(), expected)
    assert {3 * 5, 1} <= cuts
    assert len(cuts) >= 5


def test_chunks_cover_every_output_once():
    window = device_module._Window((3, 3), (2, 1), (1, 1))
    x = torch.empty(4, 2, 13, 8, dtype=torch.uint8)
    for image_bytes in (1, 2**25, 2**26, 2**26 + 1, 2**28, 2**40):
        seen = torch.zeros(4, 6)
        for images, lines in device_module._chunks(x, window, image_bytes):
            seen[images, lines] += 1
            share = len(seen[images]) * (lines.stop - lines.start) / 6
            assert share * image_bytes <= 2**26 or share == 1 / 6
        assert bool((seen == 1).all())


@each(
    "int8, k",
    [
        (True, device_module._INT_DEPTH),
        (True, device_module._INT_DEPTH + 1),
        (False, device_module._FLOAT_DEPTH),
        (False, 3 * device_module._FLOAT_DEPTH + 1),
    ],
)
@each("a_code", [0, 255])
@each("w_code", [0, 255])
def test_extreme_sums_around_the_exact_depth(device, int8, k, a_code, w_code, monkeypatch):
    monkeypatch.setattr(device_module, "_int_mm_is_exact", lambda *_: int8)
    product = (a_code - 128) * (w_code - 128)
    a = torch.full((2, k), a_code, dtype=torch.uint8, device=device)
    w = torch.full((3, k), w_code, dtype=torch.uint8, device=device)
    sums = gemm_codes_on_device(a, w, exact_signed_table().astype(np.int32), exact_terms())
    assert bool((sums == k * product).all())


def test_int8_blocks_fit_int32_and_stay_aligned():
    """The CPU wraps and so forgives longer blocks; other devices may saturate."""
    assert device_module._INT_DEPTH * 128**2 <= 2**31 - 1
    assert device_module._INT_DEPTH % device_module._INT8_ALIGNMENT == 0


def test_float32_depth_is_the_largest_exact_one(device, monkeypatch):
    """With blocks longer than stated, an odd sum above 2^24 is lost: the bound is needed."""
    monkeypatch.setattr(device_module, "_int_mm_is_exact", lambda *_: False)
    a = torch.full((1, 1026), -128, dtype=torch.int8, device=device)
    w = a.clone()
    w[:, 0], a[:, 0] = 1, 1
    exact = 1025 * 2**14 + 1
    assert int(device_module._float_matmul(a[None], w[None])) == exact
    monkeypatch.setattr(device_module, "_FLOAT_DEPTH", 2**20)
    assert int(device_module._float_matmul(a[None], w[None])) != exact


@pytest.mark.parametrize("entry", [-(2**15), 2**16 - 1])
@pytest.mark.parametrize("rows", [2, 300])
def test_table_sums_beyond_the_exact_depth(device, entry, rows):
    """Odd sums around 2^24 and up to the end of int32."""
    table = np.full((256, 256), entry, np.int32)
    table[7, 9] = 1
    k = (2**31 - 1) // abs(entry) // 8
    a = torch.full((rows, k), 3, dtype=torch.uint8, device=device)
    a[:, ::777] = 7
    w = torch.full((5, k), 9, dtype=torch.uint8, device=device)
    ones = len(range(0, k, 777))
    sums = gemm_codes_on_device(a, w, table, None)
    assert bool((sums == (k - ones) * entry + ones).all())


@pytest.mark.parametrize("groups", [1, 4])
def test_without_int8_products(device, groups, rng, monkeypatch):
    """Where the device has none, float32 gives the same sums, in short blocks too."""

    def refuse(*_):
        raise RuntimeError("not for this device")

    monkeypatch.setattr(torch, "_int_mm", refuse)
    monkeypatch.setattr(device_module, "_FLOAT_DEPTH", 5)
    terms = mapped_terms(rng)
    x, w = codes(rng, 2, 8, 5, 6), codes(rng, 4, 8 // groups, 2, 3)
    check_conv2d(device, x, w, terms.table(), terms, groups=groups)


@pytest.mark.parametrize("rows", [1, 200])
def test_a_wrong_int8_product_is_found_out(device, rows, rng, monkeypatch, caplog):
    right = torch._int_mm

    def wrong_in_the_last_row(a, w):
        sums = right(a, w)
        sums[-1, -1] += 1
        return sums

    monkeypatch.setattr(torch, "_int_mm", wrong_in_the_last_row)
    with caplog.at_level(logging.WARNING):
        check_gemm(
            device, codes(rng, rows, 30), codes(rng, 8, 30), exact_signed_table(), exact_terms()
        )
    assert "is wrong" in caplog.text


def test_memory_errors_of_the_check_are_not_taken_for_a_verdict(device, rng, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(torch, "_int_mm", exhausted)
    a, w = (torch.from_numpy(codes(rng, 2, 4)).to(device) for _ in range(2))
    with pytest.raises(torch.OutOfMemoryError):
        gemm_codes_on_device(a, w, exact_signed_table(), exact_terms())


def test_int8_sizes_fit_every_device(device, rng, monkeypatch):
    """CUDA wants more than 16 rows and the other sizes in multiples of 8."""
    right, sizes = torch._int_mm, []

    def noted(a, w):
        sizes.append((*a.shape, w.shape[1], a.is_contiguous(), w.t().is_contiguous()))
        return right(a, w)

    monkeypatch.setattr(torch, "_int_mm", noted)
    monkeypatch.setattr(device_module, "_INT_DEPTH", 48)
    for m, n, k in itertools.product((1, 16, 17, 33), (1, 8, 9), (1, 8, 16, 100)):
        check_gemm(device, codes(rng, m, k), codes(rng, n, k), exact_signed_table(), exact_terms())
    assert sizes
    for rows, k, columns, *contiguous in sizes:
        assert rows > 16
        assert k % 8 == columns % 8 == 0
        assert all(contiguous)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 3])
def test_autocast_and_fast_float32_change_nothing(device, kind, groups, rng, monkeypatch):
    monkeypatch.setattr(device_module, "_int_mm_is_exact", lambda *_: False)
    table, terms = case(kind, rng)
    x, w = codes(rng, 2, 96, 5, 5), codes(rng, 6, 96 // groups, 3, 3)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            check_conv2d(device, x, w, table, terms, groups=groups)
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("kind", KINDS)
def test_any_strides(device, kind, rng):
    table, terms = case(kind, rng)
    x, w = codes(rng, 2, 6, 7, 7), codes(rng, 4, 6, 3, 3)
    expected = expected_sums(x, w, table)
    steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    last = torch.channels_last
    x_last, w_last = (
        torch.from_numpy(array).to(device).to(memory_format=last) for array in (x, w)
    )
    np.testing.assert_array_equal(
        conv2d_codes_on_device(x_last, w_last, table, terms, **steps).cpu().numpy(), expected
    )
    a, b = codes(rng, 9, 4), codes(rng, 9, 5)
    rows, columns = (torch.from_numpy(array).to(device).t() for array in (a, b))
    np.testing.assert_array_equal(
        gemm_codes_on_device(rows, columns, table, terms).cpu().numpy(),
        gemm_reference(a.T, b.T, table),
    )


@each("kind", KINDS)
@each(
    "x_shape, w_shape",
    [
        ((0, 3, 8, 8), (4, 3, 3, 3)),
        ((2, 3, 8, 8), (0, 3, 3, 3)),
        ((2, 0, 8, 8), (4, 0, 3, 3)),
    ],
)
def test_empty_axes_give_zeros(device, kind, x_shape, w_shape, rng):
    x, w = (torch.from_numpy(codes(rng, *shape)).to(device) for shape in (x_shape, w_shape))
    steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    sums = conv2d_codes_on_device(x, w, *case(kind, rng), **steps)
    assert sums.dtype == torch.int32
    assert sums.shape == (len(x), len(w), 6, 6)
    assert not bool(sums.any())


def test_copies_on_the_device_are_kept_and_forgotten(device, rng, monkeypatch):
    monkeypatch.setattr(device_module, "_cache", type(device_module._cache)())
    monkeypatch.setattr(device_module, "_CACHED_PRODUCTS", 2)
    first, second, third = (unsigned_table(rng).astype(np.int32) for _ in range(3))
    kept = device_module._products_on(device, first, None)
    forgotten = device_module._products_on(device, second, None)
    assert device_module._products_on(device, first.copy(), None) is kept
    device_module._products_on(device, third, None)
    assert device_module._products_on(device, first, None) is kept
    assert device_module._products_on(device, second, None) is not forgotten
    assert len(device_module._cache) == 2


def test_terms_that_differ_anywhere_are_other_products(device, rng):
    terms = mapped_terms(rng)
    parts = {name: getattr(terms, name) for name in Terms.__dataclass_fields__}
    table, same = terms.table(), device_module._products_on(device, terms.table(), terms)
    assert device_module._products_on(device, table, Terms(**parts)) is same
    assert device_module._products_on(device, table, None) is not same
    for name, value in parts.items():
        other = Terms(**{**parts, name: value ^ 1})
        assert device_module._products_on(device, table, other) is not same


def test_later_changes_of_the_source_do_not_matter(device, rng):
    table, terms = unsigned_table(rng).astype(np.int32), mapped_terms(rng)
    sources = [table, terms.activation, terms.weight, terms.weight_offset]
    looked_up = device_module._products_on(device, table, None)
    multiplied = device_module._products_on(device, terms.table(), terms)
    copies = [looked_up.entries, looked_up.values, looked_up.transposed]
    copies += [multiplied.activation, multiplied.weight, multiplied.offset]
    before = [copy.clone() for copy in copies]
    for source in sources:
        source ^= 1
    assert all(itertools.starmap(torch.equal, zip(copies, before, strict=True)))

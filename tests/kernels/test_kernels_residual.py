"""find_residual: exact and only where it fits. The kernels equal int64 sums in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    ISAS,
    codes,
    exact_signed_table,
    examples,
    expected_sums,
    signed_table,
    unsigned_table,
)

from axopt import _lut_gemm
from axopt.errors import ArgumentError
from axopt.kernels import Convolution, Output, Quantiser, Window, plan
from axopt.kernels.operations import residual_operation
from axopt.kernels.packing import pack_classes
from axopt.kernels.residual import CLASSES, LARGEST, Residual, find_residual
from axopt.kernels.terms import Terms
from axopt.multipliers import load_library

LIBRARY = load_library()
CODES = np.arange(256)
VALUES = CODES - 128
ISA_INDEX = {name: i for i, (name, _) in enumerate(_lut_gemm.instruction_sets())}
EXACT = {False: np.multiply.outer(CODES, CODES), True: exact_signed_table()}

# Mask of the activation and the most that is taken off, as is and swapped: sums of the dropped
# partial products of what the masks leave.
SIGNED = {
    "mul8s_1KVA": (0xFF, 0xFF, 5),
    "mul8s_1KVB": (0xFF, 0xFF, 17),
    "mul8s_1KX2": (0xFF, 0xFF, 49),
    "mul8s_1KR6": (0xFE, 0xFF, 10),
    "mul8s_1KRC": (0xFE, 0xFF, 34),
    "mul8s_1KVL": (0xFC, 0xFF, 68),
}
UNSIGNED = {
    "v1/mul8u_Y48": (2, 2),
    "v1/mul8u_2P7": (6, None),
    "v1/mul8u_125K": (6, 10),
    "v1/mul8u_LM7": (18, 12),
    "v1/mul8u_KEM": (19, 19),
    "v1/mul8u_14VP": (74, None),
    "v1/mul8u_150Q": (58, None),
    "v2022/mul8u_27Y": (3, 4),
    "v2022/mul8u_12YX": (6, 6),
    "v2022/mul8u_DG8": (44, None),
    "v2022/mul8u_C67": (114, None),
}


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("swap", [False, True], ids=["", "swapped"])
def test_signed_multipliers_of_several_terms(name, swap):
    table = LIBRARY[name].table.T if swap else LIBRARY[name].table
    residual = find_residual(table)
    assert residual is not None
    assert residual.term.masks == (SIGNED[name][swap],)
    assert residual.maximum == SIGNED[name][2]
    assert residual.term.activation_scale == 0
    np.testing.assert_array_equal(residual.table(), table)


@pytest.mark.parametrize("name", UNSIGNED)
@pytest.mark.parametrize("swap", [False, True], ids=["", "swapped"])
def test_unsigned_multipliers(name, swap):
    table = LIBRARY[name].table.T if swap else LIBRARY[name].table
    residual = find_residual(table)
    assert (residual and residual.maximum) == UNSIGNED[name][swap]
    if residual is not None:
        np.testing.assert_array_equal(residual.table(), table)


def test_multipliers_of_one_term_have_none():
    for name in LIBRARY.select(signed=True, release="v1"):
        residual = find_residual(LIBRARY[name].table)
        assert (residual is None) == (name.split("/")[-1] not in SIGNED)


@pytest.mark.parametrize("signed", [False, True])
def test_the_largest_that_fit(signed, rng):
    """Any residual up to 127 for every activation code and 16 classes of weight codes."""
    rows = rng.integers(0, LARGEST + 1, (256, CLASSES))
    rows[0], rows[1] = 0, LARGEST
    classes = rng.integers(0, CLASSES, 256)
    residual = find_residual(EXACT[signed] - rows[:, classes])
    assert residual is not None
    assert residual.maximum == LARGEST
    rows[1, classes[7]] += 1
    assert find_residual(EXACT[signed] - rows[:, classes]) is None


def test_more_kinds_of_weights_are_refused(rng):
    taken = rng.integers(0, LARGEST, (256, CLASSES))[:, CODES % CLASSES]
    assert find_residual(EXACT[True] - taken) is not None
    taken[5, 200] += 1
    assert find_residual(EXACT[True] - taken) is None


def test_offsets_of_weights_are_no_residual(rng):
    """A sum that depends on the weight alone, however large, is the term's offset."""
    offset = rng.integers(-9000, 9000, 256)
    rows = rng.integers(0, 9, (256, 3))
    table = EXACT[True] - rows[:, CODES % 3] + offset
    residual = find_residual(table)
    assert residual is not None
    assert residual.maximum < 9
    np.testing.assert_array_equal(residual.table(), table)


@pytest.mark.parametrize("table", [signed_table, unsigned_table])
def test_random_tables_have_none(table, rng):
    assert find_residual(table(rng)) is None
    assert find_residual(np.zeros((256, 256), np.int32)) is None


def test_what_is_found_is_read_only():
    residual = find_residual(LIBRARY["mul8s_1KX2"].table)
    assert residual is not None
    for array in (residual.rows, residual.weight_class, residual.term.weight_offset):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_plans_print_their_residual():
    text = str(plan(LIBRARY["mul8s_1KX2"].table))
    assert "(a & 0b11111111) * ((w & 0b11111111) - 128)" in text
    assert "- rows(a)[class(w)], at most 49" in text
    assert "residual" in str(plan(LIBRARY["mul8u_KEM"].table))
    assert "rows(a)" not in str(plan(LIBRARY["mul8s_1KV8"].table))


def make_residual(rng, *, masked=True, scale=0, rows=None, weight_class=None):
    """One term of any kind, and any residual."""
    mask = int(rng.integers(0, 256))
    activation = CODES & mask if masked else rng.integers(0, 256, 256)
    term = Terms(
        activation[None].astype(np.uint8),
        rng.integers(-128, 128, (1, 256)).astype(np.int8),
        rng.integers(-999, 999, 256).astype(np.int32),
        scale,
        mask,
    )
    if rows is None:
        rows = rng.integers(0, LARGEST + 1, (256, CLASSES))
    if weight_class is None:
        weight_class = rng.integers(0, CLASSES, 256)
    return Residual(term, rows.astype(np.uint8), weight_class.astype(np.uint8))


def check_sums(residual, x, w, window, isa, threads=(1,)):
    """Sums of an operation on codes, on every number of threads; its code 128 pads."""
    operation = residual_operation(residual, w, window, ISA_INDEX[isa])
    py, px = window.padding
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=128)
    table = residual.table() - residual.term.weight_offset
    steps = {"stride": window.stride, "dilation": window.dilation, "groups": window.groups}
    expected = expected_sums(padded, w, table, **steps)
    size = window.out_size(x.shape[2:], w.shape[2:])
    for count in threads:
        guarded = np.full((len(x) + 1, *size, len(w)), 12345, np.int32)
        operation.run(count, x, 1.0, 128, guarded[:-1])
        assert (guarded[-1] == 12345).all(), "written behind the output"
        np.testing.assert_array_equal(guarded[:-1].transpose(0, 3, 1, 2), expected)


@st.composite
def layers(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group, out = draw(st.integers(1, 23)), draw(st.integers(1, 70))
    if groups > 1:
        per_group = max(per_group, 2)
    size = st.integers(1, 3)
    kernel, stride, dilation = (draw(st.tuples(size, size)) for _ in range(3))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    image = [
        max(1, e - 2 * p) + draw(st.integers(0, 20)) for e, p in zip(extent, padding, strict=True)
    ]
    x_shape = (draw(st.integers(1, 3)), groups * per_group, *image)
    return x_shape, (groups * out, per_group, *kernel), Window(stride, padding, dilation, groups)


@pytest.mark.parametrize("isa", ISAS)
@given(
    layer=layers(),
    masked=st.booleans(),
    last=st.booleans(),
    scale=st.sampled_from([0, 128, -3]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=examples(15), deadline=None)
def test_any_layer(isa, layer, masked, last, scale, threads, seed):
    x_shape, w_shape, window = layer
    rng = np.random.default_rng(seed)
    x, w = codes(rng, *x_shape), codes(rng, *w_shape)
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    check_sums(make_residual(rng, masked=masked, scale=scale), x, w, window, isa, (threads,))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [64, 65, 300])
def test_the_largest_residuals_everywhere(isa, channels, rng):
    """Every product takes off the most, more in all than 16 bits hold."""
    residual = make_residual(rng, rows=np.full((256, CLASSES), LARGEST))
    x, w = codes(rng, 1, channels, 6, 9), codes(rng, 33, channels, 3, 3)
    check_sums(residual, x, w, Window(padding=(1, 1)), isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("weight_class", [0, CLASSES - 1])
def test_one_class_of_weights(isa, weight_class, rng):
    rows = np.zeros((256, CLASSES), np.int64)
    rows[:, weight_class] = rng.integers(0, LARGEST + 1, 256)
    residual = make_residual(rng, rows=rows, weight_class=np.full(256, weight_class))
    check_sums(residual, codes(rng, 2, 5, 7, 7), codes(rng, 17, 5, 3, 3), Window(), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_threads_and_bands_do_not_change_the_sums(isa, rng):
    x, w = codes(rng, 2, 24, 40, 40), codes(rng, 16, 24, 3, 3)
    check_sums(make_residual(rng), x, w, Window(padding=(1, 1)), isa, threads=(1, 2, 3))


def test_classes_are_packed_beside_their_weights(rng):
    """In bytes 4 and in int16 2 classes of a unit, each with its position there."""
    residual = make_residual(rng)
    w = codes(rng, 3, 5, 1, 2)
    for code_bytes, unit in ((1, 4), (2, 2)):
        units = -(-5 // unit)
        packed = pack_classes(residual, w, 1, code_bytes).reshape(2, units, 16, unit)
        for kx, channel in ((0, 0), (1, 3), (1, 4)):
            at = packed[kx, channel // unit, :3, channel % unit]
            classes = residual.weight_class[w[:, channel, 0, kx]]
            np.testing.assert_array_equal(at, CLASSES * (channel % unit) + classes)


def test_layers_that_cannot_use_it(rng):
    def convolve(name, w, window):
        quantiser = Quantiser(torch.tensor(0.1), 128)
        output = Output(128, torch.tensor(128), torch.tensor(0.01))
        table = plan(LIBRARY[name].table)
        w = torch.from_numpy(w)
        Convolution(table, w, window, quantiser, output, signed=True, method="residual")

    convolve("mul8s_1KX2", codes(rng, 4, 4, 3, 3), Window())
    with pytest.raises(ArgumentError, match="must not be 'residual'"):
        convolve("mul8s_1KX2", codes(rng, 4, 1, 3, 3), Window(groups=4))
    with pytest.raises(ArgumentError, match="must not be 'residual'"):
        convolve("mul8s_1KV8", codes(rng, 4, 4, 3, 3), Window())

"""The emulated product of two activations, against loops, in every format and order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from grid import each
from window_reference import random_multiplier

from axopt.errors import AccumulatorError, ArgumentError, CalibrationError
from axopt.kernels import MatrixProduct, Output, Quantiser, matmul_sums, plan
from axopt.layers import Accumulator, EmulatedMatMul, Gradient, Quantisation, QuantParams, Steps
from axopt.modules import MatMul

MULTIPLIERS = [
    "mul8s_1KV8", "mul8s_1KVB", "mul8s_1L1G", "mul8s_1KX2",
    "mul8u_1JFF", "mul8u_JQQ", "mul8u_17QU", "mul8u_2HH", "mul8u_2AC",
]  # fmt: skip
SHAPES = [
    ((3, 4), (4, 5)),
    ((1, 1), (1, 1)),
    ((2, 3, 17), (2, 17, 5)),
    ((2, 1, 3, 4), (6, 4, 5)),
    ((7, 4), (2, 4, 1)),
]


def make_layer(multiplier, a, b, **module_options):
    """A layer calibrated on operands, which are then clipped at their edges."""
    layer = EmulatedMatMul(MatMul(**module_options), multiplier, name="product")
    layer.observing = True
    layer(a, b)
    layer.observing = False
    return layer


def operands(a_shape, b_shape):
    torch.manual_seed(0)
    return torch.randn(a_shape), torch.rand(b_shape) * 3 - 1


def reference(layer, a, b):
    """Table products one after the other in int64, zero points removed product by product."""
    formats, multiplier = layer.quantisation(), layer.multiplier
    origin = 128 if multiplier.signed else 0
    n, m = formats.activation.codes(a).long(), formats.weights.codes(b).long()
    zero_n, zero_m = int(formats.activation.zero_code), int(formats.weights.zero_code)
    n, m = n[..., :, :, None], m[..., None, :, :]
    table = torch.from_numpy(multiplier.table.astype(np.int64))
    products = table[m, n] if layer.swap else table[n, m]
    exact = (n - origin) * (m - origin)
    products = products - exact + (n - zero_n) * (m - zero_m)
    return products.sum(-2).float() * formats.output_scale


@each("swap", [False, True])
@each("shapes", SHAPES)
@pytest.mark.parametrize("name", [*MULTIPLIERS, "random signed", "random unsigned"])
def test_layer_equals_reference(name, shapes, swap, library, rng):
    random = name.startswith("random")
    multiplier = random_multiplier(name.endswith(" signed"), rng) if random else library[name]
    a, b = operands(*shapes)
    layer = make_layer(multiplier, a, b)
    layer.assign(multiplier, swap=swap)
    transposed = make_layer(multiplier, a, b.mT, transpose_b=True)
    a, b = 1.2 * a, 1.2 * b
    expected = reference(layer, a, b)
    assert torch.equal(layer(a, b), expected)
    transposed.assign(multiplier, swap=swap)
    assert torch.equal(transposed(a, b.mT), expected)


@pytest.mark.parametrize("name", MULTIPLIERS)
def test_the_fast_way_equals_the_stepwise_one(name, library):
    a, b = operands((3, 33, 65), (3, 65, 31))
    layer = make_layer(library[name], a, b)
    formats = layer.quantisation()
    fast = layer.emulated(a, b.mT, formats)
    assert torch.equal(fast, layer.emulated_stepwise(a, b.mT, formats))
    assert (layer.native_product(formats) is None) == (plan(library[name].table).terms is None)


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KVB", "mul8u_1JFF", "mul8u_2HH"])
@each("stride", [1, 4])
@each("mapped", [False, True])
def test_corrected_formats_equal_reference(name, stride, mapped, library, rng):
    multiplier = library[name]
    a, b = operands((2, 9, 12), (2, 12, 7))
    layer = make_layer(multiplier, a, b)
    codes = torch.from_numpy(rng.integers(0, 256, 256, dtype=np.uint8)) if mapped else None
    zero_w = 32 * 4 // stride if multiplier.signed else 50 // stride
    layer.correction = Quantisation(
        QuantParams(torch.tensor(0.03 * stride), torch.tensor(72 // stride), stride, codes),
        QuantParams(torch.tensor(0.02 * stride), torch.tensor(zero_w), stride, codes),
        gain=torch.tensor([0.9]),
    )
    assert torch.equal(layer(a, b), reference(layer, a, b))


@pytest.mark.parametrize("name", MULTIPLIERS)
def test_sums_equal_the_table(name, library, rng):
    table = library[name].table
    for pairs, m, n, k in [
        (1, 1, 1, 1),
        (3, 5, 7, 9),
        (2, 17, 33, 65),
        (0, 2, 3, 4),
        (2, 3, 4, 0),
    ]:
        a, w = (rng.integers(0, 256, (pairs, rows, k), dtype=np.uint8) for rows in (m, n))
        expected = table[a[:, :, None], w[:, None]].sum(-1)
        sums = matmul_sums(torch.from_numpy(a), torch.from_numpy(w), plan(table))
        assert sums.dtype == torch.int32
        np.testing.assert_array_equal(sums, expected)


def test_sums_beyond_int32_are_refused():
    table = plan(np.full((256, 256), 32767))
    codes = torch.zeros(1, 1, 2**16 + 3, dtype=torch.uint8)
    with pytest.raises(AccumulatorError, match="K = 65539"):
        matmul_sums(codes, codes, table)


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8u_1JFF", "mul8s_1KX2"])
def test_deep_products_are_exact_too(name, library):
    """Extreme operands one product beyond what float32 sums exactly, and many more."""
    multiplier = library[name]
    a, b = torch.full((1, 2, 4000), 5.0), torch.full((1, 4000, 2), -5.0)
    layer = make_layer(multiplier, a, b)
    depth = layer.native_product(layer.quantisation()).depth
    for k in (depth - 1, depth, depth + 1, 4000):
        x, y = a[:, :, :k].clone(), b[:, :k].clone()
        x[..., 0] = 0.3
        assert torch.equal(layer(x, y), reference(layer, x, y))


def test_no_sum_leaves_what_float32_holds(library):
    """The worst operands, at the greatest depth that the fast way takes."""
    for multiplier in map(library.__getitem__, MULTIPLIERS[:7]):
        found = plan(multiplier.table)
        zero = 128 if multiplier.signed else 100
        quantiser = Quantiser(torch.tensor(1.0), zero)
        output = Output(zero, torch.tensor(zero), torch.tensor(1.0))
        product = MatrixProduct(found, quantiser, quantiser, output, signed=multiplier.signed)
        extremes = torch.tensor([-200.0, 200.0])
        a = extremes[:, None].expand(2, product.depth)[None]
        codes = (a + zero).clamp(0, 255).to(torch.uint8)
        sums = matmul_sums(codes, codes, found).long()
        if not multiplier.signed:
            rows = codes.sum(2)
            sums = sums - zero * rows[:, :, None] - zero * rows[:, None] + zero**2 * a.shape[2]
        assert torch.equal(product(a, a), sums.float())


def test_nan_is_zero_and_infinity_saturates(library):
    a, b = operands((3, 4), (4, 5))
    for name in ("mul8s_1KVB", "mul8u_2HH", "mul8u_JQQ"):
        layer = make_layer(library[name], a, b)
        odd = a.clone()
        odd[0, 0], odd[1, 1], odd[2, 2] = torch.nan, torch.inf, -torch.inf
        plain = odd.nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30)
        assert torch.equal(layer(odd, b), layer(plain, b))
        assert torch.equal(layer(b.mT, odd.mT), layer(b.mT, plain.mT))


def test_ties_round_to_even(library):
    layer = make_layer(library["mul8s_1KV8"], torch.ones(1, 1), torch.ones(1, 1))
    one = QuantParams(torch.tensor(1.0), torch.tensor(128))
    layer.correction = Quantisation(one, one)
    halves = torch.arange(-130, 131)[:, None] / 2 + torch.tensor([[0.0]])
    assert torch.equal(layer(halves, torch.ones(1, 1)), halves.round().clamp(-128, 127))


def test_empty_operands_give_empty_results_or_zeros(library):
    a, b = operands((2, 3, 4), (2, 4, 5))
    for name in ("mul8s_1KV8", "mul8u_2HH", "mul8u_1JFF"):
        layer = make_layer(library[name], a, b)
        assert layer(a[:0], b[:0]).shape == (0, 3, 5)
        assert layer(a[:, :0], b).shape == (2, 0, 5)
        assert torch.equal(layer(a[..., :0], b[:, :0]), torch.zeros(2, 3, 5))


def test_dtypes_stay(library):
    a, b = operands((2, 3, 4), (2, 4, 5))
    layer = make_layer(library["mul8s_1KV8"], a, b)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert layer(a.to(dtype), b.to(dtype)).dtype == dtype


def test_shapes_that_do_not_fit_are_refused(library):
    a, b = operands((2, 3, 4), (2, 4, 5))
    layer = make_layer(library["mul8s_1KV8"], a, b)
    with pytest.raises(ArgumentError, match="agree in the axis"):
        layer(a, b.mT)
    with pytest.raises(ArgumentError, match="must be matrices"):
        layer(a[0, 0], b)


def test_calibration_is_needed_and_finite(library):
    layer = EmulatedMatMul(MatMul(), library["mul8s_1KV8"], name="product")
    a, b = operands((3, 4), (4, 5))
    with pytest.raises(CalibrationError, match="'product' was never calibrated"):
        layer(a, b)
    layer.observing = True
    b[0, 0] = torch.nan
    with pytest.raises(CalibrationError, match="'product'.*NaN"):
        layer(a, b)


def test_the_layer_has_no_state(library):
    a, b = operands((3, 4), (4, 5))
    layer = make_layer(library["mul8s_1KV8"], a, b)
    assert not layer.state_dict()
    assert not list(layer.parameters())


def test_the_sample_holds_rows_and_columns_that_meet(library):
    a, b = operands((200, 40, 6), (200, 6, 20))
    layer = make_layer(library["mul8s_1KV8"], a, b)
    windows, columns = layer.sample.windows, layer.weight.view(-1, 16, 6)
    pairs = windows.shape[1]
    assert 32 <= pairs <= 64
    assert len(columns) == pairs
    for i in range(pairs):
        (pair,) = (a[:, 0] == windows[0, i]).all(1).nonzero()
        rows = a[pair.item()]
        assert all((rows == row).all(1).any() for row in windows[:, i])
        assert all((b[pair.item()].mT == column).all(1).any() for column in columns[i])


def test_calibration_takes_matrices_of_several_sizes(library):
    layer = EmulatedMatMul(MatMul(), library["mul8s_1KV8"], name="product")
    layer.observing = True
    for m, k, n in [(5, 4, 3), (50, 4, 30), (2, 9, 2), (1, 4, 1)]:
        layer(torch.randn(2, m, k), torch.randn(2, k, n))
    layer.observing = False
    assert layer.sample.windows.shape == (32, 6, 4)
    assert layer.weight.shape == (6 * 16, 1, 4)
    layer(torch.randn(2, 9), torch.randn(9, 3))


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("kind", ["ste", "slopes", "table"])
@pytest.mark.parametrize("name", ["mul8s_1L1G", "mul8u_JQQ"])
def test_gradients_are_those_of_the_surrogate(name, kind, swap, library):
    """Of a sum over products of levels, with each level's slope of the error from the table."""
    from axopt.layers.surrogate import Grid, error_slopes

    multiplier = library[name]
    a, b = operands((2, 5, 6), (2, 6, 4))
    layer = make_layer(multiplier, a, b)
    layer.assign(multiplier, swap=swap)
    layer.gradient = Gradient(kind, rank=256, tolerance=0)
    a, b = (1.5 * a).requires_grad_(), (1.5 * b).requires_grad_()
    grad = torch.randn(2, 5, 4)
    layer(a, b).backward(grad)
    formats = layer.quantisation()
    n, m = formats.activation.levels(a).long(), formats.weights.levels(b).long()
    along_a, along_b = (
        slopes.dense() for slopes in error_slopes(multiplier, swap, layer.gradient, Grid(), Grid())
    )
    n, m = n[:, :, :, None], m[:, None]  # (pairs, rows, k, columns)
    a_hat, b_hat = formats.activation.values(n), formats.weights.values(m)
    to_a = (grad[:, :, None] * (b_hat + formats.weights.scale * along_a[n, m])).sum(3)
    to_b = (grad[:, :, None] * (a_hat + formats.activation.scale * along_b[m, n])).sum(1)
    close = {"rtol": 2e-3, "atol": 2e-3}
    torch.testing.assert_close(a.grad, to_a * formats.activation.inside(a), **close)
    torch.testing.assert_close(b.grad, to_b * formats.weights.inside(b), **close)
    assert not formats.activation.inside(a).all()


def test_gradients_sum_over_broadcast_axes(library):
    a, b = operands((2, 3, 5, 6), (6, 4))
    layer = make_layer(library["mul8s_1KV8"], a, b)
    b.requires_grad_()
    layer(a, b).sum().backward()
    wide = b.detach().expand(2, 3, 6, 4).clone().requires_grad_()
    layer(a, wide).sum().backward()
    torch.testing.assert_close(b.grad, wide.grad.sum((0, 1)))


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8u_1JFF"])
def test_learned_steps_get_the_derivative_of_the_result(name, library):
    """Exact products: moving a scale by finite differences, roundings held still."""
    a, b = operands((2, 5, 6), (2, 6, 4))
    layer = make_layer(library[name], a, b)
    formats = layer.quantisation()
    scales = [formats.activation.scale.clone(), formats.weights.scale.clone()]
    layer.steps = Steps(*(scale.requires_grad_() for scale in scales))
    grad = torch.randn(2, 5, 4)
    layer(1.5 * a, 1.5 * b).backward(grad)

    def held(x, params, elements):
        """LSQ: the level less x / s where inside, the level where clipped; its factor."""
        level = params.levels(x).double() - params.zero_point
        inside = params.inside(x)
        slope = torch.where(inside, level - x.double() / params.scale, level)
        top = (params.top - params.zero_point).clamp(min=1)
        return slope / (elements * top.double()).sqrt()

    a_hat, b_hat = (
        formats.activation.fake_quantise(1.5 * a),
        formats.weights.fake_quantise(1.5 * b),
    )
    to_a = (grad.double() * (held(1.5 * a, formats.activation, 30) @ b_hat.double())).sum()
    to_b = (grad.double() * (a_hat.double() @ held(1.5 * b, formats.weights, 6))).sum()
    torch.testing.assert_close(layer.steps.activation.grad.double(), to_a, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(layer.steps.weights.grad.double(), to_b, rtol=1e-3, atol=1e-3)


def test_bounds_are_applied(library):
    a, b = operands((3, 4), (4, 5))
    layer = make_layer(library["mul8s_1KV8"], a, b)
    free = layer(a, b)
    layer.bounds = (0.0, 1.0)
    assert torch.equal(layer(a, b), free.clamp(0, 1))
    assert torch.equal(layer.unbounded(a, b), free)


def test_copies_compute_the_same(library):
    import copy

    a, b = operands((3, 4), (4, 5))
    layer = make_layer(library["mul8s_1KVB"], a, b)
    y = layer(a, b)
    other = copy.deepcopy(layer)
    other.correction = replace(layer.quantisation(), gain=torch.tensor([0.5]))
    assert torch.equal(layer(a, b), y)
    assert torch.equal(other(a, b), y * 0.5)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("signed", [True, False])
def test_sums_overflow_as_the_accumulator_says(overflow, signed, rng):
    a, b = operands((2, 3, 7), (2, 7, 4))
    layer = make_layer(random_multiplier(signed, rng), a, b)
    wide = layer(a, b)
    layer.accumulator = Accumulator(16, overflow)
    formats, origin = layer.quantisation(), 128 if signed else 0
    n = formats.activation.codes(a).long()
    m = formats.weights.codes(b).long()
    zero_n, zero_m = int(formats.activation.zero_code), int(formats.weights.zero_code)
    table = torch.from_numpy(layer.multiplier.table.astype(np.int64))
    low, high = layer.accumulator.bounds(signed=signed)
    sums = torch.zeros(2, 3, 4, dtype=torch.int64)
    for k in range(7):
        sums = sums + table[n[:, :, k, None], m[:, None, k]]
        sums = sums.clamp(low, high) if overflow == "saturate" else (sums - low) % 2**16 + low
    x, y = n[..., None] - origin, m[:, None] - origin
    exact = (x - zero_n + origin) * (y - zero_m + origin) - x * y
    expected = (sums + exact.sum(2)).float() * formats.output_scale
    assert torch.equal(layer(a, b), expected)
    assert not torch.equal(wide, expected)

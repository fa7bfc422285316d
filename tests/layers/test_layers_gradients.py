"""Backward passes against explicit surrogates, in float64 and by finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from axopt.errors import ArgumentError
from axopt.layers import EmulatedConv2d, EmulatedLinear, Gradient, QuantParams, Shares, Steps
from axopt.layers.gradients import operand_gradients
from axopt.layers.surrogate import Grid, error_slopes, level_errors
from axopt.multipliers import Multiplier

ALL_RANKS = Gradient("table", rank=256, half_width=5, tolerance=0)

CONV_OPTIONS = {
    "plain": {},
    "padded": {"padding": 1},
    "no bias": {"padding": 1, "bias": False},
    "stride": {"stride": (2, 1), "padding": (0, 1)},
    "same": {"padding": "same"},
    "reflect": {"padding": 1, "padding_mode": "reflect"},
    "dilation": {"dilation": 2, "padding": 2},
    "groups": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4, "out_channels": 4, "padding": 1},
}


def truncating(signed, bits=4):
    """A multiplier that ignores low bits, one step more of the second operand."""
    values = np.arange(256) - 128 * signed
    table = (values[:, None] & -(1 << bits)) * (values & -(2 << bits))
    return Multiplier.from_table(
        "cut", table, signed=signed, power_mw=1.0, area_um2=1.0, delay_ns=1.0
    )


def calibrated(layer, x):
    layer.observing = True
    layer(x)
    layer.observing = False
    return layer


def make_conv(multiplier, **options):
    torch.manual_seed(0)
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options})
    x = torch.randn(2, 4, 7, 6)
    return calibrated(EmulatedConv2d(conv, multiplier), x), 1.5 * x  # some are clipped


def local_slopes(values, half_width, counts=None):
    """Weighted least squares slopes along the first axis, by loops."""
    size = len(values)
    counts = np.ones(size) if counts is None else counts
    middle = [min(max(i, half_width), size - 1 - half_width) for i in range(size)]
    window = [slice(i - half_width, i + half_width + 1) for i in middle]
    places = np.arange(size)
    # polyfit squares its weights
    fits = [np.polyfit(places[w], values[w], 1, w=np.sqrt(counts[w])) for w in window]
    return np.stack([fit[0] for fit in fits])


def peaked(middle, width=20.0):
    """Shares of levels around one of them, and how much each then counts."""
    shares = np.exp(-np.abs(np.arange(256) - middle) / width)
    shares /= shares.sum()
    return shares.tobytes(), 0.9 * shares + 0.1 / 256


def test_the_weight_is_the_first_operand_where_swapped():
    multiplier = truncating(True)
    errors = multiplier.table - np.outer(*[np.arange(256) - 128] * 2)
    assert not np.array_equal(errors, errors.T)
    for swap, expected in ((False, errors), (True, errors.T)):
        np.testing.assert_array_equal(level_errors(multiplier, swap, Grid(), Grid()), expected)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_all_terms_together_are_the_local_slopes_of_the_error(signed, swap):
    multiplier = truncating(signed)
    errors = level_errors(multiplier, swap, Grid(), Grid())
    along_x, along_w = error_slopes(multiplier, swap, ALL_RANKS, Grid(), Grid())
    np.testing.assert_allclose(along_x.dense().numpy(), local_slopes(errors, 5), atol=2e-3)
    np.testing.assert_allclose(along_w.dense().numpy(), local_slopes(errors.T, 5), atol=2e-3)


def test_slopes_and_means_are_weighted_by_the_shares_of_levels():
    multiplier = truncating(False)
    errors = level_errors(multiplier, False, Grid(), Grid())
    (a, counts_a), (w, counts_w) = peaked(3), peaked(120)
    along = error_slopes(multiplier, False, ALL_RANKS, Grid(shares=a), Grid(shares=w))
    for slopes, values, counts in zip(
        along, (errors, errors.T), (counts_a, counts_w), strict=True
    ):
        local = local_slopes(values, 5, counts)
        np.testing.assert_allclose(slopes.dense().numpy(), local, atol=5e-3)
        np.testing.assert_allclose(slopes.other[0].numpy(), counts @ local, atol=5e-3)


def test_few_terms_are_the_best_where_the_levels_are(library):
    """Beside the mean no other term errs less by the shares; an unweighted one errs more."""
    multiplier = library["mul8u_FTA"]
    (a, counts_a), (w, counts_w) = peaked(3), peaked(120)
    grids = (Grid(shares=a), Grid(shares=w))
    roots = np.sqrt(np.outer(counts_a, counts_w))
    gradient = Gradient("table", rank=2, tolerance=0)
    dense = error_slopes(multiplier, False, replace(gradient, rank=256), *grids)[0].dense()

    def error(slopes):
        return np.linalg.norm(roots * (slopes.dense() - dense).numpy())

    weighted = error(error_slopes(multiplier, False, gradient, *grids)[0])
    unweighted = error(error_slopes(multiplier, False, gradient, Grid(), Grid())[0])
    rest = roots * (dense.numpy() - counts_a @ dense.double().numpy())
    least = np.linalg.norm(np.linalg.svd(rest, compute_uv=False)[1:])
    np.testing.assert_allclose(weighted, least, rtol=1e-3)
    assert weighted < 0.9 * unweighted


def test_slopes_are_those_of_lines_through_all_products(library):
    multiplier = library["mul8s_1L1G"]
    along_x, along_w = error_slopes(multiplier, False, Gradient("slopes"), Grid(), Grid())
    levels = np.arange(256) - 128
    for slopes, table in ((along_x, multiplier.table), (along_w, multiplier.table.T)):
        lines = np.polyfit(levels, table, 1)[0]
        assert slopes.terms == 1
        np.testing.assert_allclose(slopes.other[0].numpy() + levels, lines, atol=1e-4)


def test_errors_are_taken_between_the_levels_of_remapped_codes(library):
    """1L2D multiplies multiples of four exactly: on those levels there is no error."""
    multiplier = library["mul8s_1L2D"]
    grid = Grid(4)
    assert level_errors(multiplier, False, Grid(), Grid()).any()
    assert not level_errors(multiplier, False, grid, grid).any()
    codes = bytes(min(4 * level + 1, 255) for level in range(256))
    shifted = level_errors(multiplier, False, Grid(4, codes), grid)
    assert shifted.shape == (64, 64)
    np.testing.assert_array_equal(
        shifted, multiplier.table[1::4, ::4] / 16 - np.outer(*[np.arange(64) - 32] * 2)
    )


def test_fewer_terms_are_the_nearest_and_small_ones_are_left_out():
    multiplier = truncating(True)
    errors = []
    dense = error_slopes(multiplier, False, ALL_RANKS, Grid(), Grid())[0].dense()
    for rank in (1, 2, 3):
        gradient = replace(ALL_RANKS, rank=rank)
        slopes = error_slopes(multiplier, False, gradient, Grid(), Grid())[0]
        assert slopes.terms <= rank
        errors.append(float((slopes.dense() - dense).norm()))
    assert errors[0] > errors[1] >= errors[2]
    tolerant = replace(ALL_RANKS, tolerance=10.0)
    assert error_slopes(multiplier, False, tolerant, Grid(), Grid())[0].terms == 1


@pytest.mark.parametrize("kind", ["slopes", "table"])
@pytest.mark.parametrize("signed", [False, True])
def test_exact_multipliers_have_the_straight_through_gradient(kind, signed, library):
    found = []
    for gradient in (Gradient("ste"), Gradient(kind)):
        layer, x = make_conv(library.exact(signed), padding=1)
        layer.gradient = gradient
        x.requires_grad_()
        layer(x).square().sum().backward()
        found.append([x.grad, layer.weight.grad, layer.bias.grad])
    for ours, straight in zip(*reversed(found), strict=True):
        torch.testing.assert_close(ours, straight, rtol=1e-5, atol=1e-3)


def test_the_straight_through_gradient_is_that_of_torchs_fake_quantisers(library):
    layer, x = make_conv(library.exact(False), padding=1)
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    x = (2 * x).requires_grad_()
    reference, weight = (v.detach().clone().requires_grad_() for v in (x, layer.weight))
    layer(x).square().sum().backward()
    y = functional.conv2d(
        torch.fake_quantize_per_tensor_affine(
            reference, float(activation.scale), int(activation.zero_point), 0, 255
        ),
        torch.fake_quantize_per_channel_affine(
            weight, weights.scale, weights.zero_point.int(), 0, 0, 255
        ),
        layer.bias.detach(),
        padding=1,
    )
    y.square().sum().backward()
    assert 0 < (reference.grad == 0).float().mean() < 1
    torch.testing.assert_close(x.grad, reference.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-4, atol=1e-2)


class Straight(torch.autograd.Function):
    """``value`` in the forward pass, ``slope`` as derivative where ``inside``."""

    @staticmethod
    def forward(ctx, x, value, slope):
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None, None


def explicit_gradients(layer, x, grad, slopes):
    """Gradients of x, weight and bias in float64: one convolution a term, padded explicitly."""
    formats = layer.quantisation()
    x, w = (v.detach().double().requires_grad_() for v in (x, layer.weight))
    bias = torch.zeros(len(w), dtype=torch.float64, requires_grad=True)

    def terms(v, params, own, other):
        """What depends on the operand: with the slope as derivative; as a value."""
        levels = params.levels(v.float()).long()
        inside = params.inside(v.float()).double()
        value, scale = params.values(levels).double(), params.scale.double()
        if params.per_channel:
            scale = scale.view(-1, *(1,) * (v.ndim - 1))
        factor = scale * other.double()[:, levels]
        factor[0] += value
        slope = own.double()[:, levels] * inside
        moving = [Straight.apply(v, torch.zeros_like(v), s) for s in slope]
        return moving, factor.detach()

    padded = x
    if isinstance(layer, EmulatedConv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(x, layer.padding, mode=mode)
    moving_x, factor_x = terms(padded, formats.activation, slopes[0].own, slopes[1].other)
    moving_w, factor_w = terms(w, formats.weights, slopes[1].own, slopes[0].other)
    if formats.gain is not None:
        gain = formats.gain.double().view(-1, *(1,) * (w.ndim - 1))
        factor_w, moving_w = factor_w * gain, [m * gain for m in moving_w]

    def product(a, b):
        if isinstance(layer, EmulatedLinear):
            return functional.linear(a, b)
        return functional.conv2d(a, b, None, layer.stride, 0, layer.dilation, layer.groups)

    y = sum(product(a, b) for a, b in zip(moving_x, factor_w, strict=False))
    y = y + sum(product(a, b) for a, b in zip(factor_x, moving_w, strict=False))
    y = y + (bias.view(-1, 1, 1) if y.ndim == 4 else bias)
    return torch.autograd.grad(y, (x, w, bias), grad.double())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS.keys())
def test_convolution_gradients_are_those_of_the_explicit_surrogate(options, signed):
    layer, x = make_conv(truncating(signed), **options)
    for gradient in (Gradient("slopes"), Gradient("table", rank=3, half_width=4, tolerance=0)):
        layer.gradient = gradient
        slopes = error_slopes(layer.multiplier, False, gradient, Grid(), Grid())
        x = x.detach().requires_grad_()
        layer.zero_grad()
        y = layer(x)
        grad = torch.randn(y.shape)
        y.backward(grad)
        expected = explicit_gradients(layer, x, grad, slopes)
        found = [x.grad, layer.weight.grad] + ([] if layer.bias is None else [layer.bias.grad])
        for ours, theirs in zip(found, expected, strict=False):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_linear_gradients_are_those_of_the_explicit_surrogate(shape):
    torch.manual_seed(0)
    layer = calibrated(EmulatedLinear(nn.Linear(5, 4), truncating(False)), torch.randn(50, 5))
    layer.gradient = Gradient("table", rank=2, half_width=4)
    layer.assign(layer.multiplier, swap=True)
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    slopes = error_slopes(layer.multiplier, True, layer.gradient, Grid(), Grid())
    expected = explicit_gradients(layer, x, grad, slopes)
    for ours, theirs in zip((x.grad, layer.weight.grad, layer.bias.grad), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_gains_codes_zero_points_and_shares_are_in_the_gradient():
    layer, x = make_conv(truncating(True), padding=1)
    formats = layer.quantisation()
    codes = torch.arange(256).mul(8).clamp(max=255).to(torch.uint8)
    layer.correction = replace(
        formats,
        activation=QuantParams(8 * formats.activation.scale, torch.tensor(13), 8, codes),
        weights=replace(formats.weights, zero_point=formats.weights.zero_point),
        gain=torch.linspace(0.5, 1.5, 6),
        shift=torch.linspace(-1, 1, 6),
    )
    layer.gradient = Gradient("table", rank=2, half_width=32, tolerance=0)
    layer.shares = shares = Shares.of(layer)
    x.requires_grad_()
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    grids = (Grid(8, bytes(codes.tolist()), shares.activation), Grid(shares=shares.weights))
    slopes = error_slopes(layer.multiplier, False, layer.gradient, *grids)
    expected = explicit_gradients(layer, x, grad, slopes)
    for ours, theirs in zip((x.grad, layer.weight.grad, layer.bias.grad), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_gradcheck_of_the_surrogate_where_it_is_smooth():
    """The backward pass, term by term in float64, of a function with these very slopes.

    With slopes that do not depend on the operand itself the surrogate is linear in it.
    """
    multiplier = truncating(True)
    layer, x = make_conv(multiplier, padding=1)
    layer.gradient = Gradient("slopes")
    formats = layer.quantisation()
    slopes = error_slopes(multiplier, False, layer.gradient, Grid(), Grid())
    weight = layer.weight.detach().double()

    class Surrogate(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            rows = formats.weights.levels(weight).long()
            scale = formats.weights.scale.double().view(-1, 1, 1, 1)
            factor = formats.weights.values(rows).double() + scale * slopes[0].other[0][rows]
            return functional.conv2d(x, factor, padding=1)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            needs = (True, False, False)
            return operand_gradients(layer, grad, (x, weight), formats, slopes, needs)[0]

    inner = (x[:1, :, :4, :4] / 3).double().requires_grad_()
    assert formats.activation.inside(inner).all()
    assert torch.autograd.gradcheck(Surrogate.apply, inner)


def test_bounds_stop_the_gradient_where_the_result_lies_on_them(library):
    layer, x = make_conv(library.exact(True))
    layer.bounds = (0.0, 0.5)
    x.requires_grad_()
    y = layer(x)
    y.sum().backward()
    between = ((y > 0) & (y < 0.5)).sum((0, 2, 3))
    assert 0 < between.sum() < y.numel()
    assert torch.equal(layer.bias.grad, between.float())


def test_bfloat16_is_near_float32(library):
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        layer, x = make_conv(library["mul8s_1L1G"], padding=1)
        layer.gradient = Gradient("table", dtype=dtype)
        x.requires_grad_()
        layer(x).sum().backward()
        assert x.grad.dtype == torch.float32
        grads.append(x.grad)
    assert 0 < (grads[0] - grads[1]).norm() / grads[0].norm() < 0.01


def test_unbatched_images_have_gradients(library):
    layer, x = make_conv(library["mul8s_1L1G"], padding=1)
    layer.gradient = Gradient("table", tolerance=0, half_width=4)
    one, many = x[0].clone().requires_grad_(), x[:1].clone().requires_grad_()
    layer(one).square().sum().backward()
    layer(many).square().sum().backward()
    torch.testing.assert_close(one.grad, many.grad[0])


def learned_step_reference(x, scale, zero_point, grad_scale):
    """LSQ as its paper writes it, for an affine grid of 256 levels: by autograd, in float64.

    Clipped is what rounds to no level, as in torch's fake quantisers.
    """
    scale = scale * grad_scale + (scale - scale * grad_scale).detach()
    place, least, most = x / scale, -zero_point, 255 - zero_point
    place = torch.where(
        place.round() > most, most, torch.where(place.round() < least, least, place)
    )
    return (place + (place.round() - place).detach()) * scale


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_learned_steps_of_exact_products_are_lsq(signed, per_channel, library):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 6, 3, padding=1), torch.randn(2, 4, 7, 6)
    layer = EmulatedConv2d(conv, library.exact(signed), per_channel=per_channel)
    calibrated(layer, x)
    formats = layer.quantisation()
    weights = replace(formats.weights, scale=formats.weights.scale * 0.7)  # clips some
    layer.fix_quantisation(signed, replace(formats, weights=weights))
    formats = layer.quantisation()
    scales = [p.scale.clone().requires_grad_() for p in (formats.activation, formats.weights)]
    layer.steps = Steps(*scales)
    x = (1.3 * x).requires_grad_()
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)

    operands, factors = [], []
    for v, params in ((x, formats.activation), (layer.weight, formats.weights)):
        scale = params.scale.detach().double().requires_grad_()
        zero_point = params.zero_point.double()
        factor = (v[0].numel() * (255 - zero_point)).rsqrt()
        shape = (-1, 1, 1, 1) if params.per_channel else ()
        quantised = learned_step_reference(
            v.detach().double(), scale.view(shape), zero_point.view(shape), factor.view(shape)
        )
        operands.append(quantised)
        factors.append(scale)
    functional.conv2d(*operands, padding=1).backward(grad.double())
    for ours, theirs in zip(scales, factors, strict=True):
        assert ours.grad.shape == theirs.grad.shape
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-3, atol=1e-3)


def test_learned_steps_of_linear_layers_and_without_bias(library):
    torch.manual_seed(0)
    x = torch.randn(20, 5)
    layer = calibrated(EmulatedLinear(nn.Linear(5, 4, bias=False), library.exact(True)), x)
    formats = layer.quantisation()
    scales = [p.scale.clone().requires_grad_() for p in (formats.activation, formats.weights)]
    layer.steps = Steps(*scales)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert all(bool(scale.grad.isfinite().all()) for scale in scales)
    assert scales[1].grad.shape == (4,)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "exact"}, "`gradient`"),
        ({"rank": 0}, "`rank`"),
        ({"half_width": 256}, "`half_width`"),
        ({"tolerance": float("nan")}, "`tolerance`"),
        ({"dtype": torch.float64}, "`dtype`"),
    ],
)
def test_wrong_options_are_named(fields, named):
    with pytest.raises(ArgumentError, match=named):
        Gradient(**fields)

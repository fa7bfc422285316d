import math

import pytest
import torch
from grid import each

from axopt.errors import ArgumentError, CalibrationError
from axopt.layers import (
    CALIBRATORS,
    STRIDES,
    Histogram,
    QuantParams,
    activation_params,
    weight_params,
)
from axopt.layers.histogram import BINS

ONE_STEP = 1
"""Rounding x * (1 / scale) as torch does and x / scale as we do may differ by one level."""


def params(low, high, signed):
    return QuantParams.from_range(torch.tensor(low), torch.tensor(high), signed=signed)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 6.0), (-2.5, 0.0), (0.3, 0.9)])
def test_equals_torch_fake_quantize_within_one_step(signed, low, high):
    x = torch.linspace(-8, 8, 10_001)
    p = params(low, high, signed)
    offset = 128 if signed else 0
    expected = torch.fake_quantize_per_tensor_affine(
        x, p.scale.item(), int(p.zero_point) - offset, 0 - offset, 255 - offset
    )
    steps = ((p.fake_quantise(x) - expected) / p.scale).round()
    assert steps.abs().max() <= ONE_STEP
    assert (steps == 0).float().mean() > 0.99


@pytest.mark.parametrize("signed", [True, False])
def test_per_channel_weight_equals_torch_within_one_step(signed):
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    weight *= torch.tensor([1e-3, 0.1, 1, 10, 1e3]).view(-1, 1, 1, 1)
    p = weight_params(weight, signed=signed, per_channel=True)
    offset = 128 if signed else 0
    expected = torch.fake_quantize_per_channel_affine(
        weight, p.scale, (p.zero_point - offset).int(), 0, 0 - offset, 255 - offset
    )
    steps = (p.fake_quantise(weight) - expected) / p.scale.view(-1, 1, 1, 1)
    assert steps.abs().round().max() <= ONE_STEP
    # every channel is as fine as its own range allows
    assert ((p.fake_quantise(weight) - weight).abs() <= 0.51 * p.scale.view(-1, 1, 1, 1)).all()


def test_rounds_half_to_even():
    p = params(-127.0, 127.0, True)
    codes = p.codes(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5]))
    assert (codes.long() - 128).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.parametrize("signed", [True, False])
def test_zero_is_exact_and_specials_are_defined(signed):
    p = params(-0.7, 1.9, signed)
    x = torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45])
    zero = int(p.zero_point)
    assert p.codes(x).tolist() == [zero, zero, zero, 255, 0, 255, 0, zero]
    assert p.fake_quantise(torch.zeros(3)).tolist() == [0, 0, 0]
    assert p.inside(torch.tensor([math.nan, math.inf, 0.0])).tolist() == [False, False, True]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-40, 1e30])
def test_constant_tensor_has_a_usable_scale(signed, value):
    histogram = Histogram()
    histogram.update(torch.full((10,), value))
    for name in CALIBRATORS:
        p = activation_params(histogram, signed=signed, calibrator=name)
        assert 0 < p.scale < math.inf
        error = (p.fake_quantise(torch.tensor(value)) - value).abs()
        assert error <= p.scale * 0.51


def test_all_zero_channel_keeps_scale_one():
    weight = torch.stack([torch.zeros(4), torch.ones(4)])
    p = weight_params(weight, signed=True, per_channel=True)
    assert p.scale[0] == 1
    assert p.fake_quantise(weight)[0].tolist() == [0, 0, 0, 0]


def test_empty_input_gives_empty_codes_and_empty_calibration_is_an_error():
    assert params(-1.0, 1.0, True).codes(torch.empty(0, 3)).shape == (0, 3)
    histogram = Histogram()
    histogram.update(torch.empty(0))
    with pytest.raises(CalibrationError, match="no values"):
        activation_params(histogram, signed=True, calibrator="mse")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_calibration_is_an_error_and_counts_nothing(bad):
    histogram = Histogram()
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        histogram.update(torch.tensor([1.0, bad]))
    assert histogram.empty
    assert histogram.counts.sum() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_weight_is_an_error(bad):
    with pytest.raises(ArgumentError, match="finite"):
        weight_params(torch.tensor([[1.0, bad]]), signed=True, per_channel=False)


@pytest.mark.parametrize(
    ("scale", "zero_point", "message"),
    [([0.0], [1], "positive"), ([math.nan], [1], "positive"), ([1.0], [256], "0..255")],
)
def test_malformed_params_are_refused(scale, zero_point, message):
    with pytest.raises(ArgumentError, match=message):
        QuantParams(torch.tensor(scale), torch.tensor(zero_point))


def test_histogram_does_not_depend_on_batching_or_order():
    x = torch.randn(5000, generator=torch.Generator().manual_seed(1)).exp() - 1
    whole, pieces = Histogram(), Histogram()
    whole.update(x)
    for piece in reversed(x.split(77)):
        pieces.update(piece)
    assert whole.limit == pieces.limit
    assert torch.equal(whole.counts, pieces.counts)
    assert int(whole.counts.sum()) == 5000
    assert (whole.low, whole.high) == (float(x.min()), float(x.max()))


def test_doubling_merges_pairs_of_bins():
    histogram = Histogram()
    histogram.update(torch.tensor([-0.9, -0.3, 0.3, 0.9]))
    histogram.update(torch.tensor([3.0]))
    direct = torch.histc(torch.tensor([-0.9, -0.3, 0.3, 0.9, 3.0]), BINS, -4, 4)
    assert torch.equal(histogram.counts, direct.long())


@pytest.mark.parametrize("signed", [True, False])
def test_mse_is_no_worse_than_any_clipping_it_considers(signed):
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(2)) ** 3
    histogram = Histogram()
    histogram.update(x)

    def error(name):
        p = activation_params(histogram, signed=signed, calibrator=name)
        return (p.fake_quantise(x) - x).square().mean()

    assert error("mse") < 0.98 * error("minmax")
    assert error("mse") <= 1.01 * min(error(name) for name in CALIBRATORS)


def test_percentile_drops_the_tail_only():
    x = torch.cat([torch.linspace(0, 1, 99_999), torch.tensor([100.0])])
    histogram = Histogram()
    histogram.update(x)
    p = activation_params(histogram, signed=False, calibrator="percentile")
    assert 0.99 < float(p.scale) * 255 < 1.1
    assert float(activation_params(histogram, signed=False, calibrator="minmax").scale) * 255 == (
        pytest.approx(100)
    )


def test_entropy_clips_a_lone_outlier():
    x = torch.cat([torch.rand(100_000, generator=torch.Generator().manual_seed(3)) * 2 - 1])
    x = torch.cat([x, torch.tensor([3.5])])
    histogram = Histogram()
    histogram.update(x)
    p = activation_params(histogram, signed=True, calibrator="entropy")
    assert 0.9 < float(p.scale) * 127 < 1.5


def test_unknown_calibrator_is_named():
    with pytest.raises(ArgumentError, match="'median'"):
        activation_params(Histogram(), signed=True, calibrator="median")


@each("stride", STRIDES)
@each("signed", [True, False])
@each("low, high", [(-1.0, 3.0), (0.0, 6.0), (-2.5, 0.0), (-1.0, 1.0)])
def test_strides_leave_fewer_levels(stride, signed, low, high):
    p = QuantParams.from_range(torch.tensor(low), torch.tensor(high), signed=signed, stride=stride)
    zero = int(p.zero_point)
    assert p.top == 256 // stride - 1
    assert int(p.zero_code) == zero * stride
    assert float(p.unit) * stride == pytest.approx(float(p.scale))
    if signed:
        assert int(p.zero_code) == 128
    every = torch.arange(p.top + 1)
    assert torch.equal(p.values(every), (every - zero) * p.scale)
    assert torch.equal(p.levels(p.values(every)).long(), every)
    x = torch.linspace(-10, 10, 4001)
    levels = p.levels(x)
    nearest = (x[:, None] - p.values(every)).abs().amin(1)
    assert ((p.fake_quantise(x) - x).abs() <= nearest * 1.00001 + 1e-6).all()
    assert torch.equal(p.codes(x).long(), levels.long() * stride)
    middle = (x * p.scale.reciprocal()).round() + zero
    assert torch.equal(p.inside(x), (middle >= 0) & (middle <= p.top))
    # two symmetric levels, zero and one below it, cannot cover what is above zero
    if not (signed and stride == 128):
        ends = torch.tensor([low, 0.0, high])
        assert ((p.fake_quantise(ends) - ends).abs() <= 0.5001 * p.scale).all()


def test_levels_map_to_strides_or_codes():
    scale, zero = torch.tensor(0.5), torch.tensor(3)
    assert QuantParams(scale, zero).code_table is None
    strided = QuantParams(scale, zero, 32)
    expected = [32 * min(n, 7) for n in range(256)]
    assert strided.code_table.tolist() == expected
    codes = torch.arange(256, dtype=torch.uint8).flip(0)
    mapped = QuantParams(scale, zero, 32, codes)
    assert mapped.code_table.tolist() == [255 - min(n, 7) for n in range(256)]
    x = torch.tensor([-9.0, -1.5, 0.0, 0.5, 2.0, 99.0])
    assert mapped.levels(x).tolist() == strided.levels(x).tolist() == [0, 0, 3, 4, 7, 7]
    assert mapped.codes(x).tolist() == [255, 255, 252, 251, 248, 248]
    assert strided.codes(x).tolist() == [0, 0, 96, 128, 224, 224]
    assert torch.equal(mapped.fake_quantise(x), strided.fake_quantise(x))
    assert int(mapped.zero_code) == int(strided.zero_code) == 96
    assert float(mapped.unit) == 0.5 / 32


def test_channels_have_a_stride_in_common():
    p = QuantParams.from_range(
        torch.tensor([-2.0, 0.0]), torch.tensor([1.0, 4.0]), signed=False, stride=64
    )
    assert p.per_channel
    assert p.zero_code.tolist() == [128, 0]
    assert p.scale.tolist() == pytest.approx([1, 4 / 3])
    assert p.codes(torch.tensor([[-2.0, 1.0], [0.0, 4.0]])).tolist() == [[0, 192], [0, 192]]


@pytest.mark.parametrize(
    ("zero_point", "stride", "codes", "message"),
    [
        (1, 3, None, "`stride` must be one of"),
        (1, 0, None, "`stride`"),
        (1, 256, None, "`stride`"),
        (1, -2, None, "`stride`"),
        (1, 2.0, None, "`stride`"),
        (1, True, None, "`stride`"),
        (1, "2", None, "`stride`"),
        (64, 4, None, r"`zero_point` must be in 0\.\.63"),
        (-1, 4, None, "`zero_point`"),
        (1, 1, torch.arange(256), r"`code_of_level` .*int64"),
        (1, 1, torch.zeros(255, dtype=torch.uint8), r"`code_of_level` .*\(255,\)"),
    ],
)
def test_malformed_strides_and_codes_are_refused(zero_point, stride, codes, message):
    with pytest.raises(ArgumentError, match=message):
        QuantParams(torch.tensor(1.0), torch.tensor(zero_point), stride, codes)

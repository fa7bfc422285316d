import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from window_reference import padded_input

from axopt.layers import EmulatedConv2d, EmulatedLinear
from axopt.layers.observation import BINS, WINDOWS, ChannelHistograms, WindowSample

GOLDEN = 2654435769
TORCH_COPIES_FOR_EVEN_SAME = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths"
)

CONV_OPTIONS = {
    "plain": {},
    "stride": {"stride": (2, 1), "padding": (1, 0)},
    "dilation": {"dilation": (2, 3), "padding": 2},
    "same": {"padding": "same", "kernel_size": (3, 4)},
    "reflect": {"padding": 2, "padding_mode": "reflect"},
    "replicate": {"padding": (1, 2), "padding_mode": "replicate", "stride": 2},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "groups": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4, "out_channels": 8, "dilation": 2},
}


def values(n=3000, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(channels, n, generator=generator) * torch.tensor([[0.01], [1.0], [7.0]])
    return torch.where(torch.rand(x.shape, generator=generator) < 0.2, 0.0, x)


def observed(*parts):
    histograms = ChannelHistograms()
    for x in parts:
        histograms.update(x)
    return histograms


def test_counts_zeros_and_sums_of_every_channel():
    x = values()
    found = observed(x)
    assert found.limit == 2.0 ** np.ceil(np.log2(float(x.abs().max())))
    for channel, row in enumerate(x):
        nonzero = row[row != 0]
        direct, _ = np.histogram(nonzero.double(), BINS, (-found.limit, found.limit))
        assert found.counts[channel].tolist() == direct.tolist()
        assert int(found.zeros[channel]) == len(row) - len(nonzero) > 0
        assert float(found.sums[channel]) == pytest.approx(float(row.double().sum()))
        assert float(found.squares[channel]) == pytest.approx(float(row.double().square().sum()))
    assert found.totals.tolist() == [3000] * 3
    torch.testing.assert_close(found.means(), x.double().mean(1))
    torch.testing.assert_close(found.mean_squares(), x.double().square().mean(1))
    torch.testing.assert_close(found.zero_shares(), (x == 0).double().mean(1))


def test_a_wide_layer_is_counted_in_time_linear_in_its_input():
    """Neither a batch nor a larger value costs a pass over all bins of 16,384 channels."""
    x = torch.linspace(-1000, 1000, 16384 * 2).view(16384, 2)
    bins = torch.zeros(16384, BINS, dtype=torch.int64)
    bins += 1  # its memory is there
    started = time.perf_counter()
    for _ in range(3):
        bins += 1
    three_passes = time.perf_counter() - started
    started = time.perf_counter()
    observed(x, x, x, x)
    assert time.perf_counter() - started < 10 * three_passes


@pytest.mark.parametrize("backwards", [False, True])
def test_batches_and_their_order_do_not_matter(backwards):
    x = values()
    parts = list(x.split(77, dim=1))
    whole, pieces = observed(x), observed(*(reversed(parts) if backwards else parts))
    assert whole.limit == pieces.limit
    assert torch.equal(whole.counts, pieces.counts)
    assert torch.equal(whole.zeros, pieces.zeros)
    torch.testing.assert_close(whole.sums, pieces.sums)


def test_limits_of_tiny_and_huge_values():
    found = observed(torch.tensor([[1e-20, -1e-20]]), torch.tensor([[1e30, -1e30]]))
    assert found.limit >= 1e30
    assert int(found.counts.sum()) == 4
    assert observed(torch.empty(3, 0)).counts.shape == (0, BINS)


def test_shares_between_borders():
    x = values()
    found = observed(x)
    width = 2 * found.limit / BINS
    infinity = torch.tensor([float("inf")], dtype=torch.float64)
    at_edges = torch.arange(-BINS // 2, BINS // 2 + 1, 97) * width
    borders = torch.cat([-infinity, at_edges, infinity])
    shares = found.shares_between(borders)
    direct = torch.stack(
        [
            ((x != 0) & (x >= low) & (x < high)).double().mean(1)
            for low, high in zip(borders[:-1], borders[1:], strict=True)
        ],
        dim=1,
    )
    torch.testing.assert_close(shares, direct)
    between = found.shares_between(at_edges[:-1] + 0.25 * width)
    at = ((at_edges / width) + BINS // 2).long()
    below = functional.pad(found.counts.cumsum(1), (1, 0)).double()
    expected = below[:, at] + 0.25 * (below[:, (at + 1).clamp(max=BINS)] - below[:, at])
    torch.testing.assert_close(between, expected[:, :-1].diff(dim=1) / 3000)


def test_padding_thins_everything_and_adds_zeros():
    x = values()
    found, padded = observed(x), observed(x)
    padded.padded_share = 0.25
    torch.testing.assert_close(padded.means(), 0.75 * found.means())
    torch.testing.assert_close(padded.mean_squares(), 0.75 * found.mean_squares())
    borders = torch.tensor([-float("inf"), -0.1, 0.3, float("inf")], dtype=torch.float64)
    shares = padded.shares_between(borders)
    torch.testing.assert_close(shares, 0.75 * found.shares_between(borders))
    total = shares.sum(1) + padded.zero_shares()
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("images", [4096, 250])
def test_columns_of_large_batches_are_counted_alike(images):
    """A subset of so many values must not consist of a few columns of the images."""
    columns = torch.arange(32.0) + 1
    x = columns.expand(16, images, 32, 32).reshape(16, -1)
    found = observed(x)
    assert float(found.totals[0]) < x.shape[1]
    torch.testing.assert_close(
        found.means(), torch.full((16,), 16.5, dtype=torch.float64), rtol=0.01, atol=0
    )


def sampled(parts):
    """A sample of numbers, each a window of its own."""
    sample = WindowSample()
    for part in parts:
        wanted = sample.wanted(len(part))
        sample.add(part[wanted].view(-1, 1, 1), len(part))
    return sample


@pytest.mark.parametrize("n", [1, 5, 1023, 1024, 1025, 3000, 40_000, 1_000_000])
def test_sample_is_spread_evenly(n):
    """Below 2^24 numbers are exact in float32."""
    sample = sampled([torch.arange(n, dtype=torch.float32)])
    found = sample.windows.flatten()
    assert sample.offered == n
    assert len(found) == len(sample.places)
    if n <= WINDOWS:
        assert found.tolist() == list(range(n))
        return
    assert WINDOWS // 2 - 2 <= len(found) <= WINDOWS
    assert sample.places.tolist() == [int(i) * GOLDEN % 2**32 for i in found.tolist()]
    gaps = found.diff()
    assert gaps.max() <= 3 * n / len(found)
    parts = found.div(n / 8, rounding_mode="floor").long().bincount()
    assert (parts - len(found) / 8).abs().max() <= 3


@pytest.mark.parametrize("size", [1, 100, 999, 5000])
def test_sample_does_not_depend_on_batches(size):
    x = torch.arange(7000.0)[: 2000 if size == 1 else None]
    whole, parts = sampled([x]), sampled(x.split(size))
    assert torch.equal(whole.windows, parts.windows)
    assert torch.equal(whole.places, parts.places)
    assert (whole.share, whole.offered) == (parts.share, parts.offered)


def unfolded(conv, x):
    """All windows of ``x``, ``(images * pixels, groups, depth)``, and what padding put there."""
    columns = functional.unfold(
        padded_input(conv, x), conv.kernel_size, conv.dilation, 0, conv.stride
    )
    return columns.transpose(1, 2).reshape(-1, conv.groups, columns.shape[1] // conv.groups)


def observe(layer, *batches):
    layer.observing = True
    for x in batches:
        layer(x)
    layer.observing = False


@TORCH_COPIES_FOR_EVEN_SAME
@pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS)
def test_windows_are_those_that_unfolding_gives(options, library):
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options})
    layer = EmulatedConv2d(conv, library.exact(True))
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(n, 4, 9, 8, generator=generator) for n in (3, 40, 1)]
    observe(layer, *batches)
    every = torch.cat([unfolded(conv, x) for x in batches])
    places = torch.arange(len(every)) * GOLDEN % 2**32
    kept = places < layer.sample.share
    assert layer.sample.offered == len(every)
    assert min(len(every), WINDOWS // 2) <= int(kept.sum()) <= WINDOWS
    assert torch.equal(layer.sample.windows, every[kept])
    assert torch.equal(layer.sample.places, places[kept])


@TORCH_COPIES_FOR_EVEN_SAME
@pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS)
def test_padded_share_and_channels_of_a_convolution(options, library):
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options})
    layer = EmulatedConv2d(conv, library.exact(True))
    x = torch.rand(5, 4, 9, 8, generator=torch.Generator().manual_seed(0)) + 1
    observe(layer, x[:2], x[2:])
    channels = layer.channels
    if conv.padding_mode == "zeros":
        met = unfolded(conv, torch.ones(1, 4, 9, 8))
        assert channels.padded_share == pytest.approx(float((met == 0).float().mean()), abs=1e-6)
        assert channels.totals.tolist() == [5 * 72] * 4
        torch.testing.assert_close(channels.sums, x.double().sum((0, 2, 3)), rtol=1e-6, atol=0)
    else:
        assert channels.padded_share == 0
        padded = padded_input(conv, x)
        assert channels.totals.tolist() == [padded[:, 0].numel()] * 4
        torch.testing.assert_close(
            channels.sums, padded.double().sum((0, 2, 3)), rtol=1e-6, atol=0
        )


def test_padded_share_counted_by_hand(library):
    """3x3 over 2x2 with a border of 1: 16 of 36 values met are inside."""
    layer = EmulatedConv2d(nn.Conv2d(1, 1, 3, padding=1), library.exact(True))
    observe(layer, torch.ones(1, 1, 2, 2))
    assert layer.channels.padded_share == pytest.approx(20 / 36)


def test_unbatched_images_are_observed(library):
    layers = [EmulatedConv2d(nn.Conv2d(2, 1, 3), library.exact(True)) for _ in range(2)]
    x = torch.rand(1, 2, 5, 5)
    observe(layers[0], x)
    observe(layers[1], x[0])
    assert torch.equal(layers[0].sample.windows, layers[1].sample.windows)
    assert torch.equal(layers[0].channels.counts, layers[1].channels.counts)


@pytest.mark.parametrize("shape", [(7,), (30, 7), (2, 3, 4, 7)])
def test_rows_of_linear_layers(shape, library):
    layer = EmulatedLinear(nn.Linear(7, 3), library.exact(True))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    observe(layer, x, 2 * x)
    rows = torch.cat([x.reshape(-1, 7), 2 * x.reshape(-1, 7)])
    assert torch.equal(layer.sample.windows, rows[:, None])
    torch.testing.assert_close(layer.channels.sums, rows.double().sum(0))
    assert layer.channels.padded_share == 0

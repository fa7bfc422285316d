import numpy as np
import pytest
import torch
from correction_cases import calibrated, make_conv, make_linear, noisy_multiplier
from torch import nn

from axopt.corrections import ALL
from axopt.corrections.candidates import Candidates
from axopt.corrections.remapping import (
    activation_codes,
    code_shares,
    product_errors,
    weight_codes,
)
from axopt.layers import EmulatedLinear, QuantParams

LEVELS = [0, 1, 37, 127, 128, 200, 255]
TIES = 1e-6
"""Of equally good codes the nearest wins, by a millionth of the mean loss at most."""


def centred_products(table, signed, a, w, zero_a, zero_w):
    """What a layer adds up for two codes: the table entry less the zero-point terms."""
    origin = 128 if signed else 0
    za, zw = zero_a - origin, zero_w - origin
    return table[a, w].astype(np.int64) - zw * (a - origin) - za * (w - origin) + za * zw


def formats_of(layer, signed, affine):
    raw = layer.quantisation(signed)
    activation = raw.activation
    if affine:
        low, high = torch.tensor(layer.histogram.low), torch.tensor(layer.histogram.high)
        activation = QuantParams.from_range(low, high, signed=False)
        assert int(activation.zero_code) != 128
    return activation, raw.weights


CASES = {"signed": (True, False), "signed affine": (True, True), "unsigned": (False, False)}


@pytest.mark.parametrize(("signed", "affine"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("per_channel", [True, False], ids=["", "per tensor"])
def test_activation_codes_err_least_over_the_weights(signed, affine, per_channel, rng):
    multiplier = noisy_multiplier(signed, rng)
    layer, _ = make_linear(multiplier, low=-0.3, per_channel=per_channel)
    activation, weights = formats_of(layer, signed, affine)
    found = activation_codes(product_errors(multiplier.table, signed=signed), weights, layer)
    zero_a = int(activation.zero_code)
    zero_w = np.broadcast_to(weights.zero_code.numpy(), 5)[:, None]
    w = weights.codes(layer.weight).numpy().astype(np.int64)
    assert (np.ptp(zero_w) > 0) == (per_channel and not signed)
    for level in LEVELS:
        wanted = (level - zero_a) * (w - zero_w)
        losses = [
            np.square(
                centred_products(multiplier.table, signed, code, w, zero_a, zero_w) - wanted
            ).mean()
            for code in range(256)
        ]
        assert losses[found[level]] <= min(losses) * (1 + TIES)


@pytest.mark.parametrize(("signed", "affine"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("convolves", [True, False], ids=["conv", "linear"])
def test_weight_codes_spread_least_over_the_activations(signed, affine, convolves, rng):
    multiplier = noisy_multiplier(signed, rng)
    if convolves:
        layer, _ = make_conv(multiplier, {"padding": 1})
    else:
        layer, _ = make_linear(multiplier, low=-0.3)
    activation, weights = formats_of(layer, signed, affine)
    found = weight_codes(product_errors(multiplier.table, signed=signed), activation, layer)
    share = code_shares(layer, activation).mean(0).numpy()
    zero_a, zero_w = int(activation.zero_code), int(weights.zero_code[0])
    a = np.arange(256)
    for level in LEVELS:
        wanted = (a - zero_a) * (level - zero_w)
        losses = []
        for code in range(256):
            products = centred_products(multiplier.table, signed, a, code, zero_a, zero_w)
            mean = (share * (products - wanted)).sum()
            losses.append((share * np.square(products - wanted - mean)).sum())
        assert losses[found[level]] <= min(losses) * (1 + TIES)


def test_equally_good_codes_give_the_nearest(library, rng):
    """Every code of an exact multiplier is its own best; of the halves of 1L2H, either is."""
    layer, _ = make_linear(library.exact(True))
    formats = layer.quantisation(True)
    errors = product_errors(library.exact(True).table, signed=True)
    assert activation_codes(errors, formats.weights, layer).tolist() == list(range(256))
    assert weight_codes(errors, formats.activation, layer).tolist() == list(range(256))


@pytest.mark.parametrize("first", [True, False], ids=["activation", "weight"])
def test_masked_multiplier_gets_codes_nearest_to_a_multiple(library, first):
    """1KTY ignores the low 3 bits of its first operand: any code of a multiple's group serves."""
    table = library["mul8s_1KTY"].table
    layer, _ = make_linear(library.exact(True))
    formats = layer.quantisation(True)
    if first:
        found = activation_codes(product_errors(table, signed=True), formats.weights, layer)
    else:
        found = weight_codes(product_errors(table.T, signed=True), formats.activation, layer)
    multiplied_as = found.astype(int) // 8 * 8
    assert (np.abs(multiplied_as - np.arange(256))[:253] <= 4).all()
    assert (multiplied_as[253:] == 248).all()


@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("mapped", [True, False], ids=["codes", ""])
def test_code_shares_of_grid_values_are_counts(stride, signed, mapped, rng, library):
    """Values in the middle of levels are counted exactly, whatever the bins are."""
    low = -1.0 if signed else 0.0
    params = QuantParams.from_range(
        torch.tensor(low), torch.tensor(1.0), signed=signed, stride=stride
    )
    codes = torch.from_numpy(rng.permutation(256).astype(np.uint8)) if mapped else None
    params = QuantParams(params.scale, params.zero_point, stride, codes)
    levels = torch.from_numpy(rng.integers(0, params.top + 1, (500, 3)))
    levels[0, 0], levels[1, 0] = 0, params.top
    x = params.values(levels)
    multiplier = library.exact(signed)
    layer = calibrated(EmulatedLinear(nn.Linear(3, 2), multiplier), x[:123], x[123:])
    shares = code_shares(layer, params)
    found = params.codes(x)
    direct = torch.stack([torch.bincount(column.long(), minlength=256) for column in found.T])
    torch.testing.assert_close(shares, direct.double() / 500, rtol=0, atol=1e-12)


def test_code_shares_are_those_of_the_format_whatever_was_asked_before(library):
    """A layer keeps the shares of formats that it was asked for, until it sees more inputs."""
    scale, zero = torch.tensor(0.1), torch.tensor(3)
    formats = [
        QuantParams(scale, zero),
        QuantParams(2 * scale, zero),
        QuantParams(scale, zero + 1),
        QuantParams(scale, zero, 4),
        QuantParams(scale, zero, 4, torch.arange(256, dtype=torch.uint8).flip(0)),
    ]
    batches = [torch.rand(50, 3), torch.rand(50, 3)]

    def layer_of(*seen):
        torch.manual_seed(0)
        return calibrated(EmulatedLinear(nn.Linear(3, 2), library.exact(False)), *seen)

    asked = layer_of(batches[0])
    shares = [code_shares(asked, params) for params in formats]
    for params, found in zip(formats, shares, strict=True):
        assert torch.equal(found, code_shares(layer_of(batches[0]), params))
    assert all(not torch.equal(found, shares[0]) for found in shares[1:])
    calibrated(asked, batches[1])
    assert torch.equal(code_shares(asked, formats[0]), code_shares(layer_of(*batches), formats[0]))


@pytest.mark.parametrize("signed", [True, False])
def test_code_shares_of_any_values_are_near_and_count_padding(signed, library):
    layer, x = make_conv(library.exact(signed), {"padding": 1}, n=200)
    params = layer.quantisation(signed).activation
    shares = code_shares(layer, params)
    torch.testing.assert_close(shares.sum(1), torch.ones(4, dtype=torch.float64))
    padded = nn.functional.pad(torch.ones(1, 1, 8, 8), (1, 1, 1, 1))
    share = float((nn.functional.unfold(padded, 3) == 0).float().mean())
    found = params.codes(x).transpose(0, 1).flatten(1).long()
    direct = torch.stack([torch.bincount(i, minlength=256) for i in found]).double()
    direct = direct / found.shape[1] * (1 - share)
    direct[:, int(params.zero_code)] += share
    # what lies in a bin that a border divides goes to either side
    assert (shares.cumsum(1) - direct.cumsum(1)).abs().max() < 0.006
    zero = int(params.zero_code)
    assert shares[0, zero] > 0.6


def test_mapping_is_only_offered_where_it_can_help(library):
    layer, _ = make_linear(library.exact(True))
    raw = layer.quantisation(True)
    formats = Candidates(layer).formats(library.exact(True), False, raw, ALL)
    assert all(
        f.activation.code_of_level is None and f.weights.code_of_level is None for f in formats
    )

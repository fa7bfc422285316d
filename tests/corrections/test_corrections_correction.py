import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from correction_cases import calibrated, make_conv, make_linear, make_multiplier, noisy_multiplier
from torch import nn

from axopt.corrections import ALL, NONE, Corrections, LayerCorrector
from axopt.corrections.candidates import Candidates
from axopt.layers import EmulatedLinear, Quantisation

LAYERS = {
    "conv": lambda m, **options: make_conv(m, {"padding": 1}, **options),
    "groups": lambda m, **options: make_conv(m, {"groups": 2, "stride": 2}, **options),
    "linear": lambda m, **options: make_linear(m, **options),
}


def windows_error_pct(layer, formats, multiplier, swap):
    """The error of formats on the held-out windows, in numpy with int64 sums of table entries."""
    activation, weights = formats.activation, formats.weights
    origin = 128 if multiplier.signed else 0
    table = (multiplier.table.T if swap else multiplier.table).astype(np.int64)
    windows = layer.sample.windows
    outputs = len(layer.weight)
    w = weights.codes(layer.weight).flatten(1).numpy().astype(np.int64)
    zero_w = np.broadcast_to(weights.zero_code.numpy(), outputs) - origin
    scale = np.broadcast_to(formats.output_scale.numpy(), outputs)
    zero_a = int(activation.zero_code) - origin
    bias = np.zeros(outputs) if layer.bias is None else layer.bias.detach().numpy()
    shift = np.zeros(outputs) if formats.shift is None else formats.shift.numpy()
    exact, emulated = np.empty((2, len(windows), outputs))
    for o in range(outputs):
        group = o // (outputs // windows.shape[1])
        x = windows[:, group]
        a = activation.codes(x).numpy().astype(np.int64)
        products = table[a, w[o]] - zero_w[o] * (a - origin) - zero_a * (w[o] - origin)
        sums = (products + zero_a * zero_w[o]).sum(1)
        emulated[:, o] = sums * scale[o] + bias[o] + shift[o]
        exact[:, o] = x.double().numpy() @ layer.weight[o].detach().double().flatten().numpy()
        exact[:, o] += bias[o]
    if layer.bounds is not None:
        exact, emulated = exact.clip(*layer.bounds), emulated.clip(*layer.bounds)
    error = np.sqrt(np.square(emulated - exact)[1::2].mean(0).sum())
    return 100 * error / np.sqrt(exact.var(0).sum())


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("bounds", [None, (0.0, float("inf"))], ids=["", "relu"])
@pytest.mark.parametrize("signed", [True, False])
def test_errors_are_those_of_the_windows(make, bounds, signed, rng):
    multiplier = noisy_multiplier(signed, rng, 300)
    layer, _ = make(multiplier, bounds=bounds)
    corrector = LayerCorrector.of(layer)
    choice = corrector.best(multiplier, swap=False)
    raw = layer.quantisation(signed)
    assert choice.raw_error_pct == pytest.approx(
        windows_error_pct(layer, raw, multiplier, False), rel=1e-4
    )
    assert choice.error_pct == pytest.approx(
        windows_error_pct(layer, choice.quantisation, multiplier, choice.swap), rel=1e-4
    )
    assert choice.error_pct < choice.raw_error_pct
    for formats, swap in ((raw, True), (choice.quantisation, choice.swap)):
        found = corrector.error_pct(formats, multiplier, swap=swap)
        assert found == pytest.approx(
            windows_error_pct(layer, formats, multiplier, swap), rel=1e-4
        )


@pytest.mark.parametrize("name", ["mul8s_1L2D", "mul8s_1KTY", "mul8u_2HH"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_least_error_wins(name, make, library):
    multiplier = library[name]
    layer, _ = make(multiplier)
    choice = LayerCorrector.of(layer).compared(multiplier, swap=False)
    assert choice.error_pct <= min(choice.rejected.values())
    assert choice.rejected[()] == choice.raw_error_pct
    raw = layer.quantisation(multiplier.signed)
    formats = [
        (order, f)
        for order in (False, True)
        for f in Candidates(layer).formats(multiplier, order, raw, ALL)
    ]
    errors = [windows_error_pct(layer, f, multiplier, order) for order, f in formats]
    assert choice.error_pct <= min(errors) * 1.0001
    for (order, f), error in zip(formats, errors, strict=True):
        names = ("order",) * order + f.corrections
        assert choice.rejected.get(names, choice.error_pct) <= error * 1.0001


@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("name", ["mul8s_1KVL", "mul8u_2HH"])
def test_nothing_allowed_is_the_raw_layer(name, swap, library):
    multiplier = library[name]
    layer, _ = make_conv(multiplier)
    choice = LayerCorrector.of(layer).best(multiplier, swap=swap, allowed=NONE)
    raw = layer.quantisation(multiplier.signed)
    assert (choice.swap, choice.rejected) == (swap, {})
    assert choice.quantisation.corrections == ()
    assert choice.quantisation.activation is raw.activation
    assert choice.quantisation.weights is raw.weights
    assert choice.quantisation.gain is choice.quantisation.shift is None
    assert choice.error_pct == choice.raw_error_pct


@pytest.mark.parametrize("flag", ALL.names)
@pytest.mark.parametrize("name", ["mul8s_1KTY", "mul8s_1L1G", "mul8u_2HH"])
def test_one_flag_gives_only_that_correction(flag, name, library):
    multiplier = library[name]
    layer, _ = make_conv(multiplier, {"padding": 1})
    only = Corrections(**dict.fromkeys(ALL.names, False) | {flag: True})
    assert only.names == (flag,)
    choice = LayerCorrector.of(layer).compared(multiplier, swap=False, allowed=only)
    chosen = ("order",) * choice.swap + choice.quantisation.corrections
    tried = {chosen, *choice.rejected}
    nothing_to_do = (flag == "affine" and not multiplier.signed) or (
        flag == "order" and multiplier.is_commutative
    )
    assert tried == ({()} if nothing_to_do else {(), (flag,)})
    formats, raw = choice.quantisation, layer.quantisation(multiplier.signed)
    if flag != "order":
        assert not choice.swap
    if flag not in ("affine", "activation_codes"):
        assert formats.activation is raw.activation
    if flag != "weight_codes":
        assert formats.weights is raw.weights
    if flag == "activation_codes" and multiplier.signed:
        assert int(formats.activation.zero_code) == 128
    if flag != "gain":
        assert formats.gain is None
    if flag not in ("gain", "mean_error"):
        assert formats.shift is None


@pytest.mark.parametrize("flag", ALL.names)
def test_one_flag_less_never_gives_that_correction(flag, library):
    layer, _ = make_conv(library.exact(True), {"padding": 1})
    allowed = replace(ALL, **{flag: False})
    choice = LayerCorrector.of(layer).best(library["mul8s_1KTY"], swap=False, allowed=allowed)
    for names in (*choice.rejected, choice.quantisation.corrections):
        assert flag not in names


def test_given_order_is_kept_where_it_is_not_free(library):
    layer, _ = make_conv(library.exact(True))
    fixed = replace(ALL, order=False)
    corrector = LayerCorrector.of(layer)
    for swap in (False, True):
        assert corrector.best(library["mul8s_1KTY"], swap=swap, allowed=fixed).swap == swap
    free = [corrector.best(library["mul8s_1KTY"], swap=swap) for swap in (False, True)]
    assert free[0] is free[1]


def test_zero_in_the_middle_of_the_codes_is_no_affine_correction(library, rng):
    """Its range is not that of the raw format, which must be measured as raw all the same."""
    multiplier = library["mul8s_1L2H"]
    torch.manual_seed(0)
    x = torch.rand(500, 12) * 1.98 - 0.99
    x[0, 0], x[1, 0] = -1, 127 / 128
    layer = calibrated(EmulatedLinear(nn.Linear(12, 5), multiplier, calibrator="minmax"), x)
    affine = Corrections(**dict.fromkeys(ALL.names, False) | {"affine": True})
    choice = LayerCorrector.of(layer).best(multiplier, swap=False, allowed=affine)
    raw = layer.quantisation(True)
    assert choice.quantisation.corrections == ()
    assert choice.quantisation.activation is raw.activation
    assert choice.raw_error_pct == pytest.approx(
        windows_error_pct(layer, raw, multiplier, False), rel=1e-4
    )


def test_choice_is_kept_until_weights_bias_formats_or_calibration_change(library, rng):
    multiplier = library["mul8s_1KTY"]
    layer, x = make_linear(multiplier, bounds=(0.0, float("inf")))

    def best():
        return LayerCorrector.of(layer).best(multiplier, swap=False)

    first = best()
    assert best() is first
    assert LayerCorrector.of(layer) is LayerCorrector.of(layer)
    layer.assign(library["mul8s_1L2H"], swap=True)
    assert best() is first
    with torch.no_grad():
        layer.weight[0] *= -1
    second = best()
    assert second is not first
    with torch.no_grad():
        layer.bias += 0.5
    third = best()
    assert third.raw_error_pct == pytest.approx(
        windows_error_pct(layer, layer.quantisation(True), multiplier, False), rel=1e-4
    )
    raw = layer.quantisation(True)
    coarse = Quantisation(
        replace(raw.activation, scale=raw.activation.scale * 4),
        replace(raw.weights, scale=raw.weights.scale * 4),
    )
    layer.fix_quantisation(True, coarse)
    assert best().raw_error_pct > 1.2 * third.raw_error_pct
    assert best() is best()
    layer.release_quantisation()
    assert best().raw_error_pct == third.raw_error_pct
    calibrated(layer, 3 * x)
    assert best().raw_error_pct == pytest.approx(
        windows_error_pct(layer, layer.quantisation(True), multiplier, False), rel=1e-4
    )


def test_equal_tables_share_a_choice(library):
    layer, _ = make_conv(library.exact(True))
    corrector = LayerCorrector.of(layer)
    first = corrector.best(library["v1/mul8s_1L2D"], swap=False)
    assert corrector.best(library["v2022/mul8s_1L2L"], swap=False) is first


def test_copy_of_a_layer_chooses_the_same(library):
    multiplier = library["mul8s_1KTY"]
    layer, _ = make_conv(multiplier)
    choice = LayerCorrector.of(layer).best(multiplier, swap=False)
    copied = copy.deepcopy(layer)
    assert copied.derived == {}
    again = LayerCorrector.of(copied).best(multiplier, swap=False)
    assert again is not choice
    assert (again.swap, again.error_pct, again.rejected) == (
        choice.swap,
        choice.error_pct,
        choice.rejected,
    )


DEGENERATE = {
    "zero weights": (0.0, torch.randn(40, 6, generator=torch.Generator().manual_seed(0))),
    "zero input": (1.0, torch.zeros(40, 6)),
    "constant input": (1.0, torch.full((40, 6), 3.0)),
    "negative input": (1.0, torch.full((40, 6), -3.0)),
    "one row": (1.0, torch.arange(6.0)[None]),
    "two rows": (1.0, torch.arange(12.0).view(2, 6)),
    "tiny": (1e-30, 1e-30 * torch.arange(240.0).view(40, 6)),
    "huge": (1.0, 1e30 * torch.arange(240.0).view(40, 6)),
}


@pytest.mark.parametrize(("factor", "x"), DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("name", ["mul8s_1KTY", "mul8u_2HH"])
def test_degenerate_layers_are_corrected(factor, x, name, library):
    multiplier = library[name]
    torch.manual_seed(0)
    layer = EmulatedLinear(nn.Linear(6, 4), multiplier)
    with torch.no_grad():
        layer.weight *= factor
    calibrated(layer, x)
    choice = LayerCorrector.of(layer).best(multiplier, swap=False)
    assert np.isfinite([choice.error_pct, choice.raw_error_pct, *choice.rejected.values()]).all()
    assert choice.error_pct <= choice.raw_error_pct
    layer.assign(multiplier, swap=choice.swap)
    layer.correction = choice.quantisation
    with torch.no_grad():
        assert torch.isfinite(layer(x)).all()


def test_multiplier_that_multiplies_everything_to_zero(library):
    layer, x = make_linear(library.exact(True))
    nothing = make_multiplier(np.zeros((256, 256), np.int64), True)
    choice = LayerCorrector.of(layer).best(nothing, swap=False)
    assert choice.error_pct <= choice.raw_error_pct
    assert "mean_error" in choice.quantisation.corrections


@pytest.mark.parametrize("swap", [False, True])
def test_strides_go_to_the_operand_that_needs_them(swap, library):
    """1KTY multiplies multiples of 8 exactly, as its first operand."""
    multiplier = library["mul8s_1KTY"]
    layer, _ = make_linear(multiplier)
    formats = Candidates(layer).formats(multiplier, swap, layer.quantisation(True), ALL)
    strides = {(f.activation.stride, f.weights.stride) for f in formats}
    assert strides == {(1, 1), (1, 8) if swap else (8, 1)}

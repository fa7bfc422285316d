"""Emulated recurrent networks against an unrolled emulation in numpy; assignments and training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import axopt
from axopt.layers import Accumulator, EmulatedLinear, LayerOptions
from axopt.model import current_assignment
from axopt.multipliers import load_library

MULTIPLIERS = ["mul8s_1KV8", "mul8s_1L2D", "mul8s_1L12", "mul8u_2AC", "mul8u_JQQ"]
STEP_ULP = 2
"""Of 1, in float32: what exp and tanh of numpy and of PyTorch may differ by in one step."""


def quantised(x, params):
    """Indices of real values; ``params`` have a scale a row, or one for all."""
    scale, zero = params.scale.numpy(), params.zero_point.numpy()
    if scale.ndim:
        scale, zero = scale[:, None], zero[:, None]
    levels = np.rint(x * (np.float32(1) / scale)).astype(np.int64) + zero
    return levels.clip(0, 255).astype(np.int64)


def product_sums(layer, x):
    """Integer sums of a linear layer for ``(rows, features)`` float32 inputs."""
    formats, multiplier = layer.quantisation(), layer.multiplier
    origin = 128 if multiplier.signed else 0
    a = quantised(x, formats.activation)
    w = quantised(layer.weight.detach().numpy(), formats.weights)
    table = multiplier.table.astype(np.int64)
    table = table.T if layer.swap else table
    za = int(formats.activation.zero_point) - origin
    zw = formats.weights.zero_point.numpy() - origin
    products = table[a[:, None, :], w[None, :, :]].sum(-1)
    of_a, of_w = (a - origin).sum(-1)[:, None], (w - origin).sum(-1)[None]
    return products - zw * of_a - za * of_w + w.shape[1] * za * zw


def product(layer, x):
    """What the layer gives: scaled sums and the bias, each step rounded to float32."""
    formats = layer.quantisation()
    scale = (formats.activation.scale * formats.weights.scale).numpy()
    y = product_sums(layer, x).astype(np.float32) * scale
    return y + layer.bias.detach().numpy()


def sigmoid(x):
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float32)


def tanh(x):
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def lstm_state(ih, hh, h, c):
    i, f, g, o = np.split(ih + hh, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_state(ih, hh, h):
    (ir, iz, new), (hr, hz, hn) = np.split(ih, 3, 1), np.split(hh, 3, 1)
    z = sigmoid(iz + hz)
    n = tanh(new + sigmoid(ir + hr) * hn)
    return ((1 - z) * n + z * h,)


STATES = {nn.LSTM: lstm_state, nn.GRU: gru_state}


def emulated_network(kind, multiplier, **options):
    torch.manual_seed(0)
    module = kind(7, 6, batch_first=True, **options)
    x = torch.randn(5, 4, 7)
    emulated = axopt.prepare(module, [x])
    axopt.assign_(emulated, multiplier)
    return emulated, x


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("swap", [False, True])
def test_every_step_is_that_of_the_unrolled_emulation(kind, multiplier, swap):
    """Each step starts from the network's own state, so that no rounding is carried on."""
    emulated, x = emulated_network(kind, (load_library()[multiplier], swap))
    ih, hh = emulated.emulated_layers.values()
    calls = []
    handle = hh.register_forward_hook(lambda layer, taken, given: calls.append((taken[0], given)))
    with torch.no_grad():
        inputs = ih(x)
        outputs, last = emulated(x)
    handle.remove()
    np.testing.assert_array_equal(inputs[:, 2].numpy(), product(ih, x[:, 2].numpy()))
    assert len(calls) == x.shape[1]
    state = (np.zeros((5, 6), np.float32),) * (2 if kind is nn.LSTM else 1)
    for time, (taken, given) in enumerate(calls):
        np.testing.assert_array_equal(given.numpy(), product(hh, taken.numpy()))
        state = STATES[kind](inputs[:, time].numpy(), given.numpy(), taken.numpy(), *state[1:])
        found = outputs[:, time].numpy()
        np.testing.assert_allclose(found, state[0], rtol=0, atol=STEP_ULP * 2.0**-23 * (time + 1))
    h = last[0] if kind is nn.LSTM else last
    np.testing.assert_array_equal(h[0].numpy(), outputs[:, -1].numpy())


NARROW = LayerOptions(accumulator=Accumulator(10, "wrap"))


@pytest.mark.parametrize("options", [{}, {"hh_l0": NARROW}], ids=["native", "narrow"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_layers_looked_up_once_a_sequence_give_what_their_calls_give(kind, options):
    torch.manual_seed(0)
    module, x = kind(7, 6, batch_first=True), torch.randn(5, 4, 7)
    emulated = axopt.prepare(module, [x], layer_options=options)
    hh = emulated.emulated_layers["hh_l0"]
    results = []
    for multiplier in ("mul8s_1KV8", "mul8s_1L12"):
        axopt.assign_(emulated, multiplier)
        with torch.no_grad():
            found = emulated(x)[0]
            handle = hh.register_forward_hook(lambda *_: None)
            assert torch.equal(found, emulated(x)[0])
            handle.remove()
        assert (hh.resolved() is None) == bool(options)
        assert torch.equal(found, emulated(x)[0].detach())
        results.append(found)
    assert not torch.equal(*results)
    with torch.no_grad():
        hh.weight.mul_(0.5)
        assert not torch.equal(emulated(x)[0], results[1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_products_are_layers_of_their_own(kind):
    options = {"num_layers": 2, "bidirectional": True}
    emulated, _ = emulated_network(kind, "mul8s_1KV8", **options)
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind] * 6
    found = {info.name: info.macs for info in emulated.layers()}
    expected = {}
    for layer, width in enumerate((7, 12)):
        for suffix in (f"l{layer}", f"l{layer}_reverse"):
            expected[f"ih_{suffix}"] = 4 * gates * width
            expected[f"hh_{suffix}"] = 4 * gates * 6
    assert found == expected
    assert all(isinstance(m, EmulatedLinear) for m in emulated.emulated_layers.values())
    assert emulated.skipped == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_float_types_are_kept(dtype):
    torch.manual_seed(0)
    module, x = nn.LSTM(7, 6).to(dtype), torch.randn(4, 5, 7).to(dtype)
    with torch.no_grad():
        (expected, _), (found, states) = module(x), axopt.prepare(module, [x])(x)
    assert {found.dtype, *(state.dtype for state in states)} == {dtype}
    assert (found - expected).abs().max() < 0.05


class Classifier(nn.Module):
    """Words to classes, with packed sequences inside; time comes first in the recurrent part."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 6, padding_idx=0)
        self.encoder = nn.LSTM(6, 8, proj_size=5, bidirectional=True)
        self.cell = nn.GRUCell(10, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens):
        lengths = (tokens != 0).sum(1)
        words = self.words(tokens).transpose(0, 1)
        packed = pack_padded_sequence(words, lengths, enforce_sorted=False)
        _, (h, _) = self.encoder(packed)
        return self.head(self.cell(torch.cat([h[0], h[1]], -1)))


def classifier():
    torch.manual_seed(1)
    tokens = torch.randint(1, 20, (12, 7))
    for row, length in enumerate([7, 3, 1, 5, 7, 2, 4, 6, 7, 7, 1, 3]):
        tokens[row, length:] = 0
    return Classifier().eval(), tokens


def test_a_classifier_of_packed_sequences_is_emulated_and_accounted_for():
    model, tokens = classifier()
    emulated = axopt.prepare(model, [tokens])
    names = [info.name for info in emulated.layers()]
    directions = [("encoder", "l0"), ("encoder", "l0_reverse")]
    assert names == [
        *(f"{m}.{part}_{suffix}" for m, suffix in directions for part in ("ih", "hh", "hr")),
        "cell.ih",
        "cell.hh",
        "head",
    ]
    assert set(emulated.skipped) == {"words"}
    assert isinstance(model.encoder, nn.LSTM)
    macs = {info.name: info.macs for info in emulated.layers()}
    words = int((tokens != 0).sum())  # of 12 sequences
    expected = (words * 32 * 6 // 12, words * 5 * 8 // 12)
    assert (macs["encoder.ih_l0"], macs["encoder.hr_l0"]) == expected
    with torch.no_grad():
        expected, found = model(tokens), emulated(tokens)
        split = torch.cat([emulated(row[None]) for row in tokens])
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert torch.equal(found, split)


def test_assignments_corrections_and_training_reach_every_part(tmp_path):
    model, tokens = classifier()
    emulated = axopt.prepare(model, [tokens])
    spec = {"encoder.ih_l0": "mul8s_1L2D", "encoder.hh_l0": "mul8s_1L12", "cell.hh": "mul8u_2AC"}
    axopt.assign_(emulated, spec, correct=True)
    corrected = [n for n, m in emulated.emulated_layers.items() if m.correction is not None]
    assert "encoder.hh_l0" in corrected
    with torch.no_grad():
        expected = emulated(tokens)
    file = tmp_path / "assignment.json"
    current_assignment(emulated).save(file)
    again = axopt.prepare(model, [tokens])
    axopt.assign_(again, axopt.Assignment.load(file))
    with torch.no_grad():
        assert torch.equal(again(tokens), expected)
    before = {name: p.detach().clone() for name, p in again.named_parameters()}
    targets = tokens[:, 0] % 3
    result = axopt.retrain(again, [(tokens, targets)], epochs=2, lr=1e-2)
    assert result.history[2].loss < result.history[1].loss
    moved = {n for n, p in again.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(before)

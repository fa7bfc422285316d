"""Lowered recurrent networks against torch's, over their options."""

import copy
import itertools

import pytest
import torch
from grid import each
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from axopt.errors import ArgumentError
from axopt.modules import Recurrent, RecurrentCell, lower_

# torch says so wherever it cannot use oneDNN
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

# float32: sums in another order, through a dozen steps
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}

KINDS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
    "rnn_relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
}
CELLS = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "rnn": nn.RNNCell,
    "rnn_relu": lambda *a, **k: nn.RNNCell(*a, nonlinearity="relu", **k),
}
OPTIONS = [
    dict(zip(("num_layers", "bidirectional", "batch_first", "bias"), values, strict=True))
    for values in itertools.product((1, 3), (False, True), (False, True), (False, True))
]


def pair(kind, **options):
    """torch's module and a lowered copy of it."""
    torch.manual_seed(0)
    module = KINDS[kind](5, 6, **options)
    return module, lower_(copy.deepcopy(module))


def leaves(values):
    """The tensors in an output, in order."""
    if isinstance(values, PackedSequence):
        return [v for v in values if v is not None]
    if isinstance(values, tuple):
        return [leaf for value in values for leaf in leaves(value)]
    return [values]


def assert_same(found, expected):
    assert type(found) is type(expected)
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)


def initial(module, batch):
    layers = module.num_layers * (1 + module.bidirectional)
    shape = (layers,) if batch is None else (layers, batch)
    h = torch.randn(*shape, module.proj_size or module.hidden_size)
    return (h, torch.randn(*shape, module.hidden_size)) if module.mode == "LSTM" else h


CASES = [(kind, options) for kind in KINDS for options in OPTIONS]
CASES += [("lstm", {**options, "proj_size": 3}) for options in OPTIONS]


@each("kind, options", CASES)
def test_outputs_and_states_are_torchs(kind, options):
    module, lowered = pair(kind, **options)
    x = torch.randn(3, 4, 5).transpose(0, 0 if options["batch_first"] else 1)
    assert isinstance(lowered, Recurrent)
    assert_same(lowered(x), module(x))
    hx = initial(module, 3)
    assert_same(lowered(x, hx), module(x, hx))
    alone, row = initial(module, None), x[0]
    assert_same(lowered(row, alone), module(row, alone))
    assert_same(lowered(row), module(row))


@each("kind, options", CASES)
@each("ordered", [True, False])
def test_packed_sequences_are_torchs(kind, options, ordered):
    module, lowered = pair(kind, **options)
    lengths = torch.tensor([6, 4, 4, 1] if ordered else [4, 1, 6, 4])
    shape = (4, 6, 5) if options["batch_first"] else (6, 4, 5)
    packed = pack_padded_sequence(
        torch.randn(shape), lengths, batch_first=options["batch_first"], enforce_sorted=ordered
    )
    assert_same(lowered(packed), module(packed))
    hx = initial(module, 4)
    assert_same(lowered(packed, hx), module(packed, hx))


@each("kind, options", CASES)
def test_gradients_are_torchs(kind, options):
    module, lowered = pair(kind, **options)
    x = torch.randn(3, 4, 5)
    found = []
    for candidate in (module, lowered):
        candidate.zero_grad()
        given = x.clone().requires_grad_()
        torch.manual_seed(1)
        sum((leaf * torch.randn(leaf.shape)).sum() for leaf in leaves(candidate(given))).backward()
        found.append(
            {"x": given.grad, **{_torchs(n): p.grad for n, p in candidate.named_parameters()}}
        )
    assert found[0].keys() == found[1].keys()
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, rtol=1e-4, atol=1e-5)


def _torchs(name):
    """ih_l0.weight -> weight_ih_l0."""
    return "_".join(reversed(name.split("."))) if "." in name else name


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_torchs(kind, bias):
    torch.manual_seed(0)
    cell = CELLS[kind](5, 6, bias=bias)
    lowered = lower_(copy.deepcopy(cell))
    assert isinstance(lowered, RecurrentCell)
    x, h, c = torch.randn(3, 5), torch.randn(3, 6), torch.randn(3, 6)
    hx = (h, c) if kind == "lstm" else h
    one = (h[0], c[0]) if kind == "lstm" else h[0]
    assert_same(lowered(x), cell(x))
    assert_same(lowered(x, hx), cell(x, hx))
    assert_same(lowered(x[0]), cell(x[0]))
    assert_same(lowered(x[0], one), cell(x[0], one))


def test_dropout_is_between_layers_and_only_in_training():
    module, lowered = pair("lstm", num_layers=2, dropout=0.5)
    x = torch.randn(4, 3, 5)
    assert lowered.training
    torch.manual_seed(2)
    expected = module(x)
    torch.manual_seed(2)
    assert_same(lowered(x), expected)
    assert not torch.equal(lowered(x)[0], lowered(x)[0])
    assert_same(lowered.eval()(x), module.eval()(x))


@pytest.mark.parametrize("kind", KINDS)
def test_float64_is_torchs_to_its_own_rounding(kind):
    module, lowered = pair(kind, num_layers=2)
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    module, lowered = module.double(), lowered.double()
    torch.testing.assert_close(lowered(x)[0], module(x)[0], rtol=1e-13, atol=1e-14)


def test_lowering_keeps_parameters_names_and_sharing():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.ModuleDict({"rnn": nn.GRU(5, 6)})
            self.again = self.encoder["rnn"]
            self.cell = nn.LSTMCell(5, 6)

    net = Net()
    weight = net.encoder["rnn"].weight_hh_l0
    state = torch.random.get_rng_state()
    assert lower_(net) is net
    assert torch.equal(torch.random.get_rng_state(), state)
    assert net.again is net.encoder["rnn"]
    assert net.again.hh_l0.weight is weight
    names = [name for name, m in net.named_modules() if type(m) is nn.Linear]
    assert names == ["encoder.rnn.ih_l0", "encoder.rnn.hh_l0", "cell.ih", "cell.hh"]


def test_subclasses_are_left_alone():
    class Own(nn.LSTM):
        def forward(self, x, hx=None):
            return super().forward(2 * x, hx)

    net = nn.Sequential(Own(5, 6))
    assert type(lower_(net)[0]) is Own


@pytest.mark.parametrize(
    ("shape", "hx", "message"),
    [
        ((4, 3, 2, 5), None, "`input` must have 2 or 3 dimensions, got 4"),
        ((0, 3, 5), None, "`input` must have at least one time step"),
        ((4, 3, 5), torch.zeros(1, 1, 6), r"`hx`.*\(1, 3, 6\).*\(1, 1, 6\)"),
        ((4, 5), torch.zeros(1, 5), r"`hx`.*\(1, 1, 6\).*\(1, 1, 5\)"),
    ],
)
def test_wrong_shapes_are_errors(shape, hx, message):
    _, lowered = pair("gru")
    with pytest.raises(ArgumentError, match=message):
        lowered(torch.zeros(shape), hx)


def test_wrong_shapes_of_cells_are_errors():
    cell = lower_(nn.LSTMCell(5, 6))
    with pytest.raises(ArgumentError, match="1 or 2 dimensions, got 3"):
        cell(torch.zeros(1, 2, 5))
    with pytest.raises(ArgumentError, match=r"`hx`.*\(2, 6\).*\(1, 6\)"):
        cell(torch.zeros(2, 5), (torch.zeros(2, 6), torch.zeros(1, 6)))

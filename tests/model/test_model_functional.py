"""Products that modules compute by calling functions: emulated, or accounted for."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import axopt
import axopt.modules
from axopt.errors import CoverageWarning, UnsupportedLayerError
from axopt.model.interception import find_products, intercept_


class Attending(nn.Module):
    """Calls the attention function, however often."""

    def __init__(self, calls=1):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.calls = calls

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        for _ in range(self.calls):
            v = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return v.transpose(1, 2).flatten(2)


class Plain(nn.Module):
    """Products that no layer emulates, beside one that a layer does."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("matrix", torch.eye(8))

    def forward(self, x):
        y = self.linear(x)
        y = torch.einsum("bij,jk,kl->bil", y, self.matrix, self.matrix)
        return torch.tensordot(y, self.matrix, 1) + functional.bilinear(y, y, self.matrix[None])


class Net(nn.Sequential):
    def __init__(self, *modules):
        torch.manual_seed(0)
        super().__init__(nn.Linear(8, 8), *(module() for module in modules))
        self.eval()


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(6, 5, 8)


@pytest.mark.parametrize("calls", [1, 3])
def test_attention_functions_become_layers(x, calls):
    model = Net(lambda: Attending(calls), Attending)
    emulated = axopt.prepare(model, [x])
    names = [info.name for info in emulated.layers()]
    assert names == [
        "0",
        *("1.qkv", "1.sdpa.scores", "1.sdpa.context"),
        *("2.qkv", "2.sdpa.scores", "2.sdpa.context"),
    ]
    macs = {info.name: info.macs for info in emulated.layers()}
    assert macs["1.sdpa.scores"] == calls * macs["2.sdpa.scores"] == calls * 2 * 5 * 5 * 4
    assert not emulated.skipped
    with torch.no_grad():
        expected, exact = model(x), emulated(x)
        axopt.assign_(emulated, {"1.sdpa.scores": "mul8s_1L1G"})
        changed = emulated(x)
    assert 0 < float((exact - expected).abs().max()) < 0.1
    assert not torch.equal(changed, exact)


def test_a_redirected_model_can_be_copied(x):
    emulated = axopt.prepare(Net(Attending), [x])
    other = copy.deepcopy(emulated)
    axopt.assign_(other, "mul8s_1L1G")
    with torch.no_grad():
        before = emulated(x)
        axopt.assign_(emulated, "mul8s_1L1G")
        assert torch.equal(other(x), emulated(x))
        assert not torch.equal(emulated(x), before)


def test_redirection_ends_with_the_module_even_on_errors(x):
    model = Net(Attending)
    intercept_(model, find_products(model, lambda: model(x)))
    assert torch.allclose(model(x), Net(Attending)(x), atol=1e-5)
    handle = model[1].sdpa.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(x)
    y = functional.scaled_dot_product_attention(x, x, x)  # does not reach the hook
    handle.remove()
    assert y.shape == x.shape


def test_what_stays_in_float_is_accounted_for(x):
    with pytest.warns(CoverageWarning, match=r"left in float: 1: einsum .* %, 1: bilinear"):
        emulated = axopt.prepare(Net(Plain), [x])
    assert [info.name for info in emulated.layers()] == ["0", "1.linear"]
    assert set(emulated.skipped) == {f"1: {name}" for name in ("einsum", "tensordot", "bilinear")}
    assert emulated.skipped["1: einsum"] == "einsum is called with 3 tensors"


def test_parameters_that_no_product_uses_are_named(x):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.eye(8))
            self.position = nn.Parameter(torch.zeros(5, 8))

        def forward(self, x):
            return functional.linear(x + self.position, self.weight)

    emulated = axopt.prepare(Net(Own), [x])
    assert [info.name for info in emulated.layers()] == ["0", "1.linear"]
    assert list(emulated.skipped) == ["1"]
    expected = "stays in float: position, which the forward of Own uses itself"
    assert emulated.skipped["1"] == expected


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_attention_can_be_excluded(x):
    emulated = axopt.prepare(Net(Attending), [x], exclude=["*.sdpa.scores"])
    assert emulated.skipped == {"1.sdpa.scores": "excluded by the user"}
    with pytest.raises(UnsupportedLayerError, match="no layer to emulate"):
        axopt.prepare(nn.Sequential(nn.ReLU()), [x])


class Multiplying(nn.Module):
    """A product of two activations, and something behind it."""

    def __init__(self, *behind):
        super().__init__()
        self.matmul = axopt.modules.MatMul(transpose_b=True)
        self.behind = nn.Sequential(*behind)

    def forward(self, x):
        return self.behind(self.matmul(x, x))


def test_a_rectifier_behind_a_product_is_done_by_it(x):
    model = Net(lambda: Multiplying(nn.ReLU()))
    emulated = axopt.prepare(model, [x])
    assert emulated.fused == {"1.matmul": "1.behind.0"}
    with torch.no_grad():
        y = emulated(x)
        layer = emulated.emulated_layers["1.matmul"]
        layer.bounds = None
        assert torch.equal(y, emulated(x).relu())
    assert float(y.min()) == 0


def test_a_batch_norm_behind_a_product_stays(x):
    model = Net(lambda: Multiplying(nn.BatchNorm1d(5), nn.ReLU()))
    emulated = axopt.prepare(model, [x])
    assert not emulated.folded
    assert not emulated.fused
    assert set(emulated.skipped) == {"1.behind.0"}


def test_layers_can_be_trained_through_a_product(x):
    emulated = axopt.prepare(Net(Multiplying), [x])
    emulated(x).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in emulated.parameters())

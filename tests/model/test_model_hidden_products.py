"""Products that are hard to see are emulated or counted; none is in float without a word."""

import pytest
import torch
from torch import nn

import axopt
from axopt.errors import CoverageWarning


@pytest.fixture
def x():
    return torch.randn(16, 4, 6, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """A linear layer with 4 * 6 * 6 multiplications, then ``product`` of its result."""

    def __init__(self, product):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 6)
        self.weight = nn.Parameter(torch.randn(6, 5))
        self.product = product

    def forward(self, x):
        return self.product(self, self.layer(x))


def into(net, y):
    out = torch.empty(*y.shape[:2], 5)
    torch.matmul(y, net.weight, out=out)
    return out


def of_integers(net, y):
    code = (y > 0).long()
    return y + (code @ code.mT).sum(dim=-1, keepdim=True)


def of_complex(net, y):
    return (y.to(torch.cfloat) @ net.weight.to(torch.cfloat)).abs()


def over_samples(net, y):
    return torch.vmap(lambda row: row @ net.weight)(y)


def in_convolution(net, y):
    kernel = net.weight[:, :4, None]
    return torch.convolution(y, kernel, None, (1,), (0,), (1,), False, (0,), 1)


def over_time(net, y):
    return torch.conv_tbc(y.transpose(0, 1).contiguous(), net.weight[None], torch.zeros(5), 0)


def in_place(net, y):
    return torch.zeros(len(y) * 4, 5).addmm_(y.flatten(0, 1), net.weight)


LEFT = {
    "matmul": (into, 120),
    "long": (of_integers, 96),
    "complex": (of_complex, 120),
    "vmap": (over_samples, 120),
    "convolution": (in_convolution, 6 * 4 * 6),
    "conv_tbc": (over_time, 120),
    "addmm": (in_place, 120),
    "powers": (lambda net, y: torch.matrix_power(y @ y.mT, 2), 64),
    "sparse": (lambda net, y: torch.sparse.mm(net.weight.T.to_sparse(), y.flatten(0, 1).T), 120),
    "tensordot": (lambda net, y: torch.tensordot(y, net.weight, 1), 120),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_no_layer_computes_is_counted_named_and_right(x, name):
    product, count = LEFT[name]
    net = Net(product).eval()
    with pytest.warns(CoverageWarning, match="Net: "):
        emulated = axopt.prepare(net, [x])
    assert list(emulated.left_out.values()) == [count]
    assert next(iter(emulated.left_out)).startswith("Net: ")
    with torch.no_grad():
        y, expected = emulated(x), net(x)
    assert (y - expected).norm() < 0.05 * expected.norm()


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_integers_are_multiplied_exactly(x):
    emulated = axopt.prepare(Net(lambda net, y: (y, (y > 0).long() @ torch.ones(6).long())), [x])
    axopt.assign_(emulated, "mul8s_1L1G")
    with torch.no_grad():
        y, count = emulated(x)
    assert torch.equal(count, (y > 0).sum(dim=-1))


def test_operators_are_products_as_the_functions_are(x):
    by_operator = axopt.prepare(
        Net(lambda net, y: torch.ops.aten.mm.default(y.flatten(0, 1), net.weight)).eval(), [x]
    )
    by_function = axopt.prepare(Net(lambda net, y: y.flatten(0, 1) @ net.weight).eval(), [x])
    assert by_operator.coverage == 1.0
    assert [layer.kind for layer in by_operator.layers()] == ["linear", "linear"]
    for emulated in (by_operator, by_function):
        axopt.assign_(emulated, "mul8s_1L1G")
    with torch.no_grad():
        assert torch.equal(by_operator(x), by_function(x))


def test_products_in_hooks_of_layers_are_layers(x):
    in_hook = Net(lambda net, y: y).eval()
    in_hook.layer.register_forward_hook(lambda module, inputs, y: y @ y.mT)
    in_forward = Net(lambda net, y: y @ y.mT).eval()
    found = [axopt.prepare(net, [x]) for net in (in_hook, in_forward)]
    for emulated in found:
        assert emulated.coverage == 1.0
        assert [layer.name for layer in emulated.layers()] == ["layer", "matmul"]
        axopt.assign_(emulated, "mul8s_1L1G")
    with torch.no_grad():
        assert torch.equal(found[0](x), found[1](x))


class Through(nn.Module):
    """Goes through its children, and multiplies by a square weight or by itself."""

    def __init__(self, product):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.then = nn.Linear(6, 6), nn.ReLU()
        self.weight = nn.Parameter(torch.randn(6, 6))
        self.product = product

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return self.product(self, x)


class Chain(nn.Sequential):
    def forward(self, x):
        for module in list(self)[:-1]:
            x = module(x)
        return x @ self[-1](x).mT


@pytest.mark.parametrize(
    "net",
    [
        Through(lambda net, y: y @ net.weight),
        Through(lambda net, y: nn.functional.scaled_dot_product_attention(y, y, y)),
        Chain(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)),
    ],
)
def test_a_module_that_goes_through_its_children_gets_no_more_of_them(x, net):
    with pytest.warns(CoverageWarning):
        emulated = axopt.prepare(net.eval(), [x])
    assert any("goes through its children" in reason for reason in emulated.skipped.values())
    with torch.no_grad():
        y, expected = emulated(x), net(x)
    assert (y - expected).norm() < 0.05 * expected.norm()
    assert "named_children" not in vars(net) | vars(emulated.module)

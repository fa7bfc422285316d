"""Which share of a network's multiplications is emulated, and what stays in float."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import axopt
from axopt.model.calls import multiplications, product_name
from axopt.model.coverage import Coverage


@pytest.fixture
def x():
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1))


class Mixed(nn.Module):
    """64 multiplications in a layer, 128 in a bilinear map, 320 in a distance."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 8)
        self.pair = nn.Bilinear(8, 8, 2)
        self.register_buffer("centres", torch.randn(40, 8))

    def forward(self, x):
        y = self.layer(x)
        return self.pair(y, y), torch.cdist(y, self.centres)


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_what_stays_in_float_is_counted(x):
    emulated = axopt.prepare(Mixed().eval(), [x])
    assert emulated.coverage == 64 / 512
    assert emulated.left_out == {"Mixed: cdist": 320, "pair": 128}
    assert list(emulated.left_out) == ["Mixed: cdist", "pair"]  # the largest first
    assert axopt.cost(emulated).coverage == 64 / 512


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_excluded_layers_are_left_out(x):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    emulated = axopt.prepare(net, [x], exclude=["0"])
    assert emulated.left_out == {"0": 64}
    assert emulated.coverage == 0.2
    assert axopt.prepare(net, [x]).coverage == 1.0


def test_shares_are_those_of_all_calls_and_the_largest_are_named():
    found = Coverage({"a": 900}, {"b": 20, "c": 50, "d": 0, "e": 10, "f": 20})
    assert found.share == 0.9
    assert list(found.left_out) == ["c", "b", "f", "e"]
    assert found.largest() == "c 5.0 %, b 2.0 %, f 2.0 % and 1 more"
    assert Coverage({}).share == 1.0


A, B, C = torch.randn(3, 4), torch.randn(4, 5), torch.randn(2, 4, 5)
IMAGES, KERNEL = torch.randn(2, 4, 9), torch.randn(6, 2, 3)
LSTM = nn.LSTM(4, 5, batch_first=True)


@pytest.mark.filterwarnings("ignore:torch.chain_matmul")
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: A @ B, 3 * 4 * 5),
        (lambda: torch.linalg.matmul(A, C), 2 * 3 * 4 * 5),
        (lambda: torch.mm(A, mat2=B), 3 * 4 * 5),
        (lambda: torch.dot(A[0], A[1]), 4),
        (lambda: B.mv(torch.ones(5)), 4 * 5),
        (lambda: torch.inner(A, A), 3 * 3 * 4),
        (lambda: torch.bmm(C.mT, C), 2 * 5 * 4 * 5),
        (lambda: torch.addmm(torch.zeros(5), A, B), 3 * 4 * 5),
        (lambda: torch.baddbmm(torch.zeros(5), C.mT, C), 2 * 5 * 4 * 5),
        (lambda: torch.addbmm(torch.zeros(5, 5), C.mT, C), 2 * 5 * 4 * 5),
        (lambda: torch.tensordot(A, C, dims=([1], [1])), 3 * 2 * 5 * 4),
        (lambda: torch.einsum("ij,jk", A, B), 3 * 4 * 5),
        (lambda: torch.einsum("...ij,...j->...", C, torch.ones(2, 5)), 2 * 4 * 5),
        (lambda: torch.einsum("ij,bjk,lj->bikl", A, C, A), 2 * 3 * 4 * 5 * 3),
        (lambda: torch.linalg.multi_dot([A, B, B.mT]), 3 * 4 * 5 + 3 * 5 * 4),
        (lambda: torch.chain_matmul(A, B, B.mT), 3 * 4 * 5 + 3 * 5 * 4),
        (lambda: torch.cdist(A, B.mT), 3 * 5 * 4),
        (lambda: functional.linear(C, torch.ones(3, 5)), 2 * 4 * 5 * 3),
        (lambda: functional.conv1d(IMAGES, KERNEL, groups=2), 2 * 6 * 7 * 2 * 3),
        (lambda: functional.conv_transpose1d(IMAGES, torch.ones(4, 6, 3)), 2 * 4 * 6 * 11 * 3),
        (lambda: functional.scaled_dot_product_attention(C, C, C), 2 * 4 * 4 * (5 + 5)),
        (lambda: LSTM(torch.randn(2, 3, 4)), 2 * 3 * (20 * 4 + 20 * 5)),
        (lambda: nn.GRUCell(4, 5)(A), 3 * (15 * 4 + 15 * 5)),
        (
            lambda: nn.MultiheadAttention(4, 2)(A, A, A),
            4 * 3 * 4 * 4 + 2 * 3 * 3 * 4,
        ),
    ],
)  # fmt: skip
def test_multiplications_of_a_call(call, expected):
    counted = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if product_name(func) is not None:
                counted.append(multiplications(func, args, kwargs or {}, result))
            return result

    with Watch():
        call()
    assert sum(counted) == expected


def test_assignments_say_the_coverage(x):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    assert axopt.model.current_assignment(axopt.prepare(net, [x])).model["coverage"] == 1.0

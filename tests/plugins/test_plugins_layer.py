"""A layer kind from outside the package: one file, one registration."""

import sys
from importlib import metadata

import pytest
import torch
from torch import nn

import axopt
from axopt import registry
from axopt.errors import ArgumentError
from axopt.layers import LAYERS, EmulatedLinear

PLUGIN = """
import torch
from torch import nn
from axopt.layers import EmulatedLinear, LayerSpec, register_layer
from axopt.modules import linear_of

class Dense(nn.Module):
    '''A linear layer that keeps its weight as (in, out), and is called with a factor.'''

    def __init__(self, n_in, n_out):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(n_in, n_out))

    def forward(self, x):
        return torch.tensordot(x, self.kernel, 1)

def build(module, multiplier, **options):
    weight = nn.Parameter(module.kernel.detach().T.contiguous())
    return EmulatedLinear(linear_of(weight, None), multiplier, **options)

def macs(module, x, y):
    return y.numel() * len(module.kernel)

dense = register_layer(LayerSpec("dense", (Dense,), build, macs))
"""


@pytest.fixture
def dense(tmp_path, monkeypatch):
    """The class of an installed package that offers a layer kind for it."""
    (tmp_path / "plugin_of_dense.py").write_text(PLUGIN)
    point = metadata.EntryPoint("dense", "plugin_of_dense:dense", "axopt.layers")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )
    yield LAYERS["dense"].modules[0]
    sys.modules.pop("plugin_of_dense")
    LAYERS.remove("dense")


def test_a_class_of_the_users_becomes_a_layer(dense):
    torch.manual_seed(0)
    net = nn.Sequential(dense(8, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.randn(16, 8)
    emulated = axopt.prepare(net, [x])
    assert [(i.name, i.kind, i.macs) for i in emulated.layers()] == [
        ("0", "linear", 32),
        ("2", "linear", 8),
    ]
    assert isinstance(emulated.emulated_layers["0"], EmulatedLinear)
    assert (emulated.coverage, emulated.fused) == (1.0, {"0": "1"})
    with torch.no_grad():
        assert (emulated(x) - net(x)).abs().max() < 0.05 * net(x).abs().max()
        axopt.assign_(emulated, "mul8s_1L2D", correct=True)
        assert torch.isfinite(emulated(x)).all()


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_without_the_package_the_class_stays_in_float():
    namespace = {}
    exec(PLUGIN.replace("dense = register_layer(", "("), namespace)
    net = nn.Sequential(namespace["Dense"](8, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    emulated = axopt.prepare(net, [torch.randn(16, 8)])
    assert list(emulated.left_out) == ["0"]


def test_a_kind_must_be_one_and_its_types_no_other_kinds(dense):
    linear = LAYERS["linear"]
    with pytest.raises(ArgumentError, match="`spec` must be a LayerSpec, got str"):
        axopt.register_layer("linear")
    with pytest.raises(ArgumentError, match="`name` must be a new layer kind, got 'dense'"):
        axopt.register_layer(axopt.LayerSpec("dense", (nn.Linear,), linear.build, linear.macs))
    axopt.register_layer(axopt.LayerSpec("other", (dense,), linear.build, linear.macs))
    try:
        with pytest.raises(ArgumentError, match="'other'.*got Dense of the kind 'dense'"):
            axopt.prepare(nn.Sequential(nn.Linear(2, 2)), [torch.randn(4, 2)])
    finally:
        LAYERS.remove("other")

"""Layers that share a gene: what groups mean, and searches whose points respect them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import axopt
from axopt.corrections import Corrections, LayerCorrector
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, StoreError, UnknownLayerError
from axopt.problem.groups import genes_of
from axopt.study import AssignmentProblem, options_of

LAYERS = ["stem", "layer1.0", "layer1.1", "layer2.0", "fc"]
NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L12"]


@pytest.mark.parametrize(
    ("groups", "genes"),
    [
        (None, {name: (name,) for name in LAYERS}),
        ([], {name: (name,) for name in LAYERS}),
        (
            {"stage1": "layer1.*"},
            {
                "stem": ("stem",),
                "stage1": ("layer1.0", "layer1.1"),
                "layer2.0": ("layer2.0",),
                "fc": ("fc",),
            },
        ),
        (
            ["layer*", ["fc", "stem"]],
            {"fc,stem": ("stem", "fc"), "layer*": ("layer1.0", "layer1.1", "layer2.0")},
        ),
        ({"fc": ["stem", "fc"], "a": ("layer*",)}, {"fc": ("stem", "fc"), "a": (*LAYERS[1:4],)}),
        (["*"], {"*": tuple(LAYERS)}),
    ],
)
def test_genes_are_groups_and_single_layers_in_order(groups, genes):
    assert list(genes_of(groups, LAYERS).items()) == list(genes.items())


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (["layer1.*", "*.0"], ArgumentError, "overlap, layer 'layer1.0' is in .*1.*0"),
        (["fc", "fc"], ArgumentError, "overlap, layer 'fc' is in 'fc' and in 'fc'"),
        ({"a": "layer3.*"}, UnknownLayerError, "`groups`: no layer matches 'layer3"),
        (["layer1.2"], UnknownLayerError, "'layer1.2'; did you mean 'layer1.[01]'"),
        ({"stem": "layer1.*"}, ArgumentError, "layer 'stem' is not in the group of its name"),
        ("layer1.*", ArgumentError, "must be a list or a mapping, got 'layer1"),
        ({"a": []}, ArgumentError, "must have a name and a pattern, got 'a'"),
        ({"": "fc"}, ArgumentError, "must have a name and a pattern, got ''"),
    ],
)
def test_groups_that_mean_nothing_are_errors(groups, error, message):
    with pytest.raises(error, match=message):
        genes_of(groups, LAYERS)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(90, 1, 6, 6, generator=generator)
    split = Split(x, torch.arange(90) % 3)
    return Dataset("noise", "noise", split, split, split, classes=("a", "b", "c"))


@pytest.fixture
def emulated(data):
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    return axopt.prepare(net, data.train.batches(45))


def search(emulated, data, **options):
    defaults = {"library": NAMES, "algorithm": "random", "budget": 9, "seed": 1, "correct": False}
    options = defaults | options
    return axopt.search(emulated, data, **options)


def test_every_point_gives_a_group_one_multiplier(emulated, data, tmp_path):
    out = tmp_path / "run"
    result = search(emulated, data, groups={"convolutions": ["0", "2"]}, budget=20, out=out)
    assert result.outcome.n_evaluated == len(NAMES) ** 2  # of 27 without the group
    assert result.outcome.stop_reason == "exhausted"
    files = sorted((out / "assignments").glob("point-*.json"))
    assert len(files) == len(result.front)
    for file in files:
        layers = axopt.Assignment.load(file).layers
        assert list(layers) == ["0", "2", "5"]
        assert layers["0"] == layers["2"]


def test_a_run_is_resumed_with_its_groups_only(emulated, data, tmp_path):
    out = tmp_path / "run"
    first = search(emulated, data, groups=["[02]"], budget=4, out=out)
    for other in (None, ["[25]"], {"named": "[02]"}, ["*"]):
        with pytest.raises(StoreError, match="another search"):
            search(emulated, data, groups=other, out=out, resume=True)
    again = search(emulated, data, groups=["[02]"], budget=9, out=out, resume=True)
    assert first.outcome.n_evaluated == 4
    assert (again.outcome.n_evaluated, again.outcome.n_cached) == (5, 4)
    whole = search(emulated, data, groups=["[02]"], budget=9)
    assert again.front.equals(whole.front)


def test_groups_of_the_same_names_with_other_layers_are_another_search(emulated, data, tmp_path):
    out = tmp_path / "run"
    search(emulated, data, groups={"a": ["0", "2"], "b": "5"}, budget=2, out=out)
    with pytest.raises(StoreError, match="`groups"):
        search(emulated, data, groups={"a": "0", "b": ["2", "5"]}, out=out, resume=True)


def test_groups_of_single_layers_are_no_other_search(emulated, data, tmp_path):
    out = tmp_path / "run"
    search(emulated, data, out=out, budget=4)
    search(emulated, data, out=out, budget=4, resume=True, groups=["0"])


@pytest.mark.parametrize("allowed", [Corrections(), Corrections(order=False)])
def test_corrections_choose_one_order_for_a_group(emulated, data, allowed):
    """Left alone, the layers of this network want different orders of this multiplier."""
    options = options_of(["mul8s_1KR3"], operand_order=False)
    single, grouped = (
        AssignmentProblem(emulated, data.validation, options, correct=allowed, groups=groups)
        for groups in (None, {"all": "*"})
    )
    layers = emulated.emulated_layers.values()
    single.candidate((0, 0, 0)).apply_(emulated)
    assert len({layer.swap for layer in layers}) == 1 + allowed.order
    in_order = replace(allowed, order=False)
    errors = [
        sum(
            LayerCorrector.of(m).best(m.multiplier, swap=swap, allowed=in_order).error_pct ** 2
            for m in layers
        )
        for swap in (False, True)
    ]
    grouped.candidate((0,)).apply_(emulated)
    wanted = allowed.order and errors[1] < errors[0]
    assert [layer.swap for layer in layers] == [wanted] * 3
    assert all(layer.correction is not None for layer in layers)

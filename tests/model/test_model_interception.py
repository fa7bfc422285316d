"""Products of functions that forward passes call: named, emulated to the bit, trained."""

import copy

import pytest
import torch
from layer_references import numpy_layer, numpy_matmul
from torch import nn
from torch.nn import functional

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, CoverageWarning, UnsupportedLayerError
from axopt.layers import EmulatedMatMul, WeightedLayer

MULTIPLIERS = ["mul8s_1L2D", "mul8u_2HH"]


class Same(nn.Conv2d):
    """TensorFlow's "same" padding, as timm and EfficientNet have it."""

    def forward(self, x):
        extra = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, s, k, d in zip(
            x.shape[-2:], self.stride, self.kernel_size, self.dilation, strict=True)]  # fmt: skip
        border = [n for e in reversed(extra) for n in (e // 2, e - e // 2)]
        return functional.conv2d(
            functional.pad(x, border), self.weight, self.bias, self.stride, (0, 0),
            self.dilation, self.groups,
        )  # fmt: skip


class Standardised(nn.Conv2d):
    def forward(self, x):
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        std, _ = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (std + 1e-5)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class StandardisedByNorm(nn.Conv2d):
    """As timm does it."""

    def forward(self, x):
        weight = functional.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0
        ).reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class SubclassNet(nn.Sequential):
    def __init__(self, kind=Same):
        super().__init__(
            kind(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            kind(4, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(54, 3),
        )


class SeparableNet(nn.Sequential):
    """Depthwise, dilated and grouped ones."""

    def __init__(self):
        super().__init__(
            Same(2, 4, 3, bias=False),
            nn.ReLU6(),
            Same(4, 4, 3, groups=4, dilation=2),
            nn.ReLU(),
            Same(4, 6, 1, groups=2),
            nn.Flatten(),
            nn.Linear(216, 3),
        )


class Attention(nn.Module):
    """Attention by operators, and by functions on batches of matrices."""

    def __init__(self, batched=False):
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.batched = batched

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.batched:
            scores = torch.baddbmm(torch.zeros(1, 1, 1), q, k.mT, beta=0, alpha=0.5)
            return torch.bmm(scores.softmax(-1), v)
        return (q @ k.transpose(-1, -2) * 0.5).softmax(-1) @ v


class Tokens(nn.Module):
    """Pixels as a sequence of 9 tokens of 4 features, what ``inside`` makes of it, a class."""

    def __init__(self, inside):
        super().__init__()
        self.embed = nn.Conv2d(2, 4, 2, stride=2)
        self.inside = inside
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.inside(self.embed(x).flatten(2).mT).mean(1))


class Lora(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 4))
        self.w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return functional.linear(x, self.w) + x @ self.a @ self.b


class Merged(Lora):
    """The same with the weights added before they are multiplied."""

    def forward(self, x):
        return functional.linear(x, self.w + (self.a @ self.b).t())


class Mixer(nn.Module):
    """A weight as the first operand, as the middle one of addmm, and in einsum."""

    def __init__(self):
        super().__init__()
        self.rows, self.columns = nn.Parameter(torch.randn(9, 9)), nn.Parameter(torch.randn(4, 4))
        self.bias, self.vector = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x):
        x = self.rows @ x
        x = torch.addmm(self.bias, x.flatten(0, 1), self.columns).view_as(x)
        x = torch.addmm(x.flatten(0, 1), x.flatten(0, 1), self.columns, alpha=0.5).view_as(x)
        x = torch.einsum("oi,bti->bto", self.columns, x) * (x @ self.vector)[..., None]
        return x


class Equations(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2, 4))

    def forward(self, x):
        heads = torch.einsum("btc,hdc->bhtd", x, self.weight)
        scores = torch.einsum("bhqd,bhkd->bhqk", heads, heads).softmax(-1)
        heads = torch.einsum("...qk,...kd->...qd", scores, heads)
        return torch.einsum("bhtd,hdc", heads, self.weight).mT  # axes in the alphabet's order


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4) / 2)

    def forward(self, x):
        for _ in range(2):
            x = functional.linear(x, self.weight).relu() @ self.weight
        return x


class Excite(nn.Module):
    """Squeeze and excite by functions, and a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, 4, 1)), nn.Parameter(torch.randn(4, 2, 1))
        self.back = nn.Parameter(torch.randn(4, 2, 3))

    def forward(self, x):
        x = x.mT
        gate = functional.conv1d(x.mean(2, keepdim=True), self.down).relu()
        x = x * functional.conv1d(gate, self.up).sigmoid()
        y = torch.conv_transpose1d(x, self.back, stride=2, padding=1, output_padding=1, groups=2)
        return y[..., :9].mT


NETWORKS = {
    "same": (SubclassNet, ["0", "3", "6"]),
    "standardised": (lambda: SubclassNet(Standardised), ["0", "3", "6"]),
    "standardised by a norm": (lambda: SubclassNet(StandardisedByNorm), ["0", "3", "6"]),
    "separable": (SeparableNet, ["0", "2", "4", "6"]),
    "operators": (
        lambda: Tokens(Attention()),
        ["embed", "inside.qkv", "inside.matmul_1", "inside.matmul_2", "head"],
    ),
    "batches": (
        lambda: Tokens(Attention(batched=True)),
        ["embed", "inside.qkv", "inside.baddbmm", "inside.bmm", "head"],
    ),
    "equations": (
        lambda: Tokens(Equations()),
        ["embed", *(f"inside.einsum_{n}" for n in (1, 2, 3, 4)), "head"],
    ),
    "lora": (
        lambda: Tokens(Lora()),
        ["embed", "inside.linear", "inside.matmul_1", "inside.matmul_2", "head"],
    ),
    "merged": (lambda: Tokens(Merged()), ["embed", "inside.linear", "head"]),
    "tied": (lambda: Tokens(Tied()), ["embed", "inside.linear", "inside.matmul", "head"]),
    "excite": (
        lambda: Tokens(Excite()),
        ["embed", "inside.conv_1", "inside.conv_2", "inside.conv_transpose", "head"],
    ),
}
REQUIRED = ["same", "standardised", "operators", "equations"]


@pytest.fixture
def x():
    return torch.randn(12, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def make(name):
    torch.manual_seed(0)
    return NETWORKS[name][0]().eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_product_is_a_layer_with_a_name(name, x):
    model = make(name)
    emulated = axopt.prepare(model, [x])
    assert [info.name for info in emulated.layers()] == NETWORKS[name][1]
    assert (emulated.coverage, emulated.left_out) == (1.0, {})
    assert emulated.skipped == {}
    ours, theirs = (
        {k.removeprefix("module.") for k in net.state_dict()} for net in (emulated, model)
    )
    norms = {f"1.{key}" for key in ("scale", "mean", "shift")} if emulated.folded else set()
    assert ours == {key for key in theirs if not (norms and key.startswith("1."))} | norms
    with torch.no_grad():
        expected, found = model(x), emulated(x)
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "excite"])
def test_whole_networks_equal_numpy(name, x, monkeypatch):
    emulated = axopt.prepare(make(name), [x])
    for multiplier in map(axopt.load_library().__getitem__, MULTIPLIERS):
        axopt.assign_(emulated, dict.fromkeys(emulated.emulated_layers, (multiplier, True)))
        with torch.no_grad(), monkeypatch.context() as slowly:
            fast = emulated(x[:2])
            slowly.setattr(WeightedLayer, "emulated", numpy_layer)
            slowly.setattr(EmulatedMatMul, "emulated", numpy_matmul)
            assert torch.equal(fast, emulated(x[:2]))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_flow_into_all_parameters(name, x):
    model = make(name)
    emulated = axopt.prepare(model, [x])
    for net in (model, emulated):
        (net(x).square().sum() * 1e-3).backward()
    ours = dict(emulated.module.named_parameters())
    for key, parameter in model.named_parameters():
        if key not in ours:  # of a batch norm that is folded
            assert (list(emulated.folded.values()), key[:2]) == (["1"], "1.")
            continue
        distance = (ours[key].grad - parameter.grad).norm() / parameter.grad.norm()
        assert distance < 0.35, key


@pytest.mark.parametrize("name", REQUIRED)
def test_networks_are_searched_corrected_and_retrained(name, x, tmp_path):
    generator = torch.Generator().manual_seed(2)
    targets = torch.randint(0, 3, (32,), generator=generator)
    samples = Split(torch.randn(32, 2, 6, 6, generator=generator), targets)
    data = Dataset("noise", "noise", samples, samples, samples, ("a", "b", "c"))
    emulated = axopt.prepare(make(name), [samples.inputs])
    library = ["mul8s_1KV8", "mul8s_1L1G"]
    result = axopt.search(
        emulated, data, library=library, algorithm="nsga2", budget=4, population=2
    )
    assert result.outcome.n_evaluated == 4
    axopt.assign_(emulated, "mul8s_1L1G", correct=True)
    assert any(layer.correction is not None for layer in emulated.emulated_layers.values())
    with torch.no_grad():
        before = emulated(x)
    weights = {k: v.clone() for k, v in emulated.state_dict().items()}
    axopt.retrain(emulated, samples, epochs=1, batch_size=16, lr=0.01)
    assert any(not torch.equal(v, weights[k]) for k, v in emulated.state_dict().items())
    with torch.no_grad():
        after = emulated(x)
    assert not torch.equal(before, after)
    axopt.save_retrained(emulated, tmp_path / "retrained")
    other = axopt.prepare(make(name), [samples.inputs])
    axopt.load_retrained_(other, tmp_path / "retrained" / "assignment.json")
    with torch.no_grad():
        assert torch.equal(other(x), after)


@pytest.mark.parametrize("name", REQUIRED)
def test_copies_are_independent(name, x):
    emulated = axopt.prepare(make(name), [x])
    other = copy.deepcopy(emulated)
    with torch.no_grad():
        before = emulated(x)
        assert torch.equal(other(x), before)
        for parameter in other.parameters():
            parameter *= 0.5
        axopt.assign_(other, "mul8s_1L2D")
        assert torch.equal(emulated(x), before)
        other.load_state_dict(emulated.state_dict())
        axopt.assign_(emulated, "mul8s_1L2D")
        assert torch.equal(other(x), emulated(x))


def test_weights_are_computed_and_packed_when_parameters_change_only(x, monkeypatch):
    emulated = axopt.prepare(make("standardised"), [x])
    calls = []

    def packed(*args, **kwargs):
        calls.append(args)
        return axopt.layers.convolution_of(*args, **kwargs)

    monkeypatch.setattr("axopt.layers.weighted.convolution_of", packed)
    layer = emulated.emulated_layers["0"]
    with torch.no_grad():
        first, weight = emulated(x), layer.weight
        calls.clear()
        assert torch.equal(emulated(x), first)
        assert layer.weight is weight
        assert calls == []
        emulated.module[0].weight.mul_(torch.linspace(0.5, 2, 9).view(3, 3))
        changed = emulated(x)
    assert len(calls) == 1
    assert not torch.equal(changed, first)


def test_no_mode_is_active_where_nothing_is_intercepted(x):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()
    emulated = axopt.prepare(net, [x])
    assert all("forward" not in vars(module) for module in emulated.modules())


def test_names_and_patterns_mean_products_and_the_modules_that_call_them(x):
    model = make("operators")
    with pytest.warns(CoverageWarning, match="inside.matmul_2"):
        emulated = axopt.prepare(model, [x], exclude=["*.matmul_2"])
    assert emulated.skipped == {"inside.matmul_2": "excluded by the user"}
    assert emulated.left_out == {"inside.matmul_2": 9 * 9 * 4}
    with pytest.warns(CoverageWarning):
        emulated = axopt.prepare(make("same"), [x], exclude=["0", "6"])
    assert [info.name for info in emulated.layers()] == ["3"]
    assert emulated.left_out == {"0": 36 * 4 * 18, "6": 54 * 3}
    assert set(emulated.skipped) == {"0", "1", "6"}
    assert emulated.folded == {}
    with pytest.warns(CoverageWarning):
        emulated = axopt.prepare(make("lora"), [x], include=["inside"])
    assert [i.name for i in emulated.layers()] == NETWORKS["lora"][1][1:-1]
    with pytest.warns(CoverageWarning):
        emulated = axopt.prepare(make("lora"), [x], exclude=["inside"])
    assert emulated.skipped == {"inside": "excluded by the user"}
    assert emulated.left_out == {"inside": 9 * (16 + 8 + 8)}


def test_excluded_products_still_train(x):
    with pytest.warns(CoverageWarning):
        emulated = axopt.prepare(make("standardised"), [x], exclude=["0"])
    emulated(x).sum().backward()
    assert float(emulated.module[0].weight.grad.abs().sum()) > 0


class Branching(nn.Module):
    """Multiplies more often if asked to."""

    def __init__(self):
        super().__init__()
        self.first, self.other = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
        self.often, self.branch = 1, False

    def forward(self, x):
        for _ in range(self.often):
            x = functional.linear(x, self.first)
            x = x @ x.mT @ x / 30
        if self.branch:
            x = x @ self.other + (x @ x.mT).mean()
        return x


def test_a_call_may_run_as_often_as_it_likes(x):
    emulated = axopt.prepare(Tokens(Branching()).eval(), [x])
    assert [i.name for i in emulated.layers()][1:-1] == [
        "inside.linear",
        "inside.matmul_1",
        "inside.matmul_2",
    ]
    emulated.module.inside.often = 3
    with torch.no_grad():
        assert torch.isfinite(emulated(x)).all()


def test_a_call_that_was_not_prepared_is_warned_of_once(x):
    emulated = axopt.prepare(Tokens(Branching()).eval(), [x])
    emulated.module.inside.branch = True
    with torch.no_grad():
        with pytest.warns(CoverageWarning, match="'inside' calls matmul as it did not"):
            y = emulated(x)
        assert torch.equal(emulated(x), y)


class Awkward(nn.Module):
    """What looks like a weight and is none."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4) / 2)
        self.register_buffer("cache", torch.randn(4, 4) / 2)
        self.hyper = nn.Linear(4, 16)

    def forward(self, x):
        self.cache.mul_(0.9)
        drawn = self.weight + torch.rand_like(self.weight) * 0
        changed = self.weight.clone()
        changed[0] = 0
        made = self.hyper(x.mean((0, 1))).view(4, 4)
        y = functional.linear(x, self.cache) + functional.linear(x, drawn)
        return y + functional.linear(x, changed) + functional.linear(x, made)


def test_weights_that_change_by_themselves_are_activations(x):
    emulated = axopt.prepare(Tokens(Awkward()).eval(), [x])
    kinds = {info.name: info.kind for info in emulated.layers()}
    assert kinds == {
        **{"embed": "conv2d", "inside.hyper": "linear", "head": "linear"},
        **{f"inside.linear_{n}": "matmul" for n in (1, 2, 3, 4)},
    }
    assert emulated.coverage == 1.0


def test_convolutions_with_weights_of_the_input_stay_in_float(x):
    class Hyper(nn.Module):
        def __init__(self):
            super().__init__()
            self.make = nn.Linear(4, 12)

        def forward(self, x):
            kernel = self.make(x.mean((0, 1))).view(4, 1, 3)
            return functional.conv1d(x.mT, kernel, padding=1, groups=4).mT

    with pytest.warns(CoverageWarning, match="inside: conv1d"):
        emulated = axopt.prepare(Tokens(Hyper()).eval(), [x])
    assert emulated.left_out == {"inside: conv1d": 9 * 4 * 3}
    assert "follows from the input" in emulated.skipped["inside: conv1d"]


def test_a_weight_may_be_computed_by_another_module(x):
    class Head(nn.Module):
        def forward(self, x, weight):
            return x @ weight

    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(3, 4)
            self.body = nn.Linear(4, 4)
            self.head = Head()

        def forward(self, x):
            return self.head(self.body(x).relu(), self.embedding.weight.t() * 2)

    model = Parent().eval()
    x = torch.randn(8, 4)
    emulated = axopt.prepare(model, [x])
    assert [i.name for i in emulated.layers()] == ["body", "head.matmul"]
    with torch.no_grad():
        before = emulated(x)
        emulated.module.embedding.weight.mul_(0.5)
        assert torch.allclose(emulated(x), before / 2)


class Normalised(nn.Module):
    """The weights of a list of modules, joined, normalised, and kept after the first call."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(4, 2, bias=False) for _ in range(2))
        self.gain, self.kept = nn.Parameter(torch.ones(4, 1)), None

    def forward(self, x):
        weight = functional.normalize(torch.cat([part.weight for part in self.parts]), dim=1)
        if self.kept is None:
            self.kept = torch.eye(4) * 2
        return functional.linear(functional.linear(x, weight * self.gain), self.kept)


def test_weights_of_a_list_of_modules_and_kept_ones(x):
    emulated = axopt.prepare(Tokens(Normalised()).eval(), [x])
    found = {info.name: info.kind for info in emulated.layers()}
    assert found["inside.linear_1"] == found["inside.linear_2"] == "linear"
    assert (emulated.skipped, emulated.coverage) == ({}, 1.0)
    with torch.no_grad():
        emulated(x)


class Rounded(torch.autograd.Function):
    """Rounds weights; their gradients pass."""

    @staticmethod
    def forward(ctx, weight):
        return torch.round(weight * 16) / 16

    @staticmethod
    def backward(ctx, grad):
        return grad


class RoundedNet(nn.Linear):
    def forward(self, x):
        return functional.linear(x, Rounded.apply(self.weight), self.bias)


def test_gradients_of_the_users_own_functions_stay(x):
    emulated = axopt.prepare(Tokens(RoundedNet(4, 4)).eval(), [x])
    assert [info.name for info in emulated.layers()] == ["embed", "inside", "head"]
    emulated(x).sum().backward()
    assert float(emulated.module.inside.weight.grad.abs().sum()) > 0


def test_what_leaves_a_forward_by_an_error_leaves_nothing_behind(x):
    emulated = axopt.prepare(make("operators"), [x])
    layer = emulated.emulated_layers["inside.matmul_1"]
    for error in (ZeroDivisionError, KeyboardInterrupt):

        def fail(*_, error=error):
            raise error

        handle = layer.register_forward_pre_hook(fail)
        with pytest.raises(error), torch.no_grad():
            emulated(x)
        handle.remove()
        a = torch.randn(2, 3, 3)
        assert torch.equal(a @ a, torch.matmul(a, a))
        assert torch.overrides._get_current_function_mode() is None  # nothing public says it


def test_a_model_without_any_product_is_refused(x):
    with pytest.raises(UnsupportedLayerError, match="no layer to emulate"):
        axopt.prepare(nn.Sequential(nn.ReLU()), [x])


class Shifted(nn.ConvTranspose1d):
    def forward(self, x):
        return functional.conv_transpose1d(x, self.weight * 0.5, self.bias, 2, groups=self.groups)


class Branched(nn.Module):
    """A batch norm whose input something else takes too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = Same(2, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def statistics(net):
    """Give batch norms statistics and weights that a wrong fold would show."""
    for norm in net.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            for tensor in (norm.running_var, norm.weight, norm.bias, norm.running_mean):
                nn.init.uniform_(tensor, 0.2, 1.5)
    return net.eval()


def test_batch_norms_behind_computed_weights_are_folded(x):
    for make_net, shape in (
        (lambda: SubclassNet(Standardised), (2, 6, 6)),
        (lambda: nn.Sequential(Shifted(4, 6, 3, groups=2), nn.BatchNorm1d(6)), (4, 7)),
    ):
        torch.manual_seed(0)
        net = statistics(make_net())
        x = torch.randn(12, *shape)
        emulated = axopt.prepare(net, [x])
        assert emulated.folded == {"0": "1"}
        with torch.no_grad():
            expected = net(x)
            assert (emulated(x) - expected).abs().max() < 0.05 * expected.abs().max()
        for model in (net, emulated):
            model(x).square().sum().backward()
        ours, theirs = emulated.module[0].weight.grad, net[0].weight.grad
        assert (ours - theirs).norm() < 0.2 * theirs.norm()
        assert float(emulated.module[1].shift.grad.abs().sum()) > 0


def test_a_batch_norm_that_is_not_the_only_consumer_stays(x):
    net = statistics(Branched())
    emulated = axopt.prepare(net, [x])
    assert (emulated.folded, set(emulated.skipped)) == ({}, {"norm"})


def test_computed_weights_must_be_finite(x):
    net = SubclassNet(Standardised).eval()
    with torch.no_grad():
        net[3].weight[0] = 3e38  # whose sum is infinite
    with pytest.raises(ArgumentError, match="finite weights, but '3.weight'"):
        axopt.prepare(net, [x])

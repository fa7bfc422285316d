"""Models that are wrapped, tied, parametrised, hooked, of any dtype: emulated, or refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

import axopt
from axopt.errors import UnsupportedLayerError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*weight_norm.*is deprecated:FutureWarning",
    "ignore:.*torch.jit:DeprecationWarning",
    "ignore:.*torch.jit:FutureWarning",
)


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).eval()


@pytest.fixture
def net():
    return make_net()


@pytest.fixture
def x():
    return torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def names_of(emulated):
    return [info.name for info in emulated.layers()]


def accounted(emulated):
    return {*names_of(emulated), *emulated.skipped, *emulated.folded.values()}


def results(emulated, x, multiplier="mul8s_1L2D"):
    axopt.assign_(emulated, multiplier)
    with torch.no_grad():
        return emulated(x)


def compiled(net):
    return torch.compile(net)


def compiled_in_place(net):
    net.compile()
    return net


def compiled_inside(net):
    net[0] = torch.compile(net[0])
    return net


def compiled_and_parallel(net):
    return nn.DataParallel(torch.compile(nn.DataParallel(net)))


def parallel_inside(net):
    net[4] = nn.DataParallel(net[4])
    return net


def channels_last(net):
    return net.to(memory_format=torch.channels_last)


def in_training(net):
    return net.train()


@pytest.mark.parametrize(
    "change",
    [
        compiled,
        compiled_in_place,
        compiled_inside,
        nn.DataParallel,
        compiled_and_parallel,
        parallel_inside,
        channels_last,
        in_training,
    ],
)
def test_wrapped_models_are_the_model_inside(change, x):
    plain = axopt.prepare(make_net(), [x])
    changed = change(make_net())
    before = [(name, type(m)) for name, m in changed.named_modules()]
    training = [m.training for m in changed.modules()]
    emulated = axopt.prepare(changed, [x])
    assert names_of(emulated) == ["0", "4"]
    assert emulated.folded == {"0": "1"}
    assert emulated.digest == plain.digest
    assert torch.equal(results(emulated, x), results(plain, x))
    assert [(name, type(m)) for name, m in changed.named_modules()] == before
    assert [m.training for m in changed.modules()] == training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_come_out_as_they_went_in(dtype, net, x):
    net, x = net.to(dtype), x.to(dtype)
    emulated = axopt.prepare(net, [x])
    with torch.no_grad():
        expected, exact = net(x), emulated(x)
    assert exact.dtype == dtype
    assert (exact - expected).abs().max() < 0.05 * expected.abs().max()
    assert len(emulated.digest) == 64
    emulated(x).sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.abs().sum() > 0 for p in emulated.parameters())


def positive(module):
    class Positive(nn.Module):
        def forward(self, weight):
            return weight.abs()

    return parametrize.register_parametrization(module, "weight", Positive())


def pruned(module):
    return prune.l1_unstructured(module, "weight", 0.5)


PARAMETRISED = {
    "parametrised": positive,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "older weight norm": nn.utils.weight_norm,
    "older spectral norm": spectral_norm,
    "pruned": pruned,
}


@pytest.mark.parametrize("change", PARAMETRISED.values(), ids=PARAMETRISED)
@pytest.mark.parametrize("bias", [True, False])
def test_weights_that_are_computed_become_plain(change, bias, x):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), change(nn.Linear(72, 3, bias=bias)))
    for _ in range(3):  # power iterations happen in training
        net(x)
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        net(x)
        weight = net[1].weight.clone()
    same = nn.Sequential(nn.Flatten(), nn.Linear(72, 3, bias=bias))
    with torch.no_grad():
        same[1].weight.copy_(weight)
        if bias:
            same[1].bias.copy_(net[1].bias)
    net(x)  # older norms leave a weight that torch does not copy
    emulated = axopt.prepare(net, [x])
    assert accounted(emulated) == {"1"}
    assert sorted(emulated.state_dict()) == sorted(axopt.prepare(same, [x]).state_dict())
    assert all(p.requires_grad for p in emulated.parameters())
    assert torch.equal(results(emulated, x), results(axopt.prepare(same, [x]), x))
    after = net.state_dict()  # the original works and is as it was
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with torch.no_grad():
        torch.testing.assert_close(net(x), same(x))


def test_parametrised_recurrent_networks_are_lowered():
    torch.manual_seed(0)
    lstm = parametrizations.weight_norm(nn.LSTM(4, 5), "weight_hh_l0").eval()
    x = torch.randn(6, 3, 4)
    emulated = axopt.prepare(lstm, [x])
    assert names_of(emulated) == ["ih_l0", "hh_l0"]
    with torch.no_grad():
        torch.testing.assert_close(emulated(x)[0], lstm(x)[0], rtol=0, atol=0.02)


class Noise(nn.Module):
    def forward(self, weight):
        return weight + torch.randn_like(weight)


def noisy(net):
    parametrize.register_parametrization(net[4], "weight", Noise())
    net[4].register_parameter("bias", None)
    return net


def scripted(net):
    net[4] = torch.jit.script(net[4])
    return net


def traced(net):
    net[4] = torch.jit.trace(net[4], torch.zeros(1, 64))
    return net


def lazy(net):
    net[4] = nn.LazyLinear(3)
    return net


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (noisy, "parametrisation.*Linear.*other weights in each call"),
        (scripted, "ScriptModule"),
        (traced, "ScriptModule"),
        (lazy, "no weights yet"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore::axopt.errors.CoverageWarning")
def test_layers_that_would_silently_stay_exact_are_refused(change, reason, net, x):
    net = change(net)
    with pytest.raises(UnsupportedLayerError, match=f"'4'.*{reason}.*exclude"):
        axopt.prepare(net, [x])
    emulated = axopt.prepare(net, [x], exclude=["4"])
    assert names_of(emulated) == ["0"]
    assert emulated.skipped == {"4": "excluded by the user"}


def test_a_scripted_model_is_refused(net, x):
    with pytest.raises(UnsupportedLayerError, match="'0'.*ScriptModule"):
        axopt.prepare(torch.jit.script(net), [x])


class Tied(nn.Module):
    """Two convolutions with one weight, a batch norm behind each, and a tied decoder."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(2))
        self.second.weight = self.first.weight
        self.norm1, self.norm2 = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.encode, self.decode = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        x = self.norm2(self.second(self.norm1(self.first(x)).relu())).relu()
        return self.decode(self.encode((x.mean((1, 2, 3)) * 10).long() % 5) + x[:, 0, 0, :4])


def test_tied_weights_stay_tied_and_are_not_folded(x):
    torch.manual_seed(0)
    model = Tied().eval()
    for norm in (model.norm1, model.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    emulated = axopt.prepare(model, [x])
    assert names_of(emulated) == ["first", "second", "decode"]
    assert set(emulated.skipped) == {"norm1", "norm2", "encode"}
    assert emulated.folded == {}
    module = emulated.module
    assert module.first.weight is module.second.weight
    assert module.decode.weight is module.encode.weight
    assert module.first.weight is not model.first.weight
    with torch.no_grad():
        bias = module.second.bias.view(-1, 1, 1)
        before = module.second(x) - bias
        module.first.weight.mul_(0.5)  # what one layer learns the other sees
        torch.testing.assert_close(module.second(x) - bias, before / 2, rtol=0, atol=1e-5)


def test_nested_containers_and_shared_modules_keep_their_names(x):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            shared = nn.Conv2d(2, 2, 1)
            self.parts = nn.ModuleDict({"a": nn.ModuleList([shared, nn.Conv2d(2, 2, 1)])})
            self.again = shared
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            for part in self.parts["a"]:
                x = part(x)
            return self.again(x) * self.scale

    emulated = axopt.prepare(Net(), [x])
    assert names_of(emulated) == ["parts.a.0", "parts.a.1"]
    assert emulated.module.again is emulated.module.parts["a"][0]
    assert "Net" in emulated.skipped[""]
    assert "scale" in emulated.skipped[""]


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_every_module_in_float_has_a_reason():
    class Own(nn.LSTM):
        def forward(self, x):
            return super().forward(x)[0]

    torch.manual_seed(0)
    modules = {
        "embedding": (nn.Embedding(9, 4), "rows"),
        "layer_norm": (nn.LayerNorm(4), "norms"),
        "own": (Own(4, 4), "weight_ih_l0"),
        "prelu": (nn.PReLU(), "activations"),
        "rms": (nn.RMSNorm(4), "norms"),
        "batch_norm": (nn.BatchNorm1d(5), "BatchNorm1d stays in float unless"),
        "linear": (nn.Linear(4, 2), None),
    }
    net = nn.Sequential()
    for name, (module, _) in modules.items():
        net.add_module(name, module)
    emulated = axopt.prepare(net, [torch.randint(9, (3, 5))])
    assert names_of(emulated) == ["linear"]
    assert set(emulated.skipped) == set(modules) - {"linear"}
    for name, (module, reason) in modules.items():
        if reason is not None:
            assert reason in emulated.skipped[name]
            assert type(module).__name__ in emulated.skipped[name]


def test_forward_hooks_stay_and_keep_what_they_see(net, x):
    seen = []
    net[0].register_forward_hook(lambda module, taken, given: seen.append(given) or given * 2)
    net[4].register_forward_pre_hook(lambda module, taken: (taken[0] + 1,))
    emulated = axopt.prepare(net, [x])
    assert emulated.folded == {}  # the batch norm gets what the hook gives
    seen.clear()
    with torch.no_grad():
        expected, found = net(x), emulated(x)
    assert len(seen) == 2
    assert (seen[0] - seen[1]).abs().max() < 0.05 * seen[0].abs().max()
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_hooks_of_lowered_modules_stay():
    lstm = nn.LSTM(3, 4)
    lstm.register_forward_hook(lambda module, taken, given: given[0])
    assert axopt.prepare(lstm, [torch.randn(5, 2, 3)])(torch.randn(5, 2, 3)).shape == (5, 2, 4)


def test_a_hooked_batch_norm_or_rectifier_stays(net, x):
    net[1].register_forward_hook(lambda module, taken, given: given + 1)
    assert axopt.prepare(net, [x]).folded == {}
    net = make_net()
    net[2].register_forward_hook(lambda module, taken, given: given + 1)
    emulated = axopt.prepare(net, [x])
    assert (emulated.folded, emulated.fused) == ({"0": "1"}, {})

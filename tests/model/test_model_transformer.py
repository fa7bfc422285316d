"""Transformers: against an unrolled numpy emulation, and through every step of the workflow."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import axopt
from axopt.corrections import LayerCorrector
from axopt.data import Dataset, Split
from axopt.errors import AssignmentError
from axopt.layers import EmulatedMatMul
from axopt.model import Assignment, current_assignment, explain_corrections, reestimation

MULTIPLIERS = ["mul8s_1KV8", "mul8s_1KVB", "mul8s_1L1G", "mul8u_JQQ", "mul8u_2HH"]

WIDTH, HEADS, LENGTH = 12, 3, 7


class Tiny(nn.Module):
    """A block over sequences, and a class for each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 24, norm_first=True, batch_first=True, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def make_data(n, seed):
    """Sequences whose class is the feature that is large in them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, LENGTH, WIDTH, generator=generator)
    targets = torch.randint(0, 3, (n,), generator=generator)
    x[torch.arange(n), :, targets] += 1.5
    return Split(x, targets)


@pytest.fixture(scope="module")
def data():
    return make_data(192, 0)


@pytest.fixture(scope="module")
def model(data):
    model = Tiny()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model(data.inputs), data.targets).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def emulated(model, data):
    return axopt.prepare(model, [data.inputs[:128]])


def numpy_product(layer, a, b, formats):
    """Sums of table products of ``(..., m, k)`` and ``(..., n, k)`` in int64, dequantised."""
    origin = 128 if layer.multiplier.signed else 0
    table = layer.multiplier.table.T if layer.swap else layer.multiplier.table
    sides = []
    for x, params in ((a, formats.activation), (b, formats.weights)):
        scale = np.float32(1) / params.scale.numpy()
        zero = params.zero_point.numpy()
        if scale.ndim:
            scale, zero = scale[:, None], zero[:, None]
        levels = np.clip(np.round(x * scale) + zero, 0, 255).astype(np.int64)
        sides.append((levels[..., None, :], np.broadcast_to(zero, levels.shape)[..., None, :]))
    (n, zero_n), (m, zero_m) = sides[0], sides[1]
    m, zero_m = np.moveaxis(m, -2, -3), np.moveaxis(zero_m, -2, -3)
    error = table[n, m] - (n - origin) * (m - origin)
    sums = (error + (n - zero_n) * (m - zero_m)).sum(-1)
    return sums.astype(np.float32) * formats.output_scale.numpy()


def numpy_layer(layer, *operands):
    """A layer of the model: its second operand is the weight, or given."""
    formats = layer.quantisation()
    a, b = (x.numpy() for x in (*operands, layer.weight.detach())[:2])
    if isinstance(layer, EmulatedMatMul):
        b = b if layer.transpose_b else b.swapaxes(-1, -2)
        return torch.from_numpy(numpy_product(layer, a, b, formats))
    y = numpy_product(layer, a, b, formats)
    return torch.from_numpy(y + layer.bias.detach().numpy())


def unrolled_block(block, x):
    """A pre-norm block, all its products by `numpy_layer`."""
    attention = block.self_attn
    y = block.norm1(x)
    q, k, v = (
        numpy_layer(projection, y).view(*y.shape[:2], HEADS, -1).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = numpy_layer(attention.scores, q * (1 / (WIDTH // HEADS) ** 0.5), k)
    context = numpy_layer(attention.context, torch.softmax(scores, -1), v)
    x = x + numpy_layer(attention.out_proj, context.transpose(1, 2).flatten(2))
    hidden = functional.gelu(numpy_layer(block.linear1, block.norm2(x)))
    return x + numpy_layer(block.linear2, hidden)


@pytest.mark.parametrize("swap", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("name", MULTIPLIERS)
def test_transformer_equals_numpy(name, swap, emulated, data, library):
    x = data.inputs[-4:]
    multiplier = (library[name], swap)
    axopt.assign_(emulated, dict.fromkeys(emulated.emulated_layers, multiplier))
    with torch.no_grad():
        fast = emulated(x)
        slow = x
        for block in emulated.module.encoder.layers:
            slow = unrolled_block(block, slow)
        slow = numpy_layer(emulated.module.head, slow.mean(1))
    assert torch.equal(fast, slow)


def test_every_product_is_a_layer(emulated):
    found = {info.name: (info.kind, info.macs) for info in emulated.layers()}
    square = LENGTH * WIDTH * WIDTH
    attention = LENGTH * LENGTH * WIDTH
    block = "encoder.layers.0"
    assert len(found) == 8 + 1
    assert found[f"{block}.self_attn.q_proj"] == ("linear", square)
    assert found[f"{block}.self_attn.scores"] == ("matmul", attention)
    assert found[f"{block}.self_attn.context"] == ("matmul", attention)
    assert found[f"{block}.linear1"] == ("linear", 2 * square)
    assert set(emulated.skipped) == {f"{block}.norm1", f"{block}.norm2"}


def accuracy(model, data):
    return axopt.evaluate(model, data).value


def test_exact_multipliers_keep_the_quality(model, emulated):
    test = make_data(300, 5)
    for name in ("mul8s_1KV8", "mul8u_1JFF"):
        axopt.assign_(emulated, name)
        assert abs(accuracy(emulated, test) - accuracy(model, test)) <= 1


@pytest.mark.parametrize(("name", "part"), [("mul8s_1L1G", 0.8), ("mul8u_2HH", 0.99)])
def test_corrections_help_the_products(name, part, emulated, data):
    axopt.assign_(emulated, name)
    axopt.correct_(emulated)
    explained = explain_corrections(emulated)
    for found in explained:
        layer = emulated.emulated_layers[found.name]
        assert found.error_pct <= found.raw_error_pct
        assert "mean_error" not in found.corrections or layer.has_channels
        gain, gains = layer.quantisation().gain, len(layer.weight) if layer.has_channels else 1
        assert gain is None or gain.shape == (gains,)
    products = [f for f in explained if not emulated.emulated_layers[f.name].has_channels]
    assert len(products) == 2
    assert any(found.error_pct < part * found.raw_error_pct for found in products)
    with torch.no_grad():
        fast = emulated(data.inputs[:3])
        product = EmulatedMatMul.emulated
        try:
            EmulatedMatMul.emulated = lambda self, a, b, formats, *, bounds=None: (
                self.emulated_stepwise(a.flatten(0, -3), b.flatten(0, -3), formats)
            )
            assert torch.equal(emulated(data.inputs[:3]), fast)
        finally:
            EmulatedMatMul.emulated = product


def test_the_measured_error_of_a_product_is_that_of_its_layer(emulated):
    """On the sampled pairs, recomputed by the layer itself."""
    axopt.assign_(emulated, "mul8s_1L1G")
    layer = emulated.emulated_layers["encoder.layers.0.self_attn.context"]
    error_pct = LayerCorrector.of(layer).error_pct(
        layer.quantisation(), layer.multiplier, swap=layer.swap
    )
    a = layer.sample.windows.transpose(0, 1)
    b = layer.weight.view(len(a), -1, a.shape[2]).mT
    exact = torch.matmul(a.double(), b.double()).transpose(0, 1).flatten(1)
    error = layer(a, b).transpose(0, 1).flatten(1).double() - exact
    rms = error[1::2].square().mean(0).sum().sqrt() / exact.var(0, correction=0).sum().sqrt()
    assert error_pct == pytest.approx(100 * float(rms), rel=1e-4)


def test_assignments_come_back(emulated, model, data, tmp_path):
    axopt.assign_(emulated, "mul8s_1L1G", correct=True)
    current_assignment(emulated).save(tmp_path / "a.json")
    other = axopt.prepare(model, [data.inputs[:128]])
    axopt.assign_(other, Assignment.load(tmp_path / "a.json"))
    with torch.no_grad():
        assert torch.equal(other(data.inputs[:5]), emulated(data.inputs[:5]))
    text = (tmp_path / "a.json").read_text()
    wrong = Assignment.from_json(text)
    name = "encoder.layers.0.self_attn.scores"
    wrong.quantisation[name]["gain"] = [1.0, 1.0]
    with pytest.raises(AssignmentError, match="`gain` must be 1 finite numbers"):
        axopt.assign_(other, wrong)


def test_reestimation_leaves_products_alone(emulated, data):
    axopt.assign_(emulated, "mul8s_1L1G")
    before = {n: x.formats for n, x in emulated.emulated_layers.items() if not x.has_channels}
    reestimation.reestimate_(emulated, [data.inputs[:64]])
    after = {n: x.formats for n, x in emulated.emulated_layers.items() if not x.has_channels}
    assert len(before) == 2
    assert before == after


@pytest.mark.parametrize("gradient", ["ste", "table"])
def test_retraining_helps(gradient, emulated, data):
    axopt.assign_(emulated, "mul8s_1L1G")
    result = axopt.retrain(
        emulated, data, epochs=2, batch_size=32, gradient=gradient, learn_steps=True, lr=1e-3
    )
    losses = [epoch.loss for epoch in result.history[1:]]
    assert losses[-1] < losses[0]


def test_search_chooses_for_every_product(emulated, data, tmp_path):
    dataset = Dataset(
        "sequences",
        "sequences",
        train=data,
        validation=make_data(60, 1),
        test=make_data(60, 2),
        classes=("a", "b", "c"),
    )
    library = ["mul8s_1KV8", "mul8s_1L1G"]
    result = axopt.search(
        emulated,
        dataset,
        library=library,
        budget=4,
        out=tmp_path / "run",
        algorithm="random",
    )
    assert len(result.front)

"""Attention taken apart equals torch's, with every option, alone and in transformers."""

import copy

import pytest
import torch
from grid import each
from torch import nn

from axopt.errors import ArgumentError
from axopt.modules import Attention, MatMul, lower_

FLOAT_SUM_ORDER = {"rtol": 1e-4, "atol": 1e-5}

MODULES = {
    "plain": {},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "other sizes": {"kdim": 6, "vdim": 10, "batch_first": True},
    "other sizes, no bias": {"kdim": 6, "vdim": 10, "bias": False},
    "added keys": {"add_bias_kv": True},
    "zero key": {"add_zero_attn": True, "batch_first": True},
    "all added": {"add_bias_kv": True, "add_zero_attn": True, "kdim": 3, "vdim": 5},
    "odd heads": {"num_heads": 3, "embed_dim": 12},
}

BATCH, QUERIES, KEYS = 3, 4, 5


def make_attention(options):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(**{"embed_dim": 8, "num_heads": 2, **options})
    for parameter in attention.parameters():  # biases start as zeros
        nn.init.normal_(parameter, std=0.5)
    return attention.eval()


def make_inputs(attention, batched=True):
    sizes = [(QUERIES, attention.embed_dim), (KEYS, attention.kdim), (KEYS, attention.vdim)]
    if not batched:
        return [torch.randn(size) for size in sizes]
    if attention.batch_first:
        return [torch.randn(BATCH, *size) for size in sizes]
    return [torch.randn(length, BATCH, width) for length, width in sizes]


def make_masks(kind, attention, batched):
    """Masks that leave each query a key."""
    batch = BATCH if batched else 1
    padding = torch.rand(batch, KEYS) < 0.4
    padding[:, 0] = False
    mask = torch.rand(QUERIES, KEYS) < 0.4
    mask[:, 0] = False
    per_head = torch.rand(batch * attention.num_heads, QUERIES, KEYS) < 0.4
    per_head[..., 0] = False
    masks = {
        "none": {},
        "padding": {"key_padding_mask": padding},
        "mask": {"attn_mask": mask},
        "both": {"key_padding_mask": padding, "attn_mask": mask},
        "per head": {"attn_mask": per_head},
        "float": {"attn_mask": torch.randn(QUERIES, KEYS)},
        "float both": {
            "key_padding_mask": torch.randn(batch, KEYS),
            "attn_mask": torch.randn(batch * attention.num_heads, QUERIES, KEYS),
        },
    }[kind]
    if not batched and "key_padding_mask" in masks:
        masks["key_padding_mask"] = masks["key_padding_mask"][0]
    return masks


MASKS = ["none", "padding", "mask", "both", "per head", "float", "float both"]


@each("batched", [True, False])
@each("masks", MASKS)
@pytest.mark.parametrize("options", MODULES.values(), ids=MODULES.keys())
def test_attention_equals_torch(options, masks, batched):
    attention = make_attention(options)
    inputs = make_inputs(attention, batched)
    chosen = make_masks(masks, attention, batched)
    lowered = Attention(attention)
    for need_weights, average in [(True, True), (True, False), (False, True)]:
        arguments = {**chosen, "need_weights": need_weights, "average_attn_weights": average}
        y, weights = attention(*inputs, **arguments)
        found, found_weights = lowered(*inputs, **arguments)
        torch.testing.assert_close(found, y, **FLOAT_SUM_ORDER)
        if need_weights:
            torch.testing.assert_close(found_weights, weights, **FLOAT_SUM_ORDER)
        else:
            assert found_weights is weights is None


@pytest.mark.parametrize("options", [{}, {"batch_first": True, "kdim": 6}])
def test_gradients_equal_torchs(options):
    attention = make_attention(options)
    inputs = [x.requires_grad_() for x in make_inputs(attention)]
    lowered = Attention(attention)
    found, expected = (
        torch.autograd.grad(module(*inputs)[0].square().sum(), inputs)
        for module in (lowered, attention)
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    lowered(*inputs)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in lowered.parameters())


def test_causal_hints_need_the_mask():
    attention = make_attention({"batch_first": True})
    lowered, x = Attention(attention), torch.randn(BATCH, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    for padding in (None, torch.tensor([[False, False, True, False, True]]).expand(BATCH, -1)):
        arguments = {"attn_mask": mask, "is_causal": True, "key_padding_mask": padding}
        if padding is not None:
            arguments["key_padding_mask"] = torch.zeros(BATCH, 5).masked_fill(padding, -torch.inf)
        expected = attention(x, x, x, **arguments)[0]
        torch.testing.assert_close(lowered(x, x, x, **arguments)[0], expected, **FLOAT_SUM_ORDER)
    with pytest.raises(ArgumentError, match="`attn_mask` must be given"):
        lowered(x, x, x, is_causal=True)


def test_dropout_works_in_training_alone():
    attention = make_attention({"dropout": 0.5})
    inputs = make_inputs(attention)
    lowered = Attention(attention)
    assert torch.equal(lowered(*inputs)[0], lowered(*inputs)[0])
    lowered.train()
    assert not torch.equal(lowered(*inputs)[0], lowered(*inputs)[0])
    weights = lowered(*inputs)[1]
    torch.manual_seed(1)
    mean = torch.stack([lowered(*inputs)[1] for _ in range(2000)]).mean(0)
    torch.testing.assert_close(mean, lowered.eval()(*inputs)[1], rtol=0, atol=0.05)
    assert weights is not None


def test_a_query_that_sees_nothing_gets_the_bias():
    attention = make_attention({})
    padding = torch.ones(BATCH, KEYS, dtype=torch.bool)
    y = Attention(attention)(*make_inputs(attention), key_padding_mask=padding)[0]
    torch.testing.assert_close(y, attention.out_proj.bias.expand_as(y))


TRANSFORMERS = {
    "post-norm": {},
    "pre-norm": {"norm_first": True},
    "batch second": {"batch_first": False},
    "no bias": {"bias": False},
}


@each("grad", [False, True])
@each("padded", [False, True])
@each("options", TRANSFORMERS.values())
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_encoders_equal_torchs(options, padded, grad):
    torch.manual_seed(0)
    options = {"batch_first": True, "dropout": 0.1, **options}
    layer = nn.TransformerEncoderLayer(8, 2, 16, **options)
    x = torch.randn(3, 5, 8)
    padding = torch.arange(5) >= torch.tensor([[5], [3], [4]])
    arguments = {"src_key_padding_mask": padding} if padded else {}
    if not options["batch_first"]:
        x = x.transpose(0, 1)
    for module in (layer, nn.TransformerEncoder(layer, 2), nn.Sequential(layer)):
        if padded and isinstance(module, nn.Sequential):
            continue
        module.eval()
        lowered = lower_(copy.deepcopy(module))
        with torch.set_grad_enabled(grad):
            expected, found = module(x, **arguments), lowered(x, **arguments)
        kept = ~padding if padded else torch.ones_like(padding)
        kept = kept if options["batch_first"] else kept.T
        torch.testing.assert_close(found[kept], expected[kept], **FLOAT_SUM_ORDER)
        assert any(isinstance(child, MatMul) for child in lowered.modules())
        assert not any(type(m) is nn.MultiheadAttention for m in lowered.modules())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_whole_transformer_equals_torchs(causal):
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True).eval()
    source, target = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4) if causal else None
    arguments = {"tgt_mask": mask, "tgt_is_causal": causal}
    expected = model(source, target, **arguments)
    found = lower_(copy.deepcopy(model))(source, target, **arguments)
    torch.testing.assert_close(found, expected, **FLOAT_SUM_ORDER)


def test_shared_attention_stays_shared_and_subclasses_stay():
    class Own(nn.MultiheadAttention):
        pass

    shared = make_attention({})
    model = nn.ModuleDict({"a": shared, "b": shared, "own": Own(8, 2)})
    lower_(model)
    assert isinstance(model["a"], Attention)
    assert model["a"] is model["b"]
    assert type(model["own"]) is Own
    assert isinstance(lower_(make_attention({})), Attention)


def test_frozen_parameters_stay_frozen():
    attention = make_attention({}).requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in Attention(attention).parameters())


def test_names_of_the_layers():
    names = dict(Attention(make_attention({})).named_modules())
    kinds = {name: type(module) for name, module in names.items() if name}
    linear = dict.fromkeys(("q_proj", "k_proj", "v_proj", "out_proj"), nn.Linear)
    assert kinds == {**linear, "scores": MatMul, "context": MatMul}

"""Products as modules equal the functions they stand for."""

import itertools

import pytest
import torch
from torch.nn import functional

from axopt.errors import ArgumentError
from axopt.modules import Einsum, MatMul, ScaledDotProductAttention

FLOAT_SUM_ORDER = {"rtol": 1e-5, "atol": 1e-6}

SHAPES = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (6, 4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 0, 4), (2, 4, 5)),
    ((2, 3, 0), (2, 0, 5)),
]


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_matmul_is_that_of_torch(a, b, transpose_b):
    a, b = torch.randn(a), torch.randn(b)
    module = MatMul(transpose_b=transpose_b)
    assert torch.equal(module(a, b.mT if transpose_b else b), torch.matmul(a, b))


def test_matmul_wants_matrices():
    with pytest.raises(ArgumentError, match="two axes or more"):
        MatMul()(torch.randn(3), torch.randn(3, 2))


@pytest.mark.parametrize(
    ("equation", "a", "b"),
    [
        ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
        ("bqhd, bkhd -> bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
        ("ij,jk->ki", (2, 3), (3, 4)),
        ("bijk,bkl->blji", (2, 3, 4, 5), (2, 5, 6)),
        ("bijk,jkl->lbi", (2, 3, 4, 5), (4, 5, 6)),
        ("i,j->ij", (3,), (4,)),
        ("bi,bi->b", (3, 4), (3, 4)),
    ],
)
def test_einsum_is_that_of_torch(equation, a, b):
    a, b = torch.randn(a), torch.randn(b)
    module = Einsum(equation)
    torch.testing.assert_close(module(a, b), torch.einsum(equation, a, b), **FLOAT_SUM_ORDER)
    assert [type(child) for child in module.children()] == [MatMul]


@pytest.mark.parametrize(
    "equation",
    ["ij,jk", "ii,ij->j", "ij,jk,kl->il", "ij,jk->il", "ij,kl->i", "...ij,jk->ik", "ij->ji"],
)
def test_einsum_refuses_what_is_no_product_of_matrices(equation):
    with pytest.raises(ArgumentError, match="must be a batched product"):
        Einsum(equation)


def test_einsum_checks_the_number_of_axes():
    with pytest.raises(ArgumentError, match="`b` must have the axes 'jk'"):
        Einsum("ij,jk->ik")(torch.randn(2, 3), torch.randn(3))


@pytest.mark.parametrize(
    ("mask", "causal", "scale"),
    [*itertools.product([None, "bool", "float"], [False], [None, 0.3]), (None, True, None)],
)
@pytest.mark.parametrize("gqa", [False, True])
def test_attention_is_that_of_torch(mask, causal, scale, gqa, rng):
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8)
    key, value = torch.randn(2, 2 if gqa else 4, 6, 8), torch.randn(2, 2 if gqa else 4, 6, 7)
    masks = {
        None: None,
        "bool": torch.rand(2, 1, 5, 6) < 0.6,
        "float": torch.randn(5, 6),
    }
    options = {"attn_mask": masks[mask], "is_causal": causal, "scale": scale, "enable_gqa": gqa}
    expected = functional.scaled_dot_product_attention(query, key, value, **options)
    module = ScaledDotProductAttention()
    torch.testing.assert_close(module(query, key, value, **options), expected, **FLOAT_SUM_ORDER)


def test_attention_to_nothing_is_zero():
    query, mask = torch.randn(1, 2, 3, 4), torch.ones(3, 3, dtype=torch.bool)
    mask[1] = False
    result = ScaledDotProductAttention()(query, query, query, mask)
    expected = functional.scaled_dot_product_attention(query, query, query, mask)
    assert not result[:, :, 1].any()
    torch.testing.assert_close(result, expected, **FLOAT_SUM_ORDER)


def test_attention_drops_weights():
    query = torch.ones(1, 1, 200, 4)
    torch.manual_seed(0)
    result = ScaledDotProductAttention()(query, query, query, dropout_p=0.5)
    assert 0.8 < float(result.mean()) < 1.2
    assert len(result.unique()) > 10


def test_attention_refuses_two_masks():
    query = torch.randn(1, 1, 3, 4)
    with pytest.raises(ArgumentError, match="`attn_mask` must be None"):
        ScaledDotProductAttention()(query, query, query, torch.ones(3, 3), is_causal=True)


def test_attention_refuses_heads_that_do_not_divide():
    query, key = torch.randn(1, 3, 3, 4), torch.randn(1, 2, 3, 4)
    with pytest.raises(ArgumentError, match="multiple of 2 heads"):
        ScaledDotProductAttention()(query, key, key, enable_gqa=True)

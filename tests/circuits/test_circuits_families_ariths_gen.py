"""The same multipliers as ArithsGen generates, where it generates them."""

import numpy as np
import pytest

from axopt.circuits import generate

pytest.importorskip("ariths_gen", reason="needs ariths-gen to compare with")

from ariths_gen.multi_bit_circuits import approximate_multipliers as approximate  # noqa: E402
from ariths_gen.multi_bit_circuits import multipliers as exact  # noqa: E402
from ariths_gen.wire_components import Bus  # noqa: E402

TWO_BIT = approximate.UnsignedApproximateTwoBitMultiplierM1


def same(made, family, bits=8, signed=False, **parameters):
    """Whether both give the same products of some operands, the extreme ones among them."""
    table = generate(family, bits_a=bits, bits_w=bits, signed=signed, **parameters).table()
    size = 2**bits
    rng = np.random.default_rng(bits)
    codes = [(i, j) for i in (0, 1, size // 2, size - 1) for j in (0, 1, size // 2, size - 1)]
    codes += rng.integers(0, size, (60, 2)).tolist()
    low = size // 2 if signed else 0
    return all(made(i - low, j - low) == table[i, j] for i, j in codes)


def buses(bits=8):
    return Bus("a", bits), Bus("b", bits)


@pytest.mark.parametrize("kind", ["Array", "CarrySave", "Dadda", "Wallace"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_exact(kind, signed, bits):
    made = getattr(exact, f"{'Signed' if signed else 'Unsigned'}{kind}Multiplier")(*buses(bits))
    reduction = {"Array": "array", "CarrySave": "carry_save"}.get(kind, kind.lower())
    assert same(made, "exact", bits, signed, reduction=reduction)


@pytest.mark.parametrize("kind", ["Array", "CarrySave"])
def test_truncated_and_broken(kind):
    truncated = getattr(approximate, f"UnsignedTruncated{kind}Multiplier")
    made = truncated(*buses(), truncation_cut=3)  # keeps i >= 3 and j >= 3
    slot = generate("truncated", bits_a=5, bits_w=5).table()
    assert all(made(a, w) == slot[a, w] for a, w in [(255, 255), (7, 200), (99, 131), (8, 9)])
    broken = getattr(approximate, f"UnsignedBroken{kind}Multiplier")
    # of more than 6 columns, its carry-save variant loses bits of the top column (1.1.4)
    for horizontal, vertical in [(0, 5), (2, 4), *([(3, 9)] if kind == "Array" else [])]:
        made = broken(*buses(), horizontal_cut=horizontal, vertical_cut=vertical)
        assert same(made, "broken_array", horizontal=horizontal, vertical=vertical)


@pytest.mark.parametrize("bits", [4, 8])
def test_recursive(bits):
    blocks = [TWO_BIT] * (bits // 2) ** 2
    made = approximate.UnsignedRecursiveMultiplier(*buses(bits), submultipliers=blocks)
    assert same(made, "recursive", bits)

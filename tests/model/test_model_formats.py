"""Corrections in the file of an assignment."""

import json

import pytest
import torch
from torch import nn

import axopt
from axopt.errors import AssignmentError
from axopt.layers import Quantisation, QuantParams
from axopt.model import current_assignment
from axopt.model.formats import formats_entry, parse_formats

X = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def emulated():
    return make_emulated()


def make_emulated():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return axopt.prepare(net, [torch.randn(16, 2, 6, 6)])


def outputs(emulated):
    with torch.no_grad():
        return emulated(X)


def every_field():
    codes = torch.arange(256, dtype=torch.uint8).flip(0)
    return Quantisation(
        QuantParams(torch.tensor(0.1), torch.tensor(3), 4, codes),
        QuantParams(torch.full((4,), 0.3), torch.full((4,), 16), 8),
        torch.tensor([0.5, 1.1, 2.0, 1.0]),
        torch.tensor([-1.0, 0.1, 1e-20, 3e7]),
        ("affine", "activation_codes", "gain"),
    )


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b


def test_every_field_comes_back():
    formats = every_field()
    entry = json.loads(json.dumps(formats_entry(formats)))
    found = parse_formats(entry, 4, "x")
    for key in ("gain", "shift", "corrections"):
        assert equal(getattr(found, key), getattr(formats, key))
    for operand in ("activation", "weights"):
        for key in ("scale", "zero_point", "stride", "code_of_level"):
            wanted = getattr(getattr(formats, operand), key)
            assert equal(getattr(getattr(found, operand), key), wanted)
    assert formats_entry(found) == formats_entry(formats)


def test_defaults_are_left_out_and_old_files_load(emulated):
    """A file of before there were corrections has scales and zero points only."""
    axopt.assign_(emulated, "mul8s_1L2D")
    expected = outputs(emulated)
    document = json.loads(current_assignment(emulated).to_json())
    for entry in document["quantisation"].values():
        assert entry.keys() == {"activation", "weight"}
        assert entry["activation"].keys() == entry["weight"].keys() == {"scale", "zero_point"}
    axopt.assign_(emulated, "mul8s_1KR3", correct=True)
    axopt.assign_(emulated, axopt.Assignment.from_json(json.dumps(document)))
    assert all(layer.correction is None for layer in emulated.emulated_layers.values())
    assert torch.equal(outputs(emulated), expected)


MALFORMED = [
    (("activation", "step"), 3, "`step`"),
    (("activation", "step"), "4", "`step`"),
    (("activation", "step"), True, "`step`"),
    (("weight", "step"), 4.0, "`step`"),
    (("weight", "step"), None, "`step`"),
    (("weight", "step"), [4], "`step`"),
    (("activation", "codes"), "00", "`codes`"),
    (("activation", "codes"), "zz" * 256, "`codes`"),
    (("activation", "codes"), 7, "`codes`"),
    (("weight", "codes"), ["00"] * 256, "`codes`"),
    (("activation", "scale"), "big", "`scale`"),
    (("activation", "scale"), 10**400, "`scale`"),
    (("activation", "scale"), {}, "`scale`"),
    (("activation", "zero_point"), 10**30, "`zero_point`"),
    (("activation", "zero_point"), "0", "`zero_point`"),
    (("activation", "zero_point"), 3.5, "`zero_point` must hold integers"),
    (("weight", "zero_point"), [128, [128]], "`zero_point`"),
    (("gain",), [1.0, 1.0], "`gain`"),
    (("gain",), 1.0, "`gain`"),
    (("gain",), "1", "`gain`"),
    (("gain",), [1.0, 1.0, 1.0, 1e60], "`gain`"),
    (("gain",), [[1.0], 1.0, 1.0, 1.0], "`gain`"),
    (("shift",), [0.0, 0.0, 0.0, "x"], "`shift`"),
    (("shift",), {"0": 1}, "`shift`"),
    (("shift",), [0.0, 0.0, 0.0, 10**400], "`shift`"),
    (("corrections",), "gain", "`corrections`"),
    (("corrections",), [1], "`corrections`"),
    (("corrections",), None, "`corrections`"),
    (("activation",), 3, "`activation`"),
    (("weight",), None, "`weight`"),
    (("weight", "zeropoint"), 3, "weight: unknown field 'zeropoint'"),
    (("gains",), [1.0], "unknown field 'gains'"),
]


@pytest.fixture(scope="module")
def corrected():
    """A model whose corrections no file may change, and the document of other ones."""
    emulated = make_emulated()
    axopt.assign_(emulated, "mul8s_1L1G", correct=True)
    document = current_assignment(emulated).to_json()
    axopt.assign_(emulated, "mul8s_1KTY", correct=True)
    return emulated, document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    MALFORMED,
    ids=[f"{p[-1]}-{i}" for i, (p, _, _) in enumerate(MALFORMED)],
)
def test_malformed_fields_are_named_and_change_nothing(corrected, path, value, message):
    emulated, document = corrected[0], json.loads(corrected[1])
    entry = document["quantisation"]["0"]
    *parents, last = path
    for key in parents:
        entry = entry[key]
    entry[last] = value
    before = [layer.correction for layer in emulated.emulated_layers.values()]
    with pytest.raises(AssignmentError, match=message) as caught:
        axopt.assign_(emulated, axopt.Assignment.from_json(json.dumps(document)))
    assert "quantisation['0']" in str(caught.value)
    assert {info.multiplier for info in emulated.layers()} == {"v1/mul8s_1KTY"}
    after = [layer.correction for layer in emulated.emulated_layers.values()]
    assert all(a is b for a, b in zip(after, before, strict=True))

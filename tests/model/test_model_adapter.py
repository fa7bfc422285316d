"""How batches become calls: several inputs, inputs by name, a forward of the user's."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import axopt
from axopt.errors import ArgumentError, CalibrationError, InputsError
from axopt.model.adapter import Adapter, count, head, only_tensor, parts_of
from axopt.model.reestimation import Reestimator

Pair = namedtuple("Pair", ["left", "right"])


class Gated(nn.Module):
    """Two inputs; the second, named ``mask``, gates the first."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x, mask):
        return self.second(torch.relu(self.first(x)) * mask[:, None])


class OfPair(Gated):
    def forward(self, pair):
        return super().forward(pair.left, pair.right)


def inputs(n=16):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=generator)
    return x, (torch.arange(n) % 3 > 0).float()


def gated(cls=Gated):
    torch.manual_seed(0)
    return cls().eval()


CALLS = {
    "a tuple in a pair": (lambda x, m, y: ((x, m), y), None),
    "three parts": (lambda x, m, y: (x, m, y), None),
    "a tuple alone": (lambda x, m, y: ((x, m),), None),
    "a list in a pair": (lambda x, m, y: [[x, m], y], None),
    "a mapping": (lambda x, m, y: {"mask": m, "x": x}, None),
    "a mapping in a pair": (lambda x, m, y: ({"mask": m, "x": x}, y), None),
    "forward": (lambda x, m, y: (m, x, y), lambda model, batch: model(batch[1], mask=batch[0])),
}


@pytest.mark.parametrize("kind", CALLS)
def test_every_kind_of_batch_prepares_the_same_model(kind):
    make, forward = CALLS[kind]
    x, mask = inputs()
    batch = make(x, mask, torch.zeros(16))
    emulated = axopt.prepare(gated(), [batch, batch], forward=forward)
    assert [info.macs for info in emulated.layers()] == [48, 24]
    usual = axopt.prepare(gated(), [((x, mask), None)] * 2)
    assert torch.equal(emulated(x, mask), usual(x, mask))
    assert torch.equal(emulated.adapter.call(emulated, parts_of(batch)[0]), usual(x, mask))


def test_a_named_tuple_is_one_argument():
    pair = Pair(*inputs())
    emulated = axopt.prepare(gated(OfPair), [(pair, None)])
    assert torch.equal(
        emulated(pair), axopt.prepare(gated(), [((pair.left, pair.right), None)])(*pair)
    )


@pytest.mark.parametrize("kind", ["three parts", "a mapping", "forward"])
def test_batch_norms_are_re_estimated_on_several_inputs(kind):
    make, forward = CALLS[kind]
    x, mask = inputs()
    emulated = axopt.prepare(gated(), [make(x, mask, None)], forward=forward)
    axopt.assign_(emulated, "mul8s_1L1G", correct=False)
    before = emulated(x, mask)
    batches = [make(x[:9], mask[:9], None), make(x[9:], mask[9:], None)]
    assert Reestimator(emulated, batches).apply_()
    assert not torch.equal(emulated(x, mask), before)


def test_inputs_that_do_not_fit_the_forward_are_explained():
    x, mask = inputs()
    with pytest.raises(InputsError, match=r"one input, a Tensor: .*'mask'.*last part.*`forward="):
        axopt.prepare(gated(), [(x, mask)])
    with pytest.raises(InputsError, match=r"3 inputs: too many positional"):
        axopt.prepare(gated(), [(x, mask, mask, mask)])
    with pytest.raises(InputsError, match=r"the inputs 'x', 'gate': .*'mask'"):
        axopt.prepare(gated(), [{"x": x, "gate": mask}])


def test_a_type_error_inside_the_model_stays_what_it_is():
    class Broken(Gated):
        def forward(self, x, mask):
            return super().forward(x, mask) + "text"

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        axopt.prepare(gated(Broken), [(*inputs(), None)])
    assert not isinstance(caught.value, InputsError)


@pytest.mark.parametrize("batch", [(), {}, torch.zeros(0, 6), (torch.zeros(0, 6), 1), "text"])
def test_batches_without_samples_are_refused(batch):
    with pytest.raises(CalibrationError, match="`calibration` must"):
        axopt.prepare(gated(), [batch])


def test_samples_are_counted_and_cut_in_all_inputs():
    x, mask = inputs()
    for whole in ((x, mask), [x, mask], {"x": x, "mask": mask}, Pair(x, mask)):
        assert count(whole) == 16
        assert type(head(whole, 5)) is type(whole)
        assert count(head(whole, 5)) == 5
    scale = torch.ones(1)
    assert head((x, scale), 5)[1] is scale  # not one per sample
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2), torch.ones(2, 2)])
    assert count(packed) == 2
    assert parts_of(packed) == (packed, None)


@dataclass
class Result:
    logits: torch.Tensor
    hidden: list


@pytest.mark.parametrize(
    ("outputs", "path"),
    [
        ((torch.ones(2), torch.zeros(2)), "0"),
        ([torch.zeros(2), torch.ones(2)], "1"),
        ({"logits": torch.ones(2), "aux": torch.zeros(2)}, "logits"),
        ({0: torch.ones(2)}, "0"),
        ({"head": {"logits": torch.ones(2)}}, "head.logits"),
        (Result(torch.ones(2), [torch.zeros(2)]), "logits"),
        (Result(torch.zeros(2), [torch.ones(2)]), "hidden.0"),
        (Pair(torch.zeros(2), torch.ones(2)), "right"),
        (Pair(torch.zeros(2), torch.ones(2)), "1"),
    ],
)
def test_a_path_picks_an_output(outputs, path):
    assert torch.equal(Adapter(output=path).pick(outputs), torch.ones(2))


def test_paths_that_there_are_not_and_outputs_without_a_path_list_what_there_is():
    outputs = {"logits": torch.ones(2, 5), "hidden": [torch.ones(2, 3)], "loss": None}
    paths = r"'logits' \[2, 5\], 'hidden.0' \[2, 3\]"
    with pytest.raises(ArgumentError, match=f"{paths}, got 'lgits'"):
        Adapter(output="lgits").pick(outputs)
    with pytest.raises(ArgumentError, match=f"returns a dict: {paths}"):
        only_tensor(outputs)
    with pytest.raises(ArgumentError, match=f"{paths}, got '7'"):
        Adapter(output="7").pick(Result(torch.ones(2, 5), [torch.ones(2, 3)]))


@pytest.mark.parametrize("options", [{"forward": 3}, {"output": ""}, {"output": 0}])
def test_options_that_break_their_rule_are_refused(options):
    with pytest.raises(ArgumentError, match=f"`{next(iter(options))}` must be"):
        axopt.prepare(gated(), [(*inputs(), None)], **options)


def test_a_part_that_is_called_module_is_not_taken_for_the_model():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(6, 3)

        def forward(self, x, *, scale):
            return self.module(x) * scale

    with pytest.raises(InputsError, match="missing a required argument: 'scale'"):
        axopt.prepare(Outer(), [inputs()[0]])
    emulated = axopt.prepare(gated(), [(*inputs(), None)])
    with pytest.raises(InputsError, match="missing a required argument: 'mask'"):
        axopt.evaluate(emulated, [(inputs()[0], torch.arange(16) % 3)])

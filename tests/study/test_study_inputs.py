"""A search of a network with several inputs and outputs, called by a forward of the user's."""

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.evaluation import against

LIBRARY = ["mul8s_1KV8", "mul8s_1L2D", "mul8s_1KR3"]


class Translated(nn.Module):
    """Words, their lengths, and the class of the mean word; logits beside the means."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.first, self.second = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, words, *, lengths):
        inside = torch.arange(words.shape[1]) < lengths[:, None]
        means = (self.words(words) * inside[:, :, None]).sum(1) / lengths[:, None]
        return {"logits": self.second(torch.relu(self.first(means))), "means": means}


def forward(model, inputs):
    return model(inputs["source"], lengths=inputs["lengths"])


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 20, (150, 6), generator=generator)
    lengths = torch.randint(1, 7, (150,), generator=generator)
    targets = torch.arange(150) % 3
    splits = [
        Split({"source": words[i::3], "lengths": lengths[i::3]}, targets[i::3]) for i in range(3)
    ]
    return Dataset("words", "words", *splits, ("a", "b", "c"))


def test_forward_and_output_are_kept_through_a_search(data, tmp_path):
    torch.manual_seed(0)
    model = Translated().eval()
    labelled = against(model, data, forward=forward, output="logits")
    emulated = axopt.prepare(model, data.train.batches(25), forward=forward, output="logits")
    result = axopt.search(
        emulated,
        labelled,
        library=LIBRARY,
        metric="distance",
        budget=7,
        population=4,
        reestimate_samples=30,
        out=tmp_path / "run",
    )
    best = min(point.quality for point in result.record.front)
    assert best < 5
    axopt.assign_(emulated, "mul8s_1KR3", correct=False)
    rough = axopt.evaluate(emulated, labelled, "distance").value
    assert rough > 2 * best
    result = axopt.retrain(
        emulated, labelled, metric="distance", epochs=2, lr=0.01, gradient="ste"
    )
    assert axopt.evaluate(emulated, labelled, "distance").value < rough
    assert type(emulated(data.test.stored["source"], lengths=data.test.stored["lengths"])) is dict

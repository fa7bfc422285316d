"""Empty layers and batches, models that look at the batch size, inference mode."""

import pytest
import torch
from torch import nn

import axopt

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MULTIPLIERS = ["mul8s_1KV8", "mul8u_FTA"]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_empty_layer_has_no_products_and_stays(size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, size[0]), nn.Linear(*size), nn.Linear(size[1], 3))
    emulated = axopt.prepare(nn.Sequential(nn.Linear(8, 8), model), X[:, 0, 0])
    axopt.assign_(emulated, "mul8s_1KV8", correct=True)
    with torch.no_grad():
        assert emulated(X[:, 0, 0]).shape == (4, 3)
    assert emulated.skipped["1.1"] == "has no products: its weight is empty"


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize(
    "options",
    [None, {"padded_taps": "skip"}, {"accumulator": axopt.Accumulator(12)}],
    ids=["plain", "skip", "accumulator"],
)
def test_a_batch_of_no_samples_has_results_of_its_shape(multiplier, options):
    emulated = axopt.prepare(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 2)),
        X,
        layer_options=options and axopt.LayerOptions(**options),
    )
    axopt.assign_(emulated, multiplier)
    with torch.no_grad():
        assert emulated(X[:0]).shape == (0, 2)


def test_a_single_sample_is_enough(tmp_path):
    emulated = axopt.prepare(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), X[:1])
    axopt.assign_(emulated, "mul8s_1KV8", correct=True)
    axopt.correct_(emulated, data=[X[:1]])
    with torch.no_grad():
        assert emulated(X[:1]).isfinite().all()


class Squeezed(nn.Module):
    """Its channels are the first axis where there is one sample."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 8), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.conv(x).squeeze()).log_softmax(1)


class OfFour(nn.Module):
    """Takes batches of four samples only."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 8), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.conv(x).view(4, 6))


@pytest.mark.parametrize("model", [Squeezed, OfFour])
def test_models_are_traced_with_the_batch_that_was_given(model):
    emulated = axopt.prepare(model(), X)
    assert emulated.macs == {"conv": 3 * 6 * 64, "fc": 12}  # of one sample
    with torch.no_grad():
        assert emulated(X).shape == (4, 2)


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)]
    return nn.Sequential(*layers).eval()


def worked_with(model, x):
    emulated = axopt.prepare(model, x)
    axopt.assign_(emulated, "mul8s_1KV8", correct=True)
    axopt.correct_(emulated, data=[x])
    with torch.no_grad():
        return emulated, emulated(x)


def test_all_of_it_works_in_inference_mode_and_can_be_trained_afterwards():
    _, expected = worked_with(network(), X)
    with torch.inference_mode():
        emulated, y = worked_with(network(), X * 1)  # model and data are made in it too
        axopt.model.explain_corrections(emulated)
        emulated(X)
    assert torch.equal(y, expected)
    emulated(X).sum().backward()
    assert all(p.grad is not None for p in emulated.parameters())


def test_formats_that_inference_mode_asks_for_first_serve_a_backward_pass():
    emulated = axopt.prepare(network(), X)
    with torch.inference_mode():
        emulated(X)
        axopt.assign_(emulated, "mul8u_FTA")
        emulated(X)
    emulated(X).sum().backward()
    assert all(p.grad is not None for p in emulated.parameters())

import math

import numpy as np
import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split, load_data
from axopt.errors import DatasetError
from axopt.evaluation import METRICS, against, jackknife_interval
from axopt.evaluation.built_in import macro_f1_pct, relative_rms_pct
from axopt.evaluation.generation import frechet_distance, frechet_distance_to_real, judge_features


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_f1_is_that_of_scikit_learn(classes, rng):
    from sklearn.metrics import f1_score

    predicted, true = rng.integers(0, classes, (2, 200))
    ours = macro_f1_pct(torch.from_numpy(np.stack([predicted, true], 1)))
    assert ours == pytest.approx(100 * f1_score(true, predicted, average="macro"), abs=1e-9)


def test_f1_leaves_out_classes_that_are_nowhere():
    assert macro_f1_pct(torch.tensor([[0, 0], [4, 4]])) == 100
    assert macro_f1_pct(torch.tensor([[0, 4], [4, 0]])) == 0


def test_f1_of_a_model():
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [1.0, 2.0], [2.0, 1.0]])
    result = axopt.evaluate(nn.Identity(), [(logits, torch.tensor([0, 0, 1, 1]))], "f1")
    assert result.value == pytest.approx(100 * (0.8 + 2 / 3) / 2)
    assert 0 <= result.low <= result.value <= result.high <= 100


def test_the_jackknife_of_a_mean_is_its_standard_error(rng):
    samples = torch.from_numpy(rng.normal(size=2000))
    value, low, high = jackknife_interval(samples, lambda x: float(x.mean()))
    half = 1.959964 * float(samples.std()) / math.sqrt(2000)
    assert value == float(samples.mean())
    assert (high - low) / 2 == pytest.approx(half, rel=0.25)  # 50 groups: 10 % of spread
    assert (high + low) / 2 == pytest.approx(value)


@pytest.mark.parametrize("order", ["in turn", "one after the other"])
def test_the_jackknife_does_not_take_classes_for_noise(order):
    samples = torch.arange(1000.0) % 10
    samples = samples if order == "in turn" else samples.sort().values
    _, low, high = jackknife_interval(samples, lambda x: float(x.mean()))
    independent = 2 * 1.96 * float(samples.std()) / math.sqrt(1000)
    assert high - low < 1.1 * independent


def test_the_jackknife_covers_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(200):
        samples = torch.rand((300, 2), generator=generator)
        _, low, high = jackknife_interval(samples, lambda x: float(x[:, 0].sum() / x[:, 1].sum()))
        hits += low <= 1 <= high
    assert 0.9 <= hits / 200 <= 0.99


def test_few_samples_have_no_interval():
    assert jackknife_interval(torch.ones(3), lambda x: float(x.mean())) == (1, 1, 1)


def test_the_distance_is_relative_to_the_reference():
    outputs, targets = (
        torch.tensor([[3.0, 0.0], [0.0, 5.0]]),
        torch.tensor([[3.0, 4.0], [0.0, 0.0]]),
    )
    result = axopt.evaluate(nn.Identity(), [(outputs, targets)], "distance")
    assert result.value == pytest.approx(100 * math.sqrt((16 + 25) / 25))
    same = axopt.evaluate(nn.Identity(), [(targets, targets)], "distance")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_against_a_reference_its_own_distance_is_zero():
    split = Split(torch.rand(12, 3), torch.arange(12) % 2)
    data = Dataset("d", "d", split, split, split, ("a", "b"))
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    labelled = against(model, data, batch_size=5)
    assert torch.equal(labelled.train.stored, split.stored)
    assert labelled.test.targets.shape == (12, 2)
    assert axopt.evaluate(model, labelled, "distance").value < 1e-4
    assert axopt.evaluate(other, labelled, "distance").value > 1


def slow_frechet(mean, covariance, mean2, covariance2):
    """The formula itself, with the root of a matrix that is not symmetric."""
    values = np.linalg.eigvals(covariance @ covariance2)
    spread = np.trace(covariance) + np.trace(covariance2) - 2 * np.sqrt(values + 0j).real.sum()
    return float(((mean - mean2) ** 2).sum() + spread)


def test_the_frechet_distance_is_that_of_the_formula(rng):
    samples = [rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + shift for shift in (0, 1)]
    moments = [m for x in samples for m in (x.mean(0), np.cov(x.T))]
    ours = frechet_distance(*map(torch.from_numpy, moments))
    assert ours == pytest.approx(slow_frechet(*moments), rel=1e-9)


def test_the_frechet_distance_of_known_distributions():
    zero, one = torch.zeros(3).double(), torch.ones(3).double()
    assert frechet_distance(zero, torch.eye(3).double(), zero, torch.eye(3).double()) < 1e-12
    distance = frechet_distance(zero, 4 * torch.eye(3).double(), one, torch.eye(3).double())
    assert distance == pytest.approx(3 + 3 * (2 - 1) ** 2)
    singular = torch.diag(torch.tensor([1.0, 0.0, 0.0])).double()
    assert frechet_distance(zero, singular, zero, singular) < 1e-12


class Fixed(nn.Module):
    """Returns the same images whatever it gets."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def forward(self, x):
        return self.images[x[:, 0].long()]


def test_generated_digits_are_judged_by_the_classifier(shared_data):
    if not (shared_data / "mnist").is_dir():
        pytest.skip("needs real data: no folder mnist")
    test = load_data(f"idx:{shared_data / 'mnist'}").test.take(600)
    latents = Split(torch.arange(600.0).view(-1, 1), test.targets)
    real = Fixed(test.inputs)
    noisy = Fixed((test.inputs + 0.5 * torch.rand(test.inputs.shape)).clamp(0, 1))
    assert axopt.evaluate(real, latents, "recognised").value > 98
    near, far = (axopt.evaluate(model, latents, "frechet") for model in (real, noisy))
    assert near.value < 2
    assert far.value > 10 * near.value
    assert near.low <= near.value <= near.high
    assert near == axopt.evaluate(real, latents, "frechet", batch_size=77)


def test_the_judge_knows_its_training_images(shared_data):
    if not (shared_data / "mnist").is_dir():
        pytest.skip("needs real data: no folder mnist")
    train = load_data(f"idx:{shared_data / 'mnist'}").train
    assert frechet_distance_to_real(judge_features(train.inputs)) < 1e-3


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "message"),
    [
        ("f1", torch.ones(2, 4), torch.tensor([0, 4]), r"0..3.*0..4"),
        ("f1", torch.ones(2, 4), torch.ones(2, 4), "class numbers"),
        ("recognised", torch.ones(2, 4), torch.tensor([0, 1]), r"images \(N, 1, 28, 28\)"),
        ("recognised", torch.ones(2, 1, 28, 28), torch.tensor([0, 10]), r"0..9.*0..10"),
        ("frechet", torch.ones(2, 3, 28, 28), torch.tensor([0, 1]), r"got \[2, 3, 28, 28\]"),
        ("frechet", torch.full((2, 1, 28, 28), torch.nan), torch.tensor([0, 1]), "finite"),
        ("distance", torch.ones(2, 4), torch.tensor([0, 1]), "outputs of a reference"),
        ("distance", torch.ones(2, 4), torch.ones(2, 3), r"own \[2, 4\], got .*\[2, 3\]"),
        ("distance", torch.ones(2, 4), torch.zeros(2, 4), "must not all be zero"),
        ("distance", torch.full((2, 4), torch.inf), torch.ones(2, 4), "finite"),
    ],
)
def test_what_does_not_fit_is_refused(metric, outputs, targets, message):
    with pytest.raises(DatasetError, match=message):
        axopt.evaluate(nn.Identity(), [(outputs, targets)], metric)


def test_what_a_search_minimises_falls_as_quality_rises():
    for metric in METRICS.values():
        better, worse = (99.0, 50.0) if metric.higher_is_better else (1.0, 50.0)
        assert 0 <= metric.error(better) < metric.error(worse)
    assert METRICS["top1"].error(90) == 10
    assert METRICS["frechet"].error(3) == 3
    assert relative_rms_pct(torch.tensor([[1.0, 4.0]])) == 50

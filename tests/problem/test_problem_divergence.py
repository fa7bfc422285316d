"""The first objective: divergence from the exact network, or the error of any metric."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation import OutputPart, References
from axopt.study import AssignmentProblem, options_of

OPTIONS = options_of(["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L1G"], False)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x):
        x = self.body(x).relu()
        return {"logits": self.a(x), "box": self.b(x)}


def samples(n=40, *, labelled=True):
    generator = torch.Generator().manual_seed(3)
    return Split(torch.rand(n, 6, generator=generator), torch.arange(n) % 3 if labelled else None)


def emulated_net(split, *, heads=False):
    torch.manual_seed(0)
    net = TwoHeads() if heads else nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return axopt.prepare(net, split.batches(40), output="logits" if heads else None)


def logits_of(problem, genes, split):
    candidate = problem.exact(treated=True) if genes is None else problem.candidate(genes)
    candidate.apply_(problem.emulated)
    with torch.no_grad():
        return problem.emulated(split.inputs)


def test_objective_is_the_mean_divergence_from_the_exact_network():
    split = samples()
    problem = AssignmentProblem(emulated_net(split), split, OPTIONS)
    assert problem.objective_names == ("divergence", "rel_power")
    exact = logits_of(problem, None, split).log_softmax(1)
    for genes in ((0, 0), (1, 2), (2, 2)):
        ours = logits_of(problem, genes, split).log_softmax(1)
        expected = F.kl_div(ours, exact, log_target=True, reduction="batchmean")
        outcome = problem.evaluate(genes)
        assert outcome.objectives[0] == pytest.approx(float(expected), abs=1e-6)
        assert outcome.info["divergence"] == outcome.objectives[0]
        assert outcome.info["quality"]["metric"] == "top1"
    assert problem.evaluate((0, 0)).objectives[0] == 0.0


def test_other_outputs_are_compared_by_relative_squared_distance():
    split = samples(labelled=False)
    problem = AssignmentProblem(emulated_net(split), split, OPTIONS, metric="distance")
    exact = logits_of(problem, None, split)
    ours = logits_of(problem, (2, 2), split)
    expected = (ours - exact).square().sum() / exact.square().sum()
    outcome = problem.evaluate((2, 2))
    assert outcome.objectives[0] == pytest.approx(float(expected), rel=1e-5)
    assert outcome.info["quality"]["value"] == pytest.approx(100 * float(expected) ** 0.5)


def test_several_outputs_are_weighted():
    split = samples()
    emulated = emulated_net(split, heads=True)
    weights = {"logits": 2.0, "box": 0.5}
    problem = AssignmentProblem(emulated, split, OPTIONS, divergence_outputs=weights)
    exact, ours = logits_of(problem, None, split), logits_of(problem, (2, 2, 2), split)
    first = F.kl_div(
        ours["logits"].log_softmax(1),
        exact["logits"].log_softmax(1),
        log_target=True,
        reduction="batchmean",
    )
    second = (ours["box"] - exact["box"]).square().sum() / exact["box"].square().sum()
    value = problem.evaluate((2, 2, 2)).objectives[0]
    assert value == pytest.approx(float(2 * first + second / 2), rel=1e-4)


def test_a_metric_or_the_error_can_be_minimised_instead():
    split = samples()
    emulated = emulated_net(split)
    by = {
        name: AssignmentProblem(emulated, split, OPTIONS, objective=name)
        for name in ("error", "top1", "f1")
    }
    names = [problem.objective_names[0] for problem in by.values()]
    assert names == ["error_pct", "error_pct", "error_pct"]
    assert by["f1"].identity() != by["top1"].identity() == by["error"].identity()
    assert by["error"].evaluate((2, 1)) == by["top1"].evaluate((2, 1))
    by["f1"].candidate((2, 1)).apply_(emulated)
    f1 = axopt.evaluate(emulated, split, "f1").value
    outcome = by["f1"].evaluate((2, 1))
    assert outcome.objectives[0] == 100 - f1
    assert outcome.info["quality"]["metric"] == "top1"
    with pytest.raises(ArgumentError, match="did you mean 'divergence'"):
        AssignmentProblem(emulated, split, OPTIONS, objective="divergense")


def test_search_runs_on_samples_without_labels():
    split = samples(labelled=False)
    data = Dataset("d", "d", split, split, split, ())
    result = axopt.search(
        emulated_net(split),
        data,
        library=[option.multiplier for option in OPTIONS],
        budget=9,
        metric="agreement",
    )
    best = min(result.record.front, key=lambda point: -point.rel_power)
    assert best.quality == 100.0
    assert {trial.objectives[0] for trial in result.outcome.trials} != {0.0}
    with pytest.raises(DatasetError, match="`agreement` and `distance` compare"):
        axopt.search(emulated_net(split), data, budget=9)


def test_references_refuse_outputs_that_do_not_fit():
    references = References((OutputPart(None, 1.0, False),))
    references.record(torch.ones(4, 3))
    with pytest.raises(DatasetError, match="the shape of the reference's"):
        references.divergences(torch.ones(4, 2), 0)
    with pytest.raises(DatasetError, match="finite"):
        references.divergences(torch.full((4, 3), float("nan")), 0)
    zero = References((OutputPart(None, 1.0, False),))
    zero.record(torch.zeros(4, 3))
    with pytest.raises(DatasetError, match="must not all be zero"):
        zero.divergences(torch.ones(4, 3), 0)

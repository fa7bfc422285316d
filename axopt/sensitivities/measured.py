"""Evaluations that share results of layers, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from axopt.data import Split
from axopt.evaluation.quality import evaluation_mode
from axopt.model import Memo
from axopt.model.adapter import device_of, moved
from axopt.problem import AssignmentProblem, Measured, Option

OnStep = Callable[[int, int], object]
"""Called with the number of steps done and of all."""


def expected_evaluations(problem: AssignmentProblem, around: str) -> float:
    """Return about what sensitivities cost, in evaluations on their samples.

    Args:
        problem: Genes and options.
        around: See `axopt.sensitivity`.
    """
    order = list(problem.emulated.emulated_layers)
    total = 2.0 + (len(problem.uniform()) if around == "uniform" else 0)
    for layers, options in zip(problem.genes.values(), problem.options_of_genes, strict=True):
        behind = len(order) - min(map(order.index, layers))
        total += (len(options) - 1) * behind / len(order)
    return total


class Measurements:
    """Measures assignments of a problem on a few samples.

    Args:
        problem: Genes and options.
        split: The samples.

    Attributes:
        problem: As given.
        split: As given.
        sample_layers: Sum over all calls of emulated layers so far of the number of samples, the
            reference's included.
    """

    def __init__(self, problem: AssignmentProblem, split: Split) -> None:
        self.problem = problem
        self.split = split
        self.sample_layers = 0
        self._of_one = len(problem.emulated.emulated_layers) * len(split)
        self._memo = Memo(problem.emulated)
        self._check()

    def _check(self) -> None:
        """Let the memo test whether the forward pass is a pure function."""
        emulated = self.problem.emulated
        inputs, _ = next(iter(self.split.batches(2)))
        here = moved(inputs, device_of(emulated))
        with evaluation_mode(emulated), torch.no_grad():
            self._memo.check(lambda: emulated.adapter.call(emulated, here))

    def pay(self, evaluations: float) -> None:
        """Count work that was done elsewhere.

        Args:
            evaluations: Its cost in evaluations on the samples.
        """
        self.sample_layers += round(evaluations * self._of_one)

    @property
    def evaluations(self) -> float:
        """Cost in evaluations of one assignment on the samples, without reuse."""
        return self.sample_layers / self._of_one

    def measure(
        self, assignments: Sequence[Sequence[Option]], on_step: OnStep | None = None
    ) -> list[Measured]:
        """Measure assignments, those with the same first layers one after the other.

        Args:
            assignments: The option of every gene, for each assignment.
            on_step: Called with the number of forward passes done and of all.
        """
        candidates = [self.problem.settled(options) for options in assignments]
        before = self._memo.work.total, self._memo.work.computed
        points = self.problem.measured_each(candidates, self.split, self._memo, on_step)
        total = self._memo.work.total - before[0]
        if total:  # nothing is counted if nothing can be reused
            self._of_one = total // len(candidates)
            computed = self._memo.work.computed - before[1]
        else:
            computed = self._of_one * len(candidates)
        if not self.sample_layers:
            self.sample_layers = self._of_one  # the outputs of the reference
        self.sample_layers += computed
        return points

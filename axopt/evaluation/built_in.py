"""The metrics that axopt brings: of classifiers, of generators of digits, and a distance."""

from __future__ import annotations

import torch
from torch import Tensor

from axopt.errors import DatasetError
from axopt.evaluation import generation
from axopt.evaluation.checks import check_finite, check_logits
from axopt.evaluation.metrics import METRICS, Metric


def _top1(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.argmax(1) == targets


def _top5(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.topk(min(5, logits.shape[1]), 1).indices == targets[:, None]).any(1)


def _decisions(logits: Tensor, targets: Tensor) -> Tensor:
    """Predicted and true class, ``(N, 2)``."""
    return torch.stack([logits.argmax(1), targets], 1)


def _recognised(images: Tensor, digits: Tensor) -> Tensor:
    logits = generation.judge_logits(images)
    check_logits(logits, digits)
    return logits.argmax(1) == digits


def _agreement(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether model and reference decide for the same class, ``(N,)``."""
    _check_reference(logits, targets)
    return logits.argmax(1) == targets.argmax(1)


def _check_reference(outputs: Tensor, targets: Tensor) -> None:
    check_finite(outputs)
    if not targets.is_floating_point() or outputs.shape != targets.shape:
        raise DatasetError(
            "targets must be the outputs of a reference model, of the shape of the model's own "
            f"{list(outputs.shape)}, got {targets.dtype} {list(targets.shape)}."
        )


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Sums of squares of the difference and of the reference, ``(N, 2)`` float64."""
    _check_reference(outputs, targets)
    outputs, targets = outputs.double().flatten(1), targets.double().flatten(1)
    return torch.stack([(outputs - targets).square().sum(1), targets.square().sum(1)], 1)


def _features(images: Tensor, _: Tensor) -> Tensor:
    check_finite(images)
    return generation.judge_features(images)


def macro_f1_pct(decisions: Tensor) -> float:
    """Return the macro F1: the mean over the classes of F1 (of precision and recall), in percent.

    Args:
        decisions: Predicted and true class of each sample, ``(N, 2)``.

    Returns:
        The mean over the classes that are predicted or true for at least one sample.
    """
    predicted, true = decisions.T
    classes = int(decisions.max()) + 1
    right = torch.bincount(true[predicted == true], minlength=classes).double()
    total = torch.bincount(decisions.flatten(), minlength=classes)  # 2 TP + FP + FN
    present = total > 0
    return float(100 * (2 * right[present] / total[present]).mean())


def relative_rms_pct(squares: Tensor) -> float:
    """Return the root mean square difference, in percent of the reference's root mean square.

    Args:
        squares: Each sample's sum of squared differences and of squared reference outputs,
            ``(N, 2)``.

    Raises:
        DatasetError: If the reference is zero everywhere.
    """
    difference, reference = squares.sum(0).tolist()
    if reference == 0:
        raise DatasetError("the reference's outputs must not all be zero.")
    return float(100 * (difference / reference) ** 0.5)


for _metric in (
    Metric(
        name="top1",
        of_samples=_top1,
        title="Top-1 accuracy",
        unit="%",
        higher_is_better=True,
        targets="classes",
        outputs="logits",
        interval="wilson",
    ),
    Metric(
        name="top5",
        of_samples=_top5,
        title="Top-5 accuracy",
        unit="%",
        higher_is_better=True,
        targets="classes",
        outputs="logits",
        interval="wilson",
    ),
    Metric(
        name="f1",
        of_samples=_decisions,
        of_all=macro_f1_pct,
        title="Macro F1",
        unit="%",
        higher_is_better=True,
        targets="classes",
        outputs="logits",
    ),
    Metric(
        name="recognised",
        of_samples=_recognised,
        title="Recognised digits",
        unit="%",
        higher_is_better=True,
        targets="classes",
        interval="wilson",
    ),
    Metric(
        name="frechet",
        of_samples=_features,
        of_all=generation.frechet_distance_to_real,
        title="Frechet distance",
        higher_is_better=False,
    ),
    Metric(
        name="agreement",
        of_samples=_agreement,
        title="Agreement with the reference",
        unit="%",
        higher_is_better=True,
        targets="reference",
        interval="wilson",
    ),
    Metric(
        name="distance",
        of_samples=_squares,
        of_all=relative_rms_pct,
        title="RMS distance to the float model",
        unit="%",
        higher_is_better=False,
        targets="reference",
    ),
):
    METRICS.add(_metric.name, _metric)

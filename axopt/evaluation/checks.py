"""Checks of what models return and of targets, with errors that name both shapes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from axopt.errors import DatasetError


def check_finite(outputs: Any) -> None:
    """Refuse outputs that are not a tensor of finite numbers.

    Raises:
        DatasetError: If they are not.
    """
    if not isinstance(outputs, Tensor) or not bool(outputs.isfinite().all()):
        raise DatasetError("the model must return finite numbers.")


def check_logits(logits: Any, targets: Any) -> None:
    """Refuse logits and class numbers that do not fit each other.

    Args:
        logits: Must be ``(N, classes)``.
        targets: Must be ``(N,)`` class numbers, in 0..classes - 1.

    Raises:
        DatasetError: If they are not.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(targets):
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DatasetError(
            f"the model must return logits (N, classes) for N={len(targets)} targets, got {shape}."
        )
    if targets.is_floating_point() or targets.ndim != 1:
        raise DatasetError(
            f"targets must be class numbers (N,), got {targets.dtype} {list(targets.shape)}."
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]:
        raise DatasetError(
            f"targets must be in 0..{logits.shape[1] - 1} (the model has {logits.shape[1]} "
            f"outputs), got {int(targets.min())}..{int(targets.max())}."
        )

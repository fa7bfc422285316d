"""What a retraining depends on besides model, data and machine."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from axopt.errors import ArgumentError
from axopt.layers import Gradient


@dataclass(frozen=True)
class Recipe:
    """How to retrain.

    Attributes:
        epochs: Passes over the training data.
        gradient: How layers are differentiated: "ste", "slopes", "table", or a `Gradient`.
        learn_steps: Whether the scales of activations and weights are learned too.
        lr: Peak learning rate of AdamW: it rises linearly over the warm-up and falls as a cosine.
        steps_lr: Learning rate of the scales, in parts of ``lr``.
        weight_decay: Of weights; biases, batch norms and scales are not decayed.
        warm_up: Part of all steps in which the learning rate rises, 0..1.
        batch_size: Samples of a step where the data does not come in batches.
        distillation: Weight of the teacher's predictions against the labels, 0..1.
        temperature: Of the softmax of both in distillation.
        max_grad_norm: Longer gradients are shortened to it; None leaves them.
        patience: Epochs without a better validation after which to stop; None for never.
        seed: Of order and augmentation.

    Raises:
        ArgumentError: If a value breaks its rule; names it.
    """

    epochs: int
    gradient: Gradient | str = "table"
    learn_steps: bool = True
    lr: float = 1e-3
    steps_lr: float = 1.0
    weight_decay: float = 1e-2
    warm_up: float = 0.1
    batch_size: int = 128
    distillation: float = 0.7
    temperature: float = 2.0
    max_grad_norm: float | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.gradient, str):
            object.__setattr__(self, "gradient", Gradient(self.gradient))
        if not isinstance(self.gradient, Gradient):
            raise ArgumentError(
                f"`gradient` must be a name or a Gradient, got {type(self.gradient).__name__}."
            )
        for name in ("epochs", "batch_size", "patience"):
            self._check(name, int, lambda v: v >= 1, "an integer >= 1")
        self._check("seed", int, lambda v: 0 <= v < 2**32, "an integer in 0..2**32 - 1")
        for name in ("lr", "temperature", "max_grad_norm"):
            self._check(name, (int, float), lambda v: 0 < v < math.inf, "finite and > 0")
        for name in ("weight_decay", "steps_lr"):
            self._check(name, (int, float), lambda v: 0 <= v < math.inf, "finite and >= 0")
        for name in ("warm_up", "distillation"):
            self._check(name, (int, float), lambda v: 0 <= v <= 1, "in 0..1")

    def _check(self, name: str, kind: Any, fits: Any, rule: str) -> None:
        value = getattr(self, name)
        if value is None and name in ("patience", "max_grad_norm"):
            return
        if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
            raise ArgumentError(f"`{name}` must be {rule}, got {value!r}.")

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        fields = asdict(self)
        fields["gradient"]["dtype"] = str(fields["gradient"]["dtype"])
        return fields

    def lr_factor(self, progress: float) -> float:
        """Learning rate in parts of the peak when ``progress`` (0..1) of all steps are done."""
        if progress < self.warm_up:
            return progress / self.warm_up
        rest = 1 - self.warm_up
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / rest)) if rest else 1.0

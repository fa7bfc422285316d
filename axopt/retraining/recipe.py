"""The settings of a retraining."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from axopt.errors import ArgumentError
from axopt.layers import Gradient


@dataclass(frozen=True)
class Recipe:
    """The settings of a retraining.

    Attributes:
        epochs: Number of passes over the training data.
        gradient: How layers are differentiated: "ste" (straight-through), "slopes", "table", or
            a `Gradient`.
        learn_steps: Whether the step sizes (scales) of activations and weights are learned.
        lr: Peak learning rate of AdamW. The rate rises linearly during the warm-up and then
            falls along a cosine.
        steps_lr: Learning rate of the step sizes, as a multiple of ``lr``.
        weight_decay: Decay of weights. Biases, batch norms and step sizes are not decayed.
        warm_up: Share of all steps during which the learning rate rises, 0..1.
        batch_size: Samples of one step, for a `Split`; other data comes in batches of its own.
        distillation: Weight of the teacher's predictions, 0..1; the loss has the rest.
        temperature: Softmax temperature of distillation.
        max_grad_norm: Gradients with a larger norm are scaled to this one; None for no limit.
        patience: Stop after so many epochs without a better validation; None for never.
        seed: Seed of the samples' order and of augmentation.

    Raises:
        ArgumentError: If a value breaks its rule; names the field.

    Example:
        >>> recipe = Recipe(epochs=4, gradient="ste")
        >>> recipe.lr_factor(0.05), recipe.lr_factor(0.1), round(recipe.lr_factor(1.0), 6)
        (0.5, 1.0, 0.0)
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
        """Return the fields as plain values."""
        fields = asdict(self)
        fields["gradient"]["dtype"] = str(fields["gradient"]["dtype"])
        return fields

    def lr_factor(self, progress: float) -> float:
        """Return the learning rate relative to its peak.

        Args:
            progress: Share of all steps that are done, 0..1.
        """
        if progress < self.warm_up:
            return progress / self.warm_up
        rest = 1 - self.warm_up
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / rest)) if rest else 1.0

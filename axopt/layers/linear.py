"""Emulated fully connected layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.kernels import Convolution, Plan, Window, gemm_sums
from axopt.layers.base import WeightedLayer
from axopt.layers.gradients import Gradients
from axopt.multipliers import Multiplier


class EmulatedLinear(WeightedLayer):
    """``nn.Linear`` whose products come from a table; any number of leading dimensions."""

    kind = "linear"

    def __init__(self, linear: nn.Linear, multiplier: Multiplier, **options: Any) -> None:
        super().__init__(linear.weight, linear.bias, multiplier, **options)

    def by_channel(self, y: Tensor) -> Tensor:
        return y.reshape(-1, y.shape[-1]).T

    def geometry(self) -> str:
        return f"weight={tuple(self.weight.shape)}"

    def exact_float(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        rows, columns = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        return (
            grad @ weight if needs[0] else None,
            rows.T @ columns if needs[1] else None,
            rows.sum(0) if needs[2] else None,
        )

    def _sample_windows(self, x: Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1])
        self.channels.update(rows.T)
        wanted = self.sample.wanted(len(rows))
        self.sample.add(rows[wanted][:, None], len(rows))

    def _window(self) -> Window:
        return Window()

    def _as_kernel(self, weight: Tensor) -> Tensor:
        return weight[:, :, None, None]

    def _convolved(
        self, convolution: Convolution, x: Tensor, bounds: tuple[float, float] | None
    ) -> Tensor:
        """The rows of the input are the pixels of an image of one line."""
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) == 0:
            return x.new_zeros(*x.shape[:-1], len(self.weight))
        y = convolution(rows.T[None, :, None], bounds)
        return y[0, :, 0].T.view(*x.shape[:-1], y.shape[1])

    def _prepared_input(self, x: Tensor) -> Tensor:
        return x

    def _product_sums(self, x: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        sums = gemm_sums(x.reshape(-1, x.shape[-1]), weight, plan)
        return sums.view(*x.shape[:-1], len(weight))

    def _activation_sums(self, x: Tensor, weight: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True, dtype=torch.int64)

    def _per_output(self, values: Tensor) -> Tensor:
        return values

"""Emulated fully connected layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.kernels import PackedTable, gemm_codes
from axopt.layers.base import EmulatedLayer
from axopt.multipliers import Multiplier


class EmulatedLinear(EmulatedLayer):
    """``nn.Linear`` whose products come from a table; any number of leading dimensions."""

    kind = "linear"

    def __init__(self, linear: nn.Linear, multiplier: Multiplier, **options: Any) -> None:
        super().__init__(linear.weight, linear.bias, multiplier, **options)

    def geometry(self) -> str:
        return f"weight={tuple(self.weight.shape)}"

    def exact_float(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        grad_x = grad @ weight if needs[0] else None
        rows, columns = grad.flatten(0, -2), x.flatten(0, -2)
        grad_weight = rows.T @ columns if needs[1] else None
        return grad_x, grad_weight

    def _prepared_input(self, x: Tensor) -> Tensor:
        return x

    def _table_sums(self, x: Tensor, weight: Tensor, table: PackedTable) -> Tensor:
        sums = gemm_codes(x.reshape(-1, x.shape[-1]), weight, table)
        return sums.view(*x.shape[:-1], len(weight))

    def _activation_sums(self, x: Tensor, weight: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True, dtype=torch.int64)

    def _per_output(self, values: Tensor) -> Tensor:
        return values

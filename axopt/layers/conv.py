"""Emulated two-dimensional convolution."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.errors import ArgumentError
from axopt.kernels import Convolution, Plan, Window, conv2d_sums, first_operand_plan
from axopt.layers.base import WeightedLayer
from axopt.layers.gradients import Gradients
from axopt.layers.quantisation import QuantParams
from axopt.multipliers import Multiplier

Pair = tuple[int, int]


class EmulatedConv2d(WeightedLayer):
    """``nn.Conv2d`` whose products come from a table.

    Padded positions hold the value the padding mode gives them and are multiplied like any other:
    a zero is the activation's zero point, and a circuit with M(0, w) != 0 errs there too.
    """

    kind = "conv2d"

    def __init__(self, conv: nn.Conv2d, multiplier: Multiplier, **options: Any) -> None:
        super().__init__(conv.weight, conv.bias, multiplier, **options)
        self.stride = cast(Pair, tuple(conv.stride))
        self.dilation = cast(Pair, tuple(conv.dilation))
        self.groups = conv.groups
        self.padding_mode = conv.padding_mode
        self.padding = _border(conv)

    def by_channel(self, y: Tensor) -> Tensor:
        return y.movedim(-3, 0).flatten(1)

    def geometry(self) -> str:
        return (
            f"weight={tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}, "
            f"padding_mode={self.padding_mode}, dilation={self.dilation}, groups={self.groups}"
        )

    def exact_float(self, x: Tensor) -> Tensor:
        padded = self._padded(x)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        weight = self.weight.to(x.dtype)
        return functional.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        if x.ndim == 3:
            to_x, to_w, to_bias = self.surrogate_gradients(grad[None], x[None], weight, needs)
            return None if to_x is None else to_x[0], to_w, to_bias
        window = self._window()
        gradients: Gradients = torch.ops.aten.convolution_backward(
            grad, x, weight, [len(weight)], window.stride, window.padding, window.dilation,
            False, (0, 0), window.groups, needs,
        )  # fmt: skip
        return gradients

    def _prepared_input(self, x: Tensor) -> Tensor:
        if x.ndim not in (3, 4):
            raise ArgumentError(
                f"`x` must have shape (N, C, H, W) or (C, H, W), got {tuple(x.shape)}."
            )
        return x if self._pads_implicitly else self._padded(x)

    @property
    def _pads_implicitly(self) -> bool:
        """Whether the kernel can pad: with zeros, as much on either side."""
        left, right, top, bottom = self.padding
        return self.padding_mode == "zeros" and left == right and top == bottom

    def _sample_windows(self, x: Tensor) -> None:
        x = x if x.ndim == 4 else x[None]
        padded = self._padded(x)
        height, width = Window(self.stride, (0, 0), self.dilation).out_size(
            (padded.shape[2], padded.shape[3]), (self.weight.shape[2], self.weight.shape[3])
        )
        if self.padding_mode == "zeros":
            self.channels.padded_share = self._padded_share(x)
            self.channels.update(x.transpose(0, 1).flatten(1))
        else:
            self.channels.update(padded.transpose(0, 1).flatten(1))
        offered = len(x) * height * width
        wanted = self.sample.wanted(offered)
        self.sample.add(self._windows_at(padded, wanted, height, width), offered)

    def _padded_share(self, x: Tensor) -> float:
        """Part of the values under all windows that are padding."""
        inside = x.new_ones(1, 1, *x.shape[2:])
        taps = self.weight.new_ones(1, 1, *self.weight.shape[2:])
        met = functional.conv2d(self._padded(inside), taps, None, self.stride, 0, self.dilation)
        return 1 - float(met.mean()) / taps.numel()

    def _windows_at(self, padded: Tensor, at: Tensor, height: int, width: int) -> Tensor:
        """Windows of the output pixels ``at``, counted over images, rows and columns.

        Returns:
            ``(n, groups, depth)``, the depth ordered as a flattened filter is.
        """
        image, row, column = at // (height * width), at // width % height, at % width
        kernel_rows, kernel_columns = self.weight.shape[2:]
        rows = row[:, None] * self.stride[0] + torch.arange(kernel_rows) * self.dilation[0]
        columns = (
            column[:, None] * self.stride[1] + torch.arange(kernel_columns) * self.dilation[1]
        )
        windows = padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return windows.permute(0, 3, 1, 2).reshape(len(at), self.groups, -1)

    def _window(self) -> Window:
        left, _, top, _ = self.padding if self._pads_implicitly else (0, 0, 0, 0)
        return Window(self.stride, (top, left), self.dilation, self.groups)

    def _as_kernel(self, weight: Tensor) -> Tensor:
        return weight

    def _convolved(
        self, convolution: Convolution, x: Tensor, bounds: tuple[float, float] | None
    ) -> Tensor:
        y = convolution(x if x.ndim == 4 else x[None], bounds)
        if not (_is_channels_last(x) or _is_channels_last(self.weight)):
            y = y.contiguous()
        return y if x.ndim == 4 else y[0]

    def _padded(self, x: Tensor) -> Tensor:
        if not any(self.padding):
            return x
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return functional.pad(x, self.padding, mode=mode)

    def integer_sums(
        self, x: Tensor, weight: Tensor, activation: QuantParams, weights: QuantParams
    ) -> Tensor:
        if self._pads_implicitly:
            zero = activation.indices(x.new_zeros(1, dtype=torch.float32))
            x = functional.pad(x, self.padding, value=int(zero))
        return super().integer_sums(x, weight, activation, weights)

    def _product_sums(self, x: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        batched = x if x.ndim == 4 else x[None]
        sums = conv2d_sums(
            batched, weight, plan, stride=self.stride, dilation=self.dilation, groups=self.groups
        )
        return sums if x.ndim == 4 else sums[0]

    def _activation_sums(self, x: Tensor, weight: Tensor) -> Tensor:
        one_output_a_group = torch.zeros_like(weight[: self.groups])
        sums = self._product_sums(x, one_output_a_group, first_operand_plan())
        return sums.repeat_interleave(len(weight) // self.groups, dim=-3)

    def _per_output(self, values: Tensor) -> Tensor:
        return values.view(-1, 1, 1) if values.ndim else values


def _is_channels_last(x: Tensor) -> bool:
    """Whether a convolution of torch's would take ``x`` for channels-last."""
    return (
        x.ndim == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


def _border(conv: nn.Conv2d) -> tuple[int, int, int, int]:
    """Columns left and right, rows above and below that the layer pads."""
    if conv.padding == "valid":
        return (0, 0, 0, 0)
    if conv.padding == "same":
        total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        (top, bottom), (left, right) = ((t // 2, t - t // 2) for t in total)
        return (left, right, top, bottom)
    rows, columns = cast(Pair, conv.padding)
    return (columns, columns, rows, rows)

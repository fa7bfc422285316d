"""Integer sums of a layer's products, one element-wise operation after the other.

Skipped taps and narrow accumulators are beyond the native kernels. Such layers are summed window
by window: all values that contribute to one output, and a mask of those that are absent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from axopt.kernels import Plan, Window, conv2d_sums, first_operand_plan, gemm_sums
from axopt.layers.options import Accumulator
from axopt.layers.quantisation import SIGNED_ZERO_POINT, Quantisation


@dataclass(frozen=True, eq=False)
class Products:
    """The products of a layer with its present weights.

    Attributes:
        plan: How products are formed.
        signed: Whether the multiplier is signed.
        quantisation: Formats of the operands.
        codes: Weight codes, ``(out_channels, ...)`` uint8.
        product_scale: Factor of the plan's products to the multiplier's own, which are smaller if
            it is narrow; an accumulator holds sums of the latter.

    Example:
        >>> from axopt import load_library
        >>> from axopt.layers import QuantParams, plan_of
        >>> one = QuantParams(torch.tensor(1.0), torch.tensor(128))
        >>> weights = one.codes(torch.tensor([[2.0, 3.0]]))
        >>> plan = plan_of(load_library().exact(signed=True), False)
        >>> products = Products(plan, True, Quantisation(one, one), weights)
        >>> products.window_sums(one.codes(torch.tensor([[[10.0, 1.0]]])), None, None)
        tensor([[23]])
    """

    plan: Plan
    signed: bool
    quantisation: Quantisation
    codes: Tensor
    product_scale: int = 1

    @property
    def origin(self) -> int:
        """Code of the operand value 0."""
        return SIGNED_ZERO_POINT if self.signed else 0

    @property
    def activation_zero(self) -> int:
        """Operand value that represents a zero activation."""
        return int(self.quantisation.activation.zero_code) - self.origin

    @property
    def weight_zero(self) -> Tensor:
        """Operand value that represents a zero weight, ``()`` or ``(out_channels,)``."""
        return self.quantisation.weights.zero_code - self.origin

    @property
    def padding_code(self) -> int:
        """Code of a padded zero."""
        activation = self.quantisation.activation
        return int(activation.codes(torch.zeros(1, device=activation.scale.device)))

    def image_sums(self, x: Tensor, codes: Tensor, window: Window) -> Tensor:
        """Return the sums of an ordinary convolution less its zero-point sums.

        Args:
            x: Activation codes, ``(images, channels, height, width)`` uint8.
            codes: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
            window: Stride, padding, dilation and groups.

        Returns:
            ``(images, out_channels, out_height, out_width)`` int32, or int64 if there are
            zero-point sums.
        """
        rows, columns = window.padding
        x = functional.pad(x, (columns, columns, rows, rows), value=self.padding_code)
        sums = self._convolved(x, codes, self.plan, window)
        if self.activation_zero == 0 and self.signed:
            return sums
        depth, outputs = codes[0].numel(), len(codes)
        one_output_a_group = torch.zeros_like(codes[: window.groups])
        met = self._convolved(x, one_output_a_group, first_operand_plan(), window)
        weights = codes.flatten(1).sum(1, dtype=torch.int64) - self.origin * depth
        zero = self.weight_zero
        return less_zero_points(
            sums,
            met.long().repeat_interleave(outputs // window.groups, dim=1) - self.origin * depth,
            weights.view(-1, 1, 1),
            depth,
            (self.activation_zero, zero.view(-1, 1, 1) if zero.ndim else zero),
        )

    def _convolved(self, x: Tensor, codes: Tensor, plan: Plan, window: Window) -> Tensor:
        return conv2d_sums(
            x, codes, plan, stride=window.stride, dilation=window.dilation, groups=window.groups
        )

    def window_sums(
        self, windows: Tensor, absent: Tensor | None, accumulator: Accumulator | None
    ) -> Tensor:
        """Return the sums of windows less their zero-point sums.

        Args:
            windows: Activation codes, ``(n, groups, depth)`` uint8; the depth is ordered like a
                flattened filter.
            absent: Mask of the values that are not multiplied, bool, broadcastable to ``windows``,
                which holds `padding_code` there. None if there are none.
            accumulator: The register that sums the products; None if no sum overflows.

        Returns:
            ``(n, out_channels)`` int64.
        """
        groups = windows.shape[1]
        codes = self.codes.flatten(1).view(groups, -1, windows.shape[2])
        zeros = self.weight_zero.expand(len(self.codes)).view(groups, -1)
        missing = None if absent is None else absent.expand_as(windows)
        found = [
            self._group_sums(
                windows[:, g], None if missing is None else missing[:, g], codes[g], zeros[g],
                accumulator,
            )
            for g in range(groups)
        ]  # fmt: skip
        return torch.cat(found, dim=1)

    def _group_sums(
        self,
        windows: Tensor,
        absent: Tensor | None,
        codes: Tensor,
        weight_zero: Tensor,
        accumulator: Accumulator | None,
    ) -> Tensor:
        values = codes.long() - self.origin
        activations = windows.long().sum(1, keepdim=True) - self.origin * windows.shape[1]
        weights = values.sum(1).repeat(len(windows), 1)
        depth = torch.full_like(activations, windows.shape[1])
        saturates = accumulator is not None and accumulator.overflow == "saturate"
        if accumulator is not None and saturates:
            sums = self._saturated(windows, absent, codes, accumulator)
        else:
            sums = gemm_sums(windows, codes, self.plan).long()
        if absent is not None:
            at = absent.any(1).nonzero()[:, 0]  # few if these are borders of images
            lacking = absent[at]
            count = lacking.sum(1, keepdim=True)
            depth[at] -= count
            activations[at] -= count * (self.padding_code - self.origin)
            weights[at] -= _matrix_product(lacking, values)
            if not saturates:
                sums[at] -= _matrix_product(lacking, self._padding_products(codes))
        if accumulator is not None and not saturates:
            low, high = self._bounds(accumulator)
            sums = (sums - low) % (high - low + self.product_scale) + low
        zeros = (self.activation_zero, weight_zero)
        return less_zero_points(sums, activations, weights, depth, zeros)

    def _saturated(
        self, windows: Tensor, absent: Tensor | None, codes: Tensor, accumulator: Accumulator
    ) -> Tensor:
        """Return sums that saturate at every addition, ``(n, outputs)`` int64."""
        low, high = self._bounds(accumulator)
        table = self._table
        sums = torch.zeros(len(windows), len(codes), dtype=torch.int64, device=windows.device)
        present = torch.ones_like(windows) if absent is None else ~absent
        for k in range(windows.shape[1]):
            products = table[:, codes[:, k].long()][windows[:, k].long()]
            sums = (sums + products * present[:, k, None]).clamp_(low, high)
        return sums

    @property
    def _table(self) -> Tensor:
        return torch.tensor(self.plan.table, dtype=torch.int64, device=self.codes.device)

    def _padding_products(self, codes: Tensor) -> Tensor:
        """Return the products of a padded zero with every weight, int64, shaped as ``codes``."""
        return self._table[self.padding_code][codes.long()]

    def need_steps(self, skips: bool, accumulator: Accumulator | None) -> bool:
        """Return whether skipping padded zeros or the accumulator may change any sum."""
        if accumulator is not None and not self._fit(accumulator):
            return True
        return skips and not self.padding_adds_nothing()

    def padding_adds_nothing(self) -> bool:
        """Return whether skipping a padded zero equals multiplying it, for every weight."""
        zero = self.weight_zero.expand(len(self.codes))[:, None]
        codes = self.codes.flatten(1)
        added = less_zero_points(
            self._padding_products(codes),
            torch.tensor(self.padding_code - self.origin, device=codes.device),
            codes.long() - self.origin,
            1,
            (self.activation_zero, zero),
        )
        return not bool(added.any())

    def _bounds(self, accumulator: Accumulator) -> tuple[int, int]:
        """Return the least and the largest sum of the plan's products that a register holds."""
        low, high = accumulator.bounds(signed=self.signed)
        return low * self.product_scale, high * self.product_scale

    def _fit(self, accumulator: Accumulator) -> bool:
        """Return whether every partial sum fits the accumulator, for all activations."""
        low, high = self._bounds(accumulator)
        extremes = (self.plan.table.min(0).clip(max=0), self.plan.table.max(0).clip(min=0))
        codes = self.codes.flatten(1).cpu().numpy()
        least, most = (values.astype(np.int64)[codes].sum(1) for values in extremes)
        return codes.size == 0 or bool(least.min() >= low and most.max() <= high)


def less_zero_points(
    sums: Tensor,
    activation_sums: Tensor,
    weight_sums: Tensor,
    depth: int | Tensor,
    zeros: tuple[int, int | Tensor],
) -> Tensor:
    """Return ``sum M(a, w) - zw sum a - za sum w + K za zw`` in int64.

    See docs/architecture.md.
    """
    za, zw = zeros
    return sums.long() - zw * activation_sums - za * weight_sums + depth * za * zw


def _matrix_product(rows: Tensor, weights: Tensor) -> Tensor:
    """Return ``rows @ weights.T`` of integers as int64, exact below 2^53."""
    return (rows.double() @ weights.double().T).round_().long()

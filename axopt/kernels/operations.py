"""Native operations for the methods that sum products, and the weights they want.

A method says how products are formed, never what they are:

* ``terms``: separable terms, as ordinary integer products of the operands' factors;
* ``residual``: one separable term, less a small residual that is looked up in registers;
* ``rows``: product rows - the table's entries of one activation code with many weights, added
  side by side;
* ``pixel_lanes``: look-ups in registers, one weight with up to 64 pixels;
* ``channel_lanes``: look-ups in registers, one activation with up to 64 output channels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import axopt._lut_gemm as _lut_gemm
from axopt.errors import ArgumentError
from axopt.kernels.packing import (
    pack_channel_lanes,
    pack_classes,
    pack_dense,
    pack_depthwise,
)
from axopt.kernels.residual import Residual
from axopt.kernels.table import PackedTable
from axopt.kernels.terms import Terms

Pair = tuple[int, int]
Method = Literal["terms", "residual", "rows", "pixel_lanes", "channel_lanes"]
METHODS: tuple[Method, ...] = ("terms", "residual", "rows", "pixel_lanes", "channel_lanes")


@dataclass(frozen=True)
class Window:
    """How a kernel moves over its input.

    Attributes:
        stride: Rows and columns between windows.
        padding: Rows above and below, columns left and right, all of the value 0.
        dilation: Rows and columns between the taps of a window.
        groups: Independent groups of channels.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def out_size(self, size: Pair, kernel: Pair) -> Pair:
        """Output rows and columns for an input of ``size`` rows and columns.

        Raises:
            ArgumentError: If the padded input is smaller than the kernel.
        """
        padded = [n + 2 * p for n, p in zip(size, self.padding, strict=True)]
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        if padded[0] < extent[0] or padded[1] < extent[1]:
            raise ArgumentError(
                f"`x` must be at least {extent[0]} x {extent[1]} with its padding, the extent of "
                f"the kernel, got {padded[0]} x {padded[1]}."
            )
        height, width = (
            (n - e) // s + 1 for n, e, s in zip(padded, extent, self.stride, strict=True)
        )
        return height, width


def is_depthwise(codes: NDArray[np.uint8], window: Window) -> bool:
    """Whether every channel is filtered by itself, which has a kernel of its own."""
    return codes.shape[1] == 1 and window.groups == len(codes) > 1


def terms_operation(
    terms: Terms,
    codes: NDArray[np.uint8],
    window: Window,
    isa_index: int,
    zero_point: NDArray[np.int64] | None,
) -> "_lut_gemm.Operation":
    """Set up an operation that sums separable terms.

    Args:
        terms: The decomposition of the table.
        codes: Weight indices, ``(out_channels, channels // groups, kernel_h, kernel_w)``.
        window: How the kernel moves.
        isa_index: The instruction set that it will run on, which decides how weights are packed.
        zero_point: ``(out_channels,)`` zero points of the weights of an affine layer, or None. A
            depthwise operation takes them into its weights.
    """
    depthwise = is_depthwise(codes, window)
    if depthwise:
        packed = pack_depthwise(terms, codes, zero_point)
    else:
        packed = pack_dense(terms, codes, window.groups, _lut_gemm.code_bytes(isa_index))
    operation = _new_operation(codes, window)
    operation.set_terms(
        packed.maps, packed.masks, packed.row_scale, packed.row_mask, packed.weights, depthwise
    )
    return operation


def residual_operation(
    residual: Residual, codes: NDArray[np.uint8], window: Window, isa_index: int
) -> "_lut_gemm.Operation":
    """Set up an operation that sums one term less a residual, of a layer that is not depthwise.

    Args:
        residual: The decomposition of the table.
        codes: Weight indices, ``(out_channels, channels // groups, kernel_h, kernel_w)``.
        window: How the kernel moves.
        isa_index: The instruction set that it will run on, which decides how weights are packed.
    """
    operation = terms_operation(residual.term, codes, window, isa_index, None)
    code_bytes = _lut_gemm.code_bytes(isa_index)
    operation.set_residual(residual.rows, pack_classes(residual, codes, window.groups, code_bytes))
    return operation


def table_operation(
    table: PackedTable, codes: NDArray[np.uint8], window: Window, method: Method
) -> "_lut_gemm.Operation":
    """Set up an operation that looks its products up.

    Args:
        table: The products.
        codes: Weight indices, ``(out_channels, channels // groups, kernel_h, kernel_w)``.
        window: How the kernel moves.
        method: One that looks every product up.
    """
    used, weights = table, np.ascontiguousarray(codes).reshape(-1)
    if method == "channel_lanes":
        used, weights = table.transposed, pack_channel_lanes(codes, window.groups)
    operation = _new_operation(codes, window)
    operation.set_table(used.columns, used.planes, used.bias, weights, method)
    return operation


def _new_operation(codes: NDArray[np.uint8], window: Window) -> "_lut_gemm.Operation":
    operation = _lut_gemm.Operation()
    operation.set_geometry(
        codes.shape, window.stride, window.dilation, window.padding, window.groups
    )
    return operation

"""Native operations for each method of summing products, with packed weights.

A method decides how products are formed, never their values:

* ``terms``: separable terms, as ordinary integer products of the operands' factors;
* ``residual``: one separable term, less a small residual that is looked up in registers;
* ``rows``: product rows - the table's entries of one activation code with many weights, added
  side by side;
* ``pixel_lanes``: look-ups in registers, one weight with up to 64 pixels;
* ``channel_lanes``: look-ups in registers, one activation with up to 64 output channels.
"""

from dataclasses import dataclass
from typing import Any, Literal

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

_LEVELS = np.arange(256)


@dataclass(frozen=True)
class Window:
    """How a kernel moves over its input.

    Attributes:
        stride: Rows and columns between windows.
        padding: Rows above and below, columns left and right, all of the value 0.
        dilation: Rows and columns between the taps of a window.
        groups: Independent groups of channels.

    Example:
        >>> from axopt.kernels import Window
        >>> Window(stride=(2, 2), padding=(1, 1)).out_size((32, 32), kernel=(3, 3))
        (16, 16)
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def out_size(self, size: Pair, kernel: Pair) -> Pair:
        """Compute the output's rows and columns.

        Args:
            size: Rows and columns of the input, without padding.
            kernel: Rows and columns of the kernel.

        Returns:
            Rows and columns.

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


@dataclass(frozen=True, eq=False)
class Epilogue:
    """How the sums of an operation become floats, and its levels codes.

    With s a sum of products and c the sum of the window's codes, a result is
    ``(s + offset - zero_point * c) * scale + bias``.

    Attributes:
        offset: ``(out_channels,)`` int32.
        zero_point: ``(out_channels,)`` int32; None for zeros. Not for a depthwise operation by
            terms, which has it in its weights.
        scale: ``(out_channels,)`` float32.
        bias: ``(out_channels,)`` float32.
        code_of_level: ``(256,)`` uint8; None if levels are codes.
    """

    offset: NDArray[np.int32]
    zero_point: NDArray[np.int32] | None
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    code_of_level: NDArray[np.uint8] | None = None

    def arguments(self) -> dict[str, Any]:
        """Arguments of `_lut_gemm.Operation`."""
        found: dict[str, Any] = {
            "offset": self.offset,
            "zero_point": self.zero_point,
            "scale": self.scale,
            "bias": self.bias,
        }
        if self.code_of_level is not None:
            found["code_map"] = np.ascontiguousarray(self.code_of_level)
            found["shift"] = _shift_of(self.code_of_level)
        return found


def is_depthwise(codes: NDArray[np.uint8], window: Window) -> bool:
    """Whether every channel is filtered by itself, which has a kernel of its own."""
    return codes.shape[1] == 1 and window.groups == len(codes) > 1


def terms_operation(
    terms: Terms,
    codes: NDArray[np.uint8],
    window: Window,
    isa_index: int,
    weight_zero: NDArray[np.int64] | None = None,
    epilogue: Epilogue | None = None,
) -> "_lut_gemm.Operation":
    """Set up an operation that sums separable terms.

    Args:
        terms: The decomposition of the table.
        codes: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        window: How the kernel moves.
        isa_index: The instruction set, which decides how weights are packed.
        weight_zero: ``(out_channels,)`` zero points of the weights of an affine layer, or None. A
            depthwise operation takes them into its weights; for others see `Epilogue`.
        epilogue: From sums to floats; None for an operation that gives sums only.
    """
    depthwise = is_depthwise(codes, window)
    if depthwise:
        packed = pack_depthwise(terms, codes, weight_zero)
    else:
        packed = pack_dense(terms, codes, window.groups, _lut_gemm.code_bytes(isa_index))
    return _lut_gemm.Operation(
        isa_index=isa_index,
        method="depthwise" if depthwise else "terms",
        **_geometry(codes, window),
        **packed.arguments(),
        **_arguments(epilogue),
    )


def residual_operation(
    residual: Residual,
    codes: NDArray[np.uint8],
    window: Window,
    isa_index: int,
    epilogue: Epilogue | None = None,
) -> "_lut_gemm.Operation":
    """Set up an operation that sums one term less a residual, of a layer that is not depthwise.

    Args:
        residual: The decomposition of the table.
        codes: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        window: How the kernel moves.
        isa_index: The instruction set, which decides how weights are packed.
        epilogue: From sums to floats; None for an operation that gives sums only.
    """
    code_bytes = _lut_gemm.code_bytes(isa_index)
    return _lut_gemm.Operation(
        isa_index=isa_index,
        method="residual",
        **_geometry(codes, window),
        **pack_dense(residual.term, codes, window.groups, code_bytes).arguments(),
        rows=residual.rows,
        classes=pack_classes(residual, codes, window.groups, code_bytes),
        **_arguments(epilogue),
    )


def table_operation(
    table: PackedTable,
    codes: NDArray[np.uint8],
    window: Window,
    isa_index: int,
    method: Method,
    epilogue: Epilogue | None = None,
) -> "_lut_gemm.Operation":
    """Set up an operation that looks up its products.

    Args:
        table: The products.
        codes: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        window: How the kernel moves.
        isa_index: The instruction set.
        method: One that looks up every product.
        epilogue: From sums to floats; None for an operation that gives sums only.
    """
    used, weights = table, np.ascontiguousarray(codes).reshape(-1)
    if method == "channel_lanes":
        used, weights = table.transposed, pack_channel_lanes(codes, window.groups)
    return _lut_gemm.Operation(
        isa_index=isa_index,
        method=method,
        **_geometry(codes, window),
        weights=weights,
        columns=used.columns,
        planes=used.planes,
        table_bias=used.bias,
        **_arguments(epilogue),
    )


def _geometry(codes: NDArray[np.uint8], window: Window) -> dict[str, Any]:
    return {
        "weight_shape": codes.shape,
        "stride": tuple(window.stride),
        "dilation": tuple(window.dilation),
        "padding": tuple(window.padding),
        "groups": window.groups,
    }


def _arguments(epilogue: Epilogue | None) -> dict[str, Any]:
    return {} if epilogue is None else epilogue.arguments()


def _shift_of(codes: NDArray[np.uint8]) -> int:
    """Return s where every code is ``min(level, 255 >> s) << s``, else -1."""
    for shift in range(8):
        if np.array_equal(codes, np.minimum(_LEVELS, 255 >> shift) << shift):
            return shift
    return -1

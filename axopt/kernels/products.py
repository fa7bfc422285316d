"""Matrix products and convolutions of operand codes, exact in int32."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt.errors import AccumulatorError, ArgumentError
from axopt.kernels.dispatch import active_index
from axopt.kernels.operations import Window, table_operation
from axopt.kernels.table import PackedTable
from axopt.kernels.timing import Shape, choose_method
from axopt.multipliers import Multiplier
from axopt.multipliers.multiplier import as_multiplier

_MAX_BYTES = 2**63 - 1
_MAX_STEP = 2**31 - 1


def gemm_codes(a: Tensor, w: Tensor, table: PackedTable) -> Tensor:
    """Sum products of activation codes and weight codes.

    Args:
        a: Activation codes, ``(m, k)`` uint8 on the CPU, any strides.
        w: Weight codes, ``(n, k)`` uint8 on the CPU, any strides.
        table: The products.

    Returns:
        ``(m, n)`` int32: entry ``[i, j]`` is the sum over p of ``table[a[i, p], w[j, p]]``.
        Zeros where ``k`` is 0. The result does not depend on threads or instruction set.

    Raises:
        ArgumentError: If a tensor has another dtype, device or number of axes, or ``k`` differs.
        AccumulatorError: If a sum of ``k`` products may exceed int32.
        MemoryError: If the result or a tile cannot be allocated.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import PackedTable, gemm_codes
        >>> table = PackedTable.of(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> a = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
        >>> gemm_codes(a, torch.tensor([[10, 100]], dtype=torch.uint8), table)
        tensor([[210],
                [430]], dtype=torch.int32)
    """
    _check_codes("a", a, 2)
    _check_codes("w", w, 2)
    (m, k), (n, w_k) = a.shape, w.shape
    if k != w_k:
        raise ArgumentError(f"`a` and `w` must agree in their last axis, got {k} and {w_k}.")
    check_depth(k, table.k_max)
    if min(m, n, k) == 0:
        return _new_output((m, n), empty=True)
    # A convolution of one line of m pixels with k channels by a 1x1 kernel.
    sums = _sum_codes(a.T.reshape(1, k, 1, m), w.reshape(n, k, 1, 1), table, (1, m), Window())
    return sums.view(m, n)


def conv2d_codes(
    x: Tensor,
    w: Tensor,
    table: PackedTable,
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Cross-correlate activation codes with weight codes.

    Args:
        x: Activation codes, padded already, ``(images, channels, height, width)`` uint8 on the
            CPU, any strides.
        w: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        table: The products.
        stride: Rows and columns between windows.
        dilation: Rows and columns between the taps of a window.
        groups: Independent groups of channels; divides ``channels`` and ``out_channels``.

    Returns:
        ``(images, out_channels, out_height, out_width)`` int32, channels last in memory. Zeros
        where there are no input channels.

    Raises:
        ArgumentError: If a tensor has another dtype, device or number of axes, the shapes do not
            fit each other, or a stride, dilation or group count is not a positive integer.
        AccumulatorError: If the sum of one window's products may exceed int32.
        MemoryError: If the result or a tile cannot be allocated.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import PackedTable, conv2d_codes
        >>> table = PackedTable.of(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> x = torch.ones(1, 3, 5, 5, dtype=torch.uint8)
        >>> y = conv2d_codes(x, torch.ones(4, 3, 3, 3, dtype=torch.uint8), table)
        >>> y.shape, y.unique()
        (torch.Size([1, 4, 3, 3]), tensor([27], dtype=torch.int32))
    """
    _check_codes("x", x, 4)
    _check_codes("w", w, 4)
    _check_steps("stride", stride)
    _check_steps("dilation", dilation)
    _check_groups(x, w, groups)
    images, out_channels, depth = x.shape[0], w.shape[0], math.prod(w.shape[1:])
    kernel = (w.shape[2], w.shape[3])
    if min(kernel) < 1:
        raise ArgumentError(f"`w` must have a kernel of at least 1 x 1, got {kernel}.")
    window = Window(stride, (0, 0), dilation, groups)
    out_height, out_width = window.out_size((x.shape[2], x.shape[3]), kernel)
    check_depth(depth, table.k_max)
    if min(images, out_channels, depth) == 0:
        return _new_output((images, out_channels, out_height, out_width), empty=True)
    sums = _sum_codes(x, w, table, (out_height, out_width), window)
    return sums.permute(0, 3, 1, 2)


def _sum_codes(
    x: Tensor,
    w: Tensor,
    table: PackedTable,
    out_size: tuple[int, int],
    window: Window,
) -> Tensor:
    """Return ``(images, out_height, out_width, out_channels)`` int32; nothing is empty."""
    codes = w.detach().numpy()
    pixels = len(x) * math.prod(out_size)
    method = choose_method(
        None, Shape(pixels, len(codes) // window.groups, codes[0].size, window.groups)
    )
    operation = table_operation(table, codes, window, active_index(), method)
    out = _new_output((len(x), *out_size, len(w)), empty=False)
    operation.run(torch.get_num_threads(), x.detach().numpy(), 1.0, 0, out.numpy())
    return out


def lut_gemm(
    a: NDArray[np.integer] | Tensor,
    w: NDArray[np.integer] | Tensor,
    multiplier: Multiplier,
) -> NDArray[np.int32]:
    """Multiply matrices of operand values on an approximate multiplier.

    Args:
        a: First operands, ``(m, k)`` integers: -128..127 for a signed multiplier of 8 bits, else
            0..255; -8..7 or 0..15 for one of 4 bits, and so on.
        w: Second operands, ``(k, n)`` integers.
        multiplier: Computes every product; sums are exact.

    Returns:
        ``(m, n)`` int32, the exact sums of the multiplier's products.

    Raises:
        ArgumentError: If ``multiplier`` is no `Multiplier`, an operand is not a matrix of
            integers in range, or ``k`` differs.
        AccumulatorError: If a sum of ``k`` products, scaled to 16 bits, may exceed int32.

    Example:
        >>> import numpy as np
        >>> import axopt
        >>> from axopt.kernels import lut_gemm
        >>> multiplier = axopt.load_library()["mul8s_1KV8"]  # exact
        >>> lut_gemm(np.array([[1, -2]]), np.array([[3], [4]]), multiplier)
        array([[-5]], dtype=int32)
    """
    multiplier = as_multiplier(multiplier)
    a_codes = _codes_of("a", a, multiplier.signed, multiplier.bits_a)
    w_codes = _codes_of("w", w, multiplier.signed, multiplier.bits_w)
    if a_codes.shape[1] != w_codes.shape[0]:
        raise ArgumentError(
            "`a` must have as many columns as `w` has rows, "
            f"got {tuple(a_codes.shape)} and {tuple(w_codes.shape)}."
        )
    table = PackedTable.of(multiplier.code_table)
    result: NDArray[np.int32] = gemm_codes(a_codes, w_codes.T, table).numpy()
    return result // math.prod(multiplier.strides)


def _codes_of(name: str, values: Any, signed: bool, bits: int) -> Tensor:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ArgumentError(
            f"`{name}` must be a matrix of integers, got {array.dtype} {array.shape}."
        )
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ArgumentError(
            f"`{name}` must lie in {low}..{high} for {'a signed' if signed else 'an unsigned'} "
            f"multiplier of {bits} bits, got {array.min()}..{array.max()}."
        )
    return torch.from_numpy(((array.astype(np.int16) - low) << (8 - bits)).astype(np.uint8))


def _check_codes(name: str, tensor: Any, axes: int) -> None:
    if not isinstance(tensor, Tensor):
        raise ArgumentError(f"`{name}` must be a torch.Tensor, got {type(tensor).__name__}.")
    if (
        tensor.dtype != torch.uint8
        or tensor.device.type != "cpu"
        or tensor.layout != torch.strided
        or tensor.ndim != axes
    ):
        raise ArgumentError(
            f"`{name}` must be a dense uint8 CPU tensor with {axes} axes, got {tensor.dtype} "
            f"{tuple(tensor.shape)} on {tensor.device}."
        )


def _check_steps(name: str, steps: tuple[int, int]) -> None:
    fits = (
        isinstance(steps, tuple)
        and len(steps) == 2
        and all(isinstance(step, int) and 1 <= step <= _MAX_STEP for step in steps)
    )
    if not fits:
        raise ArgumentError(f"`{name}` must be two integers in 1..{_MAX_STEP}, got {steps!r}.")


def _check_groups(x: Tensor, w: Tensor, groups: int) -> None:
    if not isinstance(groups, int) or groups < 1:
        raise ArgumentError(f"`groups` must be a positive integer, got {groups!r}.")
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups != 0:
        raise ArgumentError(
            f"`groups` = {groups} must divide the output channels of `w` {tuple(w.shape)}, and "
            f"times its second axis give the channels of `x` {tuple(x.shape)}."
        )


def check_depth(k: int, k_max: int) -> None:
    """Raise `AccumulatorError` if sums of depth ``k`` may exceed int32."""
    if k > k_max:
        raise AccumulatorError(
            f"a sum of K = {k} products may leave int32: this table allows K <= {k_max}."
        )


def _new_output(shape: tuple[int, ...], *, empty: bool) -> Tensor:
    """Allocate the result; it is filled with zeros if the depth is 0."""
    n_bytes = math.prod(shape) * torch.int32.itemsize
    if n_bytes > _MAX_BYTES:
        raise ArgumentError(f"the result of shape {shape} must be under 2**63 bytes.")
    try:
        return (torch.zeros if empty else torch.empty)(shape, dtype=torch.int32)
    except RuntimeError as error:  # torch raises this if memory is short
        raise MemoryError(f"no memory for a result of shape {shape} ({n_bytes} bytes)") from error

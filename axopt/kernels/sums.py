"""Sums of products of operand codes, on any device."""

import torch
from torch import Tensor

from axopt.kernels.device import conv2d_codes_on_device, gemm_codes_on_device
from axopt.kernels.plan import Plan
from axopt.kernels.products import check_depth, conv2d_codes, gemm_codes

Pair = tuple[int, int]


def gemm_sums(a: Tensor, w: Tensor, plan: Plan) -> Tensor:
    """Sum products of activation codes and weight codes.

    Args:
        a: Activation codes, ``(m, k)`` uint8.
        w: Weight codes, ``(n, k)`` uint8 on the same device.
        plan: The products.

    Returns:
        ``(m, n)`` int32, the same on every device.

    Raises:
        AccumulatorError: If ``k`` products may leave int32.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import gemm_sums, plan
        >>> exact = plan(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> a = torch.tensor([[1, 2]], dtype=torch.uint8)
        >>> gemm_sums(a, torch.tensor([[10, 100]], dtype=torch.uint8), exact)
        tensor([[210]], dtype=torch.int32)
    """
    if a.device.type == "cpu":
        return gemm_codes(a, w, plan.packed)
    check_depth(a.shape[1], plan.k_max)
    return gemm_codes_on_device(a, w, plan.table, plan.terms)


def conv2d_sums(
    x: Tensor,
    w: Tensor,
    plan: Plan,
    *,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Cross-correlate activation codes with weight codes.

    Args:
        x: Activation codes, padded already, ``(images, channels, height, width)`` uint8.
        w: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8 on the
            same device.
        plan: The products.
        stride: Rows and columns between windows.
        dilation: Rows and columns between the taps of a window.
        groups: Independent groups of channels.

    Returns:
        ``(images, out_channels, out_height, out_width)`` int32, the same on every device.

    Raises:
        AccumulatorError: If the products of one window may leave int32.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import conv2d_sums, plan
        >>> exact = plan(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> x = torch.ones(1, 3, 5, 5, dtype=torch.uint8)
        >>> conv2d_sums(x, torch.ones(4, 3, 3, 3, dtype=torch.uint8), exact).unique()
        tensor([27], dtype=torch.int32)
    """
    if x.device.type == "cpu":
        return conv2d_codes(x, w, plan.packed, stride=stride, dilation=dilation, groups=groups)
    check_depth(w[0].numel(), plan.k_max)
    return conv2d_codes_on_device(
        x, w, plan.table, plan.terms, stride=stride, dilation=dilation, groups=groups
    )


def matmul_sums(a: Tensor, w: Tensor, plan: Plan) -> Tensor:
    """Sum products of pairs of matrices of codes.

    Args:
        a: Codes of the first matrices, ``(pairs, m, k)`` uint8.
        w: Codes of the second matrices, transposed, ``(pairs, n, k)`` uint8 on the same device.
        plan: The products; rows of its table are codes of ``a``.

    Returns:
        ``(pairs, m, n)`` int32, the same on every device.

    Raises:
        AccumulatorError: If ``k`` products may leave int32.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import matmul_sums, plan
        >>> exact = plan(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> pairs = torch.ones(5, 2, 3, dtype=torch.uint8)
        >>> matmul_sums(pairs, 2 * pairs, exact)[0]
        tensor([[6, 6],
                [6, 6]], dtype=torch.int32)
    """
    (pairs, m, k), n = a.shape, w.shape[1]
    if 0 in (pairs, m, n):
        return a.new_zeros((pairs, m, n), dtype=torch.int32)
    # One line of m pixels with a group of k channels for each pair, and a 1x1 kernel.
    line = a.transpose(1, 2).reshape(1, pairs * k, 1, m)
    sums = conv2d_sums(line, w.reshape(pairs * n, k, 1, 1), plan, groups=pairs)
    return sums.view(pairs, n, m).transpose(1, 2)

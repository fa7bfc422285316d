"""The kernels in NumPy: slow and simple. Tests compare every other kernel with these."""

import numpy as np
from numpy.typing import NDArray


def gemm_reference(
    a: NDArray[np.uint8], w: NDArray[np.uint8], table: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Sum table entries over the common axis.

    Args:
        a: Row codes, ``(m, k)`` uint8.
        w: Column codes, ``(n, k)`` uint8.
        table: Products, ``(256, 256)``.

    Returns:
        ``(m, n)`` int64, entry ``[i, j]`` is the sum over p of ``table[a[i, p], w[j, p]]``.
    """
    out = np.zeros((a.shape[0], w.shape[0]), np.int64)
    for p in range(a.shape[1]):
        out += table[a[:, p, None], w[None, :, p]]
    return out


def conv2d_reference(
    x: NDArray[np.uint8],
    w: NDArray[np.uint8],
    table: NDArray[np.int32],
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> NDArray[np.int64]:
    """Convolve, one output pixel after the other, by `gemm_reference`.

    Args:
        x: Padded activation codes, ``(images, channels, height, width)`` uint8.
        w: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        table: Products, ``(256, 256)``.
        stride: Rows and columns between windows.
        dilation: Rows and columns between the taps of a window.
        groups: Independent groups of channels.

    Returns:
        ``(images, out_channels, out_height, out_width)`` int64.
    """
    out_channels, channels, *kernel = w.shape
    extent = [(size - 1) * d + 1 for size, d in zip(kernel, dilation, strict=True)]
    height, width = (
        (size - e) // s + 1 for size, e, s in zip(x.shape[2:], extent, stride, strict=True)
    )
    out = np.empty((x.shape[0], out_channels, height, width), np.int64)
    for group in range(groups):
        outputs = np.arange(out_channels).reshape(groups, -1)[group]
        inputs = x[:, group * channels : (group + 1) * channels]
        for row, column in np.ndindex(height, width):
            top, left = row * stride[0], column * stride[1]
            window = inputs[
                :, :, top : top + extent[0] : dilation[0], left : left + extent[1] : dilation[1]
            ]
            out[:, outputs, row, column] = gemm_reference(
                window.reshape(len(x), -1), w[outputs].reshape(len(outputs), -1), table
            )
    return out

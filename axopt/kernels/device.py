"""Exact sums of products on the device of the operands, computed by PyTorch's own operators.

The same code runs on every device. It is meant for CUDA; the CPU has kernels of its own. No
vendor convolution is called, because Winograd and FFT algorithms round: windows are unfolded and
multiplied as matrices, or added tap by tap if a group has one channel.

Why every result is exact: terms multiply int8 by int8 (128 is subtracted from an 8-bit activation
map; the correction depends on the weight alone). An int32 accumulator holds 131,056 such products,
a float32 accumulator 1,024: no partial sum exceeds 1,024 * 128 * 128 = 2^24, in any order. TF32,
bfloat16 or split-bfloat16 multiplication of the float32 operands changes nothing: int8 fits the 8
significant bits of the narrowest format, and products are accumulated unrounded in 24 bits or
more. Autocast, which rounds results to 16 bits, is switched off. Table entries are summed in
float32, again only to a depth that 2^24 allows. Deeper sums are split and added in int32, which
wraps around: only the final sum has to fit, which the caller checks.

Memory beside the result: unfolded windows and their mapped copies, `_CHUNK_BYTES` or one line of
output pixels, whichever is larger; a block of float32 operands, of table rows and of indices,
`_CHUNK_BYTES` each; with terms, up to three int8 copies of the weights per term.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from axopt.kernels.private_ops import int8_product
from axopt.kernels.terms import Terms

_logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 2**20
_FLOAT32_EXACT = 2**24  # float32 holds every integer up to here
_FLOAT_DEPTH = _FLOAT32_EXACT // 128**2
_INT8_ALIGNMENT = 16  # cuBLASLt requires rows of 16 bytes; PyTorch itself requires 8
_INT_DEPTH = (2**31 - 1) // 128**2 // _INT8_ALIGNMENT * _INT8_ALIGNMENT
_INT8_MIN_ROWS = 32  # PyTorch requires more than 16 on CUDA; the check reads 32 at either end
_MAX_TABLE_COLUMNS = 256
_BYTES_PER_SUM = 12  # int32 or float32: partial sum, total, total in the order of the result
_BYTES_PER_INDEX = 16  # two int32 copies while it is made, and an int64 one inside PyTorch
_CACHED_PRODUCTS = 64  # under 1 MB each

Pair = tuple[int, int]


def gemm_codes_on_device(
    a: Tensor, w: Tensor, table: NDArray[np.int32], terms: Terms | None
) -> Tensor:
    """Sum products of activation codes and weight codes, as `axopt.kernels.gemm_codes` does.

    Args:
        a: Activation codes, ``(m, k)`` uint8, any strides.
        w: Weight codes, ``(n, k)`` uint8 on the same device, any strides.
        table: Products, ``(256, 256)``, entries of 16 bits. Ignored if ``terms`` are given.
        terms: An exact decomposition of ``table``, if it has one.

    Returns:
        ``(m, n)`` int32 on the same device. The caller has checked the arguments and that ``k``
        products fit int32.
    """
    x, kernel, once = a[:, :, None, None], w[:, :, None, None], (1, 1)
    sums = conv2d_codes_on_device(x, kernel, table, terms, stride=once, dilation=once, groups=1)
    return sums[:, :, 0, 0]


def conv2d_codes_on_device(
    x: Tensor,
    w: Tensor,
    table: NDArray[np.int32],
    terms: Terms | None,
    *,
    stride: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """Cross-correlate codes, as `axopt.kernels.conv2d_codes` does.

    Args:
        x: Activation codes, padded already, ``(images, channels, height, width)`` uint8.
        w: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8 on the
            same device.
        table: Products as in `gemm_codes_on_device`.
        terms: Their decomposition, if they have one.
        stride: Rows and columns between windows.
        dilation: Rows and columns between the taps of a window.
        groups: Independent groups of channels.

    Returns:
        ``(images, out_channels, out_height, out_width)`` int32 on that device; checked as there.
    """
    window = _Window((w.shape[2], w.shape[3]), stride, dilation)
    shape = (len(x), len(w), *window.out_size(x))
    sums = torch.zeros(shape, dtype=torch.int32, device=x.device)
    if 0 in shape or w.shape[1] == 0:
        return sums
    products = _products_on(x.device, table, terms)
    depthwise = 1 < groups == x.shape[1]
    unfolded = 0 if depthwise else groups * w[0].numel() * shape[2] * shape[3]
    image_bytes = (x[0].numel() + unfolded) * products.bytes_per_code
    image_bytes += sums[0].numel() * (_BYTES_PER_SUM + _BYTES_PER_INDEX)
    with torch.autocast(x.device.type, enabled=False):
        layer = (_Depthwise if depthwise else _Dense)(w, groups, window, products)
        for images, lines in _chunks(x, window, image_bytes):
            part = x[images, :, window.input_lines(lines)]
            sums[images, :, lines] = layer.convolve(part)
            products.add_activation_sums_(sums[images, :, lines], part, window, groups)
        products.add_weight_sums_(sums, w)
    return sums


@dataclass(frozen=True)
class _Window:
    """Geometry of a convolution's windows."""

    kernel: Pair
    stride: Pair
    dilation: Pair

    @property
    def extent(self) -> Pair:
        (rows, columns), (down, right) = self.kernel, self.dilation
        return (rows - 1) * down + 1, (columns - 1) * right + 1

    def out_size(self, x: Tensor) -> Pair:
        """Count the lines and columns of windows in ``(images, channels, height, width)``."""
        (rows, columns), (down, right) = self.extent, self.stride
        return (x.shape[2] - rows) // down + 1, (x.shape[3] - columns) // right + 1

    def input_lines(self, lines: slice) -> slice:
        """Return the input lines under some lines of output."""
        first, last = lines.start * self.stride[0], (lines.stop - 1) * self.stride[0]
        return slice(first, last + self.extent[0])

    def view(self, x: Tensor) -> Tensor:
        """View axes 2 and 3 as lines and columns of windows; the taps are two new last axes."""
        (rows, columns), (down, right) = self.extent, self.stride
        windows = x.unfold(2, rows, down).unfold(3, columns, right)
        return windows[..., :: self.dilation[0], :: self.dilation[1]]


class _Dense:
    """Convolution by matrix products of unfolded windows, one batch of them per group."""

    def __init__(self, w: Tensor, groups: int, window: _Window, products: _Products) -> None:
        self.groups, self.window, self.products = groups, window, products
        parts = torch.cat(products.weight_parts(w), dim=1)  # (outputs, channels, *kernel)
        self.weights = torch.unflatten(parts, 0, (groups, -1)).permute(0, 1, 3, 4, 2).flatten(2)

    def convolve(self, x: Tensor) -> Tensor:
        """Return ``(images, outputs, lines, columns)`` int32."""
        parts = [torch.unflatten(part, 1, (self.groups, -1)) for part in self.products.parts(x)]
        # Channels last, so that the taps of a window are read in long runs.
        codes = torch.cat(parts, dim=2).permute(1, 0, 3, 4, 2).contiguous()
        windows = self.window.view(codes).movedim(4, -1)  # (groups, images, lines, columns, ...)
        sums = self.products.matmul(windows.flatten(4).flatten(1, 3), self.weights)
        sums = torch.unflatten(sums, 1, windows.shape[1:4])
        return sums.permute(1, 0, 4, 2, 3).flatten(1, 2)


class _Depthwise:
    """Convolution of groups of one channel, added tap by tap."""

    def __init__(self, w: Tensor, groups: int, window: _Window, products: _Products) -> None:
        self.window, self.products = window, products
        parts = products.weight_parts(w[:, 0])  # (channels * outputs per channel, *kernel)
        self.weights = [torch.unflatten(part, 0, (groups, -1)) for part in parts]

    def convolve(self, x: Tensor) -> Tensor:
        """Return ``(images, outputs, lines, columns)`` int32."""
        channels, multiple = self.weights[0].shape[:2]
        shape = (len(x), channels, multiple, *self.window.out_size(x))
        sums = torch.zeros(shape, dtype=torch.int32, device=x.device)
        for part, weights in zip(self.products.parts(x), self.weights, strict=True):
            windows = self.window.view(part).unsqueeze(2)
            for row, column in np.ndindex(self.window.kernel):
                tap = weights[:, :, row, column, None, None]
                self.products.add_products_(sums, windows[..., row, column], tap)
        return sums.flatten(1, 2)


class _TermProducts:
    """Products as sums of int8 by int8 terms: ``sum_t (F_t(a) - 128) G_t(w) + offset(w)``.

    Terms of an unsigned multiplier also add ``scale * (a & mask)``. The maps are on the device.
    """

    def __init__(self, terms: Terms, device: torch.device) -> None:
        if not terms.masks:  # no product of both operands: use one term that is zero
            nothing = np.zeros((1, 256), np.uint8)
            terms = replace(terms, activation=nothing, weight=nothing.view(np.int8))
        shifted = (terms.activation ^ 128).view(np.int8)  # activation factors minus 128
        shift = 128 * terms.weight.astype(np.int32).sum(axis=0, dtype=np.int32)
        self.masks = terms.masks
        self.activation = torch.from_numpy(shifted).to(device)
        self.weight = torch.from_numpy(terms.weight.copy()).to(device)
        self.offset = torch.from_numpy(terms.weight_offset + shift).to(device)
        self.scale, self.mask = int(terms.activation_scale), int(terms.activation_mask)
        # Per term: the code, its copies joined with others and reordered, or an int32 index.
        self.bytes_per_code = 3 * len(self.masks) + 2

    def parts(self, x: Tensor) -> list[Tensor]:
        """Map activation codes by every term: int8, shaped as ``x``."""
        return [
            _look_up(values, x) if mask is None else ((x & mask) ^ 128).view(torch.int8)
            for values, mask in zip(self.activation, self.masks, strict=True)
        ]

    def weight_parts(self, w: Tensor) -> list[Tensor]:
        return [_look_up(values, w) for values in self.weight]

    def matmul(self, a: Tensor, w: Tensor) -> Tensor:
        """Multiply ``(groups, rows, k)`` by ``(groups, n, k)`` int8 over ``k``."""
        if len(a) == 1:
            return _int8_matmul(a[0], w[0])[None]
        return _float_matmul(a, w)

    def add_products_(self, sums: Tensor, a: Tensor, w: Tensor) -> None:
        sums.addcmul_(a, w)

    def add_activation_sums_(self, sums: Tensor, x: Tensor, window: _Window, groups: int) -> None:
        if self.scale == 0:
            return
        masked = torch.unflatten(x & self.mask, 1, (groups, -1)).sum(2, dtype=torch.int32)
        per_window = window.view(masked).sum((-2, -1), dtype=torch.int32)
        torch.unflatten(sums, 1, (groups, -1)).add_(per_window.unsqueeze(2), alpha=self.scale)

    def add_weight_sums_(self, sums: Tensor, w: Tensor) -> None:
        outputs = max(1, _CHUNK_BYTES // (8 * w[0].numel()))
        for block in _blocks(len(w), outputs):
            offsets = _look_up(self.offset, w[block]).flatten(1).sum(1, dtype=torch.int32)
            sums[:, block] += offsets[:, None, None]


class _TableProducts:
    """Products that are looked up, as rows of one code with several others; rows are summed."""

    def __init__(self, table: NDArray[np.int32], device: torch.device) -> None:
        values = table.astype(np.float32)
        self.entries = torch.from_numpy(table.flatten()).to(device)
        self.values = torch.from_numpy(values).to(device)
        self.transposed = torch.from_numpy(np.ascontiguousarray(values.T)).to(device)
        self.depth = _FLOAT32_EXACT // max(1, int(np.abs(table).max()))
        self.bytes_per_code = 2  # a code and its copy in another order

    def parts(self, x: Tensor) -> list[Tensor]:
        return [x]

    def weight_parts(self, w: Tensor) -> list[Tensor]:
        return [w]

    def matmul(self, a: Tensor, w: Tensor) -> Tensor:
        """Sum products of ``(groups, rows, k)`` and ``(groups, n, k)`` uint8 over ``k``."""
        if a.shape[1] < w.shape[1]:  # entries are gathered for the operand with fewer rows
            return self._sum_bags(w, a, self.transposed).mT
        return self._sum_bags(a, w, self.values)

    def add_products_(self, sums: Tensor, a: Tensor, w: Tensor) -> None:
        sums += self.entries[a.int() * 256 + w.int()]

    def add_activation_sums_(self, *_: object) -> None:
        """Nothing to add: the table holds whole products."""

    def add_weight_sums_(self, *_: object) -> None:
        """Nothing to add: the table holds whole products."""

    def _sum_bags(self, a: Tensor, w: Tensor, values: Tensor) -> Tensor:
        """Sum ``values[a, w]`` over ``k``.

        For each bounded block of ``k``: gather the products of its weights with all 256 codes
        once, then add the rows that the activation codes address.
        """
        groups, rows, k = a.shape
        gathered = 256 * 4 * groups  # bytes per position of ``k`` and row of ``w``
        width = min(w.shape[1], _MAX_TABLE_COLUMNS, max(1, _CHUNK_BYTES // gathered))
        most = _CHUNK_BYTES // max(gathered * width, _BYTES_PER_INDEX * groups * rows)
        depth = max(1, min(self.depth, most))
        sums = torch.zeros((groups, rows, w.shape[1]), dtype=torch.int32, device=a.device)
        for block in _blocks(k, depth):
            places = groups * (block.stop - block.start)
            place = torch.arange(places, dtype=torch.int32, device=a.device).view(groups, 1, -1)
            bags = a[:, :, block].int().mul_(places).add_(place).flatten(0, 1)
            for columns in _blocks(w.shape[1], width):
                codes = w[:, columns, block].mT.flatten().int()
                picked = values.index_select(1, codes).view(256 * places, -1)
                summed = functional.embedding_bag(bags, picked, mode="sum").to(torch.int32)
                sums[:, :, columns] += summed.view(groups, rows, -1)
        return sums


_Products = _TermProducts | _TableProducts


def _chunks(x: Tensor, window: _Window, image_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Cut a convolution into images and lines of output, so that each piece fits the budget."""
    lines = window.out_size(x)[0]
    images = max(1, _CHUNK_BYTES // image_bytes)
    height = min(lines, max(1, _CHUNK_BYTES * lines // image_bytes))
    return itertools.product(_blocks(len(x), images), _blocks(lines, height))


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _look_up(values: Tensor, codes: Tensor) -> Tensor:
    """Return ``values[codes]`` for 256 values, with an index of bounded size."""
    flat = codes.flatten()
    found = torch.empty(flat.shape, dtype=values.dtype, device=codes.device)
    for block in _blocks(len(flat), max(1, _CHUNK_BYTES // 8)):
        found[block] = values.index_select(0, flat[block].int())
    return found.view(codes.shape)


def _float_matmul(a: Tensor, w: Tensor) -> Tensor:
    """Multiply int8 ``(groups, rows, k)`` by ``(groups, n, k)``, exactly, in float32 blocks."""
    sums = torch.zeros((*a.shape[:2], w.shape[1]), dtype=torch.int32, device=a.device)
    most = max(1, _CHUNK_BYTES // (4 * len(a) * max(a.shape[1], w.shape[1])))
    for block in _blocks(a.shape[2], min(_FLOAT_DEPTH, most)):
        sums += torch.bmm(a[:, :, block].float(), w[:, :, block].float().mT).to(torch.int32)
    return sums


def _int8_matmul(a: Tensor, w: Tensor) -> Tensor:
    """Multiply int8 ``(rows, k)`` by ``(n, k)``, exactly, on int8 units if they are exact here."""
    (rows, k), n = a.shape, len(w)
    depth = k + -k % _INT8_ALIGNMENT
    a, w = _padded(a, max(rows, _INT8_MIN_ROWS), depth), _padded(w, n + -n % 8, depth)
    sums = torch.zeros((len(a), len(w)), dtype=torch.int32, device=a.device)
    for block in _blocks(depth, _INT_DEPTH):
        left, right = a[:, block].contiguous(), w[:, block].contiguous()
        if _int_mm_is_exact(a.device, len(left), len(right), left.shape[1]):
            sums += int8_product(left, right.t())
        else:
            sums += _float_matmul(left[None], right[None])[0]
    return sums[:rows, :n]


@functools.lru_cache(maxsize=1024)
def _int_mm_is_exact(device: torch.device, rows: int, n: int, k: int) -> bool:
    """Try PyTorch's private int8 product once per size.

    It is missing or refuses some sizes on some devices, and has been silently wrong with some
    versions of cuBLAS (pytorch/pytorch issue 107671).
    """
    own = torch.Generator(device).manual_seed(0)  # the user's generator is not used
    a, w = (
        torch.randint(-128, 128, size, dtype=torch.int8, device=device, generator=own)
        for size in ((rows, k), (n, k))
    )
    ends = [slice(None, _INT8_MIN_ROWS), slice(-_INT8_MIN_ROWS, None)]
    expected = [_float_matmul(a[None, end], w[None])[0] for end in ends]
    try:
        sums = int8_product(a, w.t())
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, RuntimeError) as error:
        _logger.info("no int8 product (%d, %d, %d) on %s: %s", rows, n, k, device, error)
        return False
    exact = all(map(torch.equal, [sums[end] for end in ends], expected))
    if not exact:
        _logger.warning("the int8 product (%d, %d, %d) on %s is wrong", rows, n, k, device)
    return exact


def _padded(codes: Tensor, rows: int, columns: int) -> Tensor:
    """Append zeros, whose products are zero, up to a size."""
    missing = (0, columns - codes.shape[1], 0, rows - codes.shape[0])
    return functional.pad(codes, missing) if any(missing) else codes


_cache: OrderedDict[tuple[bytes, tuple[int, ...], torch.device], _Products] = OrderedDict()
_cache_lock = threading.Lock()


def _products_on(device: torch.device, table: NDArray[np.int32], terms: Terms | None) -> _Products:
    """Copy a table or its terms to the device, or return the copy made before."""
    shared = () if terms is None else (terms.activation_scale, terms.activation_mask)
    arrays = (table,) if terms is None else (terms.activation, terms.weight, terms.weight_offset)
    content = hashlib.sha256(b"".join(array.tobytes() for array in arrays))
    key = (content.digest(), shared, device)
    with _cache_lock:
        products = _cache.pop(key, None)
        if products is None:
            products = _TermProducts(terms, device) if terms else _TableProducts(table, device)
        _cache[key] = products
        if len(_cache) > _CACHED_PRODUCTS:
            _cache.popitem(last=False)
    return products

"""The timing model: nanoseconds of a product on this machine by each method.

It is measured once a process, at the first use. Every method gives the same sums, so noise in a
measurement can cost time but never change a result.
"""

import functools
import math
from dataclasses import dataclass
from time import thread_time
from typing import Literal

import numpy as np

from axopt.kernels.dispatch import active_index
from axopt.kernels.operations import (
    METHODS,
    Method,
    Window,
    residual_operation,
    table_operation,
    terms_operation,
)
from axopt.kernels.plan import Plan
from axopt.kernels.residual import CLASSES, LARGEST, Residual
from axopt.kernels.table import PackedTable
from axopt.kernels.terms import Terms

Kind = Literal["dense", "pointwise", "depthwise"]

LANES = 64
"""Pixels, or channels, whose products one look-up in registers finds."""

_ROW_BLOCK = 16
_MIN_ROW_CHANNELS = 8
_REPEATS = 4
_MAX_SECONDS = 0.01
# channels in and out, side of the images, side of the kernel
_SHAPES = {"dense": (32, 16, 3), "pointwise": (32, 16, 1), "depthwise": (64, 16, 3)}
_IMAGES = {"few": 1, "many": 8}
_MANY_TERMS = 4


@dataclass(frozen=True)
class Shape:
    """The sizes of a layer that its time depends on.

    Attributes:
        pixels: Output pixels of all images.
        channels: Output channels of a group.
        depth: Products summed for one output.
        groups: Independent groups.
        taps: Positions of the kernel, which divide ``depth``.
    """

    pixels: int
    channels: int
    depth: int
    groups: int
    taps: int = 1

    @property
    def products(self) -> int:
        """Products of the layer."""
        return self.pixels * self.channels * self.depth * self.groups

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered by itself; other thin groups cost about the same."""
        return self.channels == 1 and self.groups > 1


@dataclass(frozen=True)
class TimingModel:
    """The timing model: nanoseconds on one thread.

    Attributes:
        term: A product of one separable term in a dense layer.
        depthwise_term: The same in a depthwise layer.
        residual: A product of one term less a residual.
        residual_row: Fetching the residuals of one activation for all weights.
        row: A product by product rows, without building them.
        row_build: Building the rows of one weight.
        pixel_lanes: A product looked up in registers, one of 64 pixels at a time.
        channel_lanes: The same, one of 64 output channels at a time.
        depthwise_lanes: Like ``pixel_lanes`` in a depthwise layer.
    """

    term: float
    depthwise_term: float
    residual: float
    residual_row: float
    row: float
    row_build: float
    pixel_lanes: float
    channel_lanes: float
    depthwise_lanes: float

    def estimate(self, method: Method, plan: Plan | None, shape: Shape) -> float:
        """Nanoseconds for the products of a layer; infinite where the method does not apply."""
        products, terms = shape.products, 0 if plan is None else plan.term_count
        if method == "terms":
            wide = _filled(shape.channels, _ROW_BLOCK)
            term = self.depthwise_term if shape.depthwise else self.term * wide
            return products * terms * term if terms else math.inf
        if method == "residual":
            if plan is None or plan.residual is None or shape.depthwise:
                return math.inf
            codes = shape.pixels * shape.depth // shape.taps * shape.groups
            sums = products * self.residual * _filled(shape.channels, _ROW_BLOCK)
            return sums + codes * self.residual_row
        if method == "rows":
            weights = shape.channels * shape.depth * shape.groups
            if shape.channels < _MIN_ROW_CHANNELS:
                return math.inf
            wide = _filled(shape.channels, _ROW_BLOCK)
            return wide * (products * self.row + weights * self.row_build)
        if method == "pixel_lanes":
            lanes = self.depthwise_lanes if shape.depthwise else self.pixel_lanes
            return products * lanes * _filled(shape.pixels, LANES)
        return products * self.channel_lanes * _filled(shape.channels, LANES)


def choose_method(plan: Plan | None, shape: Shape) -> Method:
    """The method with the least predicted time for a layer; without a plan, of a look-up."""
    model = timing_model()
    return min(METHODS, key=lambda method: model.estimate(method, plan, shape))


def explain(plan: Plan) -> str:
    """Describe a plan and the predicted time of every method in a typical layer.

    Args:
        plan: Of any table.

    Returns:
        Text of several lines: the decompositions, then nanoseconds a product on one thread of this
        machine, measured once a process.

    Example:
        >>> import numpy as np
        >>> from axopt.kernels import explain, plan
        >>> operands = np.arange(-128, 128)
        >>> print(explain(plan(np.multiply.outer(operands, operands))))
        1 separable term, equal to the table on all products (a, w are codes 0..255):
          (a & 0b11111111) * ((w & 0b11111111) - 128)
        predicted nanoseconds a product (32 channels, 3x3, 32x32 pixels):
        ...
    """
    shape = Shape(pixels=32 * 32, channels=32, depth=288, groups=1, taps=9)
    model, chosen = timing_model(), choose_method(plan, shape)
    lines = [str(plan), "predicted nanoseconds a product (32 channels, 3x3, 32x32 pixels):"]
    for method in METHODS:
        cost = model.estimate(method, plan, shape) / shape.products
        if math.isfinite(cost):
            lines.append(f"  {method:13} {cost:.4f}{'  chosen' if method == chosen else ''}")
    return "\n".join(lines)


def timing_model() -> TimingModel:
    """Measure the active instruction set's kernels, at the first call for it."""
    return _measure(active_index())


@functools.cache
def _measure(isa_index: int) -> TimingModel:
    time = functools.partial(_nanoseconds, isa_index)
    dense, depthwise = (_products(kind, _IMAGES["many"]) for kind in ("dense", "depthwise"))
    term = _measure_term(isa_index, "dense")
    residual, residual_row = _measure_residual(isa_index)
    row, row_build = _measure_rows(isa_index)
    filled = _filled(_SHAPES["dense"][0], LANES)
    return TimingModel(
        term=term,
        depthwise_term=_measure_term(isa_index, "depthwise"),
        residual=term + residual,
        residual_row=residual_row,
        row=row,
        row_build=row_build,
        pixel_lanes=time("dense", "pixel_lanes") / dense,
        channel_lanes=time("dense", "channel_lanes") / dense / filled,
        depthwise_lanes=time("depthwise", "pixel_lanes") / depthwise,
    )


def _measure_term(isa_index: int, kind: Kind) -> float:
    """Nanoseconds that another term adds to a product."""
    one, many = (_nanoseconds(isa_index, kind, "terms", terms=n) for n in (1, _MANY_TERMS))
    more = max(many - one, 0.1 * many)  # noise must not make it free
    return more / (_MANY_TERMS - 1) / _products(kind, _IMAGES["many"])


def _measure_rows(isa_index: int) -> tuple[float, float]:
    """Nanoseconds of a product by product rows, and of building the rows of one weight."""
    few, many = (_nanoseconds(isa_index, "dense", "rows", images=n) for n in ("few", "many"))
    fewer, more = (_products("dense", _IMAGES[n]) for n in ("few", "many"))
    channels, _, kernel = _SHAPES["dense"]
    row = max(many - few, 0.1 * many) / (more - fewer)
    return row, max(few - row * fewer, 0.0) / (channels * channels * kernel * kernel)


def _measure_residual(isa_index: int) -> tuple[float, float]:
    """What a residual adds to one term: for every product, and for every activation."""
    extra, products = [], []
    kinds: tuple[Kind, Kind] = ("pointwise", "dense")  # of as many activations
    for kind in kinds:
        with_residual, without = (
            _nanoseconds(isa_index, kind, method) for method in ("residual", "terms")
        )
        extra.append(max(with_residual - without, 0.0))
        products.append(_products(kind, _IMAGES["many"]))
    product = max(extra[1] - extra[0], 0.1 * extra[1]) / (products[1] - products[0])
    channels = _SHAPES["pointwise"][0]
    return product, max(extra[0] / products[0] - product, 0.0) * channels


def _nanoseconds(
    isa_index: int, kind: Kind, method: Method, *, terms: int = 1, images: str = "many"
) -> float:
    """Least time of a few runs on one thread, from codes to sums; without that of others."""
    channels, side, kernel = _SHAPES[kind]
    groups = channels if kind == "depthwise" else 1
    rng = np.random.default_rng(0)
    x = rng.integers(128, 256, (_IMAGES[images], side, side, channels), dtype=np.uint8)
    w = rng.integers(0, 256, (channels, channels // groups, kernel, kernel), dtype=np.uint8)
    window = Window(padding=(kernel // 2, kernel // 2), groups=groups)
    if method == "terms":
        operation = terms_operation(_some_terms(terms), w, window, isa_index)
    elif method == "residual":
        operation = residual_operation(_some_residual(), w, window, isa_index)
    else:
        operation = table_operation(_arbitrary_table(), w, window, isa_index, method)
    out = np.empty(x.shape, np.int32)
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < _MAX_SECONDS:
        start = thread_time()
        operation.run(1, x.transpose(0, 3, 1, 2), 1.0, 128, out)
        times.append(thread_time() - start)
    return 1e9 * min(times)


def _products(kind: Kind, images: int) -> int:
    channels, side, kernel = _SHAPES[kind]
    depth = kernel * kernel * (1 if kind == "depthwise" else channels)
    return images * side * side * channels * depth


def _some_terms(count: int) -> Terms:
    masks = 255 >> np.arange(count)
    codes = np.arange(256)
    return Terms(
        (codes & masks[:, None]).astype(np.uint8),
        np.tile((codes - 128).astype(np.int8), (count, 1)),
        np.zeros(256, np.int32),
        0,
        0,
    )


def _some_residual() -> Residual:
    return Residual(
        _some_terms(1),
        np.full((256, CLASSES), LARGEST, np.uint8),
        (np.arange(256) % CLASSES).astype(np.uint8),
    )


@functools.cache
def _arbitrary_table() -> PackedTable:
    return PackedTable.of(np.random.default_rng(0).integers(-(2**15), 2**15, (256, 256)))


def _filled(count: int, block: int) -> float:
    """The work on whole blocks as a multiple of the work on ``count`` elements."""
    return -(-count // block) * block / count

# cython: language_level=3, embedsignature=True
"""Binding of the C kernels in csrc/. It checks every argument; the kernels rely on that.

Array arguments are NumPy arrays in C order of the dtype and shape that the comments give.
"""

import operator

import numpy as np

from axopt.errors import ArgumentError

from libc.math cimport INFINITY
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t

_METHODS = {
    "terms": AXK_TERMS,
    "residual": AXK_TERMS,
    "depthwise": AXK_DEPTHWISE,
    "rows": AXK_ROWS,
    "pixel_lanes": AXK_PIXEL_LANES,
    "channel_lanes": AXK_CHANNEL_LANES,
}
_MOST = 2**31 - 1  # largest size, stride or padding: sums and products of two fit size_t
_CODES = np.arange(256)
_LANES, _TILE, _UNIT, _CLASSES = 16, 256, 4, 16  # AXK_LANES, _TILE_M, _UNIT, _CLASSES in axk.h


def instruction_sets():
    """Return ``(name, supported here)`` of every instruction set compiled in, fastest first."""
    return [
        (axk_isa_table[i].name.decode("ascii"), bool(axk_isa_table[i].supported()))
        for i in range(axk_isa_count)
    ]


def code_bytes(size_t isa_index):
    """Return the bytes of an expanded code, 1 or 2; packed weights are int8 or int16 likewise."""
    return isa_at(isa_index).code_bytes


cdef const axk_isa *isa_at(size_t index) except NULL:
    if index >= axk_isa_count or not axk_isa_table[index].supported():
        raise ArgumentError(f"`isa_index` must be one of a supported instruction set, got {index}.")
    return &axk_isa_table[index]


cdef size_t address(str name, array, dtype, tuple shape) except? 0:
    """Check an array and return the address of its data."""
    fits = (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.shape == shape
        and array.flags.c_contiguous
        and array.flags.aligned
    )
    if not fits:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(array)
        raise ArgumentError(
            f"`{name}` must be an array of {np.dtype(dtype).name} {shape} in C order, got {got}."
        )
    return array.__array_interface__["data"][0]


cdef check_range(str name, array, int low, int high):
    """Check the values of an array that is not empty."""
    least, most = array.min(), array.max()
    if least < low or most > high:
        raise ArgumentError(f"`{name}` must hold values in {low}..{high}, got {least}..{most}.")


cdef long long integer(str name, value, long long low, long long high) except? -1:
    """Check an integer."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise ArgumentError(f"`{name}` must be an integer in {low}..{high}, got {value!r}.")
    return number


cdef tuple integers(str name, values, int count, int low):
    """Check a tuple of integers."""
    if not isinstance(values, tuple) or len(values) != count:
        raise ArgumentError(f"`{name}` must be a tuple of {count} integers, got {values!r}.")
    return tuple(integer(name, value, low, _MOST) for value in values)


def scalar_gemm(
    columns,      # IN  (256, 256) uint16
    int32_t bias,
    a,            # IN  (m, k) int32, codes
    w,            # IN  (n, k) int32, codes
    out,          # OUT (m, n) int32
):
    """Fill ``out`` by one scalar look-up per product in one thread: the baseline of the bench."""
    cdef axk_table table
    cdef const int32_t *a_data
    cdef const int32_t *w_data
    cdef int32_t *sums
    cdef size_t m, n, k

    if min(np.ndim(a), np.ndim(w)) != 2 or min(*np.shape(a), *np.shape(w)) == 0:
        raise ArgumentError(
            f"`a` and `w` must be matrices that are not empty, got {np.shape(a)} and {np.shape(w)}."
        )
    m, k = a.shape
    n = w.shape[0]
    table.columns = <const uint16_t *>address("columns", columns, np.uint16, (256, 256))
    table.planes = NULL
    table.bias = bias
    a_data = <const int32_t *>address("a", a, np.int32, (m, k))
    w_data = <const int32_t *>address("w", w, np.int32, (n, k))
    sums = <int32_t *>address("out", out, np.int32, (m, n))
    check_range("a", a, 0, 255)
    check_range("w", w, 0, 255)
    with nogil:
        axk_scalar_gemm(&table, m, n, k, a_data, w_data, sums)


def lstm_gates(
    size_t isa_index,
    int threads,
    const float[:, :] inputs,          # IN  (rows, 4 size), values of a row side by side
    const float[:, ::1] hidden,        # IN  (rows, 4 size)
    const float[:, ::1] cell,          # IN  (rows, size)
    float[:, ::1] next_hidden,         # OUT (rows, size)
    float[:, ::1] next_cell,           # OUT (rows, size)
    float[:, ::1] gates=None,          # OUT (rows, 4 size), after their non-linearities
):
    """Finish a step of an LSTM from its products; the gates are in the order i, f, g, o."""
    cdef const axk_isa *isa = isa_at(isa_index)
    cdef axk_lstm_step step
    cdef Py_ssize_t rows = cell.shape[0], size = cell.shape[1]

    if inputs.shape[0] != rows or inputs.shape[1] != 4 * size:
        raise ArgumentError("`inputs` must have the rows of `cell`, four times as wide")
    if hidden.shape[0] != rows or hidden.shape[1] != 4 * size:
        raise ArgumentError("`hidden` must have the rows of `cell`, four times as wide")
    if next_hidden.shape[0] != rows or next_hidden.shape[1] != size:
        raise ArgumentError("`next_hidden` must be shaped as `cell`")
    if next_cell.shape[0] != rows or next_cell.shape[1] != size:
        raise ArgumentError("`next_cell` must be shaped as `cell`")
    if gates is not None and (gates.shape[0] != rows or gates.shape[1] != 4 * size):
        raise ArgumentError("`gates` must have the rows of `cell`, four times as wide")
    if rows == 0 or size == 0:
        return
    if threads < 1 or (inputs.strides[1] != sizeof(float) and inputs.shape[1] > 1):
        raise ArgumentError("`threads` must be at least 1, the values of `inputs` side by side")
    step.rows, step.size = rows, size
    step.inputs, step.input_stride = &inputs[0, 0], inputs.strides[0] // <Py_ssize_t>sizeof(float)
    step.hidden, step.cell = &hidden[0, 0], &cell[0, 0]
    step.next_hidden, step.next_cell = &next_hidden[0, 0], &next_cell[0, 0]
    step.gates = NULL
    if gates is not None:
        step.gates = &gates[0, 0]
    with nogil:
        axk_lstm_gates(isa, threads, &step)


cdef class Operation:
    """An emulated convolution, which `run` applies to inputs any number of times.

    The constructor checks every argument. Arrays are kept alive and not copied: they must not
    change afterwards. `run` changes nothing here, so several threads may call it at a
    time.

    Args:
        isa_index: Position of the instruction set in `instruction_sets`.
        method: "terms", "depthwise" (terms, with one channel in and out of every group),
            "residual" (one term less a residual), "rows", "pixel_lanes" or "channel_lanes".
        weight_shape: Output channels, channels of a group, kernel height and width.
        stride: Rows and columns between windows.
        dilation: Rows and columns between the taps of a window.
        padding: Rows above and columns left of the input.
        groups: Independent groups of channels.
        weights: ``(bytes,)`` uint8. Terms: the weight factors in the layout of axk_terms; other
            methods: the weight codes in the layout of axk_operation.
        maps: Terms: factor of every activation code, ``(terms, 256)`` uint8.
        masks: Terms: ``(terms,)`` int16, m where the map is ``code & m``, else -1.
        row_scale: Terms: ``row_scale * (code & row_mask)`` is added for every product.
        row_mask: See ``row_scale``.
        rows: Residual of every activation code and class, ``(256, 16)`` uint8, 0..127.
        classes: Residual classes of the weights, ``(weights,)`` uint8 in the layout of axk_terms.
        columns: Table: entries without ``table_bias``, ``(256, 256)`` uint16 at [w, a], for
            "channel_lanes" at [a, w].
        planes: Table: low and high bytes of ``columns``, ``(256, 2, 256)`` uint8, aligned to a
            cache line.
        table_bias: Table: constant that is added to every entry.
        offset: Added to the sums before they become floats, ``(out_channels,)`` int32. Without it
            the operation has no float results.
        zero_point: ``zero_point * (sum of the window's codes)`` is subtracted from float results,
            ``(out_channels,)`` int32, or None.
        scale: Scale of float results, ``(out_channels,)`` float32.
        bias: Bias of float results, ``(out_channels,)`` float32.
        code_map: Code of every level, ``(256,)`` uint8; None if codes equal levels.
        shift: s where every code is ``min(level, 255 >> s) << s``, else -1.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """

    cdef axk_operation op
    cdef const axk_isa *isa
    cdef object arrays           # kept alive
    cdef readonly size_t nbytes  # of the weights

    def __cinit__(
        self,
        *,
        isa_index,
        method,
        weight_shape,
        stride,
        dilation,
        padding,
        groups,
        weights,
        maps=None,
        masks=None,
        row_scale=0,
        row_mask=0,
        rows=None,
        classes=None,
        columns=None,
        planes=None,
        table_bias=0,
        offset=None,
        zero_point=None,
        scale=None,
        bias=None,
        code_map=None,
        shift=-1,
    ):
        self.isa = isa_at(integer("isa_index", isa_index, 0, _MOST))
        if method not in _METHODS:
            raise ArgumentError(f"`method` must be one of {', '.join(_METHODS)}, got {method!r}.")
        self.op.method = _METHODS[method]
        self.set_geometry(weight_shape, stride, dilation, padding, groups)
        self.op.terms.residual = NULL
        if method in ("terms", "depthwise", "residual"):
            self.set_terms(maps, masks, row_scale, row_mask, weights)
        else:
            self.set_table(columns, planes, table_bias, weights)
        if method == "residual":
            self.set_residual(rows, classes)
        if offset is not None:
            self.set_output(offset, zero_point, scale, bias)
        self.set_code_map(code_map, shift)
        self.nbytes = weights.nbytes + (classes.nbytes if method == "residual" else 0)
        self.arrays = (
            weights, maps, masks, rows, classes, columns, planes, offset, zero_point, scale, bias,
            code_map,
        )

    cdef set_geometry(self, weight_shape, stride, dilation, padding, groups):
        cdef axk_conv2d *c = &self.op.conv
        c.out_channels, group_channels, c.kernel_height, c.kernel_width = integers(
            "weight_shape", weight_shape, 4, 1
        )
        c.groups = integer("groups", groups, 1, _MOST)
        if c.out_channels % c.groups:
            raise ArgumentError(
                f"`groups` must divide the {c.out_channels} output channels, got {groups}."
            )
        c.channels = integer("weight_shape", group_channels * groups, 1, _MOST)
        c.stride_y, c.stride_x = integers("stride", stride, 2, 1)
        c.dilation_y, c.dilation_x = integers("dilation", dilation, 2, 1)
        c.pad_top, c.pad_left = integers("padding", padding, 2, 0)
        depthwise = c.channels == c.groups and c.out_channels == c.groups
        if self.op.method == AXK_DEPTHWISE and not depthwise:
            raise ArgumentError(
                "`method` must not be 'depthwise' with several channels in a group, "
                f"got `weight_shape` {weight_shape} and `groups` {groups}."
            )

    cdef set_terms(self, maps, masks, row_scale, row_mask, weights):
        cdef axk_conv2d *c = &self.op.conv
        cdef axk_terms *terms = &self.op.terms
        depthwise = self.op.method == AXK_DEPTHWISE
        count = len(maps) if isinstance(maps, np.ndarray) and maps.ndim else 0
        if count == 0:
            raise ArgumentError(f"`maps` must have at least one term, got {maps!r}.")
        terms.count = count
        terms.maps = <const uint8_t *>address("maps", maps, np.uint8, (count, 256))
        terms.masks = <const int16_t *>address("masks", masks, np.int16, (count,))
        check_range("masks", masks, -1, 255)
        masked = masks >= 0
        if not np.array_equal(maps[masked], _CODES & masks[masked, None]):
            raise ArgumentError("`maps` must be `code & mask` where `masks` holds a mask.")
        # a depthwise layer computes no sums of codes: pack_depthwise makes this part a term
        terms.row_scale = 0 if depthwise else integer("row_scale", row_scale, -2**31, 2**31 - 1)
        if depthwise and row_scale != 0:
            raise ArgumentError(f"`row_scale` must be 0 in a depthwise layer, got {row_scale!r}.")
        terms.row_mask = integer("row_mask", row_mask, 0, 255)
        code_bytes = 2 if depthwise else self.isa.code_bytes
        if depthwise:
            n_bytes = 2 * c.kernel_height * c.kernel_width * count * c.channels
        else:
            n_bytes = code_bytes * self.packed_weights()
        terms.weights = <const void *>address("weights", weights, np.uint8, (n_bytes,))
        if <size_t>terms.weights % <size_t>code_bytes:
            raise ArgumentError("`weights` must lie on a multiple of 2 bytes.")
        if code_bytes == 2:
            check_range("weights", weights.view(np.int16), -128, 127)

    cdef object packed_weights(self):
        """Return the number of weights of a dense layer, with the padding of blocks and units."""
        cdef axk_conv2d *c = &self.op.conv
        unit = _UNIT // self.isa.code_bytes
        blocks = _divide_up(c.out_channels // c.groups, _LANES)
        units = _divide_up(self.op.terms.count * (c.channels // c.groups), unit)
        taps = c.kernel_height * c.kernel_width
        return c.groups * blocks * _LANES * taps * units * unit

    cdef set_residual(self, rows, classes):
        cdef axk_terms *terms = &self.op.terms
        if terms.count != 1:
            raise ArgumentError(f"`maps` must have one term beside a residual, got {terms.count}.")
        terms.residual = <const uint8_t *>address("rows", rows, np.uint8, (256, _CLASSES))
        check_range("rows", rows, 0, 127)
        count = self.packed_weights()
        terms.classes = <const uint8_t *>address("classes", classes, np.uint8, (count,))
        unit = _UNIT // self.isa.code_bytes
        if not np.array_equal(classes.reshape(-1, unit) // _CLASSES, _positions(count, unit)):
            raise ArgumentError("`classes` must hold 16 times the position in the unit plus 0..15.")

    cdef set_table(self, columns, planes, table_bias, weights):
        cdef axk_conv2d *c = &self.op.conv
        cdef axk_table *table = &self.op.table
        table.columns = <const uint16_t *>address("columns", columns, np.uint16, (256, 256))
        table.planes = <const uint8_t *>address("planes", planes, np.uint8, (256, 2, 256))
        if <size_t>table.planes % 64:
            raise ArgumentError("`planes` must lie on a multiple of 64 bytes.")
        table.bias = integer("table_bias", table_bias, -2**31, 2**31 - 1)
        group_channels, outputs = c.channels // c.groups, c.out_channels
        if self.op.method == AXK_CHANNEL_LANES:
            outputs = c.groups * (_divide_up(c.out_channels // c.groups, _TILE) * _TILE)
        n_bytes = outputs * group_channels * c.kernel_height * c.kernel_width
        self.op.weight_codes = <const uint8_t *>address("weights", weights, np.uint8, (n_bytes,))

    cdef set_output(self, offset, zero_point, scale, bias):
        cdef axk_sink *sink = &self.op.sink
        shape = (self.op.conv.out_channels,)
        sink.offset = <const int32_t *>address("offset", offset, np.int32, shape)
        sink.zero_point = NULL
        if zero_point is not None:
            if self.op.method == AXK_DEPTHWISE:
                raise ArgumentError("`zero_point` must be None in a depthwise layer.")
            sink.zero_point = <const int32_t *>address("zero_point", zero_point, np.int32, shape)
        sink.scale = <const float *>address("scale", scale, np.float32, shape)
        sink.bias = <const float *>address("bias", bias, np.float32, shape)

    cdef set_code_map(self, code_map, shift):
        cdef axk_code_map *map = &self.op.source.map
        map.codes = NULL
        map.shift = integer("shift", shift, -1, 7)
        if code_map is None:
            return
        map.codes = <const uint8_t *>address("code_map", code_map, np.uint8, (256,))
        if shift >= 0 and not np.array_equal(code_map, np.minimum(_CODES, 255 >> shift) << shift):
            raise ArgumentError(f"`code_map` must be that of `shift` = {shift}.")

    def run(
        self,
        int threads,
        source,                # IN  (images, channels, height, width) float32, or uint8 codes
        float inverse_scale,
        zero_point,            # IN  level of zero, 0..255
        out,                   # OUT (images, height, width, channels) float32, or int32 sums
        tuple bounds=(-INFINITY, INFINITY),  # IN  float32 results are clamped to these
    ):
        """Fill ``out`` with the results for ``source``."""
        cdef axk_operation op = self.op
        cdef int status

        if threads < 1:
            raise ArgumentError(f"`threads` must be at least 1, got {threads}.")
        set_source(&op, source)
        op.source.inverse_scale = inverse_scale
        op.source.zero_point = integer("zero_point", zero_point, 0, 255)
        set_sink(&op, out)
        op.sink.low, op.sink.high = bounds
        if op.sink.values != NULL and op.sink.offset == NULL:
            raise ArgumentError("`out` must be int32: the operation was made without `offset`.")
        check_fit(&op.conv)
        with nogil:
            status = axk_execute(self.isa, threads, &op)
        if status != 0:
            raise MemoryError("no memory for the bands of the convolution")


def _divide_up(count, size):
    return -(-count // size)


def _positions(size_t count, size_t unit):
    """Return the position of every weight in its unit, ``(units, unit)``."""
    return np.broadcast_to(np.arange(unit), (count // unit, unit))


cdef set_source(axk_operation *op, source):
    """Check the input, which may have any strides, and store it in the operation."""
    cdef axk_conv2d *c = &op.conv
    cdef axk_source *s = &op.source
    cdef size_t data

    fits = (
        isinstance(source, np.ndarray)
        and (source.dtype == np.float32 or source.dtype == np.uint8)
        and source.ndim == 4
        and source.size
        and source.flags.aligned
    )
    if not fits:
        got = f"{source.dtype} {source.shape}" if isinstance(source, np.ndarray) else repr(source)
        raise ArgumentError(
            f"`source` must be an array of float32 or uint8 with 4 axes, not empty, got {got}."
        )
    shape, strides, item = source.shape, source.strides, source.itemsize
    if shape[1] != c.channels:
        raise ArgumentError(f"`source` must have {c.channels} channels, got {shape[1]}.")
    c.images, c.height, c.width = shape[0], shape[2], shape[3]
    s.stride_image, s.stride_channel = strides[0] // item, strides[1] // item
    s.stride_y, s.stride_x = strides[2] // item, strides[3] // item
    data = source.__array_interface__["data"][0]
    s.codes, s.values = NULL, NULL
    if item == 1:
        s.codes = <const uint8_t *>data
    else:
        s.values = <const float *>data


cdef set_sink(axk_operation *op, out):
    """Check the output array and store it in the operation, after `set_source`."""
    cdef axk_conv2d *c = &op.conv
    cdef size_t data

    shape = np.shape(out)
    fits = len(shape) == 4 and shape[0] == c.images and shape[3] == c.out_channels and all(shape)
    if not fits:
        raise ArgumentError(
            f"`out` must be ({c.images}, height, width, {c.out_channels}), got {shape}."
        )
    floats = out.dtype == np.float32
    data = address("out", out, np.float32 if floats else np.int32, shape)
    if not out.flags.writeable:
        raise ArgumentError("`out` must be writeable.")
    op.sink.sums, op.sink.values = NULL, NULL
    if floats:
        op.sink.values = <float *>data
    else:
        op.sink.sums = <int32_t *>data
    c.out_height, c.out_width = shape[1], shape[2]


cdef check_fit(const axk_conv2d *c):
    """Check that every window lies in the input, padded by as much at its end as at its start."""
    cdef size_t y = (c.out_height - 1) * c.stride_y + (c.kernel_height - 1) * c.dilation_y
    cdef size_t x = (c.out_width - 1) * c.stride_x + (c.kernel_width - 1) * c.dilation_x
    if max(c.height, c.width, c.out_height, c.out_width) > <size_t>1 << 32:
        raise ArgumentError("`source` and `out` must have at most 2**32 rows and columns.")
    if y >= c.height + 2 * c.pad_top or x >= c.width + 2 * c.pad_left:
        raise ArgumentError("`out` must not be larger than input, padding and kernel allow.")

# cython: language_level=3, embedsignature=True
"""Binding of the C kernels in csrc/. Callers check sizes; here everything fits (axopt.kernels)."""

from libc.math cimport INFINITY
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t


cdef extern from "axk.h" nogil:
    ctypedef struct axk_conv2d:
        size_t images, channels, height, width
        size_t out_channels, out_height, out_width
        size_t kernel_height, kernel_width
        size_t stride_y, stride_x, dilation_y, dilation_x
        size_t pad_top, pad_left
        size_t groups

    ctypedef struct axk_code_map:
        const uint8_t *codes
        int shift

    ctypedef struct axk_source:
        const uint8_t *codes
        const float *values
        ptrdiff_t stride_image, stride_channel, stride_y, stride_x
        float inverse_scale
        int32_t zero_point
        axk_code_map map

    ctypedef struct axk_sink:
        int32_t *sums
        float *values
        const int32_t *offset
        const int32_t *zero_point
        const float *scale
        const float *bias
        float low, high

    ctypedef struct axk_terms:
        size_t count
        const uint8_t *maps
        const int16_t *masks
        int32_t row_scale
        uint8_t row_mask
        const void *weights
        const uint8_t *residual
        const uint8_t *classes

    ctypedef struct axk_table:
        const uint16_t *columns
        const uint8_t *planes
        int32_t bias

    ctypedef enum axk_method:
        AXK_TERMS
        AXK_DEPTHWISE
        AXK_ROWS
        AXK_PIXEL_LANES
        AXK_CHANNEL_LANES

    ctypedef struct axk_operation:
        axk_method method
        axk_conv2d conv
        axk_source source
        axk_sink sink
        axk_terms terms
        axk_table table
        const uint8_t *weight_codes

    ctypedef struct axk_isa:
        const char *name
        int (*supported)() noexcept nogil
        size_t code_bytes

    const axk_isa axk_isa_table[]
    const size_t axk_isa_count

    int axk_execute(const axk_isa *isa, int threads, const axk_operation *operation) noexcept
    void axk_scalar_gemm(const axk_table *table, size_t m, size_t n, size_t k,
                         const int32_t *a, const int32_t *w, int32_t *out) noexcept


cdef extern from "gates.h" nogil:
    ctypedef struct axk_lstm_step:
        size_t rows, size
        const float *inputs
        ptrdiff_t input_stride
        const float *hidden
        const float *cell
        float *next_hidden
        float *next_cell
        float *gates

    void axk_lstm_gates(const axk_isa *isa, int threads, const axk_lstm_step *step) noexcept


_TABLE_METHODS = {
    "rows": AXK_ROWS,
    "pixel_lanes": AXK_PIXEL_LANES,
    "channel_lanes": AXK_CHANNEL_LANES,
}


def instruction_sets():
    """Return ``(name, supported here)`` of every instruction set compiled in, fastest first."""
    return [
        (axk_isa_table[i].name.decode("ascii"), bool(axk_isa_table[i].supported()))
        for i in range(axk_isa_count)
    ]


def code_bytes(size_t isa_index):
    """Return the bytes of an expanded code: weights are int8 (1) or int16 (2) like it."""
    return isa_at(isa_index).code_bytes


cdef axk_table view_table(
    const uint16_t[:, ::1] columns,    # IN  [w][a]
    const uint8_t[:, :, ::1] planes,   # IN  [w][2][a]
    int32_t bias,
):
    if columns.shape[0] != 256 or columns.shape[1] != 256:
        raise ValueError("`columns` must have shape (256, 256)")
    if planes.shape[0] != 256 or planes.shape[1] != 2 or planes.shape[2] != 256:
        raise ValueError("`planes` must have shape (256, 2, 256)")
    cdef axk_table table
    table.columns = &columns[0, 0]
    table.planes = &planes[0, 0, 0]
    table.bias = bias
    return table


cdef const axk_isa *isa_at(size_t index) except NULL:
    if index >= axk_isa_count or not axk_isa_table[index].supported():
        raise ValueError(f"no supported instruction set has index {index}")
    return &axk_isa_table[index]


def scalar_gemm(
    const uint16_t[:, ::1] columns,
    int32_t bias,
    const int32_t[:, ::1] a,           # IN  (m, k), codes
    const int32_t[:, ::1] w,           # IN  (n, k), codes
    int32_t[:, ::1] out,               # OUT (m, n)
):
    """Fill ``out`` by one scalar look-up per product in one thread: the baseline of the bench."""
    cdef axk_table table
    cdef size_t m = a.shape[0], k = a.shape[1], n = w.shape[0]

    if columns.shape[0] != 256 or columns.shape[1] != 256:
        raise ValueError("`columns` must have shape (256, 256)")
    if m == 0 or n == 0 or k == 0:
        raise ValueError("sizes must be at least 1")
    if <size_t>w.shape[1] != k or <size_t>out.shape[0] != m or <size_t>out.shape[1] != n:
        raise ValueError("shapes of `a`, `w` and `out` do not fit")
    table.columns = &columns[0, 0]
    table.planes = NULL
    table.bias = bias
    with nogil:
        axk_scalar_gemm(&table, m, n, k, &a[0, 0], &w[0, 0], &out[0, 0])


def lstm_gates(
    size_t isa_index,
    int threads,
    const float[:, :] inputs,          # IN  (rows, 4 size), values of a row side by side
    const float[:, ::1] hidden,        # IN  (rows, 4 size)
    const float[:, ::1] cell,          # IN  (rows, size)
    float[:, ::1] next_hidden,         # OUT (rows, size)
    float[:, ::1] next_cell,           # OUT (rows, size)
    float[:, ::1] gates=None,          # OUT (rows, 4 size), behind their non-linearities
):
    """Finish a step of an LSTM from its products; the gates are in the order i, f, g, o."""
    cdef const axk_isa *isa = isa_at(isa_index)
    cdef axk_lstm_step step
    cdef Py_ssize_t rows = cell.shape[0], size = cell.shape[1]

    if inputs.shape[0] != rows or inputs.shape[1] != 4 * size:
        raise ValueError("`inputs` must have the rows of `cell`, four times as wide")
    if hidden.shape[0] != rows or hidden.shape[1] != 4 * size:
        raise ValueError("`hidden` must have the rows of `cell`, four times as wide")
    if next_hidden.shape[0] != rows or next_hidden.shape[1] != size:
        raise ValueError("`next_hidden` must be shaped as `cell`")
    if next_cell.shape[0] != rows or next_cell.shape[1] != size:
        raise ValueError("`next_cell` must be shaped as `cell`")
    if gates is not None and (gates.shape[0] != rows or gates.shape[1] != 4 * size):
        raise ValueError("`gates` must have the rows of `cell`, four times as wide")
    if rows == 0 or size == 0:
        return
    if threads < 1 or (inputs.strides[1] != sizeof(float) and inputs.shape[1] > 1):
        raise ValueError("`threads` must be at least 1, the values of `inputs` side by side")
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
    """An emulated convolution; set what it multiplies, then `run` it as often as wanted.

    The arrays that were set are kept alive; nothing is copied. `run` changes nothing here, so
    several threads may call it at a time.
    """

    cdef axk_operation op
    cdef object operands
    cdef object output
    cdef object code_map
    cdef readonly size_t nbytes  # of the weights

    def set_geometry(
        self,
        tuple weight_shape,    # (out channels, channels of a group, kernel height, width)
        tuple stride,
        tuple dilation,
        tuple pad_top_left,
        size_t groups,
    ):
        cdef axk_conv2d *c = &self.op.conv
        cdef size_t group_channels
        c.out_channels, group_channels, c.kernel_height, c.kernel_width = weight_shape
        c.channels = group_channels * groups
        c.stride_y, c.stride_x = stride
        c.dilation_y, c.dilation_x = dilation
        c.pad_top, c.pad_left = pad_top_left
        c.groups = groups

    def set_terms(
        self,
        const uint8_t[:, ::1] maps,
        const int16_t[::1] masks,
        int32_t row_scale,
        uint8_t row_mask,
        const uint8_t[::1] weights,
        bint depthwise,
    ):
        self.op.method = AXK_DEPTHWISE if depthwise else AXK_TERMS
        self.op.terms.count = maps.shape[0]
        self.op.terms.maps = &maps[0, 0]
        self.op.terms.masks = &masks[0]
        self.op.terms.row_scale = row_scale
        self.op.terms.row_mask = row_mask
        self.op.terms.weights = &weights[0]
        self.op.terms.residual = NULL
        self.operands = maps, masks, weights
        self.nbytes = weights.shape[0]

    def set_residual(
        self,
        const uint8_t[:, ::1] rows,        # IN  (256, 16), 0..127
        const uint8_t[::1] classes,        # IN  as axk.h says
    ):
        """Take the residual off the products of the one term that `set_terms` set."""
        if rows.shape[0] != 256 or rows.shape[1] != 16:
            raise ValueError("`rows` must have shape (256, 16)")
        if self.op.method != AXK_TERMS or self.op.terms.count != 1:
            raise ValueError("a residual belongs to one term in a dense layer")
        self.op.terms.residual = &rows[0, 0]
        self.op.terms.classes = &classes[0]
        self.operands = *self.operands, rows, classes
        self.nbytes += classes.shape[0]

    def set_table(
        self,
        const uint16_t[:, ::1] columns,    # IN  [w][a]; [a][w] for "channel_lanes"
        const uint8_t[:, :, ::1] planes,
        int32_t bias,
        const uint8_t[::1] weight_codes,   # IN  as axk.h says for the method
        str method,
    ):
        self.op.method = _TABLE_METHODS[method]
        self.op.table = view_table(columns, planes, bias)
        self.op.weight_codes = &weight_codes[0]
        self.operands = columns, planes, weight_codes
        self.nbytes = weight_codes.shape[0]

    def set_output(
        self,
        const int32_t[::1] offset,
        const int32_t[::1] zero_point,
        const float[::1] scale,
        const float[::1] bias,
    ):
        cdef axk_sink *sink = &self.op.sink
        sink.offset = &offset[0]
        sink.zero_point = NULL
        if zero_point is not None:
            sink.zero_point = &zero_point[0]
        sink.scale = &scale[0]
        sink.bias = &bias[0]
        self.output = offset, zero_point, scale, bias

    def set_code_map(
        self,
        const uint8_t[::1] codes,          # IN  (256,), of every level
        int shift,                         # IN  as axk.h says
    ):
        if codes.shape[0] != 256 or not -1 <= shift <= 7:
            raise ValueError("`codes` must have shape (256,) and `shift` be in -1..7")
        self.op.source.map.codes = &codes[0]
        self.op.source.map.shift = shift
        self.code_map = codes

    def run(
        self,
        size_t isa_index,
        int threads,
        source,                # IN  (images, channels, height, width) float32, or uint8 codes
        float inverse_scale,
        int32_t zero_point,
        out,                   # OUT (images, height, width, channels) float32, or int32 sums
        tuple bounds=(-INFINITY, INFINITY),  # IN  float32 results are clamped to
    ):
        cdef const axk_isa *isa = isa_at(isa_index)
        cdef axk_operation op = self.op
        cdef int status

        if threads < 1 or self.operands is None:
            raise ValueError("`threads` must be at least 1, and the operands set")
        if source.dtype.kind == "f":
            read_values(&op, source)
        else:
            read_codes(&op, source)
        op.source.inverse_scale = inverse_scale
        op.source.zero_point = zero_point
        op.sink.low, op.sink.high = bounds
        if out.dtype.kind == "f":
            if self.output is None:
                raise ValueError("`set_output` comes before `run` with float results")
            write_values(&op, out)
        else:
            write_sums(&op, out)
        check_fit(&op.conv)
        with nogil:
            status = axk_execute(isa, threads, &op)
        if status != 0:
            raise MemoryError("no memory for the bands of the convolution")


cdef read_values(axk_operation *op, const float[:, :, :, :] values):
    op.source.codes = NULL
    op.source.values = &values[0, 0, 0, 0]
    set_input(op, values.shape, values.strides, sizeof(float))


cdef read_codes(axk_operation *op, const uint8_t[:, :, :, :] codes):
    op.source.values = NULL
    op.source.codes = &codes[0, 0, 0, 0]
    set_input(op, codes.shape, codes.strides, sizeof(uint8_t))


cdef set_input(
    axk_operation *op, const Py_ssize_t *shape, const Py_ssize_t *strides, Py_ssize_t item
):
    cdef axk_source *source = &op.source
    cdef axk_conv2d *c = &op.conv
    if <size_t>shape[1] != c.channels:
        raise ValueError("the input's channels do not fit the weights")
    c.images, c.height, c.width = shape[0], shape[2], shape[3]
    source.stride_image, source.stride_channel = strides[0] // item, strides[1] // item
    source.stride_y, source.stride_x = strides[2] // item, strides[3] // item


cdef write_values(axk_operation *op, float[:, :, :, ::1] values):
    op.sink.sums = NULL
    op.sink.values = &values[0, 0, 0, 0]
    set_result(op, values.shape)


cdef write_sums(axk_operation *op, int32_t[:, :, :, ::1] sums):
    op.sink.values = NULL
    op.sink.sums = &sums[0, 0, 0, 0]
    set_result(op, sums.shape)


cdef set_result(axk_operation *op, const Py_ssize_t *shape):
    cdef axk_conv2d *c = &op.conv
    if <size_t>shape[0] != c.images or <size_t>shape[3] != c.out_channels:
        raise ValueError("the output's images or channels do not fit input and weights")
    c.out_height, c.out_width = shape[1], shape[2]


cdef check_fit(const axk_conv2d *c):
    """No window may begin behind the input, however it is padded at the end."""
    cdef size_t y = (c.out_height - 1) * c.stride_y + (c.kernel_height - 1) * c.dilation_y
    cdef size_t x = (c.out_width - 1) * c.stride_x + (c.kernel_width - 1) * c.dilation_x
    if y >= c.height + 2 * c.pad_top or x >= c.width + 2 * c.pad_left:
        raise ValueError("the output is larger than input, padding and kernel allow")

# cython: language_level=3, embedsignature=True
"""Binding of the C kernels in csrc/. Callers check sizes; here everything fits (axopt.kernels)."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t


cdef extern from "lut_gemm.h" nogil:
    ctypedef struct axk_table:
        const uint16_t *columns
        const uint8_t *planes
        int32_t bias

    ctypedef struct axk_isa:
        const char *name
        int (*supported)() noexcept nogil

    ctypedef struct axk_conv2d:
        size_t images, channels, height, width
        size_t out_channels, out_height, out_width
        size_t kernel_height, kernel_width
        size_t stride_y, stride_x, dilation_y, dilation_x
        size_t groups

    const axk_isa axk_isa_table[]
    const size_t axk_isa_count

    int axk_gemm(const axk_isa *isa, int threads, const axk_table *table,
                 size_t m, size_t n, size_t k,
                 const uint8_t *a, const uint8_t *w, int32_t *out) noexcept
    int axk_conv2d_run(const axk_isa *isa, int threads, const axk_table *table,
                       const axk_conv2d *conv,
                       const uint8_t *x, const uint8_t *w, int32_t *out) noexcept


def instruction_sets():
    """Return ``(name, supported here)`` of every instruction set compiled in, fastest first."""
    return [
        (axk_isa_table[i].name.decode("ascii"), bool(axk_isa_table[i].supported()))
        for i in range(axk_isa_count)
    ]


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


def gemm(
    size_t isa_index,
    int threads,
    const uint16_t[:, ::1] columns,
    const uint8_t[:, :, ::1] planes,
    int32_t bias,
    const uint8_t[:, ::1] a,           # IN  (m, k)
    const uint8_t[:, ::1] w,           # IN  (n, k)
    int32_t[:, ::1] out,               # OUT (m, n)
):
    """Fill ``out[i, j]`` with the sum over p of the table entries of ``(a[i, p], w[j, p])``."""
    cdef axk_table table = view_table(columns, planes, bias)
    cdef const axk_isa *isa = isa_at(isa_index)
    cdef size_t m = a.shape[0], k = a.shape[1], n = w.shape[0]
    cdef int status

    if m == 0 or n == 0 or k == 0 or threads < 1:
        raise ValueError("sizes and `threads` must be at least 1")
    if <size_t>w.shape[1] != k or <size_t>out.shape[0] != m or <size_t>out.shape[1] != n:
        raise ValueError("shapes of `a`, `w` and `out` do not fit")
    with nogil:
        status = axk_gemm(isa, threads, &table, m, n, k, &a[0, 0], &w[0, 0], &out[0, 0])
    if status != 0:
        raise MemoryError("no memory for the tiles of the product")


def conv2d(
    size_t isa_index,
    int threads,
    const uint16_t[:, ::1] columns,
    const uint8_t[:, :, ::1] planes,
    int32_t bias,
    const uint8_t[:, :, :, ::1] x,     # IN  (images, channels, height, width), padded
    const uint8_t[:, :, :, ::1] w,     # IN  (out channels, channels / groups, height, width)
    tuple stride,
    tuple dilation,
    size_t groups,
    int32_t[:, :, :, ::1] out,         # OUT (images, out channels, height, width)
):
    """Fill ``out`` with the cross-correlation of ``x`` and ``w``, products from the table."""
    cdef axk_table table = view_table(columns, planes, bias)
    cdef const axk_isa *isa = isa_at(isa_index)
    cdef axk_conv2d c
    cdef int status

    c.images, c.channels, c.height, c.width = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    c.out_channels, c.out_height, c.out_width = out.shape[1], out.shape[2], out.shape[3]
    c.kernel_height, c.kernel_width = w.shape[2], w.shape[3]
    c.stride_y, c.stride_x = stride
    c.dilation_y, c.dilation_x = dilation
    c.groups = groups
    if x.size == 0 or w.size == 0 or out.size == 0 or groups == 0 or threads < 1:
        raise ValueError("sizes and `threads` must be at least 1")
    if (
        <size_t>out.shape[0] != c.images
        or <size_t>w.shape[0] != c.out_channels
        or c.out_channels % groups != 0
        or <size_t>w.shape[1] * groups != c.channels
        or (c.out_height - 1) * c.stride_y + (c.kernel_height - 1) * c.dilation_y >= c.height
        or (c.out_width - 1) * c.stride_x + (c.kernel_width - 1) * c.dilation_x >= c.width
    ):
        raise ValueError("shapes of `x`, `w` and `out` do not fit")
    with nogil:
        status = axk_conv2d_run(
            isa, threads, &table, &c, &x[0, 0, 0, 0], &w[0, 0, 0, 0], &out[0, 0, 0, 0]
        )
    if status != 0:
        raise MemoryError("no memory for the tiles of the convolution")

# What the binding uses of csrc/: the headers say what everything means.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t


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

/* Emulated convolutions: exact int32 sums of table products, from activations to results.
 *
 * One operation (axk_operation) reads activations, quantises them where they are floats, sums the
 * products of every window and writes the sums, or the dequantised results. A matrix product is a
 * convolution of one line with a 1x1 kernel. The table of products is either a few separable
 * terms, each an ordinary u8 x s8 product, or looked up.
 *
 * The driver (driver.c) cuts the output into bands and spreads them over threads; a band's codes
 * are laid out once (band.c) and then summed (terms.c, rows.c, lanes.c) by the micro-kernels of
 * one instruction set, chosen at run time from axk_isa_table.
 *
 * All sums are uint32_t and wrap around at 2^32, which C defines for unsigned integers only. The
 * caller guarantees that the true sum, zero-point sums included, fits int32, so the wrapped sum,
 * read as int32, is exact in any order of additions.
 */
#ifndef AXK_H
#define AXK_H

#include <stddef.h>
#include <stdint.h>

#include "gates.h"

enum {
    AXK_CODES = 256,  /* an operand code is a byte */
    AXK_QUAD = 4,     /* neighbouring output pixels that a kernel treats together */
    AXK_LANES = 16,   /* output channels in a block of packed weights */
    AXK_UNIT = 4,     /* bytes that packed weights and expanded codes are multiples of */
    AXK_CLASSES = 16, /* of weights: bytes in a row of a residual */
};

/* Shape of a convolution; `height` and `width` are without padding. All sizes > 0. */
typedef struct axk_conv2d {
    size_t images, channels, height, width;
    size_t out_channels, out_height, out_width;
    size_t kernel_height, kernel_width;
    size_t stride_y, stride_x, dilation_y, dilation_x;
    size_t pad_top, pad_left; /* what is below and right follows from the output's size */
    size_t groups;            /* divides channels and out_channels */
} axk_conv2d;

/* A code for every level of a quantiser. */
typedef struct axk_code_map {
    const uint8_t *codes; /* [256]; NULL: levels are codes */
    int shift;            /* codes[n] = min(n, 255 >> shift) << shift; -1: no such map */
} axk_code_map;

/* The activations: codes, or floats of which the code is map.codes[level] with the level
 * clamp(round(value * inverse_scale) + zero_point, 0, 255). Strides count elements. */
typedef struct axk_source {
    const uint8_t *codes; /* one of the two is NULL */
    const float *values;
    ptrdiff_t stride_image, stride_channel, stride_y, stride_x;
    float inverse_scale;
    int32_t zero_point; /* 0 .. 255; also the level of padded positions */
    axk_code_map map;   /* of values and padding, not of what are codes already */
} axk_source;

/* Where the sums go, as [image][y][x][output channel]: as they are, or as
 * (sum + offset - zero_point * (sum of the window's codes)) * scale + bias, clamped to low .. high. */
typedef struct axk_sink {
    int32_t *sums; /* one of the two is NULL */
    float *values;
    const int32_t *offset;     /* per output channel; used for values only */
    const int32_t *zero_point; /* per output channel; NULL: none */
    const float *scale;        /* per output channel; used for values only */
    const float *bias;         /* per output channel; used for values only */
    float low, high;
} axk_sink;

/* Entry (a, w) of the table = sum over t < count of map_t(a) * weight_t(w)
 * + row_scale * (a & row_mask) + a part that depends on w only and is in the sink's offset,
 * less residual[a][class of w] if there is a residual: then count is 1 and the layer dense. */
typedef struct axk_terms {
    size_t count;
    const uint8_t *maps;  /* [count][256] */
    const int16_t *masks; /* [count]: map_t(a) = a & mask, or -1 where it is another map */
    int32_t row_scale;
    uint8_t row_mask;
    /* Dense: [group][block of 16 channels][ky][kx][unit of (term, channel)][16][AXK_UNIT bytes],
     * the innermost as int8 or int16, as the instruction set's code_bytes says, filled up with 0.
     * Depthwise (one channel in and out of every group): int16 [ky][kx][term][channel].
     * In int16 too, weights are -128 .. 127. */
    const void *weights;
    const uint8_t *residual; /* [256][AXK_CLASSES], 0 .. 127; NULL: none */
    /* Classes of the weights, in their order and in units of as many codes:
     * 16 * (position in the unit) + class, filled up with any class. */
    const uint8_t *classes;
} axk_terms;

/* A product table, column after column, as 16-bit entries and as byte planes.
 * Entry (a, w) of the table is columns[w * AXK_CODES + a] + bias. */
typedef struct axk_table {
    const uint16_t *columns; /* [w][a] */
    const uint8_t *planes;   /* [w][2][a]: low bytes, then high bytes; 64-byte aligned */
    int32_t bias;
} axk_table;

enum {
    AXK_TILE_M = 256,   /* lanes of a tile: four 64-byte vectors */
    AXK_TILE_K = 128,   /* products summed per tile: its codes are 32 KB */
    AXK_ROW_ALIGN = 64, /* a tile's lanes are filled up to this, so vectors need no tail */
};

/* Codes of neighbouring lanes: codes[d * AXK_TILE_M + i] is product d of lane i. Lanes from `rows`
 * up to the next multiple of AXK_ROW_ALIGN hold any codes; what a kernel sums there is ignored. */
typedef struct axk_tile {
    const uint8_t *codes;
    size_t rows;  /* 1 .. AXK_TILE_M */
    size_t depth; /* 1 .. AXK_TILE_K */
} axk_tile;

/* Adds to sums[j * AXK_TILE_M + i], for j < n and i < rows, the entries (bias left out) of
 * codes[d][i] with weights[j * weight_stride + d] over all d < depth. */
typedef void axk_tile_fn(const axk_table *table, const axk_tile *tile, size_t n,
                         const uint8_t *weights, size_t weight_stride, uint32_t *sums);

/* Product rows: for every tap of a few and every activation code, the entries of the code with
 * the weights of a block of output channels, so that a pixel's code adds a whole row to its sums.
 * Word j of a row holds channel j and, 16 bits up, channel width / 2 + j. */
enum {
    AXK_ROW_WIDTH = 32, /* channels in a block: this or, at the end, half of it */
    AXK_ROW_TAPS = 8,   /* taps whose rows are built together: 128 KB */
};

/* Lines of output pixels of a band: lines[i] is the code of line i's first pixel's first tap. */
typedef struct axk_lines {
    const uint8_t *const *lines;
    size_t count, pixels, pixel_step;
} axk_lines;

typedef struct axk_rows {
    /* rows[a * width / 2 + j], for first <= a < last, of one tap; first and last are multiples
     * of 8. order[2 j] and order[2 j + 1] are the weight codes of word j. */
    void (*build)(const uint16_t *columns, const uint8_t *order, size_t width, size_t first,
                  size_t last, uint32_t *rows);
    /* For every pixel, in order, adds the rows of its `taps` codes to its `width` sums, or starts
     * them: words go to the first half, their upper 16 bits to the second. */
    void (*add)(const axk_lines *lines, const uint32_t *rows, const size_t *tap_offset,
                size_t taps, size_t width, int start, uint32_t *sums);
    /* Separates the channels of the sums of `pixels` pixels and adds `constant`. */
    void (*settle)(uint32_t *sums, size_t pixels, size_t width, uint32_t constant);
} axk_rows;

typedef enum axk_method {
    AXK_TERMS,
    AXK_DEPTHWISE,     /* terms, one channel in and out of every group */
    AXK_ROWS,          /* product rows: many pixels, 16 or more channels out of a group */
    AXK_PIXEL_LANES,   /* in-register look-up, a weight's column for up to 256 pixels */
    AXK_CHANNEL_LANES, /* in-register look-up, a code's row for up to 256 output channels */
} axk_method;

typedef struct axk_operation {
    axk_method method;
    axk_conv2d conv;
    axk_source source;
    axk_sink sink;
    axk_terms terms; /* for AXK_TERMS and AXK_DEPTHWISE */
    /* For the other methods. AXK_CHANNEL_LANES takes the transposed table, columns[a][w], and
     * the weight codes as [group][block of AXK_TILE_M channels][ky][kx][channel][AXK_TILE_M],
     * filled up with any code; the others as [out channel][channel][ky][kx]. */
    axk_table table;
    const uint8_t *weight_codes;
} axk_operation;

/* The window of an output pixel in expanded codes: `runs` contiguous pieces. */
typedef struct axk_window {
    size_t runs;
    const size_t *run_offset; /* [runs], bytes from the window's first code */
    size_t run_bytes;         /* multiple of AXK_UNIT */
    size_t pixel_step;        /* bytes from one output pixel's window to its neighbour's */
} axk_window;

/* sums[(4 q + p) * stride + 16 b + lane] = products of pixel p of quad q and channel 16 b + lane.
 * quads[q] is the window of the first of four neighbouring pixels. */
typedef void axk_dot_fn(const axk_window *window, const uint8_t *const *quads, size_t quad_count,
                        const void *weights, size_t block_bytes, size_t blocks, uint32_t *sums,
                        size_t stride);

/* What is taken off the products of a band: a row of bytes for every expanded code. */
typedef struct axk_residual {
    const uint8_t *codes; /* the band's first expanded code, */
    const uint8_t *rows;  /* its row, and those of the codes behind it; 64-byte aligned */
    const uint8_t *classes;
} axk_residual;

/* Like axk_dot_fn, less residual rows[code][class of the weight] for every product; a block of
 * channels has block_bytes of weights and a byte for every weight in classes. */
typedef void axk_residual_fn(const axk_window *window, const axk_residual *residual,
                             const uint8_t *const *quads, size_t quad_count, const void *weights,
                             size_t block_bytes, size_t blocks, uint32_t *sums, size_t stride);

/* A line of neighbouring windows of a depthwise layer: for every pixel and channel c,
 * sums[pixel * channels + c] = sum over taps and terms of the code at
 * code + pixel * pixel_step + tap_offset[tap] + (term * channels + c) codes, times
 * weights[(tap * terms + term) * channels + c]. */
typedef struct axk_depthwise_line {
    size_t pixels, pixel_step;
    size_t channels, terms, taps;
    const size_t *tap_offset; /* bytes */
    const char *code;
} axk_depthwise_line;

typedef void axk_depthwise_fn(const axk_depthwise_line *line, const int16_t *weights,
                              uint32_t *sums);

/* Sums of neighbouring output pixels on their way to results. */
typedef struct axk_result_line {
    size_t pixels, channels, first_channel;
    const uint32_t *sums;
    size_t sum_stride;
    const uint32_t *plain; /* per pixel, added; NULL: none */
    const uint32_t *zeros; /* per pixel, sum of the window's codes; NULL: none */
    size_t window_stride; /* between pixels in plain and zeros */
    float *values;
    size_t value_stride;
    int large; /* the whole result is: no cache will keep it until it is read */
} axk_result_line;

/* The element-wise passes before and after the products. */
typedef struct axk_edges {
    /* codes[i] of n contiguous values */
    void (*quantise)(const float *values, size_t n, float inverse_scale, int32_t zero_point,
                     uint8_t *codes);
    /* the codes of n levels, in place; map.codes is not NULL */
    void (*map)(uint8_t *levels, size_t n, const axk_code_map *map);
    /* [n][channels] codes to [n][terms][channels] expanded codes, pixels pixel_bytes apart */
    void (*expand)(const uint8_t *codes, size_t n, size_t channels, size_t code_stride,
                   const axk_terms *terms, size_t pixel_bytes, void *expanded);
    /* rows[i] = table[codes[i]], of AXK_CLASSES bytes each, for n codes */
    void (*fetch_rows)(const uint8_t *codes, size_t n, const uint8_t *table, uint8_t *rows);
    /* sums of a line to values, as axk_sink says */
    void (*finish)(const axk_result_line *line, const axk_sink *sink);
} axk_edges;

extern const axk_edges axk_edges__portable;
extern const axk_rows axk_rows__portable;
extern const axk_rows axk_rows__ref;
axk_tile_fn axk_lut_tile__ref;
axk_tile_fn axk_lut_tile__portable;
axk_dot_fn axk_dot__portable;
axk_residual_fn axk_residual__portable;
axk_depthwise_fn axk_depthwise__portable;
axk_dot_fn axk_dot__ref;
axk_residual_fn axk_residual__ref;
axk_depthwise_fn axk_depthwise__ref;
#if defined(__x86_64__)
extern const axk_rows axk_rows__avx2;
extern const axk_rows axk_rows__avx512;
axk_tile_fn axk_lut_tile__avx512vbmi;
extern const axk_edges axk_edges__avx2;
axk_dot_fn axk_dot__avx2;
axk_residual_fn axk_residual__avx2;
axk_depthwise_fn axk_depthwise__avx2;
extern const axk_edges axk_edges__avx512;
extern const axk_edges axk_edges__avx512vbmi;
axk_dot_fn axk_dot__avx512vnni;
axk_residual_fn axk_residual__avx512vnni;
axk_residual_fn axk_residual__avx512vbmi;
axk_depthwise_fn axk_depthwise__avx512vnni;
#endif

typedef struct axk_isa {
    const char *name;
    int (*supported)(void);
    size_t code_bytes; /* of an expanded code: 1 (uint8) or 2 (int16) */
    const axk_edges *edges;
    axk_dot_fn *dot;
    axk_residual_fn *residual;
    axk_depthwise_fn *depthwise;
    const axk_rows *rows;
    axk_tile_fn *tile;
    axk_gates_fn *gates;
} axk_isa;

/* Every instruction set compiled in, fastest first. */
extern const axk_isa axk_isa_table[];
extern const size_t axk_isa_count;

/* Returns 0, or -1 if memory for the bands could not be had (the output is then undefined). */
int axk_execute(const axk_isa *isa, int threads, const axk_operation *operation);

/* What the kernels are measured against: one scalar look-up per product, operands already
 * unrolled. out[i][j] = sum over p < k of the entry of (a[i][p], w[j][p]). */
void axk_scalar_gemm(const axk_table *table, size_t m, size_t n, size_t k, const int32_t *a,
                     const int32_t *w, int32_t *out);

#endif

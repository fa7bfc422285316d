/* Emulated convolutions: exact int32 sums of table products.
 *
 * One operation (axk_operation) reads activations, quantises them if they are floats, sums the
 * products of every window and writes the sums, or the dequantised results. A matrix product is a
 * convolution of one line with a 1x1 kernel. Products are computed as a few separable terms, each
 * an ordinary u8 x s8 product, or looked up in a table.
 *
 * The driver (driver.c) cuts the output into bands and distributes them over threads. A band's
 * codes are laid out once (band.c). The micro-kernels of one instruction set, chosen at run time
 * from axk_isa_table, then sum their products (terms.c, rows.c, lanes.c).
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
    AXK_QUAD = 4,     /* neighbouring output pixels that a kernel processes together */
    AXK_LANES = 16,   /* output channels in a block of packed weights */
    AXK_UNIT = 4,     /* packed weights and expanded codes come in units of so many bytes */
    AXK_CLASSES = 16, /* classes of weights: bytes in a row of a residual */
};

/* Shape of a convolution; `height` and `width` are without padding. All sizes > 0. */
typedef struct axk_conv2d {
    size_t images, channels, height, width;
    size_t out_channels, out_height, out_width;
    size_t kernel_height, kernel_width;
    size_t stride_y, stride_x, dilation_y, dilation_x;
    size_t pad_top, pad_left; /* the output's size determines the padding below and right */
    size_t groups;            /* divides channels and out_channels */
} axk_conv2d;

/* The code of every level of a quantiser. */
typedef struct axk_code_map {
    const uint8_t *codes; /* [256]; NULL: codes equal levels */
    int shift;            /* codes[n] = min(n, 255 >> shift) << shift; -1: not of this form */
} axk_code_map;

/* The activations: codes, or floats. The code of a float is map.codes[level], where level is
 * clamp(round(value * inverse_scale) + zero_point, 0, 255). Strides count elements. */
typedef struct axk_source {
    const uint8_t *codes; /* either codes or values is NULL */
    const float *values;
    ptrdiff_t stride_image, stride_channel, stride_y, stride_x;
    float inverse_scale;
    int32_t zero_point; /* 0 .. 255; also the level of padded positions */
    axk_code_map map;   /* applies to values and padding, not to codes */
} axk_source;

/* The output, [image][y][x][output channel]: int32 sums, or the float values
 * (sum + offset - zero_point * (sum of the window's codes)) * scale + bias,
 * clamped to low .. high. */
typedef struct axk_sink {
    int32_t *sums; /* either sums or values is NULL */
    float *values;
    const int32_t *offset;     /* per output channel; used for values only */
    const int32_t *zero_point; /* per output channel; NULL: none */
    const float *scale;        /* per output channel; used for values only */
    const float *bias;         /* per output channel; used for values only */
    float low, high;
} axk_sink;

/* Entry (a, w) of the table = sum over t < count of map_t(a) * weight_t(w)
 * + row_scale * (a & row_mask) + a part that depends on w only and is in the sink's offset,
 * minus residual[a][class of w] if there is a residual; count is then 1 and the layer dense. */
typedef struct axk_terms {
    size_t count;
    const uint8_t *maps;  /* [count][256] */
    const int16_t *masks; /* [count]: the mask if map_t(a) = a & mask, else -1 */
    int32_t row_scale;
    uint8_t row_mask;
    /* Dense: [group][block of 16 channels][ky][kx][unit of (term, channel)][16][AXK_UNIT bytes],
     * elements int8 or int16 (axk_isa.code_bytes), padded with 0.
     * Depthwise (one channel in and out of every group): int16 [ky][kx][term][channel].
     * Weights are -128 .. 127 in both types. */
    const void *weights;
    const uint8_t *residual; /* [256][AXK_CLASSES], 0 .. 127; NULL: none */
    /* One byte per weight, in the order of `weights`: 16 * (position in its unit) + class. The
     * class of padding is arbitrary. */
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
    AXK_ROW_ALIGN = 64, /* a tile's lanes are padded to a multiple of this: vectors need no tail */
};

/* Codes of neighbouring lanes: codes[d * AXK_TILE_M + i] is the code of product d of lane i. Lanes
 * from `rows` up to the next multiple of AXK_ROW_ALIGN are padding, and their sums are ignored. */
typedef struct axk_tile {
    const uint8_t *codes;
    size_t rows;  /* 1 .. AXK_TILE_M */
    size_t depth; /* 1 .. AXK_TILE_K */
} axk_tile;

/* Adds to sums[j * AXK_TILE_M + i], for j < n and i < rows, the entries (without the bias) of
 * codes[d][i] with weights[j * weight_stride + d] over all d < depth. */
typedef void axk_tile_fn(const axk_table *table, const axk_tile *tile, size_t n,
                         const uint8_t *weights, size_t weight_stride, uint32_t *sums);

/* Product rows: a row holds the table entries of one activation code with the weights of one tap
 * in a block of output channels. A pixel's code then adds a whole row to the pixel's sums.
 * Word j of a row holds channel j in its lower and channel width / 2 + j in its upper 16 bits. */
enum {
    AXK_ROW_WIDTH = 32, /* channels in a block; the last block may have half as many */
    AXK_ROW_TAPS = 8,   /* taps whose rows are built together: 128 KB */
};

/* Lines of output pixels of a band: lines[i] points to the first tap of line i's first pixel. */
typedef struct axk_lines {
    const uint8_t *const *lines;
    size_t count, pixels, pixel_step;
} axk_lines;

typedef struct axk_rows {
    /* rows[a * width / 2 + j], for first <= a < last, of one tap; first and last are multiples
     * of 8. order[2 j] and order[2 j + 1] are the weight codes of word j. */
    void (*build)(const uint16_t *columns, const uint8_t *order, size_t width, size_t first,
                  size_t last, uint32_t *rows);
    /* For every pixel, in order, adds the rows of its `taps` codes to its `width` sums, which are
     * zero before if `start`: words to the first half, their upper 16 bits to the second. */
    void (*add)(const axk_lines *lines, const uint32_t *rows, const size_t *tap_offset,
                size_t taps, size_t width, int start, uint32_t *sums);
    /* Separates the channels of the sums of `pixels` pixels and adds `constant`. */
    void (*settle)(uint32_t *sums, size_t pixels, size_t width, uint32_t constant);
} axk_rows;

typedef enum axk_method {
    AXK_TERMS,
    AXK_DEPTHWISE,     /* terms, one channel in and out of every group */
    AXK_ROWS,          /* product rows: many pixels, 16 or more channels out of a group */
    AXK_PIXEL_LANES,   /* in-register look-up in a weight's column, for up to 256 pixels */
    AXK_CHANNEL_LANES, /* in-register look-up in a code's row, for up to 256 output channels */
} axk_method;

typedef struct axk_operation {
    axk_method method;
    axk_conv2d conv;
    axk_source source;
    axk_sink sink;
    axk_terms terms; /* for AXK_TERMS and AXK_DEPTHWISE */
    /* For the other methods. AXK_CHANNEL_LANES takes the transposed table, columns[a][w], and
     * the weight codes as [group][block of AXK_TILE_M channels][ky][kx][channel][AXK_TILE_M],
     * with arbitrary padding. The others take them as [out channel][channel][ky][kx]. */
    axk_table table;
    const uint8_t *weight_codes;
} axk_operation;

/* The window of an output pixel in expanded codes: `runs` contiguous pieces. */
typedef struct axk_window {
    size_t runs;
    const size_t *run_offset; /* [runs], bytes from the window's first code */
    size_t run_bytes;         /* multiple of AXK_UNIT */
    size_t pixel_step;        /* bytes between the windows of neighbouring output pixels */
} axk_window;

/* sums[(4 q + p) * stride + 16 b + lane] = products of pixel p of quad q and channel 16 b + lane.
 * quads[q] is the window of the first of four neighbouring pixels. */
typedef void axk_dot_fn(const axk_window *window, const uint8_t *const *quads, size_t quad_count,
                        const void *weights, size_t block_bytes, size_t blocks, uint32_t *sums,
                        size_t stride);

/* Residuals that are subtracted from the products of a band: AXK_CLASSES bytes for every expanded
 * code. */
typedef struct axk_residual {
    const uint8_t *codes; /* the band's first expanded code */
    const uint8_t *rows;  /* one row per expanded code, in their order; 64-byte aligned */
    const uint8_t *classes;
} axk_residual;

/* Like axk_dot_fn, minus the residual of every product: entry [class of the weight] of the code's
 * row. A block of channels has block_bytes bytes of weights and one byte of classes per weight. */
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

/* Sums of neighbouring output pixels, to be converted to results. */
typedef struct axk_result_line {
    size_t pixels, channels, first_channel;
    const uint32_t *sums;
    size_t sum_stride;
    const uint32_t *plain; /* per pixel, added to the sums; NULL: none */
    const uint32_t *zeros; /* per pixel, sum of the window's codes; NULL: none */
    size_t window_stride; /* between pixels in plain and zeros */
    float *values;
    size_t value_stride;
    int large; /* non-zero: the whole result is too large to stay in a cache until it is read */
} axk_result_line;

/* The element-wise passes before and after the products. */
typedef struct axk_edges {
    /* codes[i]: the levels of n contiguous values */
    void (*quantise)(const float *values, size_t n, float inverse_scale, int32_t zero_point,
                     uint8_t *codes);
    /* replaces n levels by their codes; map->codes is not NULL */
    void (*map)(uint8_t *levels, size_t n, const axk_code_map *map);
    /* [n][channels] codes to [n][terms][channels] expanded codes, pixels pixel_bytes apart */
    void (*expand)(const uint8_t *codes, size_t n, size_t channels, size_t code_stride,
                   const axk_terms *terms, size_t pixel_bytes, void *expanded);
    /* rows[i] = table[codes[i]], of AXK_CLASSES bytes each, for n codes */
    void (*fetch_rows)(const uint8_t *codes, size_t n, const uint8_t *table, uint8_t *rows);
    /* converts the sums of a line to values, as axk_sink states */
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

/* Returns 0, or -1 if the bands' memory cannot be allocated (the output is then undefined). */
int axk_execute(const axk_isa *isa, int threads, const axk_operation *operation);

/* The baseline of the bench: one scalar look-up per product, on operands that are already
 * unrolled. out[i][j] = sum over p < k of the entry of (a[i][p], w[j][p]). */
void axk_scalar_gemm(const axk_table *table, size_t m, size_t n, size_t k, const int32_t *a,
                     const int32_t *w, int32_t *out);

#endif

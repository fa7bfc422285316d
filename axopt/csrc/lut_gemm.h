/* Sums of table entries: the inner loop of an emulated convolution or matrix product.
 *
 * A driver (lut_gemm_driver.c) cuts the work into tiles, packs each tile's activation codes
 * K-major and hands it to one micro-kernel, chosen at run time from axk_isa_table. A new
 * instruction set is one file with one axk_tile_fn and one line of that table.
 *
 * All sums are taken modulo 2^32. The caller guarantees that the true sum fits int32, so the
 * wrapped sum, read as int32, is exact, whatever the order of the additions.
 */
#ifndef AXK_LUT_GEMM_H
#define AXK_LUT_GEMM_H

#include <stddef.h>
#include <stdint.h>

enum {
    AXK_CODES = 256,    /* an operand code is a byte */
    AXK_TILE_M = 256,   /* rows (output pixels) in a tile: four 64-byte vectors */
    AXK_TILE_K = 128,   /* products summed per tile: its codes are 32 KB */
    AXK_TILE_N = 256,   /* output channels whose sums a tile keeps (256 KB, in L2) */
    AXK_ROW_ALIGN = 64, /* packed rows are filled up to this, so vectors need no tail */
};

/* A product table, column after column, as 16-bit entries and as byte planes.
 * Entry (a, w) of the table is columns[w * AXK_CODES + a] + bias. */
typedef struct axk_table {
    const uint16_t *columns; /* [w][a] */
    const uint8_t *planes;   /* [w][2][a]: low bytes, then high bytes; 64-byte aligned */
    int32_t bias;
} axk_table;

/* Activation codes, packed: codes[d * AXK_TILE_M + i] is product d of row i. Rows from `rows` up
 * to the next multiple of AXK_ROW_ALIGN repeat row 0; what a kernel sums there is ignored. */
typedef struct axk_tile {
    const uint8_t *codes; /* 64-byte aligned */
    size_t rows;          /* 1 .. AXK_TILE_M */
    size_t depth;         /* 1 .. AXK_TILE_K */
} axk_tile;

/* Adds to sums[j * AXK_TILE_M + i], for j < n and i < rows, the entries (bias left out) of
 * codes[d][i] with weights[j * weight_stride + d] over all d < depth. */
typedef void axk_tile_fn(const axk_table *table, const axk_tile *tile, size_t n,
                         const uint8_t *weights, size_t weight_stride, uint32_t *sums);

axk_tile_fn axk_lut_tile__ref;
axk_tile_fn axk_lut_tile__portable;
#if defined(__x86_64__)
axk_tile_fn axk_lut_tile__avx512vbmi;
#endif

typedef struct axk_isa {
    const char *name;
    int (*supported)(void);
    axk_tile_fn *tile;
} axk_isa;

/* Every instruction set compiled in, fastest first. */
extern const axk_isa axk_isa_table[];
extern const size_t axk_isa_count;

/* out[i][j] = sum over p < k of the entry of (a[i][p], w[j][p]); m, n, k > 0.
 * Returns 0, or -1 if memory for the tiles could not be had (out is then undefined). */
int axk_gemm(const axk_isa *isa, int threads, const axk_table *table, size_t m, size_t n, size_t k,
             const uint8_t *a, const uint8_t *w, int32_t *out);

/* Shape of a convolution without padding (x is padded already). All sizes > 0. */
typedef struct axk_conv2d {
    size_t images, channels, height, width;
    size_t out_channels, out_height, out_width;
    size_t kernel_height, kernel_width;
    size_t stride_y, stride_x, dilation_y, dilation_x;
    size_t groups; /* divides channels and out_channels */
} axk_conv2d;

/* out[b][o] = cross-correlation of x[b] (channels, height, width) with w[o]
 * (channels / groups, kernel_height, kernel_width), products read from the table.
 * Returns as axk_gemm. */
int axk_conv2d_run(const axk_isa *isa, int threads, const axk_table *table,
                   const axk_conv2d *conv, const uint8_t *x, const uint8_t *w, int32_t *out);

#endif

/* Scalar C for any machine. Four table columns (2 KB) stay in L1 while all rows of the tile are
 * looked up. Each running sum is read and written once per four products. */
#include "axk.h"

static void add_one(const uint16_t *column, const uint8_t *codes, size_t rows, uint32_t *sums)
{
    for (size_t i = 0; i < rows; i++) {
        sums[i] += column[codes[i]];
    }
}

static void add_four(const uint16_t *columns, const uint8_t *weights, const uint8_t *codes,
                     size_t rows, uint32_t *sums)
{
    const uint16_t *c0 = columns + (size_t)weights[0] * AXK_CODES;
    const uint16_t *c1 = columns + (size_t)weights[1] * AXK_CODES;
    const uint16_t *c2 = columns + (size_t)weights[2] * AXK_CODES;
    const uint16_t *c3 = columns + (size_t)weights[3] * AXK_CODES;

    for (size_t i = 0; i < rows; i++) {
        sums[i] += (uint32_t)c0[codes[i]] + c1[codes[AXK_TILE_M + i]] +
                   c2[codes[2 * AXK_TILE_M + i]] + c3[codes[3 * AXK_TILE_M + i]];
    }
}

void axk_lut_tile__portable(const axk_table *table, const axk_tile *tile, size_t n,
                            const uint8_t *weights, size_t weight_stride, uint32_t *sums)
{
    for (size_t j = 0; j < n; j++) {
        const uint8_t *w = weights + j * weight_stride;
        uint32_t *row_sums = sums + j * AXK_TILE_M;
        size_t d = 0;

        for (; d + 4 <= tile->depth; d += 4) {
            add_four(table->columns, w + d, tile->codes + d * AXK_TILE_M, tile->rows, row_sums);
        }
        for (; d < tile->depth; d++) {
            add_one(table->columns + (size_t)w[d] * AXK_CODES, tile->codes + d * AXK_TILE_M,
                    tile->rows, row_sums);
        }
    }
}

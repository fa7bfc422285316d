/* The reference: one look-up at a time. All other kernels are tested against it. */
#include "axk.h"

void axk_lut_tile__ref(const axk_table *table, const axk_tile *tile, size_t n,
                       const uint8_t *weights, size_t weight_stride, uint32_t *sums)
{
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < tile->rows; i++) {
            for (size_t d = 0; d < tile->depth; d++) {
                size_t a = tile->codes[d * AXK_TILE_M + i];
                size_t w = weights[j * weight_stride + d];
                sums[j * AXK_TILE_M + i] += table->columns[w * AXK_CODES + a];
            }
        }
    }
}

/* Subtracts residuals from the sums of products of int16 codes and weights, one at a time. */
#include "axk.h"

enum { PER_UNIT = AXK_UNIT / sizeof(int16_t) };

/* Returns the residual of the window at `codes` for one channel of a block. */
static uint32_t sum_residual(const axk_window *window, const axk_residual *residual,
                             const uint8_t *codes, const uint8_t *classes)
{
    uint32_t sum = 0;

    for (size_t r = 0; r < window->runs; r++) {
        const size_t at = (size_t)(codes - residual->codes) + window->run_offset[r];
        const uint8_t *row = residual->rows + at / sizeof(int16_t) * AXK_CLASSES;

        for (size_t unit = 0; unit < window->run_bytes; unit += AXK_UNIT) {
            for (size_t i = 0; i < PER_UNIT; i++) {
                sum += row[classes[i]];
            }
            row += PER_UNIT * AXK_CLASSES;
            classes += PER_UNIT * AXK_LANES;
        }
    }
    return sum;
}

static void subtract_residual(const axk_window *window, const axk_residual *residual,
                              const uint8_t *const *quads, size_t quad_count, size_t block_bytes,
                              size_t blocks, uint32_t *sums, size_t stride)
{
    for (size_t i = 0; i < quad_count * AXK_QUAD; i++, sums += stride) {
        const uint8_t *codes = quads[i / AXK_QUAD] + i % AXK_QUAD * window->pixel_step;

        for (size_t channel = 0; channel < blocks * AXK_LANES; channel++) {
            const uint8_t *classes = residual->classes +
                                     channel / AXK_LANES * (block_bytes / sizeof(int16_t)) +
                                     channel % AXK_LANES * PER_UNIT;

            sums[channel] -= sum_residual(window, residual, codes, classes);
        }
    }
}

void axk_residual__portable(const axk_window *window, const axk_residual *residual,
                            const uint8_t *const *quads, size_t quad_count, const void *weights,
                            size_t block_bytes, size_t blocks, uint32_t *sums, size_t stride)
{
    axk_dot__portable(window, quads, quad_count, weights, block_bytes, blocks, sums, stride);
    subtract_residual(window, residual, quads, quad_count, block_bytes, blocks, sums, stride);
}

void axk_residual__ref(const axk_window *window, const axk_residual *residual,
                       const uint8_t *const *quads, size_t quad_count, const void *weights,
                       size_t block_bytes, size_t blocks, uint32_t *sums, size_t stride)
{
    axk_dot__ref(window, quads, quad_count, weights, block_bytes, blocks, sums, stride);
    subtract_residual(window, residual, quads, quad_count, block_bytes, blocks, sums, stride);
}

/* The reference: sums products one by one. The other instruction sets are compared with it. */
#include "axk.h"

enum { PAIR = AXK_UNIT / sizeof(int16_t) };

/* Returns the sum over the window at `codes` for one channel of a block. */
static uint32_t sum_window(const axk_window *window, const uint8_t *codes, const int16_t *weights,
                          size_t lane)
{
    uint32_t sum = 0;

    for (size_t r = 0; r < window->runs; r++) {
        const int16_t *run = (const int16_t *)(codes + window->run_offset[r]);

        for (size_t k = 0; k < window->run_bytes / sizeof(int16_t); k++) {
            const size_t unit = (r * window->run_bytes / AXK_UNIT + k / PAIR) * AXK_LANES + lane;

            sum += (uint32_t)(run[k] * weights[unit * PAIR + k % PAIR]);
        }
    }
    return sum;
}

void axk_dot__ref(const axk_window *window, const uint8_t *const *quads, size_t quad_count,
                  const void *weights, size_t block_bytes, size_t blocks, uint32_t *sums,
                  size_t stride)
{
    for (size_t i = 0; i < quad_count * AXK_QUAD; i++) {
        const uint8_t *codes = quads[i / AXK_QUAD] + i % AXK_QUAD * window->pixel_step;

        for (size_t channel = 0; channel < blocks * AXK_LANES; channel++) {
            const char *block = (const char *)weights + channel / AXK_LANES * block_bytes;

            sums[i * stride + channel] =
                sum_window(window, codes, (const int16_t *)block, channel % AXK_LANES);
        }
    }
}

void axk_depthwise__ref(const axk_depthwise_line *line, const int16_t *weights, uint32_t *sums)
{
    for (size_t i = 0; i < line->pixels * line->channels; i++) {
        const size_t channel = i % line->channels;
        const char *code = line->code + i / line->channels * line->pixel_step;
        uint32_t sum = 0;

        for (size_t tap = 0; tap < line->taps; tap++) {
            const int16_t *codes = (const int16_t *)(code + line->tap_offset[tap]);

            for (size_t t = 0; t < line->terms; t++) {
                const int16_t *w = weights + (tap * line->terms + t) * line->channels;

                sum += (uint32_t)(codes[t * line->channels + channel] * w[channel]);
            }
        }
        sums[i] = sum;
    }
}

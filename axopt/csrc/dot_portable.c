/* Products of int16 codes and int16 weights, two of each in a unit, in C with the vector types of
 * GCC and Clang. Codes are 0 .. 255 and weights -128 .. 127, so a product fits int16. */
#include <string.h>
#if defined(__SSE2__) /* every x86-64 */
#include <emmintrin.h>
#endif

#include "axk.h"

enum {
    LANES = 4,
    PARTS = AXK_LANES / LANES,
    PIXELS = 2, /* processed together: their sums fit 16 registers */
};

typedef int16_t pairs __attribute__((vector_size(16)));
typedef int32_t lanes __attribute__((vector_size(16)));
typedef uint32_t wrapping __attribute__((vector_size(16)));

/* Returns the sum of the two products of each lane. */
static inline wrapping multiply_pairs(pairs codes, pairs weights)
{
#if defined(__SSE2__)
    return (wrapping)_mm_madd_epi16((__m128i)codes, (__m128i)weights);
#else
    const lanes products = (lanes)(codes * weights);

    /* each half of a lane, sign-extended */
    return (wrapping)(products >> 16) + (wrapping)((lanes)((wrapping)products << 16) >> 16);
#endif
}

static inline pairs broadcast(const uint8_t *codes)
{
    int32_t unit;

    memcpy(&unit, codes, sizeof(unit));
    return (pairs)((lanes){unit, unit, unit, unit});
}

static void sum_pixels(const axk_window *window, const uint8_t *codes, const char *weights,
                       uint32_t *sums, size_t stride)
{
    wrapping acc[PIXELS][PARTS] = {{{0}}};

    for (size_t r = 0; r < window->runs; r++) {
        const uint8_t *at = codes + window->run_offset[r];

        for (size_t unit = 0; unit < window->run_bytes; unit += AXK_UNIT) {
            const pairs first = broadcast(at + unit);
            const pairs second = broadcast(at + unit + window->pixel_step);

#pragma GCC unroll 4
            for (size_t i = 0; i < PARTS; i++, weights += sizeof(pairs)) {
                pairs w;

                memcpy(&w, weights, sizeof(w));
                acc[0][i] += multiply_pairs(first, w);
                acc[1][i] += multiply_pairs(second, w);
            }
        }
    }
    for (size_t p = 0; p < PIXELS; p++) {
        memcpy(sums + p * stride, acc[p], sizeof(acc[p]));
    }
}

void axk_dot__portable(const axk_window *window, const uint8_t *const *quads, size_t quad_count,
                       const void *weights, size_t block_bytes, size_t blocks, uint32_t *sums,
                       size_t stride)
{
    for (size_t b = 0; b < blocks; b++) {
        const char *w = (const char *)weights + b * block_bytes;

        for (size_t i = 0; i < quad_count * AXK_QUAD; i += PIXELS) {
            const uint8_t *at = quads[i / AXK_QUAD] + i % AXK_QUAD * window->pixel_step;

            sum_pixels(window, at, w, sums + i * stride + b * AXK_LANES, stride);
        }
    }
}

/* Adds one source, a term of a tap, to the sums of a pixel; 16-bit products are exact. */
static void add_source(const int16_t *restrict codes, const int16_t *restrict weights, size_t n,
                       uint32_t *restrict sums)
{
    for (size_t c = 0; c < n; c++) {
        const int32_t product = (int16_t)(codes[c] * weights[c]);

        sums[c] += (uint32_t)product;
    }
}

void axk_depthwise__portable(const axk_depthwise_line *line, const int16_t *weights,
                             uint32_t *sums)
{
    const size_t n = line->channels;

    for (size_t i = 0; i < line->pixels; i++, sums += n) {
        memset(sums, 0, n * sizeof(*sums));
        for (size_t s = 0; s < line->taps * line->terms; s++) {
            const char *code = line->code + i * line->pixel_step;
            const char *tap = code + line->tap_offset[s / line->terms];

            add_source((const int16_t *)tap + s % line->terms * n, weights + s * n, n,
                       sums);
        }
    }
}

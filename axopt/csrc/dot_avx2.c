/* AVX2: vpmaddwd multiplies two int16 codes of a pixel, broadcast to all lanes, with two int16
 * weights of each of 8 channels, and adds the two products in 32 bits. (vpmaddubsw takes uint8
 * codes and int8 weights, but adds in 16 bits and saturates.) */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx2")

enum {
    LANES = 8,
    HALVES = AXK_LANES / LANES,
    VECTOR = 32,
    PAIRS = 32,          /* pairs of sources whose weights are gathered at a time */
    SOURCES = 2 * PAIRS, /* a source is a term of a tap */
};

AXK_INLINE __m256i load(const void *from)
{
    return _mm256_loadu_si256(from);
}

AXK_INLINE void store(void *to, __m256i vector)
{
    _mm256_storeu_si256(to, vector);
}

AXK_INLINE __m256i multiply_add(__m256i sum, __m256i codes, __m256i weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(codes, weights));
}

AXK_INLINE __m256i broadcast(const uint8_t *codes)
{
    int32_t unit;

    memcpy(&unit, codes, sizeof(unit));
    return _mm256_set1_epi32(unit);
}

/* Sums a quad and a block of 16 channels, with all sums in registers. */
AXK_INLINE void sum_quad(const axk_window *window, const uint8_t *quad, const char *weights,
                     uint32_t *sums, size_t stride)
{
    const size_t step = window->pixel_step;
    __m256i acc[AXK_QUAD][HALVES];

#pragma GCC unroll 4
    for (size_t p = 0; p < AXK_QUAD; p++) {
        acc[p][0] = acc[p][1] = _mm256_setzero_si256();
    }
    for (size_t r = 0; r < window->runs; r++) {
        const uint8_t *at = quad + window->run_offset[r];

        for (size_t unit = 0; unit < window->run_bytes; unit += AXK_UNIT) {
            const __m256i low = load(weights), high = load(weights + VECTOR);

#pragma GCC unroll 4
            for (size_t p = 0; p < AXK_QUAD; p++) {
                const __m256i codes = broadcast(at + unit + p * step);

                acc[p][0] = multiply_add(acc[p][0], codes, low);
                acc[p][1] = multiply_add(acc[p][1], codes, high);
            }
            weights += HALVES * VECTOR;
        }
    }
#pragma GCC unroll 4
    for (size_t p = 0; p < AXK_QUAD; p++, sums += stride) {
        store(sums, acc[p][0]);
        store(sums + LANES, acc[p][1]);
    }
}

void axk_dot__avx2(const axk_window *window, const uint8_t *const *quads, size_t quad_count,
                   const void *weights, size_t block_bytes, size_t blocks, uint32_t *sums,
                   size_t stride)
{
    for (size_t b = 0; b < blocks; b++) {
        const char *w = (const char *)weights + b * block_bytes;

        for (size_t q = 0; q < quad_count; q++) {
            sum_quad(window, quads[q], w, sums + q * AXK_QUAD * stride + b * AXK_LANES, stride);
        }
    }
}

/* 16 channels in the order that vpunpck leaves: 0-3 and 8-11, then 4-7 and 12-15. */
typedef struct halves {
    __m256i half[HALVES];
} halves;

typedef struct pair_weights {
    halves pair[PAIRS];
    size_t offset[SOURCES]; /* bytes from the pixel's first code to the source's first channel */
    size_t pairs;
} pair_weights;

AXK_INLINE halves interleave(__m256i a, __m256i b)
{
    return (halves){{_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)}};
}

/* Gathers the weights of the sources from `first` on, as many as fit. The last pair is padded with
 * weights of 0. */
static void gather_weights(const axk_depthwise_line *line, const int16_t *weights, size_t first,
                           size_t channel, size_t channels, pair_weights *to)
{
    const size_t left = line->taps * line->terms - first;
    const size_t sources = left < SOURCES ? left : SOURCES;

    to->pairs = (sources + 1) / 2;
    for (size_t pair = 0; pair < to->pairs; pair++) {
        int16_t source[2][AXK_LANES] = {{0}};

        for (size_t i = 0; i < 2; i++) {
            const size_t s = pair * 2 + i;
            const size_t at = first + (s < sources ? s : 0);

            if (s < sources) {
                memcpy(source[i], weights + at * line->channels + channel,
                       channels * sizeof(int16_t));
            }
            to->offset[s] = line->tap_offset[at / line->terms] +
                            (at % line->terms * line->channels + channel) * sizeof(int16_t);
        }
        to->pair[pair] = interleave(load(source[0]), load(source[1]));
    }
}

/* Sums one pixel's products, with the channels in order. */
AXK_INLINE halves sum_pairs(const pair_weights *weights, const size_t pairs, const char *code)
{
    __m256i low = _mm256_setzero_si256(), high = low;

#pragma GCC unroll 5
    for (size_t pair = 0; pair < pairs; pair++) {
        const size_t *offset = weights->offset + pair * 2;
        const halves codes = interleave(load(code + offset[0]), load(code + offset[1]));

        low = multiply_add(low, codes.half[0], weights->pair[pair].half[0]);
        high = multiply_add(high, codes.half[1], weights->pair[pair].half[1]);
    }
    return (halves){{_mm256_permute2x128_si256(low, high, 0x20),
                     _mm256_permute2x128_si256(low, high, 0x31)}};
}

/* Sums the products of a line over the sources in `weights`. add: adds to the sums that are there
 * already, else overwrites them. */
AXK_INLINE void sum_line(const axk_depthwise_line *line, const pair_weights *weights,
                     const size_t pairs, size_t channels, int add, uint32_t *sums)
{
    const char *code = line->code;

    for (size_t i = 0; i < line->pixels; i++, code += line->pixel_step, sums += line->channels) {
        halves sum = sum_pairs(weights, pairs, code);
        uint32_t some[AXK_LANES];
        uint32_t *to = channels == AXK_LANES ? sums : some;

        if (add) {
            memcpy(some, sums, channels * sizeof(*sums));
            sum.half[0] = _mm256_add_epi32(sum.half[0], load(some));
            sum.half[1] = _mm256_add_epi32(sum.half[1], load(some + LANES));
        }
        store(to, sum.half[0]);
        store(to + LANES, sum.half[1]);
        if (to == some) {
            memcpy(sums, some, channels * sizeof(*sums));
        }
    }
}

void axk_depthwise__avx2(const axk_depthwise_line *line, const int16_t *weights, uint32_t *sums)
{
    enum { FEW = 5 }; /* pairs of a 3x3 kernel and one term */

    for (size_t c = 0; c < line->channels; c += AXK_LANES) {
        const size_t left = line->channels - c;
        const size_t channels = left < AXK_LANES ? left : AXK_LANES;

        for (size_t first = 0; first < line->taps * line->terms; first += SOURCES) {
            pair_weights some;

            gather_weights(line, weights, first, c, channels, &some);
            if (some.pairs == FEW) {
                sum_line(line, &some, FEW, channels, first > 0, sums + c);
            } else {
                sum_line(line, &some, some.pairs, channels, first > 0, sums + c);
            }
        }
    }
}

AXK_END_TARGET
#endif

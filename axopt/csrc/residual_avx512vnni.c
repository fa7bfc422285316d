/* AVX-512 without VBMI: vpshufb looks the residuals of four codes of a pixel, whose rows are the
 * quarters of a register, up for 16 channels, after vpdpbusd has summed the products. Bytes are
 * added in 16-bit lanes, those of even and of odd channels by themselves. */
#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512vl")
#include <immintrin.h>

#include "axk.h"

enum {
    VECTOR = 64,
    MAX_PAIRS = 256, /* of units: 16 bits hold 258 times 2 * 127 */
};

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    __m512i even, odd;
} byte_sums;

INLINE __m512i load(const void *from)
{
    return _mm512_loadu_si512(from);
}

/* The classes of a unit, [channel][code], as [code][channel]. */
INLINE __m512i load_classes(const uint8_t *classes)
{
    const __m512i apart = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

    return _mm512_permutexvar_epi32(order, _mm512_shuffle_epi8(load(classes), apart));
}

INLINE void add_bytes(byte_sums *sums, __m512i bytes)
{
    sums->even =
        _mm512_add_epi16(sums->even, _mm512_and_si512(bytes, _mm512_set1_epi16(0x00ff)));
    sums->odd = _mm512_add_epi16(sums->odd, _mm512_srli_epi16(bytes, 8));
}

/* The sums of the four codes, widened. */
INLINE __m256i join(__m512i sums)
{
    const __m512i pairs =
        _mm512_add_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(sums)),
                         _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(sums, 1)));

    return _mm256_add_epi32(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
}

INLINE void subtract(int32_t *sums, __m256i taken)
{
    const __m256i left = _mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)sums), taken);

    _mm256_storeu_si256((__m256i *)sums, left);
}

/* Takes the sums of a pixel off those of 16 channels, and starts them anew. */
INLINE void flush(byte_sums *taken, int32_t *sums)
{
    const __m256i even = join(taken->even), odd = join(taken->odd);
    const __m256i low = _mm256_unpacklo_epi32(even, odd);
    const __m256i high = _mm256_unpackhi_epi32(even, odd);

    subtract(sums, _mm256_permute2x128_si256(low, high, 0x20));
    subtract(sums + AXK_LANES / 2, _mm256_permute2x128_si256(low, high, 0x31));
    taken->even = taken->odd = _mm512_setzero_si512();
}

/* A quad and a block of 16 channels. */
INLINE void subtract_quad(const axk_window *window, const axk_residual *residual,
                          const uint8_t *quad, const uint8_t *classes, int32_t *sums,
                          size_t stride)
{
    const uint8_t *rows = residual->rows + (size_t)(quad - residual->codes) * AXK_CLASSES;
    const size_t step = window->pixel_step * AXK_CLASSES;
    byte_sums taken[AXK_QUAD];
    size_t pairs = 0;

#pragma GCC unroll 4
    for (size_t p = 0; p < AXK_QUAD; p++) {
        taken[p].even = taken[p].odd = _mm512_setzero_si512();
    }
    for (size_t r = 0; r < window->runs; r++) {
        const uint8_t *at = rows + window->run_offset[r] * AXK_CLASSES;
        const size_t units = window->run_bytes / AXK_UNIT;

        for (size_t unit = 0; unit < units; unit += 2, at += 2 * VECTOR) {
            const int two = unit + 1 < units;
            const __m512i first = load_classes(classes);
            const __m512i second = two ? load_classes(classes + VECTOR) : first;

#pragma GCC unroll 4
            for (size_t p = 0; p < AXK_QUAD; p++) {
                __m512i bytes = _mm512_shuffle_epi8(load(at + p * step), first);

                if (two) {
                    bytes = _mm512_add_epi8(
                        bytes, _mm512_shuffle_epi8(load(at + p * step + VECTOR), second));
                }
                add_bytes(&taken[p], bytes);
            }
            classes += two ? 2 * VECTOR : VECTOR;
            if (++pairs % MAX_PAIRS == 0) {
                for (size_t p = 0; p < AXK_QUAD; p++) {
                    flush(&taken[p], sums + p * stride);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (size_t p = 0; p < AXK_QUAD; p++) {
        flush(&taken[p], sums + p * stride);
    }
}

void axk_residual__avx512vnni(const axk_window *window, const axk_residual *residual,
                              const uint8_t *const *quads, size_t quad_count,
                              const void *weights, size_t block_bytes, size_t blocks,
                              int32_t *sums, size_t stride)
{
    axk_dot__avx512vnni(window, quads, quad_count, weights, block_bytes, blocks, sums, stride);
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *classes = residual->classes + b * block_bytes;

        for (size_t q = 0; q < quad_count; q++) {
            subtract_quad(window, residual, quads[q], classes,
                          sums + q * AXK_QUAD * stride + b * AXK_LANES, stride);
        }
    }
}

#endif

/* AVX-512 VNNI: vpdpbusd multiplies four uint8 codes of a pixel, broadcast to all lanes, with four
 * int8 weights of each of 16 channels, and adds the four products to an int32 lane. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")

enum { VECTOR = 64, MAX_SUMS = 24 };

AXK_INLINE __m512i broadcast(const uint8_t *codes)
{
    int32_t unit;

    memcpy(&unit, codes, sizeof(unit));
    return _mm512_set1_epi32(unit);
}

/* Sums `quads` quads and `blocks` blocks of 16 channels, with all sums in registers; both numbers
 * are compile-time constants. */
AXK_INLINE void sum_tile(const size_t quads, const size_t blocks, const axk_window *window,
                     const uint8_t *const *windows, const char *weights, size_t block_bytes,
                     uint32_t *sums, size_t stride)
{
    const size_t step = window->pixel_step;
    __m512i acc[MAX_SUMS];

#pragma GCC unroll 24
    for (size_t i = 0; i < quads * AXK_QUAD * blocks; i++) {
        acc[i] = _mm512_setzero_si512();
    }
    for (size_t r = 0; r < window->runs; r++) {
        const uint8_t *at[MAX_SUMS / AXK_QUAD];

#pragma GCC unroll 6
        for (size_t q = 0; q < quads; q++) {
            at[q] = windows[q] + window->run_offset[r];
        }
        for (size_t unit = 0; unit < window->run_bytes; unit += AXK_UNIT, weights += VECTOR) {
            __m512i w[4];

#pragma GCC unroll 4
            for (size_t b = 0; b < blocks; b++) {
                w[b] = _mm512_loadu_si512(weights + b * block_bytes);
            }
#pragma GCC unroll 6
            for (size_t q = 0; q < quads; q++) {
#pragma GCC unroll 4
                for (size_t p = 0; p < AXK_QUAD; p++) {
                    const __m512i codes = broadcast(at[q] + unit + p * step);
#pragma GCC unroll 4
                    for (size_t b = 0; b < blocks; b++) {
                        __m512i *a = &acc[(q * AXK_QUAD + p) * blocks + b];
                        *a = _mm512_dpbusd_epi32(*a, codes, w[b]);
                    }
                }
            }
        }
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < quads * AXK_QUAD; i++) {
#pragma GCC unroll 4
        for (size_t b = 0; b < blocks; b++) {
            _mm512_storeu_si512(sums + i * stride + b * AXK_LANES, acc[i * blocks + b]);
        }
    }
}

/* Sums all quads for `blocks` blocks, at most `most` quads at a time. */
AXK_INLINE void sum_blocks(const size_t most, const size_t blocks, const axk_window *window,
                       const uint8_t *const *quads, size_t quad_count, const char *weights,
                       size_t block_bytes, uint32_t *sums, size_t stride)
{
    size_t q = 0;

    for (; q + most <= quad_count; q += most) {
        sum_tile(most, blocks, window, quads + q, weights, block_bytes,
                 sums + q * AXK_QUAD * stride, stride);
    }
    for (; q < quad_count; q++) {
        sum_tile(1, blocks, window, quads + q, weights, block_bytes,
                 sums + q * AXK_QUAD * stride, stride);
    }
}

void axk_dot__avx512vnni(const axk_window *window, const uint8_t *const *quads, size_t quad_count,
                         const void *weights, size_t block_bytes, size_t blocks, uint32_t *sums,
                         size_t stride)
{
    const char *w = weights;
    size_t b = 0;

    for (; b + 4 <= blocks; b += 4) {
        sum_blocks(1, 4, window, quads, quad_count, w + b * block_bytes, block_bytes,
                   sums + b * AXK_LANES, stride);
    }
    for (; b + 2 <= blocks; b += 2) {
        sum_blocks(3, 2, window, quads, quad_count, w + b * block_bytes, block_bytes,
                   sums + b * AXK_LANES, stride);
    }
    if (b < blocks) {
        sum_blocks(6, 1, window, quads, quad_count, w + b * block_bytes, block_bytes,
                   sums + b * AXK_LANES, stride);
    }
}

AXK_END_TARGET
#endif

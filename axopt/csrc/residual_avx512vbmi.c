/* AVX-512 VBMI: vpermb looks up the residuals of four codes of a pixel for 16 channels. The rows
 * of the four codes are the 64 bytes of a register. The residuals of two units are added in bytes;
 * vpdpbusd with weights of -1 then subtracts them from each channel's sum. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")

enum { VECTOR = 64, MAX_SUMS = 16, MAX_BLOCKS = 2, MAX_QUADS = 4 };

_Static_assert((int)AXK_UNIT * (int)AXK_CLASSES == (int)VECTOR, "a unit's rows are a vector");

AXK_INLINE __m512i broadcast(const uint8_t *codes)
{
    int32_t unit;

    memcpy(&unit, codes, sizeof(unit));
    return _mm512_set1_epi32(unit);
}

/* Adds the products of one or two units to the sums of a tile. `units`, `quads` and `blocks` are
 * compile-time constants. */
AXK_INLINE void add_units(const size_t units, const size_t quads, const size_t blocks,
                      const axk_residual *residual, const uint8_t *const *codes, size_t step,
                      const char *weights, const uint8_t *classes, size_t block_bytes,
                      __m512i *sums)
{
    const __m512i minus = _mm512_set1_epi8(-1);
    __m512i w[2][MAX_BLOCKS], order[2][MAX_BLOCKS];

#pragma GCC unroll 2
    for (size_t u = 0; u < units; u++) {
#pragma GCC unroll 2
        for (size_t b = 0; b < blocks; b++) {
            w[u][b] = _mm512_loadu_si512(weights + b * block_bytes + u * VECTOR);
            order[u][b] = _mm512_loadu_si512(classes + b * block_bytes + u * VECTOR);
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < quads * AXK_QUAD; i++) {
        const uint8_t *at = codes[i / AXK_QUAD] + i % AXK_QUAD * step;
        const uint8_t *rows = residual->rows + (at - residual->codes) * AXK_CLASSES;

#pragma GCC unroll 2
        for (size_t b = 0; b < blocks; b++) {
            __m512i sum = sums[i * blocks + b];
            __m512i taken = _mm512_permutexvar_epi8(order[0][b], _mm512_load_si512(rows));

            sum = _mm512_dpbusd_epi32(sum, broadcast(at), w[0][b]);
            if (units == 2) {
                const __m512i more =
                    _mm512_permutexvar_epi8(order[1][b], _mm512_load_si512(rows + VECTOR));

                taken = _mm512_add_epi8(taken, more);
                sum = _mm512_dpbusd_epi32(sum, broadcast(at + AXK_UNIT), w[1][b]);
            }
            sums[i * blocks + b] = _mm512_dpbusd_epi32(sum, taken, minus);
        }
    }
}

/* Sums `quads` quads and `blocks` blocks of 16 channels, with all sums in registers; both numbers
 * are compile-time constants. */
AXK_INLINE void sum_tile(const size_t quads, const size_t blocks, const axk_window *window,
                     const axk_residual *residual, const uint8_t *const *windows,
                     const char *weights, const uint8_t *classes, size_t block_bytes,
                     uint32_t *sums, size_t stride)
{
    __m512i acc[MAX_SUMS];

#pragma GCC unroll 16
    for (size_t i = 0; i < quads * AXK_QUAD * blocks; i++) {
        acc[i] = _mm512_setzero_si512();
    }
    for (size_t r = 0; r < window->runs; r++) {
        size_t left = window->run_bytes / AXK_UNIT;
        const uint8_t *at[MAX_QUADS];

#pragma GCC unroll 4
        for (size_t q = 0; q < quads; q++) {
            at[q] = windows[q] + window->run_offset[r];
        }
        for (; left >= 2; left -= 2, weights += 2 * VECTOR, classes += 2 * VECTOR) {
            add_units(2, quads, blocks, residual, at, window->pixel_step, weights, classes,
                      block_bytes, acc);
#pragma GCC unroll 4
            for (size_t q = 0; q < quads; q++) {
                at[q] += 2 * AXK_UNIT;
            }
        }
        if (left != 0) {
            add_units(1, quads, blocks, residual, at, window->pixel_step, weights, classes,
                      block_bytes, acc);
            weights += VECTOR;
            classes += VECTOR;
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < quads * AXK_QUAD; i++) {
#pragma GCC unroll 2
        for (size_t b = 0; b < blocks; b++) {
            _mm512_storeu_si512(sums + i * stride + b * AXK_LANES, acc[i * blocks + b]);
        }
    }
}

/* Sums all quads for `blocks` blocks, at most `most` quads at a time. */
AXK_INLINE void sum_blocks(const size_t most, const size_t blocks, const axk_window *window,
                       const axk_residual *residual, const uint8_t *const *quads,
                       size_t quad_count, const char *weights, const uint8_t *classes,
                       size_t block_bytes, uint32_t *sums, size_t stride)
{
    size_t q = 0;

    for (; q + most <= quad_count; q += most) {
        sum_tile(most, blocks, window, residual, quads + q, weights, classes, block_bytes,
                 sums + q * AXK_QUAD * stride, stride);
    }
    for (; q < quad_count; q++) {
        sum_tile(1, blocks, window, residual, quads + q, weights, classes, block_bytes,
                 sums + q * AXK_QUAD * stride, stride);
    }
}

void axk_residual__avx512vbmi(const axk_window *window, const axk_residual *residual,
                              const uint8_t *const *quads, size_t quad_count,
                              const void *weights, size_t block_bytes, size_t blocks,
                              uint32_t *sums, size_t stride)
{
    const char *w = weights;
    size_t b = 0;

    for (; b + 2 <= blocks; b += 2) {
        sum_blocks(2, 2, window, residual, quads, quad_count, w + b * block_bytes,
                   residual->classes + b * block_bytes, block_bytes, sums + b * AXK_LANES,
                   stride);
    }
    if (b < blocks) {
        sum_blocks(4, 1, window, residual, quads, quad_count, w + b * block_bytes,
                   residual->classes + b * block_bytes, block_bytes, sums + b * AXK_LANES,
                   stride);
    }
}

AXK_END_TARGET
#endif

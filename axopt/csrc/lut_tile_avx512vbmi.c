/* AVX-512 VBMI: vpermi2b looks up 64 codes at a time in 128 bytes held in two registers.
 *
 * For each weight, registers hold its table column (256 low bytes, 256 high bytes) while the
 * tile's rows are read. The 64 bytes found are summed in 16-bit lanes with three operations:
 *     whole += bytes                as 16-bit lanes: even + 256 * odd, modulo 2^16
 *     odd   += bytes >> 8           the odd bytes
 * and the even sum is whole - 256 * odd. Neither sum overflows for depth <= 257.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512vbmi")

enum {
    LANES = 64,
    BLOCKS = AXK_TILE_M / LANES,
    PLANE = AXK_CODES,
    MAX_DEPTH_IN_16_BITS = 257,
    /* Fewer rows leave most lanes empty: one scalar look-up per row is faster. */
    MIN_ROWS = 8,
};

_Static_assert((int)AXK_TILE_K <= (int)MAX_DEPTH_IN_16_BITS, "sums of bytes must fit 16 bits");
_Static_assert((int)AXK_ROW_ALIGN == (int)LANES, "rows are packed to full vectors");

/* The halves of the table that the codes of a tile need. After a ReLU, a signed multiplier gets
 * only codes >= 128, which saves half of the look-ups. */
typedef enum { LOW_HALF, HIGH_HALF, BOTH_HALVES } halves;

/* Sums of one block of rows for one plane, in 16-bit lanes. */
typedef struct {
    __m512i whole, odd;
} byte_sums;

AXK_INLINE __m512i load(const void *from)
{
    return _mm512_loadu_si512(from);
}

AXK_INLINE void add_bytes(byte_sums *sums, __m512i bytes)
{
    sums->whole = _mm512_add_epi16(sums->whole, bytes);
    sums->odd = _mm512_add_epi16(sums->odd, _mm512_srli_epi16(bytes, 8));
}

/* Looks up 64 codes in a plane: a column in four registers, or half of one in two. */
AXK_INLINE __m512i look_up(const __m512i column[4], halves used, __m512i codes, __mmask64 high)
{
    if (used == LOW_HALF) {
        return _mm512_permutex2var_epi8(column[0], codes, column[1]);
    }
    if (used == HIGH_HALF) {
        return _mm512_permutex2var_epi8(column[2], codes, column[3]);
    }
    return _mm512_mask_blend_epi8(high, _mm512_permutex2var_epi8(column[0], codes, column[1]),
                                  _mm512_permutex2var_epi8(column[2], codes, column[3]));
}

/* Adds 32-bit sums low + 256 * high of 64 rows to `to`, restoring the order of the rows. */
AXK_INLINE void flush(byte_sums low, byte_sums high, uint32_t *to)
{
    const __m512i step = _mm512_set1_epi32(0x00200000); /* even i: E[i/2], odd i: O[i/2] */
    const __m512i pairs = _mm512_cvtepu16_epi32(_mm256_setr_epi16(
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i order = _mm512_add_epi16(
        _mm512_or_si512(pairs, _mm512_slli_epi32(pairs, 16)), step);
    const __m512i even_low = _mm512_sub_epi16(low.whole, _mm512_slli_epi16(low.odd, 8));
    const __m512i even_high = _mm512_sub_epi16(high.whole, _mm512_slli_epi16(high.odd, 8));

    for (int half = 0; half < 2; half++) {
        const __m512i index = _mm512_add_epi16(order, _mm512_set1_epi16((short)(16 * half)));
        const __m512i l = _mm512_permutex2var_epi16(even_low, index, low.odd);
        const __m512i h = _mm512_permutex2var_epi16(even_high, index, high.odd);

        for (int quarter = 0; quarter < 2; quarter++) {
            uint32_t *p = to + 32 * half + 16 * quarter;
            const __m512i l32 = _mm512_cvtepu16_epi32(quarter ? _mm512_extracti64x4_epi64(l, 1)
                                                              : _mm512_castsi512_si256(l));
            const __m512i h32 = _mm512_cvtepu16_epi32(quarter ? _mm512_extracti64x4_epi64(h, 1)
                                                              : _mm512_castsi512_si256(h));
            const __m512i sum = _mm512_add_epi32(l32, _mm512_slli_epi32(h32, 8));
            _mm512_storeu_si512(p, _mm512_add_epi32(load(p), sum));
        }
    }
}

/* Sums one output channel for `blocks` blocks of rows; `blocks` and `used` are compile-time
 * constants. */
AXK_INLINE void sum_blocks(int blocks, halves used, const axk_table *table, const uint8_t *codes,
                       size_t depth, const uint8_t *weights, uint32_t *sums)
{
    byte_sums low[BLOCKS], high[BLOCKS];

#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++) {
        low[b].whole = low[b].odd = high[b].whole = high[b].odd = _mm512_setzero_si512();
    }
    for (size_t d = 0; d < depth; d++, codes += AXK_TILE_M) {
        const uint8_t *column = table->planes + (size_t)weights[d] * (2 * PLANE);
        __m512i low_column[4], high_column[4];

#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) {
            low_column[q] = load(column + q * LANES);
            high_column[q] = load(column + PLANE + q * LANES);
        }
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b++) {
            const __m512i c = load(codes + b * LANES);
            const __mmask64 m = used == BOTH_HALVES ? _mm512_movepi8_mask(c) : 0;

            add_bytes(&low[b], look_up(low_column, used, c, m));
            add_bytes(&high[b], look_up(high_column, used, c, m));
        }
    }
#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++) {
        flush(low[b], high[b], sums + b * LANES);
    }
}

AXK_INLINE void sum_channels(int blocks, halves used, const axk_table *table, const axk_tile *tile,
                         size_t n, const uint8_t *weights, size_t weight_stride, uint32_t *sums)
{
    for (size_t j = 0; j < n; j++) {
        sum_blocks(blocks, used, table, tile->codes, tile->depth, weights + j * weight_stride,
                   sums + j * AXK_TILE_M);
    }
}

static halves halves_used(const axk_tile *tile)
{
    const size_t blocks = (tile->rows + LANES - 1) / LANES;
    __m512i any = _mm512_setzero_si512();
    __m512i all = _mm512_set1_epi8(-1);

    for (size_t d = 0; d < tile->depth; d++) {
        for (size_t b = 0; b < blocks; b++) {
            const __m512i c = load(tile->codes + d * AXK_TILE_M + b * LANES);
            any = _mm512_or_si512(any, c);
            all = _mm512_and_si512(all, c);
        }
    }
    if (_mm512_movepi8_mask(any) == 0) {
        return LOW_HALF;
    }
    return _mm512_movepi8_mask(all) == ~(__mmask64)0 ? HIGH_HALF : BOTH_HALVES;
}

#define SUM(blocks, used) \
    sum_channels(blocks, used, table, tile, n, weights, weight_stride, sums)
#define SUM_HALVES(blocks)             \
    switch (halves_used(tile)) {       \
    case LOW_HALF:                     \
        SUM(blocks, LOW_HALF);         \
        break;                         \
    case HIGH_HALF:                    \
        SUM(blocks, HIGH_HALF);        \
        break;                         \
    default:                           \
        SUM(blocks, BOTH_HALVES);      \
    }

void axk_lut_tile__avx512vbmi(const axk_table *table, const axk_tile *tile, size_t n,
                              const uint8_t *weights, size_t weight_stride, uint32_t *sums)
{
    if (tile->rows < MIN_ROWS) {
        axk_lut_tile__portable(table, tile, n, weights, weight_stride, sums);
        return;
    }
    switch ((tile->rows + LANES - 1) / LANES) {
    case 1:
        SUM_HALVES(1);
        break;
    case 2:
        SUM_HALVES(2);
        break;
    case 3:
        SUM_HALVES(3);
        break;
    default:
        SUM_HALVES(BLOCKS);
    }
}

AXK_END_TARGET
#endif

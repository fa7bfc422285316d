/* Depthwise sums with AVX-512 VNNI. A source is one term of one tap. The codes that a channel has
 * in four sources are interleaved to adjacent bytes, which vpdpbusd sums as in dense layers.
 *
 * Interleaving 64 channels of four sources puts channels 16 l + 4 k to 16 l + 4 k + 3 into 128-bit
 * lane l of part k. Weights are interleaved in the same way. The sums are put in order at the
 * end. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")

enum {
    WIDE = 64,   /* channels processed together */
    PARTS = 4,   /* vectors of their sums; also sources in a group */
    GROUPS = 16, /* groups of sources whose weights are gathered at a time */
    SOURCES = GROUPS * PARTS,
};

typedef struct parts {
    __m512i part[PARTS];
} parts;

typedef struct group_weights {
    parts group[GROUPS];
    size_t offset[SOURCES]; /* bytes from the pixel's first code to the source's first channel */
    size_t groups;
} group_weights;

AXK_INLINE parts interleave(const __m512i source[PARTS])
{
    const __m512i low01 = _mm512_unpacklo_epi8(source[0], source[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(source[2], source[3]);
    const __m512i high01 = _mm512_unpackhi_epi8(source[0], source[1]);
    const __m512i high23 = _mm512_unpackhi_epi8(source[2], source[3]);

    return (parts){{_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                    _mm512_unpacklo_epi16(high01, high23),
                    _mm512_unpackhi_epi16(high01, high23)}};
}

/* Transposes the 4 x 4 lanes, which puts the channels in order. */
AXK_INLINE parts in_order(parts p)
{
    const __m512i low01 = _mm512_shuffle_i32x4(p.part[0], p.part[1], 0x44);
    const __m512i low23 = _mm512_shuffle_i32x4(p.part[2], p.part[3], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(p.part[0], p.part[1], 0xee);
    const __m512i high23 = _mm512_shuffle_i32x4(p.part[2], p.part[3], 0xee);

    return (parts){
        {_mm512_shuffle_i32x4(low01, low23, 0x88), _mm512_shuffle_i32x4(low01, low23, 0xdd),
         _mm512_shuffle_i32x4(high01, high23, 0x88), _mm512_shuffle_i32x4(high01, high23, 0xdd)}};
}

/* Loads 64 weights as int8; lanes beyond the mask are 0. */
static __m512i load_weights(const int16_t *weights, __mmask64 lanes)
{
    const __m512i low = _mm512_maskz_loadu_epi16((__mmask32)lanes, weights);
    const __m512i high = _mm512_maskz_loadu_epi16((__mmask32)(lanes >> 32), weights + WIDE / 2);

    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(low)),
                              _mm512_cvtepi16_epi8(high), 1);
}

/* Gathers the weights of the sources from `first` on, as many as fit. The last group is padded
 * with weights of 0. */
static void gather_weights(const axk_depthwise_line *line, const int16_t *weights, size_t first,
                           size_t channel, __mmask64 lanes, group_weights *to)
{
    const size_t left = line->taps * line->terms - first;
    const size_t sources = left < SOURCES ? left : SOURCES;

    to->groups = (sources + PARTS - 1) / PARTS;
    for (size_t g = 0; g < to->groups; g++) {
        __m512i source[PARTS];

        for (size_t i = 0; i < PARTS; i++) {
            const size_t s = g * PARTS + i;
            const size_t at = first + (s < sources ? s : 0);

            source[i] = s < sources ? load_weights(weights + at * line->channels + channel, lanes)
                                    : _mm512_setzero_si512();
            to->offset[s] = line->tap_offset[at / line->terms] +
                            at % line->terms * line->channels + channel;
        }
        to->group[g] = interleave(source);
    }
}

/* Adds the products of `groups` groups for one pixel. */
AXK_INLINE parts sum_groups(const group_weights *weights, const size_t groups, const char *code)
{
    parts sum = {{_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                  _mm512_setzero_si512()}};

#pragma GCC unroll 3
    for (size_t g = 0; g < groups; g++) {
        const size_t *offset = weights->offset + g * PARTS;
        __m512i source[PARTS];

#pragma GCC unroll 4
        for (size_t i = 0; i < PARTS; i++) {
            source[i] = _mm512_loadu_si512(code + offset[i]);
        }
        const parts codes = interleave(source);

#pragma GCC unroll 4
        for (size_t i = 0; i < PARTS; i++) {
            sum.part[i] =
                _mm512_dpbusd_epi32(sum.part[i], codes.part[i], weights->group[g].part[i]);
        }
    }
    return sum;
}

/* Sums the products of a line over the sources in `weights`. add: adds to the sums that are there
 * already, else overwrites them. */
AXK_INLINE void sum_line(const axk_depthwise_line *line, const group_weights *weights,
                     const size_t groups, __mmask64 lanes, int add, uint32_t *sums)
{
    const char *code = line->code;

    for (size_t i = 0; i < line->pixels; i++, code += line->pixel_step, sums += line->channels) {
        const parts sum = in_order(sum_groups(weights, groups, code));

#pragma GCC unroll 4
        for (size_t k = 0; k < PARTS; k++) {
            const __mmask16 some = (__mmask16)(lanes >> k * AXK_LANES);
            uint32_t *to = sums + k * AXK_LANES;
            __m512i all = sum.part[k];

            if (add) {
                all = _mm512_add_epi32(all, _mm512_maskz_loadu_epi32(some, to));
            }
            if (some == 0xffff) {
                _mm512_storeu_si512(to, all);
            } else {
                _mm512_mask_storeu_epi32(to, some, all);
            }
        }
    }
}

void axk_depthwise__avx512vnni(const axk_depthwise_line *line, const int16_t *weights,
                               uint32_t *sums)
{
    enum { FEW = 3 }; /* groups of a 3x3 kernel and one term */

    for (size_t c = 0; c < line->channels; c += WIDE) {
        const size_t left = line->channels - c;
        const __mmask64 lanes = left < WIDE ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;

        for (size_t first = 0; first < line->taps * line->terms; first += SOURCES) {
            group_weights some;

            gather_weights(line, weights, first, c, lanes, &some);
            if (some.groups == FEW) {
                sum_line(line, &some, FEW, lanes, first > 0, sums + c);
            } else {
                sum_line(line, &some, some.groups, lanes, first > 0, sums + c);
            }
        }
    }
}

AXK_END_TARGET
#endif

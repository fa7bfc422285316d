/* The element-wise passes for AVX2; expanded codes are int16, as vpmaddwd takes them. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx2")

typedef int16_t expanded_code;
#include "edges.inc"

enum { LINE = 8, PIXELS = 16 };

static inline __m128i map_codes(const uint8_t *map, __m128i codes)
{
    uint8_t mapped[sizeof(codes)];

    _mm_storeu_si128((__m128i *)mapped, codes);
    for (size_t i = 0; i < sizeof(mapped); i++) {
        mapped[i] = map[mapped[i]];
    }
    return _mm_loadu_si128((const __m128i *)mapped);
}

static inline void put_codes(int16_t *out, __m128i codes)
{
    _mm256_storeu_si256((__m256i *)out, _mm256_cvtepu8_epi16(codes));
}

#include "edges_x86.inc"

/* Returns rounded levels, at most `high`; NaN becomes 0. A value too low for int32 becomes
 * INT32_MIN, which the saturating packs below turn into 0 as well. */
static inline __m256i to_steps(const float *values, __m256 inverse_scale, __m256 high)
{
    const __m256 steps = _mm256_mul_ps(_mm256_loadu_ps(values), inverse_scale);
    const __m256 number = _mm256_cmp_ps(steps, steps, _CMP_ORD_Q);

    return _mm256_cvtps_epi32(_mm256_and_ps(_mm256_min_ps(steps, high), number));
}

static void quantise(const float *values, size_t n, float inverse_scale, int32_t zero_point,
                     uint8_t *codes)
{
    const __m256 scale = _mm256_set1_ps(inverse_scale);
    const __m256 high = _mm256_set1_ps((float)(255 - zero_point));
    const __m256i zero = _mm256_set1_epi16((short)zero_point);
    /* the packs leave lane l, dword i with codes 8 i + 4 l */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = 0;

    for (; i + 4 * LINE <= n; i += 4 * LINE) {
        __m256i steps[4];

#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            steps[j] = to_steps(values + i + j * LINE, scale, high);
        }
        const __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(steps[0], steps[1]), zero);
        const __m256i b = _mm256_adds_epi16(_mm256_packs_epi32(steps[2], steps[3]), zero);

        _mm256_storeu_si256((__m256i *)(codes + i),
                            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order));
    }
    quantise_plain(values + i, n - i, inverse_scale, zero_point, codes + i);
}

static inline __m256i load_lanes(const int32_t *from, __m256i lanes)
{
    return _mm256_maskload_epi32(from, lanes);
}

/* Finishes `pixels` pixels of the block of channels from `first`. full: the block has all 8
 * channels, else those of `lanes`; windows: line->plain or line->zeros is given. */
AXK_INLINE void
finish_block(const axk_result_line *line, const axk_sink *sink, size_t pixel, size_t pixels,
             size_t first, const int full, const __m256i lanes, const int windows)
{
    const size_t channel = line->first_channel + first;
    const __m256 low = _mm256_set1_ps(sink->low), high = _mm256_set1_ps(sink->high);
    const __m256i offset = load_lanes(sink->offset + channel, lanes);
    const __m256i zero_point = line->zeros == NULL ? _mm256_setzero_si256()
                                                   : load_lanes(sink->zero_point + channel, lanes);
    const __m256 scale = _mm256_maskload_ps(sink->scale + channel, lanes);
    const __m256 bias = _mm256_maskload_ps(sink->bias + channel, lanes);

    const size_t sum_stride = line->sum_stride, value_stride = line->value_stride;
    const uint32_t *sums = line->sums + pixel * sum_stride + first;
    float *values = line->values + pixel * value_stride + first;

    for (size_t i = pixel; i < pixel + pixels; i++, sums += sum_stride, values += value_stride) {
        __m256i sum = full ? _mm256_loadu_si256((const __m256i *)sums)
                           : load_lanes((const int32_t *)sums, lanes);

        sum = _mm256_add_epi32(sum, offset);
        if (windows) {
            const size_t at = i * line->window_stride;
            const uint32_t plain = line->plain == NULL ? 0 : line->plain[at];
            const uint32_t zeros = line->zeros == NULL ? 0 : line->zeros[at];

            sum = _mm256_add_epi32(sum, _mm256_set1_epi32((int32_t)plain));
            sum = _mm256_sub_epi32(
                sum, _mm256_mullo_epi32(zero_point, _mm256_set1_epi32((int32_t)zeros)));
        }
        /* this order of operands keeps a NaN (an infinite scale times 0) */
        const __m256 scaled =
            _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale), bias);
        const __m256 value = _mm256_min_ps(high, _mm256_max_ps(low, scaled));

        if (full) {
            _mm256_storeu_ps(values, value);
        } else {
            _mm256_maskstore_ps(values, lanes, value);
        }
    }
}

AXK_INLINE void
finish_line(const axk_result_line *line, const axk_sink *sink, const int windows)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const size_t left = line->channels % LINE;
    const __m256i rest = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), index);

    /* few pixels at a time, so that the addresses of the stores ascend */
    for (size_t i = 0; i < line->pixels; i += PIXELS) {
        const size_t n = line->pixels - i < PIXELS ? line->pixels - i : PIXELS;
        size_t first = 0;

        for (; first + LINE <= line->channels; first += LINE) {
            finish_block(line, sink, i, n, first, 1, _mm256_set1_epi32(-1), windows);
        }
        if (left != 0) {
            finish_block(line, sink, i, n, first, 0, rest, windows);
        }
    }
}

static void finish(const axk_result_line *line, const axk_sink *sink)
{
    if (line->plain == NULL && line->zeros == NULL) {
        finish_line(line, sink, 0);
    } else {
        finish_line(line, sink, 1);
    }
}

const axk_edges axk_edges__avx2 = {.quantise = quantise,
                                    .map = map_plain,
                                    .expand = expand,
                                    .fetch_rows = fetch_rows_plain,
                                    .finish = finish};

AXK_END_TARGET
#endif

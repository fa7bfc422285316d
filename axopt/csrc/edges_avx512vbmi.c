/* The element-wise passes for AVX-512 with VBMI: a map of 256 bytes is looked up in registers. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")
AXK_PREFER_512

typedef uint8_t expanded_code;
#define EDGES_NAME axk_edges__avx512vbmi
#include "edges.inc"

static inline __m512i load_map(const uint8_t *map, size_t quarter)
{
    return _mm512_loadu_si512(map + quarter * sizeof(__m512i));
}

static inline __m128i map_codes(const uint8_t *map, __m128i codes)
{
    const __m512i at = _mm512_castsi128_si512(codes);
    const __m512i low = _mm512_permutex2var_epi8(load_map(map, 0), at, load_map(map, 1));
    const __m512i high = _mm512_permutex2var_epi8(load_map(map, 2), at, load_map(map, 3));

    return _mm_mask_blend_epi8(_mm_movepi8_mask(codes), _mm512_castsi512_si128(low),
                               _mm512_castsi512_si128(high));
}

static void map_levels(uint8_t *levels, size_t n, const axk_code_map *map)
{
    size_t i = 0;

    if (map->shift < 0) {
        const __m512i a = load_map(map->codes, 0), b = load_map(map->codes, 1);
        const __m512i c = load_map(map->codes, 2), d = load_map(map->codes, 3);

        for (; i + sizeof(__m512i) <= n; i += sizeof(__m512i)) {
            const __m512i at = _mm512_loadu_si512(levels + i);
            const __m512i low = _mm512_permutex2var_epi8(a, at, b);
            const __m512i high = _mm512_permutex2var_epi8(c, at, d);

            _mm512_storeu_si512(levels + i,
                                _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
        }
    }
    map_plain(levels + i, n - i, map);
}

#include "edges_avx512.inc"

AXK_END_TARGET
#endif

/* The element-wise passes for AVX-512 without VBMI. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#include <immintrin.h>

#define CODE uint8_t
#define EDGES_NAME axk_edges__avx512
#include "edges.inc"

static inline __m128i map_codes(const uint8_t *map, __m128i codes)
{
    uint8_t mapped[sizeof(codes)];

    _mm_storeu_si128((__m128i *)mapped, codes);
    for (size_t i = 0; i < sizeof(mapped); i++) {
        mapped[i] = map[mapped[i]];
    }
    return _mm_loadu_si128((const __m128i *)mapped);
}

static void map_levels(uint8_t *levels, size_t n, const axk_code_map *map)
{
    map_plain(levels, n, map);
}

#include "edges_avx512.inc"
#endif

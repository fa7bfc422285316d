/* The element-wise passes for AVX-512 without VBMI. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
AXK_PREFER_512

typedef uint8_t expanded_code;
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

AXK_END_TARGET
#endif

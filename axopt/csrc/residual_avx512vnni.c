/* AVX-512 without VBMI: vpshufb looks up the residuals of four codes of a pixel for 16 channels.
 * The residual rows of the four codes are the quarters of a register. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512vl")

AXK_INLINE __m512i zero(void)
{
    return _mm512_setzero_si512();
}

AXK_INLINE __m512i load(const void *from)
{
    return _mm512_loadu_si512(from);
}

AXK_INLINE __m512i shuffle(__m512i rows, __m512i classes)
{
    return _mm512_shuffle_epi8(rows, classes);
}

AXK_INLINE __m512i add_8(__m512i a, __m512i b)
{
    return _mm512_add_epi8(a, b);
}

AXK_INLINE __m512i add_16(__m512i a, __m512i b)
{
    return _mm512_add_epi16(a, b);
}

AXK_INLINE __m512i low_bytes(__m512i bytes)
{
    return _mm512_and_si512(bytes, _mm512_set1_epi16(0x00ff));
}

AXK_INLINE __m512i shift_right_16(__m512i bytes)
{
    return _mm512_srli_epi16(bytes, 8);
}

/* Loads the classes of a unit, [channel][code], as [code][channel]. */
AXK_INLINE __m512i load_classes(const uint8_t *classes)
{
    const __m512i apart = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

    return _mm512_permutexvar_epi32(order, _mm512_shuffle_epi8(load(classes), apart));
}

AXK_INLINE __m256i join(__m512i sums)
{
    const __m512i pairs =
        _mm512_add_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(sums)),
                         _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(sums, 1)));

    return _mm256_add_epi32(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
}

#define RESIDUAL_NAME axk_residual__avx512vnni
#define DOT_NAME axk_dot__avx512vnni
#define VECTOR __m512i
#define CODE_BYTES 1
#include "residual_shuffle.inc"

AXK_END_TARGET
#endif

/* AVX2: vpshufb looks up the residuals of two codes of a pixel for 16 channels. The residual rows
 * of the two codes are the halves of a register. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx2")

AXK_INLINE __m256i zero(void)
{
    return _mm256_setzero_si256();
}

AXK_INLINE __m256i load(const void *from)
{
    return _mm256_loadu_si256(from);
}

AXK_INLINE __m256i shuffle(__m256i rows, __m256i classes)
{
    return _mm256_shuffle_epi8(rows, classes);
}

AXK_INLINE __m256i add_8(__m256i a, __m256i b)
{
    return _mm256_add_epi8(a, b);
}

AXK_INLINE __m256i add_16(__m256i a, __m256i b)
{
    return _mm256_add_epi16(a, b);
}

AXK_INLINE __m256i low_bytes(__m256i bytes)
{
    return _mm256_and_si256(bytes, _mm256_set1_epi16(0x00ff));
}

AXK_INLINE __m256i shift_right_16(__m256i bytes)
{
    return _mm256_srli_epi16(bytes, 8);
}

/* Loads the classes of a unit, [channel][code], as [code][channel]. */
AXK_INLINE __m256i load_classes(const uint8_t *classes)
{
    const __m256i apart = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
                                           0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);

    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(load(classes), apart), 0xd8);
}

AXK_INLINE __m256i join(__m256i sums)
{
    return _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums)),
                            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1)));
}

#define RESIDUAL_NAME axk_residual__avx2
#define DOT_NAME axk_dot__avx2
#define VECTOR __m256i
#define CODE_BYTES 2
#include "residual_shuffle.inc"

AXK_END_TARGET
#endif

/* Product rows for AVX-512. */
#if defined(__x86_64__)
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
AXK_PREFER_512

#define VECTOR_BYTES 64
#define ROWS_NAME axk_rows__avx512
#include "rows.inc"

AXK_END_TARGET
#endif

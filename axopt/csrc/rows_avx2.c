/* Product rows for AVX2. */
#if defined(__x86_64__)
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx2")

#define VECTOR_BYTES 32
#define ROWS_NAME axk_rows__avx2
#include "rows.inc"

AXK_END_TARGET
#endif

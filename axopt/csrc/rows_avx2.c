/* Product rows for AVX2. */
#if defined(__x86_64__)
#pragma GCC target("avx2")
#define VECTOR_BYTES 32
#define ROWS_NAME axk_rows__avx2
#include "rows.inc"
#endif

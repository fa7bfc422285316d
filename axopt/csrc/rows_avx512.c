/* Product rows for AVX-512. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#define VECTOR_BYTES 64
#define ROWS_NAME axk_rows__avx512
#include "rows.inc"
#endif

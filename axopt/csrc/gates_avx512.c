/* The gates of an LSTM for AVX-512. */
#if defined(__x86_64__)
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
AXK_PREFER_512

#define GATES_NAME axk_gates__avx512
#include "gates.inc"

AXK_END_TARGET
#endif

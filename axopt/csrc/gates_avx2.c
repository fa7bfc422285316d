/* The gates of an LSTM for AVX2. */
#if defined(__x86_64__)
#include <string.h>

#include "axk.h"
#include "compiler.h"

AXK_BEGIN_TARGET("avx2")

#define GATES_NAME axk_gates__avx2
#include "gates.inc"

AXK_END_TARGET
#endif

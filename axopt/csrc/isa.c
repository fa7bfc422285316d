/* Which instruction sets are compiled in and which of them this processor has.
 *
 * Compiled for the baseline only: a check that itself used newer instructions would crash on the
 * machines it is there to protect.
 */
#include "lut_gemm.h"

static int always(void)
{
    return 1;
}

#if defined(__x86_64__)
static int has_avx512vbmi(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vbmi");
}
#endif

const axk_isa axk_isa_table[] = {
#if defined(__x86_64__)
    {.name = "avx512vbmi", .supported = has_avx512vbmi, .tile = axk_lut_tile__avx512vbmi},
#endif
    {.name = "portable", .supported = always, .tile = axk_lut_tile__portable},
    {.name = "reference", .supported = always, .tile = axk_lut_tile__ref},
};

const size_t axk_isa_count = sizeof(axk_isa_table) / sizeof(axk_isa_table[0]);

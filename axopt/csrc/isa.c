/* Lists the instruction sets that are compiled in, and checks which of them this processor has.
 *
 * This file is compiled for the baseline only: a check that used newer instructions itself would
 * crash on the processors that it protects.
 */
#include "axk.h"

static int always(void)
{
    return 1;
}

#if defined(__x86_64__)
static int has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

static int has_avx512vnni(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static int has_avx512vbmi(void)
{
    return has_avx512vnni() && __builtin_cpu_supports("avx512vbmi");
}
#endif

const axk_isa axk_isa_table[] = {
#if defined(__x86_64__)
    {.name = "avx512vbmi",
     .supported = has_avx512vbmi,
     .code_bytes = sizeof(uint8_t),
     .edges = &axk_edges__avx512vbmi,
     .dot = axk_dot__avx512vnni,
     .residual = axk_residual__avx512vbmi,
     .depthwise = axk_depthwise__avx512vnni,
     .rows = &axk_rows__avx512,
     .tile = axk_lut_tile__avx512vbmi,
     .gates = axk_gates__avx512},
    {.name = "avx512vnni",
     .supported = has_avx512vnni,
     .code_bytes = sizeof(uint8_t),
     .edges = &axk_edges__avx512,
     .dot = axk_dot__avx512vnni,
     .residual = axk_residual__avx512vnni,
     .depthwise = axk_depthwise__avx512vnni,
     .rows = &axk_rows__avx512,
     .tile = axk_lut_tile__portable,
     .gates = axk_gates__avx512},
    {.name = "avx2",
     .supported = has_avx2,
     .code_bytes = sizeof(int16_t),
     .edges = &axk_edges__avx2,
     .dot = axk_dot__avx2,
     .residual = axk_residual__avx2,
     .depthwise = axk_depthwise__avx2,
     .rows = &axk_rows__avx2,
     .tile = axk_lut_tile__portable,
     .gates = axk_gates__avx2},
#endif
    {.name = "portable",
     .supported = always,
     .code_bytes = sizeof(int16_t),
     .edges = &axk_edges__portable,
     .dot = axk_dot__portable,
     .residual = axk_residual__portable,
     .depthwise = axk_depthwise__portable,
     .rows = &axk_rows__portable,
     .tile = axk_lut_tile__portable,
     .gates = axk_gates__portable},
    {.name = "reference",
     .supported = always,
     .code_bytes = sizeof(int16_t),
     .edges = &axk_edges__portable,
     .dot = axk_dot__ref,
     .residual = axk_residual__ref,
     .depthwise = axk_depthwise__ref,
     .rows = &axk_rows__ref,
     .tile = axk_lut_tile__ref,
     .gates = axk_gates__portable},
};

const size_t axk_isa_count = sizeof(axk_isa_table) / sizeof(axk_isa_table[0]);

/* Matrix product: rows of a (m, k) are packed by transposing, sums (m, n) are transposed back. */
#include "lut_gemm_driver.h"

static void locate(const axk_job *job, axk_span *span)
{
    span->run_count = 1;
    span->runs[0] = (axk_run){.source = span->first * job->k,
                              .target = span->first * job->n,
                              .rows = span->rows};
}

static void pack(const axk_job *job, const axk_span *span, size_t group, size_t k, size_t depth,
                 uint8_t *codes)
{
    const uint8_t *from = job->operand + span->runs[0].source + k;

    (void)group;
    for (size_t i = 0; i < span->rows; i++, from += job->k) {
        for (size_t d = 0; d < depth; d++) {
            codes[d * AXK_TILE_M + i] = from[d];
        }
    }
}

static void store(const axk_job *job, const axk_span *span, size_t channel, size_t n,
                  const uint32_t *sums)
{
    int32_t *to = job->out + span->runs[0].target + channel;

    for (size_t i = 0; i < span->rows; i++, to += job->n) {
        for (size_t j = 0; j < n; j++) {
            to[j] = (int32_t)sums[j * AXK_TILE_M + i];
        }
    }
}

int axk_gemm(const axk_isa *isa, int threads, const axk_table *table, size_t m, size_t n, size_t k,
             const uint8_t *a, const uint8_t *w, int32_t *out)
{
    const axk_job job = {.groups = 1,
                         .m = m,
                         .n = n,
                         .k = k,
                         .table = table,
                         .weights = w,
                         .operand = a,
                         .out = out,
                         .locate = locate,
                         .pack = pack,
                         .store = store};

    return axk_run_job(&job, isa, threads);
}

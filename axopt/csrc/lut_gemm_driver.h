/* What the driver needs to know of an operand: where a tile's rows lie, how to pack and store. */
#ifndef AXK_LUT_GEMM_DRIVER_H
#define AXK_LUT_GEMM_DRIVER_H

#include "lut_gemm.h"

/* Consecutive rows of a tile that are evenly spaced in the operand and contiguous in the output:
 * the part of one line of output pixels that falls into the tile. */
typedef struct axk_run {
    size_t source; /* offset of the first row in the operand, for product 0 of group 0 */
    size_t target; /* offset of the first row in the output, for channel 0 */
    size_t rows;
} axk_run;

/* The rows of a tile. */
typedef struct axk_span {
    size_t first, rows;
    size_t run_count;
    axk_run runs[AXK_TILE_M];
} axk_span;

typedef struct axk_job axk_job;

/* m rows, n channels and k products in each of `groups` independent groups. */
struct axk_job {
    size_t groups, m, n, k;
    const axk_table *table;
    const uint8_t *weights; /* [group][n][k] */
    const uint8_t *operand;
    int32_t *out;
    const void *shape; /* what the three functions below need besides */

    /* Finds the runs of span->rows rows from span->first. */
    void (*locate)(const axk_job *job, axk_span *span);
    /* Writes products k .. k + depth - 1 of the span's rows as axk_tile describes. */
    void (*pack)(const axk_job *job, const axk_span *span, size_t group, size_t k, size_t depth,
                 uint8_t *codes);
    /* Writes sums[j * AXK_TILE_M + i] of n channels from `channel` to the output. */
    void (*store)(const axk_job *job, const axk_span *span, size_t channel, size_t n,
                  const uint32_t *sums);
};

/* Returns 0, or -1 if memory for the tiles could not be had. */
int axk_run_job(const axk_job *job, const axk_isa *isa, int threads);

#endif

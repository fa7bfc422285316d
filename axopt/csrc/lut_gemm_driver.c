/* Cuts a product or a convolution into tiles and spreads them over threads.
 *
 * A task is one tile of rows (output pixels, across images) times one block of output channels.
 * No task reads what another writes and all sums are integers, so the result does not depend on
 * the number of threads. Memory is one tile a thread: nothing is unrolled as a whole.
 */
#include "lut_gemm_driver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

/* Starting a thread for less work than this costs more than it saves: on a Zen 4 with AVX-512
 * two threads broke even at twice this, 20 us of work. */
#define MIN_MACS_PER_THREAD ((size_t)1 << 18)
/* Blocks of output channels are not cut below this to occupy threads: each packs the tile anew. */
#define MIN_CHANNELS_PER_TASK ((size_t)16)
#define CACHE_LINE 64

/* What a thread needs for one tile. */
typedef struct workspace {
    _Alignas(CACHE_LINE) uint8_t codes[AXK_TILE_K * AXK_TILE_M];
    axk_span span;
    _Alignas(CACHE_LINE) uint32_t sums[]; /* [n_block][AXK_TILE_M] */
} workspace;

typedef struct plan {
    size_t m_tiles, n_block, n_blocks, tasks;
    size_t depth; /* products summed per tile */
    int threads;
} plan;

static size_t thread_index(void)
{
#if defined(_OPENMP)
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

static size_t divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int threads_worth(const axk_job *job, int threads)
{
    /* In floating point: the product of four sizes may pass 2^64. */
    const double macs = (double)job->groups * (double)job->m * (double)job->n * (double)job->k;
    const double worth = macs / (double)MIN_MACS_PER_THREAD;

    if (worth >= (double)threads) {
        return threads;
    }
    return worth < 1.0 ? 1 : (int)worth;
}

static plan make_plan(const axk_job *job, int threads)
{
    assert(threads >= 1 && job->groups && job->m && job->n && job->k);

    plan p = {.m_tiles = divide_up(job->m, AXK_TILE_M),
              .n_block = smaller(job->n, AXK_TILE_N),
              /* of even size, so that the last one is not a sliver */
              .depth = divide_up(job->k, divide_up(job->k, AXK_TILE_K))};

    p.threads = threads_worth(job, threads);
    p.n_blocks = divide_up(job->n, p.n_block);
    while (job->groups * p.m_tiles * p.n_blocks < (size_t)p.threads &&
           p.n_block >= 2 * MIN_CHANNELS_PER_TASK) {
        p.n_block = divide_up(p.n_block, 2);
        p.n_blocks = divide_up(job->n, p.n_block);
    }
    p.tasks = job->groups * p.m_tiles * p.n_blocks;
    return p;
}

static void start_sums(uint32_t *sums, size_t n, size_t rows, uint32_t start)
{
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < rows; i++) {
            sums[j * AXK_TILE_M + i] = start;
        }
    }
}

/* Kernels work on full vectors: fill up with codes that do occur in the row. */
static void fill_rows(uint8_t *codes, size_t rows, size_t depth)
{
    const size_t filled = divide_up(rows, AXK_ROW_ALIGN) * AXK_ROW_ALIGN;

    for (size_t d = 0; d < depth; d++, codes += AXK_TILE_M) {
        memset(codes + rows, codes[0], filled - rows);
    }
}

/* Tasks are numbered rows first, groups last, so a thread keeps the span of its tile. */
static void run_task(const axk_job *job, const plan *p, axk_tile_fn *tile_fn, size_t task,
                     workspace *work)
{
    const size_t m_tile = task / (job->groups * p->n_blocks);
    const size_t group = task / p->n_blocks % job->groups;
    const size_t first_n = task % p->n_blocks * p->n_block;
    const size_t n = smaller(p->n_block, job->n - first_n);
    const size_t first_m = m_tile * AXK_TILE_M;
    const uint8_t *weights = job->weights + (group * job->n + first_n) * job->k;

    if (work->span.rows == 0 || work->span.first != first_m) {
        work->span.first = first_m;
        work->span.rows = smaller(AXK_TILE_M, job->m - first_m);
        job->locate(job, &work->span);
    }
    start_sums(work->sums, n, AXK_TILE_M, (uint32_t)job->table->bias * (uint32_t)job->k);
    for (size_t k = 0; k < job->k; k += p->depth) {
        const axk_tile tile = {.codes = work->codes,
                               .rows = work->span.rows,
                               .depth = smaller(p->depth, job->k - k)};

        job->pack(job, &work->span, group, k, tile.depth, work->codes);
        fill_rows(work->codes, tile.rows, tile.depth);
        tile_fn(job->table, &tile, n, weights + k, job->k, work->sums);
    }
    job->store(job, &work->span, group * job->n + first_n, n, work->sums);
}

int axk_run_job(const axk_job *job, const axk_isa *isa, int threads)
{
    const plan p = make_plan(job, threads);
    const size_t stride = sizeof(workspace) + p.n_block * AXK_TILE_M * sizeof(uint32_t);
    const size_t used = smaller((size_t)p.threads, p.tasks);
    char *memory = aligned_alloc(CACHE_LINE, stride * used);

    if (memory == NULL) {
        return -1;
    }
#pragma omp parallel num_threads((int)used) if (used > 1)
    {
        workspace *work = (workspace *)(memory + stride * thread_index());

        work->span.rows = 0;
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < p.tasks; task++) {
            run_task(job, &p, isa->tile, task, work);
        }
    }
    free(memory);
    return 0;
}

/* Cuts an operation into bands and distributes them over threads.
 *
 * No band writes what another reads or writes, and all sums are integers, so the result does not
 * depend on the number of threads. Each thread has memory for one band; no input is unrolled as a
 * whole.
 */
#include <assert.h>
#include <stdlib.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "methods.h"
#include "sizes.h"

/* Starting a thread for less work than this costs more than it saves. */
#define MIN_MACS_PER_THREAD ((double)(1 << 20))
/* Size of the sums of a chunk of rows; they stay in the first- or second-level cache. */
#define SUM_BYTES ((size_t)64 << 10)
/* Size of the sums of a band's row; in practice only joined lines (1x1 kernels) are cut by it. */
#define LINE_BYTES ((size_t)128 << 10)
#define CACHE_LINE ((size_t)64)
/* Kernels read whole quads and vectors, so they may read so many bytes behind the last code. */
#define SLACK_BYTES ((size_t)256)

static size_t thread_index(void)
{
#if defined(_OPENMP)
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

static int threads_worth(const axk_conv2d *c, int threads)
{
    /* In floating point: the product of the sizes may pass 2^64. */
    const double macs = (double)c->images * (double)c->out_channels * (double)c->out_height *
                        (double)c->out_width * (double)(c->channels / c->groups) *
                        (double)c->kernel_height * (double)c->kernel_width;
    const double worth = macs / MIN_MACS_PER_THREAD;

    if (worth >= (double)threads) {
        return threads;
    }
    return worth < 1.0 ? 1 : (int)worth;
}

/* Limits of a method's bands. The codes and the sums of a band should stay in the second-level
 * cache; a band holds several small images. */
typedef struct limits {
    size_t small_pixels; /* output pixels that the images of a band have together at first */
    size_t pixels, columns, bytes;
    size_t chunk_pixels; /* pixels summed at a time; 0: as many as SUM_BYTES allow */
    size_t channels;     /* a group's channels are split in multiples of this; 0: never */
} limits;

static const limits *limits_of(const axk_operation *op)
{
    static const limits terms = {.small_pixels = 256,
                                 .pixels = SIZE_MAX,
                                 .columns = SIZE_MAX,
                                 .bytes = (size_t)192 << 10};
    /* 24 KB of codes have 384 KB of residual rows; half as many if codes are int16. */
    static const limits residual = {.small_pixels = 256,
                                    .pixels = SIZE_MAX,
                                    .columns = SIZE_MAX,
                                    .bytes = (size_t)24 << 10};
    /* Product rows are built for every band: bands of 4,096 pixels, whose sums take 512 KB, spend
     * an eighth of the time on it. */
    static const limits rows = {.small_pixels = 4096,
                                .pixels = 6144,
                                .columns = SIZE_MAX,
                                .bytes = (size_t)1 << 20,
                                .channels = AXK_ROW_WIDTH};
    static const limits pixel_lanes = {.small_pixels = 1024,
                                       .pixels = SIZE_MAX,
                                       .columns = AXK_TILE_M,
                                       .bytes = (size_t)192 << 10,
                                       .chunk_pixels = AXK_TILE_M,
                                       .channels = 16};
    static const limits channel_lanes = {.small_pixels = 64,
                                         .pixels = SIZE_MAX,
                                         .columns = 64,
                                         .bytes = (size_t)192 << 10,
                                         .chunk_pixels = 64,
                                         .channels = AXK_ROW_ALIGN};

    switch (op->method) {
    case AXK_ROWS:
        return &rows;
    case AXK_PIXEL_LANES:
        return &pixel_lanes;
    case AXK_CHANNEL_LANES:
        return &channel_lanes;
    default:
        return axk_has_residual(op) ? &residual : &terms;
    }
}

/* The size of a band, and the numbers of bands along each axis, of tasks and of threads. */
typedef struct partition {
    axk_layout layout;
    axk_band band;
    size_t across, down, deep;
    size_t share, shares; /* channels of each group that a task sums */
    size_t tasks;
    size_t chunk; /* output rows summed at a time */
    size_t threads;
} partition;

static size_t input_extent(size_t outputs, size_t stride, size_t kernel, size_t dilation)
{
    return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

static void set_extent(const axk_conv2d *c, axk_band *band)
{
    band->in_rows = input_extent(band->rows, c->stride_y, c->kernel_height, c->dilation_y);
    band->in_columns = input_extent(band->columns, c->stride_x, c->kernel_width, c->dilation_x);
}

static size_t band_bytes(const partition *p)
{
    return times(axk_in_pixels(&p->band), p->layout.pixel_bytes);
}

static void count_tasks(const axk_conv2d *c, partition *p)
{
    p->across = divide_up(c->out_width, p->band.columns);
    p->down = divide_up(c->out_height, p->band.rows);
    p->deep = divide_up(c->images, p->band.images);
    p->shares = divide_up(c->out_channels / c->groups, p->share);
    p->tasks = p->across * p->down * p->deep * p->shares;
}

/* Cuts the channels, where the method allows it, until there is a task for every thread. */
static void choose_share(const axk_conv2d *c, const limits *l, partition *p)
{
    const size_t bands = p->tasks;
    const size_t channels = p->share;

    if (l->channels != 0 && bands < p->threads) {
        const size_t even = divide_up(channels, divide_up(p->threads, bands));

        p->share = smaller(divide_up(even, l->channels) * l->channels, channels);
        count_tasks(c, p);
    }
}

/* Returns the band to start from: as many whole images as have the method's small_pixels. */
static axk_band whole_images(const axk_operation *op, const limits *l)
{
    const axk_conv2d *c = &op->conv;
    const size_t quad_bytes = AXK_QUAD * axk_sum_stride(op) * sizeof(uint32_t);
    const size_t line = larger(LINE_BYTES / quad_bytes, 2) * AXK_QUAD;
    const size_t columns = axk_looks_up(op) ? l->columns : line;
    const size_t map = c->out_height * c->out_width;

    return (axk_band){.images = smaller(c->images, divide_up(l->small_pixels, map)),
                      .rows = c->out_height,
                      .columns = smaller(c->out_width, columns)};
}

/* Halves images, then rows, then columns (to whole quads); returns 0 if nothing can be halved. */
static int halve(axk_band *band)
{
    if (band->images > 1) {
        band->images = divide_up(band->images, 2);
    } else if (band->rows > 1) {
        band->rows = divide_up(band->rows, 2);
    } else if (band->columns > 2 * AXK_QUAD) {
        band->columns = divide_up(divide_up(band->columns, 2), AXK_QUAD) * AXK_QUAD;
    } else {
        return 0;
    }
    return 1;
}

/* Halves the band until its codes fit the cache and there is a task for every thread. */
static void choose_band(const axk_operation *op, const limits *l, partition *p)
{
    const axk_conv2d *c = &op->conv;
    int fits = 0;

    p->share = c->out_channels / c->groups;
    p->band = whole_images(op, l);
    do {
        set_extent(c, &p->band);
        count_tasks(c, p);
        if (!fits && band_bytes(p) <= l->bytes && axk_pixels(&p->band) <= l->pixels) {
            fits = 1;
            choose_share(c, l, p);
        }
    } while (!(fits && p->tasks >= p->threads) && halve(&p->band));
}

static partition make_partition(const axk_operation *op, const axk_isa *isa, int threads)
{
    const limits *l = limits_of(op);
    partition p = {.layout = axk_looks_up(op) ? axk_codes_layout(op) : axk_terms_layout(op, isa)};

    p.threads = (size_t)threads_worth(&op->conv, threads);
    choose_band(op, l, &p);
    p.threads = smaller(p.threads, p.tasks);

    const size_t row_bytes = divide_up(p.band.columns, AXK_QUAD) * AXK_QUAD *
                             axk_sum_stride(op) * sizeof(uint32_t);
    const size_t rows = l->chunk_pixels == 0 ? SUM_BYTES / row_bytes
                                             : l->chunk_pixels / p.band.columns;
    p.chunk = smaller(larger(rows, 1), p.band.images * p.band.rows);
    return p;
}

/* Takes the next `bytes` of memory, behind the first `*used`; with memory == NULL only counts. */
static void *take(char *memory, size_t *used, size_t bytes)
{
    char *taken = memory == NULL ? NULL : memory + *used;

    *used = plus(*used, times(divide_up(bytes, CACHE_LINE), CACHE_LINE));
    return taken;
}

/* Takes the buffers that the method needs for its sums from memory. */
static void take_sums(const axk_operation *op, const partition *p, char *memory, size_t *used,
                      axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const axk_band *b = &p->band;
    const size_t quads = p->chunk * divide_up(b->columns, AXK_QUAD);
    const size_t chunk = p->chunk * b->columns;
    const size_t depth = c->channels / c->groups * c->kernel_height * c->kernel_width;

    switch (op->method) {
    case AXK_ROWS:
        work->quads = take(memory, used, times(b->images * b->rows, sizeof(*work->quads)));
        work->rows = take(memory, used, AXK_ROW_TAPS * AXK_CODES * AXK_ROW_WIDTH * 2);
        work->sums = take(memory, used, times(axk_pixels(b), AXK_ROW_WIDTH * sizeof(uint32_t)));
        break;
    case AXK_PIXEL_LANES:
        work->planar =
            take(memory, used, plus(times(axk_in_pixels(b), c->channels), SLACK_BYTES));
        work->tile = take(memory, used, AXK_TILE_K * AXK_TILE_M);
        work->tile_sums = take(memory, used, AXK_PART * AXK_TILE_M * sizeof(uint32_t));
        /* whole quads of pixels */
        work->sums =
            take(memory, used, times(plus(chunk, AXK_QUAD), AXK_PART * sizeof(uint32_t)));
        break;
    case AXK_CHANNEL_LANES:
        work->windows = take(memory, used, times(chunk, depth));
        work->tile_sums = take(memory, used, times(chunk, AXK_TILE_M * sizeof(uint32_t)));
        break;
    default:
        work->quads = take(memory, used, quads * sizeof(*work->quads));
        work->offsets =
            take(memory, used, c->kernel_height * c->kernel_width * sizeof(*work->offsets));
        work->sums =
            take(memory, used, times(quads * AXK_QUAD, axk_sum_stride(op) * sizeof(uint32_t)));
    }
}

/* Lays the workspace out in memory; returns its size. */
static size_t lay_out(const axk_operation *op, const axk_isa *isa, const partition *p,
                      char *memory, axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const axk_band *b = &p->band;
    const size_t in_sums = times(axk_in_pixels(b), c->groups * sizeof(uint32_t));
    const size_t out_sums = times(axk_pixels(b), c->groups * sizeof(uint32_t));
    const int sums = axk_needs_zeros(op) || axk_needs_plain(op);
    /* the last quad may have pixels behind the row's end; their windows reach so far */
    const size_t slack = plus(times(AXK_QUAD * c->stride_x, p->layout.pixel_bytes), SLACK_BYTES);
    const size_t codes = plus(band_bytes(p), slack);
    const size_t rows = times(codes / isa->code_bytes, AXK_CLASSES);
    size_t used = 0;

    work->expanded = take(memory, &used, codes);
    work->residual = take(memory, &used, axk_has_residual(op) ? rows : 0);
    work->codes = take(memory, &used, times(b->in_columns, c->channels));
    work->line = take(memory, &used, times(b->in_columns, sizeof(float)));
    work->line_codes = take(memory, &used, b->in_columns);
    work->code_sums = take(memory, &used, sums ? in_sums : 0);
    work->plain_sums = take(memory, &used, sums ? in_sums : 0);
    work->window_zeros = take(memory, &used, sums ? out_sums : 0);
    work->window_plain = take(memory, &used, sums ? out_sums : 0);
    take_sums(op, p, memory, &used, work);
    return used;
}

/* Bands are numbered columns first, images last. */
static axk_band band_at(const axk_conv2d *c, const partition *p, size_t number)
{
    axk_band band = p->band;

    band.x = number % p->across * band.columns;
    band.y = number / p->across % p->down * band.rows;
    band.image = number / p->across / p->down * band.images;
    band.columns = smaller(band.columns, c->out_width - band.x);
    band.rows = smaller(band.rows, c->out_height - band.y);
    band.images = smaller(band.images, c->images - band.image);
    set_extent(c, &band);
    return band;
}

/* Tasks are numbered shares first, then bands. */
static void run_task(const axk_operation *op, const axk_isa *isa, const partition *p, size_t task,
                     axk_workspace *work)
{
    const axk_band band = band_at(&op->conv, p, task / p->shares);
    const size_t channels = op->conv.out_channels / op->conv.groups;
    axk_share share = {.first = task % p->shares * p->share};

    share.count = smaller(p->share, channels - share.first);
    axk_fill_band(op, isa, &p->layout, &band, work);
    switch (op->method) {
    case AXK_DEPTHWISE:
        axk_sum_depthwise(op, isa, &p->layout, &band, work);
        break;
    case AXK_ROWS:
        axk_sum_rows(op, isa, &band, share, work);
        break;
    case AXK_PIXEL_LANES:
        axk_sum_pixel_lanes(op, isa, &band, share, p->chunk, work);
        break;
    case AXK_CHANNEL_LANES:
        axk_sum_channel_lanes(op, isa, &band, share, p->chunk, work);
        break;
    default:
        axk_sum_terms(op, isa, &p->layout, &band, p->chunk, work);
    }
}

/* A 1x1 kernel without stride and padding: joins the lines of an image into one line if they are
 * evenly spaced in memory, and then the lines of all images. */
static void join_lines(axk_operation *op)
{
    axk_conv2d *c = &op->conv;
    axk_source *s = &op->source;

    if (c->kernel_height != 1 || c->kernel_width != 1 || c->stride_y != 1 || c->stride_x != 1 ||
        c->out_height != c->height || c->out_width != c->width || c->pad_top != 0 ||
        c->pad_left != 0) {
        return;
    }
    if (c->width == 1) {
        s->stride_x = s->stride_y;
    }
    if (c->height == 1 || s->stride_y == (ptrdiff_t)c->width * s->stride_x) {
        c->width *= c->height;
        c->out_width = c->width;
        c->height = c->out_height = 1;
    } else {
        return;
    }
    if (c->width == 1) {
        s->stride_x = s->stride_image;
    }
    if (s->stride_image == (ptrdiff_t)c->width * s->stride_x) {
        c->width *= c->images;
        c->out_width = c->width;
        c->images = 1;
    }
}

int axk_execute(const axk_isa *isa, int threads, const axk_operation *operation)
{
    axk_operation op = *operation;

    assert(threads >= 1);
    join_lines(&op);
    const partition p = make_partition(&op, isa, threads);
    axk_workspace sizes;
    const size_t bytes = lay_out(&op, isa, &p, NULL, &sizes);
    const size_t total = times(bytes, p.threads);
    char *memory = total > PTRDIFF_MAX ? NULL : aligned_alloc(CACHE_LINE, total);

    if (memory == NULL) {
        return -1;
    }
#pragma omp parallel num_threads((int)p.threads) if (p.threads > 1)
    {
        axk_workspace work;

        lay_out(&op, isa, &p, memory + bytes * thread_index(), &work);
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < p.tasks; task++) {
            run_task(&op, isa, &p, task, &work);
        }
    }
    free(memory);
    return 0;
}

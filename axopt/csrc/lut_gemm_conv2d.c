/* Convolution: rows are output pixels, of all images one after the other, so that small maps fill
 * the vectors too. Product k of a pixel is tap (channel, ky, kx) of its window: each tap of a run
 * of pixels is one evenly spaced line of the input. */
#include <string.h>

#include "lut_gemm_driver.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void locate(const axk_job *job, axk_span *span)
{
    const axk_conv2d *c = job->shape;
    const size_t end = span->first + span->rows;
    size_t row = span->first;

    span->run_count = 0;
    while (row < end) {
        const size_t x = row % c->out_width;
        const size_t y = row / c->out_width % c->out_height;
        const size_t image = row / c->out_width / c->out_height;
        const size_t in_y = image * c->channels * c->height + y * c->stride_y;
        const size_t out_y = image * c->out_channels * c->out_height + y;
        axk_run *run = &span->runs[span->run_count++];

        run->source = in_y * c->width + x * c->stride_x;
        run->target = out_y * c->out_width + x;
        run->rows = smaller(c->out_width - x, end - row);
        row += run->rows;
    }
}

/* Where product k + d of a row lies, from where product 0 of group 0 lies. */
static void find_taps(const axk_conv2d *c, size_t group, size_t k, size_t depth, size_t *taps)
{
    const size_t first_channel = group * (c->channels / c->groups);

    for (size_t d = 0; d < depth; d++) {
        const size_t kx = (k + d) % c->kernel_width;
        const size_t ky = (k + d) / c->kernel_width % c->kernel_height;
        const size_t channel = first_channel + (k + d) / c->kernel_width / c->kernel_height;

        taps[d] = (channel * c->height + ky * c->dilation_y) * c->width + kx * c->dilation_x;
    }
}

/* Copies n bytes of each tap, size <= n <= 2 * size, as two pieces that may overlap: on the short
 * lines of small maps a call of memcpy costs more than the copy. */
static inline __attribute__((always_inline)) void
copy_pieces(const uint8_t *from, const size_t *taps, size_t depth, size_t n, size_t size,
            uint8_t *to)
{
    for (size_t d = 0; d < depth; d++, to += AXK_TILE_M) {
        memcpy(to, from + taps[d], size);
        memcpy(to + n - size, from + taps[d] + n - size, size);
    }
}

static void copy_lines(const uint8_t *from, const size_t *taps, size_t depth, size_t n,
                       uint8_t *to)
{
    if (n >= 32 && n <= 64) {
        copy_pieces(from, taps, depth, n, 32, to);
    } else if (n >= 16 && n < 32) {
        copy_pieces(from, taps, depth, n, 16, to);
    } else if (n >= 8 && n < 16) {
        copy_pieces(from, taps, depth, n, 8, to);
    } else if (n >= 4 && n < 8) {
        copy_pieces(from, taps, depth, n, 4, to);
    } else {
        for (size_t d = 0; d < depth; d++) {
            memcpy(to + d * AXK_TILE_M, from + taps[d], n);
        }
    }
}

static void copy_spaced(const uint8_t *from, const size_t *taps, size_t depth, size_t n,
                        size_t step, uint8_t *to)
{
    for (size_t d = 0; d < depth; d++, to += AXK_TILE_M) {
        for (size_t i = 0; i < n; i++) {
            to[i] = from[taps[d] + i * step];
        }
    }
}

static void pack(const axk_job *job, const axk_span *span, size_t group, size_t k, size_t depth,
                 uint8_t *codes)
{
    const axk_conv2d *c = job->shape;
    size_t taps[AXK_TILE_K];

    find_taps(c, group, k, depth, taps);
    for (size_t r = 0; r < span->run_count; r++) {
        const axk_run *run = &span->runs[r];
        const uint8_t *from = job->operand + run->source;

        if (c->stride_x == 1) {
            copy_lines(from, taps, depth, run->rows, codes);
        } else {
            copy_spaced(from, taps, depth, run->rows, c->stride_x, codes);
        }
        codes += run->rows;
    }
}

static void store(const axk_job *job, const axk_span *span, size_t channel, size_t n,
                  const uint32_t *sums)
{
    const axk_conv2d *c = job->shape;
    const size_t map = c->out_height * c->out_width;

    for (size_t j = 0; j < n; j++) {
        const uint32_t *from = sums + j * AXK_TILE_M;

        for (size_t r = 0; r < span->run_count; r++) {
            const axk_run *run = &span->runs[r];

            memcpy(job->out + run->target + (channel + j) * map, from,
                   run->rows * sizeof(*job->out));
            from += run->rows;
        }
    }
}

/* With a 1x1 kernel and no stride the lines of a map follow each other: one long line. */
static axk_conv2d join_lines(axk_conv2d c)
{
    if (c.kernel_height == 1 && c.kernel_width == 1 && c.stride_y == 1 && c.stride_x == 1) {
        c.width *= c.height;
        c.out_width = c.width;
        c.height = c.out_height = 1;
    }
    return c;
}

int axk_conv2d_run(const axk_isa *isa, int threads, const axk_table *table,
                   const axk_conv2d *conv, const uint8_t *x, const uint8_t *w, int32_t *out)
{
    const axk_conv2d c = join_lines(*conv);
    const axk_job job = {.groups = c.groups,
                         .m = c.images * c.out_height * c.out_width,
                         .n = c.out_channels / c.groups,
                         .k = c.channels / c.groups * c.kernel_height * c.kernel_width,
                         .table = table,
                         .weights = w,
                         .operand = x,
                         .out = out,
                         .shape = &c,
                         .locate = locate,
                         .pack = pack,
                         .store = store};

    return axk_run_job(&job, isa, threads);
}

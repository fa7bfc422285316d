/* Reads the activations of a band, row by row; quantises, expands and pads them. */
#include <string.h>

#include "methods.h"
#include "sizes.h"

size_t axk_pixels(const axk_band *band)
{
    return times(times(band->images, band->rows), band->columns);
}

size_t axk_in_pixels(const axk_band *band)
{
    return times(times(band->images, band->in_rows), band->in_columns);
}

int axk_looks_up(const axk_operation *op)
{
    return op->method != AXK_TERMS && op->method != AXK_DEPTHWISE;
}

int axk_has_residual(const axk_operation *op)
{
    return op->method == AXK_TERMS && op->terms.residual != NULL;
}

int axk_needs_zeros(const axk_operation *op)
{
    return op->method != AXK_DEPTHWISE && op->sink.values != NULL && op->sink.zero_point != NULL;
}

int axk_needs_plain(const axk_operation *op)
{
    return op->method == AXK_TERMS && op->terms.row_scale != 0;
}

static void quantise(const axk_source *source, const axk_isa *isa, const float *values, size_t n,
                     uint8_t *codes)
{
    isa->edges->quantise(values, n, source->inverse_scale, source->zero_point, codes);
    if (source->map.codes != NULL) {
        isa->edges->map(codes, n, &source->map);
    }
}

/* The code of a padded position. */
static uint8_t padding_code(const axk_source *source)
{
    const uint8_t level = (uint8_t)source->zero_point;

    return source->map.codes == NULL ? level : source->map.codes[level];
}

/* Reads n pixels of one channel, from element `from` on; returns their codes. */
static const uint8_t *read_line(const axk_source *source, const axk_isa *isa, ptrdiff_t from,
                                size_t n, axk_workspace *work)
{
    if (source->codes != NULL) {
        for (size_t i = 0; i < n; i++) {
            work->line_codes[i] = source->codes[from + (ptrdiff_t)i * source->stride_x];
        }
        return work->line_codes;
    }
    const float *values = source->values + from;
    if (source->stride_x != 1) {
        for (size_t i = 0; i < n; i++) {
            work->line[i] = values[(ptrdiff_t)i * source->stride_x];
        }
        values = work->line;
    }
    quantise(source, isa, values, n, work->line_codes);
    return work->line_codes;
}

/* Reads n pixels, from element `from` on; returns their codes as [pixel][channel]. */
static const uint8_t *read_row(const axk_operation *op, const axk_isa *isa, ptrdiff_t from,
                               size_t n, axk_workspace *work)
{
    const axk_source *s = &op->source;
    const size_t channels = op->conv.channels;

    if (channels > 1 && s->stride_channel != 1) {
        for (size_t c = 0; c < channels; c++) {
            const uint8_t *line =
                read_line(s, isa, from + (ptrdiff_t)c * s->stride_channel, n, work);

            for (size_t i = 0; i < n; i++) {
                work->codes[i * channels + c] = line[i];
            }
        }
        return work->codes;
    }
    const int dense = s->stride_x == (ptrdiff_t)channels || n == 1;
    if (s->codes != NULL && dense) {
        return s->codes + from;
    }
    const size_t pieces = dense ? 1 : n;
    const size_t length = dense ? n * channels : channels;
    for (size_t i = 0; i < pieces; i++) {
        const ptrdiff_t at = from + (ptrdiff_t)i * s->stride_x;
        uint8_t *to = work->codes + i * length;

        if (s->codes != NULL) {
            memcpy(to, s->codes + at, length);
        } else {
            quantise(s, isa, s->values + at, length, to);
        }
    }
    return work->codes;
}

static void expand_pixels(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                          const uint8_t *codes, size_t n, char *to)
{
    if (axk_looks_up(op)) {
        memcpy(to, codes, n * layout->pixel_bytes);
        return;
    }
    for (size_t g = 0; g < layout->groups; g++) {
        isa->edges->expand(codes + g * layout->channels, n, layout->channels, op->conv.channels,
                           &op->terms, layout->pixel_bytes, to + g * layout->group_bytes);
    }
}

/* sums[i] = scale * (sum of codes & mask) of each group of `channels` codes. */
static void sum_masked(const uint8_t *restrict codes, size_t n, size_t channels, uint8_t mask,
                       uint32_t scale, uint32_t *restrict sums)
{
    if (channels == 1) {
        for (size_t i = 0; i < n; i++) {
            sums[i] = scale * (uint32_t)(codes[i] & mask);
        }
        return;
    }
    for (size_t i = 0; i < n; i++, codes += channels) {
        uint32_t sum = 0;

        for (size_t c = 0; c < channels; c++) {
            sum += (uint32_t)(codes[c] & mask);
        }
        sums[i] = sum * scale;
    }
}

static void sum_codes(const axk_operation *op, const uint8_t *codes, size_t n, axk_workspace *work,
                      size_t at)
{
    const size_t groups = op->conv.groups;
    const size_t channels = op->conv.channels / groups;

    if (axk_needs_zeros(op)) {
        sum_masked(codes, n * groups, channels, 255, 1, work->code_sums + at);
    }
    if (axk_needs_plain(op)) {
        sum_masked(codes, n * groups, channels, op->terms.row_mask,
                   (uint32_t)op->terms.row_scale, work->plain_sums + at);
    }
}

/* Writes the residual rows of n pixels whose expanded codes lie at `to`. The rows of a unit's
 * padding are 0, because the padding of the weights has a class too. */
static void put_residual(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                         const uint8_t *codes, size_t n, const char *to, axk_workspace *work)
{
    const size_t at = (size_t)(to - work->expanded) / isa->code_bytes * AXK_CLASSES;
    const size_t left = layout->group_bytes / isa->code_bytes - layout->channels;
    /* without padding, all pixels and groups are one piece */
    const size_t pieces = left == 0 ? 1 : n * layout->groups;
    const size_t length = n * layout->groups * layout->channels / pieces;
    uint8_t *rows = work->residual + at;

    for (size_t i = 0; i < pieces; i++, codes += length) {
        isa->edges->fetch_rows(codes, length, op->terms.residual, rows);
        memset(rows + length * AXK_CLASSES, 0, left * AXK_CLASSES);
        rows += (length + left) * AXK_CLASSES;
    }
}

typedef struct row_target {
    char *expanded;
    size_t sums; /* index of the first pixel's first group in code_sums */
} row_target;

static void put_codes(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                      const uint8_t *codes, size_t n, size_t column, row_target to,
                      axk_workspace *work)
{
    char *pixels = to.expanded + column * layout->pixel_bytes;

    expand_pixels(op, isa, layout, codes, n, pixels);
    if (axk_has_residual(op)) {
        put_residual(op, isa, layout, codes, n, pixels, work);
    }
    if (axk_needs_zeros(op) || axk_needs_plain(op)) {
        sum_codes(op, codes, n, work, to.sums + column * op->conv.groups);
    }
}

static void put_padding(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                        size_t column, size_t n, row_target to, axk_workspace *work)
{
    if (n == 0) {
        return;
    }
    memset(work->codes, padding_code(&op->source), n * op->conv.channels);
    put_codes(op, isa, layout, work->codes, n, column, to, work);
}

/* Writes row in_y of the padded input, from the band's first column on. */
static void fill_row(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                     const axk_band *band, size_t image, size_t in_y, row_target to,
                     axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const size_t first = band->x * c->stride_x;
    const size_t left = first < c->pad_left ? smaller(c->pad_left - first, band->in_columns) : 0;
    const size_t from = first + left - c->pad_left;
    const size_t inside = from < c->width ? smaller(c->width - from, band->in_columns - left) : 0;

    if (in_y < c->pad_top || in_y - c->pad_top >= c->height || inside == 0) {
        put_padding(op, isa, layout, 0, band->in_columns, to, work);
        return;
    }
    const ptrdiff_t at = (ptrdiff_t)image * op->source.stride_image +
                         (ptrdiff_t)(in_y - c->pad_top) * op->source.stride_y +
                         (ptrdiff_t)from * op->source.stride_x;

    put_codes(op, isa, layout, read_row(op, isa, at, inside, work), inside, left, to, work);
    put_padding(op, isa, layout, 0, left, to, work);
    put_padding(op, isa, layout, left + inside, band->in_columns - left - inside, to, work);
}

static inline void add_line(const uint32_t *restrict from, size_t n, uint32_t *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += from[i];
    }
}

/* Box filter: writes the sum over the window of every output pixel of the band, [pixel][group]. */
static void sum_windows(const axk_operation *op, const axk_band *band, const uint32_t *sums,
                        uint32_t *windows)
{
    const axk_conv2d *c = &op->conv;
    const size_t line = band->in_columns * c->groups;
    const size_t out_line = band->columns * c->groups;
    const size_t step = c->stride_x * c->groups;

    memset(windows, 0, axk_pixels(band) * c->groups * sizeof(*windows));
    for (size_t r = 0; r < band->images * band->rows; r++, windows += out_line) {
        const size_t in_row = r / band->rows * band->in_rows + r % band->rows * c->stride_y;

        for (size_t tap = 0; tap < c->kernel_height * c->kernel_width; tap++) {
            const size_t ky = tap / c->kernel_width * c->dilation_y;
            const size_t kx = tap % c->kernel_width * c->dilation_x;
            const uint32_t *from = sums + (in_row + ky) * line + kx * c->groups;

            if (c->stride_x == 1) {
                add_line(from, out_line, windows);
            } else {
                for (size_t x = 0; x < band->columns; x++) {
                    add_line(from + x * step, c->groups, windows + x * c->groups);
                }
            }
        }
    }
}

void axk_fill_band(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                   const axk_band *band, axk_workspace *work)
{
    const size_t row_bytes = band->in_columns * layout->pixel_bytes;
    const size_t row_sums = band->in_columns * op->conv.groups;

    for (size_t r = 0; r < band->images * band->in_rows; r++) {
        const row_target to = {.expanded = work->expanded + r * row_bytes, .sums = r * row_sums};

        fill_row(op, isa, layout, band, band->image + r / band->in_rows,
                 band->y * op->conv.stride_y + r % band->in_rows, to, work);
    }
    if (axk_needs_zeros(op)) {
        sum_windows(op, band, work->code_sums, work->window_zeros);
    }
    if (axk_needs_plain(op)) {
        sum_windows(op, band, work->plain_sums, work->window_plain);
    }
}

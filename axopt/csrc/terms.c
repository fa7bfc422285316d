/* Sums of a band by separable terms: ordinary integer products of the expanded codes. */
#include "methods.h"
#include "sizes.h"

axk_layout axk_terms_layout(const axk_operation *op, const axk_isa *isa)
{
    const size_t groups = op->method == AXK_DEPTHWISE ? 1 : op->conv.groups;
    const size_t channels = op->conv.channels / groups;
    const size_t bytes = op->terms.count * channels * isa->code_bytes;
    const size_t group_bytes = divide_up(bytes, AXK_UNIT) * AXK_UNIT;

    return (axk_layout){.groups = groups,
                        .channels = channels,
                        .group_bytes = group_bytes,
                        .pixel_bytes = groups * group_bytes};
}

/* Finds the contiguous pieces of a window. Taps of a line that are adjacent in memory are one. */
static size_t find_runs(const axk_operation *op, const axk_layout *layout, const axk_band *band,
                        size_t *offsets, size_t *run_bytes)
{
    const axk_conv2d *c = &op->conv;
    const size_t line = band->in_columns * layout->pixel_bytes;
    const int joined = op->method == AXK_TERMS && layout->groups == 1 && c->dilation_x == 1;
    const size_t across = joined ? 1 : c->kernel_width;
    const size_t runs = c->kernel_height * across;

    for (size_t r = 0; r < runs; r++) {
        offsets[r] = r / across * c->dilation_y * line +
                     r % across * c->dilation_x * layout->pixel_bytes;
    }
    *run_bytes = joined ? c->kernel_width * layout->group_bytes : layout->group_bytes;
    return runs;
}

/* Lists the quads of n output rows of the band from `first`, counted over all its images. */
static size_t list_quads(const axk_operation *op, const axk_layout *layout, const axk_band *band,
                         size_t first, size_t n, axk_workspace *work)
{
    const size_t line = band->in_columns * layout->pixel_bytes;
    const size_t step = AXK_QUAD * op->conv.stride_x * layout->pixel_bytes;
    size_t count = 0;

    for (size_t r = first; r < first + n; r++) {
        const uint8_t *at = (const uint8_t *)work->expanded + axk_in_row(op, band, r) * line;

        for (size_t x = 0; x < band->columns; x += AXK_QUAD, at += step) {
            work->quads[count++] = at;
        }
    }
    return count;
}

void axk_sum_terms(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                   const axk_band *band, size_t chunk, axk_workspace *work)
{
    const size_t stride = axk_sum_stride(op);
    const size_t blocks = stride / AXK_LANES;
    const size_t channels = op->conv.out_channels / layout->groups;
    const size_t rows = band->images * band->rows;
    const size_t row_pixels = divide_up(band->columns, AXK_QUAD) * AXK_QUAD;
    axk_window window = {.run_offset = work->offsets,
                         .pixel_step = op->conv.stride_x * layout->pixel_bytes};

    window.runs = find_runs(op, layout, band, work->offsets, &window.run_bytes);
    const size_t block_bytes = window.runs * window.run_bytes * AXK_LANES;
    for (size_t first = 0; first < rows; first += chunk) {
        const size_t n = rows - first < chunk ? rows - first : chunk;
        const size_t quads = list_quads(op, layout, band, first, n, work);

        for (size_t g = 0; g < layout->groups; g++) {
            const char *weights = (const char *)op->terms.weights + g * blocks * block_bytes;
            const axk_part part = {.first_channel = g * channels,
                                   .channels = channels,
                                   .sum_stride = stride,
                                   .group = g,
                                   .one_group = 1};

            if (axk_has_residual(op)) {
                const size_t block = block_bytes / isa->code_bytes;
                const axk_residual residual = {.codes = (const uint8_t *)work->expanded,
                                               .rows = work->residual,
                                               .classes =
                                                   op->terms.classes + g * blocks * block};

                isa->residual(&window, &residual, work->quads, quads, weights, block_bytes,
                              blocks, work->sums, stride);
            } else {
                isa->dot(&window, work->quads, quads, weights, block_bytes, blocks, work->sums,
                         stride);
            }
            for (size_t r = 0; r < n; r++) {
                axk_finish_row(op, isa, band, work, &part, first + r,
                               work->sums + r * row_pixels * stride);
            }
            for (size_t q = 0; q < quads; q++) {
                work->quads[q] += layout->group_bytes;
            }
        }
    }
}

void axk_sum_depthwise(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                       const axk_band *band, axk_workspace *work)
{
    const size_t row_bytes = band->in_columns * layout->pixel_bytes;
    const axk_part part = {.channels = op->conv.channels, .sum_stride = op->conv.channels};
    size_t run_bytes;
    axk_depthwise_line line = {.pixels = band->columns,
                               .pixel_step = op->conv.stride_x * layout->pixel_bytes,
                               .channels = op->conv.channels,
                               .terms = op->terms.count,
                               .tap_offset = work->offsets};

    line.taps = find_runs(op, layout, band, work->offsets, &run_bytes);
    for (size_t r = 0; r < band->images * band->rows; r++) {
        line.code = work->expanded + axk_in_row(op, band, r) * row_bytes;
        isa->depthwise(&line, op->terms.weights, work->sums);
        axk_finish_row(op, isa, band, work, &part, r, work->sums);
    }
}

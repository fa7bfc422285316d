/* Sums of a band by product rows (axk_rows). Building the rows of a tap and a block of channels
 * costs as much as using them for a few hundred pixels, so bands are large. */
#include "methods.h"
#include "sizes.h"

enum { STEP = 8 }; /* codes whose rows are built together */

axk_layout axk_codes_layout(const axk_operation *op)
{
    return (axk_layout){.groups = 1,
                        .channels = op->conv.channels,
                        .group_bytes = op->conv.channels,
                        .pixel_bytes = op->conv.channels};
}

/* The range of the codes in the band: only the upper half after a ReLU in a signed layer. */
typedef struct code_range {
    size_t first, last;
} code_range;

static code_range find_range(const uint8_t *codes, size_t n)
{
    uint8_t low = AXK_CODES - 1, high = 0;

    for (size_t i = 0; i < n; i++) {
        low = codes[i] < low ? codes[i] : low;
        high = codes[i] > high ? codes[i] : high;
    }
    return (code_range){.first = (size_t)low / STEP * STEP,
                        .last = ((size_t)high / STEP + 1) * STEP};
}

static axk_lines list_lines(const axk_operation *op, const axk_band *band, axk_workspace *work)
{
    const size_t channels = op->conv.channels;
    const size_t count = band->images * band->rows;

    for (size_t r = 0; r < count; r++) {
        work->quads[r] = (const uint8_t *)work->expanded +
                         axk_in_row(op, band, r) * band->in_columns * channels;
    }
    return (axk_lines){.lines = work->quads,
                       .count = count,
                       .pixels = band->columns,
                       .pixel_step = op->conv.stride_x * channels};
}

/* Tap k of a window, channels innermost: the offset of its code from the window's first code, and
 * the position of its weight among those of an output channel. */
typedef struct tap {
    size_t offset, weight;
} tap;

static tap find_tap(const axk_conv2d *c, const axk_band *band, size_t group, size_t k)
{
    const size_t channels = c->channels / c->groups;
    const size_t channel = k % channels;
    const size_t ky = k / channels / c->kernel_width;
    const size_t kx = k / channels % c->kernel_width;
    const size_t pixel = ky * c->dilation_y * band->in_columns + kx * c->dilation_x;

    return (tap){.offset = pixel * c->channels + group * channels + channel,
                 .weight = (channel * c->kernel_height + ky) * c->kernel_width + kx};
}

/* Writes the weight codes of `channels` channels in the order of a row's entries, padded. */
static void order_weights(const uint8_t *weights, size_t stride, size_t channels, size_t width,
                          uint8_t *order)
{
    for (size_t n = 0; n < width; n++) {
        const size_t channel = n < channels ? n : 0;

        order[n % (width / 2) * 2 + n / (width / 2)] = weights[channel * stride];
    }
}

static void sum_block(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                      const axk_lines *lines, code_range range, const axk_part *part,
                      axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const size_t width = part->sum_stride;
    const size_t depth = c->channels / c->groups * c->kernel_height * c->kernel_width;
    const uint8_t *weights = op->weight_codes + part->first_channel * depth;

    for (size_t k = 0; k < depth; k += AXK_ROW_TAPS) {
        const size_t taps = smaller(AXK_ROW_TAPS, depth - k);
        size_t offsets[AXK_ROW_TAPS];

        for (size_t t = 0; t < taps; t++) {
            const tap at = find_tap(c, band, part->group, k + t);
            uint8_t order[AXK_ROW_WIDTH];

            offsets[t] = at.offset;
            order_weights(weights + at.weight, depth, part->channels, width, order);
            isa->rows->build(op->table.columns, order, width, range.first, range.last,
                             work->rows + t * AXK_CODES * width / 2);
        }
        isa->rows->add(lines, work->rows, offsets, taps, width, k == 0, work->sums);
    }
    for (size_t r = 0; r < lines->count; r++) {
        uint32_t *sums = work->sums + r * lines->pixels * width;

        isa->rows->settle(sums, lines->pixels, width,
                          (uint32_t)op->table.bias * (uint32_t)depth);
        axk_finish_row(op, isa, band, work, part, r, sums);
    }
}

void axk_sum_rows(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                  axk_share share, axk_workspace *work)
{
    const axk_lines lines = list_lines(op, band, work);
    const size_t channels = op->conv.out_channels / op->conv.groups;
    const code_range range = find_range((const uint8_t *)work->expanded,
                                        axk_in_pixels(band) * op->conv.channels);

    for (size_t g = 0; g < op->conv.groups; g++) {
        for (size_t j = 0; j < share.count; j += AXK_ROW_WIDTH) {
            const size_t n = smaller(AXK_ROW_WIDTH, share.count - j);
            const axk_part part = {.first_channel = g * channels + share.first + j,
                                   .channels = n,
                                   .sum_stride =
                                       n > AXK_ROW_WIDTH / 2 ? AXK_ROW_WIDTH : AXK_ROW_WIDTH / 2,
                                   .group = g,
                                   .one_group = 1};

            sum_block(op, isa, band, &lines, range, &part, work);
        }
    }
}

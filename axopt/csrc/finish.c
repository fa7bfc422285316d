/* Writes the sums of a row of output pixels to the sink, as int32 or as floats. */
#include "methods.h"

/* Larger results are written past the caches, which saves reading the lines that they replace: 1.9
 * times as fast for 24 -> 144 channels on 128 x 32 x 32 pixels (75 MB). Smaller results stay in a
 * cache until the next layer reads them. */
#define LARGE_RESULT ((size_t)16 << 20)

/* Number of groups whose sums axk_sum_terms keeps apart; a depthwise layer counts as one group. */
static size_t sum_groups(const axk_operation *op)
{
    return op->method == AXK_DEPTHWISE ? 1 : op->conv.groups;
}

size_t axk_sum_stride(const axk_operation *op)
{
    const size_t channels = op->conv.out_channels / sum_groups(op);

    return op->method == AXK_DEPTHWISE ? channels
                                       : (channels + AXK_LANES - 1) / AXK_LANES * AXK_LANES;
}

size_t axk_in_row(const axk_operation *op, const axk_band *band, size_t r)
{
    return r / band->rows * band->in_rows + r % band->rows * op->conv.stride_y;
}

/* Called with a constant n where possible, which compilers vectorise well. */
static inline void add_plain(const uint32_t *restrict sums, size_t n, uint32_t plain,
                             int32_t *restrict out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = (int32_t)(sums[j] + plain);
    }
}

static void finish_sums(const axk_result_line *line, int32_t *out)
{
    for (size_t i = 0; i < line->pixels; i++, out += line->value_stride) {
        const uint32_t *sums = line->sums + i * line->sum_stride;
        const uint32_t plain = line->plain == NULL ? 0 : line->plain[i * line->window_stride];
        size_t j = 0;

        for (; j + AXK_LANES <= line->channels; j += AXK_LANES) {
            add_plain(sums + j, AXK_LANES, plain, out + j);
        }
        add_plain(sums + j, line->channels - j, plain, out + j);
    }
}

void axk_subtract_zeros(const axk_operation *op, const axk_band *band, const axk_workspace *work,
                        const axk_part *part, size_t r, uint32_t *sums)
{
    const size_t groups = op->conv.groups;
    const size_t size = op->conv.out_channels / groups;
    const uint32_t *zeros = work->window_zeros + r * band->columns * groups;
    const int32_t *zero_point = op->sink.zero_point + part->first_channel;

    for (size_t i = 0; i < band->columns; i++, zeros += groups, sums += part->sum_stride) {
        const uint32_t *of_part = zeros + part->first_channel / size;

        for (size_t g = 0; size > 1 && g < part->channels / size; g++) {
            for (size_t j = g * size; j < (g + 1) * size; j++) {
                sums[j] -= (uint32_t)zero_point[j] * of_part[g];
            }
        }
        for (size_t j = 0; size == 1 && j < part->channels; j++) {
            sums[j] -= (uint32_t)zero_point[j] * of_part[j];
        }
    }
}

void axk_finish_row(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                    const axk_workspace *work, const axk_part *part, size_t r,
                    const uint32_t *sums)
{
    const axk_conv2d *c = &op->conv;
    const size_t image = band->image + r / band->rows;
    const size_t y = band->y + r % band->rows;
    const size_t out =
        ((image * c->out_height + y) * c->out_width + band->x) * c->out_channels +
        part->first_channel;
    const size_t window = r * band->columns * c->groups + part->group;
    const int zeros = axk_needs_zeros(op) && part->one_group;
    axk_result_line line = {.pixels = band->columns,
                            .channels = part->channels,
                            .first_channel = part->first_channel,
                            .sums = sums,
                            .sum_stride = part->sum_stride,
                            .plain = axk_needs_plain(op) ? work->window_plain + window : NULL,
                            .zeros = zeros ? work->window_zeros + window : NULL,
                            .window_stride = c->groups,
                            .value_stride = c->out_channels,
                            .large = c->images * c->out_height * c->out_width >=
                                     LARGE_RESULT / sizeof(float) / c->out_channels};

    if (op->sink.values == NULL) {
        finish_sums(&line, op->sink.sums + out);
    } else {
        line.values = op->sink.values + out;
        isa->edges->finish(&line, &op->sink);
    }
}

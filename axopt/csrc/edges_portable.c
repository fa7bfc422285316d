/* The element-wise passes for any machine; expanded codes are int16. */
#include <stdint.h>

typedef int16_t expanded_code;
#include "edges.inc"

static void expand(const uint8_t *codes, size_t n, size_t channels, size_t code_stride,
                   const axk_terms *terms, size_t pixel_bytes, void *expanded)
{
    char *out = expanded;

    for (size_t i = 0; i < n; i++, codes += code_stride, out += pixel_bytes) {
        for (size_t t = 0; t < terms->count; t++) {
            expand_term(codes, channels, terms, t, (expanded_code *)out + t * channels);
        }
    }
}

/* Finishes one block of channels, so that its parameters stay in registers. */
static inline void finish_block(const axk_result_line *line, const axk_sink *sink, size_t first,
                                const size_t n)
{
    const size_t channel = line->first_channel + first;
    const float low = sink->low, high = sink->high;
    uint32_t offset[AXK_LANES], zero_point[AXK_LANES];
    float scale[AXK_LANES], bias[AXK_LANES];

    for (size_t j = 0; j < n; j++) {
        offset[j] = (uint32_t)sink->offset[channel + j];
        zero_point[j] = line->zeros == NULL ? 0 : (uint32_t)sink->zero_point[channel + j];
        scale[j] = sink->scale[channel + j];
        bias[j] = sink->bias[channel + j];
    }
    for (size_t i = 0; i < line->pixels; i++) {
        const uint32_t *restrict sums = line->sums + i * line->sum_stride + first;
        float *restrict values = line->values + i * line->value_stride + first;
        const size_t window = i * line->window_stride;
        const uint32_t plain = line->plain == NULL ? 0 : line->plain[window];
        const uint32_t zeros = line->zeros == NULL ? 0 : line->zeros[window];

        for (size_t j = 0; j < n; j++) {
            const uint32_t sum = sums[j] + offset[j] + plain - zero_point[j] * zeros;
            float value = (float)(int32_t)sum * scale[j] + bias[j];

            value = value < low ? low : value;
            values[j] = value > high ? high : value;
        }
    }
}

static void finish(const axk_result_line *line, const axk_sink *sink)
{
    size_t first = 0;

    for (; first + AXK_LANES <= line->channels; first += AXK_LANES) {
        finish_block(line, sink, first, AXK_LANES);
    }
    if (first < line->channels) {
        finish_block(line, sink, first, line->channels - first);
    }
}

const axk_edges axk_edges__portable = {.quantise = quantise_plain,
                                        .map = map_plain,
                                        .expand = expand,
                                        .fetch_rows = fetch_rows_plain,
                                        .finish = finish};

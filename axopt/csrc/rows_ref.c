/* The reference: product rows entry by entry. The other instruction sets are compared with it. */
#include "axk.h"

static void build(const uint16_t *columns, const uint8_t *order, size_t width, size_t first,
                  size_t last, uint32_t *rows)
{
    for (size_t a = first; a < last; a++) {
        for (size_t j = 0; j < width / 2; j++) {
            const uint32_t low = columns[order[2 * j] * AXK_CODES + a];
            const uint32_t high = columns[order[2 * j + 1] * AXK_CODES + a];

            rows[a * width / 2 + j] = low | high << 16;
        }
    }
}

static void add(const axk_lines *lines, const uint32_t *rows, const size_t *tap_offset,
                size_t taps, size_t width, int start, uint32_t *sums)
{
    const size_t half = width / 2;

    for (size_t i = 0; i < lines->count * lines->pixels; i++, sums += width) {
        const uint8_t *code =
            lines->lines[i / lines->pixels] + i % lines->pixels * lines->pixel_step;

        for (size_t j = 0; j < half; j++) {
            uint32_t whole = start ? 0 : sums[j], high = start ? 0 : sums[half + j];

            for (size_t t = 0; t < taps; t++) {
                const uint32_t word = rows[(t * AXK_CODES + code[tap_offset[t]]) * half + j];

                whole += word;
                high += word >> 16;
            }
            sums[j] = whole;
            sums[half + j] = high;
        }
    }
}

static void settle(uint32_t *sums, size_t pixels, size_t width, uint32_t constant)
{
    const size_t half = width / 2;

    for (size_t i = 0; i < pixels; i++, sums += width) {
        for (size_t j = 0; j < half; j++) {
            sums[j] += constant - (sums[half + j] << 16);
            sums[half + j] += constant;
        }
    }
}

const axk_rows axk_rows__ref = {.build = build, .add = add, .settle = settle};

/* Sums of a band by in-register look-ups. AXK_PIXEL_LANES holds a weight's table column in
 * registers, and its lanes are output pixels. AXK_CHANNEL_LANES, for few pixels and many output
 * channels, holds a code's table row, and its lanes are channels. A tile has up to AXK_TILE_M
 * lanes. */
#include <string.h>

#include "compiler.h"
#include "methods.h"
#include "sizes.h"

/* Sides of the squares that are transposed: SIDE x SIDE codes, QUAD x QUAD sums. */
enum { SIDE = 16, QUAD = 4 };

typedef uint8_t codes16 __attribute__((vector_size(SIDE)));
typedef uint32_t sums4 __attribute__((vector_size(QUAD * sizeof(uint32_t))));

static size_t depth_of(const axk_conv2d *c)
{
    return c->channels / c->groups * c->kernel_height * c->kernel_width;
}

/* Transposes SIDE x SIDE codes by interleaving the halves of the square four times. */
static void transpose_square(const uint8_t *from, size_t from_stride, uint8_t *to,
                             size_t to_stride)
{
    codes16 square[SIDE], next[SIDE];

    for (size_t i = 0; i < SIDE; i++) {
        memcpy(&square[i], from + i * from_stride, SIDE);
    }
    for (int round = 0; round < 4; round++) {
#pragma GCC unroll 8
        for (size_t i = 0; i < SIDE / 2; i++) {
            const codes16 a = square[i], b = square[i + SIDE / 2];

            next[2 * i] = AXK_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21,
                                                  6, 22, 7, 23);
            next[2 * i + 1] = AXK_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                      13, 29, 14, 30, 15, 31);
        }
        memcpy(square, next, sizeof(square));
    }
    for (size_t i = 0; i < SIDE; i++) {
        memcpy(to + i * to_stride, &square[i], SIDE);
    }
}

/* Transposes from[rows][columns] into to[columns][rows]. */
static void transpose(const uint8_t *from, size_t rows, size_t columns, uint8_t *to)
{
    const size_t whole_rows = rows / SIDE * SIDE, whole_columns = columns / SIDE * SIDE;

    for (size_t r = 0; r < whole_rows; r += SIDE) {
        for (size_t c = 0; c < whole_columns; c += SIDE) {
            transpose_square(from + r * columns + c, columns, to + c * rows + r, rows);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; c++) {
            to[c * rows + r] = from[r * columns + c];
        }
    }
}

/* Copies n bytes, size <= n <= 2 * size, as two pieces that may overlap: on the short lines of
 * small images a call of memcpy costs more than the copy. */
AXK_INLINE void
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

/* Copies every second code; may read the byte behind the last one. */
static void copy_even(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t i = 0;

    while (i + SIDE <= n) {
        codes16 low, high, even;

        memcpy(&low, from + 2 * i, SIDE);
        memcpy(&high, from + 2 * i + SIDE, SIDE);
        even = AXK_SHUFFLE(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
                                       26, 28, 30);
        memcpy(to + i, &even, SIDE);
        i += SIDE;
    }
    for (; i < n; i++) {
        to[i] = from[2 * i];
    }
}

static void copy_spaced(const uint8_t *from, const size_t *taps, size_t depth, size_t n,
                        size_t step, uint8_t *to)
{
    for (size_t d = 0; d < depth; d++, to += AXK_TILE_M) {
        if (step == 2) {
            copy_even(from + taps[d], n, to);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            to[i] = from[taps[d] + i * step];
        }
    }
}

/* Finds the offsets of products k .. k + depth - 1 of a window in the planar codes, from the
 * window's first pixel. */
static void find_taps(const axk_conv2d *c, const axk_band *band, size_t group, size_t k,
                      size_t depth, size_t *taps)
{
    const size_t map = axk_in_pixels(band), line = c->dilation_y * band->in_columns;
    const size_t taps_of_channel = c->kernel_height * c->kernel_width;
    size_t channel = group * (c->channels / c->groups) + k / taps_of_channel;
    size_t ky = k % taps_of_channel / c->kernel_width, kx = k % c->kernel_width;

    for (size_t d = 0; d < depth; d++) {
        taps[d] = channel * map + ky * line + kx * c->dilation_x;
        if (++kx == c->kernel_width) {
            kx = 0;
            if (++ky == c->kernel_height) {
                ky = 0;
                channel++;
            }
        }
    }
}

/* Packs the codes of products k .. k + depth - 1 of all pixels in n output rows from `first`. */
static axk_tile pack_pixels(const axk_operation *op, const axk_band *band, size_t first, size_t n,
                            size_t group, size_t k, size_t depth, axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    size_t taps[AXK_TILE_K];
    uint8_t *to = work->tile;

    find_taps(c, band, group, k, depth, taps);
    for (size_t r = first; r < first + n; r++, to += band->columns) {
        const uint8_t *from = work->planar + axk_in_row(op, band, r) * band->in_columns;

        if (c->stride_x == 1) {
            copy_lines(from, taps, depth, band->columns, to);
        } else {
            copy_spaced(from, taps, depth, band->columns, c->stride_x, to);
        }
    }
    const size_t rows = n * band->columns;
    const size_t filled = divide_up(rows, AXK_ROW_ALIGN) * AXK_ROW_ALIGN;
    /* padding repeats a code that occurs, so that half of the table may still be enough */
    for (size_t d = 0; rows < filled && d < depth; d++) {
        uint8_t *codes = work->tile + d * AXK_TILE_M;

        memset(codes + rows, codes[0], filled - rows);
    }
    return (axk_tile){.codes = work->tile, .rows = rows, .depth = depth};
}

static void start_sums(uint32_t *sums, size_t n, uint32_t start)
{
    for (size_t i = 0; i < n * AXK_TILE_M; i++) {
        sums[i] = start;
    }
}

/* Sums n channels of a group, from `channel` on, for a tile of pixels: [channel][AXK_TILE_M]. */
static void sum_tile(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                     size_t first, size_t rows, size_t group, size_t channel, size_t n,
                     axk_workspace *work, uint32_t *sums)
{
    const size_t depth = depth_of(&op->conv);
    /* tiles of nearly equal depth, so that the last one is not much smaller */
    const size_t most = divide_up(depth, divide_up(depth, AXK_TILE_K));
    const uint8_t *weights = op->weight_codes + channel * depth;

    for (size_t k = 0; k < depth; k += most) {
        const axk_tile tile =
            pack_pixels(op, band, first, rows, group, k, smaller(most, depth - k), work);

        isa->tile(&op->table, &tile, n, weights + k, depth, sums);
    }
}

/* Transposes [channel][AXK_TILE_M] into [pixel][AXK_PART] in squares of 4 x 4; channels and pixels
 * are rounded up to multiples of 4. */
static void turn_sums(const uint32_t *sums, size_t channels, size_t pixels, uint32_t *to)
{
    for (size_t j = 0; j < channels; j += QUAD) {
        for (size_t i = 0; i < pixels; i += QUAD) {
            sums4 square[QUAD], next[QUAD];

            memcpy(&square[0], sums + j * AXK_TILE_M + i, sizeof(sums4));
            memcpy(&square[1], sums + (j + 1) * AXK_TILE_M + i, sizeof(sums4));
            memcpy(&square[2], sums + (j + 2) * AXK_TILE_M + i, sizeof(sums4));
            memcpy(&square[3], sums + (j + 3) * AXK_TILE_M + i, sizeof(sums4));
            for (int round = 0; round < 2; round++) {
                next[0] = AXK_SHUFFLE(square[0], square[2], 0, 4, 1, 5);
                next[1] = AXK_SHUFFLE(square[0], square[2], 2, 6, 3, 7);
                next[2] = AXK_SHUFFLE(square[1], square[3], 0, 4, 1, 5);
                next[3] = AXK_SHUFFLE(square[1], square[3], 2, 6, 3, 7);
                memcpy(square, next, sizeof(square));
            }
            for (size_t p = 0; p < QUAD; p++) {
                memcpy(to + (i + p) * AXK_PART + j, &square[p], sizeof(sums4));
            }
        }
    }
}

/* Sums the share's channels of `groups` groups from `group`: at most AXK_PART channels in all. */
static void sum_groups(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                       size_t first, size_t rows, size_t group, size_t groups, axk_share share,
                       axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const size_t size = c->out_channels / c->groups;
    const axk_part part = {.first_channel = group * size + share.first,
                           .channels = groups * share.count,
                           .sum_stride = AXK_PART,
                           .group = group,
                           .one_group = groups == 1};

    start_sums(work->tile_sums, part.channels, (uint32_t)op->table.bias * (uint32_t)depth_of(c));
    for (size_t g = 0; g < groups; g++) {
        sum_tile(op, isa, band, first, rows, group + g, part.first_channel + g * size, share.count,
                 work, work->tile_sums + g * share.count * AXK_TILE_M);
    }
    turn_sums(work->tile_sums, part.channels, rows * band->columns, work->sums);
    for (size_t r = 0; r < rows; r++) {
        uint32_t *sums = work->sums + r * band->columns * AXK_PART;

        if (axk_needs_zeros(op) && !part.one_group) {
            axk_subtract_zeros(op, band, work, &part, first + r, sums);
        }
        axk_finish_row(op, isa, band, work, &part, first + r, sums);
    }
}

void axk_sum_pixel_lanes(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                         axk_share share, size_t chunk, axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const int whole = share.count == c->out_channels / c->groups;
    const size_t together = whole && share.count < AXK_PART ? AXK_PART / share.count : 1;
    const size_t rows = band->images * band->rows;

    transpose((const uint8_t *)work->expanded, axk_in_pixels(band), c->channels, work->planar);
    for (size_t r = 0; r < rows; r += chunk) {
        for (size_t g = 0; g < c->groups; g += together) {
            for (size_t j = 0; j < share.count; j += AXK_PART) {
                const axk_share part = {.first = share.first + j,
                                        .count = smaller(AXK_PART, share.count - j)};

                sum_groups(op, isa, band, r, smaller(chunk, rows - r), g,
                           smaller(together, c->groups - g), part, work);
            }
        }
    }
}

/* Copies the windows' codes of n output rows from `first`: [pixel][ky][kx][channel of group]. */
static void copy_windows(const axk_operation *op, const axk_band *band, size_t first, size_t n,
                         size_t group, axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const size_t channels = c->channels / c->groups;
    const int joined = c->groups == 1 && c->dilation_x == 1;
    const size_t pieces = joined ? 1 : c->kernel_width;
    const size_t bytes = joined ? channels * c->kernel_width : channels;
    uint8_t *to = work->windows;

    for (size_t i = 0; i < n * band->columns; i++) {
        const size_t row = axk_in_row(op, band, first + i / band->columns);
        const size_t column = i % band->columns * c->stride_x;

        for (size_t piece = 0; piece < c->kernel_height * pieces; piece++, to += bytes) {
            const size_t y = row + piece / pieces * c->dilation_y;
            const size_t x = column + piece % pieces * c->dilation_x;
            const size_t at = (y * band->in_columns + x) * c->channels + group * channels;

            memcpy(to, work->expanded + at, bytes);
        }
    }
}

/* Sums output channels first .. first + n - 1 of a group, in one block of packed weights. */
static void sum_lanes(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                      size_t first_row, size_t rows, size_t group, size_t first, size_t n,
                      axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const size_t size = c->out_channels / c->groups;
    const size_t depth = depth_of(c);
    const size_t block = group * divide_up(size, AXK_TILE_M) + first / AXK_TILE_M;
    const uint8_t *lanes =
        op->weight_codes + block * depth * AXK_TILE_M + first % AXK_TILE_M;
    const size_t pixels = rows * band->columns;
    const axk_part part = {.first_channel = group * size + first,
                           .channels = n,
                           .sum_stride = AXK_TILE_M,
                           .group = group,
                           .one_group = 1};

    start_sums(work->tile_sums, pixels, (uint32_t)op->table.bias * (uint32_t)depth);
    for (size_t k = 0; k < depth; k += AXK_TILE_K) {
        const axk_tile tile = {.codes = lanes + k * AXK_TILE_M,
                               .rows = n,
                               .depth = smaller(AXK_TILE_K, depth - k)};

        isa->tile(&op->table, &tile, pixels, work->windows + k, depth, work->tile_sums);
    }
    for (size_t r = 0; r < rows; r++) {
        axk_finish_row(op, isa, band, work, &part, first_row + r,
                       work->tile_sums + r * band->columns * AXK_TILE_M);
    }
}

void axk_sum_channel_lanes(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                           axk_share share, size_t chunk, axk_workspace *work)
{
    const axk_conv2d *c = &op->conv;
    const size_t rows = band->images * band->rows;
    const size_t end = share.first + share.count;

    for (size_t r = 0; r < rows; r += chunk) {
        const size_t count = smaller(chunk, rows - r);

        for (size_t g = 0; g < c->groups; g++) {
            copy_windows(op, band, r, count, g, work);
            for (size_t j = share.first, n; j < end; j += n) {
                n = smaller(AXK_TILE_M - j % AXK_TILE_M, end - j);
                sum_lanes(op, isa, band, r, count, g, j, n, work);
            }
        }
    }
}

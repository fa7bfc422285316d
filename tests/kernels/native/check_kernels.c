/* Compares the kernels of every instruction set that this processor has with those of "reference",
 * on random layers of odd shapes. Built with sanitizers (make sanitize, and as part of make test):
 * inputs are allocated to the byte, so that a read behind one is found.
 *
 * Prints how many results of each instruction set were compared; exits with 1 at a difference. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "axk.h"

enum { MOST_TERMS = 3, CASES = 6, SIDE = 9 };

static uint64_t state = 1;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

/* Memory that is never released: the program is short. */
static void *take(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);

    if (memory == NULL) {
        exit(2);
    }
    return memory;
}

/* Bytes whose end is that of the allocation. */
static uint8_t *random_bytes(size_t n)
{
    uint8_t *bytes = malloc(n);

    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)draw(256);
    }
    return bytes;
}

static float *random_floats(size_t n, float scale)
{
    float *values = malloc(n * sizeof(*values));

    for (size_t i = 0; i < n; i++) {
        values[i] = ((float)draw(1 << 16) - 32768.0f) / 32768.0f * scale;
    }
    return values;
}

static int32_t *random_words(size_t n, uint32_t below)
{
    int32_t *words = malloc(n * sizeof(*words));

    for (size_t i = 0; i < n; i++) {
        words[i] = (int32_t)draw(below) - (int32_t)(below / 2);
    }
    return words;
}

/* The weights of a layer, before they are packed. */
typedef struct layer {
    size_t outputs, channels, height, width, groups; /* channels: of a group */
    size_t terms;
    const uint8_t *codes;   /* [output][channel][y][x] */
    const uint8_t *factors; /* [term][code], read as int8 */
    const uint8_t *classes; /* [code], 0 .. 15 */
} layer;

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static size_t code_at(const layer *l, size_t output, size_t channel, size_t tap)
{
    return l->codes[(output * l->channels + channel) * l->height * l->width + tap];
}

/* Packs weights, or classes, for the instruction set's dense kernels: see axk_terms in axk.h. */
static void *pack_dense(const layer *l, size_t code_bytes, int classes)
{
    const size_t per_group = l->outputs / l->groups, unit = AXK_UNIT / code_bytes;
    const size_t blocks = divide_up(per_group, AXK_LANES);
    const size_t units = divide_up(l->terms * l->channels, unit), taps = l->height * l->width;
    const size_t count = l->groups * blocks * taps * units * AXK_LANES * unit;
    const size_t bytes = classes ? 1 : code_bytes;
    char *packed = malloc(count * bytes);

    for (size_t i = 0; i < count; i++) {
        const size_t in_unit = i % unit, lane = i / unit % AXK_LANES;
        const size_t rest = i / unit / AXK_LANES;
        const size_t factor = rest % units * unit + in_unit, tap = rest / units % taps;
        const size_t block = rest / units / taps % blocks, group = rest / units / taps / blocks;
        const size_t output = block * AXK_LANES + lane;
        const int real = factor < l->terms * l->channels && output < per_group;
        const size_t code = real ? code_at(l, group * per_group + output, factor % l->channels, tap)
                                 : 0;
        const size_t term = factor / l->channels;
        const int8_t weight = real ? (int8_t)l->factors[term * AXK_CODES + code] : 0;
        const int16_t wide = weight;

        if (classes) {
            packed[i] = (char)(in_unit * AXK_CLASSES + (real ? l->classes[code] : 0));
        } else {
            memcpy(packed + i * bytes, bytes == 1 ? (const void *)&weight : (const void *)&wide,
                   bytes);
        }
    }
    return packed;
}

static void *pack_depthwise(const layer *l)
{
    const size_t taps = l->height * l->width;
    int16_t *packed = malloc(taps * l->terms * l->outputs * sizeof(*packed));

    for (size_t i = 0; i < taps * l->terms * l->outputs; i++) {
        const size_t channel = i % l->outputs, term = i / l->outputs % l->terms;
        const size_t tap = i / l->outputs / l->terms;

        packed[i] = (int8_t)l->factors[term * AXK_CODES + code_at(l, channel, 0, tap)];
    }
    return packed;
}

static uint8_t *pack_channel_lanes(const layer *l)
{
    const size_t per_group = l->outputs / l->groups, taps = l->height * l->width;
    const size_t blocks = divide_up(per_group, AXK_TILE_M);
    const size_t count = l->groups * blocks * taps * l->channels * AXK_TILE_M;
    uint8_t *packed = malloc(count);

    for (size_t i = 0; i < count; i++) {
        const size_t lane = i % AXK_TILE_M, channel = i / AXK_TILE_M % l->channels;
        const size_t rest = i / AXK_TILE_M / l->channels;
        const size_t tap = rest % taps, block = rest / taps % blocks, group = rest / taps / blocks;
        const size_t output = block * AXK_TILE_M + lane;

        packed[i] = (uint8_t)(output < per_group
                                  ? code_at(l, group * per_group + output, channel, tap)
                                  : 0);
    }
    return packed;
}

/* A random table, by columns or, transposed, by rows. */
static axk_table random_table(int transposed, const uint16_t *entries)
{
    uint16_t *columns = take(sizeof(*columns) * AXK_CODES * AXK_CODES);
    uint8_t *planes = take(2 * AXK_CODES * AXK_CODES);

    for (size_t i = 0; i < AXK_CODES * AXK_CODES; i++) {
        const size_t w = i / AXK_CODES, a = i % AXK_CODES;

        columns[i] = entries[transposed ? a * AXK_CODES + w : i];
        planes[w * 2 * AXK_CODES + a] = (uint8_t)columns[i];
        planes[w * 2 * AXK_CODES + AXK_CODES + a] = (uint8_t)(columns[i] >> 8);
    }
    return (axk_table){.columns = columns, .planes = planes, .bias = -30000};
}

static axk_terms random_terms(size_t count)
{
    uint8_t *maps = random_bytes(count * AXK_CODES);
    int16_t *masks = malloc(count * sizeof(*masks));
    uint8_t *rows = take(AXK_CODES * AXK_CLASSES);

    for (size_t t = 0; t < count; t++) {
        masks[t] = draw(3) == 0 ? -1 : (int16_t)draw(256);
        for (size_t a = 0; masks[t] >= 0 && a < AXK_CODES; a++) {
            maps[t * AXK_CODES + a] = (uint8_t)(a & (size_t)masks[t]);
        }
    }
    for (size_t i = 0; i < AXK_CODES * AXK_CLASSES; i++) {
        rows[i] = (uint8_t)draw(128);
    }
    return (axk_terms){.count = count,
                       .maps = maps,
                       .masks = masks,
                       .row_scale = draw(2) ? (int32_t)draw(1 << 30) - (1 << 29) : 0,
                       .row_mask = (uint8_t)draw(256),
                       .residual = rows};
}

/* Sizes around the widths of vectors and blocks. */
static size_t odd_size(void)
{
    static const uint8_t sizes[] = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65};

    return sizes[draw(sizeof(sizes))];
}

static axk_conv2d random_conv(int depthwise)
{
    const size_t groups = depthwise ? odd_size() + 1 : 1 + draw(2);
    axk_conv2d c = {.images = 1 + draw(2),
                    .channels = groups * (depthwise || draw(4) == 0 ? 1 : odd_size()),
                    .height = 1 + draw(SIDE),
                    .width = 1 + draw(5 * SIDE),
                    .out_channels = groups * (depthwise ? 1 : odd_size()),
                    .kernel_height = 1 + draw(3),
                    .kernel_width = 1 + draw(3),
                    .stride_y = 1 + draw(2),
                    .stride_x = 1 + draw(3),
                    .dilation_y = 1 + draw(2),
                    .dilation_x = 1 + draw(2),
                    .pad_top = 4,
                    .pad_left = 4,
                    .groups = groups};
    const size_t extent_y = (c.kernel_height - 1) * c.dilation_y + 1;
    const size_t extent_x = (c.kernel_width - 1) * c.dilation_x + 1;

    if (draw(4) == 0) { /* what the driver joins to one long line */
        c.kernel_height = c.kernel_width = c.stride_y = c.stride_x = 1;
        c.pad_top = c.pad_left = 0;
        c.out_height = c.height;
        c.out_width = c.width;
        return c;
    }
    c.out_height = (c.height + 2 * c.pad_top - extent_y) / c.stride_y + 1;
    c.out_width = (c.width + 2 * c.pad_left - extent_x) / c.stride_x + 1;
    return c;
}

static void set_source(axk_operation *op)
{
    const axk_conv2d *c = &op->conv;
    const size_t n = c->images * c->channels * c->height * c->width;
    const int channels_last = draw(2) == 1;
    axk_source *s = &op->source;

    if (draw(2)) {
        s->codes = random_bytes(n);
    } else {
        s->values = random_floats(n, 2.0f);
    }
    s->stride_image = (ptrdiff_t)(n / c->images);
    s->stride_channel = channels_last ? 1 : (ptrdiff_t)(c->height * c->width);
    s->stride_x = channels_last ? (ptrdiff_t)c->channels : 1;
    s->stride_y = (ptrdiff_t)c->width * s->stride_x;
    s->inverse_scale = 90.0f;
    s->zero_point = (int32_t)draw(256);
    if (draw(2)) {
        s->map = (axk_code_map){.codes = random_bytes(AXK_CODES), .shift = -1};
    }
}

static void set_sink(axk_operation *op)
{
    const size_t n = op->conv.out_channels;

    op->sink = (axk_sink){.offset = random_words(n, 1u << 31),
                          .zero_point = draw(2) ? random_words(n, 256) : NULL,
                          .scale = random_floats(n, 1e-4f),
                          .bias = random_floats(n, 1.0f),
                          .low = -1e3f,
                          .high = 1e3f};
}

/* The operation with the weights as an instruction set wants them. */
static axk_operation packed_for(const axk_operation *op, const layer *l, size_t code_bytes)
{
    axk_operation packed = *op;

    if (op->method == AXK_TERMS) {
        packed.terms.weights = pack_dense(l, code_bytes, 0);
        packed.terms.classes = op->terms.residual ? pack_dense(l, code_bytes, 1) : NULL;
    } else if (op->method == AXK_DEPTHWISE) {
        packed.terms.weights = pack_depthwise(l);
    } else {
        packed.weight_codes = op->method == AXK_CHANNEL_LANES ? pack_channel_lanes(l) : l->codes;
    }
    return packed;
}

/* Results of an instruction set, as bytes. */
static void *execute(const axk_operation *op, const layer *l, const axk_isa *isa, int threads,
                     int sums)
{
    const axk_conv2d *c = &op->conv;
    const size_t n = c->images * c->out_height * c->out_width * c->out_channels;
    axk_operation packed = packed_for(op, l, isa->code_bytes);
    void *results = malloc(n * sizeof(float));

    packed.sink.sums = sums ? results : NULL;
    packed.sink.values = sums ? NULL : results;
    if (axk_execute(isa, threads, &packed) != 0) {
        exit(2);
    }
    return results;
}

static int compare_layer(axk_method method, int residual, size_t *compared)
{
    const axk_isa *reference = &axk_isa_table[axk_isa_count - 1];
    const int transposed = method == AXK_CHANNEL_LANES;
    const int by_terms = method == AXK_TERMS || method == AXK_DEPTHWISE;
    axk_operation op = {.method = method, .conv = random_conv(method == AXK_DEPTHWISE)};
    const axk_conv2d *c = &op.conv;
    const size_t n = c->images * c->out_height * c->out_width * c->out_channels;
    const size_t weights = c->out_channels * (c->channels / c->groups) * c->kernel_height *
                           c->kernel_width;
    uint8_t *classes = random_bytes(AXK_CODES);
    const layer l = {.outputs = c->out_channels,
                     .channels = c->channels / c->groups,
                     .height = c->kernel_height,
                     .width = c->kernel_width,
                     .groups = c->groups,
                     .terms = residual ? 1 : 1 + draw(MOST_TERMS),
                     .codes = random_bytes(weights),
                     .factors = random_bytes(MOST_TERMS * AXK_CODES),
                     .classes = classes};
    int wrong = 0;

    for (size_t i = 0; i < AXK_CODES; i++) {
        classes[i] %= AXK_CLASSES;
    }
    set_source(&op);
    set_sink(&op);
    if (by_terms) {
        op.terms = random_terms(l.terms);
        op.terms.residual = residual ? op.terms.residual : NULL;
    } else {
        op.table = random_table(transposed,
                                (const uint16_t *)(void *)random_bytes(2 * AXK_CODES * AXK_CODES));
    }
    for (int sums = 0; sums < 2; sums++) {
        const void *expected = execute(&op, &l, reference, 1, sums);

        for (size_t i = 0; i < axk_isa_count; i++) {
            const axk_isa *isa = &axk_isa_table[i];

            if (!isa->supported()) {
                continue;
            }
            if (memcmp(execute(&op, &l, isa, 1 + (int)draw(3), sums), expected,
                       n * sizeof(float)) != 0) {
                printf("%s: method %d, residual %d, sums %d: another result\n", isa->name,
                       (int)method, residual, sums);
                wrong = 1;
            }
            compared[i]++;
        }
    }
    return wrong;
}

static int compare_gates(size_t *compared)
{
    const size_t rows = odd_size(), size = odd_size();
    const axk_isa *reference = &axk_isa_table[axk_isa_count - 1];
    axk_lstm_step step = {.rows = rows,
                          .size = size,
                          .inputs = random_floats(rows * 4 * size, 9.0f),
                          .input_stride = (ptrdiff_t)(4 * size),
                          .hidden = random_floats(rows * 4 * size, 9.0f),
                          .cell = random_floats(rows * size, 2.0f)};
    float *expected = NULL;
    int wrong = 0;

    for (size_t i = axk_isa_count; i-- > 0;) {
        const axk_isa *isa = &axk_isa_table[i];
        float *found = malloc(6 * rows * size * sizeof(*found));

        if (!isa->supported()) {
            continue;
        }
        step.next_hidden = found;
        step.next_cell = found + rows * size;
        step.gates = found + 2 * rows * size;
        axk_lstm_gates(isa, 1 + (int)draw(3), &step);
        expected = isa == reference ? found : expected;
        if (memcmp(found, expected, 6 * rows * size * sizeof(*found)) != 0) {
            printf("%s: other gates\n", isa->name);
            wrong = 1;
        }
        compared[i]++;
    }
    return wrong;
}

/* 2^31 x 2^31 input pixels of 4 channels, all the same one, under one window: the band has 2^64
 * bytes, which as a size_t is 0. */
static int refuses_wrapped_sizes(void)
{
    const size_t side = (size_t)1 << 31;
    const uint8_t *code = random_bytes(1), *weights = random_bytes(16);
    axk_operation op = {.method = AXK_PIXEL_LANES,
                        .conv = {.images = 1,
                                 .channels = 4,
                                 .height = side,
                                 .width = side,
                                 .out_channels = 1,
                                 .out_height = 1,
                                 .out_width = 1,
                                 .kernel_height = 2,
                                 .kernel_width = 2,
                                 .stride_y = 1,
                                 .stride_x = 1,
                                 .dilation_y = side - 1,
                                 .dilation_x = side - 1,
                                 .groups = 1},
                        .source = {.codes = code},
                        .weight_codes = weights};
    int32_t sum;

    op.sink.sums = &sum;
    return axk_execute(&axk_isa_table[axk_isa_count - 1], 1, &op) == -1;
}

int main(void)
{
    static const axk_method methods[] = {AXK_TERMS, AXK_DEPTHWISE, AXK_ROWS, AXK_PIXEL_LANES,
                                         AXK_CHANNEL_LANES};
    size_t compared[16] = {0};
    int wrong = 0;

    for (size_t i = 0; i < CASES; i++) {
        for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]); m++) {
            wrong |= compare_layer(methods[m], 0, compared);
        }
        wrong |= compare_layer(AXK_TERMS, 1, compared);
        wrong |= compare_gates(compared);
    }
    if (!refuses_wrapped_sizes()) {
        printf("a size that wraps was not refused\n");
        wrong = 1;
    }
    for (size_t i = 0; i < axk_isa_count; i++) {
        printf("%s: %zu results\n", axk_isa_table[i].name, compared[i]);
    }
    return wrong;
}

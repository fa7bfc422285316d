/* Gates of an LSTM. Plain loops that the compiler vectorises: no operation here depends on the
 * width of a vector, and nothing is contracted (setup.py), so all clones give the same bits. */
#include <stdint.h>
#include <string.h>

#include "gates.h"

#if defined(__x86_64__) && defined(__gnu_linux__)
#define CLONED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONED
#endif

/* Values below which a second thread costs more than it saves. */
#define VALUES_A_THREAD ((size_t)1 << 13)

enum { BLOCK = 256 }; /* values whose gates are kept on the stack if nobody wants them */

/* exp(x) for |x| <= 87, to 2 units in the last place; beyond that exp(+-87).
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) = 1 + r + r^2 q(r), where q minimises the largest
 * relative error, 3e-9. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
static inline float exponential(float x)
{
    const float to_integer = 12582912.0f;
    float shifted, n, r, q, power;
    uint32_t bits;

    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    shifted = x * 1.44269504f + to_integer;
    n = shifted - to_integer;
    r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts, the first of 10 bits */
    q = 1.38145406e-3f;
    q = q * r + 8.36874545e-3f;
    q = q * r + 4.16683890e-2f;
    q = q * r + 1.66665211e-1f;
    q = q * r + 0.499999940f;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    memcpy(&power, &bits, sizeof power);
    return ((r * r * q + r) + 1.0f) * power;
}

static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + exponential(-x));
}

static inline float hyperbolic_tangent(float x)
{
    return 2.0f * sigmoid(2.0f * x) - 1.0f;
}

/* `n` values of a row; the gates of a value are `size` apart in the products, `stride` in `gates`. */
CLONED static void block(size_t n, size_t size, const float *restrict inputs,
                         const float *restrict hidden, const float *restrict cell,
                         float *restrict next_hidden, float *restrict next_cell,
                         float *restrict gates, size_t stride)
{
    for (size_t j = 0; j < n; j++) {
        const float into = sigmoid(inputs[j] + hidden[j]);
        const float forget = sigmoid(inputs[size + j] + hidden[size + j]);
        const float update = hyperbolic_tangent(inputs[2 * size + j] + hidden[2 * size + j]);
        const float out = sigmoid(inputs[3 * size + j] + hidden[3 * size + j]);

        next_cell[j] = into * update + forget * cell[j];
        next_hidden[j] = out * hyperbolic_tangent(next_cell[j]);
        gates[j] = into;
        gates[stride + j] = forget;
        gates[2 * stride + j] = update;
        gates[3 * stride + j] = out;
    }
}

static void row(const axk_lstm_step *step, size_t i)
{
    const size_t size = step->size;
    const float *inputs = step->inputs + (ptrdiff_t)i * step->input_stride;
    const float *hidden = step->hidden + i * 4 * size;
    float unused[4 * BLOCK];

    for (size_t j = 0; j < size; j += BLOCK) {
        const size_t n = size - j < BLOCK ? size - j : BLOCK;
        const size_t at = i * size + j;

        block(n, size, inputs + j, hidden + j, step->cell + at, step->next_hidden + at,
              step->next_cell + at, step->gates ? step->gates + i * 4 * size + j : unused,
              step->gates ? size : BLOCK);
    }
}

void axk_lstm_gates(int threads, const axk_lstm_step *step)
{
    const size_t useful = step->rows * step->size / VALUES_A_THREAD + 1;

    threads = useful < (size_t)threads ? (int)useful : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (size_t i = 0; i < step->rows; i++) {
        row(step, i);
    }
}

/* Distributes the rows of an LSTM step over threads. */
#include "axk.h"

/* Values below which a second thread costs more than it saves. */
#define VALUES_A_THREAD ((size_t)1 << 13)

enum { BLOCK = 256 }; /* values whose gates are kept on the stack if step->gates is NULL */

static void row(const axk_isa *isa, const axk_lstm_step *step, size_t i)
{
    const size_t size = step->size;
    const float *inputs = step->inputs + (ptrdiff_t)i * step->input_stride;
    const float *hidden = step->hidden + i * 4 * size;
    float unused[4 * BLOCK];

    for (size_t j = 0; j < size; j += BLOCK) {
        const size_t n = size - j < BLOCK ? size - j : BLOCK;
        const size_t at = i * size + j;

        isa->gates(n, size, inputs + j, hidden + j, step->cell + at, step->next_hidden + at,
                   step->next_cell + at, step->gates ? step->gates + i * 4 * size + j : unused,
                   step->gates ? size : BLOCK);
    }
}

void axk_lstm_gates(const axk_isa *isa, int threads, const axk_lstm_step *step)
{
    const size_t useful = step->rows * step->size / VALUES_A_THREAD + 1;

    threads = useful < (size_t)threads ? (int)useful : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (size_t i = 0; i < step->rows; i++) {
        row(isa, step, i);
    }
}

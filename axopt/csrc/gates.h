/* One LSTM step after its matrix products: gates, cell and hidden state in one pass. */
#ifndef AXK_GATES_H
#define AXK_GATES_H

#include <stddef.h>

/* Gates are adjacent in the order i, f, g, o. All arrays but `inputs` are contiguous. */
typedef struct axk_lstm_step {
    size_t rows, size;      /* sequences; values of a state */
    const float *inputs;    /* products with the input, [rows][4 * size] */
    ptrdiff_t input_stride; /* elements from row to row */
    const float *hidden;    /* products with the hidden state, [rows][4 * size] */
    const float *cell;      /* [rows][size] */
    float *next_hidden;     /* [rows][size] */
    float *next_cell;       /* [rows][size] */
    float *gates;           /* [rows][4 * size] after their non-linearities, or NULL */
} axk_lstm_step;

/* Computes the gates of `n` values of a row, and the new states. The four gates of a value are
 * `size` elements apart in the products and `stride` elements apart in `gates`. No two arrays
 * overlap. */
typedef void axk_gates_fn(size_t n, size_t size, const float *inputs, const float *hidden,
                          const float *cell, float *next_hidden, float *next_cell, float *gates,
                          size_t stride);

axk_gates_fn axk_gates__portable;
#if defined(__x86_64__)
axk_gates_fn axk_gates__avx2;
axk_gates_fn axk_gates__avx512;
#endif

struct axk_isa;

/* Fills the outputs: the same bits on every instruction set and with any number of threads. */
void axk_lstm_gates(const struct axk_isa *isa, int threads, const axk_lstm_step *step);

#endif

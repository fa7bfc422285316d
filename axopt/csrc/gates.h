/* A step of an LSTM between its products: gates, cell and hidden state in one pass. */
#ifndef AXK_GATES_H
#define AXK_GATES_H

#include <stddef.h>

/* Gates lie side by side in the order i, f, g, o. Everything but the inputs is contiguous. */
typedef struct axk_lstm_step {
    size_t rows, size;      /* sequences; values of a state */
    const float *inputs;    /* products with the input, [rows][4 * size] */
    ptrdiff_t input_stride; /* from row to row */
    const float *hidden;    /* products with the hidden state, [rows][4 * size] */
    const float *cell;      /* [rows][size] */
    float *next_hidden;     /* [rows][size] */
    float *next_cell;       /* [rows][size] */
    float *gates;           /* [rows][4 * size] behind their non-linearities, or NULL */
} axk_lstm_step;

/* Fill the outputs; the same bits on every instruction set and with any number of threads. */
void axk_lstm_gates(int threads, const axk_lstm_step *step);

#endif

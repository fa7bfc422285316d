/* The gates of an LSTM for any machine. */
#define GATES_NAME axk_gates__portable
#include "gates.inc"

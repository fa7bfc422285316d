/* Product rows for any machine, in vectors of 16 bytes. */
#define VECTOR_BYTES 16
#define ROWS_NAME axk_rows__portable
#include "rows.inc"

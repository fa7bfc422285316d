/* The baseline of the bench: one look-up per product with eight running sums, on unrolled int
 * operands, as in other emulators that precompute the table. */
#include "axk.h"

enum { SUMS = 8 };

static int32_t sum_row(const axk_table *table, size_t k, const int32_t *a, const int32_t *w)
{
    uint32_t acc[SUMS] = {0}, sum = (uint32_t)table->bias * (uint32_t)k;
    size_t p = 0;

    for (; p + SUMS <= k; p += SUMS) {
        for (size_t s = 0; s < SUMS; s++) {
            acc[s] += table->columns[(size_t)w[p + s] * AXK_CODES + (size_t)a[p + s]];
        }
    }
    for (; p < k; p++) {
        sum += table->columns[(size_t)w[p] * AXK_CODES + (size_t)a[p]];
    }
    for (size_t s = 0; s < SUMS; s++) {
        sum += acc[s];
    }
    return (int32_t)sum;
}

void axk_scalar_gemm(const axk_table *table, size_t m, size_t n, size_t k, const int32_t *a,
                     const int32_t *w, int32_t *out)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            out[i * n + j] = sum_row(table, k, a + i * k, w + j * k);
        }
    }
}

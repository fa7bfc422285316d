/* Arithmetic of sizes that saturates at SIZE_MAX instead of wrapping. No allocation of so many
 * bytes succeeds, so the operation ends with an error. */
#ifndef AXK_SIZES_H
#define AXK_SIZES_H

#include <stddef.h>
#include <stdint.h>

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static inline size_t plus(size_t a, size_t b)
{
    size_t sum;

    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

static inline size_t times(size_t a, size_t b)
{
    size_t product;

    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

#endif

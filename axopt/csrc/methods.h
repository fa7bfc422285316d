/* The methods that compute the sums of a band, and the functions that they share. */
#ifndef AXK_METHODS_H
#define AXK_METHODS_H

#include "band.h"

enum { AXK_PART = 64 }; /* channels that AXK_PIXEL_LANES sums for a tile of pixels: 64 KB */

/* Whether the products are looked up; the codes of a band are then [pixel][channel], unchanged. */
int axk_looks_up(const axk_operation *op);

/* Non-zero if a residual must be subtracted from the sums. */
int axk_has_residual(const axk_operation *op);

/* Elements between two pixels' sums in one group of axk_sum_terms: its output channels, rounded up
 * to whole blocks (not in depthwise layers). */
size_t axk_sum_stride(const axk_operation *op);

/* Returns the first row of the band's input that output row r (counted over its images) needs. */
size_t axk_in_row(const axk_operation *op, const axk_band *band, size_t r);

/* Output channels that are summed together. If they lie in one group of the convolution,
 * axk_finish_row adds its window sums; else call axk_subtract_zeros first. */
typedef struct axk_part {
    size_t first_channel, channels;
    size_t sum_stride; /* between the sums of two pixels */
    size_t group;
    int one_group;
} axk_part;

/* Subtracts the zero-point sums from the sums of one output row. */
void axk_subtract_zeros(const axk_operation *op, const axk_band *band, const axk_workspace *work,
                        const axk_part *part, size_t r, uint32_t *sums);

/* Writes the sums of one output row, [column][sum_stride], to the sink. */
void axk_finish_row(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                    const axk_workspace *work, const axk_part *part, size_t r,
                    const uint32_t *sums);

/* Channels of every group that a task sums. */
typedef struct axk_share {
    size_t first, count;
} axk_share;

axk_layout axk_terms_layout(const axk_operation *op, const axk_isa *isa);
axk_layout axk_codes_layout(const axk_operation *op);

/* Each sums a band. Those with a `chunk` sum so many output rows at a time. */
void axk_sum_terms(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                   const axk_band *band, size_t chunk, axk_workspace *work);
void axk_sum_depthwise(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                       const axk_band *band, axk_workspace *work);
void axk_sum_rows(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                  axk_share share, axk_workspace *work);
void axk_sum_pixel_lanes(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                         axk_share share, size_t chunk, axk_workspace *work);
void axk_sum_channel_lanes(const axk_operation *op, const axk_isa *isa, const axk_band *band,
                           axk_share share, size_t chunk, axk_workspace *work);

#endif

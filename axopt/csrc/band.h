/* A band: the part of the output that a thread computes at a time. */
#ifndef AXK_BAND_H
#define AXK_BAND_H

#include "axk.h"

/* `rows` x `columns` output pixels of each of `images` images. Their windows cover
 * in_rows x in_columns pixels of the padded input of each image. */
typedef struct axk_band {
    size_t image, y, x;
    size_t images, rows, columns;
    size_t in_rows, in_columns;
} axk_band;

/* How expanded codes of a band are laid out: [image][row][column], a pixel's codes together. */
typedef struct axk_layout {
    size_t channels;    /* expanded together: those of a group, or all of a depthwise layer */
    size_t groups;      /* groups of so many channels in a pixel */
    size_t group_bytes; /* multiple of AXK_UNIT */
    size_t pixel_bytes;
} axk_layout;

/* Memory of one thread, sized for the largest band (lay_out in driver.c). */
typedef struct axk_workspace {
    char *expanded;        /* the band's codes, in the operation's layout */
    uint8_t *residual;     /* AXK_CLASSES bytes for each expanded code, in their order */
    uint8_t *codes;        /* codes of one row, [column][channel] */
    float *line;           /* values of one row of one channel */
    uint8_t *line_codes;   /* their codes */
    uint32_t *code_sums;   /* sum of the codes of each input pixel and group */
    uint32_t *plain_sums;  /* the same for row_scale * (code & row_mask) */
    uint32_t *window_zeros; /* sums of code_sums over each output pixel's window */
    uint32_t *window_plain;
    const uint8_t **quads; /* windows of the quads of a chunk of rows, or lines of the band */
    size_t *offsets;       /* of the contiguous pieces of a window, in bytes */
    uint32_t *sums;        /* of a chunk: [pixel of whole quads][output channel, whole blocks] */
    uint32_t *rows;        /* product rows of AXK_ROW_TAPS taps */
    uint8_t *planar;       /* the band's codes, [channel][pixel] */
    uint8_t *tile;         /* a tile's codes */
    uint8_t *windows;      /* codes of the windows of a chunk, [pixel][tap] */
    uint32_t *tile_sums;
} axk_workspace;

size_t axk_pixels(const axk_band *band);
size_t axk_in_pixels(const axk_band *band);

/* Whether the zero-point sums, or the part row_scale * (code & row_mask), need sums of codes. */
int axk_needs_zeros(const axk_operation *op);
int axk_needs_plain(const axk_operation *op);

/* Expands the codes of the band into work->expanded, writes their residual rows, and computes the
 * window sums that the operation needs. */
void axk_fill_band(const axk_operation *op, const axk_isa *isa, const axk_layout *layout,
                   const axk_band *band, axk_workspace *work);

#endif

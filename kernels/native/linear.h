/* Linear layers: activations in fp32 times packed weights. */
#pragma once
#include "tiles.h"

#define ROUNDED 49152 /* values that a worker rounds at a time, before it multiplies them */

/* y (R, O) = x (R, K) w + bias (O or null) + residual (R, O or null, may be y), through GELU where asked; w packed
 * (O / 16, K, 16) or (O / 16, K / 2, 16, 2), its panels of 16 columns `stored` rows apart; rows `lda` and `ldc` apart.
 * One worker's share. */
static void product_rows(const weight_t *x, ptrdiff_t lda, int rows, int depth, const weight_t *w, int stored,
                         int leaving, const float *bias, const float *residual, int activation, float *y,
                         ptrdiff_t ldc) {
#ifdef MATRIX_UNITS
    if (tiles_lent && rows && depth % LANES == 0) {
        product_tiles(x, lda, rows, depth, w, stored, leaving, bias, residual, activation, y, ldc);
        return;
    }
#endif
    const int blocks = (rows + ROWS - 1) / ROWS;
    for (int o = 0; o < leaving; o += COLUMNS)
        for (int block = 0; block < blocks; block++) { /* of nearly the same number of rows each */
            const int r = (int)((int64_t)block * rows / blocks), last = (int)((int64_t)(block + 1) * rows / blocks);
            float *to = y + r * ldc + o;
            const weight_t *panel = w + (size_t)o * stored; /* each block fetches its part of the next one */
            const int ahead = (stored + (int)((int64_t)block * depth / blocks)) / PAIR;
            multiply_weight(last - r, x + r * lda, lda, panel, depth, to, ldc, bias ? bias + o : 0,
                            residual ? residual + r * ldc + o : 0, panel + (size_t)ahead * COLUMNS * PAIR, 256 / blocks);
            if (activation == GELU)
                for (int k = 0; k < last - r; k++)
                    for (int c = 0; c < COLUMNS; c += LANES) store8(to + k * ldc + c, gelu8(load8(to + k * ldc + c)));
        }
}

/* Rows of a packed weight's panel: depth, rounded up to pairs. */
INLINE int packed_depth(int depth) { return (depth + PAIR - 1) / PAIR * PAIR; }

/* `product_rows` of floats; `stored` as `packed_depth` gives it. */
static void linear_rows(const float *x, ptrdiff_t lda, int rows, int depth, const weight_t *w, int stored, int leaving,
                        const float *bias, const float *residual, int activation, float *y, ptrdiff_t ldc) {
#ifdef FADA_BF16
    weight_t rounded[ROUNDED];
    const int wide = packed_depth(depth);
    const int some = ROUNDED / wide / ROWS * ROWS; /* at least ROWS: `HALF_DEPTH` in native.py */
    for (int from = 0; from < rows; from += some) {
        const int count = least(rows - from, some);
        for (int r = 0; r < count; r++) {
            const float *row = x + (from + r) * lda;
            weight_t *to = rounded + (ptrdiff_t)r * wide;
            int p = 0;
            for (; p + LANES <= depth; p += LANES) store_weight(to + p, load8(row + p));
            if (p < wide) {
                float rest[LANES] = {0};
                weight_t last[LANES];
                memcpy(rest, row + p, sizeof(float) * (depth - p));
                store_weight(last, load8(rest));
                memcpy(to + p, last, sizeof(weight_t) * (wide - p));
            }
        }
        product_rows(rounded, wide, count, wide, w, stored, leaving, bias, residual ? residual + from * ldc : 0,
                     activation, y + from * ldc, ldc);
    }
#else
    product_rows(x, lda, rows, depth, w, stored, leaving, bias, residual, activation, y, ldc);
#endif
}

/* Into how many parts to cut `items` for a team: some more than workers, so that a slow one holds none up. */
INLINE int parts_for(int items, int smallest, int threads) {
    const int most = (items + smallest - 1) / smallest, wanted = threads > 1 ? 2 * threads : 1;
    return most < 1 ? 1 : least(most, wanted);
}

/* `linear_rows` shared by the team, by rows, or by columns where rows are few. */
static void team_linear(const float *x, ptrdiff_t lda, int rows, int depth, const weight_t *w, int stored, int leaving,
                        const float *bias, const float *residual, int activation, float *y, ptrdiff_t ldc,
                        int threads) {
    const int down = parts_for(rows, 2 * ROWS, threads), panels = leaving / COLUMNS;
    const int across = down >= threads ? 1 : parts_for(panels, 2, threads);
#pragma omp for schedule(dynamic, 1)
    for (int part = 0; part < down * across; part++) {
        const int i = part / across, j = part % across;
        const int r = (int)((int64_t)i * rows / down), last = (int)((int64_t)(i + 1) * rows / down);
        const int o = j * panels / across * COLUMNS, end = (j + 1) * panels / across * COLUMNS;
        linear_rows(x + r * lda, lda, last - r, depth, w + (size_t)o * stored, stored, end - o, bias ? bias + o : 0,
                    residual ? residual + r * ldc + o : 0, activation, y + r * ldc + o, ldc);
    }
}

/* 3x3 convolutions by Winograd's method, GroupNorm as scale and shift by channel, and patches of stride 2.
 *
 * Source: Winograd 1980 as used by Lavin and Gray 1509.09308, F(4x4, 3x3), whose evaluation points 0, 1, -1, 2, -2
 * and infinity hold those of F(2x2, 3x3): 0, 1, -1 and infinity. Where a side leaves one or two rows (columns) over
 * after tiles of four, the last tile is one of two and takes part in the shared points' planes alone, from the
 * same weights: ten by ten pixels cost 256 products by channel in place of 324.
 */
#pragma once
#include "linear.h"

#define TILE 6
#define OUT 4
#define PLANES (TILE * TILE)
#define BLOCK_FLOATS (256 * 1024)

/* What a convolution reads, beside its weights. */
typedef struct {
    const float *x, *also; /* (N, h, w, first) and (N, h, w, channels - first) joined by channel; also may be null */
    int n, height, width, channels, first; /* of the joined picture, grown */
    int grow; /* 1: h = H / 2, w = W / 2, each pixel is read four times (nearest) */
    const float *scale, *shift; /* (N, C) or null */
    int silu;
} picture_t;

/* Where it writes. */
typedef struct {
    const float *residual; /* as y, its pictures `step` floats apart, or null */
    ptrdiff_t step;
    float *y; /* (N, H, W, O), or (N, 2H, 2W, O / 4): channels (i, j, c) become pixels */
    int shuffle;
} result_t;

/* How a block of strips (rows of tiles) lies in the planes: tiles of kinds (rows, columns) small-full, full-full,
 * full-small, small-small one behind the other, so that each plane takes one range of them. */
typedef struct {
    int full, small; /* tiles across */
    int tall, flat; /* strips of four rows, of two */
} grid_t;

INLINE int whole_tiles(int side) { return side / OUT + (side % OUT == 3); }
INLINE int small_tiles(int side) { return side % OUT == 1 || side % OUT == 2; }

INLINE int first_of(const grid_t *g, int flat, int small) {
    const int sf = g->flat * g->full, ff = g->tall * g->full, fs = g->tall * g->small;
    return flat ? (small ? sf + ff + fs : 0) : (small ? sf + ff : sf);
}

/* Rows of plane (i, j): points 2 and -2 (3 and 4) are none of a small tile's. */
INLINE void range_of(const grid_t *g, int i, int j, int *start, int *count) {
    const int tall_only = i == 3 || i == 4, full_only = j == 3 || j == 4;
    const int sf = g->flat * g->full, ff = g->tall * g->full, fs = g->tall * g->small, ss = g->flat * g->small;
    *start = tall_only ? sf : 0;
    *count = ff + (tall_only ? 0 : sf) + (full_only ? 0 : fs) + (tall_only || full_only ? 0 : ss);
}

/* A block's values in a plane of so many channels, `line` to a cache line: an odd number of these, so that planes do
 * not collide. */
INLINE size_t plane_size(int tiles, int channels, int line) {
    return ((size_t)tiles * channels + line - 1) / line * line | line;
}

/* One source's row of pixels into a padded row, scaled, shifted and sent through SiLU where asked. */
static void load_pixels(const float *restrict from, int width, int channels, int grow, const float *restrict scale,
                        const float *restrict shift, int silu, float *restrict to, int wide) {
    if (channels == wide && !grow && !scale) {
        if (!silu)
            memcpy(to, from, sizeof(float) * width * channels);
        else
            for (int i = 0; i < width * channels; i += LANES) store8(to + i, silu8(load8(from + i)));
        return;
    }
    for (int column = 0; column < width; column++, to += wide) {
        const float *restrict at = from + (size_t)(column >> grow) * channels;
        if (!silu)
            memcpy(to, at, sizeof(float) * channels);
        else if (!scale)
            for (int c = 0; c < channels; c += LANES) store8(to + c, silu8(load8(at + c)));
        else
            for (int c = 0; c < channels; c += LANES)
                store8(to + c, silu8(load8(at + c) * load8(scale + c) + load8(shift + c)));
    }
}

/* Row `row` of a picture (it may lie outside) with a column of zeros before and zeros behind. */
static void load_row(const picture_t *p, int image, int row, int padded, float *to) {
    const int channels = p->channels, second = channels - p->first;
    if (row < 0 || row >= p->height) {
        memset(to, 0, sizeof(float) * padded * channels);
        return;
    }
    memset(to, 0, sizeof(float) * channels);
    memset(to + (size_t)(p->width + 1) * channels, 0, sizeof(float) * (padded - p->width - 1) * channels);
    const float *scale = p->scale ? p->scale + (size_t)image * channels : 0;
    const float *shift = p->shift ? p->shift + (size_t)image * channels : 0;
    const size_t line = ((size_t)image * (p->height >> p->grow) + (row >> p->grow)) * (p->width >> p->grow);
    load_pixels(p->x + line * p->first, p->width, p->first, p->grow, scale, shift, p->silu, to + channels, channels);
    if (second)
        load_pixels(p->also + line * second, p->width, second, p->grow, scale ? scale + p->first : 0,
                    shift ? shift + p->first : 0, p->silu, to + channels + p->first, channels);
}

/* Bt d: six values, or four for a small tile; o[3] and o[4] of a small one are left alone. */
INLINE void forward(const int small, const v8 *d, int step, v8 *o, int ostep) {
    if (small) {
        const v8 d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
        o[0] = 4.0f * (d0 - d2);
        o[ostep] = -3.0f * (d1 + d2);
        o[2 * ostep] = 3.0f * (d1 - d2);
        o[5 * ostep] = d3 - d1;
        return;
    }
    const v8 d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const v8 even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1, low = d4 - d2, high = 2.0f * (d3 - d1);
    o[0] = 4.0f * d0 - 5.0f * d2 + d4;
    o[ostep] = even + odd;
    o[2 * ostep] = even - odd;
    o[3 * ostep] = low + high;
    o[4 * ostep] = low - high;
    o[5 * ostep] = 4.0f * d1 - 5.0f * d3 + d5;
}

/* At m: four values, or two. */
INLINE void inverse(const int small, const v8 *m, int step, v8 *o, int ostep) {
    const v8 m0 = m[0], m5 = m[5 * step], a = m[step] + m[2 * step], b = m[step] - m[2 * step];
    if (small) {
        o[0] = m0 + a;
        o[ostep] = b + m5;
        return;
    }
    const v8 c = m[3 * step] + m[4 * step], d = m[3 * step] - m[4 * step];
    o[0] = m0 + a + c;
    o[ostep] = b + 2.0f * d;
    o[2 * ostep] = a + 4.0f * c;
    o[3 * ostep] = b + 8.0f * d + m5;
}

/* One tile from six padded rows, at column `left`, into its row of all planes. */
INLINE void transform_tile(const int flat, const int small, float *const *rows, size_t left, int channels, weight_t *v,
                           size_t plane) {
    const int down = flat ? 4 : TILE, across = small ? 4 : TILE;
    for (int c = 0; c < channels; c += LANES) {
        v8 half[PLANES], d[TILE], o[TILE];
        for (int q = 0; q < across; q++) {
            for (int r = 0; r < down; r++) d[r] = load8(rows[r] + (left + q) * channels + c);
            forward(flat, d, 1, half + q, TILE);
        }
        for (int r = 0; r < TILE; r++) {
            if (flat && (r == 3 || r == 4)) continue;
            forward(small, half + r * TILE, 1, o, 1);
            for (int q = 0; q < TILE; q++)
                if (!small || (q != 3 && q != 4)) store_weight(v + (r * TILE + q) * plane + c, o[q]);
        }
    }
}

/* LANES channels of one tile back from its row of all planes: into OUT x OUT values. */
INLINE void gather_tile(const int flat, const int small, const float *m, size_t plane, v8 *o) {
    v8 half[OUT * TILE], d[TILE];
    for (int q = 0; q < TILE; q++) {
        if (small && (q == 3 || q == 4)) continue;
        for (int r = 0; r < TILE; r++)
            if (!flat || (r != 3 && r != 4)) d[r] = load8(m + (r * TILE + q) * plane);
        inverse(flat, d, 1, half + q, TILE);
    }
    for (int r = 0; r < (flat ? 2 : OUT); r++) inverse(small, half + r * TILE, 1, o + r * OUT, 1);
}

/* One tile, all channels, into the result with bias and residual. */
INLINE void write_tile(const int flat, const int small, const picture_t *p, const result_t *to, int image, int top,
                       int left, const float *m, size_t plane, int leaving, const float *bias) {
    const int rows = least(p->height - top, flat ? 2 : OUT), columns = least(p->width - left, small ? 2 : OUT);
    const size_t size = (size_t)p->height * p->width * leaving;
    const int each = leaving / 4;
    for (int c = 0; c < leaving; c += LANES) {
        v8 o[OUT * OUT];
        const v8 add = load8(bias + c);
        gather_tile(flat, small, m + c, plane, o);
        for (int r = 0; r < rows; r++)
            for (int q = 0; q < columns; q++) {
                const int row = top + r, column = left + q;
                size_t at = ((size_t)row * p->width + column) * leaving + c;
                if (to->shuffle)
                    at = ((size_t)(2 * row + c / each / 2) * 2 * p->width + 2 * column + c / each % 2) * each + c % each;
                v8 value = o[r * OUT + q] + add;
                if (to->residual) value += load8(to->residual + image * to->step + at);
                store8(to->y + image * size + at, value);
            }
    }
}

#define BY_KIND(flat, small, call, ...)                                       \
    do {                                                                      \
        if (!(flat) && !(small)) call(0, 0, __VA_ARGS__);                     \
        else if (!(flat)) call(0, 1, __VA_ARGS__);                            \
        else if (!(small)) call(1, 0, __VA_ARGS__);                           \
        else call(1, 1, __VA_ARGS__);                                         \
    } while (0)

/* How a convolution is cut: blocks of strips, each through three phases (into the planes, products, out of them). */
typedef struct {
    int whole, down, full, across, all; /* strips of four rows and all strips of a picture, tiles across, all strips */
    int strips, apart; /* of a block; whether each worker has blocks of its own, or all share the phases of one */
    size_t padded, plane, behind; /* floats of a padded row, values of a plane before and after the product */
    size_t before, block; /* floats of a block's planes before it, of all */
} plan_t;

static plan_t plan_blocks(int n, int height, int width, int channels, int leaving, int threads) {
    plan_t c = {.whole = whole_tiles(height), .full = whole_tiles(width)};
    c.down = c.whole + small_tiles(height), c.across = c.full + small_tiles(width), c.all = n * c.down;
    /* as many strips as keep both sets of planes near the core; but weights are read once by block */
    int most = BLOCK_FLOATS / (PLANES * c.across * (channels / PAIR + leaving));
    if (most * c.across < 4 * ROWS) most = (4 * ROWS + c.across - 1) / c.across;
    int blocks = (c.all + most - 1) / most;
    if (threads > 1 && c.all * c.across >= threads * 4 * ROWS) blocks = (blocks + threads - 1) / threads * threads;
    blocks = least(blocks, c.all);
    c.strips = (c.all + blocks - 1) / blocks;
    c.apart = blocks >= threads;
    c.padded = (size_t)(OUT * c.full + 2 * small_tiles(width) + 2) * channels;
    c.plane = plane_size(c.strips * c.across, channels, LINE), c.behind = plane_size(c.strips * c.across, leaving, 16);
    c.before = PLANES * c.plane / PAIR, c.block = c.before + PLANES * c.behind;
    return c;
}

/* Full strips among the first `some` of a block that begins at strip `first`. */
INLINE int tall_among(const plan_t *c, int first, int some) {
    return (first + some) / c->down * c->whole + least((first + some) % c->down, c->whole) -
           (first / c->down * c->whole + least(first % c->down, c->whole));
}

/* Row of tile t of a block's strip s in the planes. */
INLINE int place_of(const plan_t *c, const grid_t *g, int first, int s, int t) {
    const int flat = (first + s) % c->down >= c->whole, small = t >= c->full, tall = tall_among(c, first, s);
    const int rank = flat ? s - tall : tall;
    return first_of(g, flat, small) + (small ? rank : rank * c->full + t);
}

/* Strips [from, to) of a block into the planes; `ring` holds six padded rows, two of which the next strip keeps. */
static void transform_strips(const picture_t *p, const plan_t *c, const grid_t *g, int first, int from, int to,
                             float *ring, weight_t *v) {
    for (int s = from; s < to; s++) {
        const int image = (first + s) / c->down, strip = (first + s) % c->down, flat = strip >= c->whole;
        float *at[TILE];
        for (int r = 0; r < (flat ? 4 : TILE); r++) {
            at[r] = ring + (strip * OUT + r) % TILE * c->padded;
            if (s == from || strip == 0 || r >= 2)
                load_row(p, image, strip * OUT - 1 + r, (int)(c->padded / p->channels), at[r]);
        }
        for (int t = 0; t < c->across; t++) {
            weight_t *to_planes = v + (size_t)place_of(c, g, first, s, t) * p->channels;
            BY_KIND(flat, t >= c->full, transform_tile, at, (size_t)t * OUT, p->channels, to_planes, c->plane);
        }
    }
}

/* The products of plane i. */
static void multiply_plane(const plan_t *c, const grid_t *g, int i, int channels, const weight_t *w, int leaving,
                           const weight_t *v, float *m) {
    int start, count;
    range_of(g, i / TILE, i % TILE, &start, &count);
    product_rows(v + i * c->plane + (size_t)start * channels, channels, count, channels,
                 w + (size_t)i * channels * leaving, channels, leaving, 0, 0, PLAIN,
                 m + i * c->behind + (size_t)start * leaving, leaving);
}

/* Strip s of a block out of the planes. */
static void write_strip(const picture_t *p, const plan_t *c, const grid_t *g, int first, int s, const float *m,
                        int leaving, const float *bias, const result_t *to) {
    const int image = (first + s) / c->down, strip = (first + s) % c->down, flat = strip >= c->whole;
    for (int t = 0; t < c->across; t++) {
        const float *from = m + (size_t)place_of(c, g, first, s, t) * leaving;
        BY_KIND(flat, t >= c->full, write_tile, p, to, image, strip * OUT, t * OUT, from, c->behind, leaving, bias);
    }
}

INLINE grid_t grid_of(const plan_t *c, int first, int some) {
    const int tall = tall_among(c, first, some);
    return (grid_t){c->full, c->across - c->full, tall, some - tall};
}

/* A thread team's convolution; see `fada_conv3x3`. */
static void team_conv3x3(const picture_t *p, const weight_t *w, int leaving, const float *bias, const result_t *to,
                         float *scratch, int threads) {
    const plan_t c = plan_blocks(p->n, p->height, p->width, p->channels, leaving, threads);
    float *rings = scratch + (c.apart ? threads : 1) * c.block;
    if (c.apart) {
#pragma omp for schedule(dynamic, 1)
        for (int first = 0; first < c.all; first += c.strips) {
            const int some = least(c.all - first, c.strips);
            const grid_t g = grid_of(&c, first, some);
            float *own = scratch + WORKER * c.block, *m = own + c.before;
            weight_t *v = (weight_t *)own;
            transform_strips(p, &c, &g, first, 0, some, rings + WORKER * TILE * c.padded, v);
            for (int i = 0; i < PLANES; i++) multiply_plane(&c, &g, i, p->channels, w, leaving, v, m);
            for (int s = 0; s < some; s++) write_strip(p, &c, &g, first, s, m, leaving, bias, to);
        }
        return;
    }
    weight_t *v = (weight_t *)scratch;
    float *m = scratch + c.before;
    for (int first = 0; first < c.all; first += c.strips) {
        const int some = least(c.all - first, c.strips), parts = parts_for(some, 1, threads);
        const grid_t g = grid_of(&c, first, some);
#pragma omp for schedule(dynamic, 1)
        for (int part = 0; part < parts; part++)
            transform_strips(p, &c, &g, first, part * some / parts, (part + 1) * some / parts,
                             rings + WORKER * TILE * c.padded, v);
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < PLANES; i++) multiply_plane(&c, &g, i, p->channels, w, leaving, v, m);
#pragma omp for schedule(dynamic, 1) nowait
        for (int s = 0; s < some; s++) write_strip(p, &c, &g, first, s, m, leaving, bias, to);
    }
#pragma omp barrier
}

/* Floats of scratch that a convolution needs. */
ptrdiff_t fada_conv3x3_scratch(int n, int height, int width, int channels, int leaving, int threads) {
    const plan_t c = plan_blocks(n, height, width, channels, leaving, threads);
    return (c.apart ? threads : 1) * c.block + threads * TILE * c.padded;
}

/* y = conv3x3(x joined with also by channel, padding 1) + bias (O) + residual (like y, or null), where the joined
 * picture may first be grown twofold (nearest), scaled and shifted by row and channel ((N, C) or null; then with
 * SiLU) and sent through SiLU. w (36, O / 16, C, 16), or (36, O / 16, C / 2, 16, 2) in bf16: see `winograd_weight`. */
void fada_conv3x3(const float *x, const float *also, int n, int height, int width, int channels, int first, int grow,
                  const float *scale, const float *shift, int silu, const weight_t *w, int leaving, const float *bias,
                  const float *residual, ptrdiff_t step, float *y, int shuffle, float *scratch, int threads) {
    const picture_t p = {x, also, n, height, width, channels, first, grow, scale, shift, silu};
    const result_t to = {residual, step, y, shuffle};
#pragma omp parallel num_threads(threads) if (threads > 1)
    team_conv3x3(&p, w, leaving, bias, &to, scratch, threads);
}

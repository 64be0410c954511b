/* What moves within a face and the head's pose, in one cubic sampling of the user's own picture.
 *
 * A pixel is four bytes (red, green, blue, how much of it is there), so that four neighbours are one load. Their
 * rows are added first, sixteen values at once, then the four columns; all in fp32, rounded once at the end.
 */
#pragma once
#include "pixels.h"

#define MOVE 8 /* flow x, flow y, matte, paint r, g, b, and two that say nothing */
#define WIDEST (4096 + CHUNK) /* px across, at most, and what a chunk reads beyond */
#define BAND 32 /* rows that one thread draws after another */
#define OPAQUE 255.0f

/* Four pixels of each of four rows, weighted: (4,) values of one pixel. */
#ifdef __AVX512F__
INLINE v4 weigh(const uint8_t *at, size_t stride, const float *wx, const float *wy) {
#define ROW(j) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(at + j * stride))))
    __m512 sum = _mm512_mul_ps(ROW(0), _mm512_set1_ps(wy[0]));
    sum = _mm512_fmadd_ps(ROW(1), _mm512_set1_ps(wy[CHUNK]), sum);
    sum = _mm512_fmadd_ps(ROW(2), _mm512_set1_ps(wy[2 * CHUNK]), sum);
    sum = _mm512_fmadd_ps(ROW(3), _mm512_set1_ps(wy[3 * CHUNK]), sum);
#undef ROW
    return (v4)_mm512_castps512_ps128(sum) * wx[0] + (v4)_mm512_extractf32x4_ps(sum, 1) * wx[CHUNK] +
           (v4)_mm512_extractf32x4_ps(sum, 2) * wx[2 * CHUNK] + (v4)_mm512_extractf32x4_ps(sum, 3) * wx[3 * CHUNK];
}
#elif defined(__AVX2__)
INLINE v4 weigh(const uint8_t *at, size_t stride, const float *wx, const float *wy) {
    v8 left = {0}, right = {0};
    for (int j = 0; j < 4; j++, at += stride) {
        left += (v8)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)at))) * wy[j * CHUNK];
        right += (v8)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(at + 8)))) * wy[j * CHUNK];
    }
    return (v4)_mm256_castps256_ps128((__m256)left) * wx[0] + (v4)_mm256_extractf128_ps((__m256)left, 1) * wx[CHUNK] +
           (v4)_mm256_castps256_ps128((__m256)right) * wx[2 * CHUNK] +
           (v4)_mm256_extractf128_ps((__m256)right, 1) * wx[3 * CHUNK];
}
#else
INLINE v4 weigh(const uint8_t *at, size_t stride, const float *wx, const float *wy) {
    float sum[16] = {0};
    for (int j = 0; j < 4; j++, at += stride)
        for (int i = 0; i < 16; i++) sum[i] += wy[j * CHUNK] * at[i];
    return *(v4 *)sum * wx[0] + *(v4 *)(sum + 4) * wx[CHUNK] + *(v4 *)(sum + 8) * wx[2 * CHUNK] +
           *(v4 *)(sum + 12) * wx[3 * CHUNK];
}
#endif

/* CHUNK pixels as bytes, rounded to the nearest, ties to even; `channels` 3 leaves the fourth out. */
static void pack_pixels(const v4 *restrict colour, int channels, uint8_t *restrict to) {
#ifdef __AVX__
    const __m128i dense = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (int p = 0; p < CHUNK; p += 4, to += 4 * channels) {
        const __m128i front = _mm_packs_epi32(_mm_cvtps_epi32((__m128)colour[p]), _mm_cvtps_epi32((__m128)colour[p + 1]));
        const __m128i back =
            _mm_packs_epi32(_mm_cvtps_epi32((__m128)colour[p + 2]), _mm_cvtps_epi32((__m128)colour[p + 3]));
        const __m128i four = _mm_packus_epi16(front, back);
        _mm_storeu_si128((__m128i *)to, channels == 3 ? _mm_shuffle_epi8(four, dense) : four);
    }
#else
    for (int p = 0; p < CHUNK; p++)
        for (int c = 0; c < channels; c++) {
            const float v = colour[p][c] < 0.0f ? 0.0f : colour[p][c] > OPAQUE ? OPAQUE : colour[p][c];
            const union { float f; int32_t i; } rounded = {v + 12582912.0f}; /* see `exp8` */
            to[p * channels + c] = (uint8_t)rounded.i;
        }
#endif
}

/* Up to CHUNK pixels as they are. */
static void copy_pixels(const uint8_t *restrict from, int some, int channels, uint8_t *restrict to) {
    if (channels == 4) {
        memcpy(to, from, 4 * some);
        return;
    }
    for (int p = 0; p < some; p++)
        for (int c = 0; c < 3; c++) to[3 * p + c] = from[4 * p + c];
}

/* Up to CHUNK pixels of one picture (height, width, 4), at places in [-1, 1]. */
static void sample_pixels(const uint8_t *picture, int height, int width, const float *x, const float *y, int some,
                          v4 *restrict colour) {
    float wx[4][CHUNK], wy[4][CHUNK];
    int column[CHUNK], row[CHUNK];
    cubic_taps(x, width, wx, column);
    cubic_taps(y, height, wy, row);
    const size_t stride = (size_t)width * 4;
    for (int p = 0; p < some; p++) {
        const int left = column[p], top = row[p];
        if (left >= 0 && left + 3 < width && top >= 0 && top + 3 < height) {
            colour[p] = weigh(picture + top * stride + 4 * left, stride, &wx[0][p], &wy[0][p]);
            continue;
        }
        uint8_t near[4][16];
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 4; i++)
                memcpy(near[j] + 4 * i, picture + clamp_index(top + j, height) * stride + 4 * clamp_index(left + i, width), 4);
        colour[p] = weigh(near[0], sizeof near[0], &wx[0][p], &wy[0][p]);
    }
}

/* Of up to CHUNK places, those inside the box: what the moves (rows, columns, MOVE) say there, between their cells,
 * is added to the place and kept in `told`. Box: a place (x, y) lies at box[0] x + box[1] y + box[2] of its width and
 * at box[3] x + box[4] y + box[5] of its height. */
static int look_up_moves(const float *moves, int rows, int columns, const float *box, float *x, float *y, int some,
                         float (*restrict told)[MOVE]) {
    float across[CHUNK], down[CHUNK];
    int within[CHUNK], inside = 0;
    for (int p = 0; p < CHUNK; p++) {
        across[p] = box[0] * x[p] + box[1] * y[p] + box[2];
        down[p] = box[3] * x[p] + box[4] * y[p] + box[5];
        within[p] = (across[p] > 0.0f) & (across[p] < 1.0f) & (down[p] > 0.0f) & (down[p] < 1.0f);
        inside |= within[p];
    }
    if (!inside) return 0;
    for (int p = 0; p < some; p++) {
        if (!within[p]) {
            told[p][2] = 0.0f;
            continue;
        }
        const float u = across[p] * columns - 0.5f, v = down[p] * rows - 0.5f, u0 = floorf(u), v0 = floorf(v);
        const int left = clamp_index((int)u0, columns), right = clamp_index((int)u0 + 1, columns);
        const float *upper = moves + (size_t)clamp_index((int)v0, rows) * columns * MOVE;
        const float *lower = moves + (size_t)clamp_index((int)v0 + 1, rows) * columns * MOVE;
        const float s = u - u0, t = v - v0;
        const v8 over = load8(upper + left * MOVE) * (1.0f - s) + load8(upper + right * MOVE) * s;
        const v8 under = load8(lower + left * MOVE) * (1.0f - s) + load8(lower + right * MOVE) * s;
        store8(told[p], over * (1.0f - t) + under * t);
        x[p] += told[p][0];
        y[p] += told[p][1];
    }
    return 1;
}

static void paint_pixels(const float (*restrict told)[MOVE], int some, v4 *restrict colour) {
    for (int p = 0; p < some; p++) {
        const v4 paint = {told[p][3] * OPAQUE, told[p][4] * OPAQUE, told[p][5] * OPAQUE, OPAQUE};
        if (told[p][2] != 0.0f) colour[p] += (paint - colour[p]) * told[p][2];
    }
}

/* One row of offsets (across, 2) between its cells: x and y (width) each. */
static void spread_row(const float *cells, int across, int width, float *restrict x, float *restrict y) {
    const float per_pixel = (float)across / width;
    for (int p = 0; p < width; p++) {
        const float u = (p + 0.5f) * per_pixel - 0.5f, u0 = floorf(u), s = u - u0;
        const int left = clamp_index((int)u0, across), right = clamp_index((int)u0 + 1, across);
        x[p] = cells[2 * left] * (1.0f - s) + cells[2 * right] * s;
        y[p] = cells[2 * left + 1] * (1.0f - s) + cells[2 * right + 1] * s;
    }
}

/* The two rows of cells about a pixel's row, spread over the picture's width; kept while they are the same ones. */
typedef struct {
    int row[2]; /* -1: nothing yet */
    float x[2][WIDEST], y[2][WIDEST];
} rows_of_cells;

/* Brings cells' row `wanted` into slot `slot`, from the other slot where it lies there. */
static void bring_row(rows_of_cells *kept, int slot, int wanted, const float *offsets, int across, int width) {
    if (kept->row[slot] == wanted) return;
    if (kept->row[1 - slot] == wanted) {
        memcpy(kept->x[slot], kept->x[1 - slot], width * sizeof(float));
        memcpy(kept->y[slot], kept->y[1 - slot], width * sizeof(float));
    } else
        spread_row(offsets + (size_t)wanted * across * 2, across, width, kept->x[slot], kept->y[slot]);
    kept->row[slot] = wanted;
}

/* The places of CHUNK pixels of a row from `start` on, in [-1, 1]: their own and the offset between two rows of cells.
 * Says whether any is not its own. */
static int places_of(const rows_of_cells *kept, float t, int start, int width, float row_place, float *restrict x,
                     float *restrict y) {
    int moved = 0;
    for (int p = 0; p < CHUNK; p++) {
        const float dx = kept->x[0][start + p] * (1.0f - t) + kept->x[1][start + p] * t;
        const float dy = kept->y[0][start + p] * (1.0f - t) + kept->y[1][start + p] * t;
        moved |= (dx != 0.0f) | (dy != 0.0f);
        x[p] = (2.0f * (start + p) + 1.0f) / width - 1.0f + dx;
        y[p] = row_place + dy;
    }
    return moved;
}

/* One row of a frame; see `fada_move`. */
static void move_row(const uint8_t *picture, int height, int width, int row, const rows_of_cells *kept, float t,
                     const float *moves, int rows, int columns, const float *box, int channels, uint8_t *out) {
    float x[CHUNK], y[CHUNK], told[CHUNK][MOVE];
    v4 colour[CHUNK] = {{0}};
    uint8_t bytes[CHUNK * 4 + 4];
    for (int start = 0; start < width; start += CHUNK) {
        const int some = least(CHUNK, width - start);
        uint8_t *to = out + (size_t)start * channels;
        const int moved = places_of(kept, t, start, width, (2.0f * row + 1.0f) / height - 1.0f, x, y);
        const int inside = look_up_moves(moves, rows, columns, box, x, y, some, told);
        if (!moved && !inside) {
            copy_pixels(picture + ((size_t)row * width + start) * 4, some, channels, to);
            continue;
        }
        sample_pixels(picture, height, width, x, y, some, colour);
        if (inside) paint_pixels((const float(*)[MOVE])told, some, colour);
        pack_pixels(colour, channels, bytes);
        memcpy(to, bytes, (size_t)some * channels);
    }
}

/* What moves within a face and the head's pose, at the picture's own size and in one sampling: pictures
 * (N / share, H, W, 4) bytes, each for `share` frames -> bytes (N, H, W, channels). offsets (N, down, across, 2) say how
 * far from a pixel the head's pose reads, in [-1, 1] of the picture, between their cells; moves (N, rows, columns, MOVE)
 * see `look_up_moves`. What neither moves is copied. Source: `models.framing.picture_warp.PictureWarp`. */
void fada_move(const uint8_t *pictures, int n, int share, int height, int width, const float *offsets, int down,
               int across, const float *moves, int rows, int columns, const float *box, int channels, uint8_t *out,
               int threads) {
    const size_t plane = (size_t)height * width;
    const int bands = (height + BAND - 1) / BAND;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (int part = 0; part < n * bands; part++) {
        const int image = part / bands, first = part % bands * BAND;
        const float *own = offsets + (size_t)image * down * across * 2;
        rows_of_cells kept;
        kept.row[0] = kept.row[1] = -1;
        for (int slot = 0; slot < 2; slot++) {
            memset(kept.x[slot] + width, 0, CHUNK * sizeof(float)); /* read by the last chunk, and moved by nothing */
            memset(kept.y[slot] + width, 0, CHUNK * sizeof(float));
        }
        for (int row = first; row < least(first + BAND, height); row++) {
            const float v = (row + 0.5f) * down / height - 0.5f, v0 = floorf(v);
            bring_row(&kept, 0, clamp_index((int)v0, down), own, across, width);
            bring_row(&kept, 1, clamp_index((int)v0 + 1, down), own, across, width);
            move_row(pictures + image / share * plane * 4, height, width, row, &kept, v - v0,
                     moves + (size_t)image * rows * columns * MOVE, rows, columns, box, channels,
                     out + (image * plane + (size_t)row * width) * channels);
        }
    }
}

/* One value of a map (rows, columns, ...) twice as large, between its cells: weights 3/4 of the near and 1/4 of the far,
 * in `near` and `far`; held at the border. */
INLINE void doubled_cell(int i, int size, int *near, int *far) {
    *near = i / 2;
    *far = clamp_index(i % 2 ? i / 2 + 1 : i / 2 - 1, size);
}

/* The flow of one frame: of coarse (rows / 2, columns / 2, step) doubled, plus its residual in leaves (rows, columns,
 * wide), times `scale` -> flow (rows, columns, 2). */
static void add_flows(const float *coarse, int step, const float *leaves, int wide, int rows, int columns, float scale,
                      float *restrict flow) {
    for (int row = 0; row < rows; row++) {
        int near_row, far_row;
        doubled_cell(row, rows / 2, &near_row, &far_row);
        const float *near = coarse + (size_t)near_row * (columns / 2) * step;
        const float *far = coarse + (size_t)far_row * (columns / 2) * step;
        for (int column = 0; column < columns; column++) {
            int a, b;
            doubled_cell(column, columns / 2, &a, &b);
            for (int c = 0; c < 2; c++) {
                const float upper = 0.75f * near[a * step + c] + 0.25f * near[b * step + c];
                const float lower = 0.75f * far[a * step + c] + 0.25f * far[b * step + c];
                *flow++ = scale * (0.75f * upper + 0.25f * lower + leaves[((size_t)row * columns + column) * wide + c]);
            }
        }
    }
}

/* What the decoder's last layers say, as `fada_move` reads it: coarse (N, rows / 2, columns / 2, step) and leaves
 * (N, rows, columns, wide) of flow x, y and then red, green, blue and matte of two times two pixels each -> out
 * (N, 2 rows, 2 columns, MOVE). Flow and matte fade by the lesser of `fade_x` and `fade_y` of their pixel; `flows`
 * (N, rows, columns, 2) is scratch. Source: `models.modules.mover.packed` of `read_leaves`. */
void fada_pack_moves(const float *coarse, int step, const float *leaves, int wide, int n, int rows, int columns,
                     float scale, float bias, const float *fade_x, const float *fade_y, float *flows,
                     float *restrict out, int threads) {
    const size_t area = (size_t)rows * columns;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int image = 0; image < n; image++)
            add_flows(coarse + image * (area / 4) * step, step, leaves + image * area * wide, wide, rows, columns, scale,
                      flows + image * area * 2);
#pragma omp for schedule(static)
        for (int line = 0; line < n * rows; line++) {
            const int image = line / rows, row = line % rows;
            const float *flow = flows + image * area * 2;
            for (int column = 0; column < columns; column++) {
                const float *leaf = leaves + ((size_t)line * columns + column) * wide + 2;
                float open[16];
                store8(open, sigmoid8(load8(leaf)));
                store8(open + 8, sigmoid8(load8(leaf + 8) + (v8){0, 0, 0, 0, bias, bias, bias, bias}));
                for (int k = 0; k < 4; k++) {
                    const int y = 2 * row + k / 2, x = 2 * column + k % 2;
                    int near_row, far_row, a, b;
                    doubled_cell(y, rows, &near_row, &far_row);
                    doubled_cell(x, columns, &a, &b);
                    const float *near = flow + (size_t)near_row * columns * 2, *far = flow + (size_t)far_row * columns * 2;
                    const float fade = fade_x[x] < fade_y[y] ? fade_x[x] : fade_y[y];
                    v8 move = {0, 0, fade * open[12 + k], open[k], open[4 + k], open[8 + k], 0, 0};
                    for (int c = 0; c < 2; c++)
                        move[c] = fade * (0.75f * (0.75f * near[2 * a + c] + 0.25f * near[2 * b + c]) +
                                          0.25f * (0.75f * far[2 * a + c] + 0.25f * far[2 * b + c]));
                    store8(out + (((size_t)image * 2 * rows + y) * 2 * columns + x) * MOVE, move);
                }
            }
        }
    }
}

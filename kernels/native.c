/* CPU kernels in fp32, compiled on the user's own machine by `kernels.native`; no header of torch is needed.
 *
 * In and out: channels-last arrays (N, H, W, C), C a multiple of 8. Letters: T tiles, G groups, D head width.
 * The caller owns all memory; every function runs on `threads` OpenMP threads and keeps nothing.
 *
 * Source of the tiled convolution: Winograd 1980 as used by Lavin and Gray 1509.09308, F(4x4, 3x3).
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 8
#define TILE 6
#define OUT 4
#define LOOP for (int l = 0; l < LANES; l++)

typedef float lanes_t[LANES];

/* e^x to 2 ulp over the floats' range: 2^n times a polynomial (Cephes), without branches, so that it vectorises. */
static inline float exp_lane(float x) {
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float n = floorf(x * 1.44269504f + 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } scale;
    scale.i = ((int32_t)n + 127) << 23;
    return p * scale.f;
}

static inline float silu_lane(float x) { return x / (1.0f + exp_lane(-x)); }

/* One strip of a picture: TILE rows from `top` (which may lie outside), a column of zeros before, zeros behind,
 * each value optionally scaled and shifted by channel and sent through SiLU. Rows before `from_row` are there. */
static void load_strip(const float *restrict x, int top, int height, int width, int channels, int padded,
                       const float *restrict scale, const float *restrict shift, int silu, int from_row,
                       float *restrict strip) {
    for (int r = from_row; r < TILE; r++) {
        float *restrict to = strip + (size_t)r * padded * channels;
        const int row = top + r;
        if (row < 0 || row >= height) {
            memset(to, 0, sizeof(float) * padded * channels);
            continue;
        }
        memset(to, 0, sizeof(float) * channels);
        memset(to + (size_t)(width + 1) * channels, 0, sizeof(float) * (padded - width - 1) * channels);
        const float *restrict from = x + (size_t)row * width * channels;
        to += channels;
        if (!silu) {
            memcpy(to, from, sizeof(float) * width * channels);
        } else if (!scale) {
            for (int i = 0; i < width * channels; i++) to[i] = silu_lane(from[i]);
        } else {
            for (int column = 0; column < width; column++, to += channels, from += channels)
                for (int c = 0; c < channels; c++) to[c] = silu_lane(from[c] * scale[c] + shift[c]);
        }
    }
}

/* Bt d of six values. */
static inline void forward_6(const lanes_t *restrict d, int step, lanes_t *restrict o, int ostep) {
    LOOP {
        const float d0 = d[0][l], d1 = d[step][l], d2 = d[2 * step][l], d3 = d[3 * step][l];
        const float d4 = d[4 * step][l], d5 = d[5 * step][l];
        const float even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1, low = d4 - d2, high = 2.0f * (d3 - d1);
        o[0][l] = 4.0f * d0 - 5.0f * d2 + d4;
        o[ostep][l] = even + odd;
        o[2 * ostep][l] = even - odd;
        o[3 * ostep][l] = low + high;
        o[4 * ostep][l] = low - high;
        o[5 * ostep][l] = 4.0f * d1 - 5.0f * d3 + d5;
    }
}

/* At m of six values: four. */
static inline void inverse_6(const lanes_t *restrict m, int step, lanes_t *restrict o, int ostep) {
    LOOP {
        const float m0 = m[0][l], m5 = m[5 * step][l];
        const float a = m[step][l] + m[2 * step][l], b = m[step][l] - m[2 * step][l];
        const float c = m[3 * step][l] + m[4 * step][l], d = m[3 * step][l] - m[4 * step][l];
        o[0][l] = m0 + a + c;
        o[ostep][l] = b + 2.0f * d;
        o[2 * ostep][l] = a + 4.0f * c;
        o[3 * ostep][l] = b + 8.0f * d + m5;
    }
}

typedef float v4 __attribute__((vector_size(16), aligned(4)));
typedef float v8 __attribute__((vector_size(32), aligned(4)));
#define ROWS 6
#define COLUMNS 16

/* ROWS x COLUMNS of a b -> c: a has `stride` floats a row, c `wide`; b is packed (depth, COLUMNS). */
static inline void multiply_block(const float *restrict a, ptrdiff_t stride, const float *restrict b, int depth,
                                  float *restrict c, ptrdiff_t wide) {
    v8 s00 = {0}, s01 = {0}, s10 = {0}, s11 = {0}, s20 = {0}, s21 = {0};
    v8 s30 = {0}, s31 = {0}, s40 = {0}, s41 = {0}, s50 = {0}, s51 = {0};
    for (int p = 0; p < depth; p++) {
        const v8 b0 = *(const v8 *)(b + COLUMNS * p), b1 = *(const v8 *)(b + COLUMNS * p + 8);
        const float *at = a + p;
        s00 += at[0] * b0, s01 += at[0] * b1;
        s10 += at[stride] * b0, s11 += at[stride] * b1;
        s20 += at[2 * stride] * b0, s21 += at[2 * stride] * b1;
        s30 += at[3 * stride] * b0, s31 += at[3 * stride] * b1;
        s40 += at[4 * stride] * b0, s41 += at[4 * stride] * b1;
        s50 += at[5 * stride] * b0, s51 += at[5 * stride] * b1;
    }
#define STORE(k, low, high) *(v8 *)(c + k * wide) = low, *(v8 *)(c + k * wide + 8) = high
    STORE(0, s00, s01), STORE(1, s10, s11), STORE(2, s20, s21);
    STORE(3, s30, s31), STORE(4, s40, s41), STORE(5, s50, s51);
#undef STORE
}

/* The tiles of one strip, transformed: v[i][t] for 36 planes i and `across` tiles t, planes `plane` floats apart. */
static void transform_strip(const float *restrict strip, int across, int channels, int padded, float *restrict v,
                            size_t plane) {
    for (int t = 0; t < across; t++)
        for (int c = 0; c < channels; c += LANES) {
            lanes_t d[TILE * TILE], half[TILE * TILE], o[TILE];
            for (int r = 0; r < TILE; r++)
                for (int q = 0; q < TILE; q++) {
                    const float *restrict from = strip + ((size_t)r * padded + t * OUT + q) * channels + c;
                    LOOP d[r * TILE + q][l] = from[l];
                }
            for (int q = 0; q < TILE; q++) forward_6(d + q, TILE, half + q, TILE);
            for (int r = 0; r < TILE; r++) {
                forward_6(half + r * TILE, 1, o, 1);
                for (int q = 0; q < TILE; q++) {
                    float *restrict place = v + (r * TILE + q) * plane + (size_t)t * channels + c;
                    LOOP place[l] = o[q][l];
                }
            }
        }
}

/* One tile's LANES channels back from m (36 planes) into y, with bias and residual; `at` is its first value in y. */
static inline void write_tile(const float *restrict m, size_t plane, int rows, int columns, int width, int channels,
                              size_t at, const float *restrict bias, const float *restrict residual,
                              float *restrict y) {
    lanes_t d[TILE * TILE], half[OUT * TILE], o[OUT];
    for (int i = 0; i < TILE * TILE; i++) LOOP d[i][l] = m[i * plane + l];
    for (int q = 0; q < TILE; q++) inverse_6(d + q, TILE, half + q, TILE);
    for (int r = 0; r < rows; r++) {
        inverse_6(half + r * TILE, 1, o, 1);
        for (int q = 0; q < columns; q++) {
            const size_t to = at + ((size_t)r * width + q) * channels;
            if (residual)
                LOOP y[to + l] = o[q][l] + bias[l] + residual[to + l];
            else
                LOOP y[to + l] = o[q][l] + bias[l];
        }
    }
}

/* y (N, H, W, O) = conv3x3(x (N, H, W, C), padding 1) + bias (O) + residual (like y, or null), where x may first be
 * scaled and shifted by row and channel ((N, C) or null) and sent through SiLU. w (36, O / 16, C, 16): see
 * `winograd_weight`. The work goes block by block, `strips` rows of tiles each, so that a block's 36 planes stay in
 * the cache; `scratch` has for each thread 6 padded C + 36 rows (C + 16) floats, rows = strips * ceil(W / 4) rounded
 * up to a multiple of 6, padded = 4 ceil(W / 4) + 2. */
void fada_conv3x3(const float *restrict x, int n, int height, int width, int channels, const float *restrict scale,
                  const float *restrict shift, int silu, const float *restrict w, int leaving,
                  const float *restrict bias, const float *restrict residual, float *restrict y,
                  float *restrict scratch, int strips, int threads) {
    const int down = (height + OUT - 1) / OUT, across = (width + OUT - 1) / OUT, padded = OUT * across + 2;
    const int rows = (strips * across + ROWS - 1) / ROWS * ROWS, all = n * down;
    const size_t plane = (size_t)rows * channels, narrow = (size_t)rows * COLUMNS;
    const size_t own = (size_t)TILE * padded * channels + TILE * TILE * (plane + narrow);
#pragma omp parallel num_threads(threads)
    {
#ifdef _OPENMP
        extern int omp_get_thread_num(void);
        float *restrict strip = scratch + omp_get_thread_num() * own;
#else
        float *restrict strip = scratch;
#endif
        float *v = strip + (size_t)TILE * padded * channels, *m = v + TILE * TILE * plane;
#pragma omp for schedule(dynamic, 1)
        for (int first = 0; first < all; first += strips) {
            const int some = all - first < strips ? all - first : strips;
            for (int s = 0; s < some; s++) {
                const size_t image = (first + s) / down, row = image * channels;
                const int next = s > 0 && (first + s) % down > 0; /* its first rows are the last strip's last ones */
                if (next) memcpy(strip, strip + (size_t)OUT * padded * channels, sizeof(float) * 2 * padded * channels);
                load_strip(x + image * height * width * channels, (first + s) % down * OUT - 1, height, width, channels,
                           padded, scale ? scale + row : 0, shift ? shift + row : 0, silu, next ? TILE - OUT : 0, strip);
                transform_strip(strip, across, channels, padded, v + (size_t)s * across * channels, plane);
            }
            const int used = (some * across + ROWS - 1) / ROWS * ROWS;
            for (int o = 0; o < leaving; o += COLUMNS) {
                for (int i = 0; i < TILE * TILE; i++)
                    for (int r = 0; r < used; r += ROWS)
                        multiply_block(v + i * plane + (size_t)r * channels, channels,
                                       w + ((size_t)i * leaving + o) * channels, channels,
                                       m + i * narrow + (size_t)r * COLUMNS, COLUMNS);
                for (int t = 0; t < some * across; t++) {
                    const int s = first + t / across, top = s % down * OUT, left = t % across * OUT;
                    const size_t at = (((size_t)(s / down) * height + top) * width + left) * leaving + o;
                    for (int c = 0; c < COLUMNS; c += LANES)
                        write_tile(m + (size_t)t * COLUMNS + c, narrow, height - top < OUT ? height - top : OUT,
                                   width - left < OUT ? width - left : OUT, width, leaving, at + c, bias + o + c,
                                   residual, y);
                }
            }
        }
    }
}

/* y (R, O) = x (R, K) w + bias (O or null); w packed (O / 16, K, 16). */
void fada_linear(const float *restrict x, const float *restrict w, const float *restrict bias, float *restrict y,
                 int rows, int depth, int leaving, int threads) {
    const int blocks = (rows + ROWS - 1) / ROWS, share = (blocks + threads - 1) / threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++) {
        const int last = (part + 1) * share < blocks ? (part + 1) * share : blocks;
        for (int o = 0; o < leaving; o += COLUMNS)
            for (int block = part * share; block < last; block++) {
                /* the last block takes rows that another has too, rather than none */
                const int r = block * ROWS + ROWS <= rows || rows < ROWS ? block * ROWS : rows - ROWS;
                float sums[ROWS * COLUMNS];
                multiply_block(x + (size_t)r * depth, rows < ROWS ? 0 : depth, w + (size_t)o * depth, depth, sums,
                               COLUMNS);
                if (rows >= ROWS) {
                    for (int k = 0; k < ROWS; k++)
                        for (int c = 0; c < COLUMNS; c++)
                            y[(size_t)(r + k) * leaving + o + c] = sums[k * COLUMNS + c] + (bias ? bias[o + c] : 0.0f);
                    continue;
                }
                for (int k = 0; k < rows; k++) { /* fewer rows than a block: one by one */
                    multiply_block(x + (size_t)k * depth, 0, w + (size_t)o * depth, depth, sums, COLUMNS);
                    for (int c = 0; c < COLUMNS; c++)
                        y[(size_t)k * leaving + o + c] = sums[c] + (bias ? bias[o + c] : 0.0f);
                }
            }
    }
}

/* GroupNorm as a scale and a shift by channel: x (N, P, C) -> scale, shift (N, C), so that
 * normed * (1 + film_scale) + film_shift = x * scale + shift. film (N, 2C) is [scale | shift], or null. */
void fada_group_affine(const float *restrict x, int n, int pixels, int channels, int groups, const float *restrict gamma,
                       const float *restrict beta, const float *restrict film, float epsilon, float *restrict scale, float *restrict shift,
                       int threads) {
    const int each = channels / groups;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int image = 0; image < n; image++) {
        const float *restrict from = x + (size_t)image * pixels * channels;
        float *restrict a = scale + (size_t)image * channels, *restrict b = shift + (size_t)image * channels;
        /* a and b hold sums and then squares by channel until the groups are known; two passes keep the digits */
        memset(a, 0, sizeof(float) * channels);
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < channels; c++) a[c] += from[(size_t)p * channels + c];
        for (int g = 0; g < groups; g++) {
            double sum = 0.0;
            for (int c = g * each; c < (g + 1) * each; c++) sum += a[c];
            const float mean = (float)(sum / ((double)pixels * each));
            for (int c = g * each; c < (g + 1) * each; c++) a[c] = mean;
        }
        memset(b, 0, sizeof(float) * channels);
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < channels; c++) {
                const float away = from[(size_t)p * channels + c] - a[c];
                b[c] += away * away;
            }
        for (int g = 0; g < groups; g++) {
            double sum = 0.0;
            for (int c = g * each; c < (g + 1) * each; c++) sum += b[c];
            const float inverse = (float)(1.0 / sqrt(sum / ((double)pixels * each) + epsilon));
            for (int c = g * each; c < (g + 1) * each; c++) {
                const float own = inverse * gamma[c], rest = beta[c] - a[c] * own;
                const float *f = film ? film + (size_t)image * 2 * channels : 0;
                a[c] = f ? own * (1.0f + f[c]) : own;
                b[c] = f ? rest * (1.0f + f[c]) + f[channels + c] : rest;
            }
        }
    }
}

/* Attention where keys are few (at most 64): out[b, h, i] = softmax(q k' / sqrt(D)) v, D a multiple of 8 up to 256.
 * Arrays lie as (B0, B1, L, H * D) with the strides given in floats: rows b = (b0, b1), so that attention over
 * time reads (b f) (h w) c in place. */
void fada_few_keys(const float *restrict q, const float *restrict k, const float *restrict v, float *restrict out, int b0, int b1, int heads,
                   int queries, int keys, int width, const ptrdiff_t *qs, const ptrdiff_t *ks,
                   const ptrdiff_t *vs, const ptrdiff_t *os, int threads) {
    const float factor = 1.0f / sqrtf((float)width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int row = 0; row < b0 * b1; row++) {
        const int i0 = row / b1, i1 = row % b1;
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < queries; i++) {
                const float *qi = q + i0 * qs[0] + i1 * qs[1] + i * qs[2] + h * width;
                float weight[64], most = -INFINITY, sum = 0.0f;
                for (int j = 0; j < keys; j++) {
                    const float *kj = k + i0 * ks[0] + i1 * ks[1] + j * ks[2] + h * width;
                    float dot = 0.0f;
                    for (int d = 0; d < width; d++) dot += qi[d] * kj[d];
                    weight[j] = dot * factor;
                    most = weight[j] > most ? weight[j] : most;
                }
                for (int j = 0; j < keys; j++) weight[j] = exp_lane(weight[j] - most);
                for (int j = 0; j < keys; j++) sum += weight[j];
                float *restrict to = out + i0 * os[0] + i1 * os[1] + i * os[2] + h * width;
                memset(to, 0, sizeof(float) * width);
                for (int j = 0; j < keys; j++) {
                    const float *vj = v + i0 * vs[0] + i1 * vs[1] + j * vs[2] + h * width, share = weight[j] / sum;
                    for (int d = 0; d < width; d++) to[d] += share * vj[d];
                }
            }
    }
}

/* The decoder's last step: x (N, h, w, 4 S S) -> colour and matte over the reference, written into the box at
 * (top, left) of canvas (N, H, W, 3). Reference: the canvas itself, which holds it. */
void fada_paint(const float *restrict x, int n, int rows, int columns, int stem, float *restrict canvas, int height, int width,
                int top, int left, int threads) {
    const int area = stem * stem;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int s = 0; s < n * rows; s++) {
        const int image = s / rows, row = s % rows;
        for (int column = 0; column < columns; column++) {
            const float *restrict from = x + ((size_t)s * columns + column) * 4 * area;
            float open[4 * 64];
            for (int i = 0; i < 4 * area; i++)
                open[i] = 1.0f / (1.0f + exp_lane(-(from[i] + (i >= 3 * area ? 2.0f : 0.0f))));
            for (int i = 0; i < stem; i++)
                for (int j = 0; j < stem; j++) {
                    float *restrict to = canvas + (((size_t)image * height + top + row * stem + i) * width + left +
                                          column * stem + j) * 3;
                    const float matte = open[3 * area + i * stem + j];
                    for (int c = 0; c < 3; c++) to[c] += matte * (open[c * area + i * stem + j] - to[c]);
                }
        }
    }
}

static inline void cubic(float t, float *w) {
    const float a = -0.75f, u = t + 1.0f, s = 1.0f - t, r = 2.0f - t;
    w[0] = ((a * u - 5.0f * a) * u + 8.0f * a) * u - 4.0f * a;
    w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
    w[2] = ((a + 2.0f) * s - (a + 3.0f)) * s * s + 1.0f;
    w[3] = ((a * r - 5.0f * a) * r + 8.0f * a) * r - 4.0f * a;
}

static inline int clamp_index(int i, int size) { return i < 0 ? 0 : i >= size ? size - 1 : i; }

static inline uint8_t to_byte(float value) {
    value = value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
    return (uint8_t)lrintf(value * 255.0f);
}

/* The head's pose as a cubic warp: canvas (N, H, W, 3) -> bytes (N, H, W, 3). rest (H W 2) and fields (K, H W 2)
 * give the place each pixel is read from, in [-1, 1], mirrored at the borders; a row of zero coefficients (N, K)
 * is copied. Pixels are read four floats at a time: one float behind the canvas must be readable. Source: `models.warp.HeadWarp`, of which this is the fused form. */
void fada_warp(const float *restrict canvas, int n, int height, int width, const float *restrict rest, const float *restrict fields,
               int count, const float *restrict coefficients, uint8_t *restrict out, int threads) {
    const size_t plane = (size_t)height * width * 2;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int s = 0; s < n * height; s++) {
        const int image = s / height, row = s % height;
        const float *own = coefficients + (size_t)image * count;
        const float *picture = canvas + (size_t)image * height * width * 3;
        uint8_t *to = out + (size_t)s * width * 3;
        int still = 1;
        for (int k = 0; k < count; k++) still = still && own[k] == 0.0f;
        if (still) {
            for (int i = 0; i < width * 3; i++) to[i] = to_byte(picture[(size_t)row * width * 3 + i]);
            continue;
        }
        for (int start = 0; start < width; start += 32) {
            float place[64];
            int column[4];
            const int some = width - start < 32 ? width - start : 32;
            const size_t base = ((size_t)row * width + start) * 2;
            for (int i = 0; i < 2 * some; i++) place[i] = rest[base + i];
            for (int k = 0; k < count; k++)
                for (int i = 0; i < 2 * some; i++) place[i] += own[k] * fields[k * plane + base + i];
            for (int p = 0; p < some; p++) {
                float x = place[2 * p], y = place[2 * p + 1], wx[4], wy[4];
                v4 sum = {0};
                x = 2.0f * (x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x) - x;
                y = 2.0f * (y < -1.0f ? -1.0f : y > 1.0f ? 1.0f : y) - y;
                x = ((x + 1.0f) * width - 1.0f) * 0.5f;
                y = ((y + 1.0f) * height - 1.0f) * 0.5f;
                const float x0 = floorf(x), y0 = floorf(y);
                cubic(x - x0, wx);
                cubic(y - y0, wy);
                for (int i = 0; i < 4; i++) column[i] = clamp_index((int)x0 - 1 + i, width) * 3;
                for (int j = 0; j < 4; j++) {
                    const float *line = picture + (size_t)clamp_index((int)y0 - 1 + j, height) * width * 3;
                    v4 across = {0};
                    for (int i = 0; i < 4; i++) across += wx[i] * *(const v4 *)(line + column[i]);
                    sum += wy[j] * across;
                }
                for (int c = 0; c < 3; c++) to[(start + p) * 3 + c] = to_byte(sum[c]);
            }
        }
    }
}

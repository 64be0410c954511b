/* The decoder's last step and the head's pose: from features to the bytes of a frame. */
#pragma once
#include "vector_math.h"

/* The decoder's last step: x (N, h, w, 4 S S) -> colour and matte over the reference, written into the box at
 * (top, left) of canvas (N, H, W, 3). Reference: the canvas itself, which holds it. */
void fada_paint(const float *x, int n, int rows, int columns, int stem, float *restrict canvas, int height, int width,
                int top, int left, int threads) {
    const int area = stem * stem;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int s = 0; s < n * rows; s++) {
        const int image = s / rows, row = s % rows;
        for (int column = 0; column < columns; column++) {
            const float *restrict from = x + ((size_t)s * columns + column) * 4 * area;
            float open[4 * 64];
            for (int i = 0; i < 4 * area; i += LANES) store8(open + i, sigmoid8(load8(from + i) + (i >= 3 * area ? 2.0f : 0.0f)));
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

#define CHUNK 32

INLINE int clamp_index(int i, int size) { return i < 0 ? 0 : i >= size ? size - 1 : i; }

/* Values times 255, rounded to the nearest even byte: the sum's low byte, see `exp8`. */
static void to_bytes(const float *restrict from, int count, uint8_t *restrict to) {
    union { float f[CHUNK * 4]; int32_t i[CHUNK * 4]; } value;
    for (int i = 0; i < count; i++) {
        float v = from[i] < 0.0f ? 0.0f : from[i];
        v = v > 1.0f ? 1.0f : v;
        value.f[i] = v * 255.0f + 12582912.0f;
    }
    for (int i = 0; i < count; i++) to[i] = (uint8_t)value.i[i];
}

/* Of CHUNK places along one axis, in [-1, 1] and mirrored beyond: four weights each, and the first tap's index. */
static void cubic_taps(const float *restrict place, int size, float (*restrict w)[CHUNK], int *restrict first) {
    for (int p = 0; p < CHUNK; p++) {
        const float a = -0.75f;
        float x = place[p] < -1.0f ? -1.0f : place[p];
        x = 2.0f * (x > 1.0f ? 1.0f : x) - place[p];
        x = ((x + 1.0f) * size - 1.0f) * 0.5f;
        const float x0 = floorf(x), t = x - x0, u = t + 1.0f, s = 1.0f - t, r = 2.0f - t;
        w[0][p] = ((a * u - 5.0f * a) * u + 8.0f * a) * u - 4.0f * a;
        w[1][p] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
        w[2][p] = ((a + 2.0f) * s - (a + 3.0f)) * s * s + 1.0f;
        w[3][p] = ((a * r - 5.0f * a) * r + 8.0f * a) * r - 4.0f * a;
        first[p] = (int)x0 - 1;
    }
}

/* A pixel's three colours and a float of its neighbour; the last pixel in memory has none. */
INLINE v4 load_pixel(const float *from, const float *last) {
    if (from != last) return *(const v4 *)from;
    return (v4){from[0], from[1], from[2], 0.0f};
}

/* Up to CHUNK pixels of one row as colours, one float more than they are; `last` is the picture's last pixel. */
static void sample_row(const float *picture, int height, int width, const float *x, const float *y, int some,
                       const float *last, float *colour) {
    float wx[4][CHUNK], wy[4][CHUNK];
    int column[CHUNK], row[CHUNK];
    cubic_taps(x, width, wx, column);
    cubic_taps(y, height, wy, row);
    for (int p = 0; p < some; p++) {
        v4 sum = {0};
        const int left = column[p], top = row[p];
        if (left >= 0 && left + 3 < width && top >= 0 && top + 3 < height - 1) {
            const float *at = picture + ((size_t)top * width + left) * 3;
            __builtin_prefetch(at + (size_t)width * 12); /* what the next row of pixels asks for */
            for (int j = 0; j < 4; j++, at += (size_t)width * 3)
                sum += wy[j][p] * (wx[0][p] * *(const v4 *)at + wx[1][p] * *(const v4 *)(at + 3) +
                                   wx[2][p] * *(const v4 *)(at + 6) + wx[3][p] * *(const v4 *)(at + 9));
        } else {
            for (int j = 0; j < 4; j++) {
                const float *line = picture + (size_t)clamp_index(top + j, height) * width * 3;
                v4 across = {0};
                for (int i = 0; i < 4; i++)
                    across += wx[i][p] * load_pixel(line + clamp_index(left + i, width) * 3, last);
                sum += wy[j][p] * across;
            }
        }
        *(v4 *)(colour + 3 * p) = sum; /* its last float is overwritten by the next pixel */
    }
}

/* The head's pose as a cubic warp: canvas (N, H, W, 3) -> bytes (N, H, W, 3). rest (H, W', 2, CHUNK) and fields
 * (H, W', K, 2, CHUNK), W' = ceil(W / CHUNK), give the place each pixel is read from, x and then y, in [-1, 1],
 * mirrored at the borders; a chunk's fields lie side by side. What no field with a coefficient (N, K) other than
 * zero moves is copied. Source: `models.warp.HeadWarp`, whose fused form this is. */
void fada_warp(const float *canvas, int n, int height, int width, const float *rest, const float *fields, int count,
               const float *coefficients, uint8_t *out, int threads) {
    const size_t plane = (size_t)height * width;
    const int across = (width + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads) if (threads > 1)
    for (int row = 0; row < height; row++)
        for (int start = 0; start < width; start += CHUNK) {
            const int some = least(CHUNK, width - start);
            const size_t base = (size_t)row * width + start, chunk = ((size_t)row * across + start / CHUNK) * 2 * CHUNK;
            for (int image = 0; image < n; image++) {
                const float *own = coefficients + (size_t)image * count, *picture = canvas + image * plane * 3;
                uint8_t *to = out + (image * plane + base) * 3;
                float place[2 * CHUNK] = {0}, colour[CHUNK * 3 + 1];
                int moved = 0;
                for (int k = 0; k < count; k++) {
                    const float *field = fields + chunk * count + (size_t)k * 2 * CHUNK, factor = own[k];
                    if (factor != 0.0f)
                        for (int i = 0; i < 2 * CHUNK; i++) place[i] += factor * field[i];
                }
                for (int i = 0; i < 2 * CHUNK; i++) moved |= place[i] != 0.0f;
                for (int i = 0; i < 2 * CHUNK; i++) place[i] += rest[chunk + i];
                if (!moved) {
                    to_bytes(picture + base * 3, 3 * some, to);
                    continue;
                }
                sample_row(picture, height, width, place, place + CHUNK, some, picture + (plane - 1) * 3, colour);
                to_bytes(colour, 3 * some, to);
            }
        }
}

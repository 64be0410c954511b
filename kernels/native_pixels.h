/* The decoder's last step and the head's pose: from features to the bytes of a frame. */
#pragma once
#include "native_math.h"

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

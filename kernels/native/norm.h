/* GroupNorm as a scale and a shift by channel, and LayerNorm of rows. */
#pragma once
#include "vector_math.h"

#define NORM_CHANNELS 2048

/* Mean and spread by channel of one picture (P, C) of channels `stride` apart: `mean`, and `square` the sum of squares
 * away from it. One pass, from the first pixel's values on, which keeps the digits. */
static void channel_moments(const float *x, int pixels, int channels, double *mean, double *square) {
    for (int c = 0; c < channels; c += 4 * LANES) {
        const int some = least(4, (channels - c) / LANES);
        v8 origin[4], sum[4], power[4];
        for (int k = 0; k < some; k++) origin[k] = load8(x + c + k * LANES), sum[k] = power[k] = (v8){0};
        for (int p = 0; p < pixels; p++)
            for (int k = 0; k < some; k++) {
                const v8 away = load8(x + (size_t)p * channels + c + k * LANES) - origin[k];
                sum[k] += away;
                power[k] += away * away;
            }
        for (int k = 0; k < some; k++)
            for (int l = 0; l < LANES; l++) {
                const double total = sum[k][l];
                mean[c + k * LANES + l] = origin[k][l] + total / pixels;
                square[c + k * LANES + l] = power[k][l] - total * total / pixels;
            }
    }
}

/* GroupNorm of x (N, P, first) joined with also (N, P, C - first) -> scale, shift (N, C); see `fada_group_affine`. */
static void team_group_affine(const float *x, const float *also, int n, int pixels, int channels, int first,
                              int groups, const float *gamma, const float *beta, const float *film, float epsilon,
                              float *scale, float *shift) {
    const int each = channels / groups;
#pragma omp for schedule(static)
    for (int image = 0; image < n; image++) {
        double mean[NORM_CHANNELS], square[NORM_CHANNELS];
        const int second = channels - first;
        channel_moments(x + (size_t)image * pixels * first, pixels, first, mean, square);
        if (second)
            channel_moments(also + (size_t)image * pixels * second, pixels, second, mean + first, square + first);
        for (int g = 0; g < groups; g++) {
            double middle = 0.0, spread = 0.0;
            for (int c = g * each; c < (g + 1) * each; c++) middle += mean[c];
            middle /= each;
            for (int c = g * each; c < (g + 1) * each; c++)
                spread += square[c] / pixels + (mean[c] - middle) * (mean[c] - middle);
            const float inverse = (float)(1.0 / sqrt(spread / each + epsilon));
            for (int c = g * each; c < (g + 1) * each; c++) {
                const float own = inverse * gamma[c], rest = beta[c] - (float)middle * own;
                const float *f = film ? film + (size_t)image * 2 * channels : 0;
                scale[(size_t)image * channels + c] = f ? own * (1.0f + f[c]) : own;
                shift[(size_t)image * channels + c] = f ? rest * (1.0f + f[c]) + f[channels + c] : rest;
            }
        }
    }
}

/* GroupNorm as a scale and a shift by channel: x (N, P, C) -> scale, shift (N, C), so that
 * normed * (1 + film_scale) + film_shift = x * scale + shift. film (N, 2C) is [scale | shift], or null. C is a
 * multiple of 8, at most NORM_CHANNELS. */
void fada_group_affine(const float *x, int n, int pixels, int channels, int groups, const float *gamma,
                       const float *beta, const float *film, float epsilon, float *scale, float *shift, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    team_group_affine(x, 0, n, pixels, channels, channels, groups, gamma, beta, film, epsilon, scale, shift);
}

/* LayerNorm of rows [from, to) of x (R, C) -> y, plus, where given, row (r / each) % count of `add` (count, C). */
static void layer_norm_rows(const float *x, int from, int to, int width, const float *gamma, const float *beta,
                            float epsilon, const float *add, int each, int count, float *y) {
    for (int r = from; r < to; r++) {
        const float *at = x + (size_t)r * width;
        const float *more = add ? add + (size_t)(r / each % count) * width : 0;
        float *out = y + (size_t)r * width;
        v8 sum = {0}, power = {0};
        for (int c = 0; c < width; c += LANES) sum += load8(at + c);
        const float mean = sum8(sum) / width;
        for (int c = 0; c < width; c += LANES) {
            const v8 away = load8(at + c) - mean;
            power += away * away;
        }
        const float inverse = 1.0f / sqrtf(sum8(power) / width + epsilon);
        for (int c = 0; c < width; c += LANES) {
            v8 value = (load8(at + c) - mean) * inverse * load8(gamma + c) + load8(beta + c);
            if (more) value += load8(more + c);
            store8(out + c, value);
        }
    }
}

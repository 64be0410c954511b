/* Attention over tokens that lie side by side, of one or two sources, and over few keys. Letters: D head width. */
#pragma once
#include "vector_math.h"

#define FEW_KEYS 64

/* Where queries, keys and values lie: heads side by side in rows `wide` floats apart, pictures `step` apart. */
typedef struct {
    const float *k, *v;
    int keys;
    ptrdiff_t wide, step;
} source_t;

/* Floats of scratch a worker of `team_attention` needs. */
INLINE size_t attention_floats(int keys, int width) {
    const size_t padded = (size_t)(keys + COLUMNS - 1) / COLUMNS * COLUMNS;
    return padded * (2 * width + ROWS);
}

/* Keys packed (keys / 16, D, 16) and values (D / 16, keys, 16) of one head of all sources, zeros behind. */
static void pack_head(const source_t *sources, int count, const int *pictures, int head, int width, int padded,
                      float *k, float *v) {
    int j = 0;
    for (int s = 0; s < count; s++) {
        const source_t *from = &sources[s];
        const float *key = from->k + pictures[s] * from->step + head * width;
        const float *value = from->v + pictures[s] * from->step + head * width;
        for (int i = 0; i < from->keys; i++, j++, key += from->wide, value += from->wide) {
            float *column = k + (size_t)(j / COLUMNS) * width * COLUMNS + j % COLUMNS;
            for (int d = 0; d < width; d++) column[d * COLUMNS] = key[d];
            for (int d = 0; d < width; d += COLUMNS)
                memcpy(v + ((size_t)d / COLUMNS * padded + j) * COLUMNS, value + d, sizeof(float) * COLUMNS);
        }
    }
    for (; j < padded; j++) {
        for (int d = 0; d < width; d++) k[((size_t)(j / COLUMNS) * width + d) * COLUMNS + j % COLUMNS] = 0.0f;
        for (int d = 0; d < width; d += COLUMNS)
            memset(v + ((size_t)d / COLUMNS * padded + j) * COLUMNS, 0, sizeof(float) * COLUMNS);
    }
}

/* One row of scores (padded to COLUMNS) to weights; returns one over their sum. */
INLINE float soften(float *score, int keys, int padded, float factor) {
    for (int j = keys; j < padded; j++) score[j] = -INFINITY;
    v8 most = load8(score), sum = {0};
    for (int j = LANES; j < padded; j += LANES) most = max8(most, load8(score + j));
    const float top = most8(most);
    for (int j = 0; j < padded; j += LANES) {
        const v8 weight = exp8((load8(score + j) - top) * factor);
        store8(score + j, weight);
        sum += weight;
    }
    /* e^-87 is small enough for none */
    return 1.0f / sum8(sum);
}

/* out (N, L, H D) = softmax(q k' / sqrt(D)) v for N pictures of L queries `qwide` floats apart (pictures `qstep`);
 * the second source, if any, is shared by `share` neighbouring pictures. D is a multiple of 16. `scratch` has
 * `attention_floats` for each worker. */
static void team_attention(const float *q, ptrdiff_t qwide, ptrdiff_t qstep, int n, int queries, int heads, int width,
                           const source_t *sources, int count, int share, float *out, float *scratch) {
    const float factor = 1.0f / sqrtf((float)width);
    const int keys = sources[0].keys + (count > 1 ? sources[1].keys : 0), wide = heads * width;
    const int padded = (keys + COLUMNS - 1) / COLUMNS * COLUMNS, blocks = (queries + ROWS - 1) / ROWS;
#pragma omp for schedule(dynamic, 1)
    for (int item = 0; item < n * heads; item++) {
        const int image = item / heads, head = item % heads, pictures[2] = {image, image / share};
        float *k = scratch + WORKER * attention_floats(keys, width), *v = k + (size_t)padded * width;
        float *score = v + (size_t)padded * width;
        pack_head(sources, count, pictures, head, width, padded, k, v);
        for (int block = 0; block < blocks; block++) {
            const int i = block * queries / blocks, rows = (block + 1) * queries / blocks - i;
            const float *from = q + image * qstep + i * qwide + head * width;
            float *to = out + ((size_t)image * queries + i) * wide + head * width, inverse[ROWS];
            for (int j = 0; j < padded; j += COLUMNS)
                multiply_rows(rows, from, qwide, k + (size_t)j * width, width, score + j, padded, 0, 0,
                              k + (size_t)j * width, 0);
            for (int r = 0; r < rows; r++) inverse[r] = soften(score + (size_t)r * padded, keys, padded, factor);
            for (int d = 0; d < width; d += COLUMNS)
                multiply_rows(rows, score, padded, v + (size_t)d * padded, padded, to + d, wide, 0, 0,
                              v + (size_t)d * padded, 0);
            for (int r = 0; r < rows; r++)
                for (int d = 0; d < width; d++) to[(size_t)r * wide + d] *= inverse[r];
        }
    }
}

/* As `team_attention` on q (N, L, H D), k and v (N, K, H D), k2 and v2 (N / share, K2, H D) or null, rows of keys
 * and values `wide` and `wide2` floats apart. */
void fada_attention(const float *q, ptrdiff_t qwide, int n, int queries, int heads, int width, const float *k,
                    const float *v, int keys, ptrdiff_t wide, const float *k2, const float *v2, int keys2,
                    ptrdiff_t wide2, int share, float *out, float *scratch, int threads) {
    const source_t sources[2] = {{k, v, keys, wide, keys * wide}, {k2, v2, keys2, wide2, keys2 * wide2}};
#pragma omp parallel num_threads(threads) if (threads > 1)
    team_attention(q, qwide, queries * qwide, n, queries, heads, width, sources, k2 ? 2 : 1, share, out, scratch);
}

/* Floats of scratch that `fada_attention` needs. */
ptrdiff_t fada_attention_scratch(int keys, int width, int threads) { return threads * attention_floats(keys, width); }

/* One query of all heads over few keys: k[j], v[j] begin a row (H D) each. */
INLINE void few_keys_row(const float *q, const float *const *k, const float *const *v, int keys, int heads, int width,
                         float factor, float *out) {
    for (int h = 0; h < heads; h++) {
        const int at = h * width;
        float weight[FEW_KEYS], most = -INFINITY, sum = 0.0f;
        for (int j = 0; j < keys; j++) {
            v8 dot = {0};
            for (int d = at; d < at + width; d += LANES) dot += load8(q + d) * load8(k[j] + d);
            weight[j] = sum8(dot) * factor;
            most = weight[j] > most ? weight[j] : most;
        }
        for (int j = keys; j % LANES; j++) weight[j] = -INFINITY;
        for (int j = 0; j < keys; j += LANES) store8(weight + j, exp8(load8(weight + j) - most));
        for (int j = 0; j < keys; j++) sum += weight[j];
        const float inverse = 1.0f / sum;
        for (int d = at; d < at + width; d += LANES) {
            v8 mix = {0};
            for (int j = 0; j < keys; j++) mix += weight[j] * load8(v[j] + d);
            store8(out + d, mix * inverse);
        }
    }
}

/* Attention where keys are few (at most 64): out[b, h, i] = softmax(q k' / sqrt(D)) v, D a multiple of 8.
 * Arrays lie as (B0, B1, L, H * D) with the strides given in floats: rows b = (b0, b1), so that attention over
 * time reads (b f) (h w) c in place. */
void fada_few_keys(const float *q, const float *k, const float *v, float *out, int b0, int b1, int heads, int queries,
                   int keys, int width, const ptrdiff_t *qs, const ptrdiff_t *ks, const ptrdiff_t *vs,
                   const ptrdiff_t *os, int threads) {
    const float factor = 1.0f / sqrtf((float)width);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int row = 0; row < b0 * b1; row++) {
        const int i0 = row / b1, i1 = row % b1;
        const float *key[FEW_KEYS], *value[FEW_KEYS];
        for (int j = 0; j < keys; j++) {
            key[j] = k + i0 * ks[0] + i1 * ks[1] + j * ks[2];
            value[j] = v + i0 * vs[0] + i1 * vs[1] + j * vs[2];
        }
        for (int i = 0; i < queries; i++)
            few_keys_row(q + i0 * qs[0] + i1 * qs[1] + i * qs[2], key, value, keys, heads, width, factor,
                         out + i0 * os[0] + i1 * os[1] + i * os[2]);
    }
}

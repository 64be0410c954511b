/* Whole blocks of the UNets in one call each: residual and transformer. See `models.modules.blocks`. */
#pragma once
#include "attention.h"
#include "conv.h"
#include "norm.h"

#define PART_ROWS 256 /* rows of tokens in one worker's hands */

/* Weights of a residual block; linear ones packed (O / 16, K, 16), convolutions as `fada_conv3x3` takes them. */
typedef struct {
    int channels, leaving, groups, embedding, controls;
    float epsilon1, epsilon2;
    const float *gamma1, *beta1, *gamma2, *beta2;
    const weight_t *conv1, *conv2;
    const float *bias1, *bias2;
    const weight_t *emb, *control, *skip; /* (2 O, E), (2 O, K) or null, (O, C) or null where C = O */
    const float *emb_bias, *control_bias, *skip_bias;
} res_block_t;

INLINE size_t round_up(size_t floats) { return (floats + 15) / 16 * 16; }
INLINE size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Floats of scratch that `fada_res_block` needs. */
ptrdiff_t fada_res_block_scratch(const res_block_t *b, int n, int height, int width, int threads) {
    const size_t most = b->channels > b->leaving ? b->channels : b->leaving;
    const size_t first = fada_conv3x3_scratch(n, height, width, b->channels, b->leaving, threads);
    const size_t second = fada_conv3x3_scratch(n, height, width, b->leaving, b->leaving, threads);
    return round_up((size_t)n * b->embedding) + round_up((size_t)n * 2 * b->leaving) +
           2 * round_up(n * most) + round_up((size_t)n * height * width * b->leaving) + larger(first, second);
}

/* y (N, H, W, O) = skip(x) + conv2(silu(film(norm2(conv1(silu(norm1(x))))))), x (N, H, W, first) joined with also
 * (N, H, W, C - first) or null; film from embedding (N, E) and control (N, K) or null. */
void fada_res_block(const res_block_t *b, const float *x, const float *also, int n, int height, int width, int first,
                    const float *embedding, const float *control, float *y, float *scratch, int threads) {
    const int channels = b->channels, leaving = b->leaving, pixels = height * width, e = b->embedding;
    const size_t most = channels > leaving ? channels : leaving;
    float *active = scratch, *film = active + round_up((size_t)n * e), *scale = film + round_up((size_t)n * 2 * leaving);
    float *shift = scale + round_up(n * most), *hidden = shift + round_up(n * most);
    float *rest = hidden + round_up((size_t)n * pixels * leaving);
    const picture_t before = {x, also, n, height, width, channels, first, 0, scale, shift, 1};
    const picture_t middle = {hidden, 0, n, height, width, leaving, leaving, 0, scale, shift, 1};
    const result_t inside = {0, 0, hidden, 0}, out = {b->skip ? y : x, (ptrdiff_t)pixels * leaving, y, 0};
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int i = 0; i < n; i++)
            for (int c = 0; c < e; c += LANES)
                store8(active + (size_t)i * e + c, silu8(load8(embedding + (size_t)i * e + c)));
        team_linear(active, e, n, e, b->emb, e, 2 * leaving, b->emb_bias, 0, PLAIN, film, 2 * leaving, threads);
        if (control)
            team_linear(control, b->controls, n, b->controls, b->control, b->controls, 2 * leaving, b->control_bias,
                        film, PLAIN, film, 2 * leaving, threads);
        team_group_affine(x, also, n, pixels, channels, first, b->groups, b->gamma1, b->beta1, 0, b->epsilon1, scale,
                          shift);
        team_conv3x3(&before, b->conv1, leaving, b->bias1, &inside, rest, threads);
        team_group_affine(hidden, 0, n, pixels, leaving, leaving, b->groups, b->gamma2, b->beta2, film, b->epsilon2,
                          scale, shift);
        if (b->skip) {
            const int second = channels - first;
            team_linear(x, first, n * pixels, first, b->skip, channels, leaving, b->skip_bias, 0, PLAIN, y, leaving,
                        threads);
            if (second)
                team_linear(also, second, n * pixels, second, b->skip + (size_t)first * COLUMNS, channels, leaving, 0,
                            y, PLAIN, y, leaving, threads);
        }
        team_conv3x3(&middle, b->conv2, leaving, b->bias2, &out, rest, threads);
    }
}

/* Weights of a transformer block of width C; norms come as (gamma, beta), linear weights packed. Cross-attention and
 * attention over time may be absent (null). */
typedef struct {
    int width, heads, ffn, context, motion;
    float epsilon;
    const float *norms[8]; /* reference, cross, perceptron, time */
    const weight_t *qkv, *out; /* (3 C, C), (C, C) */
    const weight_t *cross_q, *cross_kv, *cross_out; /* (C, C), (2 C, W), (C, C) */
    const weight_t *up, *down; /* (F, C), (C, F) */
    const weight_t *time_qkv, *time_out; /* (3 C, C), (C, C) */
    const float *out_bias, *cross_bias, *up_bias, *down_bias, *time_bias;
    const float *position; /* (M + frames, C) */
} transformer_t;

/* What a transformer block reads beside its tokens: N = B T pictures of L tokens. */
typedef struct {
    int n, tokens, frames;
    const float *bank; /* keys and values (B, K, 2 C) of the reference picture, or null */
    int bank_tokens;
    const float *context; /* (N, K, W), or null */
    int context_tokens;
    const float *motion; /* keys and values (B, M, L, 2 C) of the frames before, or null */
} tokens_t;

INLINE int wide_of(const transformer_t *b) { return b->ffn > 3 * b->width ? b->ffn : 3 * b->width; }

/* Floats of scratch that `fada_transformer` needs. */
ptrdiff_t fada_transformer_scratch(const transformer_t *b, const tokens_t *t, int threads) {
    const size_t rows = (size_t)t->n * t->tokens, keys = t->tokens + (t->bank ? t->bank_tokens : 0);
    return 2 * round_up(rows * b->width) + round_up(rows * wide_of(b)) +
           round_up((size_t)t->n * t->context_tokens * 2 * b->width) +
           threads * round_up(attention_floats(keys, b->width / b->heads));
}

/* Rows [from, to) after reference attention: its projection, cross-attention, the perceptron, and what attention
 * over time asks of them. */
static void transform_rows(const transformer_t *b, const tokens_t *t, const float *x, const float *context, int from,
                           int to, float *attended, float *normed, float *wide, float *y) {
    const int c = b->width, rows = to - from, stride = wide_of(b), d = c / b->heads;
    const size_t at = (size_t)from * c;
    float *own = y + at, *mixed = attended + at, *n = normed + at, *w = wide + (size_t)from * stride;
    linear_rows(mixed, c, rows, c, b->out, c, c, b->out_bias, x + at, PLAIN, own, c);
    if (context) {
        const float factor = 1.0f / sqrtf((float)d);
        layer_norm_rows(y, from, to, c, b->norms[2], b->norms[3], b->epsilon, 0, 1, 1, normed);
        linear_rows(n, c, rows, c, b->cross_q, c, c, 0, 0, PLAIN, w, stride);
        for (int r = from; r < to; r++) {
            const float *k[FEW_KEYS], *v[FEW_KEYS];
            const float *first = context + (size_t)(r / t->tokens) * t->context_tokens * 2 * c;
            for (int j = 0; j < t->context_tokens; j++) k[j] = first + (size_t)j * 2 * c, v[j] = k[j] + c;
            few_keys_row(wide + (size_t)r * stride, k, v, t->context_tokens, b->heads, d, factor,
                         attended + (size_t)r * c);
        }
        linear_rows(mixed, c, rows, c, b->cross_out, c, c, b->cross_bias, own, PLAIN, own, c);
    }
    layer_norm_rows(y, from, to, c, b->norms[4], b->norms[5], b->epsilon, 0, 1, 1, normed);
    linear_rows(n, c, rows, c, b->up, c, b->ffn, b->up_bias, 0, GELU, w, stride);
    linear_rows(w, stride, rows, b->ffn, b->down, b->ffn, c, b->down_bias, own, PLAIN, own, c);
    if (t->motion) {
        layer_norm_rows(y, from, to, c, b->norms[6], b->norms[7], b->epsilon, b->position + (size_t)b->motion * c,
                        t->tokens, t->frames, normed);
        linear_rows(n, c, rows, c, b->time_qkv, c, 3 * c, 0, 0, PLAIN, w, stride);
    }
}

/* Rows [from, to) of attention over time: keys are the motion frames' and the window's at the same pixel. */
static void attend_time(const transformer_t *b, const tokens_t *t, int from, int to, float *attended,
                        const float *wide, float *y) {
    const int c = b->width, stride = wide_of(b), d = c / b->heads, l = t->tokens, frames = t->frames;
    const float factor = 1.0f / sqrtf((float)d);
    for (int r = from; r < to; r++) {
        const float *k[FEW_KEYS], *v[FEW_KEYS];
        const int row = r / (l * frames), pixel = r % l;
        int j = 0;
        for (int f = 0; f < b->motion; f++, j++) {
            k[j] = t->motion + ((size_t)(row * b->motion + f) * l + pixel) * 2 * c;
            v[j] = k[j] + c;
        }
        for (int f = 0; f < frames; f++, j++) {
            k[j] = wide + ((size_t)(row * frames + f) * l + pixel) * stride + c;
            v[j] = k[j] + c;
        }
        few_keys_row(wide + (size_t)r * stride, k, v, j, b->heads, d, factor, attended + (size_t)r * c);
    }
    const size_t at = (size_t)from * c;
    linear_rows(attended + at, c, to - from, c, b->time_out, c, c, b->time_bias, y + at, PLAIN, y + at, c);
}

/* y (N, L, C): a transformer block on x (N, L, C); normed (N, L, C) takes the tokens that fill a bank. */
void fada_transformer(const transformer_t *b, const tokens_t *t, const float *x, float *normed, float *y,
                      float *scratch, int threads) {
    const int c = b->width, rows = t->n * t->tokens, stride = wide_of(b), d = c / b->heads, l = t->tokens;
    const int least_parts = (rows + PART_ROWS - 1) / PART_ROWS, wanted = parts_for(rows, 2 * ROWS, threads);
    const int parts = least_parts > wanted ? least_parts : wanted;
    float *attended = scratch, *again = attended + round_up((size_t)rows * c), *wide = again + round_up((size_t)rows * c);
    float *context = wide + round_up((size_t)rows * stride);
    float *rest = context + round_up((size_t)t->n * t->context_tokens * 2 * c);
    const source_t sources[2] = {
        {wide + c, wide + 2 * c, l, stride, (ptrdiff_t)l * stride},
        {t->bank, t->bank ? t->bank + c : 0, t->bank_tokens, 2 * c, (ptrdiff_t)t->bank_tokens * 2 * c},
    };
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (t->context)
            team_linear(t->context, b->context, t->n * t->context_tokens, b->context, b->cross_kv, b->context, 2 * c,
                        0, 0, PLAIN, context, 2 * c, threads);
#pragma omp for schedule(dynamic, 1)
        for (int part = 0; part < parts; part++) {
            const int from = (int)((int64_t)part * rows / parts), to = (int)((int64_t)(part + 1) * rows / parts);
            layer_norm_rows(x, from, to, c, b->norms[0], b->norms[1], b->epsilon, 0, 1, 1, normed);
            linear_rows(normed + (size_t)from * c, c, to - from, c, b->qkv, c, 3 * c, 0, 0, PLAIN,
                        wide + (size_t)from * stride, stride);
        }
        team_attention(wide, stride, (ptrdiff_t)l * stride, t->n, l, b->heads, d, sources, t->bank ? 2 : 1, t->frames,
                       attended, rest);
#pragma omp for schedule(dynamic, 1)
        for (int part = 0; part < parts; part++) {
            const int from = (int)((int64_t)part * rows / parts), to = (int)((int64_t)(part + 1) * rows / parts);
            transform_rows(b, t, x, t->context ? context : 0, from, to, attended, again, wide, y);
        }
        if (t->motion) {
#pragma omp for schedule(dynamic, 1)
            for (int part = 0; part < parts; part++) {
                const int from = (int)((int64_t)part * rows / parts), to = (int)((int64_t)(part + 1) * rows / parts);
                attend_time(b, t, from, to, attended, wide, y);
            }
        }
    }
}

/* y (R, O) = LayerNorm(x (R, C)) plus row (r / each) % count of add (count, C), or null, times w packed (O / 16, C,
 * 16). `scratch` has R C floats. */
void fada_norm_linear(const float *x, int rows, int width, const float *gamma, const float *beta, float epsilon,
                      const float *add, int each, int count, const weight_t *w, int leaving, float *y, float *scratch,
                      int threads) {
    const int parts = parts_for(rows, 2 * ROWS, threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (int part = 0; part < parts; part++) {
        const int from = (int)((int64_t)part * rows / parts), to = (int)((int64_t)(part + 1) * rows / parts);
        layer_norm_rows(x, from, to, width, gamma, beta, epsilon, add, each, count, scratch);
        linear_rows(scratch + (size_t)from * width, width, to - from, width, w, width, leaving, 0, 0, PLAIN,
                    y + (size_t)from * leaving, leaving);
    }
}

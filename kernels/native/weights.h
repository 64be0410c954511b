/* What weights are made of, and what they are multiplied with: floats, or with -DFADA_BF16 pairs of bf16 along the
 * depth, which a processor with AVX512-BF16 multiplies two at a time into fp32 sums (one with AMX by the tile:
 * `tiles.h`). Others take bf16 apart: slower, but the same to rounding.
 */
#pragma once
#include "vector_math.h"

#ifdef FADA_BF16
typedef uint16_t weight_t;
#define PAIR 2
#else
typedef float weight_t;
#define PAIR 1
#endif
#define LINE (64 / (int)sizeof(weight_t)) /* values of a cache line */

#ifdef FADA_BF16
typedef uint32_t pairs_t __attribute__((vector_size(4 * VEC), aligned(4), may_alias));
typedef uint32_t words_t __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint16_t half8_t __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint32_t pair_t __attribute__((may_alias));

/* LANES values rounded to the nearest bf16. */
INLINE void store_weight(weight_t *to, v8 value) {
#if defined(__AVX512BF16__) && defined(__AVX512VL__)
    *(half8_t *)to = (half8_t)_mm256_cvtneps_pbh((__m256)value);
#else
    const words_t bits = (words_t)value;
    *(half8_t *)to = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, half8_t);
#endif
}

/* sum + a[0] b[0] + a[1] b[1], b a row of pairs. */
INLINE vec add_pair(vec sum, const weight_t *a, pairs_t b) {
    const uint32_t both = *(const pair_t *)a;
#if defined(__AVX512BF16__) && VEC == 16
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)both), (__m512bh)b);
#else
    const union { uint32_t bits; float value; } first = {both << 16}, second = {both & 0xffff0000u};
    return sum + first.value * (vec)(b << 16) + second.value * (vec)(b & 0xffff0000u);
#endif
}

/* `multiply` with b packed (depth / 2, COLUMNS, 2). */
INLINE void multiply_pairs(const int R, const weight_t *a, ptrdiff_t lda, const weight_t *b, int depth, float *c,
                           ptrdiff_t ldc, const float *bias, const float *residual, const weight_t *next, int pace) {
    vec s[12][PARTS];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; j++) s[r][j] = (vec){0};
    for (int p = 0; p < depth / PAIR; p++) {
        pairs_t wide[PARTS];
        __builtin_prefetch(next + (p * pace >> 8) * COLUMNS * PAIR);
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; j++) {
            wide[j] = *(const pairs_t *)(b + (COLUMNS * p + VEC * j) * PAIR);
            KEEP(wide[j]);
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
            for (int j = 0; j < PARTS; j++) s[r][j] = add_pair(s[r][j], a + r * lda + p * PAIR, wide[j]);
    }
    store_sums(R, s, c, ldc, bias, residual);
}

static void multiply_weight(int rows, const weight_t *a, ptrdiff_t lda, const weight_t *b, int depth, float *c,
                            ptrdiff_t ldc, const float *bias, const float *residual, const weight_t *next, int pace) {
#define CASE(R) case R: multiply_pairs(R, a, lda, b, depth, c, ldc, bias, residual, next, pace); break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if VEC == 16
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
#undef CASE
}
#else
INLINE void store_weight(weight_t *to, v8 value) { store8(to, value); }
#define multiply_weight multiply_rows
#endif

enum { PLAIN = 0, GELU = 1 };

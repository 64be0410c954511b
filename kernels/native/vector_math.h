/* Vectors, activations and the small matrix product that everything else is made of.
 *
 * Portable C with vector extensions of GCC and Clang: on AVX-512 a row of COLUMNS is one register, on AVX two, on
 * NEON four. Inside a parallel region `#pragma omp for` shares the work of the team; outside it runs as one.
 */
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX__
#include <immintrin.h>
#endif

#ifdef _OPENMP
extern int omp_get_thread_num(void);
#define WORKER omp_get_thread_num()
#else
#define WORKER 0
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 8
#define COLUMNS 16
#ifndef VEC
#ifdef __AVX512F__
#define VEC 16
#else
#define VEC 8
#endif
#endif
#define PARTS (COLUMNS / VEC)
#define ROWS (VEC == 16 ? 12 : 6)

typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float vec __attribute__((vector_size(4 * VEC), aligned(4), may_alias));

/* Keep a value in its register: GCC otherwise reads it from memory once for each use, and loads become the limit. */
#if defined(__AVX__) && (VEC == 8 || defined(__AVX512F__))
#define KEEP(value) __asm__("" : "+v"(value))
#else
#define KEEP(value) ((void)0)
#endif

INLINE v8 load8(const float *from) { return *(const v8 *)from; }
INLINE void store8(float *to, v8 value) { *(v8 *)to = value; }
INLINE int least(int a, int b) { return a < b ? a : b; }

INLINE v8 min8(v8 a, v8 b) {
#ifdef __AVX__
    return (v8)_mm256_min_ps((__m256)a, (__m256)b);
#else
    const i8 less = a < b;
    return (v8)(((i8)a & less) | ((i8)b & ~less));
#endif
}

INLINE v8 max8(v8 a, v8 b) {
#ifdef __AVX__
    return (v8)_mm256_max_ps((__m256)a, (__m256)b);
#else
    const i8 more = a > b;
    return (v8)(((i8)a & more) | ((i8)b & ~more));
#endif
}

/* e^x to 2 ulp over the floats' range: 2^n times a polynomial (Cephes). Adding 1.5 * 2^23 rounds to a whole number,
 * which then stands in the sum's low bits; `FLAGS` leave the compiler no right to reorder that. */
INLINE v8 exp8(v8 x) {
    const v8 magic = {12582912.0f, 12582912.0f, 12582912.0f, 12582912.0f,
                      12582912.0f, 12582912.0f, 12582912.0f, 12582912.0f};
    x = max8(min8(x, (v8){0} + 88.0f), (v8){0} - 87.0f);
    const v8 t = x * 1.44269504f + magic, n = t - magic;
    const v8 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    v8 p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    return (v8)((i8)p + ((i8)t << 23));
}

INLINE v8 sigmoid8(v8 x) { return 1.0f / (1.0f + exp8(-x)); }
INLINE v8 silu8(v8 x) { return x / (1.0f + exp8(-x)); }

/* x times the normal distribution's integral, by Eigen's rational form of erf (1e-6 at most). */
INLINE v8 gelu8(v8 x) {
    const v8 z = max8(min8(x * 0.70710678118654752f, (v8){0} + 4.0f), (v8){0} - 4.0f), s = z * z;
    v8 p = -2.72614225801306e-10f * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    v8 q = -1.45660718464996e-05f * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return 0.5f * x * (1.0f + z * p / q);
}

#ifdef __AVX__
INLINE float most8(v8 x) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

INLINE float sum8(v8 x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
#else
INLINE float most8(v8 x) {
    float most = x[0];
    for (int l = 1; l < LANES; l++) most = x[l] > most ? x[l] : most;
    return most;
}

INLINE float sum8(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }
#endif

/* R rows of sums into c (`ldc` apart), plus bias and residual (as c; either may be null; residual may be c). */
INLINE void store_sums(const int R, vec s[12][PARTS], float *c, ptrdiff_t ldc, const float *bias,
                       const float *residual) {
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; j++) {
            vec sum = s[r][j];
            if (bias) sum += *(const vec *)(bias + VEC * j);
            if (residual) sum += *(const vec *)(residual + r * ldc + VEC * j);
            *(vec *)(c + r * ldc + VEC * j) = sum;
        }
}

/* R rows of a (`lda` floats apart) times b, packed (depth, COLUMNS) -> c (`ldc` apart), plus bias and residual.
 * Meanwhile pace / 256 rows of what `next` points to are fetched for each row of b: weights come from memory, and
 * what is asked for at once waits in line. */
INLINE void multiply(const int R, const float *a, ptrdiff_t lda, const float *b, int depth, float *c, ptrdiff_t ldc,
                     const float *bias, const float *residual, const float *next, int pace) {
    vec s[12][PARTS];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; j++) s[r][j] = (vec){0};
    for (int p = 0; p < depth; p++) {
        vec wide[PARTS];
        __builtin_prefetch(next + (p * pace >> 8) * COLUMNS);
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; j++) {
            wide[j] = *(const vec *)(b + COLUMNS * p + VEC * j);
            KEEP(wide[j]);
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
            for (int j = 0; j < PARTS; j++) s[r][j] += a[r * lda + p] * wide[j];
    }
    store_sums(R, s, c, ldc, bias, residual);
}

/* The same for 1 to ROWS rows. */
static void multiply_rows(int rows, const float *a, ptrdiff_t lda, const float *b, int depth, float *c, ptrdiff_t ldc,
                          const float *bias, const float *residual, const float *next, int pace) {
#define CASE(R) case R: multiply(R, a, lda, b, depth, c, ldc, bias, residual, next, pace); break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if VEC == 16
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
#undef CASE
}

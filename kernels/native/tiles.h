/* Products by a processor's matrix units (AMX): bf16 tiles of up to 16 rows by 32, two by two into four of fp32.
 *
 * Packed weights lie as these units read them: 16 columns of pairs to a line. Linux lends the units to a process that
 * asks (`fada_open`); where it does not, vectors multiply instead (`weights.h`).
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 1, chapter 18.
 */
#pragma once
#include "weights.h"

#if defined(FADA_BF16) && (defined(FADA_PRETEND_TILES) || defined(__AMX_BF16__) && defined(__linux__))
#define MATRIX_UNITS
#define HIGH 16 /* most rows of a tile */
#define DEEP 32 /* most values of its rows */

typedef struct {
    uint8_t palette, start, none[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64))) tile_shape_t;

static int tiles_lent;

#ifdef FADA_PRETEND_TILES /* the same in C, for tests on any processor */
static _Thread_local tile_shape_t pretended_shape;
static _Thread_local uint8_t pretended[8][HIGH * 64];

static int ask_tiles(void) { return 1; }

static void pretend_load(int t, const void *from, ptrdiff_t apart) {
    for (int r = 0; r < pretended_shape.rows[t]; r++)
        memcpy(pretended[t] + 64 * r, (const char *)from + r * apart, pretended_shape.bytes[t]);
}

static void pretend_store(int t, void *to, ptrdiff_t apart) {
    for (int r = 0; r < pretended_shape.rows[t]; r++)
        memcpy((char *)to + r * apart, pretended[t] + 64 * r, pretended_shape.bytes[t]);
}

static void pretend_product(int sum, int a, int b) {
    for (int r = 0; r < pretended_shape.rows[sum]; r++)
        for (int k = 0; k < pretended_shape.bytes[a] / 2; k++)
            for (int c = 0; c < pretended_shape.bytes[sum] / 4; c++) {
                uint16_t halves[2];
                uint32_t whole[2];
                float values[2], total;
                memcpy(halves, pretended[a] + 64 * r + 2 * k, 2);
                memcpy(halves + 1, pretended[b] + 64 * (k / 2) + 4 * c + k % 2 * 2, 2);
                for (int i = 0; i < 2; i++) whole[i] = (uint32_t)halves[i] << 16;
                memcpy(values, whole, sizeof(values));
                memcpy(&total, pretended[sum] + 64 * r + 4 * c, 4);
                total += values[0] * values[1];
                memcpy(pretended[sum] + 64 * r + 4 * c, &total, 4);
            }
}

#define SHAPE_TILES(from) (pretended_shape = (from))
#define SHAPE_OF_TILES(to) ((to) = pretended_shape)
#define ZERO_TILE(t) memset(pretended[t], 0, sizeof(pretended[t]))
#define LOAD_TILE(t, from, apart) pretend_load(t, from, apart)
#define STORE_TILE(t, to, apart) pretend_store(t, to, apart)
#define ADD_PRODUCT(sum, a, b) pretend_product(sum, a, b)
#else
#include <sys/syscall.h>
#include <unistd.h>

/* Ask for the units; whether they may be used. */
static int ask_tiles(void) {
    const long ask = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

#define SHAPE_TILES(from) __asm__ volatile("ldtilecfg %0" ::"m"(from))
#define SHAPE_OF_TILES(to) __asm__ volatile("sttilecfg %0" : "=m"(to))
#define ZERO_TILE(t) __asm__ volatile("tilezero %%tmm" #t ::)
#define LOAD_TILE(t, from, apart) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((ptrdiff_t)(apart)) : "memory")
#define STORE_TILE(t, to, apart) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((ptrdiff_t)(apart)) : "memory")
#define ADD_PRODUCT(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)
#endif

/* Tiles 0 to 3 = two blocks of rows (one, if not `down`) times two panels of b (one, if not `across`). Meanwhile
 * pace / 256 lines of `next` are fetched for each line of b, of the panel as far behind it as b1 is behind b too. */
INLINE void multiply_tiles(const int down, const int across, const weight_t *a, const weight_t *a1, ptrdiff_t lda,
                           const weight_t *b, const weight_t *b1, int depth, int step, const weight_t *next, int pace) {
    const ptrdiff_t apart = lda * sizeof(weight_t), panel = b1 - b;
    ZERO_TILE(0);
    if (across) ZERO_TILE(1);
    if (down) ZERO_TILE(2);
    if (down && across) ZERO_TILE(3);
    for (int p = 0; p < depth; p += step) {
        LOAD_TILE(4, a + p, apart);
        LOAD_TILE(6, b + (ptrdiff_t)p * COLUMNS, 64);
        ADD_PRODUCT(0, 4, 6);
        for (int i = p / PAIR * pace >> 8, last = (p + step) / PAIR * pace >> 8; i < last; i++)
            for (int j = 0; j <= across; j++) __builtin_prefetch(next + i * LINE + j * panel);
        if (down) {
            LOAD_TILE(5, a1 + p, apart);
            ADD_PRODUCT(2, 5, 6);
        }
        if (across) {
            LOAD_TILE(7, b1 + (ptrdiff_t)p * COLUMNS, 64);
            ADD_PRODUCT(1, 4, 7);
            if (down) ADD_PRODUCT(3, 5, 7);
        }
    }
}

/* Tile t of the sums. */
INLINE void keep_tile(int t, float *to, ptrdiff_t ldc) {
    const ptrdiff_t apart = ldc * sizeof(float);
    switch (t) {
        case 0: STORE_TILE(0, to, apart); break;
        case 1: STORE_TILE(1, to, apart); break;
        case 2: STORE_TILE(2, to, apart); break;
        case 3: STORE_TILE(3, to, apart); break;
    }
}

/* Sums of a tile, its first rows already written, to c with bias and residual, through GELU where asked. */
INLINE void store_tile(const float *sums, int written, int rows, float *c, ptrdiff_t ldc, const float *bias,
                       const float *residual, int activation) {
    for (int r = written; r < rows; r++)
        for (int k = 0; k < COLUMNS; k += LANES) {
            v8 sum = load8(sums + r * COLUMNS + k);
            if (bias) sum += load8(bias + k);
            if (residual) sum += load8(residual + r * ldc + k);
            store8(c + r * ldc + k, activation == GELU ? gelu8(sum) : sum);
        }
}

/* `product_rows` by matrix units. All tiles are of one height, so that the units are set up once: the last one may
 * begin among the rows of the one before, whose sums it finds again. */
static __attribute__((noinline)) void product_tiles(const weight_t *x, ptrdiff_t lda, int rows, int depth,
                                                    const weight_t *w, int stored, int leaving, const float *bias,
                                                    const float *residual, int activation, float *y, ptrdiff_t ldc) {
    const int blocks = (rows + HIGH - 1) / HIGH, high = (rows + blocks - 1) / blocks;
    const int step = depth % DEEP ? depth & -depth : DEEP, pace = 256 / ((blocks + 1) / 2);
    const int plain = !bias && !residual && activation == PLAIN;
    tile_shape_t before, shape = {.palette = 1};
    float sums[4][HIGH * COLUMNS] __attribute__((aligned(64)));
    for (int t = 0; t < 8; t++) {
        shape.bytes[t] = t == 4 || t == 5 ? step * sizeof(weight_t) : 64;
        shape.rows[t] = t < 6 ? high : step / PAIR;
    }
    SHAPE_OF_TILES(before); /* others may have set them up */
    SHAPE_TILES(shape);
    for (int o = 0; o < leaving; o += 2 * COLUMNS) {
        const int across = leaving - o > COLUMNS;
        const weight_t *b = w + (size_t)o * stored, *b1 = b + (size_t)COLUMNS * stored;
        for (int block = 0; block < blocks; block += 2) {
            const int down = blocks - block > 1, furthest = rows - high;
            const int from[2] = {least(block * high, furthest), least((block + 1) * high, furthest)};
            const int fetched = block / 2 * (depth / PAIR) * pace >> 8;
            const weight_t *a = x + from[0] * lda, *a1 = x + from[1] * lda;
            const weight_t *next = b1 + (size_t)COLUMNS * stored + (size_t)fetched * LINE;
            if (down && across) multiply_tiles(1, 1, a, a1, lda, b, b1, depth, step, next, pace);
            else if (down) multiply_tiles(1, 0, a, a1, lda, b, b1, depth, step, next, pace);
            else if (across) multiply_tiles(0, 1, a, a1, lda, b, b1, depth, step, next, pace);
            else multiply_tiles(0, 0, a, a1, lda, b, b1, depth, step, next, pace);
            for (int t = 0; t < 4; t++) {
                const ptrdiff_t at = from[t / 2] * ldc + o + t % 2 * COLUMNS;
                if (t / 2 <= down && t % 2 <= across) keep_tile(t, plain ? y + at : sums[t], plain ? ldc : COLUMNS);
            }
            for (int t = 0; t < 4 && !plain; t++) {
                const int column = o + t % 2 * COLUMNS;
                const ptrdiff_t at = from[t / 2] * ldc + column;
                if (t / 2 <= down && t % 2 <= across)
                    store_tile(sums[t], (block + t / 2) * high - from[t / 2], high, y + at, ldc,
                               bias ? bias + column : 0, residual ? residual + at : 0, activation);
            }
        }
    }
    SHAPE_TILES(before);
    __asm__ volatile("" ::: "memory");
}
#endif

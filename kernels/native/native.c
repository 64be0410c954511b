/* CPU kernels, activations in fp32 and weights in fp32 or bf16 (`weights.h`), compiled on the user's own
 * machine by `kernels.native.kernels`; no header of torch is needed.
 *
 * In and out: channels-last arrays (N, H, W, C), C a multiple of 8. Letters: T tiles, G groups, D head width.
 * The caller owns all memory; every function runs on `threads` OpenMP threads and keeps nothing.
 */
#include "attention.h"
#include "blocks.h"
#include "conv.h"
#include "linear.h"
#include "move.h"
#include "vector_math.h"
#include "norm.h"
#include "pixels.h"

/* y (R, O) = x (R, K) w + bias (O or null) + residual (R, O or null), through GELU where asked; w packed
 * (O / 16, K, 16), or (O / 16, ceil(K / 2), 16, 2) in bf16. */
void fada_linear(const float *x, const weight_t *w, const float *bias, const float *residual, float *y, int rows,
                 int depth, int leaving, int activation, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    team_linear(x, depth, rows, depth, w, packed_depth(depth), leaving, bias, residual, activation, y, leaving, threads);
}

#ifdef FADA_PRETEND_TILES
/* Whether a product left the units set up on this thread: 0 if not. */
int fada_pretended_palette(void) { return pretended_shape.palette; }
#endif

/* To be called once before all else: takes the processor's matrix units into use; whether it has them and may. */
int fada_open(void) {
#ifdef MATRIX_UNITS
    tiles_lent = ask_tiles();
    return tiles_lent;
#else
    return 0;
#endif
}

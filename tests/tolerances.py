"""Every numeric tolerance of the tests. Loosening one needs its own commit with measured numbers."""

from __future__ import annotations

from typing import Final

STREAM_EQUALS_OFFLINE: Final = 1e-5
"""Largest relative difference between streamed and offline frames or features, fp32."""

BLEND_WEIGHTS: Final = 1e-6
"""How far the blend's weights may sum from 1."""

KERNEL_FP32: Final = 1e-5
"""Largest absolute error of a kernel in fp32 against the fp32 reference, unit-normal inputs."""

KERNEL_TIMES_TORCH: Final = 2.0
"""A kernel's largest error over PyTorch's own in the same dtype, both against fp32 (gradients: 3)."""

KERNEL_TIMES_TORCH_INTERPRETED_BF16: Final = 4.0
"""The same in bf16 under Triton's interpreter, which truncates where hardware rounds: up to 2.4 measured."""

KERNEL_FLOOR: Final = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}
"""Errors below one unit in the last place near 1 pass whatever PyTorch's happened to be."""

KERNEL_RMS: Final = 5e-3
"""Largest RMS of the error over the RMS of the reference."""

KERNEL_RMS_INTERPRETED_BF16: Final = 1e-2
"""The same in bf16 under the interpreter (see above): up to 0.008 measured."""

ONNX_EQUALS_TORCH: Final = 1e-4
"""Largest absolute difference between an exported network and the one it came from, fp32."""

NATIVE_RMS: Final = 1e-5
"""Largest relative L2 error of the CPU kernels against fp64; 1e-6 to 3e-6 measured (PyTorch's own: up to 1e-6)."""

NATIVE_HALF_RMS: Final = 3e-2
"""The same of a convolution of noise whose Winograd planes and weights are rounded to bf16; up to 2.7e-2 seen."""

NATIVE_HALF_HOP: Final = 3e-2
"""Largest relative L2 difference of a hop's latents with weights in bf16 from fp32 PyTorch's; 1.2e-2 measured."""

NATIVE_HOP: Final = 1e-4
"""Largest relative L2 difference of a hop's latents on the CPU kernels from fp32 PyTorch's; 2.5e-6 measured."""

QUIET_MOUTH_SHARE: Final = 0.10
"""In noise without a voice the mouth opens by no more than this share of its range in speech."""
IDLE_BORDER_RATIO: Final = 1.2
"""Change from frame to frame where speech begins and ends, over that inside speech."""

# -- 8-bit floats (kernels.fp8) -------------------------------------------------------------------------

FP8_VALUE: Final = 2**-4
"""Relative error of one rounded value: e4m3 has three bits after the leading one, so half a step is 2^-4."""

FP8_LAYER: Final = 0.05
"""Relative L2 of a layer with rounded weights and activations against the exact one (measured: 0.036)."""

FP8_KERNEL: Final = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 5e-3}
"""Relative L2 of the kernel against the reference that rounds alike: order of sums, and rounding to the output."""

FP8_DEVICE: Final = 1e-2
"""The same on tensor cores, which add 8-bit products with fewer bits than fp32 has."""

"""Inputs and comparisons that the interpreter's and the GPU's kernel tests share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.reference import attention_naive, attention_sdpa
from tests import tolerances


@dataclass(frozen=True, slots=True)
class AttentionInputs:
    """One call's tensors; k2, v2 and mask may be absent."""

    q: Tensor
    k: Tensor
    v: Tensor
    k2: Tensor | None = None
    v2: Tensor | None = None
    mask: Tensor | None = None

    def options(self) -> dict[str, Tensor | None]:
        return {"k2": self.k2, "v2": self.v2, "mask": self.mask}


def make_inputs(
    lq: int,
    lk: int,
    width: int,
    *,
    batch: int = 2,
    heads: int = 2,
    lk2: int = 0,
    banks: int = 1,
    masked: bool = False,
    strided: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seed: int = 0,
) -> AttentionInputs:
    """Unit-normal inputs; `strided` lays them out as (B, L, H, D) with a gap, as projections lie."""
    source = torch.Generator().manual_seed(seed)

    def draw(rows: int, length: int) -> Tensor:
        if strided:
            wide = torch.randn(rows, length, heads, width + 3, generator=source)
            return wide.to(device, dtype)[..., 2 : 2 + width].transpose(1, 2)
        return torch.randn(rows, heads, length, width, generator=source).to(device, dtype)

    q, k, v = draw(batch, lq), draw(batch, lk), draw(batch, lk)
    k2, v2 = (draw(banks, lk2), draw(banks, lk2)) if lk2 else (None, None)
    mask = None
    if masked:
        mask = (torch.rand(batch, lk, generator=source) > 0.3).to(device)
        mask[0] = False  # a row that sees nothing of the first source
    return AttentionInputs(q, k, v, k2, v2, mask)


def assert_attention_close(
    actual: Tensor, inputs: AttentionInputs, *, times_torch: float, rms: float = tolerances.KERNEL_RMS
) -> None:
    """Hold one output to the fp32 truth: no NaN left, an error like PyTorch's own, a small RMS ratio."""
    truth = attention_naive(inputs.q, inputs.k, inputs.v, **inputs.options())
    torch_own = attention_sdpa(inputs.q, inputs.k, inputs.v, **inputs.options()).float()
    difference = actual.float() - truth
    assert torch.isfinite(actual).all(), "the kernel left poisoned or infinite values"
    error = difference.abs().max().item()
    if actual.dtype == torch.float32:
        assert error <= tolerances.KERNEL_FP32
    name = str(actual.dtype).removeprefix("torch.")
    allowed = max(times_torch * (torch_own - truth).abs().max().item(), tolerances.KERNEL_FLOOR[name])
    if actual.dtype != torch.float32:
        assert error <= allowed, f"largest error {error:.2e}, allowed {allowed:.2e}"
    rms_truth = truth.square().mean().sqrt().item()
    if rms_truth > 0:
        assert difference.square().mean().sqrt().item() <= rms * rms_truth

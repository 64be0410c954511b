"""Inputs and comparisons that the interpreter's and the GPU's kernel tests share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.reference import attention_naive, attention_sdpa
from kernels.values import Control
from tests import tolerances

LENGTHS = (1, 16, 17, 63, 111, 128, 256)
WIDTHS = (32, 40, 64, 80, 128, 160)


def every_pair(lengths: Sequence[int] = LENGTHS, widths: Sequence[int] = WIDTHS) -> list[Any]:
    """All pairs of a length and a width, for `parametrize`; but for enough to see each once they are `slow`."""
    steps = range(max(len(lengths), len(widths)))
    once = {(lengths[step % len(lengths)], widths[step % len(widths)]) for step in steps}
    pairs = itertools.product(lengths, widths)
    return [pytest.param(*pair, marks=() if pair in once else pytest.mark.slow) for pair in pairs]


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
    gap: int = 3,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seed: int = 0,
) -> AttentionInputs:
    """Unit-normal inputs; `strided` lays them out as (B, L, H, D), as projections lie, with a gap between heads."""
    source = torch.Generator().manual_seed(seed)

    def draw(rows: int, length: int) -> Tensor:
        if strided:
            wide = torch.randn(rows, length, heads, width + gap, generator=source)
            begin = min(2, gap)
            return wide.to(device, dtype)[..., begin : begin + width].transpose(1, 2)
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


def assert_like_reference(actual: Tensor, reference: Callable[..., Tensor], call: dict[str, Any]) -> None:
    """Hold a kernel's output to its reference on the same arguments in fp32.

    Half precisions may err `KERNEL_TIMES_TORCH` times as much as the reference does in them; bf16 under the
    interpreter, which truncates where hardware rounds, more.
    """
    truth = reference(**{name: _widen(value) for name, value in call.items()})
    assert torch.isfinite(actual).all(), "the kernel left poisoned or infinite values"
    error = (actual.float() - truth).abs().max().item() if actual.numel() else 0.0
    if actual.dtype == torch.float32:
        assert error <= tolerances.KERNEL_FP32, f"largest error {error:.2e}"
        return
    interpreted = actual.dtype == torch.bfloat16 and not actual.is_cuda
    times = tolerances.KERNEL_TIMES_TORCH_INTERPRETED_BF16 if interpreted else tolerances.KERNEL_TIMES_TORCH
    torch_own = (reference(**call).float() - truth).abs().max().item()
    floor = tolerances.KERNEL_FLOOR[str(actual.dtype).removeprefix("torch.")]
    allowed = max(times * torch_own, floor * max(1.0, truth.abs().max().item()))
    assert error <= allowed, f"largest error {error:.2e}, allowed {allowed:.2e}"


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def make_temporal(
    frames: int,
    frames_k: int,
    width: int,
    *,
    batch: int = 1,
    pixels: int = 2,
    heads: int = 2,
    motion: int = 0,
    masked: bool = False,
    strided: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> dict[str, Any]:
    """Arguments of one temporal attention; `strided` makes them views into wider memory."""
    source = torch.Generator().manual_seed(frames * 1000 + frames_k + width)

    def draw(count: int) -> Tensor:
        channels = heads * width
        if strided:
            wide = torch.randn(batch, pixels, count, channels + 8, generator=source)
            return wide.to(device, dtype)[..., 4 : 4 + channels].transpose(1, 2)
        return torch.randn(batch, count, pixels, channels, generator=source).to(device, dtype)

    call: dict[str, Any] = {"q": draw(frames), "k": draw(frames_k), "v": draw(frames_k), "heads": heads}
    if motion:
        call |= {"k2": draw(motion), "v2": draw(motion)}
    if masked:
        call["mask"] = (torch.rand(batch, frames_k, generator=source) > 0.3).to(device)
    return call


@dataclass(frozen=True, slots=True)
class CrossCase:
    """A block's cross-attention as a network has it: tokens, projected context and weights."""

    x: Tensor  # (R, L, C)
    k: Tensor  # (R2, K, C)
    v: Tensor
    to_q: Tensor  # (C, C)
    to_out: Tensor
    norm_weight: Tensor  # (C,)
    norm_bias: Tensor
    out_bias: Tensor
    mask: Tensor | None
    heads: int

    def absorbed(self) -> dict[str, Any]:
        """Arguments of `absorb_context`."""
        names = ("k", "v", "to_q", "to_out", "heads", "norm_weight", "norm_bias", "mask")
        return {name: getattr(self, name) for name in names}

    def chain(self, out_scale: float = 1.0) -> Tensor:
        """The unfused truth in fp32: norm, projection, attention, projection, scale, sum."""
        x, k, v, to_q, to_out, gain, offset, bias = (
            part.float()
            for part in (
                self.x, self.k, self.v, self.to_q, self.to_out, self.norm_weight, self.norm_bias, self.out_bias,
            )
        )  # fmt: skip
        times = x.shape[0] // k.shape[0]
        mask = None if self.mask is None else self.mask.repeat_interleave(times, 0)
        q = F.layer_norm(x, (x.shape[-1],), gain, offset) @ to_q.t()
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (q, k.repeat_interleave(times, 0), v.repeat_interleave(times, 0))
        )
        attended = attention_naive(q, k, v, mask=mask).transpose(1, 2).flatten(2)
        return x + out_scale * (attended @ to_out.t() + bias)


def make_cross(
    tokens: int,
    keys: int,
    width: int,
    *,
    rows: int = 1,
    shared: int | None = None,
    heads: int = 2,
    masked: bool = False,
    strided: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> CrossCase:
    """Unit-normal tokens and context, weights of unit gain."""
    source = torch.Generator().manual_seed(tokens * 1000 + keys + width)
    channels, shared = heads * width, rows if shared is None else shared

    def draw(*shape: int, gain: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=source) * gain).to(device, dtype)

    x = draw(rows, tokens, channels)
    if strided:
        x = draw(tokens, rows, channels + 8)[..., 4 : 4 + channels].transpose(0, 1)
    mask = None
    if masked:
        mask = (torch.rand(shared, keys, generator=source) > 0.3).to(device)
        mask[0] = False  # a row that sees nothing
    gain = channels**-0.5
    return CrossCase(
        x=x, k=draw(shared, keys, channels), v=draw(shared, keys, channels),
        to_q=draw(channels, channels, gain=gain), to_out=draw(channels, channels, gain=gain),
        norm_weight=draw(channels, gain=0.3) + 1, norm_bias=draw(channels, gain=0.3),
        out_bias=draw(channels), mask=mask, heads=heads,
    )  # fmt: skip


def make_norm(
    rows: int,
    channels: int,
    lines: int,
    columns: int,
    groups: int,
    *,
    film: bool = False,
    control: int = 0,
    channels_last: bool = True,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> dict[str, Any]:
    """Arguments of one GroupNorm; `film` adds scale, shift and offset, `control` scales of so many sessions."""
    source = torch.Generator().manual_seed(channels * 100 + lines * columns)

    def draw(*shape: int, gain: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=source) * gain).to(device, dtype)

    x = draw(rows, channels, lines, columns) + 0.5
    call: dict[str, Any] = {
        "x": x.contiguous(memory_format=torch.channels_last) if channels_last else x,
        "groups": groups, "weight": draw(channels, gain=0.3) + 1, "bias": draw(channels, gain=0.3),
    }  # fmt: skip
    if film:
        wide = draw(rows, 2 * channels, gain=0.3)
        call |= {"scale": wide[:, :channels], "shift": wide[:, channels:], "offset": draw(rows, channels)}
    if control:
        basis = torch.randn(3, 2 * channels, generator=source) * 0.2
        scales = torch.rand(2, control, generator=source) * 2
        call["control"] = Control(basis.to(device), *(part.to(device) for part in scales.unbind()))
    return call

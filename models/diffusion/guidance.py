"""Multi-CFG: three branches of the teacher, or one branch of the student with mixed CFG tokens.

In: predictions or learnable tokens of the base, reference and audio branches, and two scales per row.
Out: their mix. Linear mixes commute between eps and x_0, so the same algebra serves both.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from models.modules.unet import Conditions, Denoiser


def multi_cfg(base: Tensor, ref: Tensor, audio: Tensor, s_ref: Tensor, s_aud: Tensor) -> Tensor:
    """base + s_ref (ref - base) + s_aud (audio - ref); scales (B,) broadcast over the rest.

    Source: FADA's method figure; facts of the family (Sonic) use the same algebra. s_ref = s_aud = 1 is the
    plain conditional prediction.
    """
    shape = (-1, *([1] * (base.ndim - 1)))
    s_ref, s_aud = s_ref.to(base.dtype).view(shape), s_aud.to(base.dtype).view(shape)
    return base + s_ref * (ref - base) + s_aud * (audio - ref)


class ControlTokens(nn.Module):
    """Learnable CFG tokens of the three branches, mixed by the same weights as the teacher's outputs."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(count, width) * 0.5)
        self.ref = nn.Parameter(torch.randn(count, width) * 0.5)
        self.audio = nn.Parameter(torch.randn(count, width) * 0.5)

    def forward(self, s_ref: Tensor, s_aud: Tensor) -> Tensor:
        """Scales (B,) -> tokens (B, count, width)."""
        rows = s_ref.shape[0]
        base, ref, audio = (p.expand(rows, -1, -1) for p in (self.base, self.ref, self.audio))
        return multi_cfg(base, ref, audio, s_ref, s_aud)


def branches(denoiser: Denoiser, x_t: Tensor, t: Tensor, cond: Conditions) -> tuple[Tensor, Tensor, Tensor]:
    """The three branches' predictions (base, reference, audio) in one batch, each like x_t.

    Motion frames stay on in all of them; "base" drops reference and audio, "reference" drops audio.
    """
    rows = x_t.shape[0]
    keep_audio = torch.tensor([False, False, True], device=x_t.device).repeat_interleave(rows)
    keep_reference = torch.tensor([False, True, True], device=x_t.device).repeat_interleave(rows)
    tripled = tile_conditions(cond, 3)
    x_0 = denoiser(
        x_t.repeat(3, 1, 1, 1, 1),
        t.repeat(3),
        replace(tripled, keep_audio=keep_audio, keep_reference=keep_reference),
    )
    base, ref, audio = x_0.chunk(3)
    return base, ref, audio


def guided_x0(
    denoiser: Denoiser, x_t: Tensor, t: Tensor, cond: Conditions, s_ref: Tensor, s_aud: Tensor
) -> tuple[Tensor, Tensor]:
    """The teacher's guided prediction and its plain audio branch.

    Returns:
        (guided x_0, audio-branch x_0), each like x_t.
    """
    base, ref, audio = branches(denoiser, x_t, t, cond)
    return multi_cfg(base, ref, audio, s_ref, s_aud), audio


def tile_conditions(cond: Conditions, times: int) -> Conditions:
    """The same conditions for ``times`` copies of the batch, one after the other."""

    def tile(x: Tensor) -> Tensor:
        return x.repeat(times, *([1] * (x.ndim - 1))) if x.ndim else x

    banks = tuple(
        bank if bank is None else replace(bank, reference=tile(bank.reference), motion=tile(bank.motion))
        for bank in cond.banks
    )
    return replace(
        cond,
        audio=tile(cond.audio),
        expression=tile(cond.expression),
        reference=tile(cond.reference),
        banks=banks,
        control=None if cond.control is None else tile(cond.control),
    )

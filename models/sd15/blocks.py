"""The building blocks of both SD1.5-size UNets: residual, spatial transformer, motion module.

In and out: features of (b t) frames, (B*T, C, h, w), channels-last in memory. Attention and norms go
through `kernels`; the context of a call is `models.modules.blocks.FrameContext`, as in the small preset.
Module names are those of the public weights. Letters: B batch, T frames, M motion frames, L tokens (h*w),
C channels, H heads.

Source: Rombach et al. 2112.10752 (blocks); Guo et al. 2307.04725 (motion modules); Hu et al. 2311.17117 (reference
attention); numbers that no paper states, as the public EchoMimic code has them.
"""

from __future__ import annotations

import math
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.attention import attention
from kernels.cross import absorb_context, cross_attention
from kernels.temporal import temporal_attention
from kernels.values import AbsorbedContext
from models.modules.blocks import FrameContext, GroupNorm32, KernelUser, join_heads, split_heads

RESNET_EPS: Final = 1e-5
TRANSFORMER_EPS: Final = 1e-6
"""GroupNorm's epsilon before spatial and temporal transformers."""
AUDIO_GAIN: Final = 3.0
"""What EchoMimic multiplies the audio attention's output by before adding it; its weights are trained so."""


class Attention(KernelUser, nn.Module):
    """Multi-head attention: queries from (B, L, C), keys and values from tokens of ``context`` channels."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, context) -> keys and values (B, H, K, D)."""
        return split_heads(self.to_k(tokens), self.heads), split_heads(self.to_v(tokens), self.heads)

    def forward(
        self,
        x: Tensor,
        k: Tensor,
        v: Tensor,
        k2: Tensor | None = None,
        v2: Tensor | None = None,
    ) -> Tensor:
        """x (B, L, C) attends to k, v and under the same softmax to k2, v2 (B2, H, K2, D), B2 dividing B."""
        q = split_heads(self.to_q(x), self.heads)
        return self.to_out[0](join_heads(attention(q, k, v, k2=k2, v2=v2, backend=self.backend)))


class GEGLU(nn.Module):
    """One projection to value and gate, value first; value * GELU(gate). Source: Shazeer 2002.05202."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU and a projection back; the empty middle is where training has its dropout."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [GEGLU(width, width * ratio), nn.Identity(), nn.Linear(width * ratio, width)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice; the time embedding is added in between.

    ``embedding`` 0 leaves it out (autoencoder). ``control`` > 0 adds a student's CFG control layer, a
    zero-initialised scale and shift of the second norm by the mixed CFG tokens, as in
    `models.modules.blocks.ResBlock`; EchoMimic's files have none.
    """

    def __init__(
        self, c_in: int, c_out: int, embedding: int, groups: int, eps: float, control: int = 0
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm32(groups, c_in, eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, c_out) if embedding else None
        self.control = nn.Linear(control, 2 * c_out) if control else None
        self.norm2 = GroupNorm32(groups, c_out, eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None
        if self.control is not None:
            nn.init.zeros_(self.control.weight)
            nn.init.zeros_(self.control.bias)

    def forward(self, x: Tensor, ctx: FrameContext | None = None) -> Tensor:
        h = self.conv1(self.norm1.then_silu(x))
        offset, scale, shift = None, None, None
        if self.time_emb_proj is not None and ctx is not None:
            offset = self.time_emb_proj(F.silu(ctx.embedding))
        if self.control is not None and ctx is not None and ctx.control is not None:
            scale, shift = self.control(ctx.control).chunk(2, dim=1)
        h = self.conv2(self.norm2.then_silu(h, scale, shift, offset))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class SpatialBlock(nn.Module):
    """Self-attention that also reads the reference, audio attention (denoiser alone), perceptron."""

    def __init__(self, width: int, context: int, heads: int, ratio: int) -> None:
        """``context`` 0 leaves the audio attention out (ReferenceNet)."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, width, heads)
        self.norm2 = nn.LayerNorm(width) if context else None
        self.attn2 = Attention(width, context, heads) if context else None
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, ratio)

    def reference_kv(self, bank: Tensor) -> Tensor:
        """The bank's keys and values side by side, (B, L, 2C): fixed for a session, so projected once."""
        return torch.cat((self.attn1.to_k(bank), self.attn1.to_v(bank)), dim=-1)

    def absorb_sound(self, sound: Tensor) -> AbsorbedContext:
        """Sound (B*T, K, context) with the audio attention's projections inside: once for all evaluations."""
        assert self.attn2 is not None and self.norm2 is not None
        return absorb_context(
            self.attn2.to_k(sound), self.attn2.to_v(sound), to_q=self.attn2.to_q.weight,
            to_out=self.attn2.to_out[0].get_parameter("weight"), heads=self.attn2.heads,
            norm_weight=self.norm2.weight, norm_bias=self.norm2.bias,
        )  # fmt: skip

    def forward(
        self, x: Tensor, kv: Tensor | None, ctx: FrameContext, sound: AbsorbedContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B*T, L, C) and the reference's keys and values (B, L, 2C) -> (tokens, normed tokens).

        ``sound`` stands for ``ctx.tokens`` where it was absorbed beforehand.
        """
        normed = self.norm1(x)
        k, v = self.attn1.keys_values(normed)
        k2, v2 = (None, None) if kv is None else self._second_source(kv, k, v, ctx)
        x = self.attn1(normed, k, v, k2, v2) + x
        if self.attn2 is not None and self.norm2 is not None:
            x = self._hear(x, self.attn2, self.norm2, ctx, sound)
        return self.ff(self.norm3(x)) + x, normed

    @staticmethod
    def _hear(
        x: Tensor, attn: Attention, norm: nn.LayerNorm, ctx: FrameContext, sound: AbsorbedContext | None
    ) -> Tensor:
        if sound is not None:
            bias = attn.to_out[0].get_parameter("bias")
            return cross_attention(
                x, sound, out_bias=bias, out_scale=AUDIO_GAIN, eps=norm.eps, backend=attn.backend
            )
        assert ctx.tokens is not None
        return torch.add(x, attn(norm(x), *attn.keys_values(ctx.tokens)), alpha=AUDIO_GAIN)

    def _second_source(self, kv: Tensor, k: Tensor, v: Tensor, ctx: FrameContext) -> tuple[Tensor, Tensor]:
        k2, v2 = (split_heads(part, self.attn1.heads) for part in kv.chunk(2, dim=-1))
        if ctx.keep_reference is None:
            return k2, v2
        # A row without reference sees its own keys twice, which is plain self-attention: the softmax halves each.
        keep = ctx.keep_reference.repeat_interleave(ctx.frames).view(-1, 1, 1, 1)
        shared = (part.repeat_interleave(k.shape[0] // len(part), 0) for part in (k2, v2))
        far_k, far_v = shared
        return torch.where(keep, far_k, k), torch.where(keep, far_v, v)


class SpatialTransformer(nn.Module):
    """A `SpatialBlock` between two 1x1 convolutions, over the places of each frame; residual."""

    def __init__(self, width: int, context: int, heads: int, ratio: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm32(groups, width, TRANSFORMER_EPS)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([SpatialBlock(width, context, heads, ratio)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(
        self, x: Tensor, kv: Tensor | None, ctx: FrameContext, sound: AbsorbedContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B*T, C, h, w) -> same, and the normed tokens (B*T, L, C) that fill the bank."""
        _, _, rows, columns = x.shape
        tokens = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)  # no copy: channels-last
        tokens, normed = self.transformer_blocks[0](tokens, kv, ctx, sound)
        return self.proj_out(tokens.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)) + x, normed


def sinusoids(positions: int, width: int) -> Tensor:
    """Interleaved sines and cosines, (1, positions, width). Source: Vaswani et al. 1706.03762, section 3.5."""
    place = torch.arange(positions, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    return torch.stack((torch.sin(place * rate), torch.cos(place * rate)), dim=-1).flatten(1)[None]


class PositionTable(nn.Module):
    """Frame positions, counted from the first frame that the attention sees."""

    pe: Tensor

    def __init__(self, width: int, max_frames: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(max_frames, width))

    def reset_table(self) -> None:
        """Write the table again, for a module that was built on "meta"."""
        _, positions, width = self.pe.shape
        self.pe.copy_(sinusoids(positions, width))


class TemporalAttention(Attention):
    """Each place attends over its frames; positions are added to queries, keys and values alike."""

    def __init__(self, width: int, heads: int, max_frames: int) -> None:
        super().__init__(width, width, heads)
        self.pos_encoder = PositionTable(width, max_frames)

    def over_frames(self, x: Tensor, skip: int) -> Tensor:
        """(B, F, L, C) -> (B, F - skip, L, C): the first ``skip`` frames are seen but not asked."""
        frames = x.shape[1]
        x = x + self.pos_encoder.pe[0, :frames, None]
        q, k, v = self.to_q(x[:, skip:]), self.to_k(x), self.to_v(x)
        return self.to_out[0](temporal_attention(q, k, v, heads=self.heads, backend=self.backend))


class TemporalBlock(nn.Module):
    """Two temporal attentions and a perceptron."""

    def __init__(self, width: int, heads: int, ratio: int, max_frames: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(width, heads, max_frames) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ff = FeedForward(width, ratio)
        self.ff_norm = nn.LayerNorm(width)

    def forward(self, y: Tensor, motion: int) -> Tensor:
        """(B, M + T, L, C) -> (B, T, L, C)."""
        first, second = cast("list[TemporalAttention]", self.attention_blocks)
        y = first.over_frames(self.norms[0](y), 0) + y
        y = second.over_frames(self.norms[1](y), motion) + y[:, motion:]
        return self.ff(self.ff_norm(y)) + y


class TemporalTransformer(nn.Module):
    """A `TemporalBlock` between two linear layers, over the frames of each place; residual."""

    def __init__(self, width: int, heads: int, ratio: int, groups: int, max_frames: int) -> None:
        super().__init__()
        self.norm = GroupNorm32(groups, width, TRANSFORMER_EPS)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(width, heads, ratio, max_frames)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, motion: Tensor | None, frames: int) -> Tensor:
        """x (B*T, C, h, w), motion frames' tokens (B, M, L, C) or None -> (B*T, C, h, w)."""
        _, _, rows, columns = x.shape
        own = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, frames))  # (B, T, L, C)
        count = 0
        if motion is not None:
            count = motion.shape[1]
            past = motion.flatten(0, 1).transpose(1, 2).unflatten(2, (rows, columns))
            past = self.norm(past).flatten(2).transpose(1, 2).unflatten(0, (-1, count))
            own = torch.cat((past.to(own.dtype), own), dim=1)
        y = self.transformer_blocks[0](self.proj_in(own), count)
        return self.proj_out(y).flatten(0, 1).unflatten(1, (rows, columns)).permute(0, 3, 1, 2) + x


class MotionModule(nn.Module):
    """What AnimateDiff's weights call a motion module: the wrapper of a `TemporalTransformer`."""

    def __init__(self, width: int, heads: int, ratio: int, groups: int, max_frames: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(width, heads, ratio, groups, max_frames)

    def forward(self, x: Tensor, motion: Tensor | None, frames: int) -> Tensor:
        return self.temporal_transformer(x, motion, frames)


class Downsample(nn.Module):
    """3x3 convolution of stride 2; the autoencoder pads below and to the right alone."""

    def __init__(self, width: int, lopsided: bool = False) -> None:
        super().__init__()
        self.lopsided = lopsided
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=0 if lopsided else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.lopsided else x)


class Upsample(nn.Module):
    """Nearest-neighbour doubling and a 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))

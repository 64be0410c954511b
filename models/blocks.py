"""The building blocks of both UNets: residual, transformer, temporal and CFG control.

In and out: features of (b t) frames, (B*T, C, h, w), channels-last in memory. Attention goes through
`kernels.attention`. Letters: B batch, T frames, M motion frames, L tokens (h*w), C channels, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.attention import attention
from kernels.norm import group_norm_silu
from models.presets import UNetConfig


@dataclass(frozen=True, slots=True)
class Bank:
    """What one transformer block of the ReferenceNet leaves for its twin in the denoiser."""

    reference: Tensor  # (B, L, C): normed tokens of the reference picture
    motion: Tensor  # (B, M, L, C): tokens of the motion frames


@dataclass(frozen=True, slots=True)
class FrameContext:
    """What every block of one denoiser call sees besides its input."""

    embedding: Tensor  # (B*T, E): time, audio and expression
    tokens: Tensor | None  # (B*T, K, context_width): audio and expression tokens
    control: Tensor | None  # (B*T, K_c * control_width): mixed CFG tokens
    keep_reference: Tensor | None  # (B,) bool: rows that may see the bank; None = all
    frames: int  # T


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, C) -> (B, H, L, D) without a copy."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, H, L, D) -> (B, L, C)."""
    return x.transpose(1, 2).flatten(2)


class GroupNorm32(nn.GroupNorm):
    """GroupNorm in fp32: exact, and on a CPU four times faster than its bf16 form."""

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).to(
            x.dtype
        )

    def then_silu(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """silu((1 + scale) norm(x) + shift), scale and shift (B, C); one kernel's work on CUDA."""
        return group_norm_silu(
            x, self.num_groups, self.weight, self.bias, eps=self.eps, scale=scale, shift=shift
        )


class ResBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice; the embedding scales and shifts the second norm.

    The CFG control layer of a block (students only) is a zero-initialised projection of the mixed CFG tokens
    to one more scale and shift: linear in the guidance scales, as the teacher's mix is.
    """

    def __init__(self, c_in: int, c_out: int, embedding: int, groups: int, control: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm32(groups, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.emb = nn.Linear(embedding, 2 * c_out)
        self.control = nn.Linear(control, 2 * c_out) if control else None
        self.norm2 = GroupNorm32(groups, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        if self.control is not None:
            nn.init.zeros_(self.control.weight)
            nn.init.zeros_(self.control.bias)

    def forward(self, x: Tensor, ctx: FrameContext) -> Tensor:
        film = self.emb(F.silu(ctx.embedding))
        if self.control is not None and ctx.control is not None:
            film = film + self.control(ctx.control)
        scale, shift = film.chunk(2, dim=1)
        h = self.conv1(self.norm1.then_silu(x))
        h = self.conv2(self.norm2.then_silu(h, scale, shift))
        return self.skip(x) + h


class CrossAttention(nn.Module):
    """Queries from tokens (B, L, C), keys and values from another sequence (B, K, W)."""

    def __init__(self, width: int, context: int, head_width: int) -> None:
        super().__init__()
        self.heads = width // head_width
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(context, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = split_heads(self.to_q(self.norm(x)), self.heads)
        k, v = (split_heads(part, self.heads) for part in self.to_kv(context).chunk(2, dim=-1))
        return self.to_out(join_heads(attention(q, k, v)))


class ReferenceAttention(nn.Module):
    """Self-attention whose keys and values also come from the reference picture's bank.

    Source: FADA's method figure; bank = normed tokens of the ReferenceNet's twin block, as in EchoMimic.
    """

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.heads = width // head_width
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.to_kv(tokens).chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def forward(self, x: Tensor, bank: Bank | None, ctx: FrameContext) -> tuple[Tensor, Tensor]:
        """Returns (attended, normed tokens); the normed tokens fill the bank on the ReferenceNet's side."""
        normed = self.norm(x)
        q = split_heads(self.to_q(normed), self.heads)
        k, v = self.keys_values(normed)
        if bank is None:
            return self.to_out(join_heads(attention(q, k, v))), normed
        if ctx.keep_reference is None:
            k2, v2 = self.keys_values(bank.reference)  # (B, H, L, D), shared by the row's T frames
        else:  # a row without reference attends to its own keys twice, which is plain self-attention
            own = normed.unflatten(0, (-1, ctx.frames))
            keep = ctx.keep_reference.view(-1, 1, 1, 1)
            k2, v2 = self.keys_values(torch.where(keep, bank.reference.unsqueeze(1), own).flatten(0, 1))
        return self.to_out(join_heads(attention(q, k, v, k2=k2, v2=v2))), normed


class FeedForward(nn.Module):
    """LayerNorm and a GELU two-layer perceptron."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * ratio)
        self.down = nn.Linear(width * ratio, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.norm(x))))


class TemporalAttention(nn.Module):
    """Each pixel attends over the window's frames and the motion frames before it; starts as identity."""

    def __init__(self, width: int, cfg: UNetConfig) -> None:
        super().__init__()
        self.heads = width // cfg.head_width
        self.scale = cfg.head_width**-0.5
        self.motion_frames = cfg.motion_frames
        self.norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.randn(cfg.motion_frames + cfg.max_frames, width) * 0.02)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Tensor, motion: Tensor, frames: int) -> Tensor:
        """x (B*T, L, C), motion (B, M, L, C) -> (B*T, L, C)."""
        own = x.unflatten(0, (-1, frames))
        tokens = self.norm(torch.cat((motion.to(own.dtype), own), dim=1))  # (B, M + T, L, C)
        tokens = tokens + self.position[: tokens.shape[1], None].to(tokens.dtype)
        q = self.to_q(tokens[:, self.motion_frames :])
        k, v = self.to_kv(tokens).chunk(2, dim=-1)
        # (B, F, L, C) -> (B*L, H, F, D): few frames, many pixels
        q, k, v = (
            p.transpose(1, 2).flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (q, k, v)
        )
        out = attention(q, k, v).transpose(1, 2).flatten(2)  # (B*L, T, C)
        out = out.unflatten(0, (own.shape[0], -1)).transpose(1, 2)  # (B, T, L, C)
        return self.to_out(out).flatten(0, 1)


class TransformerBlock(nn.Module):
    """Reference attention, audio cross-attention, perceptron, temporal attention.

    ``role`` "denoiser" has all of them; "reference" (the ReferenceNet) only what needs no sound and no time.
    """

    def __init__(self, width: int, cfg: UNetConfig, level: int, role: str) -> None:
        super().__init__()
        denoiser = role == "denoiser"
        self.attn = ReferenceAttention(width, cfg.head_width)
        self.cross = CrossAttention(width, cfg.context_width, cfg.head_width) if denoiser else None
        self.ffn = FeedForward(width, cfg.ffn_ratio)
        self.temporal = TemporalAttention(width, cfg) if denoiser and cfg.temporal[level] else None

    def forward(self, x: Tensor, bank: Bank | None, ctx: FrameContext) -> tuple[Tensor, Tensor, Tensor]:
        """(B*T, C, h, w) -> same; also the normed tokens for a bank, and the final tokens (B*T, L, C)."""
        _, _, rows, columns = x.shape
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # no copy: channels-last
        delta, normed = self.attn(tokens, bank, ctx)
        tokens = tokens + delta
        if self.cross is not None and ctx.tokens is not None:
            tokens = tokens + self.cross(tokens, ctx.tokens)
        tokens = tokens + self.ffn(tokens)
        if self.temporal is not None and bank is not None:
            tokens = tokens + self.temporal(tokens, bank.motion, ctx.frames)
        out = tokens.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
        return out, normed, tokens

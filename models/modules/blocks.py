"""The building blocks of both UNets: residual, transformer, temporal and CFG control.

In and out: features of (b t) frames, (B*T, C, h, w), channels-last in memory. Attention and norms go through
`kernels`, which chooses between a kernel and plain PyTorch. Letters: B batch, T frames, M motion frames, L tokens
(h*w), C channels, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.attention import attention
from kernels.cross import absorb_context, cross_attention, is_worth_absorbing
from kernels.dispatch import Backend
from kernels.norm import group_norm_silu
from kernels.temporal import temporal_attention
from kernels.values import AbsorbedContext
from models.presets import UNetConfig


@dataclass(frozen=True, slots=True)
class Bank:
    """What one transformer block of the ReferenceNet leaves for its twin in the denoiser.

    ``projected``: the twin's keys and values are already made of them (`TransformerBlock.project_reference`,
    `project_motion`), so both are 2C wide: once per session and per window instead of at every evaluation.
    """

    reference: Tensor  # (B, L, C): normed tokens of the reference picture
    motion: Tensor  # (B, M, L, C): tokens of the motion frames
    projected: bool = False


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


class KernelUser:
    """A module with a kernel for its work; ``backend`` is `kernels.dispatch`'s, see `choose_kernels`."""

    backend: Backend = "auto"


def choose_kernels(network: nn.Module, backend: Backend) -> None:
    """Have a whole network run by its kernels ("triton"), its references, or what fits ("auto")."""
    for part in network.modules():
        if isinstance(part, KernelUser):
            part.backend = backend


class GroupNorm32(KernelUser, nn.GroupNorm):
    """GroupNorm in fp32: exact, and on a CPU four times faster than its bf16 form."""

    def forward(self, x: Tensor) -> Tensor:
        return group_norm_silu(
            x, self.num_groups, self.weight, self.bias, eps=self.eps, silu=False, backend=self.backend
        )

    def then_silu(
        self,
        x: Tensor,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Tensor:
        """silu((1 + scale) norm(x + offset) + shift), the three of them (B, C); one kernel's work on CUDA."""
        return group_norm_silu(
            x, self.num_groups, self.weight, self.bias, eps=self.eps, scale=scale, shift=shift, offset=offset,
            backend=self.backend,
        )  # fmt: skip


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


class CrossAttention(KernelUser, nn.Module):
    """Queries from tokens (B, L, C), keys and values from another sequence (B, K, W)."""

    def __init__(self, width: int, context: int, head_width: int) -> None:
        super().__init__()
        self.heads = width // head_width
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(context, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.to_out(self.attend(self.to_q(self.norm(x)), self.to_kv(context)))

    def absorb(self, context: Tensor) -> AbsorbedContext:
        """(B, K, W) with this layer's projections inside."""
        k, v = self.to_kv(context).chunk(2, dim=-1)
        return absorb_context(
            k, v, to_q=self.to_q.weight, to_out=self.to_out.weight, heads=self.heads,
            norm_weight=self.norm.weight, norm_bias=self.norm.bias,
        )  # fmt: skip

    def add_absorbed(self, x: Tensor, context: AbsorbedContext) -> Tensor:
        """x + forward(x, context) in one kernel: norm, attention, projections, sum."""
        return cross_attention(x, context, out_bias=self.to_out.bias, eps=self.norm.eps, backend=self.backend)

    def attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """Queries (B, L, C), keys and values (B, K, 2C) -> (B, L, C)."""
        k, v = (split_heads(part, self.heads) for part in kv.chunk(2, dim=-1))
        return join_heads(attention(split_heads(q, self.heads), k, v, backend=self.backend))


class ReferenceAttention(KernelUser, nn.Module):
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

    def split_keys_values(self, kv: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, 2C) -> keys and values, (B, H, L, D) each, without a copy."""
        k, v = kv.chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def forward(self, x: Tensor, bank: Bank | None, ctx: FrameContext) -> tuple[Tensor, Tensor]:
        """Returns (attended, normed tokens); the normed tokens fill the bank on the ReferenceNet's side."""
        normed = self.norm(x)
        q = split_heads(self.to_q(normed), self.heads)
        kv = self.to_kv(normed)
        k, v = self.split_keys_values(kv)
        if bank is None:
            return self.to_out(join_heads(attention(q, k, v, backend=self.backend))), normed
        kv2 = bank.reference if bank.projected else self.to_kv(bank.reference)  # shared by the row's T frames
        if ctx.keep_reference is not None:
            # a row without reference attends to its own keys twice, which is plain self-attention
            keep = ctx.keep_reference.view(-1, 1, 1, 1)
            kv2 = torch.where(keep, kv2.unsqueeze(1), kv.unflatten(0, (-1, ctx.frames))).flatten(0, 1)
        k2, v2 = self.split_keys_values(kv2)
        return self.to_out(join_heads(attention(q, k, v, k2=k2, v2=v2, backend=self.backend))), normed


class FeedForward(nn.Module):
    """LayerNorm and a GELU two-layer perceptron."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * ratio)
        self.down = nn.Linear(width * ratio, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.norm(x))))


class TemporalAttention(KernelUser, nn.Module):
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

    def forward(self, x: Tensor, bank: Bank, frames: int) -> Tensor:
        """x (B*T, L, C), the bank's motion frames before it -> (B*T, L, C)."""
        own = x.unflatten(0, (-1, frames))
        before = self.motion_frames
        tokens = self.norm(own) + self.position[before : before + frames, None].to(own.dtype)  # (B, T, L, C)
        moving = bank.motion if bank.projected else self.project_motion(bank.motion.to(own.dtype))
        kv = torch.cat((moving, self.to_kv(tokens)), dim=1)  # (B, M + T, L, 2C)
        return self.to_out(self.attend(self.to_q(tokens), kv)).flatten(0, 1)

    def project_motion(self, motion: Tensor) -> Tensor:
        """Keys and values (B, M, L, 2C) of the motion frames' tokens (B, M, L, C)."""
        return self.to_kv(self.norm(motion) + self.position[: self.motion_frames, None].to(motion.dtype))

    def attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """Queries (B, T, L, C), keys and values (B, F, L, 2C) -> (B, T, L, C)."""
        k, v = kv.chunk(2, dim=-1)
        return temporal_attention(q, k, v, heads=self.heads, backend=self.backend)


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

    def project_reference(self, tokens: Tensor) -> Tensor:
        """What this block needs of a reference picture's bank (B, L, C): keys and values (B, L, 2C)."""
        return self.attn.to_kv(tokens)

    def project_motion(self, tokens: Tensor) -> Tensor:
        """What this block needs of the motion frames' tokens (B, M, L, C): (B, M, L, 2C), or nothing."""
        return tokens[..., :0] if self.temporal is None else self.temporal.project_motion(tokens)

    def forward(self, x: Tensor, bank: Bank | None, ctx: FrameContext) -> tuple[Tensor, Tensor, Tensor]:
        """(B*T, C, h, w) -> same; also the normed tokens for a bank, and the final tokens (B*T, L, C)."""
        _, _, rows, columns = x.shape
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # no copy: channels-last
        delta, normed = self.attn(tokens, bank, ctx)
        tokens = tokens + delta
        if self.cross is not None and ctx.tokens is not None:
            tokens = self._hear(self.cross, tokens, ctx.tokens)
        tokens = tokens + self.ffn(tokens)
        if self.temporal is not None and bank is not None:
            tokens = tokens + self.temporal(tokens, bank, ctx.frames)
        out = tokens.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
        return out, normed, tokens

    @staticmethod
    def _hear(cross: CrossAttention, tokens: Tensor, context: Tensor) -> Tensor:
        """Sound and expression: one fused kernel where it runs, else call by call."""
        if is_worth_absorbing((tokens, context), context.shape[1], cross.heads, cross.backend):
            return cross.add_absorbed(tokens, cross.absorb(context))
        return tokens + cross(tokens, context)

"""The UNets' blocks as one call each of this machine's own CPU kernels.

In: blocks of `models.modules.blocks` and `models.modules.unet` with their weights. Out: the same blocks,
a residual or transformer block one call, joining and growing read inside the convolution that follows.
Calls that the fused form does not hold (a bank that is not yet projected, rows without reference) take
the block's own PyTorch form.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from kernels.native.blocks import (
    Packed,
    ResBlockWeights,
    TransformerWeights,
    norm_linear,
    res_block,
    transformer,
)
from kernels.native.kernels import COLUMNS, FEW_KEYS, LANES, NORM_CHANNELS, Kernels
from models.modules.blocks import (
    Bank,
    CrossAttention,
    FrameContext,
    GroupNorm32,
    ResBlock,
    TemporalAttention,
    TransformerBlock,
)
from models.modules.unet import Denoiser, Trunk


def holds_res_block(block: ResBlock) -> bool:
    """Whether the fused call takes a block of these widths."""
    c_in, c_out = block.conv1.in_channels, block.conv1.out_channels
    even = c_in % LANES == 0 and c_out % COLUMNS == 0 and block.emb.in_features % LANES == 0
    return even and max(c_in, c_out) <= NORM_CHANNELS


class NativeResBlock(nn.Module):
    """`ResBlock` in one call; its input may come in two parts, joined by channel."""

    def __init__(self, block: ResBlock, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels
        numbers = {
            "channels": block.conv1.in_channels,
            "leaving": block.conv1.out_channels,
            "groups": block.norm1.num_groups,
            "embedding": block.emb.in_features,
            "controls": block.control.in_features if block.control is not None else 0,
            "epsilon1": block.norm1.eps,
            "epsilon2": block.norm2.eps,
        }
        weights: dict[str, Tensor | None] = {
            "gamma1": block.norm1.weight,
            "beta1": block.norm1.bias,
            "gamma2": block.norm2.weight,
            "beta2": block.norm2.bias,
            "conv1": kernels.tiles(block.conv1.weight.detach()),
            "bias1": block.conv1.bias,
            "conv2": kernels.tiles(block.conv2.weight.detach()),
            "bias2": block.conv2.bias,
            "emb": kernels.columns(block.emb.weight.detach()),
            "emb_bias": block.emb.bias,
        }
        if block.control is not None:
            weights |= {
                "control": kernels.columns(block.control.weight.detach()),
                "control_bias": block.control.bias,
            }
        if isinstance(block.skip, nn.Conv2d):
            weights |= {
                "skip": kernels.columns(block.skip.weight.detach().flatten(1)),
                "skip_bias": block.skip.bias,
            }
        self.packed = Packed(kernels, ResBlockWeights, numbers, weights)
        self.takes_control = block.control is not None

    def forward(self, x: Tensor | tuple[Tensor, Tensor], ctx: FrameContext) -> Tensor:
        """See `ResBlock`."""
        first, also = x if isinstance(x, tuple) else (x, None)
        control = ctx.control if self.takes_control else None
        return res_block(self.kernels, self.packed, first, also, ctx.embedding, control)


class NativeCrossAttention(CrossAttention):
    """`CrossAttention` whose few keys are read where they lie."""

    kernels: Kernels

    def attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """See `CrossAttention.attend`."""
        if kv.shape[1] > FEW_KEYS:
            return super().attend(q, kv)
        k, v = kv[None].chunk(2, dim=-1)
        return self.kernels.few_keys(q[None], k, v, self.heads)[0]


class NativeTemporalAttention(TemporalAttention):
    """`TemporalAttention` that reads (b f) (h w) c in place."""

    kernels: Kernels
    motion_kv: Tensor  # packed

    def project_motion(self, motion: Tensor) -> Tensor:
        """See `TemporalAttention.project_motion`."""
        position = self.position[: self.motion_frames]
        norm = self.norm
        return norm_linear(self.kernels, motion, norm.weight, norm.bias, norm.eps, position, self.motion_kv)

    def attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """See `TemporalAttention.attend`."""
        if kv.shape[1] > FEW_KEYS:
            return super().attend(q, kv)
        k, v = kv.transpose(1, 2).chunk(2, dim=-1)
        return self.kernels.few_keys(q.transpose(1, 2), k, v, self.heads).transpose(1, 2)


def adopt_attention(part: CrossAttention | TemporalAttention, kernels: Kernels) -> None:
    """Give a small attention its kernel, where its heads are wide enough."""
    width = part.to_q.out_features
    if width // part.heads % LANES or width % COLUMNS:
        return
    if isinstance(part, TemporalAttention):
        motion_kv = kernels.keep(kernels.columns(part.to_kv.weight.detach()))
        part.register_buffer("motion_kv", motion_kv, persistent=False)
        part.__class__ = NativeTemporalAttention
    else:
        part.__class__ = NativeCrossAttention
    part.kernels = kernels  # type: ignore[assignment]


class NativeTransformerBlock(TransformerBlock):
    """`TransformerBlock` in one call."""

    kernels: Kernels
    packed: Packed

    def forward(self, x: Tensor, bank: Bank | None, ctx: FrameContext) -> tuple[Tensor, Tensor, Tensor]:
        """See `TransformerBlock`."""
        _, _, rows, columns = x.shape
        context = None if self.cross is None else ctx.tokens
        motion = None if self.temporal is None or bank is None else bank.motion
        times = 0 if motion is None else motion.shape[1] + ctx.frames
        many = max(times, 0 if context is None else context.shape[1]) > FEW_KEYS
        if many or ctx.keep_reference is not None or (bank is not None and not bank.projected):
            return super().forward(x, bank, ctx)
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # no copy: channels-last
        reference = None if bank is None else bank.reference
        done, normed = transformer(self.kernels, self.packed, tokens, ctx.frames, reference, context, motion)
        return done.unflatten(1, (rows, columns)).permute(0, 3, 1, 2), normed, done


def adopt_transformer(block: TransformerBlock, kernels: Kernels) -> None:
    """Give a transformer block its fused call, where its widths allow it."""
    attn, cross, ffn, temporal = block.attn, block.cross, block.ffn, block.temporal
    norms = [part.norm for part in (attn, cross, ffn, temporal) if part is not None]
    width, wide = attn.to_q.out_features, ffn.up.out_features
    even = width // attn.heads % COLUMNS == 0 and wide % COLUMNS == 0
    alike = all(part.heads == attn.heads for part in (cross, temporal) if part is not None)
    if not even or not alike or any(norm.eps != attn.norm.eps for norm in norms):
        return
    weights: dict[str, Tensor | None] = {
        "gamma1": attn.norm.weight, "beta1": attn.norm.bias,
        "gamma3": ffn.norm.weight, "beta3": ffn.norm.bias,
        "qkv": _packed(kernels, attn.to_q, attn.to_kv),
        "out": _packed(kernels, attn.to_out), "out_bias": attn.to_out.bias,
        "up": _packed(kernels, ffn.up), "up_bias": ffn.up.bias,
        "down": _packed(kernels, ffn.down), "down_bias": ffn.down.bias,
    }  # fmt: skip
    if cross is not None:
        weights |= {
            "gamma2": cross.norm.weight, "beta2": cross.norm.bias,
            "cross_q": _packed(kernels, cross.to_q), "cross_kv": _packed(kernels, cross.to_kv),
            "cross_out": _packed(kernels, cross.to_out), "cross_bias": cross.to_out.bias,
        }  # fmt: skip
    if temporal is not None:
        weights |= {
            "gamma4": temporal.norm.weight, "beta4": temporal.norm.bias, "position": temporal.position,
            "time_qkv": _packed(kernels, temporal.to_q, temporal.to_kv),
            "time_out": _packed(kernels, temporal.to_out), "time_bias": temporal.to_out.bias,
        }  # fmt: skip
    numbers = {
        "width": width,
        "heads": attn.heads,
        "ffn": wide,
        "context": 0 if cross is None else cross.to_kv.in_features,
        "motion": 0 if temporal is None else temporal.motion_frames,
        "epsilon": attn.norm.eps,
    }
    block.__class__ = NativeTransformerBlock
    native = cast(NativeTransformerBlock, block)
    native.kernels, native.packed = kernels, Packed(kernels, TransformerWeights, numbers, weights)


def _packed(kernels: Kernels, *layers: nn.Linear) -> Tensor:
    """The layers' weights one after the other, for one product."""
    return kernels.columns(torch.cat([layer.weight.detach() for layer in layers]))


class NativeTrunk(Trunk):
    """`Trunk` whose upper residual blocks and growing convolutions read their sources where they lie."""

    def join(self, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """See `Trunk.join`."""
        return h, skip

    def widen(self, index: int, h: Tensor) -> Tensor:
        """See `Trunk.widen`."""
        return self.grow[index](h, grow=True)


def adopt_trunk(trunk: Trunk, convolution: type[nn.Module]) -> None:
    """Let a trunk hand on its parts unjoined, where all that read them can."""
    readers = [cast(nn.ModuleList, block)[0] for blocks in trunk.up for block in cast(nn.ModuleList, blocks)]
    if all(isinstance(r, NativeResBlock) for r in readers) and all(
        isinstance(g, convolution) for g in trunk.grow
    ):
        trunk.__class__ = NativeTrunk


class NativeDenoiser(Denoiser):
    """`Denoiser` whose last norm and activation ride in its last convolution."""

    kernels: Kernels

    def finish(self, h: Tensor) -> Tensor:
        """See `Denoiser.finish`."""
        norm = self.norm
        affine = self.kernels.group_affine(h, norm.num_groups, norm.weight, norm.bias, norm.eps)
        return self.leave(h, affine, silu=True)


def adopt_denoiser(denoiser: Denoiser, kernels: Kernels, convolution: type[nn.Module]) -> None:
    """Let the denoiser's end be one convolution, where it is the kernel's."""
    norm = denoiser.norm
    if (
        isinstance(denoiser.leave, convolution)
        and isinstance(norm, GroupNorm32)
        and norm.num_channels <= NORM_CHANNELS
    ):
        denoiser.__class__ = NativeDenoiser
        cast(NativeDenoiser, denoiser).kernels = kernels

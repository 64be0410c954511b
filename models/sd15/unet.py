"""The two UNets at SD1.5 size: the ReferenceNet reads pictures, the denoiser predicts velocities.

In: noisy latents (B, T, C, h, w), timesteps, audio tokens, a face map and what the ReferenceNet left.
Out: v (B, T, C, h, w). Holds no stream state.

Source: facts of the public EchoMimic code; parity with its outputs is tested (tests/models/test_parity.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.cross import is_worth_absorbing
from kernels.values import AbsorbedContext
from models.modules.blocks import FrameContext, GroupNorm32
from models.presets import UNetConfig
from models.sd15.blocks import (
    RESNET_EPS,
    Downsample,
    MotionModule,
    ResnetBlock,
    SpatialBlock,
    SpatialTransformer,
    Upsample,
)

EMBEDDING_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Conditions:
    """Everything that steers one call of the denoiser, one row per clip.

    Attributes:
        audio: (B, T, K, context_width).
        face: (1 or B, C0, h, w), added to the first features; where the face is.
        reference: keys and values of the reference per transformer, (B, L, 2C), from `Denoiser.reference_kv`.
        motion: tokens of the motion frames per place, (B, M, L, C), or () for none.
        keep_reference: (B,) bool: rows that may see the reference; None = all.
        control: (B, K, W) mixed CFG tokens for a student.
        sound: ``audio`` as `Denoiser.absorb_sound` leaves it, once for all evaluations of a window; () for a call
            that is to do it itself.
    """

    audio: Tensor
    face: Tensor
    reference: tuple[Tensor, ...]
    motion: tuple[Tensor, ...] = ()
    keep_reference: Tensor | None = None
    control: Tensor | None = None
    sound: tuple[AbsorbedContext, ...] = ()


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of t in 0..999: (B,) -> (B, width). Source: Vaswani et al. 1706.03762, section 3.5.

    The exponent is rounded as in the public code, product before quotient: the other order moves an angle of
    hundreds by 3e-5, and guidance makes 1e-5 of a velocity of that (tests/models/sd15/test_networks.py).
    """
    half = width // 2
    rate = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * -math.log(10000.0) / half)
    angle = t.float()[:, None] * rate
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class TimeEmbedding(nn.Module):
    """Two linear layers around a SiLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(c_in, c_out)
        self.linear_2 = nn.Linear(c_out, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class Stage(nn.Module):
    """One level on the way down or up, or the middle: its layers, and the way to the next level."""

    def __init__(
        self, widths_in: list[int], width: int, trunk: _Trunk, spatial: bool, temporal: bool
    ) -> None:
        super().__init__()
        cfg, embedding = trunk.cfg, trunk.cfg.channels[0] * EMBEDDING_FACTOR
        self.resnets = nn.ModuleList(
            ResnetBlock(c_in, width, embedding, cfg.groups, RESNET_EPS, trunk.control) for c_in in widths_in
        )
        layers = range(len(widths_in))
        context = cfg.context_width if trunk.denoiser else 0
        self.attentions = nn.ModuleList(
            SpatialTransformer(width, context, cfg.heads, cfg.ffn_ratio, cfg.groups)
            for _ in layers
            if spatial
        )
        self.motion_modules = nn.ModuleList(
            MotionModule(width, cfg.heads, cfg.ffn_ratio, cfg.groups, cfg.max_frames)
            for _ in layers
            if trunk.denoiser and temporal
        )
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()


class _Trunk(nn.Module):
    """The skeleton that both UNets share: down, middle, up."""

    def __init__(self, cfg: UNetConfig, denoiser: bool, control: int = 0) -> None:
        super().__init__()
        self.cfg, self.denoiser, self.control = cfg, denoiser, control
        widths, base = cfg.channels, cfg.channels[0]
        self.conv_in = nn.Conv2d(cfg.latent_channels, base, 3, padding=1)
        self.time_embedding = TimeEmbedding(base, base * EMBEDDING_FACTOR)
        self.down_blocks = nn.ModuleList()
        skips, here = [base], base
        for level, width in enumerate(widths):
            kinds = cfg.attention[level], cfg.temporal[level]
            stage = Stage([here] + [width] * (cfg.layers - 1), width, self, *kinds)
            skips += [width] * cfg.layers
            if level + 1 < len(widths):
                stage.downsamplers.append(Downsample(width))
                skips.append(width)
            self.down_blocks.append(stage)
            here = width
        self.mid_block = Stage([here], here, self, True, True)
        closing = Stage([here], here, self, False, False)  # behind the middle's transformer
        self.mid_block.resnets.append(closing.resnets[0])
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            width = widths[level]
            entering = []
            for _ in range(cfg.layers + 1):
                entering.append(here + skips.pop())
                here = width
            stage = Stage(entering, width, self, cfg.attention[level], cfg.temporal[level])
            if level > 0:
                stage.upsamplers.append(Upsample(width))
            self.up_blocks.append(stage)

    def embed(self, t: Tensor) -> Tensor:
        """Timesteps (B,) -> (B, E)."""
        table = timestep_embedding(t, self.cfg.channels[0])
        return self.time_embedding(table.to(self.conv_in.weight.dtype))

    def run(self, h: Tensor, ctx: FrameContext, reader: _Reader) -> Tensor:
        """From the first features (B*T, C0, h, w) to the last ones."""
        skips = [h]
        for stage in cast("list[Stage]", self.down_blocks):
            for layer in range(len(stage.resnets)):
                h = self._layer(stage, layer, h, ctx, reader)
                skips.append(h)
            for down in stage.downsamplers:
                h = down(h)
                skips.append(h)
        h = self._layer(self.mid_block, 0, h, ctx, reader)
        h = self.mid_block.resnets[1](h, ctx)
        for stage in cast("list[Stage]", self.up_blocks):
            for layer in range(len(stage.resnets)):
                h = self._layer(stage, layer, torch.cat((h, skips.pop()), dim=1), ctx, reader)
            for up in stage.upsamplers:
                h = up(h)
        return h

    def _layer(self, stage: Stage, layer: int, h: Tensor, ctx: FrameContext, reader: _Reader) -> Tensor:
        h = stage.resnets[layer](h, ctx)
        if len(stage.attentions):
            h, normed = stage.attentions[layer](h, reader.next_reference(), ctx, reader.next_sound())
            reader.banks.append(normed)
        reader.places.append(h)
        if len(stage.motion_modules):
            h = stage.motion_modules[layer](h, reader.next_motion(), ctx.frames)
        return h

    def transformers(self) -> list[SpatialTransformer]:
        """All spatial transformers in the order of the data."""
        stages = cast("list[Stage]", [*self.down_blocks, self.mid_block, *self.up_blocks])
        return [cast(SpatialTransformer, block) for stage in stages for block in stage.attentions]


class _Reader:
    """What one pass takes from the ReferenceNet, transformer by transformer, and what it leaves for others."""

    def __init__(
        self,
        reference: tuple[Tensor, ...] = (),
        motion: tuple[Tensor, ...] = (),
        sound: tuple[AbsorbedContext, ...] = (),
    ) -> None:
        self._reference, self._motion, self._sound = iter(reference), iter(motion), iter(sound)
        self.banks: list[Tensor] = []  # normed tokens (B*T, L, C) of every transformer
        self.places: list[Tensor] = []  # features (B*T, C, h, w) where the denoiser has its motion modules

    def next_reference(self) -> Tensor | None:
        return next(self._reference, None)

    def next_motion(self) -> Tensor | None:
        return next(self._motion, None)

    def next_sound(self) -> AbsorbedContext | None:
        return next(self._sound, None)


class ReferenceNet(_Trunk):
    """Reads the reference picture once per session, and in a stream the motion frames once per window.

    Source: FADA's method figure; reading at timestep 0, normed tokens as the bank, as in EchoMimic.
    """

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__(cfg, denoiser=False)

    def read_reference(self, reference: Tensor) -> tuple[Tensor, ...]:
        """Latents (B, C, h, w) -> the bank of every transformer, (B, L, C)."""
        return tuple(self.read(reference)[0].banks)

    def read_motion(self, motion: Tensor) -> tuple[Tensor, ...]:
        """Latents of motion frames (B, M, C, h, w) -> tokens (B, M, L, C) for every motion module.

        EchoMimic has no motion frames; a student that continues its own frames needs them (FADA). They are read
        where the denoiser's own features enter its motion module: behind the twin's spatial transformer.
        """
        reader, _ = self.read(motion.flatten(0, 1))
        shape = motion.shape[:2]
        return tuple(h.flatten(2).transpose(1, 2).unflatten(0, shape) for h in reader.places)

    def read(self, latents: Tensor) -> tuple[_Reader, Tensor]:
        """One pass at timestep 0: what it leaves, and its last features (N, C0, h, w)."""
        embedding = self.embed(latents.new_zeros(latents.shape[0], dtype=torch.float32))
        reader = _Reader()
        x = latents.contiguous(memory_format=torch.channels_last)
        last = self.run(self.conv_in(x), FrameContext(embedding, None, None, None, 1), reader)
        return reader, last


class Denoiser(_Trunk):
    """Predicts the velocity v of a window of frames."""

    def __init__(self, cfg: UNetConfig, control: bool = False) -> None:
        super().__init__(cfg, True, cfg.control_tokens * cfg.control_width if control else 0)
        base = cfg.channels[0]
        self.conv_norm_out = GroupNorm32(cfg.groups, base, RESNET_EPS)
        self.conv_out = nn.Conv2d(base, cfg.latent_channels, 3, padding=1)

    def reference_kv(self, banks: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The ReferenceNet's banks (B, L, C) -> this network's keys and values of them, (B, L, 2C)."""
        return tuple(
            cast(SpatialBlock, block.transformer_blocks[0]).reference_kv(bank)
            for block, bank in zip(self.transformers(), banks, strict=True)
        )

    def absorb_sound(self, audio: Tensor) -> tuple[AbsorbedContext, ...]:
        """Audio (B, T, K, W) -> what each transformer's kernel wants of it; () where no kernel would run."""
        blocks = [cast(SpatialBlock, outer.transformer_blocks[0]) for outer in self.transformers()]
        tensors, backend = (audio, self.conv_in.weight), blocks[0].attn1.backend
        if not is_worth_absorbing(tensors, audio.shape[2], self.cfg.heads, backend):
            return ()
        return tuple(block.absorb_sound(audio.flatten(0, 1)) for block in blocks)

    def forward(self, x_t: Tensor, t: Tensor, cond: Conditions) -> Tensor:
        """x_t (B, T, C, h, w), t (B,) in 0..999 -> v of the same shape.

        Raises:
            ValueError: x_t is not 5-D, its frames and the sound's differ, or there are too many frames.
        """
        if x_t.ndim != 5 or cond.audio.ndim != 4 or cond.audio.shape[:2] != x_t.shape[:2]:
            raise ValueError(
                f"Denoiser expects x_t (B, T, C, h, w) and audio (B, T, K, W) of the same B and T; got "
                f"{tuple(x_t.shape)} and {tuple(cond.audio.shape)}."
            )
        frames = x_t.shape[1]
        seen = frames + (cond.motion[0].shape[1] if cond.motion else 0)
        if seen > self.cfg.max_frames:
            raise ValueError(f"Denoiser expects at most {self.cfg.max_frames} frames, got {seen}.")
        control = None if cond.control is None else cond.control.flatten(1).repeat_interleave(frames, 0)
        ctx = FrameContext(
            self.embed(t).repeat_interleave(frames, 0),
            cond.audio.flatten(0, 1),
            control,
            cond.keep_reference,
            frames,
        )
        x = x_t.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        h = self.conv_in(x).unflatten(0, (-1, frames)) + cond.face.unsqueeze(1)
        h = h.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        h = self.run(
            h, ctx, _Reader(cond.reference, cond.motion, cond.sound or self.absorb_sound(cond.audio))
        )
        return self.conv_out(self.conv_norm_out.then_silu(h)).unflatten(0, (-1, frames))

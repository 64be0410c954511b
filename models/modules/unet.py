"""The two UNets: the ReferenceNet reads the reference picture, the denoiser predicts clean latents.

In: noisy latents (B, T, C, h, w), time, audio features, expression, reference latents and their banks.
Out: x_0 (B, T, C, h, w). The reference latent also enters by channels and the output is its residual: the
canvas is head-stabilised, so most of a frame *is* the reference.
Holds no stream state: banks and motion frames come in as values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.modules.blocks import Bank, FrameContext, GroupNorm32, ResBlock, TransformerBlock
from models.presets import UNetConfig

EMBEDDING_FACTOR = 2
EXPRESSION_GAIN = 3.0  # brings gaze, brow and blink to unit spread


@dataclass(frozen=True, slots=True)
class Conditions:
    """Everything that steers one denoiser call, one row per clip.

    ``keep_audio`` and ``keep_reference`` (B,) bool switch a row's sound or reference off (the branches of
    multi-CFG); None keeps all rows. ``control`` (B, K, W) are mixed CFG tokens for a student.
    """

    audio: Tensor  # (B, T, audio_width)
    expression: Tensor  # (B, T, expression_dims)
    reference: Tensor  # (B, C, h, w): latent of the reference picture
    banks: tuple[Bank | None, ...]
    keep_audio: Tensor | None = None
    keep_reference: Tensor | None = None
    control: Tensor | None = None


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoids of t in [0, 1]: (B,) -> (B, width). Source: Vaswani et al. 1706.03762, section 3.5."""
    frequency = torch.exp(torch.arange(width // 2, device=t.device) * (-math.log(1e3) / (width // 2)))
    angle = t.float()[:, None] * 1e3 * frequency
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class Trunk(nn.Module):
    """The UNet's skeleton, shared by both roles: down, middle, up; residual blocks and transformers."""

    def __init__(self, cfg: UNetConfig, c_in: int, role: str, control: bool) -> None:
        super().__init__()
        self.cfg = cfg
        widths, emb = cfg.channels, cfg.channels[0] * EMBEDDING_FACTOR
        mixed = cfg.control_tokens * cfg.control_width if control else 0

        def pair(a: int, b: int, level: int) -> nn.ModuleList:
            parts: list[nn.Module] = [ResBlock(a, b, emb, cfg.groups, mixed)]
            if cfg.attention[level]:
                parts.append(TransformerBlock(b, cfg, level, role))
            return nn.ModuleList(parts)

        self.enter = nn.Conv2d(c_in, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        for level, width in enumerate(widths):
            self.down.append(nn.ModuleList(pair(width, width, level) for _ in range(cfg.layers)))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, widths[level + 1], 3, stride=2, padding=1))
        self.middle = pair(widths[-1], widths[-1], len(widths) - 1)
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        # the ReferenceNet is read at its transformers only: it ends at the finest level that has one
        finest = cfg.attention.index(True) if role == "reference" else 0
        for level in reversed(range(finest, len(widths))):
            width = widths[level]
            self.up.append(nn.ModuleList(pair(2 * width, width, level) for _ in range(cfg.layers)))
            if level > finest:
                self.grow.append(nn.Conv2d(width, widths[level - 1], 3, padding=1))

    def forward(
        self, x: Tensor, banks: tuple[Bank | None, ...] | None, ctx: FrameContext
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Returns the last features and, per transformer block, (normed tokens, final tokens)."""
        traces: list[tuple[Tensor, Tensor]] = []

        def step(block: nn.ModuleList, x: Tensor | tuple[Tensor, Tensor]) -> Tensor:
            h = block[0](x, ctx)
            if len(block) == 1:
                return h
            bank = banks[len(traces)] if banks is not None else None
            h, normed, tokens = block[1](h, bank, ctx)
            traces.append((normed, tokens))
            return h

        h = self.enter(x)
        skips = []
        for level, blocks in enumerate(self.down):
            for block in cast(nn.ModuleList, blocks):
                h = step(cast(nn.ModuleList, block), h)
                skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h)
        h = step(self.middle, h)
        for index, blocks in enumerate(self.up):
            for block in cast(nn.ModuleList, blocks):
                h = step(cast(nn.ModuleList, block), self.join(h, skips.pop()))
            if index < len(self.grow):
                h = self.widen(index, h)
        return h, traces

    def join(self, h: Tensor, skip: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """What an upper residual block takes of the features below it and beside it."""
        return torch.cat((h, skip), dim=1)

    def widen(self, index: int, h: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', 2h, 2w): to the next finer level."""
        return self.grow[index](F.interpolate(h, scale_factor=2.0, mode="nearest"))


class ReferenceNet(nn.Module):
    """Reads the reference picture and the motion frames once per window: banks for every transformer block.

    Source: FADA's method figure: source image and motion frames enter the ReferenceNet, its features go
    layer by layer into the denoising UNet.
    """

    layout = torch.channels_last

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.emb = nn.Parameter(torch.zeros(2, cfg.channels[0] * EMBEDDING_FACTOR))
        self.trunk = Trunk(cfg, cfg.latent_channels, "reference", control=False)

    def forward(self, reference: Tensor, motion: Tensor) -> tuple[Bank, ...]:
        """Latents of the reference (B, C, h, w) and of the motion frames (B, M, C, h, w) -> banks."""
        return tuple(
            Bank(still.reference, moved.motion)
            for still, moved in zip(self.read_reference(reference), self.read_motion(motion), strict=True)
        )

    def read_reference(self, reference: Tensor) -> tuple[Bank, ...]:
        """Banks with the reference part alone (cached once per session); motion is empty."""
        traces = self._run(reference, 0)
        empty = reference.new_zeros(())
        return tuple(Bank(normed, empty) for normed, _ in traces)

    def read_motion(self, motion: Tensor) -> tuple[Bank, ...]:
        """Banks with the motion part alone, once per window; reference is empty."""
        traces = self._run(motion.flatten(0, 1), 1)
        empty = motion.new_zeros(())
        return tuple(Bank(empty, tokens.unflatten(0, motion.shape[:2])) for _, tokens in traces)

    def _run(self, latents: Tensor, kind: int) -> list[tuple[Tensor, Tensor]]:
        embedding = self.emb[kind].expand(latents.shape[0], -1)
        ctx = FrameContext(embedding, None, None, None, 1)
        x = latents.contiguous(memory_format=self.layout)
        return self.trunk(x, None, ctx)[1]


class Denoiser(nn.Module):
    """Predicts clean latents x_0 of a window of frames."""

    layout = torch.channels_last

    def __init__(self, cfg: UNetConfig, control: bool = False) -> None:
        super().__init__()
        self.cfg = cfg
        base, emb = cfg.channels[0], cfg.channels[0] * EMBEDDING_FACTOR
        self.time = nn.Sequential(nn.Linear(base, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.audio_norm = nn.LayerNorm(cfg.audio_width)
        rows, columns = cfg.guide_size
        self.guide = nn.Sequential(
            nn.Linear(cfg.audio_width + cfg.expression_dims, cfg.context_width),
            nn.SiLU(),
            nn.Linear(cfg.context_width, cfg.guide_channels * rows * columns),
        )
        self.audio_emb = nn.Linear(cfg.audio_width, emb)
        self.expression_emb = nn.Sequential(
            nn.Linear(cfg.expression_dims, emb), nn.SiLU(), nn.Linear(emb, emb)
        )
        self.audio_tokens = nn.Linear(cfg.audio_width, cfg.audio_tokens * cfg.context_width)
        self.expression_tokens = nn.Linear(emb, cfg.expression_tokens * cfg.context_width)
        self.null_audio = nn.Parameter(torch.zeros(cfg.audio_width))
        self.trunk = Trunk(cfg, 2 * cfg.latent_channels + cfg.guide_channels, "denoiser", control)
        self.norm = GroupNorm32(cfg.groups, base)
        self.leave = nn.Conv2d(base, cfg.latent_channels, 3, padding=1)
        nn.init.zeros_(self.leave.get_parameter("weight"))
        nn.init.zeros_(self.leave.get_parameter("bias"))

    def transformers(self) -> list[TransformerBlock]:
        """The transformer blocks in the order in which they read the banks."""
        return [part for part in self.trunk.modules() if isinstance(part, TransformerBlock)]

    def _context(self, t: Tensor, cond: Conditions, frames: int) -> tuple[FrameContext, Tensor]:
        """What all blocks see, and the guide (B*T, G, h, w): sound and expression spread over the face.

        The canvas is head-stabilised, so a place in it is a part of the face; the guide learns where the mouth
        and the lids are, and the network has to learn only what they look like on this face.
        """
        audio = self.audio_norm(cond.audio)
        if cond.keep_audio is not None:
            audio = torch.where(cond.keep_audio.view(-1, 1, 1), audio, self.null_audio.to(audio.dtype))
        audio = audio.flatten(0, 1)
        gesture = cond.expression.to(audio.dtype).flatten(0, 1) * EXPRESSION_GAIN
        expression = self.expression_emb(gesture)
        guide = self.guide(torch.cat((audio, gesture), dim=-1))
        time = self.time(time_embedding(t, self.cfg.channels[0]).to(audio.dtype))
        embedding = time.repeat_interleave(frames, 0) + self.audio_emb(audio) + expression
        tokens = torch.cat(
            (
                self.audio_tokens(audio).unflatten(-1, (self.cfg.audio_tokens, -1)),
                self.expression_tokens(F.silu(expression)).unflatten(-1, (self.cfg.expression_tokens, -1)),
            ),
            dim=1,
        )
        control = None if cond.control is None else cond.control.flatten(1).repeat_interleave(frames, 0)
        ctx = FrameContext(embedding, tokens, control, cond.keep_reference, frames)
        return ctx, guide.unflatten(-1, (self.cfg.guide_channels, *self.cfg.guide_size))

    def forward(self, x_t: Tensor, t: Tensor, cond: Conditions) -> Tensor:
        """x_t (B, T, C, h, w), t (B,) in [0, 1] -> x_0 of the same shape.

        Raises:
            ValueError: x_t is not 5-D, or its frames and the conditions' differ.
        """
        if x_t.ndim != 5 or cond.audio.shape[:2] != x_t.shape[:2]:
            raise ValueError(
                f"Denoiser expects x_t (B, T, C, h, w) and audio (B, T, W) of the same B and T; got "
                f"{tuple(x_t.shape)} and {tuple(cond.audio.shape)}."
            )
        frames = x_t.shape[1]
        reference = cond.reference
        if cond.keep_reference is not None:
            reference = reference * cond.keep_reference.view(-1, 1, 1, 1).to(reference.dtype)
        ctx, guide = self._context(t, cond, frames)
        spread = reference.unsqueeze(1).expand(-1, frames, -1, -1, -1)
        x = torch.cat((x_t, spread.to(x_t.dtype)), dim=2).flatten(0, 1)
        x = torch.cat((x, guide.to(x.dtype)), dim=1)
        x = x.contiguous(memory_format=self.layout)
        h, _ = self.trunk(x, cond.banks, ctx)
        out = self.finish(h).unflatten(0, (-1, frames))
        return out + spread.to(out.dtype)

    def finish(self, h: Tensor) -> Tensor:
        """The trunk's features (B*T, C, h, w) -> the residual of the reference latent (B*T, latent, h, w)."""
        return self.leave(self.norm.then_silu(h))

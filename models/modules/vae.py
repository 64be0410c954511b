"""The autoencoder: face-box pixels to latents and back.

In: pictures (B, 3, H, W) in [0, 1]. Out: latents (B, C, H/f, W/f), and pictures again. The decoder may
look at features of the reference picture and paints only what differs from it: what does not move keeps the
reference's own pixels, so hair, clothes and skin texture stay as crisp as the picture that the user gave.
Runs on whichever thread calls it; holds no state.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.modules.conv import ConvBlock, ReferenceFeatures, wake
from models.modules.motion import MotionReader, MotionWriter
from models.modules.mover import Moves, MovingDecoder
from models.presets import VAEConfig


class Tower(nn.Module):
    """Pixel-unshuffle stem, then residual blocks and stride-2 convolutions: features of every level."""

    def __init__(self, cfg: VAEConfig, blocks: int) -> None:
        super().__init__()
        self.stem = cfg.stem
        self.enter = nn.Conv2d(3 * cfg.stem**2, cfg.widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ConvBlock(width) for _ in range(blocks))) for width in cfg.widths
        )
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(cfg.widths))
        wake(self)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        x = self.enter(F.pixel_unshuffle(picture * 2 - 1, self.stem))
        features = []
        for index, level in enumerate(self.levels):
            x = level(x)
            features.append(x)
            if index < len(self.downs):
                x = self.downs[index](x)
        return tuple(features)


class Decoder(nn.Module):
    """Latents to pixels: colour and a matte over the reference picture."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        self.stem = cfg.stem
        self.skips = cfg.reference_skips
        widths = cfg.widths[::-1]  # coarsest first
        self.enter = nn.Conv2d(cfg.latent_channels, widths[0], 3, padding=1)
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths) if self.skips else None
        self.levels = nn.ModuleList(
            nn.Sequential(*(ConvBlock(width) for _ in range(cfg.blocks))) for width in widths
        )
        self.ups = nn.ModuleList(nn.Conv2d(a, 4 * b, 3, padding=1) for a, b in pairwise(widths))
        self.leave = nn.Conv2d(widths[-1], (4 if self.skips else 3) * cfg.stem**2, 3, padding=1)
        wake(self)
        if self.mix is not None:  # the decoder learns to read its latents first, the reference after
            for mix in self.mix.children():
                nn.init.zeros_(mix.get_parameter("weight"))

    def mix_reference(self, reference: ReferenceFeatures) -> ReferenceFeatures:
        """The features as the levels add them."""
        if self.mix is None or reference.mixed:
            return reference
        mixes = list(self.mix.children())[::-1]  # finest first, as the features
        levels = tuple(mix(level) for mix, level in zip(mixes, reference.levels, strict=True))
        return ReferenceFeatures(reference.picture, levels, mixed=True)

    def forward(self, z: Tensor, reference: ReferenceFeatures | None) -> Tensor:
        x = self.enter(z)
        for index, level in enumerate(self.levels):
            if reference is not None and self.mix is not None:
                kept = reference.levels[-1 - index]
                x = x + (kept if reference.mixed else self.mix[index](kept))
            x = level(x)
            if index < len(self.ups):
                x = F.pixel_shuffle(self.ups[index](F.silu(x)), 2)
        out = F.pixel_shuffle(self.leave(F.silu(x)), self.stem)
        if reference is None:
            return torch.sigmoid(out[:, :3])
        colour, matte = torch.sigmoid(out[:, :3]), torch.sigmoid(out[:, 3:] + 2.0)
        return torch.lerp(reference.picture.to(out.dtype), colour, matte)


class VAE(nn.Module):
    """Variational autoencoder with an optional reference-conditioned decoder.

    One whose decoder moves pixels has latents of `models.modules.motion`, which have no variance.
    ``mean`` and ``std`` (C,) bring latents to zero mean and unit variance over the corpus.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.moving = cfg.decoder == "move"
        if self.moving:
            self.reader, self.writer = MotionReader(cfg), MotionWriter(cfg)
        else:
            self.tower = Tower(cfg, cfg.encoder_blocks)
            self.to_latent = nn.Conv2d(cfg.widths[-1], 2 * cfg.latent_channels, 3, padding=1)
            with (
                torch.no_grad()
            ):  # start almost without noise: the decoder must find the latents worth reading
                self.to_latent.get_parameter("bias")[cfg.latent_channels :] = -5.0
        self.decoder = MovingDecoder(cfg) if self.moving else Decoder(cfg)
        self.reference_tower = Tower(cfg, cfg.encoder_blocks) if cfg.reference_skips else None
        self.register_buffer("mean", torch.zeros(cfg.latent_channels))
        self.register_buffer("std", torch.ones(cfg.latent_channels))

    def moments(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance (B, C, h, w), unnormalised, of pictures (B, 3, H, W) in [0, 1]."""
        if picture.ndim != 4 or picture.shape[1] != 3:
            raise ValueError(f"VAE expects pictures of shape (B, 3, H, W), got {tuple(picture.shape)}.")
        if self.moving:
            mean = self.written(self.reader(picture), picture.shape[-2:])
            return mean, torch.full_like(mean, -12.0)
        mean, logvar = self.to_latent(F.silu(self.tower(picture)[-1])).chunk(2, dim=1)
        return mean, logvar.clamp(-12.0, 4.0)

    def written(self, state: Tensor, picture: tuple[int, ...]) -> Tensor:
        """Raw latents (B, C, h, w) of states (B, 10) for pictures of that height and width; of a VAE that moves."""
        height, width = picture
        return self.writer(state, height // self.cfg.factor, width // self.cfg.factor)

    def encode(self, picture: Tensor) -> Tensor:
        """Normalised latents (B, C, h, w): the posterior mean, zero mean and unit variance over the corpus."""
        mean, _ = self.moments(picture)
        return (mean - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)

    def encode_states(self, state: Tensor, picture: tuple[int, ...]) -> Tensor:
        """Normalised latents (B, C, h, w) of states (B, 10) for pictures of that height and width, as `encode`."""
        mean = self.written(state, picture)
        return (mean - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)

    def reference(self, picture: Tensor, state: Tensor | None = None) -> ReferenceFeatures | None:
        """What the decoder keeps of a reference picture (B, 3, H, W); None for a plain decoder.

        One that moves pixels has to know what the reference itself shows, an open mouth or a smile: ``state``
        (B, 10), or what is read off the picture.
        """
        if self.reference_tower is None:
            return None
        levels = self.reference_tower(picture)
        if self.moving:
            told = self.reader(picture) if state is None else state
            own = self.written(told, picture.shape[-2:])
            levels = (*levels[:-1], torch.cat((levels[-1], own.to(levels[-1].dtype)), dim=1))
        return ReferenceFeatures(picture, levels)

    def decode(self, z: Tensor, reference: ReferenceFeatures | None) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] of normalised latents (B, C, h, w), at the networks' own size."""
        return self.decoder(self._raw(z), reference)

    def moves(self, z: Tensor, reference: ReferenceFeatures) -> Moves:
        """How frames of normalised latents (B, C, h, w) differ from their reference; of a decoder that moves."""
        moves: Moves = self.decoder.moves(self._raw(z), reference)  # type: ignore[operator]
        return moves

    def packed_moves(self, z: Tensor, reference: ReferenceFeatures, canvas_px: int) -> Tensor:
        """The same as `models.modules.mover.packed` gives it for a canvas."""
        moves: Tensor = self.decoder.packed(self._raw(z), reference, canvas_px)  # type: ignore[operator]
        return moves

    def _raw(self, z: Tensor) -> Tensor:
        return z * self.std.view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1)

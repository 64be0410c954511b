"""Stable Diffusion's autoencoder: pictures to latents of an eighth of the side, and back.

In: pictures (B, 3, H, W) in [0, 1]. Out: latents (B, 4, H/8, W/8), scaled to about unit variance. Key names are
those of the public weights. The decoder may be a small one instead (`models.sd15.tiny_decoder`).

Source: Rombach et al. 2112.10752.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from kernels.attention import attention
from models.modules.blocks import GroupNorm32, KernelUser
from models.modules.conv import ReferenceFeatures
from models.presets import VAEConfig
from models.sd15.blocks import Downsample, ResnetBlock, Upsample
from models.sd15.tiny_decoder import TinyDecoder

LATENT_SCALE: Final = 0.18215
GROUPS: Final = 32
EPS: Final = 1e-6


class MidAttention(KernelUser, nn.Module):
    """One head over all places, as wide as the features; residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group_norm = GroupNorm32(GROUPS, width, EPS)
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, L, C)
        q, k, v = (layer(tokens).unsqueeze(1) for layer in (self.to_q, self.to_k, self.to_v))
        out = self.to_out[0](attention(q, k, v, backend=self.backend).squeeze(1))
        return out.transpose(1, 2).unflatten(2, x.shape[2:]) + x


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([MidAttention(width)])
        self.resnets = nn.ModuleList(ResnetBlock(width, width, 0, GROUPS, EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Level(nn.Module):
    """Residual blocks of one width, and the way to the next level."""

    def __init__(self, c_in: int, width: int, blocks: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(c_in if i == 0 else width, width, 0, GROUPS, EPS) for i in range(blocks)
        )
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        for part in (*self.resnets, *self.downsamplers, *self.upsamplers):
            x = part(x)
        return x


class Encoder(nn.Module):
    """Pictures in [-1, 1] to twice the latent channels."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        widths = cfg.widths
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        here = widths[0]
        for index, width in enumerate(widths):
            level = Level(here, width, cfg.blocks)
            if index + 1 < len(widths):
                level.downsamplers.append(Downsample(width, lopsided=True))
            self.down_blocks.append(level)
            here = width
        self.mid_block = Middle(here)
        self.conv_norm_out = GroupNorm32(GROUPS, here, EPS)
        self.conv_out = nn.Conv2d(here, 2 * cfg.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down_blocks:
            h = level(h)
        return self.conv_out(self.conv_norm_out.then_silu(self.mid_block(h)))


class Decoder(nn.Module):
    """Latents to pictures in [-1, 1]; one residual block more a level than the encoder."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        widths = cfg.widths[::-1]
        self.conv_in = nn.Conv2d(cfg.latent_channels, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0])
        self.up_blocks = nn.ModuleList()
        here = widths[0]
        for index, width in enumerate(widths):
            level = Level(here, width, cfg.blocks + 1)
            if index + 1 < len(widths):
                level.upsamplers.append(Upsample(width))
            self.up_blocks.append(level)
            here = width
        self.conv_norm_out = GroupNorm32(GROUPS, here, EPS)
        self.conv_out = nn.Conv2d(here, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            h = level(h)
        return self.conv_out(self.conv_norm_out.then_silu(h))


class SDVAE(nn.Module):
    """Encoder, and either Stable Diffusion's decoder or the tiny one."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.encoder = Encoder(cfg)
        self.quant_conv = nn.Conv2d(2 * cfg.latent_channels, 2 * cfg.latent_channels, 1)
        self.decoder = None if cfg.tiny_decoder else Decoder(cfg)
        channels = cfg.latent_channels
        self.post_quant_conv = None if cfg.tiny_decoder else nn.Conv2d(channels, channels, 1)
        self.tiny_decoder = TinyDecoder(cfg.latent_channels) if cfg.tiny_decoder else None

    def moments(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance (B, C, h, w), unscaled, of pictures (B, 3, H, W) in [0, 1]."""
        if picture.ndim != 4 or picture.shape[1] != 3:
            raise ValueError(f"The VAE expects pictures of shape (B, 3, H, W), got {tuple(picture.shape)}.")
        mean, logvar = self.quant_conv(self.encoder(picture * 2 - 1)).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def encode(self, picture: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w): the posterior mean, no draw."""
        return self.moments(picture)[0] * LATENT_SCALE

    def reference(self, picture: Tensor) -> ReferenceFeatures | None:
        """None: this decoder does not look at the reference picture."""
        return None

    def decode(self, z: Tensor, reference: ReferenceFeatures | None = None) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] of scaled latents (B, C, h, w)."""
        if self.tiny_decoder is not None:
            return self.tiny_decoder(z).clamp(0, 1)
        return ((self.decode_raw(z / LATENT_SCALE) + 1) / 2).clamp(0, 1)

    def decode_raw(self, z: Tensor) -> Tensor:
        """Pictures in about [-1, 1] of unscaled latents.

        Raises:
            ValueError: this autoencoder has the tiny decoder.
        """
        if self.decoder is None or self.post_quant_conv is None:
            raise ValueError(
                "This autoencoder has the tiny decoder; choose a preset with the full one (base-vae)."
            )
        return self.decoder(self.post_quant_conv(z))

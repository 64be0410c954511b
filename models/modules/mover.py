"""The decoder that moves the reference picture's own pixels: latents to a flow, a matte and paint.

In: latents (N, C, h, w) of frames and what is kept of their reference picture. Out: `Moves`; applied to the
reference picture at any size, `frame = matte * paint + (1 - matte) * warp(reference, flow)`. What is seen in the
reference is moved, so skin, lips and lids stay as sharp as the picture that the user gave; the matte opens only
where something comes to light that the reference does not show: the inside of a mouth, a closing lid.
Runs on whichever thread calls it; holds no state.

Source: the split of a frame into moved and painted parts follows the idea of Siarohin et al. 2003.00196 (first
order motion model: dense flow and occlusion), with the true flow as supervision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.configs import VAEConfig
from models.modules.conv import ConvBlock, ReferenceFeatures, wake

FLOW_SCALE_PX: Final = 10.0
"""What the flow's layers give, times this, is in pixels of the networks' picture: so that both are of one size."""
MATTE_BIAS: Final = -2.0
"""The matte starts nearly shut: a decoder that paints before it moves never learns to move."""
EDGE_SHARE: Final = 0.06
"""Share of the box, at each side, over which flow and matte fade out."""


@dataclass(frozen=True, slots=True)
class Moves:
    """How N frames differ from their reference pictures.

    Attributes:
        flow: (N, 2, H/2, W/2) float32, where each pixel's colour comes from, (x, y) in pixels of the networks'
            picture relative to the pixel itself.
        matte: (N, 1, H, W), logits of how much is paint.
        paint: (N, 3, H, W) in [0, 1].
    """

    flow: Tensor
    matte: Tensor
    paint: Tensor


class MovingDecoder(nn.Module):
    """Latents to `Moves`. The same trunk as `models.modules.vae.Decoder`; other leaves.

    The coarse flow leaves one level before the last and its residual at the last, both at every cell, so that a
    jaw moves as one and lids still find their line. What differs between its latent and the
    reference's also says by itself how an average face would move (`direct`): features of the reference then only
    have to tell how this one differs.
    """

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        widths = cfg.widths[::-1]  # coarsest first
        kept = (widths[0] + cfg.latent_channels, *widths[1:])  # the reference's own latent comes along
        self.stem = cfg.stem
        self.enter = nn.Conv2d(cfg.latent_channels, widths[0], 3, padding=1)
        self.mix = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(kept, widths, strict=True))
        counts = [1 if index == len(widths) - 1 else cfg.blocks for index in range(len(widths))]
        self.levels = nn.ModuleList(
            nn.Sequential(*(ConvBlock(width) for _ in range(count)))
            for width, count in zip(widths, counts, strict=True)
        )
        self.ups = nn.ModuleList(nn.Conv2d(a, 4 * b, 3, padding=1) for a, b in pairwise(widths))
        self.coarse = nn.Conv2d(widths[-2], 2, 3, padding=1)
        self.direct = nn.Conv2d(cfg.latent_channels, 2, 1, bias=False)
        self.leave = nn.Conv2d(widths[-1], 2 + 4 * cfg.stem**2, 3, padding=1)
        wake(self)
        for leaf in (self.coarse, self.leave):  # nearly nothing: noise there would have to be unlearnt
            nn.init.normal_(leaf.weight, std=1e-4)
            nn.init.zeros_(leaf.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.direct.weight, std=0.2)

    def mix_reference(self, reference: ReferenceFeatures) -> ReferenceFeatures:
        """The features as the levels add them, finest first; after them what takes the direct flow back to rest."""
        if reference.mixed:
            return reference
        mixes = list(self.mix)[::-1]  # finest first, as the features
        levels = tuple(mix(level) for mix, level in zip(mixes, reference.levels, strict=True))
        own = reference.levels[-1][:, -self.enter.in_channels :]
        return ReferenceFeatures(reference.picture, (*levels, -self.direct(own)), mixed=True)

    def forward(self, z: Tensor, reference: ReferenceFeatures) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1] of raw latents (N, C, h, w), at the networks' size."""
        return compose(reference.picture, self.moves(z, reference), "bicubic").clamp(0, 1)

    def packed(self, z: Tensor, reference: ReferenceFeatures, canvas_px: int) -> Tensor:
        """The same for a canvas of that side: `packed`."""
        return packed(self.moves(z, reference), canvas_px)

    def moves(self, z: Tensor, reference: ReferenceFeatures) -> Moves:
        """What raw latents (N, C, h, w) say of N frames."""
        *levels, rest = self.mix_reference(reference).levels
        x = self.enter(z)
        coarse = None
        for index, level in enumerate(self.levels):
            x = level(x + levels[-1 - index])
            if index == len(self.levels) - 2:
                coarse = self.coarse(F.silu(x))
            if index < len(self.ups):
                x = F.pixel_shuffle(self.ups[index](F.silu(x)), 2)
        assert coarse is not None
        coarse = coarse + stretched(self.direct(z) + rest, coarse)
        return read_leaves(coarse, self.leave(F.silu(x)), self.stem)


def read_leaves(coarse: Tensor, leaves: Tensor, stem: int) -> Moves:
    """What the last layers say: coarse flow (N, 2, H/4, W/4); its residual, matte and paint (N, 18, H/2, W/2)."""
    flow = doubled(coarse.float()) + leaves[:, :2].float()
    shuffled = F.pixel_shuffle(leaves[:, 2:].float(), stem)
    return Moves(flow * FLOW_SCALE_PX, shuffled[:, 3:] + MATTE_BIAS, torch.sigmoid(shuffled[:, :3]))


def stretched(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, h, w) at the height and width of another map."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def doubled(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W), between cell centres."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@lru_cache(maxsize=16)
def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """(H, W, 2) pixel centres, (x, y), in pixels."""
    rows = torch.arange(height, device=device) + 0.5
    columns = torch.arange(width, device=device) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1)


def warp(picture: Tensor, flow: Tensor, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Fetch every pixel from where the flow says.

    Args:
        picture: (N, C, H, W).
        flow: (N, 2, H, W) in pixels.
        mode: bicubic keeps the detail, bilinear is the milder one to learn through.
    """
    height, width = picture.shape[2:]
    at = _centres(height, width, flow.device) + flow.permute(0, 2, 3, 1)
    places = torch.stack((at[..., 0] * (2 / width) - 1, at[..., 1] * (2 / height) - 1), dim=-1)
    return F.grid_sample(picture, places.to(picture.dtype), mode, padding_mode="border", align_corners=False)


@lru_cache(maxsize=16)
def edge_window(height: int, width: int, device: torch.device) -> Tensor:
    """(H, W) from 0 at the border to 1 inside: nothing moves or is painted at the box's edge, so it has no seam."""
    return torch.minimum(edge_ramp(width, device), edge_ramp(height, device)[:, None])


def edge_ramp(size: int, device: torch.device) -> Tensor:
    """(size,) of a line across the box: from 0 at its ends to 1 inside."""
    place = torch.arange(size, device=device) + 0.5
    near = (torch.minimum(place, size - place) / (EDGE_SHARE * size)).clamp(0, 1)
    return near * near * (3 - 2 * near)


def packed(moves: Moves, canvas_px: int) -> Tensor:
    """Moves as `models.framing.picture_warp.PictureWarp` takes them, on a canvas of that side.

    Returns:
        (N, H, W, 8) float32: flow x and y in [-1, 1] of the canvas, matte, paint, two that say nothing.
    """
    flow = doubled(moves.flow).permute(0, 2, 3, 1) * (2.0 / canvas_px)
    height, width = flow.shape[1:3]
    window = edge_window(height, width, flow.device)
    out = torch.zeros(*flow.shape[:3], 8, device=flow.device)
    out[..., :2] = flow * window.unsqueeze(-1)
    out[..., 2] = torch.sigmoid(moves.matte[:, 0]) * window
    out[..., 3:6] = moves.paint.permute(0, 2, 3, 1)
    return out


def compose(picture: Tensor, moves: Moves, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """The frames (N, 3, H, W) that moves make of reference pictures (N, 3, H, W) of the networks' size."""
    window = edge_window(*picture.shape[2:], picture.device)
    moved = warp(picture.float(), doubled(moves.flow) * window, mode)
    return torch.lerp(moved, moves.paint, torch.sigmoid(moves.matte) * window)

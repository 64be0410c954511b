"""Skin, painted: an atlas of MakeHuman's blended with another, tinted, and given what an atlas of 512 px lacks.

In: `Traits`, `Assets`, `Anatomy`. Out: a `Skin`: albedo, gloss and bumps over the head's maps, and the plain albedo
of the body. Tone is set by a target colour, so that two atlases give many people; pores, blotches, freckles,
moles, age lines, lip creases, stubble and make-up are drawn over it. Colours are linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.anatomy import MAP_SIZE, Anatomy, blur, crop_map
from distill.corpus.heads.assets import Assets
from distill.corpus.heads.traits import Traits

_LUMA: Final = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True, slots=True)
class Skin:
    """Painted skin.

    Attributes:
        head: (6, 900, 450) red, green, blue albedo, gloss, and bumps along x and y, over the maps.
        body: (3, H, W) albedo over all of uv.
        tone: (3,) mean albedo of the cheeks.
    """

    head: Tensor
    body: Tensor
    tone: Tensor


def linear(srgb: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def luma(colour: Tensor) -> Tensor:
    """Luminance (...) of linear (3, ...)."""
    return colour[0] * _LUMA[0] + colour[1] * _LUMA[1] + colour[2] * _LUMA[2]


def noise(rng: np.random.Generator, size: tuple[int, int], grain: float) -> Tensor:
    """Smooth noise (H, W), about unit variance, with features of ``grain`` pixels."""
    height, width = (max(2, int(side / grain) + 2) for side in size)
    coarse = torch.from_numpy(rng.standard_normal((1, 1, height, width)).astype(np.float32))
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)[0, 0]


def spots(rng: np.random.Generator, places: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Soft round spots (H, W) of random strength at places (K, 2) of rows and columns."""
    picture = torch.zeros(size)
    row, column = places.long().unbind(1)
    inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    strength = torch.from_numpy(rng.uniform(0.3, 1.0, len(places)).astype(np.float32))
    picture.index_put_((row[inside], column[inside]), strength[inside], accumulate=True)
    return (blur(picture[None], sigma)[0] * (2 * torch.pi * sigma**2)).clamp(0, 1)


def _colour(*values: float) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def paint_skin(traits: Traits, assets: Assets, head: Anatomy) -> Skin:
    """Paint the skin of a person."""
    rng = traits.random(3)
    first, second = (_atlas(assets, name) for name in traits.skins)
    share = traits.skin_share
    atlas = first * share + second * (1 - share)
    albedo = crop_map(atlas)
    albedo = (albedo + 0.7 * (albedo - blur(albedo, 3.0))).clamp(0.003, 1.0)
    target = _target_tone(traits, rng)
    cheeks = head.maps["cheek"] > 0.5
    gain = (target / albedo[:, cheeks].mean(1)).view(3, 1, 1)
    albedo, body = albedo * gain, (atlas * gain).clamp(0.003, 0.95)
    broad = blur(albedo, 40.0)
    contrast = float(rng.uniform(0.75, 1.0)) * (0.8 if traits.dark else 1.0)
    albedo = broad * (albedo / broad.clamp_min(1e-4)).clamp(0.05, 4) ** contrast
    height = _relief(albedo, rng, traits, head)
    albedo = _add_grain(albedo, rng, traits)
    albedo = _add_marks(albedo, rng, traits, head)
    albedo = _add_blush(albedo, rng, traits, head)
    albedo, lip_gloss = _paint_lips(albedo, target, rng, traits, head)
    albedo = _add_make_up(albedo, rng, traits, head)
    albedo = _add_hair_roots(albedo, rng, traits, head)
    gloss = 1 + 0.6 * head.maps["shiny"] * float(rng.uniform(0, 1)) + lip_gloss
    gloss = gloss * (1 + 0.12 * noise(rng, MAP_SIZE, 40)).clamp(0.5, 1.6)
    gloss = gloss * (1 - 0.7 * torch.maximum(head.maps["scalp"], head.maps["beard"] * traits.stubble))
    across, down = _slopes(height)
    return Skin(torch.cat((albedo.clamp(0.003, 0.95), gloss[None], across[None], down[None])), body, target)


def _atlas(assets: Assets, name: str) -> Tensor:
    return linear(assets.skin(name))


def _target_tone(traits: Traits, rng: np.random.Generator) -> Tensor:
    """The albedo (3,) that the cheeks shall have."""
    if traits.dark:
        level = float(rng.uniform(0.055, 0.17)) * 1.5
        tone = (1.0, float(rng.uniform(0.50, 0.58)), float(rng.uniform(0.33, 0.42)))
    else:
        low, high = (0.24, 0.50) if traits.ancestry[0] < 0.5 else (0.15, 0.30)
        light = float(rng.uniform(low, high))
        rise = (light - 0.14) / 0.4
        level = light * 1.42
        tone = (
            1.0,
            0.56 + 0.11 * rise + float(rng.normal(0, 0.015)),
            0.41 + 0.15 * rise + float(rng.normal(0, 0.02)),
        )
    return torch.tensor(tone) * level


def _relief(albedo: Tensor, rng: np.random.Generator, traits: Traits, head: Anatomy) -> Tensor:
    """Heights (H, W): what is dark in the atlas lies deep; pores, lines of age, creases of the lips."""
    grey = albedo.mean(0).clamp_min(1e-3).log()
    fine = (grey[None] - blur(grey[None], 6.0))[0].clamp(-0.5, 0.35)
    height = blur(fine[None], 1.0)[0] * float(rng.uniform(0.5, 1.2)) * (1 + 0.8 * traits.age)
    pores = blur(torch.from_numpy(rng.standard_normal((1, *MAP_SIZE)).astype(np.float32)), 1.1)[0]
    height = height + pores * float(rng.uniform(0.10, 0.25))
    x, y, _ = head.place
    lines = torch.sin(y * 70 + 2.5 * noise(rng, MAP_SIZE, 30)) * noise(rng, MAP_SIZE, 12).clamp(min=0)
    brow = torch.exp(-0.5 * (((y - 7.75) / 0.13) ** 2 + (x / 0.35) ** 2))
    height = height + 0.35 * traits.age * brow * lines
    creases = noise(rng, (MAP_SIZE[0], MAP_SIZE[1] // 8), 2.5)
    creases = F.interpolate(creases[None, None], size=MAP_SIZE, mode="bilinear")[0, 0]
    smooth = 1 - 0.6 * torch.maximum(head.maps["scalp"], head.lips)
    return height * smooth + 0.25 * creases * head.lips


def _slopes(height: Tensor) -> tuple[Tensor, Tensor]:
    """How normals lean along x and y; the maps' rows run along x, their columns from crown to chin."""
    along_x = torch.gradient(height, dim=0)[0]
    along_y = torch.gradient(height, dim=1)[0]
    return along_x.clamp(-0.3, 0.3), along_y.clamp(-0.3, 0.3)


def _add_grain(albedo: Tensor, rng: np.random.Generator, traits: Traits) -> Tensor:
    """Blotches and the finest mottling."""
    fine = torch.from_numpy(rng.standard_normal((1, *MAP_SIZE)).astype(np.float32))
    fine = blur(fine, 1.0)[0] * 2.5
    amount = float(rng.uniform(0.5, 1.2)) * (0.6 if traits.dark else 1.0)
    grain = 0.020 * noise(rng, MAP_SIZE, 40) + 0.013 * noise(rng, MAP_SIZE, 10) + 0.020 * fine
    albedo = albedo * (1 + amount * grain)
    redness = 1 - amount * 0.022 * noise(rng, MAP_SIZE, 25).abs()
    return albedo * torch.stack((torch.ones_like(redness), redness, redness))


def _add_marks(albedo: Tensor, rng: np.random.Generator, traits: Traits, head: Anatomy) -> Tensor:
    """Freckles and moles."""
    height, width = MAP_SIZE
    if not traits.dark and rng.random() < 0.22:
        count = int(rng.uniform(80, 450))
        rows = rng.normal(0.51, 0.07, count) * height
        columns = rng.normal(0.66, 0.06, count) * width
        places = torch.from_numpy(np.stack((rows, columns), 1).astype(np.float32))
        freckles = spots(rng, places, MAP_SIZE, 1.1) * float(rng.uniform(0.3, 0.8))
        albedo = albedo * (1 - freckles * _colour(0.30, 0.45, 0.5))
    count = int(rng.integers(0, 4))
    if count:
        rows, columns = rng.uniform(0.36, 0.66, count) * height, rng.uniform(0.45, 0.85, count) * width
        places = torch.from_numpy(np.stack((rows, columns), 1).astype(np.float32))
        albedo = albedo * (1 - spots(rng, places, MAP_SIZE, 1.5) * 0.7 * _colour(0.6, 0.7, 0.75))
    return albedo


def _add_blush(albedo: Tensor, rng: np.random.Generator, traits: Traits, head: Anatomy) -> Tensor:
    """Red cheeks, nose and ears; shadows under the eyes."""
    red = float(rng.uniform(0.03, 0.25))
    for name, share in (("cheek", 1.0), ("nose", 0.9), ("ear", 0.8)):
        albedo = albedo * (1 - red * share * head.maps[name] * _colour(0.0, 0.5, 0.5))
    tired = float(rng.uniform(0, 0.3 + 0.2 * traits.age))
    return albedo * (1 - tired * head.maps["under_eye"] * _colour(0.30, 0.42, 0.36))


def _paint_lips(
    albedo: Tensor, tone: Tensor, rng: np.random.Generator, traits: Traits, head: Anatomy
) -> tuple[Tensor, Tensor]:
    """Lips in their own colour or painted; also how glossy they are, (H, W)."""
    where = blur(head.lips[None], 2.0)[0]
    if rng.random() < 0.55 * traits.make_up:
        hue = torch.tensor(rng.uniform((0.45, 0.10, 0.14), (0.82, 0.35, 0.40)).astype(np.float32))
        colour, cover = linear(hue), float(rng.uniform(0.4, 0.85))
        gloss = float(rng.uniform(0.8, 2.2))
    else:
        own = rng.uniform((0.72, 0.40, 0.44), (0.90, 0.56, 0.60)).astype(np.float32)
        low, high = (0.2, 0.5) if traits.male else (0.35, 0.75)
        colour, cover = tone * torch.from_numpy(own), float(rng.uniform(low, high))
        gloss = float(rng.uniform(0.6, 1.3))
    grey = albedo.mean(0)
    relative = (grey / blur(grey[None], 10.0)[0].clamp_min(1e-4)).clamp(0.55, 1.5)
    painted = colour.view(3, 1, 1) * relative
    return albedo * (1 - where * cover) + where * cover * painted, where * gloss


def _add_make_up(albedo: Tensor, rng: np.random.Generator, traits: Traits, head: Anatomy) -> Tensor:
    """Shadow on the lids and a line along the lashes."""
    if traits.make_up > 0.25:
        cover = head.maps["lid"] * float(rng.uniform(0.1, 0.5)) * traits.make_up
        hue = torch.from_numpy(rng.uniform(0.15, 0.5, 3).astype(np.float32))
        albedo = albedo * (1 - cover) + cover * linear(hue).view(3, 1, 1) * 0.7
    return albedo * (1 - head.maps["liner"] * (0.08 + 0.4 * traits.make_up))


def _add_hair_roots(albedo: Tensor, rng: np.random.Generator, traits: Traits, head: Anatomy) -> Tensor:
    """Stubble where a beard grows, and the scalp darkened by hair, which begins in single hairs."""
    colour = torch.from_numpy(traits.hair_colour).view(3, 1, 1)
    grown = (torch.from_numpy(rng.random(MAP_SIZE, dtype=np.float32)) < 0.45).float()
    grown = blur(grown[None], 0.8)[0]
    stubble = max(traits.stubble, 0.35 if traits.beard == "full" else 0.0)
    if stubble > 0.02:
        cover = (head.maps["beard"] * stubble * (0.4 + 0.9 * grown)).clamp(0, 0.85)
        albedo = albedo * (1 - cover) + cover * colour * 0.9
    if traits.hair:
        edge = (blur(head.maps["scalp"][None], 9.0)[0] + 0.16 * noise(rng, MAP_SIZE, 5)).clamp(0, 1)
        cover = (edge**1.5 * (0.55 + 0.6 * grown)).clamp(0, 0.92) * (
            0.75 if traits.hair == "cropped" else 0.85
        )
        albedo = albedo * (1 - cover) + cover * colour * 0.8
    return albedo

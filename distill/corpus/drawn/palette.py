"""Colours of characters: uniform draws in, sRGB colours (B, 3) in [0, 1] out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SKIN = (
    (255, 228, 210), (249, 212, 184), (238, 190, 155), (220, 163, 122),
    (193, 131, 90), (158, 101, 68), (120, 75, 52), (92, 57, 42),
)  # fmt: skip
_HAIR = (
    (34, 28, 33), (58, 38, 32), (92, 58, 38), (133, 86, 50), (184, 128, 70), (229, 190, 122),
    (168, 72, 38), (120, 46, 34), (196, 190, 188), (92, 92, 104),
)  # fmt: skip
_HAIR_DEEP = ((34, 28, 33), (44, 32, 32), (58, 38, 32), (84, 52, 38), (150, 148, 152))
_FASHION = ((236, 122, 150), (150, 118, 208), (84, 120, 204), (206, 78, 88))
_HELD_OUT_FASHION = ((38, 166, 154), (72, 178, 128), (60, 150, 170), (120, 190, 120))
_IRIS = (
    (86, 54, 34),
    (120, 78, 42),
    (70, 120, 168),
    (88, 140, 96),
    (124, 144, 156),
    (156, 112, 50),
    (64, 46, 44),
)
_IRIS_DEEP = ((86, 54, 34), (120, 78, 42), (64, 46, 44), (140, 96, 50))
_CLOTH = (
    (52, 72, 110), (196, 84, 72), (232, 178, 84), (72, 128, 116), (238, 232, 220), (60, 58, 66),
    (142, 98, 148), (108, 150, 196), (214, 132, 140), (122, 136, 84), (180, 66, 92), (84, 106, 160),
)  # fmt: skip
_BACK = (
    ((250, 214, 180), (238, 158, 138)),
    ((190, 222, 236), (112, 162, 206)),
    ((206, 228, 202), (122, 174, 156)),
    ((226, 208, 240), (156, 134, 200)),
    ((250, 232, 190), (230, 184, 104)),
    ((236, 232, 226), (184, 180, 182)),
    ((108, 128, 168), (48, 56, 96)),
    ((246, 206, 212), (214, 134, 160)),
    ((120, 164, 164), (44, 82, 98)),
)


def _table(colours: Sequence[tuple[int, int, int]]) -> Tensor:
    return torch.tensor(colours, dtype=torch.float32) / 255.0


def _pick(colours: Sequence[tuple[int, int, int]], u: Tensor) -> Tensor:
    table = _table(colours)
    return table[(u * len(table)).long().clamp_max(len(table) - 1)]


def _vary(colour: Tensor, u: Tensor, amount: float) -> Tensor:
    """Lighten or darken by up to ``amount``."""
    return (colour * (1.0 + amount * (2.0 * u - 1.0)).unsqueeze(-1)).clamp(0.0, 1.0)


def saturate(colour: Tensor, amount: Tensor | float) -> Tensor:
    """Scale the distance of (..., 3) colours from their own grey by ``amount``."""
    grey = (colour * colour.new_tensor([0.30, 0.59, 0.11])).sum(-1, keepdim=True)
    return (grey + (colour - grey) * amount).clamp(0.0, 1.0)


def skin(tone: Tensor, warmth: Tensor) -> Tensor:
    """Skin between the palest and the deepest anchor, a little rosier or more golden."""
    table = _table(_SKIN)
    place = tone * (len(table) - 1)
    low = place.long().clamp_max(len(table) - 2)
    colour = torch.lerp(table[low], table[low + 1], (place - low).unsqueeze(-1))
    shift = (warmth - 0.5).unsqueeze(-1) * colour.new_tensor([0.02, -0.015, -0.05])
    return (colour + shift).clamp(0.0, 1.0)


def hair(u: Tensor, shade: Tensor, fashion: Tensor, deep: Tensor, held_out: bool) -> Tensor:
    """Natural hair, dark where ``deep``, or a fashion colour; the held-out split has its own, green-blue."""
    natural = torch.where(deep.unsqueeze(-1), _pick(_HAIR_DEEP, u), _pick(_HAIR, u))
    dyed = _pick(_HELD_OUT_FASHION if held_out else _FASHION, u)
    share = 0.4 if held_out else 0.13
    return _vary(torch.where((fashion < share).unsqueeze(-1), dyed, natural), shade, 0.12)


def iris(u: Tensor, shade: Tensor, deep: Tensor) -> Tensor:
    """Iris colour, brown where ``deep``."""
    return _vary(torch.where(deep.unsqueeze(-1), _pick(_IRIS_DEEP, u), _pick(_IRIS, u)), shade, 0.15)


def lip(skin_colour: Tensor, hue: Tensor, strength: Tensor, painted: Tensor) -> Tensor:
    """Lip colour: the skin turned towards rose; stronger where ``painted``."""
    rose = torch.lerp(_table(((206, 84, 90),)), _table(((176, 54, 92),)), hue.unsqueeze(-1))
    deep = skin_colour * skin_colour.new_tensor([0.86, 0.62, 0.60])
    amount = torch.where(painted, 0.35 + 0.5 * strength, 0.08 + 0.18 * strength)
    return torch.lerp(
        deep, rose * (0.45 + 0.55 * skin_colour.mean(-1, keepdim=True)) * 1.1, amount.unsqueeze(-1)
    )


def cloth(u: Tensor, v: Tensor, shade: Tensor) -> tuple[Tensor, Tensor]:
    """Garment and accent colours."""
    return _vary(_pick(_CLOTH, u), shade, 0.1), _pick(_CLOTH, (u + 0.15 + 0.7 * v) % 1.0)


def frame(u: Tensor, accent: Tensor) -> Tensor:
    """Spectacle frames: dark, brown, gold or the accent colour."""
    base = _pick(((34, 32, 38), (92, 54, 36), (190, 150, 84), (30, 40, 70)), u)
    return torch.where((u * 7 % 1 < 0.25).unsqueeze(-1), accent * 0.8, base)


def backdrop(u: Tensor, shade: Tensor, swap: Tensor) -> tuple[Tensor, Tensor]:
    """Two background colours, light and deep."""
    table = torch.tensor(_BACK, dtype=torch.float32) / 255.0
    pair = table[(u * len(table)).long().clamp_max(len(table) - 1)]
    light_first = (swap < 0.7).view(-1, 1)
    first = torch.where(light_first, pair[:, 0], pair[:, 1])
    second = torch.where(light_first, pair[:, 1], pair[:, 0])
    return _vary(first, shade, 0.06), _vary(second, shade, 0.06)


def light(u: Tensor) -> Tensor:
    """Tint of the key light, from cool to warm."""
    return torch.lerp(_table(((214, 228, 255),)), _table(((255, 232, 196),)), u.unsqueeze(-1))

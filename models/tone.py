"""A picture of one tone stays one: black and white, sepia, ink on coloured paper.

In: the face box of a reference picture. Out: its tone, colour as a function of lightness where it is one; and boxes
that a decoder drew, whose every colour is then what the reference has for that lightness. A student that learned
from pictures in colour gives grey faces red lips and brown lids. Pictures in colour pass unchanged, to the bit.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601
NEAR: Final = 0.04
"""How far a colour may lie from the tone, in any channel: ten steps of 255, which is what JPEG leaves."""
STRAY: Final = 0.002
"""Share of pixels that may lie farther. Lips alone are ten times as many, so a face in colour never passes."""


def fit_tone(box: Tensor) -> Tensor:
    """Colour as a polynomial of lightness, if the picture is of one tone.

    Args:
        box: (1, 3, h, w) in [0, 1].

    Returns:
        (1, 3, 4): per channel the coefficients of 1, Y and Y², and 1 where the picture has one tone, else 0.
    """
    colours = box[0].flatten(1).double().T  # (N, 3)
    lightness = colours @ colours.new_tensor(LUMA)
    powers = torch.stack((torch.ones_like(lightness), lightness, lightness.square()), dim=1)  # (N, 3)
    square = powers.T @ powers + 1e-6 * torch.eye(3, dtype=powers.dtype, device=box.device)
    coefficients = torch.linalg.solve(square, powers.T @ colours)
    stray = ((colours - powers @ coefficients).abs().amax(dim=1) > NEAR).double().mean()
    one = (stray <= STRAY).double().expand(3, 1)
    return torch.cat((coefficients.T, one), dim=1)[None].to(box.dtype)


def keep_tone(boxes: Tensor, tones: Tensor) -> Tensor:
    """Give boxes the colours of their references' tones.

    Args:
        boxes: (B, 3, h, w) in [0, 1].
        tones: (B, 3, 4) from `fit_tone`.

    Returns:
        (B, 3, h, w) in [0, 1]; rows whose reference is in colour as they were.
    """
    one = tones[:, :, 3:, None] > 0.5
    if boxes.device.type == "cpu" and not one.any():  # on CUDA the answer would have to be waited for
        return boxes
    red, green, blue = (share * boxes[:, channel : channel + 1] for channel, share in enumerate(LUMA))
    lightness = red + green + blue
    base, slope, bend = (tones[:, :, power, None, None] for power in range(3))
    toned = (base + lightness * (slope + lightness * bend)).clamp(0, 1)
    return torch.where(one, toned, boxes)

"""The camera: where a head's points fall on the canvas, and what a photograph makes of the light.

In: points in the head's space, or linear light. Out: view-space points and canvas places; finished pictures. The
face is framed as photographs are (`models.face`: eyes and mouth corners on their lines, by the same weighted
similarity as `distill.prepare.framing`), a little wrongly, as detectors do.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from distill.corpus.heads.anatomy import Anatomy, blur
from distill.corpus.heads.drawing.skin import luma
from distill.corpus.heads.photo import Camera
from distill.corpus.heads.rig import Rig, rotation
from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, MOUTH_LINE_Y

_EYES_TO_MIDDLE: Final = (0.0, -0.38, -0.65)
"""From between the eyes to the head's middle, which the camera looks at and the head turns about."""
_MIDDLE: Final = CANVAS_PX / 2
_LINES: Final = (
    complex(_MIDDLE - EYE_SPREAD_X, EYE_LINE_Y),
    complex(_MIDDLE + EYE_SPREAD_X, EYE_LINE_Y),
    complex(_MIDDLE, MOUTH_LINE_Y),
)
_WEIGHTS: Final = (0.4, 0.4, 0.2)


@dataclass(frozen=True, slots=True)
class View:
    """A perspective camera on the z axis, ``distance`` before the pivot."""

    turn: Tensor  # (3, 3) head space to view space
    pivot: Tensor  # (3,)
    distance: float
    focal: float  # canvas px
    centre: complex  # canvas px

    def place(self, points: Tensor) -> Tensor:
        """View-space points (..., 3)."""
        return (points - self.pivot) @ self.turn.T

    def screen(self, placed: Tensor, scale: float = 1.0, left: float = 0.0, top: float = 0.0) -> Tensor:
        """Places (..., 3): column, row and inverse depth of view-space points.

        Args:
            placed: (..., 3).
            scale: pixels a canvas pixel.
            left: first column of the window, in its own pixels; ``top`` alike.
        """
        near = 1.0 / (self.distance - placed[..., 2])
        x = (self.focal * placed[..., 0] * near + self.centre.real) * scale - left
        y = (self.centre.imag - self.focal * placed[..., 1] * near) * scale - top
        return torch.stack((x, y, near), -1)

    @property
    def pixels_per_dm(self) -> float:
        """Canvas pixels a decimetre at the face."""
        return self.focal / (self.distance - 0.6)


def frame_face(camera: Camera, rig: Rig, head: Anatomy) -> View:
    """The view that puts a face at rest on the canvas' lines."""
    angles = (torch.tensor(value) for value in (camera.yaw, camera.pitch, camera.roll))
    turn = rotation(*angles)
    pivot = rig.eye_centres().mean(0) + torch.tensor(_EYES_TO_MIDDLE)
    body = rig.pose(torch.zeros(1, 6), torch.zeros(1, 4)).body[0]
    eyes = rig.eye_centres(body) + torch.tensor([0.0, 0.0, 0.15])
    corners = body[list(head.mouth_corners)].mean(0, keepdim=True)
    points = (torch.stack((eyes[1], eyes[0], corners[0])) - pivot) @ turn.T
    near = camera.distance - points[:, 2]
    seen = [complex(x, y) for x, y in zip(points[:, 0] / near, -points[:, 1] / near, strict=True)]
    middle = sum(w * z for w, z in zip(_WEIGHTS, seen, strict=True))
    goal = sum(w * z for w, z in zip(_WEIGHTS, _LINES, strict=True))
    above = sum(
        w * (z - middle).conjugate() * (t - goal) for w, z, t in zip(_WEIGHTS, seen, _LINES, strict=True)
    )
    scale = above / sum(w * abs(z - middle) ** 2 for w, z in zip(_WEIGHTS, seen, strict=True))
    scale *= cmath.exp(camera.off_scale)
    # the similarity's turn is given to the head, whose picture then needs no turning
    roll = torch.tensor(-cmath.phase(scale))
    shift = goal - scale * middle
    shift += 1j * (EYE_LINE_Y - (scale * (seen[0] + seen[1]) / 2 + shift).imag)
    upright = rotation(torch.zeros(()), torch.zeros(()), roll) @ turn
    centre = shift + complex(camera.off_x, camera.off_y)
    return View(upright, pivot, camera.distance, abs(scale), centre)


def look_at_camera(view: View, rig: Rig, off: tuple[float, float]) -> tuple[float, float]:
    """(yaw, pitch) of eyeballs that look into the camera, a little past it."""
    eyes = (rig.eye_centres().mean(0) - view.pivot) @ view.turn.T
    towards = view.turn.T @ (torch.tensor([0.0, 0.0, view.distance]) - eyes)
    yaw = torch.atan2(towards[0], towards[2])
    pitch = -0.75 * torch.atan2(towards[1], torch.hypot(towards[0], towards[2]))
    return float(yaw) + off[0], float(pitch) + off[1]


def expose(camera: Camera, skin: Tensor, albedo: Tensor) -> float:
    """The gain that gives skin of colours (3, P) and an albedo (3,) its place in the picture."""
    wanted = camera.exposure * (float(luma(albedo)) / 0.30) ** 0.68
    return 0.55 * wanted / max(1e-3, float(luma(skin).median()))


def develop(light: Tensor, camera: Camera, grain: Tensor) -> Tensor:
    """A photograph (N, H, W, 3) uint8 of exposed linear light (N, 3, H, W).

    Args:
        light: exposed light.
        camera: tone, colour, sharpness.
        grain: (N, 3, H, W) of about unit variance, moved along with what it lies on.
    """
    count, _, height, width = light.shape
    picture = light * torch.from_numpy(camera.white).to(light.device).view(1, 3, 1, 1)
    if camera.vignette > 0:
        y = (torch.arange(height, device=light.device) + 0.5) / height - 0.5
        x = (torch.arange(width, device=light.device) + 0.5) / width - 0.5
        picture = picture * (1 - camera.vignette * 2 * (y.view(-1, 1) ** 2 + x**2))
    grey = luma(picture.transpose(0, 1)).unsqueeze(1)
    picture = (grey + (picture - grey) * camera.saturation).clamp(min=0)
    bright = picture * 1.15
    bright = (bright * (1 + bright / 4.84) / (1 + bright * 0.72)).clamp(0, 1)
    tone = torch.where(
        bright <= 0.0031308, 12.92 * bright, 1.055 * bright.clamp_min(1e-6) ** (1 / 2.4) - 0.055
    )
    tone = 0.5 + (tone - 0.5) * camera.contrast
    flat = tone.flatten(0, 1)
    pixel = width / CANVAS_PX
    if camera.blur_px > 0.2:
        flat = blur(flat, camera.blur_px * pixel)
    if camera.sharpening > 0.02:
        flat = flat + camera.sharpening * (flat - blur(flat, 1.2 * pixel))
    tone = flat.view(count, 3, height, width) + camera.noise * grain
    return (tone.clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1)

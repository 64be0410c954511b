"""Channels in, moved flesh out: how mouth, lids, gaze and brows of the corpus move MakeHuman's face units.

In: a face at rest, mouth (N, 6) `MOUTH_DIMS` and expression (N, 4) `EXPRESSION_DIMS`, as the drawn corpus takes
them. Out: a `Pose`: body, eyeballs, teeth and tongue of every frame. The face's own resting look (a trace of smile
or frown) lies beneath. Lips meet at `open` 0, by solving how far the jaw has to close. Decimetres, as `assets`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from distill.corpus.heads import anatomy
from distill.corpus.heads.anatomy import Anatomy, ease
from distill.corpus.heads.assets import HEAD_SCALE, TEETH_SCALE, Assets, Part, Target
from distill.corpus.heads.shape import blink_gain
from distill.corpus.heads.traits import Traits

GAZE_X: Final = math.radians(24)
GAZE_Y: Final = math.radians(17)
"""Turn of the eyeballs at gaze 1."""
_JAW: Final = 0.60
_GAP: Final = 0.006
_JAW_PER_GAP: Final = 0.345


@dataclass(frozen=True, slots=True)
class Pose:
    """N frames of one face's flesh."""

    body: Tensor  # (N, 19158, 3)
    eyes: Tensor  # (N, 2, 3, 3) rotations of left and right eyeball
    teeth: Tensor  # (N, P, 3)
    tongue: Tensor  # (N, P, 3)
    gap: Tensor  # (N,) between the lips
    lips_z: Tensor  # (N,) how far to the front the inner lips are


class Rig:
    """One face that can be moved.

    Attributes:
        rest: vertices (19158, 3) without expression.
        straight: (yaw, pitch) of the eyeballs at gaze 0.
    """

    def __init__(self, traits: Traits, assets: Assets, head: Anatomy, rest: Tensor) -> None:
        self._assets, self._head = assets, head
        self.rest = rest
        self.straight = (0.0, 0.0)
        rng = traits.random(2)
        self._left, self._right = float(rng.uniform(0.85, 1.1)), float(rng.uniform(0.85, 1.1))
        looks = {
            "mouthSmile": rng.normal(0.08, 0.08), "mouthFrown": rng.normal(-0.08, 0.06),
            "eyeSquint": rng.normal(0.0, 0.10), "eyeWide": rng.normal(0.12, 0.15),
            "browDown": rng.normal(-0.2, 0.08), "browInnerUp": rng.normal(0.34, 0.14),
            "browOuterUp": rng.normal(0.14, 0.12), "mouthPress": rng.normal(0.0, 0.08),
        }  # fmt: skip
        self._look = {name: float(value) for name, value in looks.items() if value > 0.01}
        self._jaw_gain = float(rng.uniform(0.85, 1.1))
        self._blink_gain, self._rest_jaw = 1.0, 0.0
        self._own_units = {
            name: _without_eyeballs(assets.targets[f"unit/{name}"])
            for name in ("eyeLookUpLeft", "eyeLookUpRight", "eyeLookDownLeft", "eyeLookDownRight")
        }
        for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight"):
            self._own_units[name] = _below_hairline(assets.targets[f"unit/{name}"], assets.base)
        self._teeth: Part = assets.part(f"teeth/{traits.teeth}")
        self._tongue: Part = assets.part("tongue/tongue01")
        self.upper_teeth = self._teeth.references[:, 0] >= 15_060  # (P,) bool
        self._upper_drop = float(rng.uniform(0.03, 0.07))
        self._lower_drop = float(rng.uniform(0.05, 0.09))
        self._calibrate()

    def _calibrate(self) -> None:
        """Close the lips at rest and the lids at blink 1."""
        still, shut = torch.zeros(1, 6), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
        body = self._flesh(still, torch.zeros(1, 4))
        gap = float(body[0, anatomy.UPPER_LIP, 1] - body[0, anatomy.LOWER_LIP, 1])
        self._rest_jaw = -(gap - _GAP) / _JAW_PER_GAP
        eyes = (anatomy.UPPER_LID, anatomy.LOWER_LID)
        open_gap = body[0, eyes[0], 1] - body[0, eyes[1], 1]
        closed = self._flesh(still, shut)
        self._blink_gain = blink_gain(open_gap, closed[0, eyes[0], 1] - closed[0, eyes[1], 1])

    def eye_centres(self, body: Tensor | None = None) -> Tensor:
        """Centres of the left and right eyeball, (2, 3), or (N, 2, 3) of bodies."""
        body = self.rest if body is None else body
        return torch.stack(
            (body[..., anatomy.LEFT_EYE, :].mean(-2), body[..., anatomy.RIGHT_EYE, :].mean(-2)), -2
        )

    def pose(self, mouth: Tensor, expression: Tensor, smile: Tensor | None = None) -> Pose:
        """Move the face.

        Args:
            mouth: (N, 6) `MOUTH_DIMS`.
            expression: (N, 4) `EXPRESSION_DIMS`.
            smile: (N,) 0..1 of a smile beside the channels, for references; None means none.
        """
        body = self._flesh(mouth, expression, smile)
        upper, lower = body[:, anatomy.UPPER_LIP], body[:, anatomy.LOWER_LIP]
        teeth = self._place_teeth(body)
        tongue = self._place_tongue(body, mouth)
        yaw = GAZE_X * expression[:, 1] + self.straight[0]
        pitch = -GAZE_Y * expression[:, 2] + self.straight[1]
        turn = rotation(yaw, pitch, torch.zeros_like(yaw))
        return Pose(
            body,
            torch.stack((turn, turn), 1),
            teeth,
            tongue,
            upper[:, 1] - lower[:, 1],
            torch.maximum(upper[:, 2], lower[:, 2]) - 0.02,
        )

    def _add(
        self, body: Tensor, name: str, weight: Tensor | float, left: float = 1.0, right: float = 1.0
    ) -> None:
        """Add a unit, or both sides of one, to (N, V, 3)."""
        if not isinstance(weight, Tensor):
            weight = torch.full((body.shape[0],), weight)
        if not bool((weight != 0).any()):
            return
        units = self._assets.targets
        if f"unit/{name}" in units:
            (self._own_units.get(name) or units[f"unit/{name}"]).add_to(body, weight)
            return
        for side, gain in (("Left", left), ("Right", right)):
            unit = self._own_units.get(name + side) or units[f"unit/{name}{side}"]
            unit.add_to(body, weight * gain)

    def _flesh(self, mouth: Tensor, expression: Tensor, smile: Tensor | None = None) -> Tensor:
        """The body (N, 19158, 3)."""
        body = self.rest.expand(mouth.shape[0], -1, -1).clone()
        for name, weight in self._look.items():
            self._add(body, name, weight, self._left, self._right)
        self._add(body, "jawOpen", self._rest_jaw)
        self._move_mouth(body, mouth)
        if smile is not None:
            self._add(body, "mouthSmile", smile, self._left, self._right)
            self._add(body, "cheekSquint", 0.5 * smile)
        self._move_eyes(body, expression)
        return body

    def _move_mouth(self, body: Tensor, mouth: Tensor) -> None:
        """Jaw and lips."""
        opened, width, rounded, teeth, _, tuck = mouth.clamp(-1, 1).unbind(1)
        shown = teeth * (opened / 0.12).clamp(max=1.0)
        self._add(body, "jawOpen", (_JAW * opened + 0.05 * shown) * self._jaw_gain + 0.08 * tuck)
        self._add(body, "mouthLowerDown", 0.28 * opened * (1 - tuck) + 0.12 * shown)
        self._add(body, "mouthUpperUp", 0.12 * opened + 0.45 * shown + 0.25 * tuck)
        spread, narrow = width.clamp(min=0), (-width).clamp(min=0)
        self._add(body, "mouthStretch", 0.55 * spread)
        self._add(body, "mouthSmile", 0.30 * spread, self._left, self._right)
        self._add(body, "mouthDimple", 0.2 * spread)
        self._add(body, "mouthFunnel", 0.75 * rounded * (0.35 + 0.65 * (opened / 0.35).clamp(max=1.0)))
        pucker = 0.75 * rounded * (1 - 0.45 * (opened / 0.6).clamp(max=1.0))
        self._add(body, "mouthPucker", 0.5 * narrow + pucker)
        self._add(body, "mouthRollLower", tuck)
        self._add(body, "mouthShrugLower", 0.25 * tuck)

    def _move_eyes(self, body: Tensor, expression: Tensor) -> None:
        """Lids and brows; lids follow the gaze."""
        blink, _, gaze_y, brow = expression.unbind(1)
        blink = blink.clamp(0, 1)
        look = gaze_y - self.straight[1] / GAZE_Y
        self._add(body, "eyeLookUp", 0.8 * look.clamp(min=0) * (1 - blink))
        self._add(body, "eyeLookDown", 0.75 * (-look).clamp(min=0) * (1 - blink))
        self._add(body, "eyeBlink", blink * self._blink_gain)
        raised = 0.7 * brow.clamp(min=0)
        self._add(body, "browInnerUp", raised)
        self._add(body, "browOuterUp", raised)
        self._add(body, "browDown", 0.8 * (-brow).clamp(min=0))

    def _place_teeth(self, body: Tensor) -> Tensor:
        """Both rows, set lower and further back than MakeHuman has them, on a narrower arch."""
        teeth = self._teeth.fit(body, self._head.base, TEETH_SCALE, self.rest)
        upper = self.upper_teeth
        drop = torch.where(upper, self._upper_drop, self._lower_drop)
        back = torch.where(upper, 0.015, 0.035)
        x, y, z = teeth[..., 0], teeth[..., 1] - drop, teeth[..., 2] - back
        middle = x.mean(1, keepdim=True)
        narrower = 0.04 + 0.10 * ((1.50 - z) / 0.25).clamp(0, 1)
        return torch.stack((middle + (x - middle) * (1 - narrower), y, z), -1)

    def _place_tongue(self, body: Tensor, mouth: Tensor) -> Tensor:
        """The tongue: a little lower than the jaw's, its tip to the upper incisors' edge as `tongue` rises."""
        tongue = self._tongue.fit(body, self._head.base, HEAD_SCALE, self.rest)
        opened, raised = mouth[:, 0:1], mouth[:, 4:5]
        x, y, z = tongue[..., 0], tongue[..., 1] - 0.03, tongue[..., 2]
        tip = ((z - 0.85) / 0.5).clamp(0, 1)
        y = y + 0.03 * _JAW * opened * self._jaw_gain * tip
        tip_y = y.gather(1, z.argmax(1, keepdim=True))
        wanted = body[:, anatomy.UPPER_LIP, 1:2] - self._upper_drop - 0.01
        y = y + raised * (wanted - tip_y).clamp(-0.05, 0.25) * tip**1.5
        return torch.stack((x, y, z + raised * 0.10 * tip), -1)

    def lip_shade(self, vertices: Tensor, pose: Pose, rate: float) -> Tensor:
        """How much light comes to places (N, P, 3) inside the mouth, 0..1: less the deeper and the less open."""
        opening = 0.6 + 0.4 * ease(0.0, 0.14, pose.gap)
        depth = (pose.lips_z.unsqueeze(1) - vertices[..., 2] - 0.02).clamp(min=0)
        return opening.unsqueeze(1) * torch.exp(-rate * depth).clamp(0.02, 1.0)


def _without_eyeballs(unit: Target) -> Target:
    """A unit that leaves the eyeballs' vertices where they are: they are turned, not bent."""
    inside = (unit.index >= anatomy.LEFT_EYE.start) & (unit.index < anatomy.RIGHT_EYE.stop)
    return Target(unit.index[~inside], unit.delta[~inside])


def _below_hairline(unit: Target, base: Tensor) -> Target:
    """A unit that fades out over the forehead, so that hair and scalp keep still."""
    fade = ease(7.95, 7.70, base[unit.index, 1]).unsqueeze(1)
    return Target(unit.index, unit.delta * fade)


def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotations (N, 3, 3): first about y, then about x, then about z."""
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).unflatten(-1, (3, 3))

    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_x = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    about_z = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    return about_z @ about_x @ about_y

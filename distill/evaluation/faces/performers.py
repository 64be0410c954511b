"""Who makes a framed picture speak: a student by its sound, or an autoencoder by somebody else's moving face.

In: a framed picture (512, 512, 3) and a `Line`. Out: frames (T, 512, 512, 3), the head held still. A student runs
through the streaming step as the live server does. An autoencoder alone has no ears: one that moves pixels is told
the line's own states of mouth and eyes, another is shown the true frames of a rendered head (`Puppet.shown`). So a
decoder can be judged long before there is a student.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from distill.evaluation.faces.line import Line
from distill.evaluation.faces.regions import OUT_PX
from distill.evaluation.measures import UInt8
from distill.evaluation.streams import stream_whole
from models.checkpoint import load_strict, read_tensors
from models.framing.picture_warp import PictureWarp, with_alpha
from models.framing.placement import Placement
from models.hop import HopControls
from models.modules.conv import ReferenceFeatures
from models.modules.mover import packed
from models.modules.vae import VAE
from models.presets import Preset
from models.streaming import Streamer
from models.tone import fit_tone, keep_tone

_BATCH: Final = 8

Shown = Callable[[Line], Tensor]
"""Face boxes (T, 3, h, w) in [0, 1] of a head that moves as a line says, its resting face first."""


class Performer(Protocol):
    """Makes framed pictures speak."""

    preset: Preset

    def perform(self, framed: UInt8, line: Line) -> UInt8:
        """Frames (T, 512, 512, 3) of a framed picture (512, 512, 3)."""
        ...


class Student:
    """A student on the streaming step, its head held still.

    Args:
        streamer: with ``move_head`` False; of any preset.
        controls: scales and evaluations.
    """

    def __init__(self, streamer: Streamer, controls: HopControls) -> None:
        self.streamer, self.controls = streamer, controls
        self.preset = streamer.preset

    def perform(self, framed: UInt8, line: Line) -> UInt8:
        """See `Performer`. Presets that draw smaller pictures are enlarged, as a page enlarges them."""
        canvas = resized(framed, self.streamer.placement.width)
        frames = stream_whole(self.streamer, canvas, line.item.audio, line.frames, line.seed, self.controls)
        return frames if frames.shape[1] == OUT_PX else np.stack([resized(frame, OUT_PX) for frame in frames])


class Puppet:
    """An autoencoder: latents of a line, or of another face's frames, drawn onto a picture.

    Args:
        vae: any of the project's own layout; its decoder may move pixels or paint them.
        preset: whose face box it draws.
        shown: the face that is imitated.
    """

    def __init__(self, vae: VAE, preset: Preset, shown: Shown) -> None:
        self.vae, self.preset, self.shown = vae.eval(), preset, shown
        self.warp = PictureWarp(Placement.canvas(OUT_PX))

    def perform(self, framed: UInt8, line: Line) -> UInt8:
        """See `Performer`: by the line's states, or from its own latent as the other face moves."""
        if self.vae.moving:
            return self.draw(framed, self.told(line))
        latents = self.encode(self.shown(line))
        return self.draw(framed, self.encode(self.box_of(framed)) + latents[1:] - latents[:1])

    @torch.inference_mode()
    def told(self, line: Line) -> Tensor:
        """Normalised latents (T, C, h, w) of a line's mouth and expression; of an autoencoder that moves pixels."""
        states = torch.cat((line.item.mouth, line.expression), 1).float()
        raw = self.vae.written(states, (self.preset.face_box[3], self.preset.face_box[2]))
        return (raw - self.vae.mean.view(1, -1, 1, 1)) / self.vae.std.view(1, -1, 1, 1)

    @torch.inference_mode()
    def encode(self, boxes: Tensor) -> Tensor:
        """Normalised latents (N, C, h, w) of face boxes (N, 3, H, W)."""
        return torch.cat([self.vae.encode(part) for part in boxes.split(_BATCH)])

    def box_of(self, framed: UInt8) -> Tensor:
        """The face box (1, 3, h, w) in [0, 1] of a framed picture, at the networks' size."""
        left, top, width, height = self.preset.face_box
        canvas = F.interpolate(
            as_tensor(framed), (self.preset.canvas_px,) * 2, mode="bilinear", antialias=True
        )
        return canvas[..., top : top + height, left : left + width]

    @torch.inference_mode()
    def draw(self, framed: UInt8, latents: Tensor) -> UInt8:
        """Frames (T, 512, 512, 3) of a framed picture (512, 512, 3) and normalised latents (T, C, h, w)."""
        box, picture = self.box_of(framed), as_tensor(framed)
        reference = self.vae.reference(box)
        assert reference is not None, "presets of this layout keep features of their reference"
        tone, draw = fit_tone(box), self._move if self.preset.moves else self._paint
        parts = [draw(picture, part, reference, tone) for part in latents.split(_BATCH)]
        return torch.cat(parts).numpy()

    def _move(self, picture: Tensor, z: Tensor, reference: ReferenceFeatures, tone: Tensor) -> Tensor:
        moves = packed(self.vae.moves(z, _spread(reference, len(z))), self.preset.canvas_px)
        paint = keep_tone(moves[..., 3:6].permute(0, 3, 1, 2), tone.expand(len(z), -1, -1))
        moves[..., 3:6] = paint.permute(0, 2, 3, 1)
        pixels = with_alpha((picture[0].permute(1, 2, 0) * 255).round().byte())
        return self.warp(pixels, None, moves, self.preset.face_box)

    def _paint(self, picture: Tensor, z: Tensor, reference: ReferenceFeatures, tone: Tensor) -> Tensor:
        """A decoder without flow, at the picture's size: its colour and matte enlarged, laid over the picture.

        Decoded over black and over white; what the two share is paint, what differs shows the picture through.
        """
        many = _spread(reference, len(z))
        black, white = (
            self.vae.decode(
                z, ReferenceFeatures(torch.full_like(many.picture, level), many.levels, many.mixed)
            )
            for level in (0.0, 1.0)
        )
        through = white - black
        colour = keep_tone(black / (1 - through).clamp(min=1e-3), tone.expand(len(z), -1, -1)).clamp(0, 1)
        left, top, width, height = (edge * OUT_PX // self.preset.canvas_px for edge in self.preset.face_box)
        large = F.interpolate(
            torch.cat((colour, 1 - through), 1), (height, width), mode="bicubic", align_corners=False
        ).clamp(0, 1)
        out = picture.expand(len(z), -1, -1, -1).clone()
        place = out[..., top : top + height, left : left + width]
        place.lerp_(large[:, :3], large[:, 3:].mean(1, keepdim=True))
        return (out * 255).round().byte().permute(0, 2, 3, 1).contiguous()


def load_autoencoder(path: Path) -> tuple[VAE, Preset] | None:
    """The autoencoder of a checkpoint of the stage "vae"; None if it is a whole model.

    Raises:
        models.checkpoint.CheckpointError: the file cannot be read.
    """
    tensors, config = read_tensors(path)
    if "role" in config or "preset" not in config:
        return None
    preset = Preset.from_dict(config["preset"])
    vae = VAE(preset.vae)
    load_strict(vae, tensors, path)
    return vae.eval(), preset


def _spread(reference: ReferenceFeatures, count: int) -> ReferenceFeatures:
    """Features of one picture for ``count`` frames."""
    levels = tuple(level.expand(count, -1, -1, -1) for level in reference.levels)
    return ReferenceFeatures(reference.picture.expand(count, -1, -1, -1), levels, reference.mixed)


def as_tensor(picture: UInt8) -> Tensor:
    """(S, S, 3) uint8 -> (1, 3, S, S) in [0, 1]."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def resized(picture: UInt8, side: int) -> UInt8:
    """A square picture (S, S, 3) at another side."""
    if picture.shape[0] == side:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))

"""Talking clips as latents: what teacher and student train on, made on demand, kept on disk.

In: a frozen VAE, a split and an index. Out: one identity speaking for ``frames`` frames: latents, reference
latents, the sound around them and the tracks that the pictures show. Item i depends on (VAE, split, quality, i)
alone. A preset that moves pixels sees each clip in a view of its own (`distill.data.views`). Quality
"moderate" spoils pictures and sound as web video does (`distill.corpus.degrade`), and says how.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from distill.corpus.degrade import (
    DEFECTS,
    VERSION,
    Defects,
    delayed,
    draw_defects,
    sound_delays,
    spoil_pictures,
)
from distill.corpus.drawn import Character, sample_identities
from distill.corpus.drawn.canvas import FULL_BOX
from distill.data.latents import ClipItem, LatentStore, Shown, are_written, fingerprint
from distill.data.pictures import random_expressions, random_mouths
from distill.data.speech_set import SpeechSet, audio_window
from distill.data.views import draw_view, mirrored
from models.face import CANVAS_PX, FACE_BOX
from models.modules.vae import VAE
from models.presets import Preset


def busy_expression(frames: int, generator: torch.Generator) -> Tensor:
    """Expressions (F, 4) with more blinks, looks and brow moves than life has, so that rare ones are learnt."""
    knots = random_expressions(frames // 6 + 3, generator)
    position = torch.arange(frames) / 6.0
    index, share = position.long(), (position % 1).unsqueeze(1)
    share = (share * 3 - 1).clamp(0, 1)  # hold, then move within two frames, as eyes do
    return knots[index] * (1 - share) + knots[index + 1] * share


class ClipSet:
    """``count`` clips of a split, encoded by ``vae``, cached under ``root`` by the VAE's fingerprint."""

    def __init__(
        self,
        root: Path,
        preset: Preset,
        vae: VAE,
        speech: SpeechSet,
        split: str,
        count: int,
        frames: int = 40,
        quality: str = "high",
        allowed: tuple[str, ...] = DEFECTS,
    ) -> None:
        """``allowed`` limits what may be wrong with moderate clips.

        Raises:
            ValueError: the preset's canvas is not the corpus'.
        """
        if preset.canvas_px != CANVAS_PX:
            raise ValueError(
                f"The corpus is drawn on {CANVAS_PX} px, the canvas of preset {preset.name} has {preset.canvas_px}."
            )
        self.preset, self.vae, self.speech = preset, vae, speech
        self.split, self.count, self.frames, self.quality = split, count, frames, quality
        self.allowed = allowed
        kind = quality if quality == "high" else f"{quality}{VERSION}"
        if allowed != DEFECTS:
            kind += "-" + "+".join(allowed)
        if len(speech) < count:  # then a clip's sound depends on their number
            kind += f"-speech{len(speech)}"
        if preset.face_box != FACE_BOX:
            kind += "-" + "x".join(map(str, preset.face_box))
        self.root = root / f"clips-{split}-{kind}-{frames}-{fingerprint(vae)}"
        self._written = are_written(preset, quality)
        self._store = LatentStore(self.root, vae, self._written)

    def __len__(self) -> int:
        return self.count

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        self._store.forget()

    def defects(self, index: int) -> Defects | None:
        """What is wrong with clip ``index``; None for a clip of high quality."""
        return None if self.quality == "high" else draw_defects(index, self.allowed)

    def __getitem__(self, index: int) -> ClipItem:
        return self._store.item(f"{index:06d}", lambda: self.shown(index, whole=not self._written))

    def picture(self, index: int) -> Tensor:
        """The picture (3, h, w) that the first reference of clip ``index`` encodes."""
        with torch.autocast("cpu", enabled=False):
            return self.shown(index, whole=not self._written).pictures[0]

    def shown(self, index: int, whole: bool = True) -> Shown:
        """Clip ``index`` before it is encoded, with all its pictures or its references alone."""
        generator = torch.Generator().manual_seed(104_729 * index + 7)
        spoken = self.speech[index % len(self.speech)]
        room = spoken.mouth.shape[0] - self.frames
        first = int(torch.randint(max(room, 1), (1,), generator=generator))
        mouth = self._shown_mouth(index, spoken.mouth, first)
        busy = bool(torch.rand(1, generator=generator) < 0.5)
        expression = (
            busy_expression(self.frames, generator)
            if busy
            else spoken.expression[first : first + self.frames]
        )
        drawn = slice(None) if whole else slice(0)
        pictures = self._draw(index, mouth[drawn], expression[drawn], generator)
        if self.preset.moves:
            pictures, turned = draw_view(pictures, self.preset.face_box, generator)
            expression = mirrored(expression) if turned else expression
        wrong = self.defects(index)
        if wrong is not None:
            pictures = spoil_pictures(pictures, wrong)
        cfg = self.preset.audio
        audio = audio_window(spoken.audio, first, self.frames, cfg.context_samples, cfg.lookahead_samples)
        return Shown(pictures, audio, mouth, expression)

    def _shown_mouth(self, index: int, track: Tensor, first: int) -> Tensor:
        """The mouth (F, 6) that the pictures show: the sound's, or a late, a drifting or another one's."""
        wrong = self.defects(index)
        if wrong is not None and wrong.has("wrong_lips"):
            other = self.speech[(index + 1 + index % 7) % len(self.speech)].mouth
            return other[: self.frames] if len(self.speech) > 1 else track.flip(0)[: self.frames]
        if wrong is None:
            return track[first : first + self.frames]
        return delayed(track, sound_delays(self.frames, wrong), first)

    def _draw(self, index: int, mouth: Tensor, expression: Tensor, generator: torch.Generator) -> Tensor:
        """Reference pictures and the clip's frames, (2 + F, 3, H, W) in [0, 1].

        They are of the face box, or of the whole canvas where a view of it is drawn afterwards.
        """
        still = torch.zeros(1, mouth.shape[1])
        mouths = torch.cat((still, random_mouths(1, generator), mouth))
        eyes = torch.cat((torch.zeros(1, expression.shape[1]), random_expressions(1, generator), expression))
        identity = sample_identities([index], split=self.split)
        box = FULL_BOX if self.preset.moves else self.preset.face_box
        return Character(identity, box).frames(mouths[None], eyes[None])[0].clamp(0, 1)

"""Talking clips as latents: what teacher and student train on, made on demand, kept on disk.

In: a frozen VAE, a split and an index. Out: one identity speaking for ``frames`` frames: latents, reference
latents, the sound around them and the tracks that the pictures show. Item i depends on (VAE, split, quality, i)
alone. Quality "moderate" spoils pictures and sound as web video does (`distill.corpus.degrade`), and says how.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from distill.data.pictures import random_expressions, random_mouths
from distill.data.speech_set import SpeechSet, audio_window
from models.face import FACE_BOX
from models.modules.vae import VAE
from models.presets import Preset


@dataclass(frozen=True, slots=True)
class ClipItem:
    """One identity speaking."""

    latents: Tensor  # (F, C, h, w)
    references: Tensor  # (2, C, h, w): neutral, and in a random pose of mouth and eyes
    audio: Tensor  # (context + F * 640 + look-ahead,)
    mouth: Tensor  # (F, 6)
    expression: Tensor  # (F, 4)


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
        """``allowed`` limits what may be wrong with moderate clips."""
        self.preset, self.vae, self.speech = preset, vae, speech
        self.split, self.count, self.frames, self.quality = split, count, frames, quality
        self.allowed = allowed
        digest = hashlib.sha1(b"".join(v.numpy(force=True).tobytes() for v in vae.state_dict().values()))
        kind = quality if quality == "high" else f"{quality}{VERSION}"
        if allowed != DEFECTS:
            kind += "-" + "+".join(allowed)
        if len(speech) < count:  # then a clip's sound depends on their number
            kind += f"-speech{len(speech)}"
        self.root = root / f"clips-{split}-{kind}-{frames}-{digest.hexdigest()[:10]}"
        self.root.mkdir(parents=True, exist_ok=True)
        self._kept: dict[int, ClipItem] = {}

    def __len__(self) -> int:
        return self.count

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        self._kept.clear()

    def defects(self, index: int) -> Defects | None:
        """What is wrong with clip ``index``; None for a clip of high quality."""
        return None if self.quality == "high" else draw_defects(index, self.allowed)

    def __getitem__(self, index: int) -> ClipItem:
        if index not in self._kept:
            path = self.root / f"{index:06d}.npz"
            if not path.is_file():
                self._make(index, path)
            with np.load(path) as stored:
                self._kept[index] = ClipItem(*(torch.from_numpy(stored[f]) for f in ClipItem.__slots__))
        item = self._kept[index]
        return ClipItem(
            item.latents.float(),
            item.references.float(),
            item.audio.float() / 32768,
            item.mouth,
            item.expression,
        )

    def _make(self, index: int, path: Path) -> None:
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
        pictures = self._draw(index, mouth, expression, generator)
        wrong = self.defects(index)
        if wrong is not None:
            pictures = spoil_pictures(pictures, wrong)
        device = self.vae.mean.device
        with torch.no_grad():  # in fp32, so that a clip is the same on every machine
            encoded = torch.cat([self.vae.encode(part.to(device)) for part in pictures.split(16)])
        latents = encoded.half().cpu().numpy()
        cfg = self.preset.audio
        audio = audio_window(spoken.audio, first, self.frames, cfg.context_samples, cfg.lookahead_samples)
        partial = path.with_suffix(f".{os.getpid()}.partial.npz")  # another process may make the same
        np.savez(
            partial,
            latents=latents[2:],
            references=latents[:2],
            audio=(audio * 32767).clamp(-32768, 32767).short().numpy(),
            mouth=mouth.numpy(),
            expression=expression.float().numpy(),
        )
        partial.replace(path)

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
        """Reference pictures and the clip's frames, (2 + F, 3, H, W) in [0, 1]."""
        still = torch.zeros(1, mouth.shape[1])
        mouths = torch.cat((still, random_mouths(1, generator), mouth))
        eyes = torch.cat((torch.zeros(1, expression.shape[1]), random_expressions(1, generator), expression))
        identity = sample_identities([index], split=self.split)
        return Character(identity, FACE_BOX).frames(mouths[None], eyes[None])[0].clamp(0, 1)

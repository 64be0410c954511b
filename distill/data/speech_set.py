"""Speech of the procedural corpus as a training set: synthesised on demand, kept on disk.

In: a split and an index. Out: a clip of sound with its mouth track at 25 fps. Item i depends on
(split, quality, i) alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.face import SAMPLES_PER_FRAME

SPLITS = {"val": "validation"}
"""The speech corpus spells one split's name out."""


@dataclass(frozen=True, slots=True)
class SpeechItem:
    """A clip: samples at 16 kHz and tracks at 25 fps."""

    audio: Tensor  # (N,)
    mouth: Tensor  # (T, 6)
    expression: Tensor  # (T, 4)
    pose: Tensor  # (T, 6)
    speaking: Tensor  # (T,) bool


class SpeechSet:
    """``count`` clips of ``seconds`` of a split, cached under ``root``."""

    def __init__(
        self, root: Path, split: str, count: int, seconds: float = 6.0, quality: str = "high"
    ) -> None:
        self.split, self.count, self.seconds, self.quality = split, count, seconds, quality
        self.root = root / f"speech-{split}-{quality}-{seconds:g}s"
        self.root.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> SpeechItem:
        path = self.root / f"{index:06d}.npz"
        if not path.is_file():
            from distill.corpus.drawn.clips import speech_clip

            clip = speech_clip(index, SPLITS.get(self.split, self.split), self.seconds, quality=self.quality)
            partial = path.with_suffix(f".{os.getpid()}.partial.npz")  # another process may make the same
            np.savez(
                partial,
                audio=(clip.audio * 32767).clip(-32768, 32767).astype(np.int16),
                mouth=clip.mouth.astype(np.float32),
                expression=clip.expression.astype(np.float32),
                pose=clip.pose.astype(np.float32),
                speaking=clip.speaking,
            )
            partial.replace(path)
        with np.load(path) as stored:
            return SpeechItem(
                torch.from_numpy(stored["audio"].astype(np.float32) / 32768),
                torch.from_numpy(stored["mouth"]),
                torch.from_numpy(stored["expression"]),
                torch.from_numpy(stored["pose"]),
                torch.from_numpy(stored["speaking"]),
            )


def audio_window(audio: Tensor, first: int, frames: int, context: int, lookahead: int) -> Tensor:
    """Samples that frames [first, first + frames) see: context left, look-ahead right, zeros beyond the ends."""
    begin = first * SAMPLES_PER_FRAME - context
    end = (first + frames) * SAMPLES_PER_FRAME + lookahead
    inside = audio[max(begin, 0) : max(min(end, audio.shape[0]), 0)]
    return torch.nn.functional.pad(inside, (max(-begin, 0), max(end - max(audio.shape[0], begin), 0)))[
        : end - begin
    ]

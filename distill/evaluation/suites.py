"""What students are measured on: suites of clips, each with a reference picture, a sound and a known truth.

In: a suite and a clip's number. Out: an `EvalClip`: who speaks, in which style, the picture the stream is opened
with, and, once the stream's expression is known, the true frames. Clip n is the same on every machine. The same
voices and texts run through every suite, so what differs between suites is the picture alone.

held-out    identities, voices, texts, a drawing style and a hair style that training never saw
open-set    the same people pictured in ways that no training data has (`distill.corpus.drawn.openset`)
degraded    the same people; the reference picture is spoilt, the truth is drawn from the clean one. Where the
            reference is framed badly, the truth is framed alike: a student should keep the picture's framing
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from distill.corpus.drawn import Character, Identity, sample_identities, true_opening
from distill.corpus.drawn.openset import OpenStyle, open_style
from distill.data.regions import MEASURED_BOX
from distill.data.speech_set import SpeechItem, SpeechSet
from distill.data.styled_pictures import EVALUATION_SEED
from distill.evaluation.measures import Floats, UInt8
from distill.evaluation.spoilt import SPOILING, Framing, spoil
from models.face import FPS, SAMPLES_PER_FRAME
from models.motion import advance_motion, init_motion, speech_level
from models.voice import voice_only

_CHUNK_FRAMES: Final = 25
EVAL_SECONDS: Final = 4.0
"""Length of a clip that the ladder's rows are measured on, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A set of clips to measure on."""

    name: str
    split: str
    clips: int
    seconds: float
    open_set: bool = False
    degraded: bool = False

    def __post_init__(self) -> None:
        if self.split not in ("train", "val", "test"):
            raise ValueError(f"Suite {self.name}: expected a split train, val or test, got '{self.split}'.")
        if self.clips < 1 or self.seconds * FPS < 25:
            raise ValueError(
                f"Suite {self.name}: need 1 clip or more of 1 s or more, "
                f"got {self.clips} of {self.seconds:g} s."
            )


SUITES: Final = {
    suite.name: suite
    for suite in (
        Suite("held-out", "test", 12, 8.0),
        Suite("open-set", "test", 24, 8.0, open_set=True),
        Suite("degraded", "test", 16, 8.0, degraded=True),
    )
}


@dataclass(frozen=True, slots=True)
class EvalClip:
    """One person speaking; truth is drawn when asked for."""

    item: SpeechItem
    who: Identity  # one person
    style: OpenStyle | None
    framing: Framing
    reference: UInt8  # (S, S, 3) the picture that the stream is opened with
    seed: int  # of the stream
    label: str  # what is special about the picture

    @property
    def frames(self) -> int:
        return int(self.item.mouth.shape[0])

    @property
    def opening_px(self) -> Floats:
        """True visible gap of each frame, (T,), canvas pixels."""
        gap = true_opening(self.who.repeat(self.frames), self.item.mouth)
        if self.style is not None:
            gap = self.style.opening_px(gap, self.who.mouth_y.repeat(self.frames))
        return gap.double().numpy() * self.framing.scale

    def true_frames(self, expression: Tensor) -> UInt8:
        """Face boxes (T, h, w, 3) of the clip's mouth with these expressions (T, 4)."""
        return true_boxes(self.who, self.style, self.framing, self.item.mouth, expression)


def true_boxes(
    who: Identity, style: OpenStyle | None, framing: Framing, mouth: Tensor, expression: Tensor
) -> UInt8:
    """Face boxes (T, h, w, 3) of one person, as the suite pictures them; mouth (T, 6), expression (T, 4)."""
    plain = style is None and framing == Framing()
    drawn_once = Character(who, MEASURED_BOX if plain else None)
    left, top, width, height = MEASURED_BOX
    boxes = []
    for first in range(0, mouth.shape[0], _CHUNK_FRAMES):
        span = slice(first, first + _CHUNK_FRAMES)
        frames = drawn_once.frames(mouth[None, span], expression[None, span])[0]
        if not plain:
            frames = framing(frames if style is None else style(frames))
            frames = frames[..., top : top + height, left : left + width]
        boxes.append(to_bytes(frames))
    return np.concatenate(boxes)


def load_clip(suite: Suite, index: int, data: Path) -> EvalClip:
    """Clip ``index`` of a suite; ``data`` caches the corpus' speech."""
    if not 0 <= index < suite.clips:
        raise ValueError(f"Suite {suite.name} has clips 0..{suite.clips - 1}, got {index}.")
    item = SpeechSet(data, suite.split, suite.clips, suite.seconds)[index]
    who = sample_identities([index], split=suite.split)
    style = open_style(EVALUATION_SEED + index) if suite.open_set else None
    still = torch.zeros(1, 1, item.mouth.shape[1]), torch.zeros(1, 1, item.expression.shape[1])
    canvas = Character(who).frames(*still)[0].clamp(0, 1)
    if style is not None:
        canvas = style(canvas)
    framing, label = Framing(), "" if style is None else style.name
    if suite.degraded:
        label = SPOILING[index % len(SPOILING)]
        canvas, framing = spoil(canvas, label, index)
    return EvalClip(item, who, style, framing, to_bytes(canvas)[0], index, label)


def driven_motion(audio: Tensor, frames: int, seed: int) -> tuple[Tensor, Tensor]:
    """Expression (T, 4) and pose (T, 6) that a stream opened with ``seed`` gives itself on this sound.

    The stream advances the same generator hop by hop on the same levels, so what it did is known afterwards.
    """
    needed = frames * SAMPLES_PER_FRAME
    padded = torch.nn.functional.pad(audio[:needed], (0, max(0, needed - audio.shape[0])))
    _, expression, pose = advance_motion(init_motion(seed), speech_level(voice_only(padded.float().numpy())))
    return torch.from_numpy(expression), torch.from_numpy(pose)


def to_bytes(pictures: Tensor) -> UInt8:
    """Pictures (N, 3, H, W) in [0, 1] as (N, H, W, 3) uint8."""
    return np.asarray((pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())

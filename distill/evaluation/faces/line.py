"""What a face is asked to say: held-out speech with its known mouth, and the moments at which it is looked at.

In: the corpus' speech. Out: a `Line`: the same for every picture, so that pictures compare. What lids, gaze and
brows do on it is known too: a stream gives itself these by its seed and the sound alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from distill.data.speech_set import SpeechItem, SpeechSet
from distill.evaluation.measures import Floats
from distill.evaluation.suites import driven_motion
from models.face import EXPRESSION_DIMS, MOUTH_DIMS

LINE_S: Final = 6.0
"""Length of a line, as the stage "heads" has its speech: one cache serves both."""
_CLIPS, _SEEDS = 8, 8

Score = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True, slots=True)
class Line:
    """Speech with its mouth track and what a stream of ``seed`` does besides.

    Attributes:
        item: sound and tracks of T frames.
        seed: of the stream.
        expression: (T, 4) `EXPRESSION_DIMS` as the stream drives them.
    """

    item: SpeechItem
    seed: int
    expression: Tensor

    @property
    def frames(self) -> int:
        """T."""
        return int(self.item.mouth.shape[0])

    @property
    def opening(self) -> Floats:
        """How far the mouth is told to open, (T,) in 0..1."""
        return self.item.mouth[:, 0].double().numpy()

    @property
    def blink(self) -> Floats:
        """How far the lids are told to close, (T,) in 0..1."""
        return self.expression[:, 0].double().numpy()


def _near(value: Tensor, wanted: float) -> Tensor:
    return (value - wanted).abs()


MOMENTS: Final[Mapping[str, Score]] = {
    "closed": lambda c: 1 - 6 * c["open"] - c["blink"] - 0.5 * c["gaze_x"].abs(),
    "small": lambda c: 1 - 4 * _near(c["open"], 0.25) - c["blink"] - 0.5 * c["round"],
    "wide": lambda c: 1.5 * c["open"] - 0.5 * c["round"] - 0.5 * c["blink"],
    "round": lambda c: c["round"] - 0.6 * _near(c["open"], 0.3) - 0.5 * c["blink"],
    "teeth": lambda c: c["teeth"] + 0.4 * c["width"] - 2 * _near(c["open"], 0.25) - 0.5 * c["blink"],
    "blink": lambda c: c["blink"] - 0.2 * c["open"],
    "look": lambda c: c["gaze_x"].abs() - c["blink"],
    "brow": lambda c: c["brow"] - c["blink"],
}
"""The eight moments of a contact sheet, each with how well a frame's channels (T,) show it."""


def _scores(mouth: Tensor, expression: Tensor) -> dict[str, Tensor]:
    channels = dict(zip(MOUTH_DIMS, mouth.unbind(1), strict=True))
    channels |= dict(zip(EXPRESSION_DIMS, expression.unbind(1), strict=True))
    return {name: score(channels) for name, score in MOMENTS.items()}


def find_moments(line: Line) -> dict[str, int]:
    """The frame that shows each of `MOMENTS` best."""
    return {name: int(score.argmax()) for name, score in _scores(line.item.mouth, line.expression).items()}


def make_line(item: SpeechItem, seed: int) -> Line:
    """A line of one clip for a stream of that seed."""
    return Line(item, seed, driven_motion(item.audio, int(item.mouth.shape[0]), seed)[0])


def choose_line(data: Path, split: str = "test", seconds: float = LINE_S) -> Line:
    """Of some held-out clips and seeds the pair that shows all `MOMENTS` best.

    Args:
        data: cache of the corpus.
        split: of voices and texts.
        seconds: length of the clip.
    """
    speech = SpeechSet(data, split, _CLIPS, seconds)
    best: tuple[float, Line] | None = None
    for index in range(_CLIPS):
        item = speech[index]
        for seed in range(_SEEDS):
            line = make_line(item, seed)
            worth = float(
                torch.stack(
                    [s.max().clamp(max=1) for s in _scores(item.mouth, line.expression).values()]
                ).sum()
            )
            if best is None or worth > best[0]:
                best = (worth, line)
    assert best is not None
    return best[1]

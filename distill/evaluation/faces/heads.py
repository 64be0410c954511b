"""Suite "heads": rendered people that training never saw say held-out sentences; the renderer knows the truth.

In: identities, skins, hair and light of a split, its voices and texts. Out: `HeadClip`s at 512 px, kept on disk,
and figures of what a performer made of them, held against the true frames.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from distill.data.speech_set import SpeechSet
from distill.evaluation.faces.line import LINE_S, Line, make_line
from distill.evaluation.faces.openings import jaw_drop, on_canvas
from distill.evaluation.faces.performers import Performer, Puppet
from distill.evaluation.faces.pictures import Differences, decibels, detail, probe_boxes, silence_share
from distill.evaluation.faces.regions import OUT_PX, regions_of
from distill.evaluation.measures import Floats, UInt8, best_lag, pearson
from distill.evaluation.readings import read_openings
from distill.probe import Probe

HEADS: Final = 8
MOST_CLIPS: Final = 200
SPOKEN: Final = 0.3
"""A clip whose mouth never opens further is breath or noise."""
DRIVER: Final = 3
"""Which head of the split "val" moves before an autoencoder that shall move a picture."""


@dataclass(frozen=True, slots=True)
class HeadClip:
    """One rendered person saying a line.

    Attributes:
        name: who.
        line: what was said.
        reference: (S, S, 3) uint8, the portrait.
        window: (left, top) px of the part of the canvas that moves.
        moved: (T, h, w, 3) uint8, that part of every frame.
        gap_px: (T,) true gap between the lips, canvas px.
    """

    name: str
    line: Line
    reference: UInt8
    window: tuple[int, int]
    moved: UInt8
    gap_px: Floats

    def frames(self) -> UInt8:
        """(T, S, S, 3)."""
        out = np.repeat(self.reference[None], len(self.moved), 0)
        left, top = self.window
        height, width = self.moved.shape[1:3]
        out[:, top : top + height, left : left + width] = self.moved
        return out


def head_clip(
    data: Path, split: str, who: int, line: Line, size: int = OUT_PX, at_rest: bool = False
) -> HeadClip:
    """Render head ``who`` of a split saying a line, or read it from the cache.

    Args:
        data: where clips are kept, in the folder "faces".
        size: pixels a side, 256 or 512.
        at_rest: the portrait was taken with a shut mouth and open eyes, not in a state of its own.
    """
    told = hashlib.sha1(line.item.mouth.numpy().tobytes() + line.expression.numpy().tobytes()).hexdigest()
    folder = data / "faces"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}-{who:06d}-{told[:10]}-{size}{'-rest' if at_rest else ''}.npz"
    if not path.is_file():
        _render(path, split, who, line, size, at_rest)
    with np.load(path) as stored:
        left, top = (int(edge) for edge in stored["window"])
        return HeadClip(
            f"{split} {who}", line, stored["reference"], (left, top), stored["moved"], stored["gap_px"]
        )


def _render(path: Path, split: str, who: int, line: Line, size: int, at_rest: bool) -> None:
    from distill.corpus.heads import Head, Kit, make_clip
    from distill.corpus.heads.anatomy import LANDMARKS
    from distill.corpus.heads.head import WINDOW

    kit = Kit()
    head = Head(kit.traits(who, split), kit, size)
    clip = make_clip(head, line.item.mouth, line.expression, torch.zeros(11) if at_rest else None)
    left, top, width, height = (edge * size // 256 for edge in WINDOW)
    upper, lower = (LANDMARKS.index(name) for name in ("upper_lip_in", "lower_lip_in"))
    marks = clip.truth.landmarks.double().numpy()
    partial = path.with_suffix(f".{os.getpid()}.partial.npz")  # another process may make the same
    np.savez_compressed(
        partial,
        reference=clip.reference.numpy(),
        moved=clip.frames[:, top : top + height, left : left + width].numpy(),
        window=np.array((left, top)),
        gap_px=np.linalg.norm(marks[:, lower] - marks[:, upper], axis=1),
    )
    partial.replace(path)


def held_out_heads(data: Path, split: str, count: int = HEADS, seconds: float = LINE_S) -> Iterator[HeadClip]:
    """The heads of the suite, each with a voice and text of its own; clips without speech are passed over."""
    speech = SpeechSet(data, split, MOST_CLIPS, seconds)
    spoken = (speech[index] for index in range(MOST_CLIPS))
    said = (item for item in spoken if float(item.mouth[:, 0].max()) > SPOKEN)
    for who, item in zip(range(count), said, strict=False):
        yield head_clip(data, split, who, make_line(item, who))


@dataclass(frozen=True, slots=True)
class Driver:
    """A rendered head that says a line before an autoencoder; `performers.Shown`.

    Attributes:
        box: (left, top, width, height) of the face box, canvas px.
    """

    data: Path
    box: tuple[int, int, int, int]
    split: str = "val"

    def __call__(self, line: Line) -> Tensor:
        clip = head_clip(self.data, self.split, DRIVER, line, 256, at_rest=True)
        return boxes_of(np.concatenate((clip.reference[None], clip.frames())), self.box)


def boxes_of(frames: UInt8, box: tuple[int, int, int, int]) -> Tensor:
    """Face boxes (T, 3, h, w) in [0, 1] of canvases (T, 256, 256, 3)."""
    left, top, width, height = box
    part = frames[:, top : top + height, left : left + width]
    return torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2).float() / 255


def perform_head(performer: Performer, clip: HeadClip) -> UInt8:
    """What a performer makes of a head: by its sound or its states, or by the true frames themselves."""
    if not isinstance(performer, Puppet) or performer.vae.moving:
        return performer.perform(clip.reference, clip.line)
    true = clip.frames()
    boxes = torch.cat([performer.box_of(frame) for frame in true])
    return performer.draw(clip.reference, performer.encode(boxes))


def head_figures(
    made: UInt8, clip: HeadClip, box: tuple[int, int, int, int], probe: Probe
) -> dict[str, float]:
    """Figures of frames (T, 512, 512, 3) against the truth.

    Returns:
        ``r_opening``, ``r_jaw``: of the probe's gap and of `jaw_drop` with the true gap, ``..._truth`` the same
        on the true frames, which is the most that can be seen; ``lag`` frames; ``silence_share``: gap where the
        mouth is told to be shut, beyond the least seen, as a share of its range, and ``silence_truth``;
        ``mouth_db``, ``eyes_db``, ``rest_db`` PSNR; ``mouth_copy_db``, that of the portrait itself;
        ``mouth_detail``, ``eyes_detail``: gradient energy over the truth's.
    """
    true, regions = clip.frames(), regions_of(box)
    near, copied = Differences(made, true, regions), Differences(true, clip.reference, regions)
    portrait = on_canvas(clip.reference)
    ours, theirs = (np.stack([on_canvas(frame) for frame in frames]) for frames in (made, true))
    opening, seen = (read_openings(probe, probe_boxes(canvases)) for canvases in (ours, theirs))
    driven, gap = clip.line.opening, clip.gap_px
    figures = {
        "r_opening": pearson(opening, gap),
        "r_opening_truth": pearson(seen, gap),
        "r_jaw": pearson(jaw_drop(ours, portrait), gap),
        "r_jaw_truth": pearson(jaw_drop(theirs, portrait), gap),
        "lag": float(best_lag([opening], [gap])[0]),
        "silence_share": silence_share(opening - float(np.percentile(opening, 5)), driven),
        "silence_truth": silence_share(seen - float(np.percentile(seen, 5)), driven),
        "mouth_db": decibels(near.mouth.mean()),
        "mouth_copy_db": decibels(copied.mouth.mean()),
        "eyes_db": decibels(near.eyes.mean()),
        "rest_db": decibels(near.rest.mean()),
        "mouth_detail": detail(made, regions.mouth) / max(detail(true, regions.mouth), 1e-6),
        "eyes_detail": detail(made, regions.eyes) / max(detail(true, regions.eyes), 1e-6),
    }
    return {key: round(value, 4) for key, value in figures.items()}


def against(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """How a first performer compares with a second on the same heads, by the medians of both.

    Returns:
        ``detail_ratio`` (1.3 wanted of a decoder that moves), ``mouth_gain_db`` (-0.3 at least), and the same for
        eyes and the rest.
    """
    return {
        "detail_ratio": round(first["mouth_detail"] / max(second["mouth_detail"], 1e-6), 4),
        "mouth_gain_db": round(first["mouth_db"] - second["mouth_db"], 4),
        "eyes_gain_db": round(first["eyes_db"] - second["eyes_db"], 4),
        "rest_gain_db": round(first["rest_db"] - second["rest_db"], 4),
    }

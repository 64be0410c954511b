"""Rendered heads that speak: pictures of talking clips, rendered once, read by whatever autoencoder comes.

In: a split, an index and the speech set. Out: one person speaking for ``frames`` frames at 25 fps, with two
references: as a portrait is taken, and in another state. Item i depends on (split, people, frames, speech, i)
alone. On disk a clip is its first reference and how the others differ from it inside the window that moves,
deflated: about 1.4 MB for 40 frames over the whole canvas. People of talking clips are none of those in the shards
that an autoencoder learns from.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.data.clip_set import busy_expression
from distill.data.head_set import opening_of
from distill.data.pictures import calm, random_expressions, random_mouths
from distill.data.speech_set import SpeechSet

if TYPE_CHECKING:
    from distill.corpus.heads import Head, Kit

FRAMES: Final = 40
FIRST_PERSON: Final = 1 << 20
"""Seed of the first person who speaks; the shards' people lie below it."""
FIRST_OF_FEW: Final = FIRST_PERSON + (1 << 20)
"""Seed of the first person of a set in which few people speak in turn."""
TURN: Final = 4
"""Clips that one of few people speaks before the next: a head takes half a second to set up."""


@dataclass(frozen=True, slots=True)
class HeadClipItem:
    """One person speaking, over the canvas.

    Attributes:
        pictures: (2 + F, 3, S, S) uint8: two references, then the frames.
        mouth: (2 + F, 6). expression: (2 + F, 4). What each picture shows, a reference's smile left out.
        landmarks: (2 + F, 18, 2) canvas px, `LANDMARKS` of the rendered heads.
        speech: which clip of the speech set is spoken. first: its frame that is the first here.
    """

    pictures: Tensor
    mouth: Tensor
    expression: Tensor
    landmarks: Tensor
    speech: int
    first: int

    @property
    def opening_px(self) -> Tensor:
        """(2 + F,) gap between the inner lips, canvas px, 0 or more."""
        return opening_of(self.landmarks)


@dataclass(frozen=True, slots=True)
class Script:
    """What a clip shows: mouth (F, 6) and expression (F, 4) of a stretch of speech, its two references' states.

    ``states`` is (2, 11): mouth, expression, smile.
    """

    mouth: Tensor
    expression: Tensor
    states: Tensor
    speech: int
    first: int


def script_of(index: int, speech: SpeechSet, frames: int) -> Script:
    """What clip ``index`` says and how its references look.

    Raises:
        ValueError: the speech is shorter than the clip.
    """
    from distill.corpus.heads.clips import draw_reference

    generator = torch.Generator().manual_seed(86_028_121 * index + 17)
    number = index % len(speech)
    spoken = speech[number]
    room = spoken.mouth.shape[0] - frames
    if room < 0:
        raise ValueError(
            f"A clip of {frames} frames needs speech as long, got {spoken.mouth.shape[0]} frames."
        )
    first = int(torch.randint(room + 1, (), generator=generator))
    busy = bool(torch.rand((), generator=generator) < 0.5)
    expression = spoken.expression[first : first + frames]
    if busy:
        expression = busy_expression(frames, generator)
    other = torch.cat((calm(random_mouths(1, generator)), random_expressions(1, generator)), 1)
    portrait = draw_reference(np.random.default_rng([index, 1409, 31]))
    states = torch.stack((portrait, torch.cat((other[0], torch.zeros(1)))))
    return Script(spoken.mouth[first : first + frames], expression.float(), states, number, first)


class HeadClips:
    """``count`` clips of a split; each has its own person, or ``people`` speak in turn.

    Args:
        root: the data folder; clips lie in a folder of their own below it.
        split: "train", "val" or "test".
        count: how many there may be.
        speech: what they say, clip i the i-th; where there are fewer, several say the same.
        people: how many speak, in turns of `TURN` clips; None is one a clip.
        frames: of a clip.
        device: where frames are drawn.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        count: int,
        speech: SpeechSet,
        people: int | None = None,
        frames: int = FRAMES,
        device: str = "cpu",
    ) -> None:
        if people is not None and people < 1:
            raise ValueError(f"Expected at least one person who speaks, got {people}.")
        self.split, self.count, self.speech = split, count, speech
        self.people, self.frames, self.device = people, frames, device
        kind = "each" if people is None else f"of{people}"
        self.shared = len(speech) if len(speech) < count else None
        if self.shared is not None:  # then what a clip says depends on their number
            kind += f"-speech{self.shared}"
        self.root = root / f"head-clips-{split}-{kind}-{frames}"
        self.root.mkdir(parents=True, exist_ok=True)
        self._kit: Kit | None = None
        self._head: tuple[int, Head] | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> HeadClipItem:
        self.render(index)
        return read_clip(self.path(index))

    def path(self, index: int) -> Path:
        """Where clip ``index`` lies."""
        return self.root / f"{index:06d}.npz"

    def rendered(self) -> list[int]:
        """Indices of the clips that are there, in order; of all, whatever ``count`` is."""
        return sorted(int(path.stem) for path in self.root.glob("*.npz"))

    def person(self, index: int) -> int:
        """Seed of who speaks clip ``index``."""
        if self.people is None:
            return FIRST_PERSON + index
        return FIRST_OF_FEW + index // TURN % self.people

    def render(self, index: int) -> None:
        """Make clip ``index`` if it is not there; whole or not at all, whoever else makes it too."""
        path = self.path(index)
        if path.is_file():
            return
        from distill.corpus.heads import make_clip

        script = script_of(index, self.speech, self.frames)
        mouth = torch.cat((script.states[1:, :6], script.mouth))
        expression = torch.cat((script.states[1:, 6:10], script.expression))
        at_once = 1 if self.device == "cpu" else len(mouth)
        made = make_clip(self._person(index), mouth, expression, script.states[0], at_once)
        pictures = torch.cat((made.reference[None], made.frames))
        landmarks = torch.cat((made.reference_truth.landmarks, made.truth.landmarks))
        _write(path, pictures, landmarks, script)

    def _person(self, index: int) -> Head:
        from distill.corpus.heads import Head, Kit

        self._kit = self._kit or Kit()
        seed = self.person(index)
        if self._head is None or self._head[0] != seed:
            self._head = seed, Head(self._kit.traits(seed, self.split), self._kit, device=self.device)
        return self._head[1]


def talking_heads(
    data: Path, split: str, count: int, people: int | None, speech: int | None = None, device: str = "cpu"
) -> HeadClips:
    """The clips that `fada train --stage head-clips` makes and training reads; they share ``speech`` clips."""
    spoken = SpeechSet(data, split, min(count, speech or count))
    return HeadClips(data, split, count, spoken, people, device=device)


def _write(path: Path, pictures: Tensor, landmarks: Tensor, script: Script) -> None:
    """Write pictures (2 + F, S, S, 3) uint8; differences wrap round, so that they stay bytes."""
    from distill.corpus.heads.head import WINDOW

    left, top, width, height = WINDOW
    window = (slice(top, top + height), slice(left, left + width))
    first, others = pictures[0].numpy(), pictures[1:].numpy()
    arrays: dict[str, npt.NDArray[Any]] = {
        "window": np.array(WINDOW, np.int16),
        "reference": first,
        "others": others[:, window[0], window[1]] - first[window],
        "landmarks": landmarks.numpy().astype(np.float32),
        "mouth": torch.cat((script.states[:, :6], script.mouth)).numpy().astype(np.float32),
        "expression": torch.cat((script.states[:, 6:10], script.expression)).numpy().astype(np.float32),
        "spoken": np.array([script.speech, script.first], np.int64),
    }
    partial = path.with_suffix(f".{os.getpid()}.part")  # another process may make the same
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array))
    partial.replace(path)


def read_clip(path: Path) -> HeadClipItem:
    """Read what `HeadClips` wrote.

    Raises:
        FileNotFoundError: there is no such clip.
    """
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    left, top, width, height = (int(v) for v in arrays["window"])
    rows, columns = slice(top, top + height), slice(left, left + width)
    reference = arrays["reference"]
    pictures = np.repeat(reference[None], 1 + len(arrays["others"]), 0)
    pictures[1:, rows, columns] = arrays["others"] + reference[rows, columns]
    speech, first = (int(v) for v in arrays["spoken"])
    return HeadClipItem(
        torch.from_numpy(pictures).permute(0, 3, 1, 2),
        torch.from_numpy(arrays["mouth"]),
        torch.from_numpy(arrays["expression"]),
        torch.from_numpy(arrays["landmarks"]),
        speech,
        first,
    )

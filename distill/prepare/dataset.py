"""The dataset form: clips of a still head with sound and tracks on disk, and as latents for training.

In: a folder written by `fada prepare`. Out: `ClipItem`s, the same as those of the procedural corpus. The form is
described in docs/data.md. Latents are made on demand and kept, by the VAE's fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from distill.data.latents import ClipItem
from distill.data.speech_set import audio_window
from models.face import CANVAS_PX, EXPRESSION_DIMS, FPS, MOUTH_DIMS, SAMPLE_RATE_HZ
from models.modules.vae import VAE
from models.presets import Preset

if TYPE_CHECKING:  # the module itself needs PyAV, which training on a bare machine does without
    from distill.prepare.media import UInt8

VERSION: Final = 1
QUALITIES: Final = ("high", "moderate")
JPEG_QUALITY: Final = 95


@dataclass(frozen=True, slots=True)
class StoredClip:
    """One clip as it lies on disk: T pictures and their sound.

    Attributes:
        pictures: T JPEG files (4:4:4) of the canvas, (256, 256, 3) each.
        audio: (N,) int16 at 16 kHz; it begins `lead` samples before the first picture and may outlast the last.
        mouth: (T, 6), expression: (T, 4), estimated; see `distill.prepare.tracks.ESTIMATED`.
        rest: (T,) 0 where the mouth is at rest .. 1.
    """

    pictures: tuple[bytes, ...]
    audio: npt.NDArray[np.int16]
    lead: int
    mouth: npt.NDArray[np.float32]
    expression: npt.NDArray[np.float32]
    rest: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.pictures)
        shapes = (self.mouth.shape, self.expression.shape, self.rest.shape)
        if shapes != ((count, len(MOUTH_DIMS)), (count, len(EXPRESSION_DIMS)), (count,)):
            raise ValueError(f"Expected tracks for {count} pictures, got arrays of {shapes}.")

    def canvas(self, index: int) -> UInt8:
        """Picture ``index``, (256, 256, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.pictures[index])))


def encode_picture(canvas: UInt8) -> bytes:
    """A canvas as a JPEG file without chroma subsampling."""
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def write_clip(path: Path, clip: StoredClip) -> None:
    """Write a clip; a file of this name is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            pictures=np.frombuffer(b"".join(clip.pictures), np.uint8),
            ends=np.cumsum([len(picture) for picture in clip.pictures]),
            audio=clip.audio,
            lead=clip.lead,
            mouth=clip.mouth,
            expression=clip.expression,
            rest=clip.rest,
        )
    partial.replace(path)


def read_clip(path: Path) -> StoredClip:
    """Read what `write_clip` wrote."""
    with np.load(path) as stored:
        blob, ends = stored["pictures"].tobytes(), [0, *stored["ends"].tolist()]
        return StoredClip(
            tuple(blob[a:b] for a, b in pairwise(ends)),
            stored["audio"],
            int(stored["lead"]),
            stored["mouth"],
            stored["expression"],
            stored["rest"],
        )


def is_prepared(root: Path) -> bool:
    """Whether ``root`` was written by `fada prepare`."""
    return (root / "dataset.json").is_file()


def read_dataset(root: Path) -> dict[str, Any]:
    """The index of a prepared folder.

    Raises:
        ValueError: it is not one, or of another version.
    """
    path = root / "dataset.json"
    if not path.is_file():
        raise ValueError(f"Expected a folder made by `fada prepare`, but {root} has no dataset.json.")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        form = (index["version"], index["fps"], index["sample_rate_hz"], index["canvas_px"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; run `fada prepare` on the videos again.") from error
    expected = (VERSION, FPS, SAMPLE_RATE_HZ, CANVAS_PX)
    if form != expected:
        raise ValueError(
            f"{path} has version, rates and size {form}, expected {expected}; prepare the videos again."
        )
    return dict(index)


class PreparedClips:
    """Windows of ``frames`` frames of one quality class of a prepared folder, encoded by ``vae``.

    Item i depends on (folder, VAE, quality, frames, i) alone. Windows overlap by half.

    Raises:
        ValueError: not a prepared folder, or no clip of that quality that is long enough.
    """

    def __init__(self, root: Path, preset: Preset, vae: VAE, quality: str, frames: int = 40) -> None:
        if quality not in QUALITIES:
            raise ValueError(f"Expected a quality of {QUALITIES}, got {quality!r}.")
        self.root, self.preset, self.vae, self.quality, self.frames = root, preset, vae, quality, frames
        listed = [clip for clip in read_dataset(root)["clips"] if clip["quality"] == quality]
        self.windows = [
            (str(clip["name"]), first)
            for clip in listed
            for first in window_starts(int(clip["frames"]), frames)
        ]
        if not self.windows:
            raise ValueError(
                f"Expected {quality} clips of at least {frames} frames in {root}, found none among {len(listed)}; "
                f"see {root / 'report.md'} for what was refused and why."
            )
        digest = hashlib.sha1(b"".join(v.numpy(force=True).tobytes() for v in vae.state_dict().values()))
        self.cache = root / f"latents-{digest.hexdigest()[:10]}"
        self._kept: dict[str, tuple[StoredClip, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.windows)

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        self._kept.clear()

    def picture(self, index: int) -> Tensor:
        """The picture (3, h, w) in [0, 1] that the first reference of item ``index`` encodes."""
        name, first = self.windows[index]
        clip = self._load(name)[0]
        left, top, width, height = self.preset.face_box
        canvas = clip.canvas(reference_frames(clip, first, self.frames, index)[0])
        box = canvas[top : top + height, left : left + width]
        return torch.from_numpy(box.copy()).permute(2, 0, 1).float() / 255

    def __getitem__(self, index: int) -> ClipItem:
        name, first = self.windows[index]
        clip, latents = self._load(name)
        window = slice(first, first + self.frames)
        cfg = self.preset.audio
        sound = torch.from_numpy(clip.audio.astype(np.float32) / 32768)
        lead = cfg.context_samples - clip.lead  # the window begins this much before the stored sound
        audio = audio_window(sound, first, self.frames, lead, cfg.lookahead_samples + clip.lead)
        still, other = reference_frames(clip, first, self.frames, index)
        return ClipItem(
            latents[window].float(),
            latents[[still, other]].float(),
            audio,
            torch.from_numpy(clip.mouth[window]),
            torch.from_numpy(clip.expression[window]),
        )

    def _load(self, name: str) -> tuple[StoredClip, Tensor]:
        """A clip and the latents (T, C, h, w) of its pictures; JPEGs are a twentieth of what pixels would take."""
        if name not in self._kept:
            clip = read_clip(self.root / "clips" / f"{name}.npz")
            path = self.cache / f"{name}.npy"
            if not path.is_file():
                path.parent.mkdir(exist_ok=True)
                partial = path.with_suffix(".partial.npy")
                np.save(partial, encode_boxes(self.vae, clip, self.preset.face_box))
                partial.replace(path)
            self._kept[name] = (clip, torch.from_numpy(np.load(path)))
        return self._kept[name]


def window_starts(length: int, frames: int) -> Sequence[int]:
    """First frames of windows that cover a clip of ``length`` frames, half overlapping."""
    if length < frames:
        return []
    starts = list(range(0, length - frames + 1, max(1, frames // 2)))
    return starts if starts[-1] == length - frames else [*starts, length - frames]


def reference_frames(clip: StoredClip, first: int, frames: int, seed: int) -> tuple[int, int]:
    """A frame at rest with open eyes, outside of the window where that is possible, and another one at random."""
    unrest = clip.rest + clip.expression[:, EXPRESSION_DIMS.index("blink")]
    outside = np.ones(len(unrest), bool)
    outside[first : first + frames] = False
    if not (unrest[outside] < 0.35).any():  # a clip may have its only pause inside of the window
        outside[:] = True
    still = int(np.where(outside, unrest, np.inf).argmin())
    return still, int(np.random.default_rng(seed).integers(len(unrest)))


@torch.no_grad()
def encode_boxes(vae: VAE, clip: StoredClip, box: tuple[int, int, int, int]) -> npt.NDArray[np.float16]:
    """Latents (T, C, h, w) of a clip's face boxes, (left, top, width, height) of the canvas."""
    left, top, width, height = box
    device = vae.mean.device
    parts = []
    for begin in range(0, len(clip.pictures), 16):
        batch = np.stack([clip.canvas(i) for i in range(begin, min(begin + 16, len(clip.pictures)))])
        boxes = torch.from_numpy(batch[:, top : top + height, left : left + width].copy()).permute(0, 3, 1, 2)
        parts.append(vae.encode(boxes.to(device).float() / 255).half().cpu())
    return np.asarray(torch.cat(parts).numpy())

"""Talking clips as latents on disk: what all sets of the corpus' clips share.

In: a frozen VAE, a folder and how a clip is shown. Out: `ClipItem`s. A clip is shown and encoded once, whoever asks
for it; encoding is done in fp32, so that a clip is the same on every machine. Where latents are states of mouth and
eyes, those of clean clips are written from the truth instead of being read off pictures; references are read, as
they will be when somebody brings a picture.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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


@dataclass(frozen=True, slots=True)
class Shown:
    """A clip before it is encoded.

    Attributes:
        pictures: (2 + F, 3, h, w) in [0, 1] of the preset's face box: both references, then the frames; or the
            references alone, where the frames' latents are written.
        audio: (context + F * 640 + look-ahead,).
        mouth: (F, 6) that the pictures show. expression: (F, 4) likewise.
    """

    pictures: Tensor
    audio: Tensor
    mouth: Tensor
    expression: Tensor


def are_written(preset: Preset, quality: str) -> bool:
    """Whether clips of that quality get their latents from their true states."""
    return preset.moves and quality == "high"


def fingerprint(vae: VAE) -> str:
    """Ten digits that tell one autoencoder's latents from another's."""
    values = (value.numpy(force=True).tobytes() for value in vae.state_dict().values())
    return hashlib.sha1(b"".join(values)).hexdigest()[:10]


class LatentStore:
    """Clips encoded by ``vae``, in a folder and in memory.

    Args:
        root: the folder; made if it is not there.
        vae: frozen, in evaluation mode.
        written: frames' latents are written from what the clip says that it shows, not read off its pictures.
    """

    def __init__(self, root: Path, vae: VAE, written: bool = False) -> None:
        self.root, self.vae, self.written = root, vae, written
        root.mkdir(parents=True, exist_ok=True)
        self._kept: dict[str, ClipItem] = {}

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        self._kept.clear()

    def item(self, name: str, show: Callable[[], Shown]) -> ClipItem:
        """The clip of that name, shown and encoded if it is not there."""
        if name not in self._kept:
            path = self.root / f"{name}.npz"
            if not path.is_file():
                with (
                    torch.autocast(self.vae.mean.device.type, enabled=False),
                    torch.autocast("cpu", enabled=False),
                ):
                    self._write(path, show())  # a clip is the same in any precision of training
            with np.load(path) as stored:
                self._kept[name] = ClipItem(*(torch.from_numpy(stored[f]) for f in ClipItem.__slots__))
        item = self._kept[name]
        return ClipItem(
            item.latents.float(),
            item.references.float(),
            item.audio.float() / 32768,
            item.mouth,
            item.expression,
        )

    @torch.no_grad()
    def _encoded(self, shown: Shown) -> Tensor:
        """Latents (2 + F, C, h, w) of references and frames."""
        device = self.vae.mean.device
        pictures = shown.pictures[:2] if self.written else shown.pictures
        read = torch.cat([self.vae.encode(part.to(device)) for part in pictures.split(16)])
        if not self.written:
            return read
        states = torch.cat((shown.mouth, shown.expression), dim=1).float().to(device)
        return torch.cat((read, self.vae.encode_states(states, tuple(pictures.shape[-2:]))))

    def _write(self, path: Path, shown: Shown) -> None:
        latents = self._encoded(shown).half().cpu().numpy()
        partial = path.with_suffix(f".{os.getpid()}.partial.npz")  # another process may make the same
        np.savez(
            partial,
            latents=latents[2:],
            references=latents[:2],
            audio=(shown.audio * 32767).clamp(-32768, 32767).short().numpy(),
            mouth=shown.mouth.numpy(),
            expression=shown.expression.float().numpy(),
        )
        partial.replace(path)

"""Talking clips as latents on disk: what all sets of the corpus' clips share.

In: a frozen VAE, a folder and how a clip is shown. Out: `ClipItem`s. A clip is shown and encoded once, whoever asks
for it; encoding is done in fp32, so that a clip is the same on every machine.
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
        pictures: (2 + F, 3, h, w) in [0, 1] of the preset's face box: both references, then the frames.
        audio: (context + F * 640 + look-ahead,).
        mouth: (F, 6) that the pictures show. expression: (F, 4) likewise.
    """

    pictures: Tensor
    audio: Tensor
    mouth: Tensor
    expression: Tensor


def fingerprint(vae: VAE) -> str:
    """Ten digits that tell one autoencoder's latents from another's."""
    values = (value.numpy(force=True).tobytes() for value in vae.state_dict().values())
    return hashlib.sha1(b"".join(values)).hexdigest()[:10]


class LatentStore:
    """Clips encoded by ``vae``, in a folder and in memory.

    Args:
        root: the folder; made if it is not there.
        vae: frozen, in evaluation mode.
    """

    def __init__(self, root: Path, vae: VAE) -> None:
        self.root, self.vae = root, vae
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
                self._write(path, show())
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

    def _write(self, path: Path, shown: Shown) -> None:
        device = self.vae.mean.device
        with torch.no_grad():
            encoded = torch.cat([self.vae.encode(part.to(device)) for part in shown.pictures.split(16)])
        latents = encoded.half().cpu().numpy()
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

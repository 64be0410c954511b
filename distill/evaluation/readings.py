"""What the probe reads off frames: openings, mouth dims, lids, identities, features.

In: face boxes (T, h, w, 3) uint8. Out: a `Reading`. Embeddings and features are taken of every second frame;
neighbours differ too little to be worth the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from distill.evaluation.measures import Floats, UInt8
from distill.probe import Probe

EMBED_EVERY: Final = 2
_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """T frames as the probe sees them."""

    opening_px: Floats  # (T,)
    mouth: Floats  # (T, 6)
    blink: Floats  # (T,)
    identity: Floats  # (T / 2, 64) unit length
    features: Floats  # (T / 2, 256)


@torch.no_grad()
def read_frames(probe: Probe, frames: UInt8) -> Reading:
    """Read face boxes (T, h, w, 3).

    Raises:
        ValueError: the probe has no identity tower, or there are no frames.
    """
    if not len(frames):
        raise ValueError("Expected frames to read, got none.")
    columns: list[list[Floats]] = [[] for _ in range(5)]
    device = next(probe.parameters()).device
    for first in range(0, len(frames), _BATCH):
        part = torch.from_numpy(frames[first : first + _BATCH]).to(device)
        part = part.permute(0, 3, 1, 2).float() / 255
        some = part[::EMBED_EVERY]
        for column, value in zip(columns, (*probe(part), probe.embed(some), probe.features(some))):
            column.append(value.double().cpu().numpy())
    return Reading(*(np.concatenate(column) for column in columns))


def read_openings(probe: Probe, frames: UInt8) -> Floats:
    """The visible gap (T,) px alone, for long runs of face boxes (T, h, w, 3)."""
    return read_mouth(probe, frames)[0]


@torch.no_grad()
def read_mouth(probe: Probe, frames: UInt8) -> tuple[Floats, Floats]:
    """The visible gap in px and the blink, (T,) each, of face boxes (T, h, w, 3)."""
    device = next(probe.parameters()).device
    openings, blinks = [], []
    for first in range(0, len(frames), _BATCH):
        part = torch.from_numpy(frames[first : first + _BATCH]).to(device)
        opening, _, blink = probe(part.permute(0, 3, 1, 2).float() / 255)
        openings.append(opening.double().cpu().numpy())
        blinks.append(blink.double().cpu().numpy())
    return np.concatenate(openings), np.concatenate(blinks)


def identity_distances(a: Reading, b: Reading) -> Floats:
    """1 - cosine of the two embeddings of each (second) frame, 0 the same .. 2 opposite."""
    return np.asarray(1 - (a.identity * b.identity).sum(1))

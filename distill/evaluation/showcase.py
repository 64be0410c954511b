"""A contact sheet of the bundled avatars speaking, as the live server shows them: head motion and all.

In: a streaming step, a sound, reference pictures. Out: a PNG, one avatar a row, moments in time's order.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from distill.data.speech_set import SpeechItem
from distill.evaluation.streams import stream_whole
from distill.training.sheets import save_grid
from models.hop import HopControls
from models.streaming import Streamer


def avatar_sheet(
    path: Path,
    streamer: Streamer,
    item: SpeechItem,
    folder: Path,
    controls: HopControls,
    people: int,
    moments: int,
) -> None:
    """Let the first ``people`` avatars of ``folder`` speak one clip and show ``moments`` of each.

    The moments are spread evenly over the sorted true openings, so that rest and wide mouths are both there.
    """
    order = np.argsort(item.mouth[:, 0].numpy(), kind="stable")
    picks = np.sort(order[np.linspace(0, len(order) - 1, moments).astype(int)])
    rows, side = [], streamer.preset.canvas_px
    for number, entry in enumerate(json.loads((folder / "index.json").read_text())[:people]):
        image = Image.open(folder / entry["image"]).convert("RGB")
        picture = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))
        frames = stream_whole(streamer, picture, item.audio, item.mouth.shape[0], number, controls)
        rows.append(torch.from_numpy(frames[picks]).permute(0, 3, 1, 2).float() / 255)
    save_grid(path, rows)

"""What a training run leaves in its folder for people: curves, a sample sheet and a TensorBoard log.

In: rows of figures. Out: ``loss.csv``, ``loss.png``, ``sheet.png`` and ``tensorboard/``. Every file is written
beside its name and then renamed, so that a killed run leaves whole ones. The main process alone writes.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

Row = dict[str, float]


class RunFolder:
    """The papers of one run."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        self.state, self.model = out / "state.pt", out / "model.safetensors"
        self._board: SummaryWriter | None = None

    def open_board(self, step: int) -> None:
        """Go on with the TensorBoard log after ``step``; what a killed run logged beyond it is hidden."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._board = SummaryWriter(str(self.out / "tensorboard"), purge_step=step + 1)

    def close_board(self) -> None:
        """Write what is pending and let go."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def log(self, step: int, figures: Row) -> None:
        """Add one point to each TensorBoard curve."""
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"train/{name}", value, step)

    def flush(self) -> None:
        """Bring the TensorBoard log to disk."""
        if self._board is not None:
            self._board.flush()

    def write_sheet(self, draw: Callable[[Path], None], step: int) -> None:
        """Let ``draw`` write the sample sheet, if it draws any, and show it in TensorBoard too."""
        partial = self.out / "sheet.partial.png"
        draw(partial)
        if not partial.is_file():
            return
        partial.replace(self.out / "sheet.png")
        if self._board is not None:
            with Image.open(self.out / "sheet.png") as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._board.add_image("sheet", pixels, step, dataformats="HWC")

    def write_curve(self, rows: Sequence[Row]) -> None:
        """Write all rows as a table and as plots."""
        if not rows:
            return
        from distill.training.sheets import plot_curves

        keys = sorted({key for row in rows for key in row} - {"step", "seconds"})
        partial = self.out / "loss.csv.partial"
        with partial.open("w", newline="") as target:
            writer = csv.DictWriter(target, ["step", "seconds", *keys])
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.out / "loss.csv")
        plot = self.out / "loss.partial.png"
        plot_curves(plot, rows, keys)
        plot.replace(self.out / "loss.png")

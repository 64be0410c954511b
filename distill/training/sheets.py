"""Pictures of training: loss curves and contact sheets.

In: figures or frames. Out: PNG files. matplotlib is imported when a curve is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor


def save_grid(path: Path, rows: Sequence[Tensor], scale: int = 1) -> None:
    """Write rows of frames, each (N, 3, H, W) in [0, 1], as one picture, one row below the other."""
    strips = []
    for row in rows:
        frames = (row.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        strips.append(np.concatenate(list(frames), axis=1))
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(s, ((0, 2), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    image = Image.fromarray(np.concatenate(padded, axis=0))
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def plot_curves(path: Path, rows: Sequence[dict[str, float]], keys: Sequence[str]) -> None:
    """Write one small plot for each key over training steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(keys), figsize=(3.6 * len(keys), 2.8), squeeze=False)
    for axis, key in zip(axes[0], keys, strict=True):
        points = [(row["step"], row[key]) for row in rows if key in row]
        axis.plot([p[0] for p in points], [p[1] for p in points], linewidth=1.2)
        axis.set_title(key, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)

"""Four small pictures of what one can do: talk, go on air, render a film, train.

In: pictures of the running product. Out: images of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import torch
from PIL import Image, ImageDraw, ImageOps

from distill.avatars import to_image
from distill.corpus.drawn.identity import sample_identities
from distill.corpus.drawn.render import render
from models.face import EXPRESSION_DIMS, MOUTH_DIMS

SIZE = (480, 300)
TALK_BOX = (0.02, 0.055, 0.61)  # left, top and width, in widths of the page
PAPER, INK = (243, 236, 224), (33, 28, 41)
CORPUS_GRID = (8, 5)
HOLE_PX = (18, 12)


def talk_thumbnail(page: Image.Image) -> Image.Image:
    """The page's portrait, between its rings."""
    left, top, width = (round(share * page.width) for share in TALK_BOX)
    return page.crop((left, top, left + width, top + width * SIZE[1] // SIZE[0])).resize(
        SIZE, Image.Resampling.LANCZOS
    )


def scene_thumbnail(scene: Image.Image) -> Image.Image:
    """The watch page in a scene."""
    return ImageOps.fit(scene, SIZE)


def film_thumbnail(movie: Path, moments_s: Sequence[float]) -> Image.Image:
    """Frames of a rendered film as a strip of film.

    Args:
        movie: an MP4 of `fada render`.
        moments_s: three moments of it.
    """
    frames = _frames_at(movie, moments_s)
    strip = Image.new("RGB", SIZE, INK)
    side = SIZE[0] // len(frames) - 8
    top = (SIZE[1] - side) // 2
    for index, frame in enumerate(frames):
        strip.paste(frame.resize((side, side), Image.Resampling.LANCZOS), (4 + index * (side + 8), top))
    pen = ImageDraw.Draw(strip)
    for row in (top // 2, SIZE[1] - top // 2):
        for left in range(12, SIZE[0], 34):
            box = (left, row - HOLE_PX[1] // 2, left + HOLE_PX[0], row + HOLE_PX[1] // 2)
            pen.rounded_rectangle(box, radius=3, fill=PAPER)
    return strip


def _frames_at(movie: Path, moments_s: Sequence[float]) -> list[Image.Image]:
    with av.open(str(movie)) as container:
        pictures = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate or 25)
    return [pictures[min(len(pictures) - 1, round(moment * rate))] for moment in moments_s]


def corpus_thumbnail(seed: int = 40, grid: tuple[int, int] = CORPUS_GRID) -> Image.Image:
    """Characters of the drawn corpus, each with a mouth of its own.

    Args:
        seed: of the first of them, in the train split.
        grid: columns and rows of them.
    """
    columns, rows = grid
    seeds = list(range(seed, seed + columns * rows))
    draws = torch.Generator().manual_seed(seed)
    mouths = torch.rand(len(seeds), len(MOUTH_DIMS), generator=draws) * 0.8
    faces = render(sample_identities(seeds, "train"), mouths, torch.zeros(len(seeds), len(EXPRESSION_DIMS)))
    side = SIZE[0] // columns
    sheet = Image.new("RGB", (side * columns, side * rows), PAPER)
    for index, face in enumerate(faces):
        small = to_image(face).resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (index % columns * side, index // columns * side))
    return ImageOps.fit(sheet, SIZE)

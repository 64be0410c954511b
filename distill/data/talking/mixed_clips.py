"""Clips of two kinds as one set: drawn characters and rendered heads in a given share.

In: two sets of one quality and a share. Out: a set in which they take turns, so that any stretch has the share.
"""

from __future__ import annotations

from torch import Tensor

from distill.data.batches import Clips
from distill.data.latents import ClipItem


def rendered_of(count: int, share: float) -> int:
    """How many of ``count`` clips are rendered heads."""
    return count * round(1000 * share) // 1000


class MixedClips:
    """``len(drawn) + len(heads)`` clips.

    Args:
        drawn, heads: of one preset and quality; there are `rendered_of` heads among all.
        share: of heads, 0..1.

    Raises:
        ValueError: preset or quality differ, or the sets' sizes do not make the share.
    """

    def __init__(self, drawn: Clips, heads: Clips, share: float) -> None:
        if (drawn.preset, drawn.quality) != (heads.preset, heads.quality):
            raise ValueError(
                f"Expected clips of one preset and quality, got {drawn.preset.name}, {drawn.quality} and "
                f"{heads.preset.name}, {heads.quality}."
            )
        self.drawn, self.heads, self.share = drawn, heads, share
        self.preset, self.quality = drawn.preset, drawn.quality
        if len(heads) != rendered_of(len(self), share):
            raise ValueError(
                f"Expected {rendered_of(len(self), share)} heads of {len(self)} clips, got {len(heads)}."
            )

    def __len__(self) -> int:
        return len(self.drawn) + len(self.heads)

    def _place(self, index: int) -> tuple[Clips, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected a clip of 0..{len(self) - 1}, got {index}.")
        before = rendered_of(index, self.share)
        if rendered_of(index + 1, self.share) > before:
            return self.heads, before
        return self.drawn, index - before

    def __getitem__(self, index: int) -> ClipItem:
        clips, own = self._place(index)
        return clips[own]

    def picture(self, index: int) -> Tensor:
        """The picture (3, h, w) that the first reference of item ``index`` encodes."""
        clips, own = self._place(index)
        return clips.picture(own)

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        self.drawn.forget()
        self.heads.forget()

"""What all heads share: the packages' data and the head's map, read once and handed to every `Head`."""

from __future__ import annotations

from distill.corpus.heads.anatomy import Anatomy
from distill.corpus.heads.assets import Assets
from distill.corpus.heads.traits import Traits, draw_traits


class Kit:
    """What all heads share: the packages' data, read once."""

    def __init__(self) -> None:
        """Raises PackageError where the packages cannot be had."""
        self.assets = Assets()
        self.head = Anatomy(self.assets)
        self.skins = tuple(self.assets.skin_names())

    def traits(self, seed: int, split: str = "train") -> Traits:
        """`draw_traits` with the skins there are."""
        return draw_traits(seed, split, self.skins)

"""The procedural corpus: illustrated characters, speech and motion, deterministic by seed."""

from distill.corpus.drawn.character import Character
from distill.corpus.drawn.identity import Identity, sample_identities
from distill.corpus.drawn.mouth import true_opening
from distill.corpus.drawn.render import render

__all__ = ["Character", "Identity", "render", "sample_identities", "true_opening"]

"""The procedural corpus: illustrated characters, speech and motion, deterministic by seed."""

from distill.corpus.character import Character
from distill.corpus.identity import Identity, sample_identities
from distill.corpus.mouth import true_opening
from distill.corpus.render import render

__all__ = ["Character", "Identity", "render", "sample_identities", "true_opening"]

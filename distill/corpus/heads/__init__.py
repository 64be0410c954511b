"""Realistic heads: people who do not exist, rendered with known mouth, lids, gaze, flow and landmarks.

`Kit` reads the packages, `Head` is one person, `make_clip` photographs it with its truth, `shards` keep what was
rendered. Channels are those of the drawn corpus.
"""

from distill.corpus.heads.clips import HeadClip, Truth, make_clip
from distill.corpus.heads.head import Head
from distill.corpus.heads.kit import Kit

__all__ = ["Head", "HeadClip", "Kit", "Truth", "make_clip"]

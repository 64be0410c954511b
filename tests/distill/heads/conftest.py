"""The packages' data for all tests of heads: fetched into the project's cache where it is not there yet."""

from __future__ import annotations

import pytest
import torch

from distill.corpus.heads import Head, HeadClip, Kit, make_clip


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="session")
def head(kit: Kit) -> Head:
    return Head(kit.traits(22), kit)


@pytest.fixture(scope="session")
def clip(head: Head) -> HeadClip:
    """One head at rest, with an open mouth, with shut lids, and looking aside; the reference is at rest."""
    mouth, expression = torch.zeros(4, 6), torch.zeros(4, 4)
    mouth[1, 0], mouth[1, 3] = 0.6, 0.5
    expression[2, 0], expression[3, 1] = 1.0, 0.8
    return make_clip(head, mouth, expression, torch.zeros(11))

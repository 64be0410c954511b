"""Which sizes a preset draws at, told when the options are made."""

from __future__ import annotations

import pytest

from models.presets import preset
from models.runtimes.options import EngineOptions
from models.runtimes.picture_size import checked_side, served_side
from stream.engine.spec import spec_of


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [("base", None, 512), ("base", 128, 128),
     ("small", None, 512), ("small", 256, 256), ("small", 318, 318), ("small", 2048, 2048)],
)  # fmt: skip
def test_a_preset_is_served_at_its_own_size_or_the_one_asked_for(
    name: str, size: int | None, side: int
) -> None:
    assert served_side(preset(name), size) == side
    assert EngineOptions(name, size=size).size == size


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [("small", 511, "even number from 256 to 2048 px, got 511"),
     ("small", 254, "got 254"), ("small", 2050, "got 2050"), ("small", 0, "got 0"), ("small", -512, "got -512"),
     ("base", 100, "multiple of 64 px, got 100")],
)  # fmt: skip
def test_other_sizes_are_told_before_anything_is_loaded(name: str, size: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        EngineOptions(name, size=size)


def test_the_live_server_knows_the_size() -> None:
    spec = spec_of(preset("small"))
    assert (spec.width, spec.height) == (512, 512)
    spec = spec_of(preset("small"), size=(checked_side(640), 640))
    assert (spec.width, spec.height) == (640, 640)

"""Who may know whom among the page's modules: floors, the lowest first, read from the source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parent.parent / "web_client"
FLOORS: Final = ({"rtc"}, {"ui"}, {"caller", "viewer"})
"""A folder knows itself and lower floors, types in comments included; nothing beside it."""
MOST_FILES: Final = 16
NAMED: Final = re.compile(r"""(?:from|import\()\s*"(?P<module>\.[^"]+)\"""")


def modules() -> list[Path]:
    return sorted(PAGE.rglob("*.js"))


def test_every_module_lies_in_a_folder_of_a_floor() -> None:
    assert {path.relative_to(PAGE).parts[0] for path in modules()} == set().union(*FLOORS)


def test_no_folder_is_a_corridor() -> None:
    for folder in {path.parent for path in PAGE.rglob("*.*")}:
        assert len([path for path in folder.iterdir() if path.is_file()]) <= MOST_FILES, folder


def test_arrows_between_the_folders_run_one_way() -> None:
    floor_of = {folder: height for height, floor in enumerate(FLOORS) for folder in floor}
    for path in modules():
        own = path.relative_to(PAGE).parts[0]
        for found in NAMED.finditer(path.read_text(encoding="utf-8")):
            target = (path.parent / found["module"]).resolve()
            assert target.is_file(), f"{path.relative_to(PAGE)} names {found['module']}"
            other = target.relative_to(PAGE).parts[0]
            assert own == other or floor_of[other] < floor_of[own], (
                f"{path.relative_to(PAGE)} knows {found['module']}"
            )

"""The page's modules, read from the source: who may know whom, and what the oldest browsers do not know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parent.parent / "web_client"
FLOORS: Final = ({"rtc"}, {"ui", "pictures"}, {"caller", "viewer"})
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


NEWER: Final = (
    r"AbortSignal\.(any|timeout)\(",
    r"\b(structuredClone|OffscreenCanvas|RTCRtpScriptTransform)\b",
    r"\.(findLast|findLastIndex|toSorted|toReversed|toSpliced|isWellFormed|randomUUID)\(",
    r"\b(Object|Map)\.groupBy\(|Promise\.(withResolvers|try)\(|Array\.fromAsync\(",
    r"\.(union|intersection|difference)\(",
    r"\(\?<[=!]",
    r"\bstatic \{",
    r"light-dark\(|:has\(|color-mix\(|@layer|@container|@scope|@starting-style|^\s*&",
    r"\d(svh|dvh|lvh)\b(?!\)\s*\{|;\s*\}\s*\})",
)
"""What browsers lack that `web_client/ui/first-look.js` lets in; `svh` only behind `@supports`."""


def test_nothing_is_newer_than_the_oldest_browsers() -> None:
    for path in sorted(PAGE.rglob("*.*")):
        text = re.sub(r"/\*.*?\*/|^\s*//.*$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
        for pattern in NEWER:
            found = re.search(pattern, text, re.M)
            assert found is None, f"{path.relative_to(PAGE)} uses {found and found[0]!r}"

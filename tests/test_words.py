"""The words for readers: short sentences, pages of a size, and no path, link or command that is not there."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fada import main

ROOT = Path(__file__).resolve().parent.parent
DECISIONS = ROOT / "docs" / "decisions"
FIRST_PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md"]
RECORDS = sorted(DECISIONS.glob("*.md"))
PAGES = [*FIRST_PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST_BYTES = {"README.md": 9_000, "ARCHITECTURE.md": 9_216}
MOST_WORDS_A_PARAGRAPH = 90
MOST_WORDS_A_SENTENCE = 30
HAVE_PARTS = ("avatar", "bench")
"""Commands whose first word chooses one of several."""

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- (\w+): generated .*?<!-- \1: end -->", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
SOURCE = re.compile(r"\b(?:src|srcset|href)=\"([^\"]+)\"")
CODE = re.compile(r"`([^`]+)`")
ENDING = re.compile(r"(?<=[.!?])[)*\"”]*\s+")
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
SOURCE_FILE = re.compile(r"\.(py|js|c|h|html|css|toml|yaml|yml)$")
PLACEHOLDER = re.compile(r"(^|[/-])[A-Z]+(/|$)")
PATH = re.compile(r"^\.?[\w-]+(?:[/.][\w*.{},-]+)*/?$")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def paragraphs(text: str) -> Iterator[str]:
    """Running text alone: no code, tables, headings or pictures; an item of a list is a paragraph of its own."""
    text = COMMENT.sub("", GENERATED.sub("", FENCE.sub("", text)))
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        bare = line.strip()
        breaks = not bare or bare.startswith(("|", "#", "<", "![")) or ITEM.match(line)
        if breaks and block:
            yield " ".join(block)
            block = []
        if bare and not bare.startswith(("|", "#", "<", "![")):
            block.append(ITEM.sub("", line).strip())


def words(text: str) -> list[str]:
    """A link counts by its text, a piece of code as one word."""
    text = TAG.sub(" ", CODE.sub("code", LINK.sub(r"\1", text)))
    return [word for word in text.split() if any(letter.isalnum() for letter in word)]


def named_paths(text: str) -> Iterator[str]:
    """Files and folders of the house that a page names in code: `a/b.py`, `a/`, or `b.py` and `c.js` alone."""
    for code in CODE.findall(FENCE.sub("", text)):
        ours = (ROOT / code.partition("/")[0]).exists() if "/" in code else False
        named = ours or code.endswith("/") or SOURCE_FILE.search(code)
        if PATH.match(code) and named and not PLACEHOLDER.search(code):
            yield code


def expanded(pattern: str) -> list[str]:
    """`a/{b,c}.py` as two paths."""
    braces = re.search(r"\{([^}]*)\}", pattern)
    if braces is None:
        return [pattern]
    return [pattern.replace(braces.group(0), choice, 1) for choice in braces.group(1).split(",")]


def is_there(path: str) -> bool:
    """A path from the root, or a file's own name from anywhere."""
    path = path.rstrip("/")
    if "/" not in path and "." in path:  # a file's own name: anywhere in the house
        return (ROOT / path).exists() or any(known.endswith(f"/{path}") for known in tracked())
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


_TRACKED: list[str] = []


def tracked() -> list[str]:
    if not _TRACKED:
        rooms = [ROOT / room for room in ("kernels", "models", "stream", "distill", "bench", "web_client")]
        rooms += [ROOT / room for room in ("tests", "docs", "scripts", "avatars", "weights")]
        _TRACKED.extend(str(path) for room in rooms for path in room.rglob("*") if path.is_file())
    return _TRACKED


def test_sentences_are_counted_as_a_reader_would() -> None:
    text = "# Head\n\nOne two. Three `a b c` four,\n[five six](x.md)!\n\n| no | text |\n- seven (0.5 s)\n- eight\n"
    assert [len(words(part)) for part in paragraphs(text)] == [7, 3, 1]
    assert [len(words(part)) for part in ENDING.split(next(paragraphs(text)))] == [2, 5]
    assert expanded("a/{b,c}.py") == ["a/b.py", "a/c.py"]


@pytest.mark.parametrize("page", FIRST_PAGES, ids=name_of)
def test_the_first_pages_stay_short(page: Path) -> None:
    assert len(page.read_bytes()) <= MOST_BYTES[page.name]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "protocol.md"], ids=name_of)
def test_a_paragraph_is_read_in_one_breath_or_two(page: Path) -> None:
    for paragraph in paragraphs(page.read_text(encoding="utf-8")):
        count = len(words(paragraph))
        assert count <= MOST_WORDS_A_PARAGRAPH, f"{count} words: {paragraph}"
        for sentence in ENDING.split(paragraph):
            count = len(words(sentence))
            assert count <= MOST_WORDS_A_SENTENCE, f"{count} words: {sentence}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [target for _, target in LINK.findall(text)] + SOURCE.findall(text)
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            path, _, place = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{target} is not there"
            if place:
                heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                assert place in {anchor(head) for head in heads}, f"{target}: no such heading"


def anchor(heading: str) -> str:
    """A heading's address as GitHub makes it."""
    bare = re.sub(r"[^\w\s-]", "", LINK.sub(r"\1", heading).replace("`", "")).strip().lower()
    return re.sub(r"\s", "-", bare)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for named in named_paths(page.read_text(encoding="utf-8")):
        for path in expanded(named):
            assert is_there(path), f"{named} is not there"


def test_every_decision_is_indexed_under_its_title() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    links = {target: title for title, target in LINK.findall(index)}
    files = [path for path in RECORDS if path.name != "README.md"]
    assert set(links) == {path.name for path in files}
    for path in files:
        number, _, title = (
            path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(" · ")
        )
        assert path.name.startswith(f"{number}-")
        assert links[path.name] == title


@pytest.mark.parametrize("page", [path for path in RECORDS if path.name != "README.md"], ids=name_of)
def test_a_decision_says_what_why_measured_and_tried(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "**What we do.**" in text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Why", "Measured", "Tried and not kept"]
    assert "\n|" in text.partition("## Measured")[2].partition("## Tried")[0]


def shown_commands() -> dict[tuple[str, ...], set[str]]:
    """The commands that the pages show, each with the options shown beside it."""
    shown: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = [*CODE.findall(FENCE.sub("", text)), *"\n".join(FENCE.findall(text)).splitlines()]
        for line in code:
            command = re.match(
                r"(?:.*\s|.*/)?fada(?:\.py)? ([a-z]+)( [a-z0-9|\\]+)?(.*)", line.partition("  #")[0]
            )
            if command is not None and not line.endswith(" "):  # a prefix of other text is no command
                options = set(re.findall(r"(?<![\w-])--[a-z-]+", command[3]))
                for part in re.findall(r"[a-z0-9]+", command[2] or "") or [""]:
                    shown.setdefault((command[1], part) if part else (command[1],), set()).update(options)
    return shown


def test_every_command_that_is_shown_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    commands = shown_commands()
    assert ("serve",) in commands
    for words_of, options in commands.items():
        asked = words_of if words_of[0] in HAVE_PARTS else words_of[:1]
        assert main([*asked, "--help"]) == 0, f"fada {' '.join(words_of)}"
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert options <= known, f"fada {' '.join(words_of)} has no {sorted(options - known)}"


def report(name: str) -> tuple[str, Any]:
    """A report's short commit and its figures."""
    held = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return held["commit"][:7], held["figures"]


def quoted(figure: dict[str, float], *percentiles: str) -> str:
    """Whole milliseconds, halves upwards."""
    return " / ".join(str(int(figure[name] + 0.5)) for name in percentiles) + " ms"


def window_ms(figures: Any, arm: str, batch: int = 1) -> dict[str, float]:
    """A hop's milliseconds at one evaluation."""
    of = [row for row in figures["arms"] if (row["arm"], row["batch"], row["nfe"]) == (arm, batch, 1)]
    found: dict[str, float] = of[0]["hop_ms"]
    return found


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_the_figures_of_a_call_are_those_of_its_report(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    commit, call = report("e2e_chromium")
    assert commit in text
    assert quoted(call["mic_to_frame_ms"], "p50", "p95") in text
    assert quoted(call["av_skew_abs_ms"], "p95") in text
    assert quoted(call["interruption"]["clear_to_both_ms"], "p95") in text
    assert quoted(call["first_frame_after_start_ms"], "p50", "p95") in text


def test_the_first_page_quotes_the_engines_reports() -> None:
    text = FIRST_PAGES[0].read_text(encoding="utf-8")
    assert quoted(report("e2e_chromium")[1]["server_stages_ms"]["engine"], "p50", "p95") in text
    commit, amx = report("e2e_chromium_amx")
    assert commit in text
    for figure in (
        amx["mic_to_frame_ms"],
        amx["first_frame_after_start_ms"],
        amx["server_stages_ms"]["engine"],
    ):
        assert quoted(figure, "p50", "p95") in text
    commit, h100 = report("engine_h100")
    assert commit in text
    assert f"{window_ms(h100, 'torch-bf16+graph')['p50']:.1f} ms" in text
    assert f"16 at once {quoted(window_ms(h100, 'torch-bf16+graph', 16), 'p99')}" in text


def test_the_first_page_quotes_the_shipped_students_lip_sync() -> None:
    text = FIRST_PAGES[0].read_text(encoding="utf-8")
    suites = json.loads((ROOT / "weights" / "small" / "eval.json").read_text(encoding="utf-8"))["suites"]
    rows = {
        "held-out": "people, voices and texts",
        "open-set": "drawing styles",
        "degraded": "degraded portraits",
    }
    for suite, row in rows.items():
        found = suites[suite]
        assert f"| {row} | {found['r_opening']:.2f} | {found['lag_frames']} frames |" in text


HOUSE = ("kernels", "models", "stream", "distill", "bench", "tests")
_NAME = rf"((?:{'|'.join(HOUSE)})(?:\.[A-Za-z_]\w*)+)"
DOTTED = re.compile(rf"(?:`|python -m |^\s*(?={_NAME}: )){_NAME}", re.MULTILINE)
"""A module or what is in it: in code, run by Python, or as an error that is raised."""


def docstrings(path: Path) -> Iterator[str]:
    """Of a module and all in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def is_known(dotted: str) -> bool:
    """Whether a module of that name is there, and has what follows it."""
    parts = dotted.split(".")
    for depth in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:depth])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                rest = parts[depth:]
                return not rest or bool(re.search(rf"\b{rest[0]}\b", file.read_text(encoding="utf-8")))
    return False


@pytest.mark.parametrize("room", HOUSE)
def test_modules_that_docstrings_name_are_there(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for text in docstrings(path):
            for _, name in DOTTED.findall(text):
                assert is_known(name), f"{name_of(path)} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_that_pages_name_are_there(page: Path) -> None:
    for _, name in DOTTED.findall(page.read_text(encoding="utf-8")):
        assert is_known(name) or is_there(name), name  # `kernels.json` is a file


def test_the_live_picture_is_small_and_says_where_it_was_filmed() -> None:
    folder = ROOT / "docs" / "pictures"
    assert (folder / "live.webp").stat().st_size <= 2_000_000
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"[0-9a-f]{12}", about["commit"]), "filmed from a commit without changes"
    assert about["page"]["fps"] >= 20

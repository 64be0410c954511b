"""Who may know whom: the dependency rule of the house, read from the source without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kernels", "models", "stream", "distill", "bench")

MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "models": {"kernels"},
    "stream": {"models", "kernels"},
    "distill": {"models", "kernels"},
    "bench": {"kernels", "models", "stream", "distill"},
}
FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "kernels": (
        ("dispatch", "launch", "machine", "values"),
        ("native", "reference", "tuning"),
        ("attention_triton", "fp8", "norm_triton"),
        ("attention", "cross_triton", "norm", "temporal_triton"),
        ("cross", "temporal"),
    ),
    "models": (
        ("checkpoint", "face", "sound", "tone"),
        ("configs", "motion", "voice", "warp"),
        ("framing", "presets"),
        ("hop", "modules"),
        ("diffusion", "networks"),
        ("avatar_model", "streaming"),
        ("sd15",),
        ("build",),
        ("weights",),
        ("runtimes",),
    ),
    "distill": (
        ("branches", "corpus"),
        ("avatars", "data"),
        ("probe", "training"),
        ("evaluation", "prepare"),
        ("stages",),
        ("methods",),
        ("train_config",),
        ("stage_maker",),
        ("train",),
        ("ladder",),
    ),
    "bench": (
        ("drift_call", "engine_plot", "finding", "live_speed", "parity", "parts", "report"),
        ("call", "command", "drift", "engine_looks", "gpu", "hops", "pairs"),
        ("doctor", "engine", "faces", "gpu_kernels", "idle", "pictures"),
    ),
    "stream": (
        ("media", "clock", "errors", "listening", "logs", "running", "server_config"),
        ("answers", "middleware", "avatars", "inbound", "engine"),
        ("outbound",),
        ("live",),
        ("programs", "rtc"),
        ("calls", "offline"),
        ("uploads",),
        ("doors",),
        ("app",),
        ("serve",),
    ),
}
"""Parts of a room, the lowest floor first: a part imports from lower floors alone, never from beside or above."""
MOST_FILES = 16
"""Source files beside each other in one folder: more than that is a corridor, not a room."""
SOURCE_SUFFIXES = (".py", ".js", ".mjs", ".c", ".h")
MEDIA = {"av", "aiortc", "aioice"}
TORCH = {"torch", "torchaudio"}
NEVER = {"transformers", "diffusers"}
"""Packages that would look for another `kernels`, and pull in what a live server has no use for."""


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path, *, lazily: bool = True) -> Iterator[str]:
    """Full names of the modules a file imports; without `lazily`, only those imported with the file."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), filename=str(path))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the room's name"
            assert node.module is not None
            # `from models import face` names a module, `from models.face import FPS` does not: give both.
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        deferred = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        if lazily or not isinstance(node, deferred):
            pending.extend(ast.iter_child_nodes(node))


def top(name: str) -> str:
    return name.partition(".")[0]


def module_file(name: str) -> Path | None:
    """The file of one of our own modules."""
    place = ROOT.joinpath(*name.split("."))
    for candidate in (place.with_suffix(".py"), place / "__init__.py"):
        if top(name) in ROOMS and candidate.is_file():
            return candidate
    return None


def reached(path: Path) -> set[str]:
    """Every module that importing this file imports, through our own files."""
    seen: set[str] = set()
    pending = [path]
    while pending:
        for name in imported(pending.pop(), lazily=False):
            # Importing a.b imports a as well.
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                whole = ".".join(parts[:depth])
                if whole not in seen:
                    seen.add(whole)
                    file = module_file(whole)
                    if file is not None:
                        pending.append(file)
    return seen


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may_know(room: str) -> None:
    for path in sources(room):
        foreign = {top(name) for name in imported(path)} & {*ROOMS, "tests", "fada"}
        beyond = foreign - MAY_IMPORT[room] - {room}
        assert not beyond, f"{path.relative_to(ROOT)} imports {sorted(beyond)}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_a_package(room: str) -> None:
    assert (ROOT / room / "__init__.py").is_file()


TORCH_FILE = ROOT / "stream" / "engine" / "torch_engine.py"
"""The one file of `stream` that may know torch."""


def is_engine(path: Path) -> bool:
    return path == TORCH_FILE


def test_only_the_engine_imports_torch_in_stream() -> None:
    for path in sources("stream"):
        if not is_engine(path):
            torches = TORCH & {top(name) for name in imported(path)}
            assert not torches, f"{path.relative_to(ROOT)} imports {sorted(torches)}"


def test_stream_is_importable_without_torch() -> None:
    for path in sources("stream"):
        if not is_engine(path):
            torches = TORCH & {top(name) for name in reached(path)}
            assert not torches, f"importing {path.relative_to(ROOT)} would import {sorted(torches)}"


def part_of(room: str, name: str) -> str:
    """The file or folder right below a room that a module of it lies in."""
    return name.split(".")[1] if top(name) == room and "." in name else ""


@pytest.mark.parametrize("room", FLOORS)
def test_every_part_of_a_room_stands_on_a_floor(room: str) -> None:
    parts = {path.relative_to(ROOT / room).parts[0].removesuffix(".py") for path in sources(room)}
    assert parts - {"__init__"} == {part for floor in FLOORS[room] for part in floor}


@pytest.mark.parametrize("room", FLOORS)
def test_arrows_between_the_parts_of_a_room_run_one_way(room: str) -> None:
    floor_of = {part: floor for floor, parts in enumerate(FLOORS[room]) for part in parts}
    for path in sources(room):
        own = path.relative_to(ROOT / room).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imported(path):
            other = part_of(room, name)
            if other in floor_of and other != own:
                assert floor_of[other] < floor_of[own], f"{path.relative_to(ROOT)} imports {name}"


def own_imports(path: Path) -> set[Path]:
    """Files of ours that a file names in any import statement: at its top, in a function, or for types alone."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {file for alias in node.names if (file := module_file(alias.name))}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # `from models import face` leads to models/face.py, `from models.face import FPS` does so too.
            for alias in node.names:
                file = module_file(f"{node.module}.{alias.name}") or module_file(node.module)
                found |= {file} if file else set()
    return found - {path}


def circle_in(arrows: dict[Path, set[Path]]) -> list[Path]:
    """What is left once every file without arrows into what is left was taken off: nothing, without a circle."""
    left = dict(arrows)
    while done := [file for file, others in left.items() if not others & left.keys()]:
        for file in done:
            del left[file]
    return sorted(left)


def test_no_file_imports_one_that_imports_it_again() -> None:
    arrows = {path: own_imports(path) for room in ROOMS for path in sources(room)}
    # What is left also holds the files that only lead into a circle; turned round, those fall away too.
    left = circle_in(arrows)
    inside = circle_in({file: {other for other in left if file in arrows[other]} for file in left})
    assert not inside, f"import circle among {[str(path.relative_to(ROOT)) for path in inside]}"


@pytest.mark.parametrize(
    ("arrows", "circle"),
    [({"a": "b", "b": "c", "c": ""}, ""), ({"a": "b", "b": "c", "c": "b"}, "abc"), ({"a": "a"}, "a")],
)
def test_a_circle_is_found_and_a_chain_is_none(arrows: dict[str, str], circle: str) -> None:
    graph = {Path(file): {Path(other) for other in others} for file, others in arrows.items()}
    assert circle_in(graph) == [Path(file) for file in circle]


def test_no_folder_of_source_is_a_corridor() -> None:
    for place in (*ROOMS, "web_client"):
        folders = {file.parent for file in (ROOT / place).rglob("*") if file.suffix in SOURCE_SUFFIXES}
        for folder in folders:
            count = sum(file.suffix in SOURCE_SUFFIXES for file in folder.iterdir())
            assert count <= MOST_FILES, f"{folder.relative_to(ROOT)} has {count} source files"


@pytest.mark.parametrize("room", ["kernels", "models"])
def test_networks_are_importable_without_the_media_packages(room: str) -> None:
    for path in sources(room):
        media = MEDIA & {top(name) for name in reached(path) | set(imported(path))}
        assert not media, f"{path.relative_to(ROOT)} needs {sorted(media)}"


def test_the_command_line_imports_a_room_only_for_its_command() -> None:
    heavy = {top(name) for name in reached(ROOT / "fada.py")} & {
        *TORCH,
        *MEDIA,
        "stream",
        "models",
        "distill",
    }
    assert not heavy, f"fada.py imports {sorted(heavy)} before it knows the command"


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_what_probes_for_another_kernels(room: str) -> None:
    for path in sources(room):
        assert not NEVER & {top(name) for name in imported(path)}, path


@pytest.mark.parametrize("room", ROOMS)
def test_names_say_what_a_file_does(room: str) -> None:
    for path in sources(room):
        vague = {"utils", "util", "helpers", "helper", "manager", "process", "handle", "common", "misc"}
        assert path.stem not in vague, path


RTC_ROOM = ROOT / "stream" / "rtc"


def private_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each private name that a file reaches for in something it did not define itself."""
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    own = {node.attr for node in attributes if ast.unparse(node.value) in ("self", "cls")}
    for node in attributes:
        owner = ast.unparse(node.value)
        if node.attr.startswith("_") and not node.attr.startswith("__") and node.attr not in own | {"_exit"}:
            yield node.lineno, f"{owner}.{node.attr}"
    for node in nodes:
        if isinstance(node, ast.Constant) and str(node.value).startswith("_RTC"):
            yield node.lineno, str(node.value)


@pytest.mark.parametrize("room", ["stream", "bench"])
def test_private_names_of_aiortc_are_reached_for_in_rtc_alone(room: str) -> None:
    for path in sources(room):
        if not path.is_relative_to(RTC_ROOM):
            found = [*private_names(path)]
            assert not found, f"{path.relative_to(ROOT)} reaches for {found}; that belongs to stream/rtc"

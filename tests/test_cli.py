"""The command line: help, versions, exit codes, and one sentence for every failure."""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import fada
from models.presets import shipped

ROOT = Path(fada.__file__).resolve().parent


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Puts a command of the test's own behind the name `doctor`."""

    def install(run: Callable[[argparse.Namespace], int]) -> None:
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--count", type=int, default=1)

        module = SimpleNamespace(SUMMARY="a command of the tests", add_arguments=add_arguments, run=run)
        monkeypatch.setitem(sys.modules, fada.COMMANDS["doctor"].module, module)

    return install


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert fada.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, entry in fada.COMMANDS.items():
        assert name in out
        assert entry.summary in out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert fada.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fada 0.")


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert fada.main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert fada.main(["dance"]) == 2
    assert "'dance'" in capsys.readouterr().err


def test_arguments_reach_the_command_and_its_code_comes_back(command: Callable[..., None]) -> None:
    command(lambda args: int(args.count))
    assert fada.main(["doctor", "--count", "7"]) == 7
    assert fada.main(["doctor"]) == 1


def test_a_wrong_option_is_a_usage_error(command: Callable[..., None]) -> None:
    command(lambda args: 0)
    assert fada.main(["doctor", "--colour"]) == 2
    assert fada.main(["doctor", "--count", "many"]) == 2


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (
            ValueError("expected a preset\nof small or base, got large."),
            2,
            "expected a preset of small or base",
        ),
        (FileNotFoundError(2, "No such file or directory", "face.png"), 1, "expected a file at face.png"),
        (PermissionError(13, "Permission denied", "out.mp4"), 1, "out.mp4: Permission denied"),
        (
            ModuleNotFoundError("No module named 'aiortc'", name="aiortc.rtp"),
            1,
            "package aiortc is not installed",
        ),
        (RuntimeError("the pump broke"), 1, "RuntimeError: the pump broke (set FADA_DEBUG=1"),
        (RuntimeError(), 1, "RuntimeError: no message"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "invalid start byte"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_is_one_sentence_and_a_code(
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    sentence: str,
) -> None:
    monkeypatch.delenv("FADA_DEBUG", raising=False)
    command(raising(error))
    assert fada.main(["doctor"]) == code
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err
    assert err.count("\n") == (1 if sentence else 0)


def test_our_own_errors_are_told_in_their_own_words(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    own = type("CheckpointError", (Exception,), {"__module__": "models.checkpoint"})
    command(raising(own("expected a safetensors file, got 3 bytes.")))
    assert fada.main(["doctor"]) == 1
    assert capsys.readouterr().err == "fada doctor: expected a safetensors file, got 3 bytes.\n"


def test_debugging_shows_the_traceback(command: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_DEBUG", "1")
    command(raising(RuntimeError("the pump broke")))
    with pytest.raises(RuntimeError, match="pump"):
        fada.main(["doctor"])


@pytest.mark.parametrize("name", fada.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fada.main([name, "--help"]) == 0
    assert f"usage: fada {name}" in capsys.readouterr().out


@pytest.mark.parametrize("absolute", [True, False])
def test_the_launcher_works_through_links(tmp_path: Path, absolute: bool) -> None:
    setup = (ROOT / "scripts" / "setup").read_text(encoding="utf-8")
    venv = tmp_path / "check out" / ".venv"
    (venv / "bin").mkdir(parents=True)
    launcher, python = venv / "bin" / "fada", venv / "bin" / "python"
    launcher.write_text(setup.split("<<'SH'\n", 1)[1].split("\nSH\n", 1)[0])
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    launcher.chmod(0o755)
    python.chmod(0o755)
    first, second = tmp_path / "bin" / "fada", tmp_path / "fada"
    first.parent.mkdir()
    first.symlink_to(launcher if absolute else Path("../check out/.venv/bin/fada"))
    second.symlink_to(first if absolute else Path("bin/fada"))
    for called in (launcher, first, second):
        run = subprocess.run(
            [called, "render", "a b"], capture_output=True, text=True, timeout=20, check=True
        )
        assert run.stdout == f"{venv.parent}/fada.py|render|a b|"


@pytest.mark.parametrize("name", fada.COMMANDS)
def test_defaults_of_what_is_shipped_do_not_depend_on_the_working_folder(name: str) -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(fada.COMMANDS[name].module).add_arguments(parser)
    for action in parser._actions:
        if isinstance(action.default, Path) and action.default.parts[:1] != ("runs",):  # a user's own work
            assert action.default.is_relative_to(ROOT), f"fada {name} {action.option_strings}"


def test_no_source_names_a_shipped_folder_relative_to_the_working_one() -> None:
    for room in ("kernels", "models", "stream", "distill", "bench"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r'Path\("(weights|avatars|docs|web_client|bench)\b', text), path


def test_shipped_figures_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped("small").is_file() and shipped("small", "probe").is_file()
    assert fada.main(["distill", "--table"]) == 0
    assert "Teacher, 25 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_it_runs_from_any_folder(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "fada.py"), "bench", "e2e", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "usage: fada bench e2e" in run.stdout

"""Where things made for this machine are kept: named, below home, or below the temporary folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernels import machine


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither $HOME nor an account, as under `docker run --user 12345`; the temporary folder is a new one."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("FADA_CACHE", raising=False)
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(machine.tempfile, "tempdir", str(tmp_path))
    machine._homeless_cache.cache_clear()
    return tmp_path


def test_a_named_cache_needs_no_home(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", "/somewhere/else")
    assert machine.cache_root() == Path("/somewhere/else")


def test_without_a_home_the_cache_is_a_folder_of_ones_own(homeless: Path) -> None:
    found = machine.cache_root()
    assert found == homeless / f"fada-live-{os.getuid()}"
    assert found.stat().st_mode & 0o777 == 0o700
    assert machine.cache_root() == found


@pytest.mark.parametrize("trap", ["writable by others", "a link"])
def test_a_folder_that_others_may_write_to_is_not_trusted(homeless: Path, trap: str) -> None:
    taken = homeless / f"fada-live-{os.getuid()}"
    if trap == "a link":
        (homeless / "theirs").mkdir()
        taken.symlink_to(homeless / "theirs")
    else:
        taken.mkdir()
        taken.chmod(0o777)
    found = machine.cache_root()
    assert found != taken
    assert found.parent == homeless


def test_where_there_is_a_home_the_cache_is_below_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FADA_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine.cache_root() == tmp_path / ".cache" / "fada-live"

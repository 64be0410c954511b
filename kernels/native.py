"""CPU kernels in C, compiled once per machine by its own compiler and kept in the cache folder.

In flow fp32 tensors, channels-last in memory; out flow new ones. `load_native` gives the kernels or says in one
sentence why they cannot be had (no compiler, a compiler that fails); nobody is made to have one. Compiling takes a
second or two. Any thread, one at a time per `Workspace`.

Source: `native.c` beside this file; each function's truth is the PyTorch form in `kernels.native_reference`.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

SOURCE: Final = Path(__file__).with_name("native.c")
FLAGS: Final = (
    "-std=gnu11", "-O3", "-march=native", "-fPIC", "-shared",
    # sums may be reordered, so that they vectorise; infinities and NaNs keep their meaning
    "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno",
)  # fmt: skip
COMPILE_LIMIT_S: Final = 60.0
LANES: Final = 8
FEW_KEYS: Final = 64
TILE, OUT = 6, 4
ROWS, COLUMNS = 6, 16
SERIAL_WORK: Final = 500_000
BLOCK_BYTES: Final = 1400 * 1024


class NativeError(RuntimeError):
    """The kernels cannot be had on this machine; the message says why."""


def cache_root() -> Path:
    """Where things made for this machine are kept: $FADA_CACHE or ~/.cache/fada-live."""
    return Path(os.environ.get("FADA_CACHE", Path.home() / ".cache" / "fada-live"))


def find_compiler() -> str | None:
    """The C compiler: $CC, or cc, gcc or clang on the path."""
    wanted = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in wanted if name and (found := shutil.which(name))), None)


def library_path(compiler: str) -> Path:
    """Where the compiled kernels of this source, compiler and processor lie."""
    digest = hashlib.sha256(SOURCE.read_bytes())
    for part in (compiler, *FLAGS, platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    return cache_root() / "native" / f"{digest.hexdigest()[:16]}.so"


def compile_native(compiler: str, library: Path) -> None:
    """Compile the kernels into ``library``, whole or not at all.

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
            command = [compiler, *FLAGS, *threading, "-o", str(made), str(SOURCE), "-lm"]
            try:
                run = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NativeError(f"The C compiler {compiler} could not be run: {error}") from error
            if run.returncode == 0:
                made.replace(library)
                return
            problem = (run.stderr.strip().splitlines() or ["no message"])[0]
    raise NativeError(f"The C compiler {compiler} could not compile the CPU kernels: {problem}")


@lru_cache(maxsize=1)
def load_native() -> ctypes.CDLL:
    """The compiled kernels, compiled now if they are not in the cache.

    Raises:
        NativeError: there is no compiler, it failed, or the cache folder cannot be written.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NativeError("Expected a C compiler (cc, gcc or clang) for the CPU kernels, found none.")
    library = library_path(compiler)
    try:
        if not library.is_file():
            compile_native(compiler, library)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NativeError(f"The CPU kernels in {library} cannot be used: {error}") from error


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model\t", "model name", "flags", "Features")
    return "".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def _at(x: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if x is None else x.data_ptr())


def _int(*values: int) -> tuple[ctypes.c_int, ...]:
    return tuple(ctypes.c_int(value) for value in values)


def _strides(x: Tensor) -> Any:
    return (ctypes.c_ssize_t * 3)(*x.stride()[:3])


def _rows_of(x: Tensor) -> Tensor:
    """(N, C, H, W) as it must lie for C: channels last. No copy where it does."""
    return x.contiguous(memory_format=torch.channels_last)


def winograd_weight(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (36, O / 16, C, 16): G w Gᵀ, packed for `Kernels.conv3x3`; in fp64 inside."""
    g = torch.tensor(
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
         [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], dtype=torch.float64,
    )  # fmt: skip
    tiles = torch.einsum("ai,ocij,bj->aboc", g, weight.double(), g).flatten(0, 1)
    leaving, channels = weight.shape[:2]
    tiles = tiles.reshape(TILE * TILE, leaving // COLUMNS, COLUMNS, channels)
    return tiles.transpose(2, 3).float().contiguous()


def pack_columns(weight: Tensor) -> Tensor:
    """(O, K) -> (O / 16, K, 16) for `Kernels.linear`."""
    leaving, depth = weight.shape
    return weight.float().reshape(leaving // COLUMNS, COLUMNS, depth).transpose(1, 2).contiguous()


def threads_for(work: int) -> int:
    """Threads for a call of about that many vector operations: a small one is done before others would wake.

    On a busy machine the others may first have to be given a processor, and the call waits for them.
    """
    return torch.get_num_threads() if work > SERIAL_WORK else 1


@lru_cache(maxsize=256)
def choose_strips(strips: int, across: int, channels: int, threads: int) -> int:
    """How many rows of tiles make a block of `Kernels.conv3x3`: least work on the busiest thread, then the largest.

    A block's 36 planes should stay near the core and yet be large enough that the weights, which every block
    reads once, are not read too often; between 0.8 and 3 MB we measured no difference on a core with 0.5 MB.
    """
    best, least = 1, math.inf
    for each in range(1, strips + 1):
        rows = -(-each * across // ROWS) * ROWS
        if each > 1 and TILE * TILE * rows * channels * 4 > BLOCK_BYTES:
            break
        blocks = -(-strips // each)
        busiest = -(-blocks // threads) * rows
        if busiest <= least:
            best, least = each, busiest
    return best


@dataclass(slots=True)
class Workspace:
    """Memory that calls share one after the other, grown on demand: fresh megabytes cost page faults."""

    parts: dict[str, Tensor] = field(default_factory=dict)

    def take(self, name: str, *shape: int) -> Tensor:
        """An uninitialised fp32 tensor of that shape; valid until the name is taken again."""
        size = 1
        for side in shape:
            size *= side
        part = self.parts.get(name)
        if part is None or part.numel() < size:
            part = self.parts[name] = torch.empty(size)
        return part[:size].view(shape)


class Kernels:
    """The kernels as calls on tensors: fp32, CPU, channels-last."""

    def __init__(self) -> None:
        """Raises NativeError where they cannot be had."""
        self._library = load_native()
        self._workspace = Workspace()

    def __deepcopy__(self, memo: dict[int, Any]) -> Kernels:
        return self  # a loaded library is what it is; copies of a model share it

    def group_affine(
        self, x: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float, film: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """GroupNorm of x (N, C, H, W), then film (N, 2C) of [scale | shift], as scale and shift (N, C) of x."""
        x = _rows_of(x)
        n, channels, height, width = x.shape
        film = None if film is None else film.contiguous()
        scale, shift = torch.empty(n, channels), torch.empty(n, channels)
        self._library.fada_group_affine(
            _at(x), *_int(n, height * width, channels, groups), _at(gamma), _at(beta), _at(film),
            ctypes.c_float(eps), _at(scale), _at(shift), *_int(threads_for(x.numel())),
        )  # fmt: skip
        return scale, shift

    def conv3x3(
        self,
        x: Tensor,
        tiles: Tensor,
        bias: Tensor,
        affine: tuple[Tensor, Tensor] | None = None,
        silu: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        """3x3 convolution, padding 1, of x or SiLU(x) or SiLU(x * scale + shift), plus bias and residual.

        Args:
            x: (N, C, H, W) with C a multiple of 8.
            tiles: of `winograd_weight`, O a multiple of 16.
            bias: (O,).
            affine: scale and shift (N, C) before SiLU.
            silu: apply SiLU first.
            residual: (N, O, H, W) to add.

        Returns:
            (N, O, H, W), channels-last.
        """
        x = _rows_of(x)
        n, channels, height, width = x.shape
        leaving = tiles.shape[1] * COLUMNS
        assert channels == tiles.shape[2] and channels % LANES == 0
        across, all_strips = -(-width // OUT), n * -(-height // OUT)
        threads = threads_for(TILE * TILE * all_strips * across * channels * leaving // LANES)
        strips = choose_strips(all_strips, across, channels, threads)
        rows = -(-strips * across // ROWS) * ROWS
        own = TILE * (OUT * across + 2) * channels + TILE * TILE * rows * (channels + COLUMNS)
        scratch = self._workspace.take("scratch", threads * own)
        scale, shift = affine or (None, None)
        out = torch.empty((n, height, width, leaving))
        rest = None if residual is None else _rows_of(residual)
        self._library.fada_conv3x3(
            _at(x), *_int(n, height, width, channels), _at(scale), _at(shift), *_int(silu), _at(tiles),
            *_int(leaving), _at(bias), _at(rest), _at(out), _at(scratch), *_int(strips, threads),
        )  # fmt: skip
        return out.permute(0, 3, 1, 2)

    def linear(self, x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., K) times `pack_columns` of a weight (O, K), plus bias (O,) -> (..., O)."""
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        leaving = packed.shape[0] * COLUMNS
        out = torch.empty(*x.shape[:-1], leaving)
        self._library.fada_linear(
            _at(rows), _at(packed), _at(bias), _at(out), *_int(len(rows), rows.shape[1], leaving),
            *_int(threads_for(out.numel() * rows.shape[1] // LANES)),
        )  # fmt: skip
        return out

    def few_keys(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        """Attention of q (A, B, Lq, H D) over at most 64 keys (A, B, Lk, H D), any outer strides.

        Returns:
            Like q, with q's order of memory.
        """
        first, second, queries, width = q.shape
        assert q.stride(3) == k.stride(3) == v.stride(3) == 1 and k.shape[2] <= FEW_KEYS
        out = torch.empty_like(q)
        self._library.fada_few_keys(
            _at(q), _at(k), _at(v), _at(out), *_int(first, second, heads, queries, k.shape[2], width // heads),
            _strides(q), _strides(k), _strides(v), _strides(out), *_int(threads_for(q.numel() * k.shape[2])),
        )  # fmt: skip
        return out

    def paint(self, x: Tensor, canvas: Tensor, stem: int, top: int, left: int) -> None:
        """Write colour and matte x (N, 4 S S, h, w) over the reference that canvas (N, H, W, 3) holds, in place."""
        x = _rows_of(x)
        n, _, rows, columns = x.shape
        _, height, width, _ = canvas.shape
        assert canvas.is_contiguous() and x.shape[1] == 4 * stem * stem and stem <= 8
        self._library.fada_paint(
            _at(x), *_int(n, rows, columns, stem), _at(canvas), *_int(height, width, top, left),
            *_int(threads_for(16 * x.numel())),
        )  # fmt: skip

    def warp(self, canvas: Tensor, rest: Tensor, fields: Tensor, coefficients: Tensor) -> Tensor:
        """Canvas (N, H, W, 3) in [0, 1] moved by `HeadWarp`'s fields (K, H W 2), to bytes (N, H, W, 3)."""
        n, height, width, _ = canvas.shape
        assert canvas.is_contiguous() and coefficients.is_contiguous()
        spare = self._workspace.take("canvas", canvas.numel() + 1)  # read four floats at a time, one too many
        canvas = spare[:-1].view(canvas.shape).copy_(canvas)
        out = torch.empty(canvas.shape, dtype=torch.uint8)
        self._library.fada_warp(
            _at(canvas), *_int(n, height, width), _at(rest), _at(fields), *_int(len(fields)),
            _at(coefficients), _at(out), *_int(threads_for(64 * out.numel())),
        )  # fmt: skip
        return out

"""Which tiling a kernel runs with: measured once per GPU and shape, kept on disk, a rule of thumb until then.

In flow candidates, best guess first; out flows one of them. Measuring costs a compilation for each candidate,
so it happens only inside `tune_kernels()` (a server's warm-up, `fada bench kernels`) and never while a CUDA
graph is being captured; elsewhere the table's entry is used, or else the first candidate. The table is
`$FADA_CACHE/kernels.json`, by default `~/.cache/fada-live/kernels.json`. Any thread.
"""

from __future__ import annotations

import json
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path

import torch

from kernels.launch import Launch, Tiling
from kernels.machine import cache_root

_SEARCHING: ContextVar[int] = ContextVar("tilings to time", default=0)
_MOST_ELEMENTS = 1 << 20  # of a block; Triton refuses more
_COARSELY: ContextVar[bool] = ContextVar("coarse tilings", default=False)

Timer = Callable[[Launch], float]

CONSUMER_SHARED_BYTES = 99 * 1024
"""Shared memory that one program may have on consumer cards (sm_86, sm_89); Hopper's has 227 KB."""


@lru_cache(maxsize=16)
def shared_bytes_of(device: torch.device) -> int:
    """Shared memory that one program may have on a device; a consumer card's for a CPU."""
    if device.type != "cuda":
        return CONSUMER_SHARED_BYTES
    from triton.runtime import driver

    index = torch.cuda.current_device() if device.index is None else device.index
    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])


@contextmanager
def tune_kernels(most: int = 6) -> Iterator[None]:
    """Within: the first call of a kernel at a new shape times its first `most` candidates and keeps the best.

    Raises:
        ValueError: most is negative; 0 times none.
    """
    if most < 0:
        raise ValueError(f"expected at least 0 tilings to time, got {most}.")
    token = _SEARCHING.set(most)
    try:
        yield
    finally:
        _SEARCHING.reset(token)


@contextmanager
def tile_coarsely() -> Iterator[None]:
    """Within: on a CPU, where only the interpreter runs kernels, each takes the fewest programs and steps it can.

    The interpreter's time goes by operations, not by elements, so a whole network is out of reach otherwise.
    """
    token = _COARSELY.set(True)
    try:
        yield
    finally:
        _COARSELY.reset(token)


def tiles_coarsely(device: torch.device) -> bool:
    """Whether kernels on that device are to take their coarsest tiling."""
    return device.type == "cpu" and _COARSELY.get()


def largest_block(*wanted: int, least: int = 16) -> tuple[int, ...]:
    """Sizes rounded up to powers of two, the first one halved until a block of them is one that Triton takes.

    Args:
        least: no size is below this.
    """
    first, *rest = (max(least, 1 << (size - 1).bit_length()) for size in wanted)
    while first > least and first * math.prod(rest) > _MOST_ELEMENTS:
        first //= 2
    return first, *rest


def choose_tiling(
    kernel: str,
    shape: Sequence[object],
    candidates: Sequence[Tiling],
    plan: Callable[[Tiling], Launch],
    device: torch.device,
) -> Tiling:
    """The tiling to launch with.

    Args:
        kernel: its name.
        shape: what the best choice depends on: sizes and dtype. Equal shapes share one entry.
        candidates: tilings that are correct for this call, best guess first.
        plan: a launch of the same work with a tiling, into an output of its own, since it runs many times.
        device: where it runs; only CUDA devices are tuned.
    """
    if device.type != "cuda":
        return candidates[0]
    table = open_table(_device_name(device), _table_path())
    key = " ".join(str(part) for part in (kernel, *shape))
    known = table.find(key, candidates)
    if known is not None:
        return known
    most = _SEARCHING.get()
    if not most or torch.cuda.is_current_stream_capturing():
        return candidates[0]
    return table.keep(key, fastest(candidates[:most], plan, _median_ms))


def fastest(candidates: Sequence[Tiling], plan: Callable[[Tiling], Launch], timer: Timer) -> Tiling:
    """Time every candidate and return the best; one that needs more than the GPU has is passed over."""
    from triton.runtime.errors import OutOfResources

    times: dict[Tiling, float] = {}
    for tiling in candidates:
        try:
            times[tiling] = timer(plan(tiling))
        except OutOfResources:
            continue
    return min(times, key=times.__getitem__) if times else candidates[0]


class TilingTable:
    """Measured tilings of one kind of GPU, in memory and in a file shared by all kinds."""

    def __init__(self, device: str, path: Path) -> None:
        self.device, self.path = device, path
        self._lock = threading.Lock()
        self._entries: dict[str, list[int]] = self._read().get(device, {})

    def find(self, key: str, candidates: Sequence[Tiling]) -> Tiling | None:
        """The entry, unless it is none of today's candidates: kernels change, files stay."""
        entry = self._entries.get(key)
        return next((tiling for tiling in candidates if list(astuple(tiling)) == entry), None)

    def keep(self, key: str, tiling: Tiling) -> Tiling:
        """Remember, and write the file whole or not at all; returns the tiling."""
        with self._lock:
            self._entries[key] = list(astuple(tiling))
            content = self._read() | {self.device: self._entries}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
            part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            part.replace(self.path)
        return tiling

    def _read(self) -> dict[str, dict[str, list[int]]]:
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"the kernels' tilings in {self.path} are unreadable ({error}); they are measured anew."
            warnings.warn(message, stacklevel=2)
            return {}
        return content if isinstance(content, dict) else {}


@lru_cache(maxsize=16)
def open_table(device: str, path: Path) -> TilingTable:
    """The table of a kind of GPU, read once."""
    return TilingTable(device, path)


def _table_path() -> Path:
    return cache_root() / "kernels.json"


@lru_cache(maxsize=16)
def _device_name(device: torch.device) -> str:
    import triton

    return f"{torch.cuda.get_device_name(device)}, triton {triton.__version__}"


def _median_ms(launch: Launch) -> float:
    from triton.testing import do_bench

    return float(do_bench(launch.run, warmup=5, rep=20, return_mode="median"))

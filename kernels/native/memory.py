"""Memory for the CPU kernels: weights in large pages, and a workspace that calls share.

In: packed weights, sizes. Out: tensors. A hop reads a hundred megabytes of weights once; in pages of 4 KB the
processor looks up as many addresses as it would multiply numbers in the meantime. Any thread, one at a time.
"""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

PAGE_BYTES: Final = 2 << 20
CHUNK_BYTES: Final = 32 << 20
LINE_BYTES: Final = 64
_PRIVATE: Final = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""Shared memory, which is `mmap`'s default, gets no large pages."""


class LargePages:
    """Hands out memory, piece by piece, from chunks for which the system is asked for large pages.

    A piece lives as long as its tensor; a system without large pages gives its usual ones.
    """

    def __init__(self) -> None:
        self._chunk: mmap.mmap | None = None
        self._next = 0

    def keep(self, x: Tensor) -> Tensor:
        """A contiguous copy in bf16 if ``x`` is, else fp32; what follows it in memory is the next kept tensor."""
        dtype = torch.bfloat16 if x.dtype == torch.bfloat16 else torch.float32
        size = x.numel() * dtype.itemsize
        if size == 0:
            return x.to(dtype).contiguous()
        if self._chunk is None or self._next + size > len(self._chunk):
            self._open(size)
        assert self._chunk is not None
        kept = torch.frombuffer(self._chunk, dtype=dtype, count=x.numel(), offset=self._next)
        self._next += -(-size // LINE_BYTES) * LINE_BYTES
        return kept.view(x.shape).copy_(x)

    def _open(self, size: int) -> None:
        length = -(-max(size, CHUNK_BYTES) // PAGE_BYTES + 1) * PAGE_BYTES
        chunk = mmap.mmap(-1, length, **_PRIVATE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel built without them
                chunk.madvise(mmap.MADV_HUGEPAGE)
        address = torch.frombuffer(chunk, dtype=torch.uint8).data_ptr()
        self._chunk, self._next = chunk, -address % PAGE_BYTES


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

    def __deepcopy__(self, memo: dict[int, Any]) -> Workspace:
        return Workspace()

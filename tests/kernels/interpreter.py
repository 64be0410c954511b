"""Makes Triton's interpreter quick enough for every shape listed, without touching what it computes.

The interpreter swaps the language's functions for its own at each launch, and again at each call of one jitted
function by another, `tl.max` included: about a millisecond each time, most of a small test's. Once a launch
is enough. Where Triton's internals are others than those known here, its own slow way stays.
"""

from __future__ import annotations

import inspect
from typing import Any

import triton.language as tl
from triton.runtime import interpreter


class _KeptScope:
    """Stands for a swap that is in force already."""

    def restore(self) -> None:
        """Nothing to restore: the launch's own scope does it."""


def swap_language_once_a_launch() -> None:
    """Install; a second call does nothing."""
    swap = getattr(interpreter, "_patch_lang", None)
    executor = getattr(interpreter, "GridExecutor", None)
    if swap is None or executor is None or hasattr(executor, "swapped"):
        return
    in_force: set[tuple[int, ...]] = set()
    launch = executor.__call__

    def swap_once(fn: Any) -> Any:
        places = tuple(
            id(value)
            for value in fn.__globals__.values()
            if inspect.ismodule(value) and value in (tl, tl.core)
        )
        if places in in_force:
            return _KeptScope()
        in_force.add(places)
        return swap(fn)

    def launch_anew(self: Any, *args: Any, **kwargs: Any) -> Any:
        in_force.clear()
        return launch(self, *args, **kwargs)

    interpreter._patch_lang = swap_once
    executor.__call__ = launch_anew
    executor.swapped = True

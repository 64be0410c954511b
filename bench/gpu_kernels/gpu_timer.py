"""Timing one piece of work on a CUDA device: cold L2, and graphs where a launch costs as much as the work.

In flow work; out flow milliseconds. Above 1 ms: events around each call, L2 flushed before. Below: a CUDA graph
of many (flush, work) pairs less a graph of as many flushes, so that neither Python nor launches are counted: on an
H100, events said up to 0.45 ms of calls that take the GPU 0.04.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import torch

from bench.pairs import Timer, wall_ms

GRAPH_BELOW_MS = 1.0
_FLUSH_BYTES = 128 * 2**20  # more than twice an H200's L2
_PAIRS = 20


def event_ms(work: Callable[[], object]) -> float:
    """Median over about 20 ms of calls, each with a cold L2."""
    from triton.testing import do_bench

    return float(do_bench(work, warmup=5, rep=20, return_mode="median"))


def prepare_timing(
    device: torch.device, arms: Mapping[str, Callable[[], object]]
) -> tuple[str, Mapping[str, Callable[[], object]], Timer]:
    """One way of timing for all arms of a comparison: graphs if any of them is short.

    Returns:
        Its name, the arms to hand to the timer, and the timer. An arm that cannot be captured is missing where
        graphs are needed.
    """
    if device.type != "cuda":
        return "wall clock", arms, wall_ms
    if min(event_ms(arm) for arm in arms.values()) >= GRAPH_BELOW_MS:
        return "events, cold L2", arms, event_ms
    captured: dict[str, Callable[[], object]] = {}
    for name, arm in arms.items():
        with contextlib.suppress(RuntimeError):
            captured[name] = GraphArm(arm)
    return "CUDA graph, cold L2", captured, _graph_ms


class GraphArm:
    """Work captured once, many times over, each after a flush of L2, and the flushes alone."""

    def __init__(self, work: Callable[[], object]) -> None:
        flush = torch.empty(_FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")

        def both() -> None:
            flush.zero_()
            work()

        self._both, self._flushes = _capture(both), _capture(flush.zero_)

    def __call__(self) -> float:
        """Milliseconds of one piece of work, the mean of a replay."""
        return max(1e-6, (_replay_ms(self._both) - _replay_ms(self._flushes)) / _PAIRS)


def _graph_ms(arm: Callable[[], object]) -> float:
    assert isinstance(arm, GraphArm)
    return arm()


def _capture(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(_PAIRS):
            work()
    return graph


def _replay_ms(graph: torch.cuda.CUDAGraph) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    graph.replay()
    start.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))

"""Figures for Prometheus, in a registry of their own, and short histories for the page's display.

Written from the event loop only.
"""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.48, 0.64, 1.0, 2.0)
SKEW_BUCKETS_S = (
    -0.16,
    -0.08,
    -0.045,
    -0.02,
    -0.01,
    -0.005,
    0.0,
    0.005,
    0.01,
    0.015,
    0.03,
    0.045,
    0.08,
    0.16,
)


class Metrics:
    """One server's counters; every name begins with `fada_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("fada_sessions", "Sessions by state.", ["state"], registry=self.registry)
        self.seats = Gauge(
            "fada_seats_taken", "Seats taken, sessions being built included.", registry=self.registry
        )
        self.offers = Counter("fada_offers", "Offers by outcome.", ["outcome"], registry=self.registry)
        self.closed = Counter(
            "fada_sessions_closed", "Ended sessions by reason.", ["reason"], registry=self.registry
        )
        self.viewers = Gauge(
            "fada_viewers",
            "Viewers of all sessions, those still connecting included.",
            registry=self.registry,
        )
        self.viewers_closed = Counter(
            "fada_viewers_closed", "Viewers gone by reason.", ["reason"], registry=self.registry
        )
        self.windows = Counter("fada_windows", "Windows drawn.", registry=self.registry)
        self.dropped_windows = Counter(
            "fada_dropped_windows", "Windows dropped from a full queue.", registry=self.registry
        )
        self.frames = Counter(
            "fada_frames", "Frames by what became of them.", ["fate"], registry=self.registry
        )
        self.stage = Histogram(
            "fada_stage_seconds",
            "Time by stage.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.latency = Histogram(
            "fada_latency_seconds",
            "From a microphone sample's arrival to the frame that shows it being sent.",
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.skew = Histogram(
            "fada_skew_seconds",
            "Picture behind its voice when sent; negative if ahead.",
            buckets=SKEW_BUCKETS_S,
            registry=self.registry,
        )
        self.nfe = Gauge("fada_nfe", "Network evaluations per window allowed now.", registry=self.registry)
        self.busy = Gauge("fada_engine_busy_ratio", "Share of time the engine draws.", registry=self.registry)

    def exposition(self) -> bytes:
        """The text of GET /metrics."""
        return generate_latest(self.registry)


class StageTimes:
    """The last durations of each stage of one session, in milliseconds."""

    def __init__(self, kept: int = 100) -> None:
        self._times_ms: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=kept))

    def note(self, stage: str, took_ms: float) -> None:
        self._times_ms[stage].append(took_ms)

    def summary(self) -> dict[str, dict[str, float]]:
        """p50 and p95 by stage."""
        return {
            stage: {
                "p50": round(float(np.percentile(np.asarray(times), 50)), 1),
                "p95": round(float(np.percentile(np.asarray(times), 95)), 1),
            }
            for stage, times in self._times_ms.items()
        }

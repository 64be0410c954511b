"""One session's figures: into the server's metrics, and once a second to the page. Event loop only."""

from __future__ import annotations

from stream.calls.metrics import Metrics, StageTimes
from stream.engine.admission import Draws
from stream.engine.engine_stream import Drawn
from stream.live.face import Face
from stream.outbound.pacer import Pacer
from stream.outbound.tracks import PictureTrack

SPEAKING_HOLD_S = 0.4


class Telemetry:
    """Collects while the session runs.

    Args:
        metrics: the server's.
        hop_frames: frames lost with one window.
    """

    def __init__(self, metrics: Metrics, hop_frames: int) -> None:
        self._metrics = metrics
        self._hop_frames = hop_frames
        self._stages = StageTimes()
        self._dropped_windows = 0
        self._counted = {"held": 0, "dropped": 0, "missed": 0}

    def note_stage(self, stage: str, took_s: float) -> None:
        """A stage of this session took so long."""
        self._metrics.stage.labels(stage).observe(took_s)
        self._stages.note(stage, 1000 * took_s)

    def note_drawn(self, drawn: Drawn, now_s: float) -> None:
        """A window came back from the engine."""
        self.note_stage("queue", drawn.started_s - drawn.submitted_s)
        self.note_stage("engine", drawn.finished_s - drawn.started_s)
        self.note_stage("return", now_s - drawn.finished_s)
        for stage, took_ms in drawn.timings_ms.items():
            self.note_stage(f"engine_{stage}", took_ms / 1000)
        self._metrics.windows.inc()

    def note_dropped_window(self) -> None:
        """A window was dropped before it was drawn."""
        self._dropped_windows += 1
        self._metrics.dropped_windows.inc()

    def report(
        self, now_s: float, face: Face, pictures: PictureTrack | None, scheduler: Draws
    ) -> dict[str, object]:
        """The fields of one `stats` message; the same figures go to the metrics."""
        busy, pacer = scheduler.busy_share(), face.pacer
        self._count(pacer, pictures, scheduler.nfe, busy)
        pacing = pacer.stats.report(now_s)
        return {
            "fps": pacing.fps,
            "latency_ms": pacing.latency_ms,
            "skew_ms": pacing.skew_ms,
            "skew_p95_ms": pacing.skew_p95_ms,
            "dropped": pacing.dropped_frames + self._dropped_windows * self._hop_frames,
            "held": pacing.held_frames,
            "moves": pacing.moves,
            "reserve_ms": pacing.reserve_ms,
            "speaking": now_s - face.spoke_s < SPEAKING_HOLD_S,
            "drawing": pacer.started,
            "nfe": scheduler.nfe,
            "busy": round(busy, 3),
            "bit_rate": 0 if pictures is None else pictures.bit_rate,
            "stages": self._stages.summary(),
        }

    def _count(self, pacer: Pacer, pictures: PictureTrack | None, nfe: int | None, busy: float) -> None:
        metrics, pacing = self._metrics, pacer.stats
        latencies_s, skews_s = pacing.drain()
        for latency_s in latencies_s:
            metrics.latency.observe(latency_s)
        for skew_s in skews_s:
            metrics.skew.observe(skew_s)
        totals = {
            "held": pacing.held_frames,
            "dropped": pacing.dropped_frames,
            "missed": pacing.missed_slots,
        }
        for fate, total in totals.items():
            metrics.frames.labels(fate).inc(total - self._counted[fate])
        self._counted = totals
        metrics.busy.set(busy)
        metrics.nfe.set(nfe or 0)
        if pictures is not None:
            for took_ms in pictures.drain_encode_ms():
                self.note_stage("encode", took_ms / 1000)

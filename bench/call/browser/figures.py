"""What a browser's own counters (`RTCPeerConnection.getStats`) and its pictures' moments say of a call.

In: a `Recording` of `bench.call.browser.call`. Out: figures. Source of the counters' meaning: W3C "Identifiers for
WebRTC's Statistics API", inbound-rtp, remote-inbound-rtp and candidate-pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.call.recording import Recording
from bench.report import summarise


def browser_figures(recording: Recording) -> dict[str, Any]:
    """All figures of one browser's call; None where the browser tells nothing."""
    rows = recording.told.get("counts", [])
    video, audio = (_find(rows, "inbound-rtp", kind) for kind in ("video", "audio"))
    there = _find(rows, "remote-inbound-rtp", "audio")
    pairs = [row for row in rows if row["type"] == "candidate-pair" and row.get("nominated")]
    rtt_s = pairs[0].get("currentRoundTripTime") if pairs else None
    seen = recording.received_s > 0
    late_ms = (recording.video_times_s[seen] - recording.received_s[seen]) * 1e3
    length_s = float(recording.video_times_s[-1] - recording.video_times_s[0])
    return {
        "arrival_to_display_ms": summarise(late_ms),
        "playout_skew_ms": summarise(recording.told.get("playout_skew_ms", [])),
        "decode_ms": _mean(video, "totalDecodeTime", "framesDecoded"),
        "picture_jitter_buffer_ms": _mean(video, "jitterBufferDelay", "jitterBufferEmittedCount"),
        "voice_jitter_buffer_ms": _mean(audio, "jitterBufferDelay", "jitterBufferEmittedCount"),
        "freezes": video.get("freezeCount"),
        "frozen_ratio": round(float(video.get("totalFreezesDuration", 0.0)) / length_s, 5),
        "frames_decoded": video.get("framesDecoded"),
        "frames_dropped": video.get("framesDropped"),
        "frames_presented": recording.told.get("presented"),
        "frames_looked_at": len(recording.video_times_s),
        "packets_lost": {"picture": video.get("packetsLost"), "voice": audio.get("packetsLost")},
        "voice_concealed_ratio": _ratio(audio, "concealedSamples", "totalSamplesReceived"),
        "microphone_lost": there.get("packetsLost"),
        "rtt_ms": None if rtt_s is None else round(1e3 * rtt_s, 1),
        "microphone_blocks_held_up": int((np.diff(recording.mic_times_s) > 0.05).sum()),
    }


def _find(rows: list[dict[str, Any]], kind: str, media: str) -> dict[str, Any]:
    return next((row for row in rows if row["type"] == kind and row.get("kind") == media), {})


def _mean(row: dict[str, Any], total: str, count: str) -> float | None:
    """Mean milliseconds of a sum in seconds."""
    return round(1e3 * row[total] / row[count], 2) if row.get(count) else None


def _ratio(row: dict[str, Any], part: str, whole: str) -> float | None:
    return round(row[part] / row[whole], 5) if row.get(whole) else None

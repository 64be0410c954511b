"""Finds mouth motion and the returned click in a recorded call, and turns them into figures.

In flow a `Recording`; out flow latency, skew, fps and freezes as percentiles. Pure numpy, no network.

Method. A syllable's *mouth onset* is the first video frame after it was sent in which the mouth differs
from its rest (the median of the pictures of the 300 ms before) by a quarter of what it will differ at most;
head motion of up to 6 px is taken out by moving the rest picture to where it fits best. Its *returned
onset* is the peak of the cross-correlation of the returned audio with the syllable's own first 60 ms. A
frame counts from the arrival of its last packet, an audio sample from the arrival of its packet plus its
place within it: no client-side jitter buffer or decoder is inside, and nothing is corrected. Skew is mouth
onset minus returned onset, positive where the sound leads. One frame is 40 ms, so both carry a frame's
quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from bench.call.bursts import MIC_RATE_HZ, PACKET_SAMPLES, make_syllable
from bench.call.recording import MOUTH_SEARCH_PX, Recording
from bench.report import summarise

REST_S = 0.3
"""How long before a syllable the mouth's rest is looked at."""
REPLY_S = 1.6
"""How long after a syllable its effect is looked for, at most; always below the distance of two syllables."""
RISE = 0.25
"""Share of the largest difference at which motion has begun."""
_REPLY_SHARE = 0.8  # of the distance to the next syllable
_PROBE_S = 0.06
_NOISE_FACTOR = 4.0  # a peak below this many times the rest's own noise is no motion
_CORRELATION = 0.3  # a peak below this is not our syllable


@dataclass(frozen=True, slots=True)
class Event:
    """One syllable; None where it was not found again."""

    sent_s: float
    mouth_s: float | None
    returned_s: float | None


def find_events(recording: Recording, warm_up_s: float = 0.0) -> list[Event]:
    """Every syllable sent at least `warm_up_s` after the first video frame, with its two returns."""
    returned = correlate_syllable(recording.audio)
    first_frame_s = recording.video_times_s[0] if len(recording.video_times_s) else np.inf
    sent = [_sent_s(recording, int(onset)) for onset in recording.onset_samples]
    known = [at for at in sent if at is not None]
    events: list[Event] = []
    for index, sent_s in enumerate(known):
        apart_s = known[index + 1] - sent_s if index + 1 < len(known) else REPLY_S
        reply_s = min(REPLY_S, _REPLY_SHARE * apart_s)
        if sent_s - REST_S < first_frame_s + warm_up_s or sent_s + reply_s > recording.video_times_s[-1]:
            continue
        events.append(
            Event(
                sent_s,
                find_mouth_onset(recording, sent_s, reply_s),
                _find_returned(recording, returned, sent_s, reply_s),
            )
        )
    return events


def _sent_s(recording: Recording, onset: int) -> float | None:
    """When a sample of the microphone was sent; None where the call ended before."""
    packet, within = divmod(onset, PACKET_SAMPLES)
    if packet >= len(recording.mic_times_s):
        return None
    return float(recording.mic_times_s[packet]) + within / MIC_RATE_HZ


def find_mouth_onset(recording: Recording, sent_s: float, reply_s: float = REPLY_S) -> float | None:
    """When the first frame with a moved mouth arrived, None where it did not move."""
    times = recording.video_times_s
    rest = (times >= sent_s - REST_S) & (times <= sent_s + 0.02)  # nothing can answer within 20 ms
    reply = (times > sent_s + 0.02) & (times <= sent_s + reply_s)
    if rest.sum() < 3 or reply.sum() < 3:
        return None
    template = np.median(recording.mouths[rest], axis=0)
    noise = mouth_motion(recording.mouths[rest], template)
    motion = mouth_motion(recording.mouths[reply], template) - np.median(noise)
    peak = float(motion.max())
    if peak < _NOISE_FACTOR * max(float(noise.std()), 0.25):
        return None
    # Walk back from the peak: what came before the last rise is drift or a blink's shadow, not this syllable.
    below = np.flatnonzero(motion[: int(motion.argmax()) + 1] < RISE * peak)
    first = int(below[-1]) + 1 if below.size else 0
    return float(times[reply][first])


def mouth_motion(
    mouths: npt.NDArray[np.uint8], template: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float64]:
    """Mean absolute luma difference of each picture from the template, at the best shift of the head.

    Args:
        mouths: (F, h, w) with the search margin on each side.
        template: (h, w), the rest picture.

    Returns:
        (F,) in grey levels, 0..255.
    """
    margin = MOUTH_SEARCH_PX
    inner = template[margin:-margin, margin:-margin].astype(np.float32)
    motion = np.empty(len(mouths))
    for index, mouth in enumerate(mouths):
        places = sliding_window_view(mouth.astype(np.float32), inner.shape)  # (13, 13, h', w')
        # Every other row and column is enough to find the place, and four times quicker.
        coarse = np.abs(places[..., ::2, ::2] - inner[::2, ::2]).mean(axis=(2, 3))
        best = np.unravel_index(int(coarse.argmin()), coarse.shape)
        motion[index] = np.abs(places[best] - inner).mean()
    return motion


def correlate_syllable(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Normalised cross-correlation of the returned audio with the syllable's start, one value per sample."""
    probe = make_syllable()[: round(_PROBE_S * MIC_RATE_HZ)].astype(np.float64)
    if audio.size < probe.size:
        return np.zeros(0)
    signal = audio.astype(np.float64)
    size = 1 << int(signal.size + probe.size).bit_length()
    product = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(probe, size)), size)
    energy = np.concatenate([[0.0], np.cumsum(signal**2)])
    places = signal.size - probe.size + 1
    norm = np.sqrt(np.maximum(energy[probe.size :] - energy[: -probe.size], 1e-9) * np.sum(probe**2))
    correlation: npt.NDArray[np.float64] = product[:places] / norm[:places]
    return correlation


def _find_returned(
    recording: Recording, correlation: npt.NDArray[np.float64], sent_s: float, reply_s: float
) -> float | None:
    """When the syllable's first sample came back, None where it did not."""
    packets = np.flatnonzero(
        (recording.audio_times_s > sent_s) & (recording.audio_times_s <= sent_s + reply_s)
    )
    if packets.size == 0:
        return None
    first = int(recording.audio_starts[packets[0]])
    reach = correlation[first : int(recording.audio_starts[packets[-1]])]
    if reach.size == 0 or reach.max() < _CORRELATION:
        return None
    # Early echoes of the probe correlate nearly as well as its start: take the first strong peak.
    sample = first + int(np.flatnonzero(reach >= 0.9 * reach.max())[0])
    window = correlation[sample : sample + MIC_RATE_HZ // 200]
    sample += int(window.argmax())
    packet = int(np.searchsorted(recording.audio_starts, sample, side="right")) - 1
    return float(recording.audio_times_s[packet] + (sample - recording.audio_starts[packet]) / MIC_RATE_HZ)


def frozen_ratio(times_s: npt.NDArray[np.float64]) -> float:
    """Share of the time spent in gaps of at least max(3 δ, δ + 150 ms), δ the mean gap.

    Source: W3C "Identifiers for WebRTC's Statistics API", freezeCount and totalFreezesDuration.
    """
    gaps = np.diff(times_s)
    if gaps.size == 0:
        return 0.0
    mean = float(gaps.mean())
    return float(gaps[gaps >= max(3 * mean, mean + 0.15)].sum() / gaps.sum())


def analyse(recording: Recording, warm_up_s: float = 2.0) -> dict[str, Any]:
    """All end-to-end figures of one call; the first `warm_up_s` after the first frame are left out.

    Raises:
        ValueError: the call carried too few video frames to say anything.
    """
    if len(recording.video_times_s) < 10:
        raise ValueError(
            f"expected a call with video, got {len(recording.video_times_s)} frames; see the log."
        )
    events = find_events(recording, warm_up_s)
    times = recording.video_times_s
    steady = times >= times[0] + warm_up_s
    if recording.clear_times_s.size:  # interruptions are measured apart
        steady &= times < recording.clear_times_s[0]
    kept = times[steady]
    both = [(e.mouth_s, e.returned_s) for e in events if e.mouth_s is not None and e.returned_s is not None]
    return {
        "mic_to_frame_ms": summarise((e.mouth_s - e.sent_s) * 1e3 for e in events if e.mouth_s is not None),
        "mic_to_returned_audio_ms": summarise(
            (e.returned_s - e.sent_s) * 1e3 for e in events if e.returned_s is not None
        ),
        "av_skew_ms": summarise((mouth - back) * 1e3 for mouth, back in both),
        "av_skew_abs_ms": summarise(abs(mouth - back) * 1e3 for mouth, back in both),
        "frame_interval_ms": summarise(np.diff(kept) * 1e3),
        "fps": round(float((kept.size - 1) / (kept[-1] - kept[0])), 3) if kept.size > 1 else 0.0,
        "frozen_ratio": round(frozen_ratio(kept), 5),
        "longest_gap_ms": round(float(np.diff(kept).max()) * 1e3, 1) if kept.size > 1 else None,
        "growth_ms": growth_ms(events),
        "repeated_frames_ratio": round(float(recording.repeated[steady].mean()), 4) if kept.size else 0.0,
        "start_ms": _start_figures(recording),
        "syllables": {
            "sent": len(events),
            "seen": sum(e.mouth_s is not None for e in events),
            "heard": sum(e.returned_s is not None for e in events),
        },
        "measured_s": round(float(kept[-1] - kept[0]), 1) if kept.size > 1 else 0.0,
    }


def growth_ms(events: list[Event]) -> dict[str, float | None]:
    """How much later mouth and voice come in the call's last quarter than in its first; None where unseen."""
    quarter = max(1, len(events) // 4)
    first, last = events[:quarter], events[-quarter:]
    return {
        "mouth": _later(
            [e.mouth_s - e.sent_s for e in first if e.mouth_s is not None],
            [e.mouth_s - e.sent_s for e in last if e.mouth_s is not None],
        ),
        "voice": _later(
            [e.returned_s - e.sent_s for e in first if e.returned_s is not None],
            [e.returned_s - e.sent_s for e in last if e.returned_s is not None],
        ),
    }


def _later(first: list[float], last: list[float]) -> float | None:
    """Median of the last less that of the first, in ms."""
    return round(float(np.median(last) - np.median(first)) * 1e3, 1) if first and last else None


def _start_figures(recording: Recording) -> dict[str, float]:
    """Milliseconds from the offer to each later moment of the call's start."""
    start = recording.marks_s.get("offer_sent")
    if start is None:
        return {}
    later = {name: at for name, at in recording.marks_s.items() if name != "offer_sent"}
    return {
        name: round((at - start) * 1e3, 1) for name, at in sorted(later.items(), key=lambda mark: mark[1])
    }

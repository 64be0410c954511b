"""The measured call's microphone: as an aiortc track, as a browser's WAV file, and found again in a browser's tap.

In: a `BurstPlan`. Out: packets at their due time with the moment of each, a file, or the places of its syllables.
"""

from __future__ import annotations

import asyncio
import time
import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from bench.call.bursts import MIC_RATE_HZ, PACKET_SAMPLES, BurstPlan
from bench.call.latency import correlate_syllable
from stream.outbound.voice_encoder import AudioPacket, OpusEncoder

_SAME_SYLLABLE: Final = 0.5  # correlation; a browser's noise suppression leaves 0.7 and more
_APART_SAMPLES: Final = MIC_RATE_HZ // 2  # two onsets nearer to each other are one


class SilentMicrophoneError(Exception):
    """A browser's microphone did not carry the plan; the message is a sentence for the user."""


class BurstTrack(MediaStreamTrack):
    """A microphone that plays the plan, one 10 ms packet at its due time, then silence.

    Args:
        plan: what it plays.
        delay_s: packets leave this much after the moment that counts as theirs.
    """

    kind = "audio"

    def __init__(self, plan: BurstPlan, delay_s: float = 0.0) -> None:
        super().__init__()
        self.times_s: list[float] = []
        self._delay_s = delay_s
        self._encoder = OpusEncoder()
        self._samples = np.round(plan.render() * 32767).astype(np.int16)

    async def recv(self) -> AudioPacket:
        """The next packet, encoded (aiortc makes 20 ms of it otherwise); its time is noted as it leaves."""
        index = len(self.times_s)
        due_s = self.times_s[0] + index * PACKET_SAMPLES / MIC_RATE_HZ if index else time.monotonic()
        await asyncio.sleep(max(0.0, due_s + self._delay_s - time.monotonic()))
        if self.readyState != "live":
            raise MediaStreamError
        packet = np.zeros((1, PACKET_SAMPLES), dtype=np.int16)
        piece = self._samples[index * PACKET_SAMPLES : (index + 1) * PACKET_SAMPLES]
        packet[0, : piece.size] = piece
        data = self._encoder.encode(packet[0], index * PACKET_SAMPLES)
        self.times_s.append(time.monotonic() - self._delay_s)
        return data

    async def until(self, sample: int) -> None:
        """Wait until this sample counts as spoken."""
        packet, within = divmod(sample, PACKET_SAMPLES)
        while len(self.times_s) <= packet:
            await asyncio.sleep(0.005)
        await asyncio.sleep(max(0.0, self.times_s[packet] + within / MIC_RATE_HZ - time.monotonic()))


def write_microphone(path: Path, plan: BurstPlan, lead_s: float) -> Path:
    """The plan as 16-bit mono WAV at 48 kHz, after `lead_s` of silence."""
    silence = np.zeros(round(lead_s * MIC_RATE_HZ), np.float32)
    pcm = np.round(np.concatenate([silence, plan.render()]) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MIC_RATE_HZ)
        file.writeframes(pcm.tobytes())
    return path


def find_onsets(said: npt.NDArray[np.float32], plan: BurstPlan) -> npt.NDArray[np.int64]:
    """Where in a tapped microphone the plan's syllables begin, (E,) samples; long vowels are left out.

    Each is looked for by itself: a browser that is held up for a moment plays the rest of its file later.

    Raises:
        SilentMicrophoneError: less than half of them are there.
    """
    match = correlate_syllable(said)
    found: list[int] = []
    for place in np.flatnonzero(match > _SAME_SYLLABLE):
        if found and place - found[-1] < _APART_SAMPLES:
            if match[place] > match[found[-1]]:
                found[-1] = int(place)
        else:
            found.append(int(place))
    onsets = [at for at in found if _is_short(said, at)]
    expected = len(plan.onset_samples())
    if len(onsets) < max(1, expected // 2):
        raise SilentMicrophoneError(
            f"expected {expected} syllables in the browser's microphone, found {len(onsets)}; "
            "the machine may be too busy to play them."
        )
    return np.asarray(onsets, dtype=np.int64)


def _is_short(said: npt.NDArray[np.float32], at: int) -> bool:
    """Whether what begins here has ended after half a second."""
    after = said[at + MIC_RATE_HZ // 2 : at + MIC_RATE_HZ * 7 // 10]
    return bool(after.size and np.sqrt(np.mean(after.astype(np.float64) ** 2)) < 0.01)

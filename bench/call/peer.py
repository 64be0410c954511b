"""The end-to-end measurement's client: one call with a known microphone, written down as it comes back.

In flow a server's address and a `CallPlan`; out flows a `Recording` on disk. Runs as a process of its
own (`python -m bench.call.peer`), so that its decoding shares no interpreter with the server. One event loop;
pictures are cut on it, frames are decoded on aiortc's threads.

Arrival times are taken as packets come off the wire, before any jitter buffer: aiortc's own would hold audio
back by 80 ms and say nothing about the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from bench.call.bursts import BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.microphone import BurstTrack
from bench.call.recording import MOUTH_VIEW, Recording
from bench.call.relay import Relay, stand_between, without_candidates
from models.face import CANVAS_PX
from stream.rtc.arrivals import note_arrivals

CONNECT_TIMEOUT_S = 20.0
_VIDEO_CLOCK_HZ = 90_000


class PeerError(Exception):
    """The call could not be made or carried nothing; the message is a sentence for the user."""


class ArrivalLog:
    """When the last packet of each RTP timestamp came off the wire, by ticks since the first."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self.times_s: dict[int, float] = {}
        self._first: int | None = None
        note_arrivals(receiver, self._note)

    def _note(self, packet: RtpPacket) -> None:
        if packet.payload:
            if self._first is None:
                self._first = packet.timestamp
            self.times_s[(packet.timestamp - self._first) % (1 << 32)] = time.monotonic()

    def time_of(self, ticks: int) -> float:
        """Arrival of the frame with this timestamp; of the newest packet where it is not known."""
        return self.times_s.get(ticks, time.monotonic())


class CallLog:
    """Collects what one call brings; lists grow until `recording` turns them into arrays."""

    def __init__(self) -> None:
        self.marks_s: dict[str, float] = {}
        self.stats: list[dict[str, Any]] = []
        self.clears_s: list[float] = []
        self.hello: dict[str, Any] = {}
        self.lanes: dict[str, dict[str, int]] = {}
        self._video_s: list[float] = []
        self._mouths: list[npt.NDArray[np.uint8]] = []
        self._repeated: list[bool] = []
        self._audio_s: list[float] = []
        self._audio: list[npt.NDArray[np.float32]] = []

    def mark(self, name: str) -> None:
        """Note a moment of the call, the first time only."""
        self.marks_s.setdefault(name, time.monotonic())

    async def watch(self, track: MediaStreamTrack, arrivals: ArrivalLog) -> None:
        """Keep the mouth of every frame until the track ends."""
        before: npt.NDArray[np.uint8] | None = None
        while (frame := await _next_frame(track)) is not None:
            assert isinstance(frame, av.VideoFrame)
            luma = _luma(frame)
            self._video_s.append(arrivals.time_of(int(frame.pts or 0)))
            self.marks_s.setdefault("first_video", self._video_s[0])
            self.mark("first_video_decoded")
            self._mouths.append(cut_mouth(luma))
            self._repeated.append(before is not None and np.array_equal(luma, before))
            before = luma

    async def listen(self, track: MediaStreamTrack, arrivals: ArrivalLog) -> None:
        """Keep the returned sound until the track ends."""
        while (frame := await _next_frame(track)) is not None:
            assert isinstance(frame, av.AudioFrame)
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels)).mean(axis=1) / 32768
            self._audio_s.append(arrivals.time_of(int(frame.pts or 0)))
            self.marks_s.setdefault("first_audio", self._audio_s[0])
            self._audio.append(samples.astype(np.float32))

    def note_message(self, message: str | bytes) -> None:
        """Keep the server's greeting and its once-a-second figures; other messages are none of ours."""
        try:
            content = json.loads(message)
        except ValueError:
            return
        if isinstance(content, dict) and content.get("type") == "stats":
            self.stats.append(content | {"at_s": time.monotonic()})
        elif isinstance(content, dict) and content.get("type") == "hello":
            self.hello = content

    def recording(self, plan: BurstPlan, mic: BurstTrack) -> Recording:
        """Everything as one value."""
        lengths = [0, *(len(piece) for piece in self._audio)]
        height, width = MOUTH_VIEW[3], MOUTH_VIEW[2]
        return Recording(
            onset_samples=plan.onset_samples(),
            mic_times_s=np.array(mic.times_s),
            video_times_s=np.array(self._video_s),
            mouths=np.array(self._mouths, dtype=np.uint8).reshape(-1, height, width),
            repeated=np.array(self._repeated, dtype=bool),
            audio_times_s=np.array(self._audio_s) + 1e-3 * self.hello.get("voice_ahead_ms", 0),
            audio_starts=np.cumsum(lengths)[:-1].astype(np.int64),
            audio=np.concatenate(self._audio) if self._audio else np.zeros(0, dtype=np.float32),
            marks_s=self.marks_s,
            stats=self.stats,
            clear_times_s=np.array(self.clears_s),
            told={"hello": self.hello, **({"relay": self.lanes} if self.lanes else {})},
        )


def cut_mouth(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The mouth's part of a picture of any size, (h, w) of `MOUTH_VIEW`."""
    left, top, width, height = MOUTH_VIEW
    rows = ((top + np.arange(height) + 0.5) * luma.shape[0] / CANVAS_PX).astype(int)
    columns = ((left + np.arange(width) + 0.5) * luma.shape[1] / CANVAS_PX).astype(int)
    return luma[np.ix_(rows, columns)]


async def call(url: str, plan: CallPlan) -> Recording:
    """Make one call, send the whole plan, hang up.

    Args:
        url: the server's address, for example http://127.0.0.1:8080.
        plan: what to say and what the network does.

    Raises:
        PeerError: the server refused the offer or no connection came about.
    """
    log, mic = CallLog(), BurstTrack(plan.bursts, plan.mic_delay_s or 0.0)
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connected = asyncio.Event()
    readers: list[asyncio.Task[None]] = []
    relay: Relay | None = None

    @connection.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        receiver = next(r for r in connection.getReceivers() if r.track is track)
        reader = log.watch if track.kind == "video" else log.listen
        readers.append(asyncio.ensure_future(reader(track, ArrivalLog(receiver))))

    @connection.on("connectionstatechange")
    def on_state() -> None:
        if connection.connectionState == "connected":
            log.mark("connected")
            connected.set()

    channel = connection.createDataChannel("fada")
    channel.on("message", log.note_message)
    connection.addTrack(mic)
    connection.addTransceiver("video", direction="recvonly")
    try:
        await connection.setLocalDescription(await connection.createOffer())
        log.mark("offer_sent")
        offer = connection.localDescription
        sdp = without_candidates(offer.sdp) if plan.relayed else offer.sdp
        fields = {"sdp": sdp, "type": offer.type, **plan.offer_fields()}
        answer = await asyncio.to_thread(post_offer, url, fields)
        log.mark("answered")
        if plan.relayed:
            relay, answer["sdp"] = await stand_between(answer["sdp"], plan.up, plan.down)
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        try:
            await asyncio.wait_for(connected.wait(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            raise PeerError(f"expected a connection within {CONNECT_TIMEOUT_S:.0f} s, none came.") from None
        async with asyncio.TaskGroup() as group:
            group.create_task(_stay(channel, plan.bursts.total_s))
            group.create_task(_interrupt(channel, mic, plan.bursts, log))
    finally:
        if relay is not None:
            log.lanes = relay.counts()
        await connection.close()
        await asyncio.gather(*readers, return_exceptions=True)
        if relay is not None:
            relay.close()
    return log.recording(plan.bursts, mic)


async def _interrupt(channel: Any, mic: BurstTrack, plan: BurstPlan, log: CallLog) -> None:
    """Send `clear` where a long vowel ends in the microphone."""
    for _, end in plan.vowel_spans():
        await mic.until(int(end))
        channel.send(json.dumps({"type": "clear"}))
        log.clears_s.append(time.monotonic())


def post_offer(url: str, offer: dict[str, Any]) -> dict[str, Any]:
    """Send an offer, return the answer; raises PeerError with the server's own sentence."""
    request = urllib.request.Request(
        f"{url.rstrip('/')}/offer",
        data=json.dumps(offer).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            raise PeerError(f"the server refused the offer ({error.code}): {error.read().decode()}") from None
    except OSError as error:
        raise PeerError(f"expected a server at {url}, got: {error}.") from None
    if not isinstance(answer, dict):
        raise PeerError(f"expected an answer with sdp and type, got {answer!r}.")
    return answer


async def _stay(channel: Any, duration_s: float) -> None:
    """Stay on the line, with a ping a second as the page sends it."""
    end_s = time.monotonic() + duration_s
    while (left_s := end_s - time.monotonic()) > 0:
        if channel.readyState == "open":
            channel.send(json.dumps({"type": "ping", "t": round(time.monotonic() * 1e3)}))
        await asyncio.sleep(min(1.0, left_s))


async def _next_frame(track: MediaStreamTrack) -> object | None:
    try:
        return await track.recv()
    except MediaStreamError:
        return None


def _luma(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p")
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), dtype=np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]


def main() -> int:
    """One call from the command line: `python -m bench.call.peer URL OUT PLAN`, the plan as JSON."""
    parser = argparse.ArgumentParser(description="One measured call; see `fada bench e2e`.")
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("plan", type=CallPlan.from_json)
    args = parser.parse_args()
    try:
        recording = asyncio.run(call(args.url, args.plan))
    except PeerError as error:
        print(error, file=sys.stderr)
        return 1
    recording.save(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

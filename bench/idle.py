"""`fada bench idle`: does the mouth rest when nobody speaks, and does speech begin and end without a jump?

In flow the preset's student; out flow two figures, offline, through the live server's own streaming step.

Method. Quiet: a minute of typing, breathing, knocks on the desk and a fan, at several levels, as `room_noise`
makes them; the probe reads the mouth's opening off every frame, the head held still, and gives it as a share of
the range that the same face uses in `babble`. Borders: babble and silence in turn, the head moving; a frame's
change is the mean absolute difference of luma to the frame before, over the face box. Frames within
`BORDER_FRAMES` of where sound begins or ends are border, frames of speech farther away are inside. The ratios are
border over inside, of the means and of the 95th percentiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from bench.call.bursts import MIC_RATE_HZ, make_syllable
from bench.report import make_report
from distill.data.regions import MEASURED_BOX
from kernels.machine import ROOT
from models.face import FPS, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

BORDER_FRAMES: Final = 5
Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--preset", default="small")
    parser.add_argument("--weights", type=Path, help="student checkpoint (default: the shipped one)")
    parser.add_argument("--avatar", default="mira", help="whose picture, of avatars/ (default mira)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of noise (default 60)")
    parser.add_argument("--changes", type=int, default=20, help="between speech and silence (default 20)")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Measure.

    Raises:
        ValueError: no such avatar, or numbers that make no sense.
    """
    if args.seconds < 2 or args.changes < 2:
        raise ValueError(f"expected 2 s and 2 changes or more, got {args.seconds:g} and {args.changes}.")
    face = Face.load(args.preset, args.weights, args.avatar)
    return make_report(
        "idle",
        method=" ".join((__doc__ or "").partition("Method. ")[2].split()),
        shapes={
            "preset": args.preset,
            "avatar": args.avatar,
            "seconds": args.seconds,
            "changes": args.changes,
        },
        figures={
            "quiet": measure_quiet(face, room_noise(args.seconds)),
            "borders": measure_borders(face, args.changes),
        },
    )


@dataclass(frozen=True, slots=True)
class Face:
    """A student, a probe and a picture. `still` holds the head, `moving` does not."""

    still: Any  # models.streaming.Streamer; torch is imported when one is loaded
    moving: Any
    probe: Any
    picture: UInt8Array

    @classmethod
    def load(cls, preset: str = "small", weights: Path | None = None, avatar: str = "mira") -> Face:
        """The shipped student, or another one.

        Raises:
            ValueError: no such avatar.
        """
        import torch

        from distill.probe import load_probe
        from models.framing.similarity import read_laid_out
        from models.presets import HopChoice, shipped
        from models.runtimes.backends import choose_backend, load_networks
        from models.streaming import Streamer
        from models.weights import load_model

        path = ROOT / "avatars" / f"{avatar}.png"
        if not path.is_file():
            raise ValueError(
                f"expected an avatar of avatars/, got '{avatar}'; `fada bench idle --avatar mira`."
            )
        device = torch.device("cpu")
        model = load_model(weights or shipped(preset))
        model.preset = HopChoice().applied(model.preset)
        networks = load_networks(model, device, choose_backend(device))
        picture = read_laid_out(path, model.preset.canvas_px)
        return cls(
            Streamer(networks, device, move_head=False),
            Streamer(networks, device),
            load_probe(shipped(preset, "probe")),
            picture,
        )

    def draw(self, sound: Float32Array, moving: bool, listening: bool = False) -> UInt8Array:
        """Canvases (T, S, S, 3) of a sound (N,) at 16 kHz."""
        from models.hop import HopControls

        streamer = self.moving if moving else self.still
        stream, audio = streamer.preset.stream, streamer.preset.audio
        controls = HopControls(stream.audio_scale, stream.reference_scale, stream.nfe, listening)
        frames = len(sound) // SAMPLES_PER_FRAME
        hops = -(-frames // stream.hop_frames)
        length = streamer.preset.window_samples
        ahead = np.zeros(length, np.float32)
        padded = np.concatenate((np.zeros(audio.context_samples, np.float32), sound, ahead))
        state, drawn = streamer.open(self.picture, 0), []
        for hop in tqdm(range(hops), unit="hop", desc="draw", leave=False, disable=None):
            first = hop * stream.hop_frames * SAMPLES_PER_FRAME
            (state,), made, _ = streamer.hop([state], padded[None, first : first + length], controls)
            drawn.append(made[0])
        return np.concatenate(drawn)[:frames]

    def openings(self, canvases: UInt8Array) -> npt.NDArray[np.float64]:
        """The mouth's visible opening (T,) in canvas pixels."""
        from distill.evaluation.readings import read_openings

        left, top, width, height = MEASURED_BOX
        return read_openings(self.probe, canvases[:, top : top + height, left : left + width])


def measure_quiet(face: Face, noise: Float32Array, speech_s: float = 4.0) -> dict[str, Any]:
    """How far the mouth opens in noise, as shares of its range in speech."""
    spoken = face.openings(face.draw(babble(speech_s), moving=False))
    low, high = np.percentile(spoken, (2.5, 97.5))
    quiet = face.openings(face.draw(noise, moving=False))
    shares = (quiet - low).clip(0) / max(float(high - low), 1e-6)
    return {
        "range_px": round(float(high - low), 2),
        "open_share_p50": round(float(np.median(shares)), 4),
        "open_share_p95": round(float(np.percentile(shares, 95)), 4),
        "open_share_max": round(float(shares.max()), 4),
        "seconds": round(len(quiet) / FPS, 1),
    }


def measure_borders(face: Face, changes: int, part_s: float = 1.5) -> dict[str, Any]:
    """Change from frame to frame where speech begins and ends, over that inside speech."""
    sound, speaking = speech_and_silence(changes, part_s)
    canvases = face.draw(sound, moving=True)
    return border_figures(canvases, speaking[: len(canvases)])


def border_figures(canvases: UInt8Array, speaking: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The figures of canvases (T, S, S, 3) whose frames are of speech or not, (T,).

    Raises:
        ValueError: speech never begins or ends, or has no inside.
    """
    left, top, width, height = MEASURED_BOX
    boxes = canvases[:, top : top + height, left : left + width].astype(np.float32)
    change = np.abs(np.diff(boxes @ np.array([0.299, 0.587, 0.114], np.float32), axis=0)).mean(axis=(1, 2))
    edges = np.flatnonzero(np.diff(speaking.astype(np.int8)))  # between frame e and e + 1, like change e
    near = np.zeros(change.shape, bool)
    for edge in edges:
        near[max(0, edge - BORDER_FRAMES) : edge + BORDER_FRAMES + 1] = True
    border, inside = change[near], change[~near & speaking[1:]]
    if not border.size or not inside.size:
        raise ValueError("expected speech that begins or ends, and some that is far from both.")
    return {
        "changes": len(edges),
        "inside_mean": round(float(inside.mean()), 4),
        "border_mean": round(float(border.mean()), 4),
        "ratio_of_means": round(float(border.mean() / inside.mean()), 4),
        "ratio_of_p95": round(float(np.percentile(border, 95) / np.percentile(inside, 95)), 4),
        "worst_over_inside_max": round(float(border.max() / inside.max()), 4),
    }


def babble(seconds: float, seed: int = 0) -> Float32Array:
    """Syllables of changing pitch and length, about four a second, (N,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * MIC_RATE_HZ), np.float32)
    at = 0
    while at < sound.size:
        syllable = make_syllable(rng.uniform(0.14, 0.26), rng.uniform(100, 180)) * rng.uniform(0.5, 1.0)
        piece = sound[at : at + syllable.size]
        piece += syllable[: piece.size]
        at += syllable.size + round(rng.uniform(0.0, 0.06) * MIC_RATE_HZ)
    third = (
        sound[: sound.size // 3 * 3].reshape(-1, 3).mean(axis=1)
    )  # 48 to 16 kHz: there is little above 4 kHz
    return np.asarray(third, np.float32)


def speech_and_silence(changes: int, part_s: float) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """(sound, speaking): silence and babble in turn, `changes` borders; which frames (T,) are of speech."""
    frames = round(part_s * FPS)
    parts, speaking = [], []
    for part in range(changes + 1):
        spoken = part % 2 == 1
        length = frames * SAMPLES_PER_FRAME
        parts.append(babble(part_s, part)[:length] if spoken else np.zeros(length, np.float32))
        speaking += [spoken] * frames
    return np.concatenate(parts), np.asarray(speaking)


def room_noise(seconds: float, seed: int = 0) -> Float32Array:
    """A room where nobody speaks, (N,) float32 at 16 kHz: a fan, and over it typing, breath, knocks in turn."""
    rng = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE_HZ)
    sound = 0.002 * _coloured(rng, count, 1.2, 40, 7000)
    at, kind = 0, 0
    while at < count:
        length = round(rng.uniform(2.0, 4.0) * SAMPLE_RATE_HZ)
        piece = (_typing, _breath, _knocks)[kind % 3](rng, length) * 10 ** rng.uniform(-1.3, 0.0)
        room = sound[at : at + length]
        room += piece[: room.size]
        at, kind = at + length, kind + 1
    return np.asarray(sound.clip(-1, 1), np.float32)


def _coloured(
    rng: np.random.Generator, count: int, slope: float, low_hz: float, high_hz: float
) -> npt.NDArray[np.float64]:
    """Noise of rms 1 whose power falls as frequency to the -slope between two frequencies."""
    frequency_hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ)
    inside = (frequency_hz > low_hz) & (frequency_hz < high_hz)
    gain = np.where(inside, np.maximum(frequency_hz, 20.0) ** (-slope / 2), 0.0)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * gain, count)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _typing(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Key strokes of peak 0.5, six or seven a second: a click, the plate's ring, the desk's."""
    sound = np.zeros(count)
    at = 0
    time_s = np.arange(SAMPLE_RATE_HZ // 20) / SAMPLE_RATE_HZ
    while at < count:
        click = rng.standard_normal(time_s.size) * np.exp(-time_s / rng.uniform(0.002, 0.006))
        plate = np.sin(2 * np.pi * rng.uniform(1500, 4000) * time_s) * np.exp(-time_s / 0.004)
        desk = np.sin(2 * np.pi * rng.uniform(120, 300) * time_s) * np.exp(-time_s / 0.012)
        piece = sound[at : at + time_s.size]
        piece += (rng.uniform(0.4, 1.0) * (click + 0.6 * plate + 0.5 * desk))[: piece.size]
        at += round(rng.uniform(0.08, 0.24) * SAMPLE_RATE_HZ)
    return np.asarray(0.5 * sound / np.abs(sound).max())


def _breath(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """One breath into the microphone, rms up to 0.1."""
    swell = np.sin(np.pi * np.linspace(0, 1, count)) ** 0.7
    return np.asarray(0.1 * _coloured(rng, count, 1.0, 200, 6000) * swell)


def _knocks(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Knocks on the desk of peak 0.4, some a second."""
    sound = np.zeros(count)
    time_s = np.arange(SAMPLE_RATE_HZ // 4) / SAMPLE_RATE_HZ
    for at in range(0, count, SAMPLE_RATE_HZ // 2):
        knock = np.sin(2 * np.pi * rng.uniform(60, 110) * time_s) * np.exp(-time_s / 0.05)
        piece = sound[at : at + time_s.size]
        piece += (rng.uniform(0.5, 1.0) * knock)[: piece.size]
    return np.asarray(0.4 * sound / np.abs(sound).max())

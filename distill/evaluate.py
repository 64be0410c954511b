"""Command ``fada eval``: how good a student is, on identities, voices and texts that training never saw.

In: a student, the probe and the test split of the corpus. Out: figures (``--json``), a contact sheet and plots.
The student runs through the same streaming step as the live server, hop by hop, with the head held still; the
probe reads its frames and the true frames alike.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from distill.corpus import Character, sample_identities, true_opening
from distill.measures import Floats, best_lag, border_ratio, pearson, quiet_frames, sharpness
from distill.probe import Probe, load_probe
from distill.showcase import avatar_sheet
from distill.speech_set import SpeechItem, SpeechSet, audio_window
from models.backends import choose_backend, load_networks
from models.checkpoint import load_model
from models.face import FACE_BOX, MOUTH_DIMS
from models.streaming import HopControls, Streamer

SUMMARY = "measure a student on held-out identities, voices and texts"
UInt8 = npt.NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--weights", type=Path, help="student checkpoint (default: the shipped one)")
    parser.add_argument("--probe", type=Path, help="probe checkpoint (default: the shipped one)")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument(
        "--clips", type=int, default=12, help="identities, each with a voice and text of its own"
    )
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--nfe", type=int)
    parser.add_argument("--audio-scale", type=float)
    parser.add_argument("--reference-scale", type=float)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="cache of the corpus")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of truth and student here (PNG)")
    parser.add_argument("--avatar-sheet", type=Path, help="write 6 bundled avatars x 8 moments here (PNG)")
    parser.add_argument("--avatars", type=Path, default=Path("avatars"), help="folder with index.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures here")


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """One held-out identity speaking: truth and what the student made of the sound; face boxes."""

    item: SpeechItem
    true: UInt8  # (T, h, w, 3)
    made: UInt8  # (T, h, w, 3)
    opening_px: Floats  # (T,) true visible gap
    ms_per_frame: float


def run(args: argparse.Namespace) -> int:
    """Measure and report; returns the exit code."""
    torch.set_num_threads(args.threads)
    weights = args.weights or Path("weights") / args.preset / "student.safetensors"
    probe = load_probe(args.probe or Path("weights") / args.preset / "probe.safetensors")
    model = load_model(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backend = choose_backend(device) if args.backend == "auto" else args.backend
    streamer = Streamer(load_networks(model, device, backend), device, move_head=False)
    stream = model.preset.stream
    controls = HopControls(
        stream.audio_scale if args.audio_scale is None else args.audio_scale,
        stream.reference_scale if args.reference_scale is None else args.reference_scale,
        args.nfe or stream.nfe,
    )
    speech = SpeechSet(args.data, args.split, args.clips, args.seconds)
    clips = []
    for index in tqdm(range(args.clips), desc="eval"):
        clips.append(perform(streamer, speech[index], args.split, index, controls))
    figures = measure(clips, probe, stream.hop_frames)
    figures |= {
        "nfe": controls.nfe,
        "audio_scale": controls.audio_scale,
        "backend": backend,
        "split": args.split,
    }
    print(report(figures))
    if args.sheet:
        contact_sheet(args.sheet, clips)
    if args.avatar_sheet:
        moving = Streamer(streamer.networks, device)
        spoken = next(clip.item for clip in clips if clip.opening_px.any())
        avatar_sheet(args.avatar_sheet, moving, spoken, args.avatars, controls, people=6, moments=8)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def perform(
    streamer: Streamer, item: SpeechItem, split: str, index: int, controls: HopControls
) -> ClipFrames:
    """Draw the truth, and let the student speak the same sound from the identity's neutral picture."""
    frames = item.mouth.shape[0]
    who = sample_identities([index], split=split)
    still = torch.zeros(1, 1, item.mouth.shape[1]), torch.zeros(1, 1, item.expression.shape[1])
    picture = _bytes(Character(who).frames(*still)[0])[0]
    true = _bytes(Character(who, FACE_BOX).frames(item.mouth[None], item.expression[None])[0])
    began = time.perf_counter()
    made = stream_whole(streamer, picture, item.audio, frames, index, controls)
    spent = (time.perf_counter() - began) * 1e3 / frames
    opening = true_opening(who.repeat(frames), item.mouth).double().numpy()
    left, top, width, height = FACE_BOX
    return ClipFrames(item, true, made[:, top : top + height, left : left + width], opening, spent)


def stream_whole(
    streamer: Streamer, picture: UInt8, audio: torch.Tensor, frames: int, seed: int, controls: HopControls
) -> UInt8:
    """All ``frames`` canvases (T, H, W, 3) of a sound, hop by hop, as the live server makes them."""
    preset = streamer.preset
    stream, cfg = preset.stream, preset.audio
    state, made = streamer.open(picture, seed), []
    for first in range(0, frames, stream.hop_frames):
        window = audio_window(audio, first, stream.window_frames, cfg.context_samples, cfg.lookahead_samples)
        (state,), drawn, _ = streamer.hop([state], window.numpy()[None], controls)
        made.append(drawn[0])
    return np.concatenate(made)[:frames]


def _bytes(pictures: torch.Tensor) -> UInt8:
    return np.asarray((pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())


@torch.no_grad()
def read_frames(probe: Probe, frames: UInt8) -> tuple[Floats, Floats]:
    """The probe's opening (T,) px and mouth dims (T, 6) of face boxes (T, h, w, 3)."""
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    parts = [probe(part) for part in tensor.split(64)]
    opening = torch.cat([p[0] for p in parts]).double().numpy()
    return opening, torch.cat([p[1] for p in parts]).double().numpy()


def measure(clips: list[ClipFrames], probe: Probe, hop: int) -> dict[str, Any]:
    """Every figure over all clips."""
    rows = [_measure_clip(clip, probe, hop) for clip in clips]
    spoken = [row for row in rows if row["true"].std() > 1e-6]  # a clip of breath or noise has no correlation
    tracks = ("made", "seen", "true", "quiet")
    figures: dict[str, Any] = {
        key: round(float(np.mean([row[key] for row in (spoken if key.startswith("r_") else rows)])), 4)
        for key in rows[0]
        if key not in tracks
    }
    made, seen, true, quiet = (
        np.concatenate([row[k] for row in rows]) for k in ("made", "seen", "true", "quiet")
    )
    spread = float(np.percentile(made, 97.5) - np.percentile(made, 2.5))
    lag, r_at_lag = best_lag([row["made"] for row in spoken], [row["true"] for row in spoken])
    figures |= {
        "clips": len(clips),
        "spoken_clips": len(spoken),
        "frames": len(made),
        "pooled_r_opening": round(pearson(made, true), 4),
        "probe_r_on_truth": round(pearson(seen, true), 4),
        "lag_frames": lag,
        "r_at_best_lag": round(r_at_lag, 4),
        "silent_frames": int(quiet.sum()),
        "silence_opening_px": round(float(made[quiet].clip(0).mean()), 3),
        "opening_range_px": round(spread, 3),
        "silence_share_of_range": round(float(made[quiet].clip(0).mean()) / max(spread, 1e-6), 4),
        "amplitude_ratio": round(float(made.std() / max(true.std(), 1e-6)), 4),
        "worst_clip_r": round(min(float(row["r_opening"]) for row in spoken), 4),
    }
    return figures


def _measure_clip(clip: ClipFrames, probe: Probe, hop: int) -> dict[str, Any]:
    made, dims = read_frames(probe, clip.made)
    seen, _ = read_frames(probe, clip.true)
    truth = clip.item.mouth.double().numpy()
    mouth = (slice(None), slice(84, 156), slice(32, 128))
    out: dict[str, Any] = {
        "made": made,
        "seen": seen,
        "true": clip.opening_px,
        "quiet": quiet_frames(clip.opening_px),
        "r_opening": pearson(made, clip.opening_px),
        "border_ratio": border_ratio(clip.made, hop),
        "border_ratio_truth": border_ratio(clip.true, hop),
        "mouth_sharpness_ratio": sharpness(clip.made[mouth]) / max(sharpness(clip.true[mouth]), 1e-9),
        "face_sharpness_ratio": sharpness(clip.made) / max(sharpness(clip.true), 1e-9),
        "ms_per_frame": clip.ms_per_frame,
    }
    for index in (1, 2):
        out[f"r_{MOUTH_DIMS[index]}"] = pearson(dims[:, index], truth[:, index])
    return out


def report(figures: dict[str, Any]) -> str:
    """A short table for people."""
    rows = [f"{key:24s} {value}" for key, value in figures.items()]
    return "\n".join(rows)


def contact_sheet(path: Path, clips: list[ClipFrames], moments: int = 8, people: int = 6) -> None:
    """Truth above the student's frames, ``moments`` for each of ``people`` clips."""
    from distill.sheets import save_grid

    rows = []
    for clip in clips[:people]:
        # moments of rest and of wide mouths alike: evenly over the sorted true openings, then in time's order
        order = np.argsort(clip.opening_px, kind="stable")
        picks = np.sort(order[np.linspace(0, len(order) - 1, moments).astype(int)])
        for frames in (clip.true, clip.made):
            rows.append(torch.from_numpy(frames[picks]).permute(0, 3, 1, 2).float() / 255)
    save_grid(path, rows)

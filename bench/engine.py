"""`fada bench engine`: milliseconds per frame by stage and number of evaluations, in paired rounds.

In flow a preset and backends; out flows a report. Runs on the machine's own device, in one thread, without a
server. Where no weights are at hand (a bare GPU machine), random ones are measured: speed does not depend on
their values, and the report says so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench.pairs import compare, time_rounds
from bench.report import make_report, summarise
from models.backends import BACKENDS, choose_backend, load_networks
from models.build import AnyModel, build_model
from models.checkpoint import CheckpointError, load_any_model
from models.presets import PRESETS, preset
from models.streaming import HopControls, Streamer, StreamState

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"

_METHOD = (
    "One hop of every arm a round, arms in turn (A B C, B C A, ...). Milliseconds per frame are those of a "
    "hop over its frames and sessions; CPU time counts all threads. speedup is the median of the rounds' "
    "ratios to the first arm. VAE decoding, blending and head warp are inside, video encoding is not."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS))
    parser.add_argument("--nfe", type=int, nargs="+", default=[1, 2, 4, 6], help="evaluations per window")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="sessions per batch")
    parser.add_argument(
        "--backend", nargs="+", default=["auto"], choices=("auto", *BACKENDS), help="runtimes to compare"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=30)


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Measure every backend, batch and number of evaluations against the first of each."""
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    model, origin = load_or_invent(args.preset)
    backends = [choose_backend(device) if name == "auto" else name for name in args.backend]
    sources = {name: Streamer(load_networks(model, device, name), device) for name in dict.fromkeys(backends)}
    rows: list[dict[str, Any]] = []
    for batch in args.batch:
        arms = {
            f"{backend} nfe {nfe}": HopArm(source, batch, nfe)
            for backend, source in sources.items()
            for nfe in args.nfe
        }
        with tqdm(total=args.rounds, desc=f"batch {batch}", unit="round", disable=None) as bar:
            first = next(iter(arms.values()))
            first.on_call = bar.update
            times = time_rounds({name: arm.step for name, arm in arms.items()}, rounds=args.rounds)
        compared = compare(times)
        rows += [_row(name, arms[name], compared[name]) for name in arms]
    return make_report(
        "engine",
        method=_METHOD,
        shapes={
            "preset": args.preset,
            "weights": origin,
            "device": str(device),
            "threads": args.threads,
            "hop_frames": model.preset.stream.hop_frames,
            "overlap_frames": model.preset.stream.overlap_frames,
            "canvas_px": model.preset.canvas_px,
            "rounds": args.rounds,
        },
        figures={"arms": rows},
    )


class HopArm:
    """One configuration, run hop after hop on streams of its own."""

    def __init__(self, streamer: Streamer, batch: int, nfe: int) -> None:
        self.streamer, self.batch, self.nfe = streamer, batch, nfe
        self.stages_ms: dict[str, list[float]] = {}
        self.cpu_ms: list[float] = []
        self.on_call: Any = None
        stream, audio = streamer.preset.stream, streamer.preset.audio
        self.frames = stream.hop_frames * batch
        samples = audio.context_samples + audio.lookahead_samples
        samples += stream.window_frames * streamer.preset.sample_rate_hz // streamer.preset.fps
        random = np.random.default_rng(0)
        self._audio = random.normal(0, 0.1, (batch, samples)).astype(np.float32)
        side = streamer.preset.canvas_px
        picture = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
        self._states: Sequence[StreamState] = [streamer.open(picture, seed) for seed in range(batch)]
        self._controls = HopControls(stream.audio_scale, stream.reference_scale, nfe)

    def step(self) -> None:
        """One hop of all streams."""
        started_s = time.process_time()
        self._states, _, stages_ms = self.streamer.hop(self._states, self._audio, self._controls)
        self.cpu_ms.append((time.process_time() - started_s) * 1e3)
        for stage, took_ms in stages_ms.items():
            self.stages_ms.setdefault(stage, []).append(took_ms)
        if self.on_call is not None:
            self.on_call()


def load_or_invent(name: str) -> tuple[AnyModel, str]:
    """The shipped student of a preset, or one with random weights; and which of the two it is."""
    path = WEIGHTS / name / "student.safetensors"
    if path.exists():
        try:
            return load_any_model(path), "shipped"
        except CheckpointError as error:
            tqdm.write(f"random weights instead of {path}: {error}")
    torch.manual_seed(0)
    return build_model(preset(name), "student").eval(), "random"


def _row(name: str, arm: HopArm, compared: Mapping[str, Any]) -> dict[str, Any]:
    hop_ms = compared["ms"]
    per_frame = {key: round(float(hop_ms[key]) / arm.frames, 3) for key in ("p50", "p95", "p99")}
    stages = {
        stage: round(float(summarise(times)["p50"]) / arm.frames, 3) for stage, times in arm.stages_ms.items()
    }
    return {
        "arm": name,
        "batch": arm.batch,
        "nfe": arm.nfe,
        "ms_per_frame": per_frame,
        "cpu_ms_per_frame_p50": round(float(summarise(arm.cpu_ms)["p50"]) / arm.frames, 3),
        "stage_ms_per_frame_p50": stages,
        "hop_ms": hop_ms,
        "speedup": compared["speedup"],
    }

"""`fada bench hops`: what shorter windows, less overlap and less look-ahead gain in delay and cost in quality.

In flow a list of choices HOP/OVERLAP/LOOK-AHEAD[/NFE]; out flow, for each, the delay that its windows alone cost,
lip-sync and flicker on held-out clips (`fada eval`'s measures), and what a frame costs against the first choice,
all timed in turn in one run (milliseconds are `fada bench engine`'s to tell). Also draws them as one plot. Written
to docs/results/latency_quality.json, which is what chose the presets' `HopChoice`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from bench.report import make_report
from distill.evaluation.run import evaluate
from distill.evaluation.streams import paired_time
from distill.evaluation.suites import SUITES
from distill.probe import load_probe
from kernels.machine import ROOT
from models.face import FPS
from models.hop import HopControls
from models.presets import HopChoice, shipped
from models.runtimes.backends import choose_backend, load_networks
from models.streaming import Streamer
from models.weights import load_model

USUAL: Final = "4/1/2 4/0/2 3/0/2 2/1/2 2/0/2 1/0/2 4/1/1 2/1/1 2/0/1 1/0/1 2/0/0 4/1/2/2 2/0/2/2"
KEPT: Final = {
    "r_opening": "r_opening",
    "worst_clip_r": "worst_clip_r",
    "lag_frames": "lag_frames",
    "amplitude_ratio": "amplitude_ratio",
    "silence_share": "silence_share",
    "jitter_ratio": "jitter",
    "border_ratio": "border_ratio",
    "border_ratio_truth": "border_ratio_truth",
    "sharpness_mouth": "sharpness_mouth",
    "frechet": "frechet",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One way of cutting windows, with its number of evaluations."""

    hop: int
    overlap: int
    lookahead: int
    nfe: int

    @staticmethod
    def read(text: str, nfe: int) -> Choice:
        """`HOP/OVERLAP/LOOK-AHEAD` or `HOP/OVERLAP/LOOK-AHEAD/NFE`.

        Raises:
            ValueError: another form.
        """
        parts = text.split("/")
        if len(parts) not in (3, 4) or not all(part.isdigit() for part in parts):
            raise ValueError(f"Expected HOP/OVERLAP/LOOK-AHEAD or HOP/OVERLAP/LOOK-AHEAD/NFE, got '{text}'.")
        hop, overlap, lookahead, *more = (int(part) for part in parts)
        return Choice(hop, overlap, lookahead, *(more or [nfe]))

    @property
    def name(self) -> str:
        return f"{self.hop}/{self.overlap}/{self.lookahead} nfe {self.nfe}"

    @property
    def delay_ms(self) -> float:
        """From a sound to the frame that shows it, if drawing took no time: of the window's first frame."""
        return 1000 * (self.hop + self.overlap + self.lookahead) / FPS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--preset", default="small")
    parser.add_argument("--weights", type=Path, help="student checkpoint (default: the shipped one)")
    parser.add_argument("--choices", nargs="+", default=USUAL.split(), metavar="H/O/L[/NFE]")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=15, help="of the timing")
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="cache of the corpus")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="keep each choice's quality here, and go on"
    )
    parser.add_argument("--plot", type=Path, help="draw the trade here (PNG)")
    parser.set_defaults(json=ROOT / "docs" / "results" / "latency_quality.json")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Measure every choice."""
    torch.set_num_threads(2)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = args.weights or shipped(args.preset)
    stream = load_model(weights).preset.stream
    choices = [Choice.read(text, stream.nfe) for text in args.choices]
    backend = choose_backend(device)
    streamers = {choice: _streamer(weights, device, backend, choice) for choice in choices}
    controls = {
        choice: HopControls(stream.audio_scale, stream.reference_scale, choice.nfe) for choice in choices
    }
    qualities = {
        choice: _kept_quality(args, choice, streamers[choice], controls[choice]) for choice in choices
    }
    times = paired_time({c.name: (streamers[c], controls[c]) for c in choices}, args.rounds)
    first_ms = times[choices[0].name]
    rows = [_row(choice, times[choice.name] / first_ms, qualities[choice]) for choice in choices]
    if args.plot:
        draw(rows, args.plot)
    return make_report(
        "latency_quality",
        method=" ".join((__doc__ or "").split()),
        shapes={
            "preset": args.preset,
            "backend": backend,
            "clips": args.clips,
            "seconds": args.seconds,
            "threads": torch.get_num_threads(),
        },
        figures={"choices": rows},
    )


def _streamer(weights: Path, device: torch.device, backend: str, choice: Choice) -> Streamer:
    model = load_model(weights)
    model.preset = HopChoice(choice.hop, choice.overlap, choice.lookahead).applied(model.preset)
    return Streamer(load_networks(model, device, backend), device, move_head=False)


def _row(choice: Choice, cost: float, quality: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        "hop": choice.hop,
        "overlap": choice.overlap,
        "lookahead": choice.lookahead,
        "nfe": choice.nfe,
        "window_delay_ms": choice.delay_ms,
        "cost_per_frame": round(cost, 3),
        **quality,
    }


def _kept_quality(
    args: argparse.Namespace, choice: Choice, streamer: Streamer, controls: HopControls
) -> dict[str, float | None]:
    """The quality of a choice, from `--resume` if an earlier run with these clips has it."""
    if args.resume is None:
        return _quality(args, streamer, controls)
    kept = json.loads(args.resume.read_text()) if args.resume.exists() else {}
    key = f"{choice.name}, {args.clips} x {args.seconds:g} s"
    if key not in kept:
        kept[key] = _quality(args, streamer, controls)
        args.resume.write_text(json.dumps(kept, indent=1))
    found: dict[str, float | None] = kept[key]
    return found


def _quality(args: argparse.Namespace, streamer: Streamer, controls: HopControls) -> dict[str, float | None]:
    """The kept figures of the held-out suite; a hop of one frame has no frames within to compare borders with."""
    probe = load_probe(shipped(args.preset, "probe"), str(streamer.device))
    suite = replace(SUITES["held-out"], split="test", clips=args.clips, seconds=args.seconds)
    figures = evaluate(streamer, probe, suite, controls, args.data)
    kept: dict[str, float | None] = {name: round(figures[key], 4) for name, key in KEPT.items()}
    if streamer.preset.stream.hop_frames == 1:
        kept["border_ratio"] = kept["border_ratio_truth"] = None
    return kept


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Delay against lip-sync and against flicker, one point a choice."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for axis, key, label in (
        (axes[0], "r_opening", "lip-sync: mouth opening against the truth, r"),
        (axes[1], "border_ratio", "flicker: change across window borders / within"),
    ):
        for row in rows:
            if row[key] is None:
                continue
            delay = row["window_delay_ms"]
            marker = "o" if row["nfe"] == 1 else "s"
            axis.plot(delay, row[key], marker, color=f"C{row['lookahead']}")
            name = f"{row['hop']}/{row['overlap']}/{row['lookahead']}"
            axis.annotate(name, (delay, row[key]), textcoords="offset points", xytext=(5, 4), fontsize=8)
        axis.set_xlabel("delay of the windows alone, ms")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0.7, 0.9)
    axes[1].axhline(1.2, color="grey", linestyle=":", linewidth=1)
    figure.suptitle(
        "hop / overlap / look-ahead in frames of 40 ms; squares: two evaluations; colour: look-ahead",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)

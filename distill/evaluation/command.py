"""Command ``fada eval``: how good a student is, on people, voices, texts and styles that training never saw.

In: a student, the probe and the suites. Out: figures (``--json``), contact sheets and plots. The student runs
through the same streaming step as the live server, hop by hop; the probe reads its frames and true frames alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from distill.evaluation.head_motion import head_motion
from distill.evaluation.long_run import long_run
from distill.evaluation.run import ClipFrames, evaluate
from distill.evaluation.showcase import avatar_sheet
from distill.evaluation.speech import SpokenFile, human_speech
from distill.evaluation.suites import SUITES, Suite
from distill.evaluation.sweep import sweep
from distill.probe import Probe, load_probe
from kernels.machine import ROOT
from models.hop import HopControls
from models.presets import StreamConfig, shipped
from models.runtimes.backends import choose_backend, load_networks
from models.runtimes.options import add_hop_arguments, read_hop
from models.streaming import Streamer
from models.weights import load_model

SUMMARY = "measure a student on held-out, open-set and degraded pictures, over minutes, on recorded speech"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--weights", type=Path, help="student checkpoint (default: the shipped one)")
    parser.add_argument("--probe", type=Path, help="probe checkpoint (default: the shipped one)")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--suite", default="held-out", choices=(*SUITES, "all"), help="what to measure on")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--clips", type=int, help="people, each with a voice and text of their own")
    parser.add_argument("--seconds", type=float, help="length of a clip")
    parser.add_argument("--batch", type=int, default=4, help="clips that are streamed together")
    parser.add_argument("--nfe", type=int)
    parser.add_argument("--audio-scale", type=float)
    parser.add_argument("--reference-scale", type=float)
    parser.add_argument("--backend", default="auto")
    add_hop_arguments(parser)
    parser.add_argument(
        "--long-run", type=float, metavar="MINUTES", help="also stream so long and watch for drift"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="also turn each guidance scale over its range, seven values each"
    )
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="also speak every WAV file of a folder")
    parser.add_argument("--speech-files", type=int, default=0, help="take only the N largest of them")
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="cache of the corpus")
    parser.add_argument(
        "--sheet", type=Path, help="contact sheet of truth and student (PNG, of the first suite)"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write sheets and plots of everything here")
    parser.add_argument("--avatar-sheet", type=Path, help="write 6 bundled avatars x 8 moments here (PNG)")
    parser.add_argument("--avatars", type=Path, default=ROOT / "avatars", help="folder with index.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures here")


def run(args: argparse.Namespace) -> int:
    """Measure and report; returns the exit code."""
    torch.set_num_threads(args.threads)
    if args.batch < 1:
        raise ValueError(f"--batch must be 1 or more, got {args.batch}.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    probe = load_probe(args.probe or shipped(args.preset, "probe"), str(device))
    model = load_model(args.weights or shipped(args.preset))
    backend = choose_backend(device) if args.backend == "auto" else args.backend
    model.preset = read_hop(args).applied(model.preset)
    streamer = Streamer(load_networks(model, device, backend), device, move_head=False)
    controls = _controls(args, model.preset.stream)
    figures = _measure(args, streamer, probe, controls)
    stream = model.preset.stream
    figures |= {"backend": backend, "split": args.split}
    figures |= {"hop": stream.hop_frames, "overlap": stream.overlap_frames}
    figures |= {"lookahead": model.preset.lookahead_frames}
    print(report(figures))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _controls(args: argparse.Namespace, stream: StreamConfig) -> HopControls:
    return HopControls(
        stream.audio_scale if args.audio_scale is None else args.audio_scale,
        stream.reference_scale if args.reference_scale is None else args.reference_scale,
        args.nfe or stream.nfe,
    )


def chosen_suites(args: argparse.Namespace) -> list[Suite]:
    """The suites asked for, with the command line's split, number and length of clips."""
    names = list(SUITES) if args.suite == "all" else [args.suite]
    changes = {"split": args.split, "clips": args.clips, "seconds": args.seconds}
    given = {key: value for key, value in changes.items() if value is not None}
    return [dataclasses.replace(SUITES[name], **given) for name in names]


def _measure(
    args: argparse.Namespace, streamer: Streamer, probe: Probe, controls: HopControls
) -> dict[str, Any]:
    """All that was asked for; one suite's figures lie at the top level, several under their names."""
    suites: dict[str, dict[str, float]] = {}
    first: list[ClipFrames] = []
    for suite in chosen_suites(args):
        clips: list[ClipFrames] = []
        suites[suite.name] = evaluate(streamer, probe, suite, controls, args.data, args.batch, clips)
        if args.plots:
            _draw_suite(args.plots, suite, clips, probe)
        first = first or clips
    figures: dict[str, Any] = (
        dict(next(iter(suites.values()))) | {"suite": args.suite} if len(suites) == 1 else {"suites": suites}
    )
    usual = SUITES["held-out"]
    figures["head_motion"] = head_motion(
        args.data, args.split, args.clips or usual.clips, args.seconds or usual.seconds
    )
    if args.long_run:
        figures["long_run"] = long_run(streamer, probe, args.long_run, controls, args.data, split=args.split)
    if args.sweep:
        figures["sweep"] = sweep(streamer, probe, chosen_suites(args)[0], controls, args.data)
    spoken: list[SpokenFile] = []
    if args.speech:
        figures["speech"] = human_speech(streamer, probe, args.speech, controls, args.speech_files, spoken)
    if args.plots:
        _draw_rest(args.plots, suites, figures, spoken)
    _draw_sheets(args, streamer, controls, first)
    return figures


def _draw_suite(folder: Path, suite: Suite, clips: list[ClipFrames], probe: Probe) -> None:
    from distill.evaluation.plots import contact_sheet, plot_openings, reference_sheet

    contact_sheet(folder / f"{suite.name}-sheet.png", clips)
    reference_sheet(folder / f"{suite.name}-references.png", clips)
    plot_openings(folder / f"{suite.name}-openings.png", clips, probe)


def _draw_rest(
    folder: Path, suites: dict[str, dict[str, float]], figures: dict[str, Any], spoken: list[SpokenFile]
) -> None:
    from distill.evaluation.plots import plot_long_run, plot_speech, plot_suites

    plot_suites(folder / "suites.png", suites)
    if "long_run" in figures:
        plot_long_run(folder / "long-run.png", figures["long_run"])
    if spoken:
        plot_speech(folder / "speech.png", spoken)


def _draw_sheets(
    args: argparse.Namespace, streamer: Streamer, controls: HopControls, clips: list[ClipFrames]
) -> None:
    from distill.evaluation.plots import contact_sheet

    if args.sheet:
        contact_sheet(args.sheet, clips)
    if args.avatar_sheet:
        moving = Streamer(streamer.networks, streamer.device)
        item = next((clip.clip.item for clip in clips if clip.opening_px.any()), clips[0].clip.item)
        avatar_sheet(args.avatar_sheet, moving, item, args.avatars, controls, people=6, moments=8)


def report(figures: dict[str, Any], indent: str = "") -> str:
    """A short table for people; lists are left to the JSON file."""
    rows = []
    for key, value in figures.items():
        if isinstance(value, dict):
            rows += [f"{indent}{key}", report(value, indent + "  ")]
        elif not isinstance(value, list):
            rows.append(f"{indent}{key:26s} {value}")
    return "\n".join(rows)

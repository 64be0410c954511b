"""Command ``fada eval``: how good a student is, on people, voices, texts and styles that training never saw.

In: a student, the probe and the suites. Out: figures (``--json``), contact sheets and plots. The student runs
through the same streaming step as the live server, hop by hop; the probe reads its frames and true frames alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from distill.evaluation.config import EvalConfig, Extras, Pictures, StudentConfig
from distill.evaluation.faces.command import ON_FACES, FacesConfig, run_heads
from distill.evaluation.faces.heads import HEADS
from distill.evaluation.faces.line import LINE_S
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
from models.presets import shipped
from models.runtimes.backends import choose_backend, load_networks
from models.runtimes.options import AUTO, add_hop_arguments, read_hop
from models.streaming import Streamer
from models.weights import load_model

SUMMARY = "measure a student on held-out, open-set and degraded pictures, over minutes, on recorded speech"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--weights", type=Path, help="student checkpoint (default: the shipped one)")
    parser.add_argument(
        "--against", type=Path, help="suite heads: a second checkpoint on the same heads, in one table"
    )
    parser.add_argument("--probe", type=Path, help="probe checkpoint (default: the shipped one)")
    parser.add_argument("--preset", default="small")
    parser.add_argument(
        "--suite", default="held-out", choices=(*SUITES, "all", *ON_FACES), help="what to measure on"
    )
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


def read_config(args: argparse.Namespace) -> EvalConfig:
    """The command line as one checked value.

    Raises:
        ValueError: a choice makes no sense.
    """
    usual = SUITES["held-out"]
    return EvalConfig(
        student=_read_student(args, args.weights),
        probe=args.probe or shipped(args.preset, "probe"),
        suite=args.suite,
        suites=chosen_suites(args.suite, args.split, args.clips, args.seconds),
        split=args.split,
        motion_clips=args.clips or usual.clips,
        motion_s=args.seconds or usual.seconds,
        data=args.data,
        pictures=Pictures(args.avatars, args.sheet, args.plots, args.avatar_sheet),
        extras=Extras(args.long_run, args.sweep, args.speech, args.speech_files),
        batch=args.batch,
        threads=args.threads,
    )


def _read_student(args: argparse.Namespace, weights: Path | None) -> StudentConfig:
    return StudentConfig(
        weights or shipped(args.preset),
        args.backend,
        read_hop(args),
        args.nfe,
        args.audio_scale,
        args.reference_scale,
    )


def read_faces(args: argparse.Namespace) -> FacesConfig:
    """The command line as it says of faces as they are.

    Raises:
        ValueError: a choice makes no sense.
    """
    return FacesConfig(
        student=_read_student(args, args.weights),
        preset=args.preset,
        probe=args.probe or shipped("small", "probe"),
        data=args.data,
        other=_read_student(args, args.against) if args.against else None,
        split=args.split,
        heads=args.clips or HEADS,
        seconds=args.seconds or LINE_S,
        sheet=args.sheet,
        folder=args.plots,
    )


def run(args: argparse.Namespace) -> int:
    """Measure and report; returns the exit code."""
    if args.suite == "heads":
        torch.set_num_threads(args.threads)
        figures = run_heads(read_faces(args))
        write_figures(args.json, figures)
        return 0
    config = read_config(args)
    torch.set_num_threads(config.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    probe = load_probe(config.probe, str(device))
    model = load_model(config.student.weights)
    named = config.student.backend
    backend = choose_backend(device) if named == AUTO else named
    model.preset = config.student.hop.applied(model.preset)
    streamer = Streamer(load_networks(model, device, backend), device, move_head=False)
    stream = model.preset.stream
    figures = _measure(config, streamer, probe, config.student.controls(stream))
    figures |= {"backend": backend, "split": config.split}
    figures |= {"hop": stream.hop_frames, "overlap": stream.overlap_frames}
    figures |= {"lookahead": model.preset.lookahead_frames}
    print(report(figures))
    write_figures(args.json, figures)
    return 0


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON, where a path was given."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def chosen_suites(
    suite: str, split: str, clips: int | None = None, seconds: float | None = None
) -> tuple[Suite, ...]:
    """The suite of a name, or all of them, with this split and, where given, number and length of clips."""
    names = list(SUITES) if suite == "all" else [suite]
    given: dict[str, Any] = {
        key: value for key, value in (("clips", clips), ("seconds", seconds)) if value is not None
    }
    return tuple(dataclasses.replace(SUITES[name], split=split, **given) for name in names)


def _measure(config: EvalConfig, streamer: Streamer, probe: Probe, controls: HopControls) -> dict[str, Any]:
    """All that was asked for; one suite's figures lie at the top level, several under their names."""
    suites: dict[str, dict[str, float]] = {}
    first: list[ClipFrames] = []
    data, plots = config.data, config.pictures.plots
    for suite in config.suites:
        clips: list[ClipFrames] = []
        suites[suite.name] = evaluate(streamer, probe, suite, controls, data, config.batch, clips)
        if plots:
            _draw_suite(plots, suite, clips, probe)
        first = first or clips
    figures: dict[str, Any] = (
        dict(next(iter(suites.values()))) | {"suite": config.suite}
        if len(suites) == 1
        else {"suites": suites}
    )
    figures["head_motion"] = head_motion(data, config.split, config.motion_clips, config.motion_s)
    spoken: list[SpokenFile] = []
    figures |= _measure_extras(config, streamer, probe, controls, spoken)
    if plots:
        _draw_rest(plots, suites, figures, spoken)
    _draw_sheets(config.pictures, streamer, controls, first)
    return figures


def _measure_extras(
    config: EvalConfig, streamer: Streamer, probe: Probe, controls: HopControls, spoken: list[SpokenFile]
) -> dict[str, Any]:
    """What was asked for besides the suites; recordings that were spoken go into ``spoken``."""
    extras, figures = config.extras, dict[str, Any]()
    if minutes := extras.long_run_min:
        figures["long_run"] = long_run(streamer, probe, minutes, controls, config.data, split=config.split)
    if extras.sweep:
        figures["sweep"] = sweep(streamer, probe, config.suites[0], controls, config.data)
    if extras.speech:
        figures["speech"] = human_speech(
            streamer, probe, extras.speech, controls, extras.speech_files, spoken
        )
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
    pictures: Pictures, streamer: Streamer, controls: HopControls, clips: list[ClipFrames]
) -> None:
    from distill.evaluation.plots import contact_sheet

    if pictures.sheet:
        contact_sheet(pictures.sheet, clips)
    if pictures.avatar_sheet:
        moving = Streamer(streamer.networks, streamer.device)
        item = next((clip.clip.item for clip in clips if clip.opening_px.any()), clips[0].clip.item)
        avatar_sheet(pictures.avatar_sheet, moving, item, pictures.avatars, controls, people=6, moments=8)


def report(figures: dict[str, Any], indent: str = "") -> str:
    """A short table for people; lists are left to the JSON file."""
    rows = []
    for key, value in figures.items():
        if isinstance(value, dict):
            rows += [f"{indent}{key}", report(value, indent + "  ")]
        elif not isinstance(value, list):
            rows.append(f"{indent}{key:26s} {value}")
    return "\n".join(rows)

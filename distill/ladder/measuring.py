"""Measuring one row of the ladder: every suite, a long stream, and the time of all rows in one run.

In: a `RowMeasuring` and a row. Out: JSON files of figures.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from distill.branches import BranchNetworks
from distill.evaluation.long_run import long_run
from distill.evaluation.run import evaluate
from distill.evaluation.streams import paired_time
from distill.evaluation.suites import SUITES
from distill.ladder.config import RowMeasuring
from distill.ladder.jobs import Plan, write_json
from distill.ladder.rows import Row
from distill.probe import load_probe
from models.hop import HopControls
from models.presets import HopChoice
from models.runtimes.backends import choose_backend, kernels_of, load_networks
from models.streaming import Streamer
from models.weights import load_model

ROUNDS = 31
"""Hops of each row that are timed: of 15, on a shared machine, rows of one and the same network differed by 15%."""


def open_row(plan: Plan, row: Row, seed: int, device: str) -> tuple[Streamer, HopControls]:
    """The row's model behind the live server's streaming step, at the preset's scales."""
    model = load_model(plan.model(row.model, seed), device)
    model.preset = HopChoice().applied(model.preset)
    target = torch.device(device)
    backend = choose_backend(target)
    dtype = torch.bfloat16 if backend == "torch-bf16" else torch.float32
    networks = (
        load_networks(model, target, backend)
        if model.role == "student"
        else BranchNetworks(model, row.branches, target, dtype, kernels_of(backend))
    )
    stream = model.preset.stream
    controls = HopControls(stream.audio_scale, stream.reference_scale, row.steps)
    return Streamer(networks, target, move_head=False), controls


def measure_row(measuring: RowMeasuring, plan: Plan, row: Row, seed: int) -> None:
    """All figures of a row with one seed, suite by suite."""
    streamer, controls = open_row(plan, row, seed, measuring.device)
    probe, data = load_probe(measuring.probe), measuring.data
    figures = {}
    for name in plan.suites:
        suite = replace(SUITES[name], clips=measuring.clips, seconds=measuring.seconds)
        figures[name] = evaluate(streamer, probe, suite, controls, data)
        figures[name].pop("ms_per_frame", None)  # other workers run beside this one: the job "time" says
    if seed == 0 and measuring.drift_seconds:
        drift = long_run(streamer, probe, measuring.drift_seconds / 60, controls, data, people=1)
        figures[plan.suites[0]]["drift_ratio"] = drift["identity_ratio"]
    write_json(plan.figures(row, seed), figures)


def time_rows(measuring: RowMeasuring, plan: Plan) -> None:
    """Time per frame of every row, interleaved, with the machine to itself: with one thread and with all."""
    device = measuring.device
    rows = {row.name: open_row(plan, row, 0, device) for row in plan.rows}
    found = {}
    for threads in sorted({1, measuring.threads}) if device == "cpu" else (1,):
        torch.set_num_threads(threads)
        name = "GPU" if device != "cpu" else f"{threads} thread{'s' if threads > 1 else ''}"
        found[name] = paired_time(rows, rounds=ROUNDS)
    write_json(
        plan.times,
        {
            "ms_per_frame": found,
            "about": f"one identity, {device}, {choose_backend(torch.device(device))}",
        },
    )

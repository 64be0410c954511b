"""The ladder's work as jobs: train a model, measure a row, time all rows; each leaves a file and is done once.

In: a `Plan`. Out: jobs with what they need and what they leave, in an order that can run. A job runs in a process
of its own (`fada distill --job NAME`), so that a lost one costs itself alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from distill.ladder.rows import PARENT, SHIPPED, STEP_METHODS, TEACHER, Row


@dataclass(frozen=True, slots=True)
class Plan:
    """What the whole ladder is made of."""

    out: Path
    teacher: Path
    rows: tuple[Row, ...]
    seeds: int
    suites: tuple[str, ...]
    shipped: Path
    once: tuple[str, ...] = ()  # models with one seed; the teacher and the shipped student always

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.suites:
            raise ValueError("The ladder needs at least 1 seed and 1 suite.")

    def model(self, name: str, seed: int) -> Path:
        """Where a trained model's file is."""
        if name == SHIPPED:
            return self.shipped
        return self.teacher if name == TEACHER else self.out / f"{name}-s{seed}" / "model.safetensors"

    def ready(self, name: str, seed: int) -> Path:
        """What is there once a model is trained to its end; its own file is there from the first checkpoint."""
        path = self.model(name, seed)
        return path if name in (TEACHER, SHIPPED) else path.parent / "done.json"

    def figures(self, row: Row, seed: int) -> Path:
        """Where a measured row's figures are."""
        return self.out / "figures" / f"{row.name}-s{seed}.json"

    @property
    def times(self) -> Path:
        return self.out / "figures" / "times.json"

    def row_seeds(self, row: Row) -> range:
        """Seeds of a row."""
        return range(1 if row.model in (TEACHER, SHIPPED, *self.once) else self.seeds)


@dataclass(frozen=True, slots=True)
class Job:
    """A name for ``--job``, what must exist before it, and what it leaves."""

    name: str
    needs: tuple[Path, ...]
    leaves: Path
    alone: bool = field(default=False)  # runs with nothing beside it: timings


def training_jobs(plan: Plan) -> list[Job]:
    """One job per model and seed that some row asks for, parents first."""
    wanted: dict[tuple[str, int], None] = {}
    for row in plan.rows:
        for seed in plan.row_seeds(row):
            if row.model in STEP_METHODS:
                wanted[PARENT, seed] = None
            if row.model not in (TEACHER, SHIPPED):
                wanted[row.model, seed] = None
    ordered = sorted(wanted, key=lambda key: (key[1], key[0] in STEP_METHODS, key[0] != PARENT))
    jobs = [Job("teacher", (), plan.teacher)]
    for name, seed in ordered:
        needs = (plan.teacher,) if name not in STEP_METHODS else (plan.ready(PARENT, seed),)
        jobs.append(Job(f"train:{name}:{seed}", needs, plan.ready(name, seed)))
    return jobs


def all_jobs(plan: Plan) -> list[Job]:
    """Training, then each row's measurement as soon as its model is there, then the times."""
    jobs = training_jobs(plan)
    measured = [
        Job(f"measure:{row.name}:{seed}", (plan.ready(row.model, seed),), plan.figures(row, seed))
        for row in plan.rows
        for seed in plan.row_seeds(row)
    ]
    models = tuple(plan.ready(row.model, 0) for row in plan.rows)
    finished = tuple(job.leaves for job in measured)
    return [*jobs, *measured, Job("time", models + finished, plan.times, alone=True)]


def run_jobs(jobs: Sequence[Job], command: Sequence[str], workers: int, threads: int) -> list[str]:
    """Run every job whose file is missing, ``workers`` at a time; returns the names of those that failed.

    Args:
        command: the command line that takes ``--job NAME``.
        threads: threads of one worker; a job that runs alone gets those of all.
    """
    waiting = [job for job in jobs if not job.leaves.is_file()]
    running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}
    failed: list[str] = []
    with tqdm(total=len(jobs), initial=len(jobs) - len(waiting), desc="ladder") as bar:
        while waiting or running:
            for name, (job, child) in list(running.items()):
                if child.poll() is None:
                    continue
                del running[name]
                bar.update()
                if child.returncode != 0 or not job.leaves.is_file():
                    failed.append(name)
            ready = [job for job in waiting if all(path.is_file() for path in job.needs)]
            if not running and not ready:
                break  # what is left waits for something that failed
            for job in ready:
                busy_alone = any(other.alone for other, _ in running.values())
                if len(running) >= workers or busy_alone or (job.alone and running):
                    break
                waiting.remove(job)
                running[job.name] = (job, _start(job, command, threads * (workers if job.alone else 1)))
            time.sleep(0.2)
    return failed + [job.name for job in waiting]


def _start(job: Job, command: Sequence[str], threads: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    log = job.leaves.parent / f"{job.name.replace(':', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as target:
        return subprocess.Popen(
            [sys.executable, *command, "--job", job.name, "--threads", str(threads)],
            stdout=target,
            stderr=target,
            env=environment,
        )


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)

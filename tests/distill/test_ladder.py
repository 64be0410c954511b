"""The ladder: jobs in an order that can run, done once; tables that say what the figures say."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.ladder import table
from distill.ladder.claims import claims, claims_table
from distill.ladder.command import add_arguments, job_command, read_config, run
from distill.ladder.jobs import Job, Plan, all_jobs, run_jobs, training_jobs, write_json
from distill.ladder.rows import ROWS, Row, chosen_rows
from distill.ladder.table import collect, into_document, markdown, plot, short_table, summary
from distill.ladder.training import teacher_config
from models.presets import shipped


def plan_of(root: Path, names: str = "all", seeds: int = 2) -> Plan:
    return Plan(
        root,
        root / "teacher" / "model.safetensors",
        chosen_rows(names),
        seeds,
        ("held-out",),
        root / "shipped",
        ("dmd", "balanced"),
    )


def test_the_rows_are_those_of_the_table_that_was_asked_for() -> None:
    assert [row.nfe for row in ROWS if not row.extra] == [75, 18, 6, 6, 6, 6, 18, 6, 4, 2, 1, 6, 4, 2, 1]
    assert chosen_rows("naive, fast") == tuple(r for r in ROWS if r.name in ("naive", "fast"))
    with pytest.raises(ValueError, match="Unknown rows \\['magic'\\]"):
        chosen_rows("naive,magic")
    with pytest.raises(ValueError, match="unknown model"):
        Row("x", "x", "magic", 1, 1)


def test_a_drift_too_short_to_measure_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["--out", str(tmp_path / "runs"), "--drift-seconds", "20"])
    with pytest.raises(ValueError, match="0 or at least 30, got 20"):
        run(args)
    assert not (tmp_path / "runs").exists()


def test_jobs_can_run_in_their_order(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    made: set[Path] = {plan.shipped}
    for job in all_jobs(plan):
        assert set(job.needs) <= made, job.name
        made.add(job.leaves)
    names = [job.name for job in training_jobs(plan)]
    assert len(names) == len(set(names))
    assert (
        "train:naive:1" in names
        and "train:dmd:0" in names
        and "train:dmd:1" not in names
        and "train:balanced:1" not in names
    )
    assert names.index("train:fast:1") < names.index("train:consistency:1")


def fake_worker(root: Path) -> list[str]:
    """A command that does what a job's command does: takes --job, leaves a file, notes that it ran."""
    script = root / "worker.py"
    script.write_text(
        "import json, sys, pathlib\n"
        "name = sys.argv[sys.argv.index('--job') + 1]\n"
        "jobs = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "with open(sys.argv[1] + '.ran', 'a') as ran: ran.write(name + '\\n')\n"
        "if name.startswith('bad'): sys.exit(3)\n"
        "path = pathlib.Path(jobs[name]); path.parent.mkdir(parents=True, exist_ok=True); path.write_text('x')\n"
    )
    return [str(script), str(root / "jobs.json")]


def test_jobs_run_once_and_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    def job(name: str, *needs: str, alone: bool = False) -> Job:
        return Job(name, tuple(tmp_path / n for n in needs), tmp_path / name, alone)

    jobs = [job("a"), job("bad"), job("b", "a"), job("c", "bad"), job("d", "a", "b", alone=True)]
    (tmp_path / "jobs.json").write_text(json.dumps({j.name: str(j.leaves) for j in jobs}))
    command = fake_worker(tmp_path)
    assert run_jobs(jobs, command, workers=2, threads=1) == ["bad", "c"]
    ran = (tmp_path / "jobs.json.ran").read_text().split()
    assert sorted(ran) == ["a", "b", "bad", "d"] and ran.index("a") < ran.index("b") < ran.index("d")
    assert run_jobs(jobs, command, workers=2, threads=1) == ["bad", "c"]
    assert (tmp_path / "jobs.json.ran").read_text().split()[4:] == ["bad"], "what is done is not done again"
    assert sys.executable


@pytest.fixture
def ladder(tmp_path: Path) -> dict[str, object]:
    plan = plan_of(tmp_path, "teacher-75,naive,fast,fast-2")
    for row in plan.rows:
        for seed in plan.row_seeds(row):
            figures = {"r_opening": 0.8 + 0.02 * seed, "identity_distance": 0.1, "frechet": 1.0 / row.nfe}
            write_json(plan.figures(row, seed), {"held-out": figures})
    times = {row.name: float(row.nfe) for row in plan.rows}
    alone = {name: 2 * ms + 1 for name, ms in times.items()}
    write_json(plan.times, {"ms_per_frame": {"1 thread": alone, "2 threads": times}, "about": "a test"})
    about = {
        "commit": "abc",
        "hardware": "2 cores",
        "clips": 1,
        "seconds": 2.0,
        "steps": 3,
        "batch": 4,
        "seeds": 2,
    }
    return collect(plan, about)


def test_the_table_holds_mean_spread_and_time_ratio(ladder: dict[str, object], tmp_path: Path) -> None:
    text = markdown(ladder)  # type: ignore[arg-type]
    assert "| Teacher, 25 steps × 3 branches | 75 | 1.0 | 151.0 | 1.0 | 75.0 | 0.800 |" in text
    assert "| Naive distillation, 6 × 1 | 6 | 11.6 | 13.0 | 12.5 | 6.0 | 0.810 ± 0.014 |" in text
    assert text.index("FADA-Fast") < text.index("parts left out") < text.index("Fast at 2 steps")
    assert "12.5x" in short_table(ladder, ROWS)  # type: ignore[arg-type]
    document = tmp_path / "training.md"
    document.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    into_document(document, text)
    into_document(document, text)
    written = document.read_text()
    assert written.count("| Naive distillation, 6 × 1 | 6 |") == 1 and "old" not in written
    assert written.startswith("before") and written.endswith("after\n")
    document.write_text("no marks")
    with pytest.raises(ValueError, match="no place for the table"):
        into_document(document, text)
    plot(tmp_path / "plots" / "ladder.png", ladder)  # type: ignore[arg-type]
    assert (tmp_path / "plots" / "ladder.png").stat().st_size > 10_000


def test_a_suite_in_which_nobody_speaks_has_a_table_too(ladder: dict[str, Any]) -> None:
    for row in ladder["rows"]:
        for figures in row["suites"].values():
            figures.pop("r_opening", None)
    assert "–" in short_table(ladder, ROWS)


def test_claims_say_what_holds_and_what_the_seeds_cannot_tell() -> None:
    def row(
        name: str, nfe: int, r: float, spread: float, identity: float, faster: float
    ) -> dict[str, object]:
        def figure(mean: float) -> dict[str, float]:
            return {"mean": mean, "spread": spread * mean, "n": 3}

        suite = {"r_opening": figure(r), "identity_distance": figure(identity), "frechet": figure(identity)}
        speeds = {"1 thread": faster, "2 threads": faster + 1}
        return {
            "name": name,
            "title": name,
            "nfe": nfe,
            "branches": 1,
            "extra": False,
            "suites": {"held-out": suite},
            "times_faster_by_threads": speeds,
        }

    rows = [row("teacher-75", 75, 0.8, 0.0, 1.0, 1), row("naive", 6, 0.7, 0.01, 1.2, 10)]
    rows += [row("fast", 6, 0.78, 0.01, 1.05, 9.5), row("tokens", 6, 0.77, 0.02, 1.0, 10)]
    rows += [row("shipped-6", 6, 0.7, 0.01, 1.2, 10)]
    told = {claim.text: claim for claim in claims({"rows": rows})}
    assert told["fast: sync r at least 97% of the teacher's"].verdict == "held"
    assert told["fast: sync r at least 97% of the teacher's"].figure == "0.780 / 0.800 = 97.5%"
    assert told["shipped-6: sync r at least 97% of the teacher's"].verdict == "missed"
    assert told["shipped-6: identity distance within 10% of the teacher's"].verdict == "missed"
    assert not any(text.startswith("naive:") for text in told), "the aims are FADA's"
    assert told["fast: at least 10 times faster"].verdict == "held in part"
    better = told["FADA-Fast against naive distillation, held-out"]
    assert better.verdict == "sync r: better; identity distance: better; Fréchet distance: better"
    assert "+11.4% (spread 1.5%)" in better.figure
    part = told["roll-out, left out of Fast, held-out"]
    assert part.verdict == "sync r: undecided; identity distance: worse; Fréchet distance: worse"
    assert not any("mixed" in text for text in told), "rows that were not measured are not spoken of"
    assert claims_table({"rows": rows[:1]}) == ""
    rows[1]["suites"]["held-out"]["r_opening"]["n"] = 1  # type: ignore[index]
    once = {claim.text: claim for claim in claims({"rows": rows})}
    assert "sync r: undecided" in once["FADA-Fast against naive distillation, held-out"].verdict


def test_summary_is_mean_and_sample_deviation() -> None:
    out = summary([{"a": 1.0}, {"a": 2.0}, {"a": 3.0}])
    assert out["a"] == {"mean": 2.0, "spread": 1.0, "n": 3}
    assert summary([{"a": 5.0}])["a"]["spread"] == 0.0


def test_the_teacher_is_a_value_and_not_a_command_line(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--teacher", str(tmp_path / "t" / "model.safetensors"), "--data", str(tmp_path), "--batch", "3"]
    config = read_config(
        parser.parse_args([*words, "--teacher-steps", "7", "--frames", "4", "--device", "cpu"])
    )
    made = teacher_config(config)
    assert (made.stage, made.folder) == ("teacher", tmp_path / "t" / "making")
    assert (made.pace.steps, made.pace.batch, made.pace.frames, made.pace.device) == (7, 6, 4, "cpu")
    assert made.start.from_weights == shipped("small")
    assert made.clips.data == config.measuring.data == tmp_path


def test_every_option_of_the_ladder_survives_the_way_to_its_jobs(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--out", str(tmp_path), "--speech", "40", "--lr", "0.001", "--rows", "fast", "--seeds", "2"]
    args = parser.parse_args([*words, "--eval-clips", "3", "--drift-seconds", "0", "--device", "cpu"])
    args.heads, args.people = 0.5, 24
    again = parser.parse_args(job_command(args)[2:])
    assert read_config(again) == read_config(args)

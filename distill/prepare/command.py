"""Command ``fada prepare``: a folder of talking-head videos becomes a dataset that ``fada train --data`` takes.

In: a folder of videos. Out: clips, an index, a report and a contact sheet in another folder. What is done already
is kept, so a stopped run goes on where it was; a video that changed is prepared again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from distill.prepare import report
from distill.prepare.source import Job, Options, prepare_source
from models.framing.finder import FaceFinder

SUMMARY = "turn a folder of talking-head videos into a dataset for training"
SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("videos", type=Path, metavar="VIDEOS", help="folder, searched with its subfolders")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the dataset")
    parser.add_argument(
        "--already-framed",
        action="store_true",
        help="faces are in place (drawings, our own renders): look for none, take the middle square as it is",
    )
    parser.add_argument(
        "--fix-lag", action="store_true", help="move sound that is early or late to the mouth"
    )
    parser.add_argument("--min-seconds", type=float, default=2.0, help="shortest clip (default: %(default)s)")
    parser.add_argument("--max-seconds", type=float, default=10.0, help="longest clip (default: %(default)s)")
    parser.add_argument(
        "--probe",
        type=Path,
        default=Options().probe,
        help="the probe that reads mouths (default: the shipped one)",
    )
    parser.add_argument("--workers", type=int, default=1, help="videos prepared at the same time")
    parser.add_argument("--json", type=Path, help="write the counts here")


def run(args: argparse.Namespace) -> int:
    """Prepare a folder; 0 when the dataset has a clip, 1 when everything was refused."""
    options = Options(
        args.already_framed, args.fix_lag, args.min_seconds, args.max_seconds, args.probe.resolve()
    )
    if args.workers < 1:
        raise ValueError(f"Expected at least one worker, got {args.workers}.")
    jobs = _jobs(args.videos, args.out, options)
    if not options.framed:
        FaceFinder()  # says at once, and once, when its weights are missing
    records = {record["name"]: record for record in _earlier(args.out)}
    todo = [job for job in jobs if not _still_good(records.get(job.name), job)]
    kept = len(jobs) - len(todo)
    for record in _prepared(todo, args.workers, kept):
        _forget_clips(args.out, records.get(record["name"]), record)
        records[record["name"]] = record
        _write_record(args.out, record)
    ordered = sorted(records.values(), key=lambda record: str(record["source"]))
    total = report.write_index(args.out, ordered)
    report.write_report(args.out / "report.md", ordered)
    report.write_sheet(args.out, ordered)
    _tell(args.out, ordered, total, kept)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(total, indent=2) + "\n")
    return 0 if total["clips"] else 1


def _jobs(videos: Path, out: Path, options: Options) -> list[Job]:
    if not videos.is_dir():
        raise ValueError(f"Expected a folder of videos, but {videos} is none; check the path.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"Expected a folder for the dataset, but {out} is a file; choose another one.")
    root, home = videos.resolve(), out.resolve()
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    paths = [path for path in paths if home not in path.parents]
    if not paths:
        raise ValueError(f"Expected videos ({', '.join(SUFFIXES)}) in {videos}, found none; check the path.")
    return [Job(root, path, home, options) for path in paths]


def _earlier(out: Path) -> Iterator[dict[str, Any]]:
    """Records of earlier runs; a damaged one is as good as none."""
    for path in sorted((out / "sources").glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("name") == path.stem:
            yield record


def _still_good(record: dict[str, Any] | None, job: Job) -> bool:
    if record is None or record["key"] != job.key:
        return False
    return all((job.out / "clips" / f"{clip['name']}.npz").is_file() for clip in record["clips"])


def _prepared(jobs: Sequence[Job], workers: int, kept: int) -> Iterator[dict[str, Any]]:
    """Records as they are done, in any order, with a progress bar."""
    bar = tqdm(
        total=len(jobs) + kept, initial=kept, desc="prepare", unit="video", file=sys.stderr, disable=None
    )
    with bar:
        if workers == 1 or len(jobs) < 2:
            for job in jobs:
                bar.set_postfix_str(job.path.name[:30])
                yield prepare_source(job)
                bar.update()
            return
        with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs)), _one_thread) as pool:
            for record in pool.imap_unordered(prepare_source, jobs):
                yield record
                bar.update()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _forget_clips(out: Path, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Remove clips and latents of an earlier preparation of the same video."""
    names = {clip["name"] for clip in before["clips"]} if before else set()
    for name in names - {clip["name"] for clip in now["clips"]}:
        (out / "clips" / f"{name}.npz").unlink(missing_ok=True)
    for name in names:
        for cached in out.glob(f"latents-*/{name}.npy"):
            cached.unlink()


def _write_record(out: Path, record: dict[str, Any]) -> None:
    folder = out / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{record['name']}.partial"
    partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(folder / f"{record['name']}.json")


def _tell(out: Path, records: Sequence[dict[str, Any]], total: dict[str, Any], kept: int) -> None:
    for record in records:
        if not record["clips"]:
            print(f"refused {record['source']}: {record['reason']}.")
    again = f", {kept} done before" if kept else ""
    print(
        f"{out}: {total['clips']} clips from {total['sources_used']} of {total['sources']} videos{again}; "
        f"high {total['high']} ({total['seconds_high']:.0f} s), "
        f"moderate {total['moderate']} ({total['seconds_moderate']:.0f} s). See {out / 'report.md'}."
    )

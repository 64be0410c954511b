"""`fada bench e2e`: from microphone to frame through a real server and a real client, each its own process.

In flow a number of seconds and what the network does; out flow a report per client
(`bench/results/e2e.json`, `e2e_chromium.json`) with latency, skew, fps, freezes, interruptions and
stages, and a plot of the stages. The server is started here on a free port (or taken from `--url`); the
client is `bench.call.peer` (aiortc) or `bench.call.browser.call` (a real Chromium on the real page); the
analysis is `bench.call.latency` and `bench.call.interruption`, whose docstrings state the method;
`bench.call.method_check` checks that method itself.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.call import interruption, latency, method_check
from bench.call.browser.figures import browser_figures
from bench.call.bursts import BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.interruption import analyse_interruptions
from bench.call.recording import Recording
from bench.call.relay import Impairment
from bench.call.server_process import cpu_time_s, read_stages, running_server
from bench.call.stages import break_down, stage_percentiles
from bench.report import make_report, summarise
from kernels.machine import ROOT

CLIENTS = {"aiortc": ["aiortc"], "chromium": ["chromium"], "both": ["aiortc", "chromium"]}
PLOT = ROOT / "docs" / "e2e.png"


class E2EError(Exception):
    """The measurement could not be made; the message is a sentence for the user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    call = parser.add_argument_group("the call")
    call.add_argument(
        "--client",
        choices=CLIENTS,
        default="aiortc",
        help="who calls; chromium is a real browser (default aiortc)",
    )
    call.add_argument("--seconds", type=float, default=60.0, help="length of the call (default 60)")
    call.add_argument("--warm-up", type=float, default=2.0, help="seconds left out at the start (default 2)")
    call.add_argument("--interruptions", type=int, default=6, help="`clear`s after it, 3 s each (default 6)")
    call.add_argument("--starts", type=int, default=8, help="short calls of the browser before (default 8)")
    call.add_argument("--avatar", help="whose face (default: the server's own choice)")
    server = parser.add_argument_group("the server")
    server.add_argument("--url", help="measure a server that runs already, instead of starting one")
    server.add_argument(
        "--engine", choices=("student", "plain"), default="student", help="plain: one without networks"
    )
    server.add_argument(
        "--serve",
        default="",
        metavar="ARGS",
        help="further arguments of `fada serve`, as one word: '--size 512'",
    )
    network = parser.add_argument_group(
        "the network between, a relay in user space; media packets alone suffer"
    )
    network.add_argument("--delay-ms", type=float, default=0.0, help="added to every packet")
    network.add_argument(
        "--jitter-ms", type=float, default=0.0, help="up to so much more, at random, in order"
    )
    network.add_argument("--loss", type=float, default=0.0, metavar="PERCENT", help="packets lost")
    network.add_argument("--reorder", type=float, default=0.0, metavar="PERCENT", help="packets overtaken")
    network.add_argument(
        "--stall-s", type=float, default=0.0, help="one standstill in the middle of the call"
    )
    network.add_argument(
        "--way", choices=("up", "down", "both"), default="up", help="up: the microphone (default)"
    )
    more = parser.add_argument_group("more")
    more.add_argument(
        "--check-method", action="store_true", help="check the measuring itself: 100 ms injected"
    )
    more.add_argument("--keep", type=Path, metavar="NPZ", help="keep the raw recording")
    more.add_argument("--shot", type=Path, metavar="PNG", help="keep a picture of the browser's page")
    more.add_argument(
        "--plot",
        type=Path,
        metavar="PNG",
        help=f"stages as a picture (default docs/{PLOT.name}, unless --json keeps the figures elsewhere)",
    )


def run(args: argparse.Namespace) -> list[Mapping[str, Any]]:
    """Measure; one report per client.

    Raises:
        E2EError: the call failed.
        bench.call.server_process.ServerError: the server did not come up.
        bench.call.browser.chromium.ChromiumError: no browser, or no Playwright.
        ValueError: options that make no sense.
    """
    bursts = BurstPlan(args.seconds, interruptions=args.interruptions)
    up, down = read_impairments(args)
    plan = CallPlan(bursts, avatar=args.avatar, up=up, down=down)
    reports: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fada-e2e-") as name:
        for client in CLIENTS[args.client]:
            if args.check_method:
                reports.append(check_method(client, Path(name)))
            else:
                reports.append(measure(client, args, plan, Path(name)))
    if plot := plot_path(args, plan):
        _draw(reports, plot)
    return reports


def measure(client: str, args: argparse.Namespace, plan: CallPlan, folder: Path) -> Mapping[str, Any]:
    """One client's call as a report."""
    with contextlib.ExitStack() as stack:
        url, server = args.url, None
        if url is None:
            url, server = stack.enter_context(
                running_server(folder / "server.log", args.engine, shlex.split(args.serve))
            )
        before_s, began_s = cpu_time_s(server), time.monotonic()
        if client == "chromium":
            recording, extra = _browser_call(url, plan, folder, args)
        else:
            recording, extra = record_call(url, plan, folder / "call.npz"), {}
        cpu_cores = _cpu_share(before_s, cpu_time_s(server), time.monotonic() - began_s)
        means_ms = read_stages(url)
    if args.keep:
        recording.save(
            args.keep if len(CLIENTS[args.client]) == 1 else args.keep.with_stem(f"{args.keep.stem}-{client}")
        )
    figures = latency.analyse(recording, args.warm_up)
    figures |= {"interruption": analyse_interruptions(recording)} | extra
    figures["server_cpu_cores"] = cpu_cores
    figures["server_stats"] = summarise_stats(recording.stats)
    figures["server_stages_ms"] = stage_percentiles(recording.stats)
    figures["server_stages_mean_ms"] = means_ms
    figures["stages_p50_ms"] = break_down(figures, recording.told.get("hello", {}))
    if plan.relayed:
        figures["relay"] = recording.told.get("relay", {})
    return make_report(
        report_name(client, plan, args.engine),
        method=_method(latency, client) + " " + _method(interruption, client),
        shapes={
            "client": client,
            "engine": args.engine,
            "serve": args.serve,
            "seconds": args.seconds,
            "warm_up_s": args.warm_up,
            "avatar": args.avatar,
            "interruptions": args.interruptions,
            "network": {"up": _as_shape(plan.up), "down": _as_shape(plan.down)},
        },
        figures=figures,
    )


def check_method(client: str, folder: Path) -> Mapping[str, Any]:
    """The method's own check with one client, as a report."""
    calls = tqdm(total=7, unit="call", desc=f"check {client}", disable=None)

    def make_call(url: str, plan: CallPlan) -> Recording:
        calls.update()
        if client == "aiortc":
            return record_call(url, plan, folder / "call.npz", quiet=True)
        from bench.call.browser.call import call

        return call(url, plan, folder).recording

    with calls:
        findings = method_check.check_method(make_call, folder, method_check.check_plan())
    return make_report(
        f"e2e_method_{client}",
        method=" ".join((method_check.__doc__ or "").partition("\n\n")[2].split()),
        shapes={"client": client, "extra_ms": 1e3 * method_check.EXTRA_S, "engine": "plain"},
        figures=method_check.as_figures(findings),
    )


def record_call(url: str, plan: CallPlan, out: Path, quiet: bool = False) -> Recording:
    """Run the aiortc client in its own process, with a progress bar, and read what it wrote.

    Raises:
        E2EError: it failed; the message is its own sentence.
    """
    command = [sys.executable, "-m", "bench.call.peer", url, str(out), plan.to_json()]
    client = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    started_s, seconds = time.monotonic(), plan.bursts.total_s
    with _call_bar(seconds, quiet) as advance:
        while client.poll() is None:
            if time.monotonic() - started_s > seconds + 60:
                client.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(0.5)
            advance(time.monotonic() - started_s)
    assert client.stderr is not None
    complaint = client.stderr.read().strip()
    client.stderr.close()
    if client.returncode != 0:
        raise E2EError(f"the measuring client failed: {complaint or f'exit code {client.returncode}'}")
    return Recording.load(out)


def _browser_call(
    url: str, plan: CallPlan, folder: Path, args: argparse.Namespace
) -> tuple[Recording, dict[str, Any]]:
    from bench.call.browser.call import call

    with _call_bar(plan.bursts.total_s) as advance:
        done = call(url, plan, folder, args.starts, advance)
    if args.shot:
        args.shot.parent.mkdir(parents=True, exist_ok=True)
        args.shot.write_bytes(done.screenshot)
    figures = {
        "first_frame_after_start_ms": summarise(done.first_frames_ms),
        "browser": {"version": done.version, **browser_figures(done.recording)},
    }
    return done.recording, figures


@contextlib.contextmanager
def _call_bar(seconds: float, quiet: bool = False) -> Iterator[Any]:
    """A progress bar over a call; yields what moves it to a number of seconds."""
    with tqdm(total=round(seconds), unit="s", desc="call", disable=quiet or None) as bar:
        yield lambda passed_s: bar.update(min(round(passed_s), bar.total) - bar.n)


def read_impairments(args: argparse.Namespace) -> tuple[Impairment | None, Impairment | None]:
    """What the options do to the network there and back; None is nothing.

    Raises:
        ValueError: a share outside 0..100 %, or a negative time.
    """
    middle_s = args.seconds / 2
    impairment = Impairment(
        delay_s=args.delay_ms / 1e3,
        jitter_s=args.jitter_ms / 1e3,
        loss=args.loss / 100,
        reorder=args.reorder / 100,
        stalls_s=((middle_s, middle_s + args.stall_s),) if args.stall_s else (),
    )
    if impairment == Impairment():
        return None, None
    return impairment if args.way != "down" else None, impairment if args.way != "up" else None


def report_name(client: str, plan: CallPlan, engine: str) -> str:
    """Name of a report: e2e, e2e_chromium, and what else was not as usual."""
    parts = ["e2e", "" if client == "aiortc" else client, "impaired" if plan.relayed else ""]
    return "_".join(part for part in (*parts, "" if engine == "student" else engine) if part)


def summarise_stats(stats: list[dict[str, Any]]) -> dict[str, dict[str, float | int]]:
    """Percentiles of every number in the server's once-a-second messages; when they came is none of its figures."""
    columns: dict[str, list[float]] = {}
    for message in stats:
        for name, value in message.items():
            if name != "at_s" and isinstance(value, int | float) and not isinstance(value, bool):
                columns.setdefault(name, []).append(float(value))
    return {name: summarise(values) for name, values in sorted(columns.items())}


def plot_path(args: argparse.Namespace, plan: CallPlan) -> Path | None:
    """Where the stages are drawn; a trial that is kept elsewhere leaves the published picture alone."""
    if args.check_method:
        return None
    asked: Path | None = args.plot
    published = (
        args.json is None
        and args.url is None
        and not args.serve
        and args.engine == "student"
        and not plan.relayed
    )
    return asked or (PLOT if published else None)


def _draw(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the stages where matplotlib is there; it is a dependency of training, not of serving."""
    try:
        from bench.call.stage_plot import plot_stages
    except ImportError:
        print("no plot: it needs matplotlib, which `make test` installs", file=sys.stderr)
        return
    plot_stages(reports, path)
    print(f"drawn: {path}")


def _method(module: Any, client: str) -> str:
    text = " ".join((module.__doc__ or "").partition("Method. ")[2].split())
    if module is not latency:
        return text
    seen = {
        "aiortc": "Server and client are two processes of one machine and share its cores.",
        "chromium": "In the browser every moment is on the page's clock: a syllable counts from where the browser "
        "hands the microphone's block to WebRTC, a frame from its expected display, a sample of the voice from its "
        "playout, so the browser's jitter buffers and decoders are inside and the sound card is not. Server, "
        "browser and measuring share the machine's cores.",
    }
    return f"{text} {seen[client]}"


def _as_shape(impairment: Impairment | None) -> dict[str, Any] | None:
    if impairment is None:
        return None
    fields = ("delay_s", "jitter_s", "loss", "reorder", "reorder_s", "stalls_s")
    return {name: getattr(impairment, name) for name in fields}


def _cpu_share(before_s: float | None, after_s: float | None, seconds: float) -> float | None:
    return None if before_s is None or after_s is None else round((after_s - before_s) / seconds, 3)

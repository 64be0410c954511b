"""`fada bench e2e`: from microphone to frame through a real server and a real client, each its own process.

In flow a number of seconds; out flows a report with latency, skew, fps and freezes. The server is started
here on a free port (or taken from `--url`), the client is `bench.peer`, the analysis is `bench.latency`,
whose docstring states the method.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

import bench.latency
from bench.recording import Recording
from bench.report import make_report, summarise
from kernels.machine import ROOT

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0


class E2EError(Exception):
    """The measurement could not be made; the message is a sentence for the user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the call (default 60)")
    parser.add_argument(
        "--warm-up", type=float, default=2.0, help="seconds left out at the start (default 2)"
    )
    parser.add_argument("--url", help="measure a server that runs already, instead of starting one")
    parser.add_argument("--avatar", help="whose face (default: the server's own choice)")
    parser.add_argument("--keep", type=Path, metavar="NPZ", help="keep the raw recording")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Measure one call.

    Raises:
        E2EError: the server did not come up, or the call failed.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fada-e2e-")))
        url, server = args.url, None
        if url is None:
            url, server = stack.enter_context(running_server(folder / "server.log"))
        before_s = _cpu_time_s(server)
        recording = record_call(url, args.seconds, args.avatar, args.keep or folder / "call.npz")
        figures = bench.latency.analyse(recording, args.warm_up)
        figures["server_cpu_cores"] = _cpu_share(before_s, _cpu_time_s(server), args.seconds)
        figures["server_stats"] = summarise_stats(recording.stats)
        figures["server_stages_mean_ms"] = read_stages(url)
    return make_report(
        "e2e",
        method=" ".join((bench.latency.__doc__ or "").partition("Method. ")[2].split())
        + " Server and client are two processes of one machine and share its cores.",
        shapes={"seconds": args.seconds, "warm_up_s": args.warm_up, "avatar": args.avatar},
        figures=figures,
    )


@contextlib.contextmanager
def running_server(log: Path) -> Iterator[tuple[str, int]]:
    """Start `fada serve` on a free port, wait until it is ready, stop it at the end.

    Args:
        log: where its output goes.

    Yields:
        Its address and process id.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "fada.py"), "serve", "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    try:
        _wait_ready(url, server, log)
        yield url, server.pid
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def record_call(url: str, seconds: float, avatar: str | None, out: Path) -> Recording:
    """Run the client in its own process, with a progress bar, and read what it wrote."""
    command = [sys.executable, "-m", "bench.peer", url, str(seconds), str(out)]
    command += ["--avatar", avatar] if avatar else []
    client = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    started_s = time.monotonic()
    with tqdm(total=round(seconds), unit="s", desc="call", disable=None) as bar:
        while client.poll() is None:
            if time.monotonic() - started_s > seconds + 60:
                client.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(0.5)
            bar.update(min(round(time.monotonic() - started_s), bar.total) - bar.n)
    assert client.stderr is not None
    complaint = client.stderr.read().strip()
    client.stderr.close()
    if client.returncode != 0:
        raise E2EError(f"the measuring client failed: {complaint or f'exit code {client.returncode}'}")
    return Recording.load(out)


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def summarise_stats(stats: list[dict[str, Any]]) -> dict[str, dict[str, float | int]]:
    """Percentiles of every number in the server's once-a-second messages."""
    columns: dict[str, list[float]] = {}
    for message in stats:
        for name, value in message.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                columns.setdefault(name, []).append(float(value))
    return {name: summarise(values) for name, values in sorted(columns.items())}


def read_stages(url: str) -> dict[str, float]:
    """Mean milliseconds of every `*_seconds` histogram in /metrics, with its labels."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return {}
    values = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    stages: dict[str, float] = {}
    for name, total in values.items():
        base, found, labels = name.partition("_seconds_sum")
        count = float(values.get(f"{base}_seconds_count{labels}", 0.0))
        if found and count and base.startswith("fada"):
            stage = labels.partition('stage="')[2].partition('"')[0] or base.removeprefix("fada_") + labels
            stages[stage] = round(float(total) / count * 1e3, 3)
    return stages


def _wait_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if server.poll() is not None:
            raise E2EError(f"the server ended with code {server.returncode}: {_tail(log)}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:
                json.load(reply)
                return
        except (OSError, ValueError):
            time.sleep(0.2)
    raise E2EError(f"expected the server ready within {READY_TIMEOUT_S:.0f} s, it was not: {_tail(log)}")


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:])


def _cpu_time_s(pid: int | None) -> float | None:
    """CPU seconds a process has used, its threads included; None where the system does not tell."""
    if pid is None or not Path(f"/proc/{pid}/stat").exists():
        return None
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / float(os.sysconf("SC_CLK_TCK"))


def _cpu_share(before_s: float | None, after_s: float | None, seconds: float) -> float | None:
    return None if before_s is None or after_s is None else round((after_s - before_s) / seconds, 3)

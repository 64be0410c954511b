"""A server in a process of its own, started for one measurement and stopped after it.

In: which engine, a place for its log. Out: its address and process id; its CPU time and its own figures on
request.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from kernels.machine import ROOT

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0


class ServerError(Exception):
    """The server did not come up; the message is a sentence for the user."""


@contextlib.contextmanager
def running_server(
    log: Path, engine: str = "student", arguments: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """Start a server on a free port, wait until it is ready, stop it at the end.

    Args:
        log: where its output goes.
        engine: "student", or "plain" for the one without networks.
        arguments: further ones of its command line.

    Yields:
        Its address and process id.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = [str(ROOT / "fada.py"), "serve"] if engine == "student" else ["-m", "bench.call.plain_engine"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, *program, "--host", "127.0.0.1", "--port", str(port), *arguments],
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


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_time_s(pid: int | None) -> float | None:
    """CPU seconds a process has used, its threads included; None where the system does not tell."""
    if pid is None or not Path(f"/proc/{pid}/stat").exists():
        return None
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / float(os.sysconf("SC_CLK_TCK"))


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
            raise ServerError(f"the server ended with code {server.returncode}: {_tail(log)}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:
                json.load(reply)
                return
        except (OSError, ValueError):
            time.sleep(0.2)
    raise ServerError(f"expected the server ready within {READY_TIMEOUT_S:.0f} s, it was not: {_tail(log)}")


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:])

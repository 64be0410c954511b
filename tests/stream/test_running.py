"""Starting and stopping, as a person does it: the server runs as a process and is sent signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.machine_time import measured_anew
from tests.stream.rig import make_avatars

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import argparse, sys, time
from stream.serve import add_arguments, serve
from tests.fakes import FakeEngine

def load():
    {loading}
    return FakeEngine()

parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(serve(parser.parse_args(), load))
"""
SLEEPS = "time.sleep(60)"
BUSY = "end = time.monotonic() + 60\n    while time.monotonic() < end: pass"


@contextmanager
def server(tmp_path: Path, loading: str = "pass") -> Iterator[subprocess.Popen[str]]:
    options = ["--port", "0", "--avatars", str(make_avatars(tmp_path / "faces"))]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(loading=loading), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        with process:
            yield process
    finally:
        watchdog.cancel()


def test_it_prints_its_address_answers_there_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    with server(tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Fada Live is ready: http://127.0.0.1:")
        with urllib.request.urlopen(f"{line.split()[4]}/readyz", timeout=5) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "Traceback" not in out + err


@pytest.mark.timed
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("loading", [SLEEPS, BUSY])
@measured_anew
def test_while_it_loads_a_signal_ends_it_at_once(tmp_path: Path, sent: signal.Signals, loading: str) -> None:
    with server(tmp_path, loading) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "Loading the networks ...\n"
        process.send_signal(sent)
        began_s = time.monotonic()
        out, err = process.communicate(timeout=40)
        assert time.monotonic() - began_s < 2
    assert process.returncode == 128 + sent
    assert (out, err) == ("", "fada serve: stopped while it was loading.\n")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_impatient_second_signal_changes_nothing(tmp_path: Path, sent: signal.Signals) -> None:
    with server(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(3):
            process.send_signal(sent)
            time.sleep(0.03)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "Traceback" not in out + err

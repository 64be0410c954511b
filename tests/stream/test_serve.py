"""The command: options, the port, the address, Ctrl-C. The server runs as a process, as a user's does."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from stream.engine.protocol import Engine
from stream.errors import EngineError
from stream.serve import add_arguments, open_port, page_address, read_ice_server, serve
from tests.fakes import FakeEngine
from tests.stream.rig import make_avatars

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import argparse, sys
from stream.serve import add_arguments, serve
from tests.fakes import FakeEngine
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(serve(parser.parse_args(), FakeEngine))
"""


def arguments(tmp_path: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--port", "0", "--avatars", str(make_avatars(tmp_path / "faces")), *more])


def test_it_prints_its_address_answers_there_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    options = ["--port", "0", "--avatars", str(make_avatars(tmp_path / "faces"))]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Fada Live is ready: http://127.0.0.1:")
        address = line.split()[4]
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
        watchdog.cancel()
    assert process.returncode == 0
    assert "Traceback" not in out + err


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert serve(arguments(tmp_path, "--port", str(port)), FakeEngine) == 1
    error = capfd.readouterr().err
    assert error == (
        f"fada serve: Port {port} on 127.0.0.1 is taken by another program; "
        "stop it or choose another with --port.\n"
    )


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(OSError, match=r"not an address of this machine|Cannot listen"):
        open_port(host, 0)


@pytest.mark.parametrize(
    "options",
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--max-sessions", "0"),
        ("--max-viewers", "-1"),
        ("--nfe", "0"),
        ("--ice-server", "http://example.org"),
        ("--ice-server", "turn:example.org"),
        ("--ice-server", "stun:example.org,user,word"),
    ],
)
def test_options_that_make_no_sense(
    options: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert serve(arguments(tmp_path, *options), FakeEngine) == 2
    error = capfd.readouterr().err
    assert error.startswith("fada serve: Expected")
    assert error.count("\n") == 1


def test_avatars_that_are_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert serve(arguments(tmp_path, "--avatars", str(tmp_path)), FakeEngine) == 1
    assert "No avatars in" in capfd.readouterr().err


def test_an_engine_that_does_not_load_ends_the_program_with_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def load() -> Engine:
        raise EngineError("engine_not_loaded", "The weights are truncated.")

    assert serve(arguments(tmp_path), load) == 1
    assert "fada serve: The weights are truncated.\n" in capfd.readouterr().err


def test_ice_servers() -> None:
    assert read_ice_server("stun:example.org:3478") == ("stun:example.org:3478", None, None)
    assert read_ice_server("turn:h:1,me,p,w") == ("turn:h:1", "me", "p,w")


def test_addresses_are_ones_a_browser_can_open() -> None:
    assert page_address("127.0.0.1", 8080) == "http://127.0.0.1:8080"
    assert page_address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert page_address("::1", 80) == "http://[::1]:80"
    with socket.socket() as probe:
        assert probe.family == socket.AF_INET

"""The command: options, the port, the address, Ctrl-C. The server runs as a process, as a user's does."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from models.runtimes.hop_fit import HopFit
from stream.engine.protocol import Engine
from stream.errors import EngineError
from stream.listening import open_port
from stream.serve import (
    add_arguments,
    read_ice_server,
    read_public_address,
    run,
    serve,
    what_fits,
    what_to_tell,
)
from stream.server_config import ServerConfig
from tests.fakes import FakeEngine
from tests.stream.rig import make_avatars


def arguments(tmp_path: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--port", "0", "--avatars", str(make_avatars(tmp_path / "faces")), *more])


def test_a_port_that_is_taken_is_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAKELEVEL", raising=False)  # these tests may run under make themselves
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert serve(arguments(tmp_path, "--port", str(port)), FakeEngine) == 1
    error = capfd.readouterr().err
    assert error == (
        f"fada serve: Port {port} on 127.0.0.1 is taken by another program; "
        f"stop it or choose another with --port {port + 1}.\n"
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--max-sessions", "0"),
        ("--max-viewers", "-1"),
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


@pytest.mark.parametrize(
    "option",
    [
        ("--nfe", "0"),
        ("--nfe", "51"),
        ("--threads", "0"),
        ("--preset", "huge"),
        ("--backend", "abacus"),
        ("--device", "toaster"),
    ],
)
def test_options_of_the_engine_are_refused_before_anything_is_loaded(
    option: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"Expected {option[0]} .*got '?{option[1]}"):
        run(arguments(tmp_path, *option))


def test_help_has_what_people_choose_first_and_the_networks_after() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    shown = parser.format_help()
    assert shown.index("the server:") < shown.index("the networks, for those who know them:")
    assert shown.rindex("--avatars") < shown.rindex("--preset") < shown.rindex("--hop")


def test_what_the_operator_is_told_is_in_plain_words() -> None:
    spec = FakeEngine().spec
    own = HopFit(2, {2: 30.0}, in_time=True)
    longer = HopFit(3, {2: 59.0, 3: 71.0}, in_time=True)
    slow = HopFit(4, {2: 90.0, 3: 120.0, 4: 176.0}, in_time=False)
    assert what_fits(own, spec) == ""
    assert "the face answers 40 ms later. `--hop 2` insists" in what_fits(longer, spec)
    assert "drawing takes 110% of the time there is" in what_fits(slow, spec)


def test_a_slower_way_of_drawing_is_told_with_its_reason_and_never_silently_taken() -> None:
    spec, own = FakeEngine().spec, HopFit(2, {2: 30.0}, in_time=True)
    assert what_to_tell(spec, own, "", "measured") == what_to_tell(spec, None, "", "asked") == []
    (sentence,) = what_to_tell(spec, own, "Expected a C compiler, found none; install one.", "rule")
    assert sentence.endswith("slower than it could be here. Expected a C compiler, found none; install one.")
    (hint,) = what_to_tell(spec, own, "", "rule")
    assert "doctor --calibrate" in hint


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


@pytest.mark.parametrize("text", ["", "example.org", "10.0.0", "0.0.0.0", "224.0.0.1"])
def test_a_public_address_is_one_that_the_world_can_reach(text: str) -> None:
    assert read_public_address("203.0.113.7") == "203.0.113.7"
    assert read_public_address("2001:DB8::7") == "2001:db8::7"
    with pytest.raises(ValueError, match="Expected --public-address to be an IP address"):
        read_public_address(text)


@pytest.mark.parametrize(
    ("words", "uploads", "own"),
    [
        ((), None, True),
        (("--uploads",), True, True),
        (("--no-uploads",), False, True),
        (("--avatars", "FOLDER"), None, False),  # those faces and no others
        (("--avatars", "FOLDER", "--uploads"), True, True),
    ],
)
def test_who_may_upload_is_an_option(
    words: tuple[str, ...], uploads: bool | None, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_avatars(tmp_path / "faces")
    monkeypatch.setenv("FADA_AVATARS", str(tmp_path / "own"))
    built: list[ServerConfig] = []

    def refuse(config: ServerConfig, load: object) -> None:
        built.append(config)
        raise ValueError("seen enough")

    monkeypatch.setattr("stream.serve.create_app", refuse)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert (
        serve(parser.parse_args([str(folder) if word == "FOLDER" else word for word in words]), FakeEngine)
        == 2
    )
    assert built[0].uploads is uploads
    assert built[0].own_avatars == (tmp_path / "own" if own else None)

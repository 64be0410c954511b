"""The doctor: looks, changes nothing, and says what to do about a fault."""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path

import pytest
import torch

from bench import doctor, engine_looks
from bench.finding import Finding, verdict_of
from kernels.native.build import load_native
from models.runtimes.calibration import Calibration, Trial, calibration_key, write_calibration
from models.weights import load_model


def test_a_taken_port_is_a_fault() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (finding,) = doctor.look_at_port("127.0.0.1", port)
    assert finding.verdict == "fault"
    assert str(port) in finding.text


def test_a_free_port_is_good() -> None:
    (finding,) = doctor.look_at_port("127.0.0.1", 0)
    assert finding.verdict == "good"


def test_missing_weights_and_avatars_are_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert [finding.verdict for finding in doctor.look_at_weights("small")] == ["fault", "fault"]
    (tmp_path / "avatars").mkdir()
    (tmp_path / "avatars" / "index.json").write_text("not json")
    assert doctor.look_at_weights("small")[1].verdict == "fault"
    (tmp_path / "avatars" / "index.json").write_text('[{"id": "ada"}]')
    weights = tmp_path / "weights" / "small" / "student.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"\0" * 1_500_000)
    good = doctor.look_at_weights("small")
    assert [finding.verdict for finding in good] == ["good", "good"]
    assert "1.5 MB" in good[0].text


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RUN_TIME", ("json", "no_such_package"))
    (finding,) = doctor.look_at_packages()
    assert finding.verdict == "fault"
    assert "no_such_package" in finding.text
    assert "make setup" in finding.text


def test_a_look_that_breaks_is_itself_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[doctor.Finding]:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "look_at_codecs", broken)
    codecs = [finding for finding in doctor.examine("127.0.0.1", 0, "small") if finding.topic == "codecs"]
    assert [finding.verdict for finding in codecs] == ["fault"]
    assert "no such thing" in codecs[0].text


def test_missing_speech_engines_are_only_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SPEECH", ("no-such-engine",))
    assert [finding.verdict for finding in doctor.look_at_speech()] == ["remark"]


def test_the_engine_is_chosen_by_rule_until_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    (finding,) = engine_looks.look_at_engine("small")
    assert finding.verdict == "remark" and "by rule" in finding.text and "--calibrate" in finding.text
    model = load_model(doctor.ROOT / "weights" / "small" / "student.safetensors")
    trials = (Trial("native", 50.0, 2.5, 2e-6), Trial("onnx", problem="no graphs today"))
    write_calibration(Calibration("native", trials, calibration_key(model, torch.device("cpu"))))
    texts = [finding.text for finding in engine_looks.look_at_engine("small")]
    assert "native" in texts[0] and "as measured here" in texts[0]
    assert "50 ms a hop, 2.50 x" in texts[1] and texts[2] == "onnx: no graphs today"


@pytest.mark.parametrize(("verdict", "code"), [("good", 0), ("remark", 0), ("fault", 1)])
def test_the_code_tells_whether_something_is_to_mend(
    verdict: doctor.Verdict,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = Finding("trial", verdict, "as it is")
    monkeypatch.setattr(doctor, "examine", lambda host, port, preset: [finding])
    out = tmp_path / "doctor.json"
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert doctor.run(parser.parse_args(["--port", "0", "--json", str(out)])) == code
    assert json.loads(out.read_text())["findings"] == [
        {"topic": "trial", "verdict": verdict, "text": "as it is"}
    ]
    assert "as it is" in capsys.readouterr().out


def test_kernels_that_cannot_be_had_are_told_with_the_remedy_and_in_the_last_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_native.cache_clear()
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (finding,) = engine_looks.look_at_kernels()
    assert finding.verdict == "remark"
    assert "found none; install one" in finding.text
    assert verdict_of([finding]) == (
        "Everything the server needs is here; 1 thing(s) could be better, marked --."
    )
    good = Finding("port", "good", "free")
    assert verdict_of([good]) == "Everything the server needs is here."
    assert verdict_of([good, finding, Finding("port", "fault", "")]).startswith("1 thing(s) to mend")


def test_it_says_whether_this_machine_is_fast_enough() -> None:
    (finding,) = engine_looks.look_at_speed("small")
    assert finding.topic == "speed"
    assert " ms there are" in finding.text
    assert engine_looks.look_at_speed("no-such-preset") == []

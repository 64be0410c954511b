"""`fada eval` end to end on a tiny model: real streams, real truth, figures that are known in advance."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

import fada
from distill.evaluation.command import add_arguments, chosen_suites, read_config
from distill.evaluation.figures import read_clip, summarise
from distill.evaluation.long_run import long_run
from distill.evaluation.run import ClipFrames, evaluate, perform
from distill.evaluation.speech import human_speech, read_wav
from distill.evaluation.spoilt import SPOILING, Framing, spoil
from distill.evaluation.streams import paired_time, stream_hops
from distill.evaluation.suites import SUITES, Suite, driven_motion, load_clip
from distill.probe import Probe, load_probe
from models.checkpoint import save_tensors
from models.face import CANVAS_PX
from models.hop import HopControls
from models.motion import advance_motion, init_motion, speech_level
from models.networks import WindowConditions
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from models.weights import save_model
from tests.models.tiny import tiny_model

CPU = torch.device("cpu")
CONTROLS = HopControls(1.0, 1.0, 1)
SHORT = Suite("short", "test", 2, 2.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def probe() -> Probe:
    torch.manual_seed(5)
    return Probe().eval()


@pytest.fixture(scope="module")
def streamer() -> Streamer:
    return Streamer(TorchNetworks(tiny_model(), CPU, torch.float32), CPU, move_head=False)


def test_figures_do_not_depend_on_the_batch(streamer: Streamer, probe: Probe, data: Path) -> None:
    kept: list[ClipFrames] = []
    alone = evaluate(streamer, probe, SHORT, CONTROLS, data, batch=1)
    together = evaluate(streamer, probe, SHORT, CONTROLS, data, batch=2, keep=kept)
    assert len(kept) == together["clips"] == 2 and together["frames"] == 100 and together["nfe"] == 1
    for key, value in alone.items():
        assert math.isfinite(value), key
        if key != "ms_per_frame":
            assert together[key] == pytest.approx(value, rel=2e-2, abs=2e-3), key


def test_a_perfect_student_gets_perfect_figures(probe: Probe, data: Path) -> None:
    clips = []
    for index in range(2):
        clip = load_clip(SHORT, index, data)
        expression, _ = driven_motion(clip.item.audio, clip.frames, clip.seed)
        true = clip.true_frames(expression)
        blink = expression[:, 0].double().numpy()
        clips.append(read_clip(probe, 4, clip=clip, true=true, made=true.copy(), driven_blink=blink))
    figures = summarise(clips)
    assert figures["psnr_outside"] == figures["psnr_mouth"] == 99.0
    assert figures["identity_distance"] == pytest.approx(0, abs=1e-6)
    assert figures["frechet"] == pytest.approx(0, abs=1e-6)
    assert figures["sharpness_face"] == figures["sharpness_mouth"] == figures["jitter"] == 1.0
    assert figures["r_opening"] == figures["probe_r_on_truth"]
    assert figures["err_opening_px"] == figures["err_opening_px_truth"]
    assert figures["silence_share"] == figures["silence_share_truth"]


def test_the_truth_moves_as_the_stream_does(streamer: Streamer, data: Path) -> None:
    """Blinks and glances that evaluation draws are those that the stream went through."""
    clip = load_clip(SHORT, 1, data)
    seen: list[torch.Tensor] = []
    plain = streamer.networks.denoise

    def listen(x_t: torch.Tensor, t: torch.Tensor, told: WindowConditions) -> torch.Tensor:
        seen.append(told.expression)  # (B, window, 4)
        return plain(x_t, t, told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamer.networks, "denoise", listen)
        for _ in stream_hops(streamer, [clip.reference], [clip.item.audio], 48, [clip.seed], CONTROLS):
            pass
    hop = streamer.preset.stream.hop_frames
    streamed = torch.cat([window[0, :hop] for window in seen]).float()
    expression, _ = driven_motion(clip.item.audio, 48, clip.seed)
    torch.testing.assert_close(streamed, expression)
    level = speech_level(clip.item.audio[: 48 * 640].numpy())
    torch.testing.assert_close(torch.from_numpy(advance_motion(init_motion(clip.seed), level)[1]), expression)


@pytest.mark.parametrize("name", ["open-set", "degraded"])
def test_suites_give_reference_and_truth_of_one_look(name: str, probe: Probe, data: Path) -> None:
    suite = dataclasses.replace(SUITES[name], seconds=2.0, clips=8)
    plain = load_clip(dataclasses.replace(SHORT, clips=8), 5, data)
    clip = load_clip(suite, 5, data)
    assert clip.reference.shape == plain.reference.shape and (clip.reference != plain.reference).any()
    torch.testing.assert_close(clip.item.audio, plain.item.audio)
    np.testing.assert_array_equal(load_clip(suite, 5, data).reference, clip.reference)
    true = clip.true_frames(torch.zeros(clip.frames, 4))
    assert true.shape == (50, 160, 160, 3)
    shut = int(np.argmin(clip.opening_px))
    box = clip.reference[64:224, 48:208].astype(float)
    # a mouth at rest looks as the reference does, when that is not spoilt
    assert np.abs(true[shut].astype(float) - box).mean() < 12
    if name == "degraded":
        assert clip.label == "framing" and clip.framing != Framing()
        assert clip.opening_px.max() == pytest.approx(plain.opening_px.max() * clip.framing.scale)


@pytest.mark.parametrize("kind", SPOILING)
def test_damage_is_done_to_the_picture_alone(kind: str) -> None:
    canvas = torch.rand(1, 3, CANVAS_PX // 8, CANVAS_PX // 8, generator=torch.Generator().manual_seed(1))
    canvas = torch.nn.functional.interpolate(canvas, scale_factor=8.0, mode="bilinear")
    first, framing = spoil(canvas, kind, 3)
    again, _ = spoil(canvas, kind, 3)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert first.shape == canvas.shape and first.min() >= 0 and first.max() <= 1
    assert (first - canvas).abs().mean() > 0.002
    assert (framing != Framing()) == (kind in ("framing", "several"))
    if kind == "covered":
        assert torch.equal(first[..., 165:215, 95:160], canvas[..., 165:215, 95:160])
    with pytest.raises(ValueError, match="kind of damage"):
        spoil(canvas, "burnt", 0)


def test_framing_moves_by_what_it_says() -> None:
    canvas = torch.zeros(1, 3, CANVAS_PX, CANVAS_PX)
    canvas[..., 100:104, 140:144] = 1
    moved = Framing(1.0, 5.0, -3.0)(canvas)
    assert moved[0, 0, 98, 146] > 0.9 and moved[0, 0, 102, 142] < 0.1
    with pytest.raises(ValueError, match="scale"):
        Framing(3.0)


def test_a_long_run_is_measured_window_by_window(streamer: Streamer, probe: Probe, data: Path) -> None:
    figures = long_run(streamer, probe, 0.11, CONTROLS, data, people=1, window_s=2.0)
    assert [window["second"] for window in figures["windows"]] == [0, 2, 4]
    ratio = figures["identity_end"] / figures["identity_early"]
    assert figures["identity_ratio"] == pytest.approx(ratio, rel=1e-3) and ratio > 0
    assert figures["minutes"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="three windows of 10 s"):
        long_run(streamer, probe, 0.2, CONTROLS, data)


def _write_wav(path: Path, rate: int, seconds: float = 1.6) -> None:
    rng = np.random.default_rng(1)
    gain = np.repeat([0.3, 0.0], int(rate * seconds) // 2)
    with wave.open(str(path), "wb") as sink:
        sink.setnchannels(1)
        sink.setsampwidth(2)
        sink.setframerate(rate)
        sink.writeframes((rng.normal(size=gain.size) * gain * 9000).astype("<i2").tobytes())


def test_recordings_of_any_rate_are_spoken(streamer: Streamer, probe: Probe, tmp_path: Path) -> None:
    _write_wav(tmp_path / "a.wav", 8000)
    _write_wav(tmp_path / "b.wav", 22_050)
    assert read_wav(tmp_path / "a.wav").shape == read_wav(tmp_path / "b.wav").shape == (25_600,)
    figures = human_speech(streamer, probe, tmp_path, CONTROLS)
    assert figures["files"] == 2 and figures["pause_frames"] > 20 and -1 <= figures["r_envelope"] <= 1
    assert 0 <= figures["rest_share"] <= 1 and {f["file"] for f in figures["per_file"]} == {"a", "b"}


def test_what_is_no_recording_is_refused(streamer: Streamer, probe: Probe, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found none"):
        human_speech(streamer, probe, tmp_path, CONTROLS)
    (tmp_path / "c.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(ValueError, match="PCM WAV"):
        human_speech(streamer, probe, tmp_path, CONTROLS)


def test_times_are_taken_in_turns(streamer: Streamer) -> None:
    times = paired_time(
        {"one": (streamer, CONTROLS), "three": (streamer, HopControls(1.0, 1.0, 12))}, rounds=3
    )
    assert set(times) == {"one", "three"} and 0 < times["one"] < times["three"]


def test_a_moving_head_and_a_probe_of_old_are_refused(
    streamer: Streamer, probe: Probe, data: Path, tmp_path: Path
) -> None:
    moving = Streamer(streamer.networks, CPU)
    with pytest.raises(ValueError, match="head held still"):
        perform(moving, [load_clip(SHORT, 0, data)], CONTROLS)
    save_tensors(tmp_path / "old.safetensors", Probe(identity=False).state_dict(), {})
    old = load_probe(tmp_path / "old.safetensors")
    assert len(old(torch.zeros(1, 3, 160, 160))) == 3
    with pytest.raises(ValueError, match="no identity tower"):
        evaluate(streamer, old, SHORT, CONTROLS, data)


@pytest.mark.slow
def test_the_command_writes_figures_and_pictures(data: Path, probe: Probe, tmp_path: Path) -> None:
    save_model(tmp_path / "student.safetensors", tiny_model())
    save_tensors(tmp_path / "probe.safetensors", probe.state_dict(), {})
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    _write_wav(sounds / "a.wav", 8000)
    out = tmp_path / "figures.json"
    options = {
        "--weights": tmp_path / "student.safetensors",
        "--probe": tmp_path / "probe.safetensors",
        "--data": data,
        "--suite": "all",
        "--clips": 1,
        "--seconds": 2,
        "--nfe": 1,
        "--speech": sounds,
        "--plots": tmp_path / "plots",
        "--json": out,
    }
    assert fada.main(["eval", *(str(part) for pair in options.items() for part in pair)]) == 0
    figures = json.loads(out.read_text())
    assert set(figures["suites"]) == set(SUITES) and figures["speech"]["files"] == 1
    assert figures["suites"]["open-set"]["clips"] == 1 and "yaw_rms_corpus" in figures["head_motion"]
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"suites.png", "speech.png", "open-set-sheet.png", "degraded-references.png"} <= drawn


@pytest.mark.parametrize("option", ["--batch", "--threads"])
def test_an_option_that_makes_no_sense_is_told_before_anything_is_loaded(option: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ValueError, match=f"{option} must be 1 or more, got 0"):
        read_config(parser.parse_args([option, "0"]))


def test_options_change_the_suites() -> None:
    (suite,) = chosen_suites("open-set", "val", clips=3)
    assert (suite.name, suite.split, suite.clips, suite.seconds, suite.open_set) == (
        "open-set",
        "val",
        3,
        8.0,
        True,
    )
    with pytest.raises(ValueError, match="1 clip or more"):
        Suite("none", "test", 0, 8.0)

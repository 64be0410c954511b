"""Whole clips and the folder builder, with the real engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distill.corpus.drawn.clips import NON_SPEECH_SHARE, build_speech, quality_of, speech_clip
from distill.corpus.speech.phones import PAUSE
from distill.corpus.speech.texts import split_of
from distill.corpus.speech.voices import voices_of


@pytest.mark.parametrize(
    ("split", "quality"), [("train", "high"), ("validation", "moderate"), ("test", "high")]
)
def test_clip_has_its_shapes_and_owns_its_voice_and_texts(split: str, quality: str) -> None:
    clip = speech_clip(4, split, 3.0, quality)
    assert clip.audio.shape == clip.clean.shape == (48000,)
    assert clip.audio.dtype == clip.clean.dtype == clip.mouth.dtype == np.float32
    assert clip.mouth.shape == clip.pose.shape == (75, 6)
    assert clip.expression.shape == (75, 4)
    assert clip.speaking.shape == (75,)
    assert clip.speaking.dtype == np.bool_
    assert clip.meta["kind"] == "speech"
    assert clip.meta["voice"] in {voice.name for voice in voices_of(split, clip.meta["engine"])}
    assert all(split_of(text) == split for text in clip.meta["texts"])
    json.dumps(clip.meta)


def test_clip_is_deterministic() -> None:
    first, second = speech_clip(11, "train", 2.0, "moderate"), speech_clip(11, "train", 2.0, "moderate")
    for name in ("audio", "clean", "mouth", "expression", "pose", "speaking"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.meta == second.meta
    assert not np.array_equal(first.audio, speech_clip(12, "train", 2.0, "moderate").audio)


def test_mouth_follows_speech_and_rests_in_silence() -> None:
    opened, rested, shares = [], [], []
    for seed in range(6):
        clip = speech_clip(seed, "train", 5.0)
        if clip.meta["kind"] != "speech":
            continue
        level = np.sqrt((clip.clean.reshape(-1, 640) ** 2).mean(1))
        opened.append(np.corrcoef(level, clip.mouth[:, 0])[0, 1])
        quiet = np.ones(125, bool)
        for symbol, start, end in clip.meta["phones"]:
            if symbol != PAUSE:
                quiet[max(0, int((start - 0.15) * 25)) : int((end + 0.25) * 25) + 1] = False
        rested.append(np.abs(clip.mouth[quiet]).max(initial=0.0))
        shares.append(clip.speaking.mean())
    assert min(opened) > 0.35
    assert max(rested) == 0.0
    assert 0.55 < np.mean(shares) < 0.85


def test_some_clips_are_not_speech_and_their_mouths_rest() -> None:
    drawn = [
        seed for seed in range(40) if np.random.default_rng([seed, 0, 0, 77]).random() < NON_SPEECH_SHARE
    ]
    clip = speech_clip(drawn[0], "train", 2.0)
    assert clip.meta["kind"] != "speech"
    assert not clip.mouth.any()
    assert not clip.speaking.any()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="split"):
        speech_clip(0, "dev", 2.0)
    with pytest.raises(ValueError, match="quality"):
        speech_clip(0, "train", 2.0, "low")
    with pytest.raises(ValueError, match="frame"):
        speech_clip(0, "train", 0.0)


def test_folder_is_built_and_taken_up_again(tmp_path: Path) -> None:
    shards = build_speech(tmp_path, "test", 10, 1.0, seed=100, processes=1)
    assert [path.name for path in shards] == ["test-00000100x8-1s.npz", "test-00000108x2-1s.npz"]
    with np.load(shards[1]) as shard:
        assert shard["audio"].shape == (2, 16000)
        assert shard["audio"].dtype == np.int16
        assert shard["mouth"].shape == (2, 25, 6)
        meta = json.loads(str(shard["meta"][0]))
        assert meta["seed"] == 108
        assert meta["quality"] == quality_of(108)
        clip = speech_clip(108, "test", 1.0, quality_of(108))
        np.testing.assert_allclose(shard["mouth"][0], clip.mouth, atol=1e-3)
        np.testing.assert_allclose(shard["audio"][0] / 32767, clip.audio, atol=1e-4)
    stamp = shards[0].stat().st_mtime_ns
    shards[1].unlink()
    assert build_speech(tmp_path, "test", 10, 1.0, seed=100, processes=1) == shards
    assert shards[1].exists()
    assert shards[0].stat().st_mtime_ns == stamp

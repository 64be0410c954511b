"""Talking heads: who speaks, what is said, and that what was rendered is read back to the byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.corpus.heads.anatomy import LANDMARKS
from distill.data.head_set import opening_of
from distill.data.speech_set import SpeechItem, SpeechSet
from distill.data.talking import head_clips
from distill.data.talking.head_clips import FIRST_PERSON, TURN, HeadClips, read_clip, script_of
from distill.stages.head_clips import make_head_clips


class Spoken(SpeechSet):
    """Speech of 60 frames without a speech engine; item i says i."""

    def __getitem__(self, index: int) -> SpeechItem:
        generator = torch.Generator().manual_seed(index)
        mouth = torch.rand(60, 6, generator=generator)
        audio = torch.full((60 * 640,), index / 100)
        return SpeechItem(audio, mouth, torch.full((60, 4), 0.25), torch.zeros(60, 6), torch.ones(60))


def drawn(set_: HeadClips, index: int) -> torch.Tensor:
    """Write a clip of random pictures in place of rendered ones; returns them, (2 + F, S, S, 3)."""
    generator = torch.Generator().manual_seed(index)
    reference = torch.randint(0, 256, (256, 256, 3), dtype=torch.uint8, generator=generator)
    pictures = reference[None].repeat(2 + set_.frames, 1, 1, 1)
    inside = (slice(1, None), slice(56, 256), slice(40, 212))
    pictures[inside] = torch.randint(0, 256, pictures[inside].shape, dtype=torch.uint8, generator=generator)
    landmarks = torch.rand(2 + set_.frames, len(LANDMARKS), 2, generator=generator)
    head_clips._write(set_.path(index), pictures, landmarks, script_of(index, set_.speech, set_.frames))
    return pictures


def test_what_was_rendered_is_read_back(tmp_path: Path) -> None:
    clips = HeadClips(tmp_path, "train", 8, Spoken(tmp_path, "train", 8), frames=5)
    pictures = drawn(clips, 3)
    item = clips[3]
    assert torch.equal(item.pictures.permute(0, 2, 3, 1), pictures)
    said = clips.speech[item.speech].mouth[item.first : item.first + 5]
    assert item.speech == 3 and torch.equal(item.mouth[2:], said)
    assert item.mouth.shape == (7, 6) and item.expression.shape == (7, 4)
    assert torch.equal(item.opening_px, opening_of(item.landmarks)) and (item.opening_px >= 0).all()
    assert clips.rendered() == [3]


def test_a_script_depends_on_its_number_alone_and_its_portraits_differ(tmp_path: Path) -> None:
    speech = Spoken(tmp_path, "train", 64)
    scripts = [script_of(index, speech, 40) for index in range(24)]
    again = script_of(5, speech, 40)
    assert torch.equal(again.mouth, scripts[5].mouth) and torch.equal(again.states, scripts[5].states)
    portraits = torch.stack([script.states[0] for script in scripts])
    assert (portraits[:, 0] == 0).float().mean() > 0.4  # a portrait mostly has a closed mouth
    assert len({tuple(p.tolist()) for p in portraits}) > 12
    with pytest.raises(ValueError, match="needs speech as long"):
        script_of(0, speech, 61)


def test_each_clip_has_its_own_person_or_few_take_turns(tmp_path: Path) -> None:
    speech = Spoken(tmp_path, "train", 200)
    each = HeadClips(tmp_path, "train", 200, speech)
    few = HeadClips(tmp_path, "train", 200, speech, people=6)
    own = [each.person(index) for index in range(200)]
    shared = [few.person(index) for index in range(200)]
    assert len(set(own)) == 200 and min(own) == FIRST_PERSON
    assert len(set(shared)) == 6 and not set(own) & set(shared)
    assert len(set(shared[:TURN])) == 1 and shared[TURN] != shared[0]
    assert each.root != few.root
    with pytest.raises(ValueError, match="at least one person"):
        HeadClips(tmp_path, "train", 8, speech, people=0)


def test_fewer_speech_clips_are_another_folder(tmp_path: Path) -> None:
    some = HeadClips(tmp_path, "train", 20, Spoken(tmp_path, "train", 8))
    all_ = HeadClips(tmp_path, "train", 20, Spoken(tmp_path, "train", 20))
    longer = HeadClips(tmp_path, "train", 30, Spoken(tmp_path, "train", 30))
    assert some.root != all_.root and longer.root == all_.root
    assert script_of(9, some.speech, 40).speech == 1


def test_the_stage_makes_what_is_missing_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def render(self: HeadClips, index: int) -> None:
        if not self.path(index).is_file():
            made.append(index)
            drawn(self, index)

    monkeypatch.setattr(HeadClips, "render", render)
    monkeypatch.setattr("distill.data.talking.head_clips.SpeechSet", Spoken)
    assert make_head_clips(tmp_path, 6, 2, part=(1, 2)) == 0 and made == [4, 5]
    assert make_head_clips(tmp_path, 6, 2, minutes=1e-9) == 0 and made == [4, 5]  # no time, but a sheet
    assert make_head_clips(tmp_path, 6, 2) == 0 and sorted(made) == list(range(6))
    make_head_clips(tmp_path, 6, 2)
    assert len(made) == 6
    (sheet,) = tmp_path.glob("head-clips-train-of2-40/sheet.png")
    assert sheet.stat().st_size > 1000


@pytest.mark.slow  # npm and pip fetch a hundred megabytes the first time
def test_a_head_speaks_its_script(tmp_path: Path) -> None:
    """The lips of the pictures open as the speech says; people of the shards are not among those who speak."""
    clips = HeadClips(tmp_path, "val", 4, Spoken(tmp_path, "val", 4), people=1, frames=6)
    item = clips[1]
    assert item.pictures.shape == (8, 3, 256, 256) and item.pictures.dtype == torch.uint8
    r = np.corrcoef(item.opening_px[2:].numpy(), item.mouth[2:, 0].numpy())[0, 1]
    assert r > 0.7
    assert read_clip(clips.path(1)).speech == 1
    again = HeadClips(tmp_path / "again", "val", 4, clips.speech, people=1, frames=6)[1]
    assert torch.equal(again.pictures, item.pictures)

"""Talking heads as latents: the preset's box, the sound that belongs to the frames, views, shares of a set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from distill.corpus.degrade import Defects, delayed, sound_delays
from distill.corpus.drawn import Character, sample_identities
from distill.data import views
from distill.data.batches import draw_batch
from distill.data.clip_set import ClipSet
from distill.data.draws import StepDraw
from distill.data.jitter import Jitter
from distill.data.photometric import Light
from distill.data.speech_set import SpeechSet
from distill.data.talking.head_clips import HeadClipItem, HeadClips
from distill.data.talking.mixed_clips import MixedClips, rendered_of
from distill.data.talking.talking_heads import TalkingHeads, timing_of
from distill.stage_maker import make_clips
from distill.stages.samples import sample_sheet
from distill.stages.teacher import TeacherStage
from distill.train_config import ClipsConfig
from models.avatar_model import AvatarModel
from models.configs import VAEConfig
from models.face import EXPRESSION_DIMS, SAMPLES_PER_FRAME
from models.modules.vae import VAE
from models.presets import Preset
from tests.distill.data.talking.test_head_clips import Spoken, drawn
from tests.models.tiny import tiny_preset

GAZE = EXPRESSION_DIMS.index("gaze_x")
BOX = (48, 88, 160, 160)


def moving_preset() -> Preset:
    """The tiny preset with a decoder that moves and a box that holds a photographed jaw."""
    vae = VAEConfig(latent_channels=4, stem=2, widths=(8, 16, 16), blocks=1, decoder="move")
    tiny = dataclasses.replace(tiny_preset(), name="tiny moving", face_box=BOX, vae=vae)
    assert tiny.latent_shape == tiny_preset().latent_shape
    return tiny


def own_vae(preset: Preset) -> VAE:
    torch.manual_seed(0)
    return VAE(preset.vae).eval()


def heads(
    root: Path, quality: str = "high", rendered: int = 2, count: int = 6, frames: int = 14
) -> TalkingHeads:
    """Views of ``rendered`` clips of noise."""
    clips = HeadClips(root, "train", 40, Spoken(root, "train", 40), frames=frames)
    for index in range(rendered):
        drawn(clips, index)
    preset = moving_preset()
    return TalkingHeads(clips, preset, own_vae(preset), Spoken(root, "train", 40), count, quality)


def spoken_at(samples: torch.Tensor, preset: Preset) -> float:
    """Which speech is heard in a window, as `Spoken` says it: its number over 100, in the middle."""
    return round(100 * float(samples[len(samples) // 2]))


@pytest.fixture
def plain_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views that are framed as meant, in their own light, and mirrored by chance alone."""
    monkeypatch.setattr(views, "FRAMING", Jitter(0.0, 0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(Light, "over", lambda self, pictures: pictures)


def test_items_are_views_of_what_is_there(tmp_path: Path) -> None:
    data = heads(tmp_path)
    assert len(data) == 6 and data.there == [0, 1]
    first, again, other = data[0], heads(tmp_path)[0], data[2]
    assert first.latents.shape == (14, *data.preset.latent_shape) and first.references.shape[0] == 2
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.mouth, other.mouth) and not torch.equal(first.references, other.references)
    cfg = data.preset.audio
    assert len(first.audio) == cfg.context_samples + 14 * SAMPLES_PER_FRAME + cfg.lookahead_samples
    assert spoken_at(data[1].audio, data.preset) == 1


def test_a_set_is_fixed_when_it_is_made_and_grows_with_the_next(tmp_path: Path) -> None:
    data = heads(tmp_path, rendered=2)
    drawn(data.clips, 9)
    assert data.there == [0, 1]
    later = TalkingHeads(data.clips, data.preset, own_vae(data.preset), data.speech, 3)
    assert later.there == [0, 1, 9]
    assert torch.equal(later[0].latents, data[0].latents)


def test_nothing_rendered_says_how_to_render(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--stage head-clips --clips 200"):
        heads(tmp_path, rendered=0)


@pytest.mark.usefixtures("plain_views")
def test_the_view_is_the_presets_box_or_its_mirror(tmp_path: Path) -> None:
    """Every picture of a clip alike; gaze turns with the mirror, nothing else does."""
    data = heads(tmp_path, count=16)
    turned = []
    for index in range(16):
        shown, clip = data.shown(index), data.clips[index % 2]
        left, top, width, height = BOX
        box = clip.pictures[..., top : top + height, left : left + width].float() / 255
        mirror = torch.equal(shown.expression[:, GAZE], -clip.expression[2:, GAZE])
        near = (shown.pictures - (box.flip(-1) if mirror else box)).abs().mean()
        far = (shown.pictures - (box if mirror else box.flip(-1))).abs().mean()
        assert near < 1e-3 < far
        turned.append(mirror)
        others = [dim for dim in range(4) if dim != GAZE]
        assert torch.equal(shown.expression[:, others], clip.expression[2:, others])
    assert 3 < sum(turned) < 13


def clip_of(frames: int = 40) -> HeadClipItem:
    mouth = torch.rand(2 + frames, 6, generator=torch.Generator().manual_seed(0))
    return HeadClipItem(torch.zeros(0), mouth, torch.zeros(2 + frames, 4), torch.zeros(0), speech=5, first=30)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["late_audio", "drifting_audio"])
def test_late_and_drifting_sound_goes_with_the_mouths_of_drawn_clips(name: str, seed: int) -> None:
    """A drawn clip shows, at a frame, the mouth of the sound d frames ahead; so must a rendered one, to a frame."""
    wrong, track = Defects((name,), 0.5, seed), torch.arange(200.0).view(-1, 1)
    timing = timing_of(clip_of(), wrong, seed)
    heard_first = timing.first
    shown = 30 + timing.picks.float()  # the track's frame whose mouth is seen
    wanted = delayed(track, sound_delays(40, wrong), heard_first)[: len(shown), 0]
    skipped = 0 if name == "late_audio" else int((shown[0] - wanted[0]).abs().round())
    assert skipped == 0 or sound_delays(40, wrong)[0] != 0
    assert (shown - wanted).abs().max() <= 0.51
    assert len(shown) >= 34


def test_wrong_lips_are_anothers() -> None:
    wrong = Defects(("wrong_lips",), 0.5, 3)
    assert timing_of(clip_of(), wrong, 3).speech == 9
    assert timing_of(clip_of(), wrong, 3, shared=8).speech == 1
    alone = timing_of(clip_of(), wrong, 7, shared=1)
    assert alone.speech == 0 and timing_of(clip_of(), None, 0).speech == 5


def test_moderate_clips_are_spoilt_and_high_ones_are_not(tmp_path: Path) -> None:
    moderate, high = heads(tmp_path, "moderate"), heads(tmp_path)
    assert high.defects(0) is None
    kinds = {moderate.defects(index).names for index in range(6)}  # type: ignore[union-attr]
    assert len(kinds) > 2
    assert not torch.equal(moderate[0].latents[:5], high[0].latents[:5])


@pytest.mark.usefixtures("plain_views")
def test_clean_latents_are_the_true_states_and_moderate_ones_are_read(tmp_path: Path) -> None:
    """What a clean clip says that it shows is what its latents say, mirror and all; references are read."""
    data = heads(tmp_path, count=8)
    vae = own_vae(data.preset)
    for index in range(8):
        item, shown = data[index], data.shown(index)
        states = torch.cat((item.mouth, item.expression), dim=1)
        with torch.no_grad():
            written, read = vae.encode_states(states, (160, 160)), vae.encode(shown.pictures)
        torch.testing.assert_close(item.latents, written, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(item.references, read[:2], rtol=2e-3, atol=2e-3)
        assert (item.latents - read[2:]).abs().max() > 0.05
        references = data.shown(index, whole=False).pictures
        torch.testing.assert_close(references, shown.pictures[:2])
    poor = heads(tmp_path, "moderate")
    with torch.no_grad():
        read = vae.encode(poor.shown(0).pictures)[2:]
    torch.testing.assert_close(poor[0].latents, read, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("quality", ["high", "moderate"])
def test_clips_are_the_same_in_any_precision_of_training(quality: str, tmp_path: Path) -> None:
    """A stage in bf16 makes the clips that it finds missing; views, drawings and latents stay in fp32."""
    preset = moving_preset()
    vae = own_vae(preset)
    speech = Spoken(tmp_path, "train", 4)
    made = []
    for name, bf16 in (("plain", False), ("bf16", True)):
        clips = ClipSet(tmp_path / name, preset, vae, speech, "train", 4, frames=3, quality=quality)
        rendered = heads(tmp_path / name, quality)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            made.append((clips[1], rendered[0], clips.picture(1), rendered.picture(0)))
    for one, other in zip(*made, strict=True):
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            assert torch.equal(one, other)
        else:
            assert torch.equal(one.latents, other.latents)  # type: ignore[union-attr]
            assert torch.equal(one.references, other.references)  # type: ignore[union-attr]


def test_drawn_clips_of_a_preset_that_moves_are_written_too(tmp_path: Path) -> None:
    preset = moving_preset()
    vae = own_vae(preset)
    clips = ClipSet(tmp_path, preset, vae, Spoken(tmp_path, "train", 4), "train", 4, frames=5)
    item, shown = clips[1], clips.shown(1)
    assert torch.equal(item.mouth, shown.mouth) and torch.equal(item.expression, shown.expression)
    states = torch.cat((item.mouth, item.expression), dim=1)
    with torch.no_grad():
        torch.testing.assert_close(item.latents, vae.encode_states(states, (160, 160)), rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(item.references, vae.encode(shown.pictures[:2]), rtol=2e-3, atol=2e-3)
    assert torch.equal(clips.shown(1, whole=False).expression, shown.expression)


def test_both_qualities_of_speech_say_the_same(tmp_path: Path) -> None:
    """Rendered once by the clean speech's track, heard spoilt: the tracks must be one."""
    for index in range(3):
        clean, poor = (SpeechSet(tmp_path, "train", 3, 3.0, quality=q)[index] for q in ("high", "moderate"))
        assert torch.equal(clean.mouth, poor.mouth)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.333, 0.8, 1.0])
def test_any_stretch_of_a_mixed_set_has_the_share(share: float, tmp_path: Path) -> None:
    assert rendered_of(1000, share) == round(1000 * share)
    for first in (0, 17, 400):
        among = rendered_of(first + 100, share) - rendered_of(first, share)
        assert abs(among - 100 * share) <= 1


def test_a_mixed_set_asks_each_for_its_own(tmp_path: Path) -> None:
    rendered = heads(tmp_path, count=3)
    preset = rendered.preset
    vae = own_vae(preset)
    characters = ClipSet(tmp_path, preset, vae, Spoken(tmp_path, "train", 5), "train", 5, frames=14)
    both = MixedClips(characters, rendered, 0.375)
    asked = [both._place(index) for index in range(8)]
    assert sorted(own for some, own in asked if some is rendered) == [0, 1, 2]
    assert sorted(own for some, own in asked if some is characters) == [0, 1, 2, 3, 4]
    which = next(index for index, (some, _) in enumerate(asked) if some is rendered)
    assert torch.equal(both[which].latents, rendered[0].latents)
    assert both.picture(which).shape == (3, 160, 160)
    with pytest.raises(ValueError, match="heads of 8 clips"):
        MixedClips(characters, rendered, 0.5)
    with pytest.raises(IndexError):
        both[8]
    generators = StepDraw(seed=1, step=0, first=0, rows=4, total=4).generators()
    batch = draw_batch([(both, 1.0)], 4, 2, generators, "cpu")
    assert batch.x_0.shape == (4, 4, *preset.latent_shape)
    with pytest.raises(ValueError, match="holds no window of 13 frames after 2"):
        draw_batch([(both, 1.0)], 13, 2, generators, "cpu")


def test_drawn_clips_of_other_presets_are_as_ever(tmp_path: Path) -> None:
    """The face box of drawn characters as the corpus draws it: no view is laid over it."""
    preset = tiny_preset()
    torch.manual_seed(0)
    vae = VAE(preset.vae).eval()
    clips = ClipSet(tmp_path, preset, vae, Spoken(tmp_path, "train", 4), "train", 4, frames=5)
    shown = clips.shown(2)
    who = Character(sample_identities([2], split="train"), preset.face_box)
    frames = who.frames(shown.mouth[None], shown.expression[None])[0].clamp(0, 1)
    assert torch.equal(shown.pictures[2:], frames)
    assert "x" not in clips.root.name.split("-")[3]
    assert torch.equal(clips.picture(2), shown.pictures[0])


def test_drawn_clips_of_a_preset_that_moves_lie_in_its_box(tmp_path: Path) -> None:
    preset = moving_preset()
    clips = ClipSet(tmp_path, preset, own_vae(preset), Spoken(tmp_path, "train", 4), "train", 4, frames=5)
    shown = clips.shown(1)
    assert shown.pictures.shape == (7, 3, 160, 160) and 0 <= shown.pictures.min() <= shown.pictures.max() <= 1
    assert "48x88x160x160" in clips.root.name
    huge = dataclasses.replace(preset, canvas_px=512)
    with pytest.raises(ValueError, match="drawn on 256 px"):
        ClipSet(tmp_path, huge, own_vae(preset), Spoken(tmp_path, "train", 4), "train", 4)


def test_a_teacher_learns_from_both_and_shows_a_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make_clips` with a share of heads; loss weights lie where photographed mouths are."""
    monkeypatch.setattr("distill.data.speech_set.SpeechSet.__getitem__", Spoken.__getitem__)
    for people in (None, 2):
        pool = HeadClips(tmp_path, "train", 4, SpeechSet(tmp_path, "train", 4), people)
        drawn(pool, 0)
    preset = moving_preset()
    torch.manual_seed(0)
    model = AvatarModel(preset, "teacher")
    config = ClipsConfig(tmp_path, clips=4, heads=0.5, people=2)
    clips = make_clips(config, preset, model.vae, "high")
    assert isinstance(clips, MixedClips) and len(clips) == 4
    assert isinstance(clips.heads, TalkingHeads) and clips.heads.clips.people == 2
    moderate = make_clips(config, preset, model.vae, "moderate", 2)
    assert isinstance(moderate, MixedClips) and moderate.heads.quality == "moderate"
    assert isinstance(moderate.heads, TalkingHeads) and moderate.heads.clips.people is None
    stage = TeacherStage(model, clips, 2, 4, "cpu")
    rows, columns = stage.weights.shape
    highest = int(stage.weights.argmax())
    assert 88 + (highest // columns + 0.5) * 160 / rows == pytest.approx(186, abs=5)
    loss, _ = stage.loss(StepDraw(seed=0, step=0, first=0, rows=2, total=2))
    loss.backward()
    assert loss.isfinite()
    sample_sheet(tmp_path / "sheet.png", model, clips, steps=1, rows=2, frames=2)
    assert (tmp_path / "sheet.png").stat().st_size > 1000

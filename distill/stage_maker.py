"""From options to a training stage: which networks it starts from and which clips it sees.

In: the options of ``fada train`` and a preset. Out: a `Stage` for `distill.training.loop`. Stages build
on each other: vae, probe, mouth and audio stand alone, teacher needs vae and audio (from their runs or out of a
model file), student the teacher, steps the student.
"""

from __future__ import annotations

from pathlib import Path

from distill.data.batches import Clips
from distill.stages.speech import spoken_count
from distill.train_config import ClipsConfig, TrainConfig
from distill.training.loop import Stage
from models.avatar_model import AvatarModel, channels_last
from models.checkpoint import load_strict, read_tensors
from models.modules.vae import VAE
from models.presets import Preset, preset
from models.weights import load_model


def make_stage(config: TrainConfig) -> Stage:
    """The stage that a run is of, on its device."""
    from distill.data.pictures import PictureSet
    from distill.data.speech_set import SpeechSet

    chosen, clips, pace = preset(config.preset), config.clips, config.pace
    if config.stage in ("vae", "decoder") and chosen.moves:
        return _moving_stage(config, chosen)
    if config.stage in ("vae", "decoder"):
        from distill.stages.vae import VAEStage

        pictures = PictureSet(clips.data, "train", clips.identities, box=chosen.face_box)
        others = PictureSet(clips.data, "val", 32, box=chosen.face_box)
        trained = trained_vae(config, chosen) if config.stage == "decoder" else None
        return VAEStage(chosen, pictures, others, pace.batch, pace.device, trained)
    if config.stage == "probe":
        return _probe_stage(config)
    if config.stage == "mouth":
        from distill.data.mouths.pool import MouthPool
        from distill.stages.mouth import PICTURES, MouthStage

        pool = MouthPool(clips.data, "train", clips.identities, PICTURES)
        return MouthStage(pool, MouthPool(clips.data, "val", 24, 768), pace.batch, pace.device)
    if config.stage == "audio":
        from distill.stages.audio import AudioStage

        speech, spoken = SpeechSet(clips.data, "train", clips.clips), SpeechSet(clips.data, "val", 48)
        stage = AudioStage(chosen, speech, spoken, pace.batch, pace.frames, pace.device)
        if init := config.start.init:
            load_strict(stage.encoder, load_model(init).audio.state_dict(), init)
        return stage
    makers = {"teacher": _teacher_stage, "student": _student_stage, "steps": _step_stage}
    return makers[config.stage](config, chosen)


def _probe_stage(config: TrainConfig) -> Stage:
    """The probe, on drawn pictures and, where a share is asked for, on rendered heads."""
    from distill.data.head_set import HeadPictures
    from distill.data.pictures import PictureSet
    from distill.probe import load_probe
    from distill.stages.probe import Heads, ProbeStage

    clips, pace, init = config.clips, config.pace, config.start.init
    heads = None
    if clips.heads:
        heads = Heads(HeadPictures(clips.data, "train"), HeadPictures(clips.data, "val"), clips.heads)
    pictures = PictureSet(clips.data, "train", clips.identities)
    validation, trained = PictureSet(clips.data, "val", 32), load_probe(init) if init else None
    return ProbeStage(pictures, validation, pace.batch, pace.device, heads, trained)


def _moving_stage(config: TrainConfig, chosen: Preset) -> Stage:
    """The autoencoder of a preset that moves pixels: on rendered heads and drawn characters alike."""
    from distill.data.drawn_motions import DrawnMotions
    from distill.data.head_set import HeadMotions
    from distill.data.motion_set import MotionData
    from distill.stages.moving import MovingStage

    data, pace = config.clips.data, config.pace
    heads = HeadMotions(data, "train")
    sets: list[MotionData] = [heads, heads, DrawnMotions(data, "train", config.clips.identities)]
    shown: list[MotionData] = [HeadMotions(data, "val"), DrawnMotions(data, "val", 32)]
    trained = trained_vae(config, chosen) if config.stage == "decoder" else None
    return MovingStage(chosen, sets, shown, pace.batch, pace.device, trained)


def _teacher_stage(config: TrainConfig, chosen: Preset) -> Stage:
    from distill.stages.teacher import TeacherStage

    start, pace = config.start, config.pace
    model = AvatarModel(chosen, "teacher")
    model.vae.load_state_dict(trained_vae(config, chosen).state_dict())
    if start.from_weights and not start.audio:
        load_strict(model.audio, load_model(start.from_weights).audio.state_dict(), start.from_weights)
    else:
        path = start.audio or config.runs / "audio" / "model.safetensors"
        load_strict(model.audio, read_tensors(path)[0], path)
    _start(model, start.init, pace.device)
    model.vae.requires_grad_(False)
    clips = make_clips(config.clips, chosen, model.vae, "high")
    return TeacherStage(model, clips, pace.batch, pace.frames, pace.device)


def _student_stage(config: TrainConfig, chosen: Preset) -> Stage:
    from distill.methods.recipes import recipe
    from distill.methods.stage import GRIDS, StudentStage, start_student

    start, pace = config.start, config.pace
    parts = recipe(start.method or "fast")
    teacher = channels_last(load_model(config.runs / "teacher" / "model.safetensors", pace.device))
    student = start_student(teacher, parts)
    if start.control:
        start_control(student, start.control)
    _start(student, start.init, pace.device)
    student.vae.requires_grad_(False)
    high, moderate = _both_qualities(config.clips, chosen, teacher.vae)
    return StudentStage(
        student, teacher, high, moderate, pace.batch, pace.frames, pace.device, parts, start.grids or GRIDS
    )


def _step_stage(config: TrainConfig, chosen: Preset) -> Stage:
    from distill.methods.step_stages import STEP_STAGES

    pace, method = config.pace, config.start.method or "consistency"
    if method not in STEP_STAGES:
        raise ValueError(f"Unknown method '{method}' for the stage steps; expected {', '.join(STEP_STAGES)}.")
    path = config.runs / "student" / "model.safetensors"
    fast, student = channels_last(load_model(path, pace.device)), load_model(path).train()
    _start(student, config.start.init, pace.device)
    student.vae.requires_grad_(False)
    high, moderate = _both_qualities(config.clips, chosen, fast.vae)
    return STEP_STAGES[method](student, fast, high, moderate, pace.batch, pace.frames, pace.device)


def start_control(student: AvatarModel, path: Path) -> None:
    """Put CFG tokens and control layers of the student at ``path`` in; the trunk stays its teacher's.

    Raises:
        CheckpointError: the file cannot be read, or its layers are of another shape.
        ValueError: one of the two has no CFG tokens.
    """
    source = load_model(path)
    if student.tokens is None or source.tokens is None:
        raise ValueError(f"--control needs CFG tokens in the student that is trained and in {path}.")
    load_strict(student.tokens, source.tokens.state_dict(), path)
    mine, theirs = student.denoiser.state_dict(), source.denoiser.state_dict()
    load_strict(
        student.denoiser, {**mine, **{key: v for key, v in theirs.items() if ".control." in key}}, path
    )


def _start(model: AvatarModel, init: Path | None, device: str) -> None:
    """Put the trunk of ``--init`` in, then bring the model to its device."""
    if init:
        start_trunk(model, init)
    channels_last(model).to(device)


def start_trunk(model: AvatarModel, path: Path) -> None:
    """Load ReferenceNet, denoiser and, where both have them, CFG tokens of the model at ``path``.

    Control layers, which a student has and a teacher lacks, stay as they are or are left out.

    Raises:
        CheckpointError: the file cannot be read, or its trunk is of another shape.
    """
    source = load_model(path)
    for mine, theirs in (
        (model.reference_net, source.reference_net),
        (model.denoiser, source.denoiser),
    ):
        wanted, found = mine.state_dict(), theirs.state_dict()
        tensors = {key: value for key, value in found.items() if key in wanted or "control" not in key}
        kept = {key: value for key, value in wanted.items() if key not in found and "control" in key}
        load_strict(mine, {**tensors, **kept}, path)
    if model.tokens is not None and source.tokens is not None:
        load_strict(model.tokens, source.tokens.state_dict(), path)


def _both_qualities(config: ClipsConfig, chosen: Preset, vae: VAE) -> tuple[Clips, Clips | None]:
    high = make_clips(config, chosen, vae, "high")
    if config.high_only:
        return high, None
    return high, make_clips(config, chosen, vae, "moderate", config.clips // 4)


def make_clips(
    config: ClipsConfig, chosen: Preset, vae: VAE, quality: str, count: int | None = None
) -> Clips:
    """Clips of one quality: from prepared videos if the data folder holds such, else of the procedural corpus.

    Of the corpus' clips a share may be rendered heads: of high quality those of few people, of moderate quality
    each of its own person, spoilt.
    """
    from distill.data.clip_set import ClipSet
    from distill.data.speech_set import SpeechSet
    from distill.data.talking.head_clips import talking_heads
    from distill.data.talking.mixed_clips import MixedClips, rendered_of
    from distill.data.talking.talking_heads import TalkingHeads
    from distill.prepare.dataset import PreparedClips, is_prepared

    if is_prepared(config.data):
        return PreparedClips(config.data, chosen, vae.eval(), quality)
    count = config.clips if count is None else count
    rendered = rendered_of(count, config.heads)
    made: list[Clips] = []
    if drawn := count - rendered:
        speech = SpeechSet(config.data, "train", spoken_count(drawn, config.speech, quality), quality=quality)
        made.append(ClipSet(config.data, chosen, vae.eval(), speech, "train", drawn, quality=quality))
    if rendered:
        people = config.people if quality == "high" else None
        clips = talking_heads(config.data, "train", config.clips, people, config.speech)
        heard = SpeechSet(config.data, "train", len(clips.speech), quality=quality)
        made.append(TalkingHeads(clips, chosen, vae.eval(), heard, rendered, quality))
    return made[0] if len(made) == 1 else MixedClips(made[0], made[1], config.heads)


def trained_vae(config: TrainConfig, chosen: Preset) -> VAE:
    """The autoencoder of the stage "vae", or of the model that ``--from-weights`` names."""
    vae = VAE(chosen.vae)
    if named := config.start.from_weights:
        load_strict(vae, load_model(named).vae.state_dict(), named)
        return vae
    path = config.runs / "vae" / "model.safetensors"
    load_strict(vae, read_tensors(path)[0], path)
    return vae

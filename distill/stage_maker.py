"""From options to a training stage: which networks it starts from and which clips it sees.

In: the options of ``fada train`` and a preset. Out: a `Stage` for `distill.training.loop`. Stages build
on each other: vae, probe and audio stand alone, teacher needs vae and audio (from their runs or out of a
model file), student the teacher, steps the student.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from distill.data.batches import Clips
from distill.stages.speech import spoken_count
from distill.training.loop import Stage
from models.avatar_model import AvatarModel, channels_last
from models.checkpoint import load_strict, read_tensors
from models.modules.vae import VAE
from models.presets import Preset
from models.weights import load_model

FROM_WEIGHTS = ("corpus", "decoder", "teacher")
FROM_INIT = ("audio", "teacher", "student", "steps")
ON_PREPARED = ("corpus", "teacher", "student", "steps")
WITH_SPEECH = ("speech", *ON_PREPARED)


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that the chosen stage would ignore.

    Raises:
        ValueError: says which option, and which stages take it.
    """
    stage = args.stage
    if args.from_weights and stage not in FROM_WEIGHTS:
        raise ValueError(
            f"--from-weights is for the stages {', '.join(FROM_WEIGHTS)}, not for {stage}, which takes its "
            "networks from the stage before it."
        )
    if args.init and stage not in FROM_INIT:
        raise ValueError(f"--init is for the stages {', '.join(FROM_INIT)}, not for {stage}.")
    if args.audio and stage != "teacher":
        raise ValueError(
            f"--audio is for the stage teacher, whose encoder all later stages keep, not for {stage}."
        )
    if args.method and stage not in ("student", "steps"):
        raise ValueError(f"--method is for the stages student and steps, not for {stage}.")
    if args.speech is not None and (stage not in WITH_SPEECH or args.speech < 4):
        raise ValueError(
            f"--speech takes 4 clips or more, for the stages {', '.join(WITH_SPEECH)}; "
            f"got {args.speech} for {stage}."
        )
    if args.control and (stage != "student" or args.init):
        raise ValueError("--control is for the stage student, without --init, which brings its own.")
    if args.grids and stage != "student":
        raise ValueError(f"--grids is for the stage student, not for {stage}.")
    if stage not in (*ON_PREPARED, "ship") and _prepared(args.data):
        raise ValueError(
            f"The stage {stage} learns from the procedural corpus and {args.data} holds prepared videos; use them "
            f"for {', '.join(ON_PREPARED)}, with --from-weights weights/small/student.safetensors if need be."
        )


def make_stage(args: argparse.Namespace, chosen: Preset, batch: int) -> Stage:
    """The stage that the options ask for, on its device."""
    from distill.data.pictures import PictureSet
    from distill.data.speech_set import SpeechSet

    if args.stage in ("vae", "decoder"):
        from distill.stages.vae import VAEStage

        pictures = PictureSet(args.data, "train", args.identities)
        trained = trained_vae(args, chosen) if args.stage == "decoder" else None
        return VAEStage(chosen, pictures, PictureSet(args.data, "val", 32), batch, args.device, trained)
    if args.stage == "probe":
        from distill.stages.probe import ProbeStage

        pictures = PictureSet(args.data, "train", args.identities)
        return ProbeStage(pictures, PictureSet(args.data, "val", 32), batch, args.device)
    if args.stage == "audio":
        from distill.stages.audio import AudioStage

        speech = SpeechSet(args.data, "train", args.clips)
        stage = AudioStage(chosen, speech, SpeechSet(args.data, "val", 48), batch, args.frames, args.device)
        if args.init:
            load_strict(stage.encoder, load_model(args.init).audio.state_dict(), args.init)
        return stage
    if args.stage == "teacher":
        return _teacher_stage(args, chosen, batch)
    return (
        _student_stage(args, chosen, batch) if args.stage == "student" else _step_stage(args, chosen, batch)
    )


def _teacher_stage(args: argparse.Namespace, chosen: Preset, batch: int) -> Stage:
    from distill.stages.teacher import TeacherStage

    model = AvatarModel(chosen, "teacher")
    model.vae.load_state_dict(trained_vae(args, chosen).state_dict())
    if args.from_weights and not args.audio:
        load_strict(model.audio, load_model(args.from_weights).audio.state_dict(), args.from_weights)
    else:
        path = args.audio or args.runs / "audio" / "model.safetensors"
        load_strict(model.audio, read_tensors(path)[0], path)
    _start(model, args)
    model.vae.requires_grad_(False)
    return TeacherStage(model, make_clips(args, chosen, model.vae, "high"), batch, args.frames, args.device)


def _student_stage(args: argparse.Namespace, chosen: Preset, batch: int) -> Stage:
    from distill.methods.recipes import recipe
    from distill.methods.stage import GRIDS, StudentStage, start_student

    parts = recipe(args.method or "fast")
    teacher = channels_last(load_model(args.runs / "teacher" / "model.safetensors", args.device))
    student = start_student(teacher, parts)
    if args.control:
        start_control(student, args.control)
    _start(student, args)
    student.vae.requires_grad_(False)
    high, moderate = _both_qualities(args, chosen, teacher.vae)
    grids = args.grids or GRIDS
    return StudentStage(student, teacher, high, moderate, batch, args.frames, args.device, parts, grids)


def _step_stage(args: argparse.Namespace, chosen: Preset, batch: int) -> Stage:
    from distill.methods.step_stages import STEP_STAGES

    method = args.method or "consistency"
    if method not in STEP_STAGES:
        raise ValueError(f"Unknown method '{method}' for the stage steps; expected {', '.join(STEP_STAGES)}.")
    path = args.runs / "student" / "model.safetensors"
    fast, student = channels_last(load_model(path, args.device)), load_model(path).train()
    _start(student, args)
    student.vae.requires_grad_(False)
    high, moderate = _both_qualities(args, chosen, fast.vae)
    return STEP_STAGES[method](student, fast, high, moderate, batch, args.frames, args.device)


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


def _start(model: AvatarModel, args: argparse.Namespace) -> None:
    """Put the trunk of ``--init`` in, then bring the model to its device."""
    if args.init:
        start_trunk(model, args.init)
    channels_last(model).to(args.device)


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


def _prepared(root: Path) -> bool:
    from distill.prepare.dataset import is_prepared

    return is_prepared(root)


def _both_qualities(args: argparse.Namespace, chosen: Preset, vae: VAE) -> tuple[Clips, Clips | None]:
    high = make_clips(args, chosen, vae, "high")
    if args.high_only:
        return high, None
    return high, make_clips(args, chosen, vae, "moderate", args.clips // 4)


def make_clips(
    args: argparse.Namespace, chosen: Preset, vae: VAE, quality: str, count: int | None = None
) -> Clips:
    """Clips of one quality: from prepared videos if ``--data`` holds such, else of the procedural corpus."""
    from distill.data.clip_set import ClipSet
    from distill.data.speech_set import SpeechSet
    from distill.prepare.dataset import PreparedClips

    if _prepared(args.data):
        return PreparedClips(args.data, chosen, vae.eval(), quality)
    count = args.clips if count is None else count
    speech = SpeechSet(args.data, "train", spoken_count(count, args.speech, quality), quality=quality)
    return ClipSet(args.data, chosen, vae.eval(), speech, "train", count, quality=quality)


def trained_vae(args: argparse.Namespace, chosen: Preset) -> VAE:
    """The autoencoder of the stage "vae", or of the model that ``--from-weights`` names."""
    vae = VAE(chosen.vae)
    if args.from_weights:
        load_strict(vae, load_model(args.from_weights).vae.state_dict(), args.from_weights)
        return vae
    path = args.runs / "vae" / "model.safetensors"
    load_strict(vae, read_tensors(path)[0], path)
    return vae

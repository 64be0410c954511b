"""One video becomes clips, or a sentence that says why not.

In: a `Job`. Out: files under OUT/clips and a record, a plain dict for JSON: what the file is, its clips with class
and figures, and every refused stretch with its reasons. The video is read twice: once to follow the face, once to
cut. Runs in a worker process, on one thread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.prepare import framing, media, sync, tracks
from distill.prepare.dataset import StoredClip, encode_picture, write_clip
from distill.prepare.quality import grade, levels_db, picture_figures, pose_figures, sound_figures
from distill.prepare.track import Loss, Span, Survey, spans, survey_faces, survey_framed
from distill.probe import Probe, load_probe
from models.face import EYE_SPREAD_X, FPS, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from models.framing.finder import FaceFinder
from models.framing.similarity import Similarity, outside_share
from models.presets import shipped

LEAD_S = 1.0
TAIL_S = 0.2
"""Sound kept before and after a clip's pictures, so that the first and last frames are heard in context."""
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Options:
    """How to prepare; part of what decides whether an earlier result still holds.

    Attributes:
        framed: the face is in place (drawings, our own renders): no search, the middle square is the canvas.
        fix_lag: move sound that is early or late to where the mouth is.
    """

    framed: bool = False
    fix_lag: bool = False
    shortest_s: float = 2.0
    longest_s: float = 10.0
    probe: Path = field(default_factory=lambda: shipped("small", "probe"))

    def __post_init__(self) -> None:
        if not 0.5 <= self.shortest_s <= self.longest_s <= 60:
            raise ValueError(
                f"Expected clips of 0.5 to 60 s, the shortest no longer than the longest, got "
                f"{self.shortest_s:g} to {self.longest_s:g} s."
            )


@dataclass(frozen=True, slots=True)
class Job:
    """One video to prepare: its path below ``root``, and where clips go."""

    root: Path
    path: Path
    out: Path
    options: Options

    @property
    def name(self) -> str:
        """A file name of its own, from the path below root."""
        relative = self.path.relative_to(self.root).as_posix()
        slug = re.sub(r"[^a-z0-9]+", "-", relative.rsplit(".", 1)[0].lower()).strip("-")[:40]
        return f"{slug or 'video'}-{hashlib.sha1(relative.encode()).hexdigest()[:6]}"

    @property
    def key(self) -> str:
        """Changes when the file or the options do."""
        state = self.path.stat()
        text = f"{state.st_size} {state.st_mtime_ns} {sorted(asdict(self.options).items(), key=str)}"
        return hashlib.sha1(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cut:
    """A span's pictures, cut and measured; its sound and class come later."""

    span: Span
    pictures: tuple[bytes, ...]
    mouths: npt.NDArray[np.float32]  # (T, 18, 24)
    mouth: npt.NDArray[np.float32]  # (T, 6)
    expression: npt.NDArray[np.float32]  # (T, 4)
    figures: Figures


class RefusedVideoError(Exception):
    """A whole video cannot be used; the text says why."""


def prepare_source(job: Job) -> dict[str, Any]:
    """Prepare one video; whatever is wrong with it is said in the record."""
    record: dict[str, Any] = {
        "source": job.path.relative_to(job.root).as_posix(),
        "name": job.name,
        "key": job.key,
        "reason": "",
        "clips": [],
        "refused": [],
    }
    try:
        video = _admit(job.path)
        record["video"] = {k: v for k, v in asdict(video).items() if k != "path"}
        _prepare(job, video, record)
    except (media.UnreadableVideoError, RefusedVideoError) as error:
        record["reason"] = str(error)
    if not record["clips"] and not record["reason"]:
        reasons = [reason for part in record["refused"] for reason in part["reasons"]]
        record["reason"] = max(reasons, key=reasons.count) if reasons else "it is too short"
    return record


def _admit(path: Path) -> media.Video:
    video = media.probe_video(path)
    if not video.sound_hz:
        raise RefusedVideoError("the video has no sound")
    return video


def _prepare(job: Job, video: media.Video, record: dict[str, Any]) -> None:
    options = job.options
    audio = media.sound(job.path)
    if not audio.size or float(levels_db(audio).max(initial=-100.0)) < -70:
        raise RefusedVideoError("the video's sound is silent")
    survey = (
        survey_framed(media.pictures(job.path))
        if options.framed
        else survey_faces(media.pictures(job.path), FaceFinder())
    )
    kept, lost = spans(survey, round(options.shortest_s * FPS), round(options.longest_s * FPS))
    record["refused"] = [
        _refusal(Span(loss.first, loss.last), (loss.reason,), {}) for loss in lost if _worth(loss)
    ]
    cuts = list(_cut_spans(job, survey, kept))
    if cuts:
        _finish(job, video, record, cuts, audio)


def _worth(loss: Loss) -> bool:
    return loss.last - loss.first >= FPS // 2


def _refusal(span: Span, reasons: Sequence[str], figures: Figures) -> dict[str, Any]:
    return {
        "start_s": span.first / FPS,
        "seconds": (span.last - span.first) / FPS,
        "reasons": list(reasons),
        "figures": _rounded(figures),
    }


def _rounded(figures: Figures) -> Figures:
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def _cut_spans(job: Job, survey: Survey, kept: Sequence[Span]) -> Iterator[Cut]:
    """Read the video again and cut its spans, one in memory at a time."""
    if not kept:
        return
    probe = load_probe(job.options.probe)
    stream = enumerate(media.pictures(job.path))
    for span in kept:
        frames: framing.Framing | None = None
        work: list[media.UInt8] = []
        outside: list[float] = []
        for index, (image, _) in stream:
            if index < span.first:
                continue
            if frames is None:
                frames = _framing(job.options, survey, span, image)
            turn, shift = complex(frames.turn[index - span.first]), complex(frames.shift[index - span.first])
            work.append(framing.cut_work(image, turn, shift))
            outside.append(outside_share(Similarity(turn, shift), image.shape[1], image.shape[0]))
            if index == span.last - 1:
                break
        if len(work) == span.last - span.first and frames is not None:
            yield _measure(span, np.stack(work), max(outside), survey, probe, job.options, frames)


def _framing(options: Options, survey: Survey, span: Span, image: media.UInt8) -> framing.Framing:
    if options.framed:
        return framing.frame_square(image.shape[1], image.shape[0], span.last - span.first)
    return framing.frame_landmarks(np.stack(survey.landmarks[span.first : span.last]))


def _measure(
    span: Span,
    work: media.UInt8,
    outside: float,
    survey: Survey,
    probe: Probe,
    options: Options,
    frames: framing.Framing,
) -> Cut:
    moves, likeness = framing.register(work)
    canvases = np.stack([framing.cut_canvas(image, move) for image, move in zip(work, moves, strict=True)])
    figures = picture_figures(canvases) | {"outside": outside, "likeness": likeness}
    figures["blockiness"] = float(np.median(survey.blocks)) if survey.blocks else 1.0
    figures["late_ms"] = 1e3 * float(np.mean(survey.late_s[span.first : span.last]))
    if options.framed:
        figures["eye_distance_px"] = float(2 * EYE_SPREAD_X / abs(frames.turn[0]))
    else:
        figures |= pose_figures(framing.fill_gaps(np.stack(survey.landmarks[span.first : span.last])))
    return Cut(
        span,
        tuple(encode_picture(canvas) for canvas in canvases),
        np.stack([sync.mouth_picture(canvas) for canvas in canvases]),
        tracks.mouth_track(canvases, probe),
        tracks.expression_track(canvases),
        figures,
    )


def _finish(
    job: Job, video: media.Video, record: dict[str, Any], cuts: Sequence[Cut], audio: media.Floats
) -> None:
    """Give the cuts their sound, measure lip-sync over all of them, grade, and write what is accepted."""
    spoken = [_sound(audio, cut.span) for cut in cuts]
    heard = [sync.sound_tracks(sound, len(cut.mouths)) for cut, sound in zip(cuts, spoken, strict=True)]
    found = sync.measure_sync(sync.mouth_tracks([cut.mouths for cut in cuts]), heard)
    shared, lag_samples = _sync_figures(found, job.options.fix_lag)
    record["sync"] = None if found is None else _rounded({**shared, "lag_frames": found.lag_frames})
    if lag_samples:
        audio = np.pad(audio, (max(-lag_samples, 0), max(lag_samples, 0)))[max(lag_samples, 0) :]
        record["sync"]["moved_frames"] = round(lag_samples / SAMPLES_PER_FRAME, 2)
    shared |= video.figures()
    background = float(np.percentile(levels_db(audio), 5))
    for cut in cuts:
        sound = _sound(audio, cut.span)
        figures = {**cut.figures, **sound_figures(sound, background), **shared}
        verdict = grade(figures)
        if verdict.quality is None:
            record["refused"].append(_refusal(cut.span, verdict.reasons, figures))
            continue
        name = f"{job.name}-{len(record['clips']):03d}"
        write_clip(job.out / "clips" / f"{name}.npz", _stored(cut, audio, sound))
        clip = _refusal(cut.span, verdict.reasons, figures)
        record["clips"].append(
            {"name": name, "quality": verdict.quality, "frames": len(cut.pictures), **clip}
        )


def _sync_figures(found: sync.Sync | None, fix: bool) -> tuple[Figures, int]:
    """What lip-sync adds to every clip's figures, and by how many samples to move the sound."""
    if found is None or not found.found:
        return {"sync": 0.0}, 0
    figures = {"sync": found.above_chance, "lag_frames": abs(found.lag_frames)}
    if fix and abs(found.lag_frames) > 0.5:
        return figures | {"lag_frames": 0.0}, round(found.lag_frames * SAMPLES_PER_FRAME)
    return figures, 0


def _sound(audio: media.Floats, span: Span) -> media.Floats:
    """A span's own samples, zeros where the recording has none."""
    part = audio[span.first * SAMPLES_PER_FRAME : span.last * SAMPLES_PER_FRAME]
    return np.pad(part, (0, (span.last - span.first) * SAMPLES_PER_FRAME - len(part)))


def _stored(cut: Cut, audio: media.Floats, sound: media.Floats) -> StoredClip:
    begin = max(0, cut.span.first * SAMPLES_PER_FRAME - round(LEAD_S * SAMPLE_RATE_HZ))
    end = cut.span.last * SAMPLES_PER_FRAME + round(TAIL_S * SAMPLE_RATE_HZ)
    kept = np.clip(np.round(audio[begin:end] * 32767), -32768, 32767).astype(np.int16)
    rest = tracks.rest_distance(cut.mouths, sound)
    lead = cut.span.first * SAMPLES_PER_FRAME - begin
    return StoredClip(cut.pictures, kept, lead, cut.mouth, cut.expression, rest)

"""Speech clips for training: seed and split in; audio, mouth, expression and pose out, frame by frame.

A clip is one speaker's utterances and pauses (a quarter to a third of the time is silence), or, now and
then, sounds that are not speech, under a resting mouth. `speech_clip` makes one; `build_speech` fills a
folder with shards, in several processes, taking up where it was stopped.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from distill.corpus.augment import NON_SPEECH, augment, breath, non_speech, set_level
from distill.corpus.speech.mouth_track import mouth_track, speaking_frames
from distill.corpus.speech.phones import PAUSE
from distill.corpus.speech.synthesis import draw_spec, draw_voice, synthesise
from distill.corpus.speech.texts import SPLITS
from models.face import FPS, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from models.motion import advance_motion, init_motion, speech_level

FloatArray = npt.NDArray[np.float32]
TimedPhone = tuple[str, str, float, float]

QUALITIES: Final = ("high", "moderate")
NON_SPEECH_SHARE: Final = 0.07
SHARD_CLIPS: Final = 8
_CLEAN_DBFS: Final = -20.0


@dataclass(frozen=True, slots=True)
class SpeechClip:
    """N samples at 16 kHz and T = N / 640 frames.

    Attributes:
        audio: (N,) float32 as a microphone gives it. clean: (N,) the same without room and noise.
        mouth: (T, 6) `MOUTH_DIMS`. expression: (T, 4) `EXPRESSION_DIMS`. pose: (T, 6) `POSE_DIMS`.
        speaking: (T,) bool.
        meta: seed, split, quality, kind, voice, engine, language, texts, phones, augmentations.
    """

    audio: FloatArray
    clean: FloatArray
    mouth: FloatArray
    expression: FloatArray
    pose: FloatArray
    speaking: npt.NDArray[np.bool_]
    meta: dict[str, Any]


def speech_clip(seed: int, split: str, seconds: float, quality: str = "high") -> SpeechClip:
    """Return clip number `seed` of the split; the same arguments give the same clip.

    Args:
        seed: any integer.
        split: "train", "validation" or "test": texts and voices of one never appear in another.
        seconds: length; rounded to whole frames.
        quality: "high" or "moderate" (see `augment`).

    Raises:
        ValueError: unknown split or quality, or no whole frame of time.
        SpeechEngineError: no speech engine is installed.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split of {SPLITS}, got {split!r}.")
    if quality not in QUALITIES:
        raise ValueError(f"Expected a quality of {QUALITIES}, got {quality!r}.")
    frames = round(seconds * FPS)
    if frames < 1:
        raise ValueError(f"Expected at least one frame of {1 / FPS} s, got {seconds} s.")
    count = frames * SAMPLES_PER_FRAME
    rng = np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, SPLITS.index(split), 77])
    meta: dict[str, Any] = {"seed": seed, "split": split, "quality": quality}
    if rng.random() < NON_SPEECH_SHARE:
        kind = NON_SPEECH[int(rng.integers(len(NON_SPEECH)))]
        audio = non_speech(rng, count, kind)
        clean, phones = np.zeros(count, np.float32), list[TimedPhone]()
        meta |= {
            "kind": kind,
            "voice": "",
            "engine": "",
            "language": "",
            "texts": [],
            "augmentations": [kind],
        }
    else:
        clean, phones, said = _talk(seed, split, count)
        audio, done = augment(clean, rng, quality, lambda: _babble(seed, split, count))
        audio = _with_breaths(audio, phones, rng)
        meta |= {"kind": "speech", **said, "augmentations": done}
    meta["phones"] = [(symbol, round(start, 4), round(end, 4)) for symbol, _, start, end in phones]
    level = speech_level(clean)
    lead = int(rng.integers(25, 250))  # the face has been alive for a while when the clip begins
    state, _, _ = advance_motion(init_motion(int(rng.integers(2**62))), np.full(lead, level[0], np.float32))
    _, expression, pose = advance_motion(state, level)
    mouth = mouth_track(phones, clean, frames)
    return SpeechClip(audio, clean, mouth, expression, pose, speaking_frames(phones, frames), meta)


def _talk(seed: int, split: str, count: int) -> tuple[FloatArray, list[TimedPhone], dict[str, Any]]:
    """Lay utterances of one voice on a clip of `count` samples, with pauses."""
    rng = random.Random(f"talk/{seed}/{split}")
    voice = draw_voice(rng, split)
    manner = draw_spec(rng.getrandbits(48), split, voice)
    quiet_share = rng.uniform(0.3, 0.42)
    audio = np.zeros(count, np.float32)
    phones: list[TimedPhone] = []
    texts: list[str] = []
    end_s = count / SAMPLE_RATE_HZ
    at_s = rng.uniform(0.1, min(1.6, 0.3 * end_s))
    quiet_s = at_s
    while at_s < end_s - 0.15:
        spec = draw_spec(rng.getrandbits(48), split, voice)
        rate = min(1.6, max(0.6, manner.rate * rng.uniform(0.93, 1.07)))
        said = synthesise(_in_manner(spec, manner, rate))
        start = round(at_s * SAMPLE_RATE_HZ)
        piece = set_level(said.audio, _CLEAN_DBFS + rng.uniform(-2.5, 2.5))[: count - start]
        audio[start : start + piece.shape[0]] += piece
        for symbol, first, last in said.phones:
            if at_s + first < end_s:
                phones.append((symbol, said.engine, at_s + first, min(end_s, at_s + last)))
                quiet_s += (last - first) if symbol == PAUSE else 0.0
        texts.append(said.text)
        at_s += said.audio.shape[0] / SAMPLE_RATE_HZ
        wanted = (quiet_share * at_s - quiet_s) / (1 - quiet_share)
        pause_s = min(1.8, max(0.3, wanted * rng.uniform(0.7, 1.4)))
        at_s, quiet_s = at_s + pause_s, quiet_s + pause_s
    facts = {"voice": voice.name, "engine": voice.engine, "language": voice.language, "texts": texts}
    return np.clip(audio, -1.0, 1.0), phones, facts


def _in_manner(spec: Any, manner: Any, rate: float) -> Any:
    """The spec's text in the clip's manner: one speaker keeps pitch, liveliness and tract."""
    return type(spec)(
        spec.text, spec.engine, spec.voice, spec.language, rate, manner.pitch, manner.liveliness, manner.warp
    )


def _babble(seed: int, split: str, count: int) -> FloatArray:
    """Two or three other voices of the same split, overlaid and repeated to `count` samples."""
    rng = random.Random(f"babble/{seed}/{split}")
    total = np.zeros(count, np.float32)
    for _ in range(rng.choice((2, 3))):
        said = set_level(synthesise(draw_spec(rng.getrandbits(48), split)).audio, _CLEAN_DBFS)
        total += np.roll(np.resize(said, count), rng.randrange(count))
    return total


def _with_breaths(audio: FloatArray, phones: list[TimedPhone], rng: np.random.Generator) -> FloatArray:
    """Put an audible breath into some pauses; the mouth stays at rest."""
    audio = audio.copy()
    spoken = [phone for phone in phones if phone[0] != PAUSE]
    for before, after in itertools.pairwise(spoken):
        gap_s = after[2] - before[3]
        if gap_s > 0.45 and rng.random() < 0.25:
            length_s = min(gap_s - 0.2, rng.uniform(0.25, 0.5))
            piece = breath(rng, length_s) * 10 ** (rng.uniform(-44, -28) / 20)
            start = int((after[2] - 0.08 - length_s) * SAMPLE_RATE_HZ)
            audio[start : start + piece.shape[0]] += piece
    return np.clip(audio, -1.0, 1.0)


def build_speech(
    out_dir: Path, split: str, count: int, seconds: float, seed: int = 0, processes: int = 1
) -> list[Path]:
    """Write `count` clips of the split to `out_dir` as shards of 8; shards already there are kept.

    Clip i has seed `seed + i`; every third is of moderate quality. A shard is named for what is in it
    (`train-00000016x8-6s.npz`: 8 clips of 6 s from seed 16 on) and holds audio and clean (clips, N) int16
    (32767 = 1), mouth (clips, T, 6), expression (clips, T, 4), pose (clips, T, 6) float16, speaking (clips,
    T) bool and meta, one JSON string a clip.

    Returns:
        The paths of all shards, in order.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    jobs = []
    for first in range(seed, seed + count, SHARD_CLIPS):
        clips = min(SHARD_CLIPS, seed + count - first)
        path = out_dir / f"{split}-{first:08d}x{clips}-{seconds:g}s.npz"
        jobs.append((path, split, first, clips, seconds))
    missing = [job for job in jobs if not job[0].exists()]
    with tqdm(total=len(missing), desc=f"speech {split}", disable=not missing) as bar:
        if processes <= 1 or len(missing) <= 1:
            for job in missing:
                _write_shard(job)
                bar.update()
        else:
            with multiprocessing.get_context("spawn").Pool(min(processes, len(missing))) as pool:
                for _ in pool.imap_unordered(_write_shard, missing):
                    bar.update()
    return [job[0] for job in jobs]


def quality_of(seed: int) -> str:
    """Quality class of a clip in a built corpus: every third is moderate."""
    return "moderate" if seed % 3 == 2 else "high"


def _write_shard(job: tuple[Path, str, int, int, float]) -> None:
    path, split, first_seed, count, seconds = job
    clips = [speech_clip(s, split, seconds, quality_of(s)) for s in range(first_seed, first_seed + count)]
    arrays: dict[str, Any] = {
        "audio": np.stack([_to_int16(clip.audio) for clip in clips]),
        "clean": np.stack([_to_int16(clip.clean) for clip in clips]),
        "mouth": np.stack([clip.mouth for clip in clips]).astype(np.float16),
        "expression": np.stack([clip.expression for clip in clips]).astype(np.float16),
        "pose": np.stack([clip.pose for clip in clips]).astype(np.float16),
        "speaking": np.stack([clip.speaking for clip in clips]),
        "meta": np.array([json.dumps(clip.meta, ensure_ascii=False) for clip in clips]),
    }
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def _to_int16(audio: FloatArray) -> npt.NDArray[np.int16]:
    return np.asarray(np.round(np.clip(audio, -1.0, 1.0) * 32767), dtype=np.int16)

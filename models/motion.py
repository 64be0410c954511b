"""Blinks, gaze, brows and head pose: how loud each frame's speech is goes in, small natural motion comes out.

A face that listens keeps its eyes on the other side, tilts its head a little and nods; it comes into that and out
of it within half a second, and its own voice takes it out.

The corpus and the live engine use the same generator, so the face behaves as it did in training. NumPy and
the standard library only. All state is in `MotionState`, plain numbers; randomness is a hash of (seed,
number of draws so far), so frames come out the same however they are split into calls. No thread of its own.

Source of listening: nods of one to three cycles of about half a second, backchannels every few seconds (Hadar et
al. 1985; Poppe et al. 2010). Source: blink rates and shapes after Bentivoglio et al. 1997 and Trutoiu et al.
2011; head gestures on prosodic stress after Munhall et al. 2004. Values are our own, chosen small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from models.face import FPS, SAMPLES_PER_FRAME

FloatArray = npt.NDArray[np.float32]

_DT: Final = 1.0 / FPS
_MASK: Final = (1 << 64) - 1

SILENCE_DBFS: Final = -50.0
"""Frame level at and below which `speech_level` is 0."""
LOUD_DBFS: Final = -14.0
"""Frame level at and above which `speech_level` is 1."""

_BREATH_HZ: Final = 14.0 / 60.0
_SWAY_HZ: Final = (0.061, 0.137, 0.093, 0.211)
_SWAY_SIZE: Final = (0.62, 0.38)
# Sway (rms-like sizes) when calm and what full speech adds: yaw, pitch, roll (rad), shift x, y (px).
_CALM: Final = (0.020, 0.013, 0.011, 0.5, 0.45)
_TALK: Final = (0.048, 0.033, 0.022, 1.5, 1.4)
_BEAT_SPRING: Final = 9.5  # rad/s, critically damped: beat gestures of about half a second
_POSTURE_SPRING: Final = 3.2
_BROW_SPRING: Final = 12.0
_ATTEND: Final = 0.08  # share of the way a frame: half of it in 0.35 s
_NOD_S: Final = 0.52
_TILT: Final = 0.024  # rad
_COUNTER_TURN: Final = 1.2  # gaze units a radian of head turn


@dataclass(slots=True)
class MotionState:
    """Everything the generator remembers; times are in frames or seconds as the names say.

    A value of plain numbers (`dataclasses.asdict` and `MotionState(**d)` serialise it): `advance_motion`
    returns a new one and leaves the old one as it was.
    """

    seed: int
    draws: int = 0
    frame: int = 0
    level: float = 0.0  # eased speech level
    level_fast: float = 0.0
    quiet_frames: int = 0
    blink_in_s: float = 1.0  # time to the next blink's start
    blink_at_s: float = -1.0  # time since the running blink's start; negative while none runs
    blink_close_s: float = 0.08
    blink_open_s: float = 0.14
    blink_again: bool = False
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    gaze_from_x: float = 0.0
    gaze_from_y: float = 0.0
    gaze_to_x: float = 0.0
    gaze_to_y: float = 0.0
    saccade_frame: int = 2
    fixate_in_s: float = 0.5
    brow: float = 0.0
    brow_speed: float = 0.0
    brow_to: float = 0.0
    brow_hold_s: float = 0.0
    beat_wait_s: float = 0.0
    beat_hold_s: float = 0.0
    beat_pitch_to: float = 0.0
    beat_roll_to: float = 0.0
    beat_yaw_to: float = 0.0
    beat_pitch: float = 0.0
    beat_pitch_speed: float = 0.0
    beat_roll: float = 0.0
    beat_roll_speed: float = 0.0
    beat_yaw: float = 0.0
    beat_yaw_speed: float = 0.0
    posture_in_s: float = 1.0
    yaw_to: float = 0.0
    pitch_to: float = 0.0
    roll_to: float = 0.0
    yaw: float = 0.0
    yaw_speed: float = 0.0
    pitch: float = 0.0
    pitch_speed: float = 0.0
    roll: float = 0.0
    roll_speed: float = 0.0
    breath_phase: float = 0.0
    attention: float = 0.0  # 0 at rest or speaking .. 1 listening
    nod_in_s: float = 1.0
    nod_at_s: float = -1.0  # time since the running nod's start; negative while none runs
    nod_cycles: int = 1
    nod_size: float = 0.0


def speech_level(audio: FloatArray) -> FloatArray:
    """Return the level (n,) 0..1 of each video frame of audio (n * 640,): 0 in silence, 1 in loud speech.

    Depends on each frame's samples alone.

    Raises:
        ValueError: the audio is not a whole number of frames.
    """
    if audio.ndim != 1 or audio.shape[0] % SAMPLES_PER_FRAME:
        raise ValueError(
            f"Expected mono audio of a multiple of {SAMPLES_PER_FRAME} samples, got shape {audio.shape}."
        )
    power = (audio.reshape(-1, SAMPLES_PER_FRAME).astype(np.float64) ** 2).mean(1)
    level_db = 10.0 * np.log10(power + 1e-12)
    x = np.clip((level_db - SILENCE_DBFS) / (LOUD_DBFS - SILENCE_DBFS), 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), np.float32)


def init_motion(seed: int) -> MotionState:
    """Return the state of a face at rest, its first blink and glance drawn from the seed."""
    state = MotionState(seed=seed & _MASK)
    state.blink_in_s = 0.4 + 3.0 * _uniform(state)
    state.fixate_in_s = 0.3 + 1.5 * _uniform(state)
    state.posture_in_s = 1.0 + 2.0 * _uniform(state)
    state.breath_phase = _uniform(state)
    return state


def advance_motion(
    state: MotionState, level: FloatArray, listening: bool = False
) -> tuple[MotionState, FloatArray, FloatArray]:
    """Move on by one frame for each entry of `level`.

    Args:
        state: as returned by `init_motion` or an earlier call; not changed.
        level: (n,) speech level 0..1 per frame, as from `speech_level`.
        listening: the other side speaks.

    Returns:
        The new state, expression (n, 4) as `EXPRESSION_DIMS`, pose (n, 6) as `POSE_DIMS`, both float32.
    """
    if level.ndim != 1:
        raise ValueError(f"Expected level of shape (n,), got {level.shape}.")
    state = replace(state)
    expression = np.zeros((level.shape[0], 4), np.float32)
    pose = np.zeros((level.shape[0], 6), np.float32)
    for n in range(level.shape[0]):
        onset, phrase_end = _follow_speech(state, min(1.0, max(0.0, float(level[n]))))
        _attend(state, listening)
        blink = _blink(state, phrase_end)
        _glance(state)
        _raise_brow(state, onset)
        _gesture(state, onset)
        pose[n] = _pose(state)
        # Eyes stay on their target while the head turns.
        gaze_x = max(-1.0, min(1.0, state.gaze_x - _COUNTER_TURN * pose[n, 0]))
        gaze_y = max(-1.0, min(1.0, state.gaze_y - _COUNTER_TURN * pose[n, 1]))
        expression[n] = (blink, gaze_x, gaze_y, state.brow)
        state.frame += 1
    return state, expression, pose


def _uniform(state: MotionState) -> float:
    """Next random number in [0, 1): splitmix64 of seed and draw count."""
    x = (state.seed + (state.draws + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    state.draws += 1
    return ((x ^ (x >> 31)) >> 11) / (1 << 53)


def _normal(state: MotionState) -> float:
    """Next standard normal number, cut at 2.5 (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - _uniform(state)))
    return max(-2.5, min(2.5, radius * math.cos(2.0 * math.pi * _uniform(state))))


def _follow_speech(state: MotionState, level: float) -> tuple[bool, bool]:
    """Ease the level; say whether a stressed onset or the end of a phrase falls on this frame."""
    rise = level - state.level_fast
    state.level_fast += (level - state.level_fast) * 0.35
    state.level += (level - state.level) * (0.06 if level > state.level else 0.045)
    onset = rise > 0.22 and level > 0.45
    phrase_end = False
    if level < 0.12:
        state.quiet_frames += 1
        phrase_end = state.quiet_frames == 6 and state.level > 0.15
    else:
        state.quiet_frames = 0
    return onset, phrase_end


def _attend(state: MotionState, listening: bool) -> None:
    """Ease into listening and out of it; nod now and then. Draws no chance while nobody listens."""
    target = 1.0 if listening and state.level_fast < 0.15 else 0.0
    state.attention += (target - state.attention) * _ATTEND
    if state.nod_at_s >= 0:
        state.nod_at_s += _DT
        if state.nod_at_s >= state.nod_cycles * _NOD_S:
            state.nod_at_s = -1.0
    elif target > 0 and state.attention > 0.5:
        state.nod_in_s -= _DT
        if state.nod_in_s <= 0:
            state.nod_at_s = 0.0
            state.nod_cycles = 1 + int(3 * _uniform(state))
            state.nod_size = 0.035 + 0.035 * _uniform(state)
            state.nod_in_s = 1.8 + 3.4 * _uniform(state)
            if _uniform(state) < 0.3:
                state.blink_in_s = min(state.blink_in_s, 0.2)


def _nod(state: MotionState) -> float:
    """Pitch of the running nod in rad: down and back in each cycle, each a little smaller."""
    if state.nod_at_s < 0:
        return 0.0
    cycle, phase = divmod(state.nod_at_s / _NOD_S, 1.0)
    return -state.nod_size * 0.75**cycle * math.sin(math.pi * phase) ** 2


def _blink(state: MotionState, phrase_end: bool) -> float:
    """Lid closure 0..1: quick close, slower opening; intervals are log-normal, shorter at phrase ends."""
    if phrase_end and state.blink_at_s < 0 and _uniform(state) < 0.35:
        state.blink_in_s = min(state.blink_in_s, 0.08)
    if state.blink_at_s < 0:
        state.blink_in_s -= _DT
        if state.blink_in_s > 0:
            return 0.0
        state.blink_at_s = 0.5 * _DT
        state.blink_close_s = 0.06 + 0.035 * _uniform(state)
        state.blink_open_s = 0.10 + 0.07 * _uniform(state)
        state.blink_again = _uniform(state) < 0.10
    at, close, opening = state.blink_at_s, state.blink_close_s, state.blink_open_s
    state.blink_at_s += _DT
    if at < close:
        return _ease(at / close)
    if at < close + 0.02:
        return 1.0
    if at < close + 0.02 + opening:
        return 1.0 - _ease((at - close - 0.02) / opening)
    state.blink_at_s = -1.0
    if state.blink_again:
        state.blink_in_s, state.blink_again = 0.12, False
    else:
        state.blink_in_s = max(0.8, math.exp(math.log(4.1) + 0.55 * _normal(state)))
    return 0.0


def _glance(state: MotionState) -> None:
    """Fixate, then jump in two frames to a new place; mostly the viewer, sometimes aside."""
    if state.saccade_frame < 2:
        state.saccade_frame += 1
        share = (0.0, 0.62, 1.0)[state.saccade_frame]
        state.gaze_x = state.gaze_from_x + share * (state.gaze_to_x - state.gaze_from_x)
        state.gaze_y = state.gaze_from_y + share * (state.gaze_to_y - state.gaze_from_y)
        return
    state.fixate_in_s -= _DT
    if state.fixate_in_s > 0:
        return
    aside = _uniform(state) < (0.10 + 0.16 * state.level) * (1.0 - 0.8 * state.attention)
    size = 0.42 if aside else 0.09
    state.gaze_from_x, state.gaze_from_y = state.gaze_x, state.gaze_y
    state.gaze_to_x = max(-0.85, min(0.85, size * _normal(state)))
    state.gaze_to_y = max(-0.6, min(0.6, 0.6 * size * _normal(state)))
    state.saccade_frame = 0
    state.fixate_in_s = (0.35 + 0.6 * _uniform(state)) if aside else (0.5 + 2.0 * _uniform(state))


def _raise_brow(state: MotionState, onset: bool) -> None:
    """Raise the brows on some stressed syllables and let them sink back."""
    state.brow_hold_s -= _DT
    if onset and state.brow_hold_s <= -0.6 and _uniform(state) < 0.35:
        state.brow_to = 0.25 + 0.45 * _uniform(state)
        state.brow_hold_s = 0.18 + 0.3 * _uniform(state)
    if state.brow_hold_s <= 0:
        state.brow_to = 0.06 * math.sin(0.11 * 2 * math.pi * state.frame * _DT + state.seed % 97)
    state.brow, state.brow_speed = _spring(state.brow, state.brow_speed, state.brow_to, _BROW_SPRING)


def _gesture(state: MotionState, onset: bool) -> None:
    """Beat gestures on stressed onsets and slow changes of posture, both followed by damped springs."""
    state.beat_wait_s -= _DT
    state.beat_hold_s -= _DT
    if onset and state.beat_wait_s <= 0 and _uniform(state) < 0.75:
        begun = min(1.0, 2.5 * state.level)  # a phrase begins with lips, not a jerk
        size = (0.35 + 0.65 * state.level_fast) * begun
        state.beat_pitch_to = -0.062 * size * (0.5 + _uniform(state))
        state.beat_roll_to = 0.026 * size * _normal(state)
        state.beat_yaw_to = 0.032 * size * _normal(state)
        state.beat_hold_s = 0.12 + 0.14 * _uniform(state)
        state.beat_wait_s = 0.45 + 0.9 * _uniform(state)
    if state.beat_hold_s <= 0:
        state.beat_pitch_to = state.beat_roll_to = state.beat_yaw_to = 0.0
    state.posture_in_s -= _DT
    if state.posture_in_s <= 0:
        size = 0.25 + 0.75 * min(1.0, 1.6 * state.level)
        state.yaw_to = 0.052 * size * _normal(state)
        state.pitch_to = 0.022 * size * _normal(state)
        state.roll_to = 0.022 * size * _normal(state)
        state.posture_in_s = 1.3 + 2.4 * _uniform(state)
    s, k = state, _BEAT_SPRING
    s.beat_pitch, s.beat_pitch_speed = _spring(s.beat_pitch, s.beat_pitch_speed, s.beat_pitch_to, k)
    s.beat_roll, s.beat_roll_speed = _spring(s.beat_roll, s.beat_roll_speed, s.beat_roll_to, k)
    s.beat_yaw, s.beat_yaw_speed = _spring(s.beat_yaw, s.beat_yaw_speed, s.beat_yaw_to, k)
    s.yaw, s.yaw_speed = _spring(s.yaw, s.yaw_speed, s.yaw_to, _POSTURE_SPRING)
    s.pitch, s.pitch_speed = _spring(s.pitch, s.pitch_speed, s.pitch_to, _POSTURE_SPRING)
    s.roll, s.roll_speed = _spring(s.roll, s.roll_speed, s.roll_to, _POSTURE_SPRING)


def _pose(state: MotionState) -> tuple[float, float, float, float, float, float]:
    """Head pose of this frame: sway + posture + beats, and breathing."""
    time_s = state.frame * _DT
    sway = [_sway(state.seed, time_s, axis) for axis in range(5)]
    size = [calm + talk * state.level for calm, talk in zip(_CALM, _TALK, strict=True)]
    rate = _BREATH_HZ * (1.0 + 0.15 * math.sin(2 * math.pi * 0.031 * time_s + state.seed % 31))
    state.breath_phase = (state.breath_phase + rate * _DT) % 1.0
    yaw = size[0] * sway[0] + state.yaw + state.beat_yaw
    nod = _nod(state)
    pitch = size[1] * sway[1] + state.pitch + state.beat_pitch + nod
    tilt = _TILT * state.attention * (1.0 if state.seed % 2 else -1.0)
    roll = size[2] * sway[2] + state.roll + state.beat_roll + tilt
    # A turn also carries the head a little sideways, a nod a little down.
    shift_x = size[3] * sway[3] + 9.0 * (state.yaw + state.beat_yaw)
    shift_y = size[4] * sway[4] - 9.0 * (state.pitch + state.beat_pitch + nod)
    breath = 0.5 - 0.5 * math.cos(2 * math.pi * _inhale_first(state.breath_phase))
    return yaw, pitch, roll, shift_x, shift_y, breath


def _sway(seed: int, time_s: float, axis: int) -> float:
    """Slow wander of about unit size: two sines of unrelated periods, phases from the seed."""
    phase = ((seed * 2654435761 + axis * 40503) % 10007) / 10007.0
    slow = math.sin(2 * math.pi * (_SWAY_HZ[axis % 2] * (1 + 0.13 * axis) * time_s + phase))
    quick = math.sin(2 * math.pi * (_SWAY_HZ[2 + axis % 2] * (1 + 0.09 * axis) * time_s + 3.7 * phase))
    return 1.35 * (_SWAY_SIZE[0] * slow + _SWAY_SIZE[1] * quick)


def _inhale_first(phase: float) -> float:
    """Bend the breathing phase: in during 42% of the cycle, out during 58%."""
    return 0.5 * phase / 0.42 if phase < 0.42 else 0.5 + 0.5 * (phase - 0.42) / 0.58


def _spring(value: float, speed: float, to: float, omega: float) -> tuple[float, float]:
    """One exact step of a critically damped spring towards `to`; omega in rad/s."""
    away = value - to
    decay = math.exp(-omega * _DT)
    slope = (speed + omega * away) * _DT
    return to + (away + slope) * decay, (speed - omega * slope) * decay


def _ease(x: float) -> float:
    return x * x * (3.0 - 2.0 * x)

"""Clips through the streaming step, as the live server runs it: hop by hop, several people in one batch.

In: a `Streamer` and sounds. Out: face boxes. The head is held still while faces are measured (its motion is a
warp of the finished picture); the noise, blinks and glances of a clip come from the clip's own seed, so figures
do not depend on the batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from distill.corpus.drawn import Character, sample_identities
from distill.data.regions import MEASURED_BOX
from distill.data.speech_set import audio_window
from distill.evaluation.measures import UInt8
from distill.evaluation.suites import to_bytes
from models.face import EXPRESSION_DIMS, MOUTH_DIMS, SAMPLES_PER_FRAME
from models.hop import HopControls
from models.streaming import Streamer


def stream_hops(
    streamer: Streamer,
    pictures: Sequence[UInt8],
    sounds: Sequence[Tensor],
    frames: int,
    seeds: Sequence[int],
    controls: HopControls,
) -> Iterator[UInt8]:
    """Canvases (B, hop, S, S, 3) of one hop after another, until ``frames`` are covered.

    Args:
        streamer: the networks.
        pictures: B reference pictures (S, S, 3).
        sounds: B sounds (N,) at 16 kHz; silence follows their ends.
        frames: how many frames to cover.
        seeds: of the B streams.
        controls: shared by all.
    """
    stream, context = streamer.preset.stream, streamer.preset.audio.context_samples
    ahead = streamer.preset.lookahead_frames * SAMPLES_PER_FRAME
    states = [streamer.open(picture, seed) for picture, seed in zip(pictures, seeds, strict=True)]
    for first in range(0, frames, stream.hop_frames):
        windows = [audio_window(sound, first, stream.window_frames, context, ahead) for sound in sounds]
        states, drawn, _ = streamer.hop(states, torch.stack(windows).numpy(), controls)
        yield drawn


def stream_whole(
    streamer: Streamer, picture: UInt8, audio: Tensor, frames: int, seed: int, controls: HopControls
) -> UInt8:
    """All ``frames`` canvases (T, S, S, 3) of one sound."""
    hops = stream_hops(streamer, [picture], [audio], frames, [seed], controls)
    return np.concatenate([drawn[0] for drawn in hops])[:frames]


def stream_boxes(
    streamer: Streamer,
    pictures: Sequence[UInt8],
    sounds: Sequence[Tensor],
    frames: int,
    seeds: Sequence[int],
    controls: HopControls,
) -> UInt8:
    """Face boxes (B, T, h, w, 3) of B sounds."""
    hops = stream_hops(streamer, pictures, sounds, frames, seeds, controls)
    return np.concatenate([face_box(drawn) for drawn in hops], axis=1)[:, :frames]


def face_box(canvases: UInt8) -> UInt8:
    """What is measured, `MEASURED_BOX` (..., h, w, 3), of canvases (..., S, S, 3)."""
    left, top, width, height = MEASURED_BOX
    return np.ascontiguousarray(canvases[..., top : top + height, left : left + width, :])


def neutral_picture(index: int, split: str = "test") -> UInt8:
    """The resting canvas (S, S, 3) of one identity."""
    who = sample_identities([index], split=split)
    still = torch.zeros(1, 1, len(MOUTH_DIMS)), torch.zeros(1, 1, len(EXPRESSION_DIMS))
    return np.asarray(to_bytes(Character(who).frames(*still)[0])[0])


def paired_time(
    streamers: Mapping[str, tuple[Streamer, HopControls]], rounds: int = 15, batch: int = 1
) -> dict[str, float]:
    """Median milliseconds per frame of each streamer, all timed in one run.

    One hop of each takes its turn, and the order moves on by one every round, so that what else the machine
    does falls on all alike. A hop that is not counted goes before it, so that it finds its networks in the cache
    as in a server, which runs the same ones every time, and not those of the stream before. The first two rounds
    are not counted.
    """
    if not streamers or rounds < 1 or batch < 1:
        raise ValueError("paired_time: need a streamer, 1 round and 1 stream or more.")
    names = list(streamers)
    picture, generator = neutral_picture(0), np.random.default_rng(0)
    states = {name: [streamers[name][0].open(picture, seed) for seed in range(batch)] for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 2):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            streamer, controls = streamers[name]
            sound = generator.normal(0, 0.05, (batch, streamer.preset.window_samples)).astype(np.float32)
            states[name], _, _ = streamer.hop(states[name], sound, controls)
            began = time.perf_counter()
            states[name], drawn, _ = streamer.hop(states[name], sound, controls)
            spent[name].append((time.perf_counter() - began) * 1e3 / (drawn.shape[0] * drawn.shape[1]))
    return {name: round(statistics.median(times[2:]), 3) for name, times in spent.items()}

"""Parity with EchoMimic of the parts around its two UNets: schedule, windows, Whisper's tokens, the autoencoder.

In: the fixtures of one salt. Out: checks, as in `bench.parity.networks`. Takes seconds and 1 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch

from bench.parity.networks import PRESET, Check, Fixtures, equal, filled, relative_l2
from bench.parity.rule import case_input, draw
from models.diffusion.zero_snr import NOISE_LIMIT, cumulative_alphas, timesteps, v_step
from models.presets import preset
from models.sd15.contexts import context_windows
from models.sd15.vae import SDVAE
from models.sd15.whisper import WhisperEncoder, WhisperMel, frame_count, frame_positions, frame_tokens


@torch.inference_mode()
def extra_checks(fixtures: Fixtures) -> Iterator[Check]:
    """Noise schedule, context windows, Whisper's tokens, the autoencoder."""
    truth, about = fixtures.arrays("extras"), fixtures.read_json("extras")
    yield from _schedule_checks(fixtures.salt, truth, about)
    yield from _context_checks(about)
    yield from _whisper_checks(fixtures.salt, truth, about)
    yield from _vae_checks(fixtures.salt, truth)


def _schedule_checks(salt: str, truth: Mapping[str, np.ndarray], about: Any) -> Iterator[Check]:
    yield Check("schedule: table", relative_l2(cumulative_alphas(), truth["sched/alphas_cumprod"]))
    for steps, row in about["timesteps"].items():
        grid = timesteps(int(steps))
        ours = [t for t, _ in grid], [then for _, then in grid]
        yield equal(f"schedule: {steps} steps", ours == (row["timesteps"], row["prev"]))
    for steps in sorted({int(key.split("/")[1][1:]) for key in truth if key.startswith("sched/S")}):
        keep = {key.rpartition("step")[2]: truth[key] for key in truth if key.startswith(f"sched/S{steps}/")}
        shape = next(iter(keep.values())).shape
        x = case_input(f"S{steps}", "latents", salt, shape).clamp(-NOISE_LIMIT, NOISE_LIMIT)
        for index, (now, then) in enumerate(timesteps(steps)):
            x = v_step(x, case_input(f"S{steps}", f"v{index}", salt, shape), now, then)
            if str(index) in keep:
                yield Check(f"schedule: step {index + 1} of {steps}", relative_l2(x, keep[str(index)]))


def _context_checks(about: Any) -> Iterator[Check]:
    for frames, row in about["contexts"].items():
        for name, windows in row.items():
            if name.startswith("step"):
                same = context_windows(int(frames), int(name.removeprefix("step"))) == windows
                yield equal(f"contexts: {frames} frames, {name}", same)
        covered = [0] * int(frames)
        for window in context_windows(int(frames)):
            for frame in window:
                covered[frame] += 1
        yield equal(f"contexts: {frames} frames, cover", covered == row["counter_step0"])
    long = context_windows(240)
    wanted = about["contexts_240"]
    yield equal("contexts: 240 frames", (len(long), long[-1]) == (wanted["n_windows"], wanted["last"]))


WAVE_SAMPLES: Final = 33 * 16_000 + 777


def _whisper_checks(salt: str, truth: Mapping[str, np.ndarray], about: Any) -> Iterator[Check]:
    n = np.arange(WAVE_SAMPLES)
    tone = 0.2 * np.sin(2 * np.pi * 220 * n / 16_000) * (n % 8000 < 5000)
    wave = draw("input/W/wav", salt, (WAVE_SAMPLES,)) * np.float32(0.05) + tone
    mel = WhisperMel(80)(torch.from_numpy(wave.astype(np.float32))[None])
    yield Check("whisper: log-mel", relative_l2(mel[0, ::4, ::100], truth["whisper/mel_slice"]))
    encoder = filled(lambda: WhisperEncoder(80, 384), "whisper", salt, "encoder.")
    states = encoder.whole(mel)
    yield equal("whisper: shape", list(states.shape[1:]) == about["whisper_feat_shape"])
    yield Check("whisper: states", relative_l2(states[0, ::50, :, ::16], truth["whisper/feat_slice"]))
    yield Check("whisper: last states", relative_l2(states[0, -6:, :, ::16], truth["whisper/feat_tail"]))
    for fps, row in about["whisper_chunks"].items():
        frames = frame_count(states.shape[1], int(fps))
        rows = frame_positions(frames, int(fps), states.shape[1])
        yield equal(f"whisper: {fps} fps, frames", frames == row["n_chunks"])
        wanted_rows = row["index_rows"].items()
        same = all(rows[int(frame)].tolist() == wanted for frame, wanted in wanted_rows)
        yield equal(f"whisper: {fps} fps, positions", same)
        tokens = frame_tokens(states, rows[[0, 1, 7, frames // 2, frames - 1]])[0]
        error = relative_l2(tokens[:, ::7, ::32], truth[f"whisper/chunks{fps}_slice"])
        yield Check(f"whisper: {fps} fps, tokens", error)
    for positions, row in about["n_chunks_vs_rows"].items():
        same = all(frame_count(int(positions), int(fps)) == count for fps, count in row.items())
        yield equal(f"whisper: frames of {positions} positions", same)


def _vae_checks(salt: str, truth: Mapping[str, np.ndarray]) -> Iterator[Check]:
    vae = filled(lambda: SDVAE(preset(PRESET).vae), "vae", salt)
    _, channels, rows, columns = truth["vae/enc_mean"].shape
    picture = case_input("V", "image", salt, (1, 3, 8 * rows, 8 * columns), 0.5).clamp(-1, 1)
    mean, logvar = vae.moments((picture + 1) / 2)
    yield Check("vae: mean", relative_l2(mean, truth["vae/enc_mean"]))
    yield Check("vae: log-variance", relative_l2(logvar, truth["vae/enc_logvar"]))
    z = case_input("V", "latents", salt, (1, channels, rows, columns))
    yield Check("vae: decoder", relative_l2(vae.decode_raw(z), truth["vae/dec"]))

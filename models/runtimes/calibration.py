"""Which backend is fastest on this very machine: measured once, remembered, never silently stale.

In: a student and a device. Out: a `Calibration`: every candidate's paired speed, its difference from fp32 PyTorch,
and the choice. It is kept in the cache folder under everything it depends on (processor, threads, versions,
kernels, weights, preset); when one of them changes, it is not found. Runs on the caller's thread; nothing else
should be busy meanwhile.
"""

from __future__ import annotations

import copy
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from kernels.machine import cache_root, describe_machine, describe_versions
from kernels.native.build import SOURCE, NativeError, find_compiler, source_digest
from models.avatar_model import AvatarModel, weights_digest
from models.build import AnyModel
from models.hop import HopControls, StreamState
from models.runtimes.backends import choose_backend, cpu_has_bf16, load_networks, multiplies_pairs
from models.runtimes.picture_size import served_side
from models.streaming import Streamer

TOLERANCES: Final[Mapping[str, float]] = {
    "torch-eager": 1e-4,
    "torch-fp32": 1e-4,
    "native": 1e-4,
    "native-bf16": 5e-2,  # measured: 1.2e-2 on speech, 3.1e-2 on the noise of `fada bench engine`
    "onnx": 1e-4,
    "onnx-int8": 5e-2,  # measured: 1.9e-2 on speech
    "torch-compile": 3e-2,
    "torch-bf16": 3e-2,
    "torch-fp8": 3e-2,  # measured: 0.9e-2 on speech, 1.4e-2 on noise
}
"""Largest relative L2 difference of a hop's latents from fp32 PyTorch's with which a backend may be chosen."""
CUDA_TOLERANCE: Final = 1e-3
"""The least that is allowed on CUDA, where PyTorch's default lets fp32 convolutions round to TF32: channels-last
and NCHW differed by 1.8e-4 on an H100."""

ROUNDS: Final = 9


@dataclass(frozen=True, slots=True)
class Trial:
    """How one backend did.

    Attributes:
        backend: its name.
        hop_ms: median milliseconds of one hop; None where it could not run.
        speedup: median of the paired ratios to PyTorch's default (eager, fp32, NCHW).
        difference: relative L2 of its latents from fp32 PyTorch's.
        problem: why it was left out; "" where it was not.
    """

    backend: str
    hop_ms: float | None = None
    speedup: float | None = None
    difference: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A choice with what it rests on."""

    chosen: str
    trials: tuple[Trial, ...]
    key: dict[str, Any]


def calibration_key(model: AvatarModel, device: torch.device) -> dict[str, Any]:
    """Everything that a calibration depends on."""
    machine, versions = describe_machine(), describe_versions()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu": machine["cpu"],
        "cpu_features": machine["cpu_features"],
        "cores": machine["cores"],
        "threads": torch.get_num_threads(),
        "compiler": find_compiler(),
        "versions": {name: versions[name] for name in ("python", "torch", "onnxruntime")},
        "kernels": source_digest(SOURCE)[:16],
        "preset": model.preset.name,
        "weights": weights_digest(model),
    }


def _path(key: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / "calibration" / f"{digest}.json"


def read_calibration(key: Mapping[str, Any]) -> Calibration | None:
    """The calibration made under exactly this key; None where there is none or it cannot be read."""
    try:
        content = json.loads(_path(key).read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        return Calibration(
            content["chosen"], tuple(Trial(**trial) for trial in content["trials"]), content["key"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_calibration(found: Calibration) -> Path:
    """Keep a calibration, whole or not at all."""
    path = _path(found.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def resolve_backend(model: AnyModel, device: torch.device) -> tuple[str, str]:
    """The backend "auto" means here, and why: "measured" by `fada doctor --calibrate`, or "rule"."""
    if not isinstance(model, AvatarModel):  # calibration measures the small preset alone
        return choose_backend(device, model.preset.layout), "rule"
    found = read_calibration(calibration_key(model, device))
    return (found.chosen, "measured") if found is not None else (choose_backend(device), "rule")


def tolerance(backend: str, device: torch.device) -> float:
    """What `TOLERANCES` allows a backend on a device."""
    return max(TOLERANCES[backend], CUDA_TOLERANCE) if device.type == "cuda" else TOLERANCES[backend]


def candidates(device: torch.device) -> list[str]:
    """What is worth measuring on a device; torch.compile only where asked for, since it compiles for minutes."""
    if device.type == "cuda":
        return ["torch-fp32", "torch-bf16"]
    half = [*(["torch-bf16"] if cpu_has_bf16() else []), *(["native-bf16"] if multiplies_pairs() else [])]
    return ["torch-fp32", *half, "native", "onnx", "onnx-int8"]


def calibrate(
    model: AvatarModel,
    device: torch.device,
    names: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    on_step: Callable[[str], object] = lambda text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Calibration:
    """Load each candidate, hold it to PyTorch in fp32, time all in turns, and choose the fastest that passed.

    Args:
        model: a student; not changed.
        device: where to run.
        names: candidates; None takes `candidates`.
        rounds: hops of every candidate.
        on_step: told what is being done.
        clock: seconds.
    """
    names = list(names if names is not None else candidates(device))
    key = calibration_key(model, device)
    base = _Arm(model, device, "torch-eager")
    arms, trials = {"torch-eager": base}, {}
    for name in names:
        on_step(f"checking {name}")
        try:
            arm = _Arm(model, device, name)
        except (NativeError, ValueError, RuntimeError, ImportError, OSError) as error:
            trials[name] = Trial(name, problem=_first_line(error))
            continue
        difference = arm.difference(base)
        limit = tolerance(name, device)
        if not difference <= limit:
            problem = f"differs from fp32 PyTorch by {difference:.1e}, more than {limit:.0e}"
            trials[name] = Trial(name, difference=difference, problem=problem)
            continue
        arms[name], trials[name] = arm, Trial(name, difference=difference)
    on_step("timing")
    times = _time_in_turns(arms, rounds, clock)
    for name in arms:
        ratio = statistics.median(a / b for a, b in zip(times["torch-eager"], times[name], strict=True))
        took_ms = round(statistics.median(times[name]) * 1e3, 2)
        known = trials.get(name, Trial(name, difference=0.0))
        trials[name] = Trial(name, took_ms, round(ratio, 3), known.difference)
    timed = [trial for trial in trials.values() if trial.speedup is not None]
    chosen = max(timed, key=lambda trial: trial.speedup or 0.0).backend
    return Calibration(chosen if chosen != "torch-eager" else "torch-fp32", tuple(trials.values()), key)


class _Arm:
    """One backend with a stream of its own, one evaluation a hop."""

    def __init__(self, model: AvatarModel, device: torch.device, backend: str) -> None:
        networks = load_networks(copy.deepcopy(model), device, backend)
        side = served_side(model.preset)
        self.streamer = Streamer(networks, device, picture_px=side)
        preset, random = model.preset, np.random.default_rng(0)
        samples = preset.window_samples
        self._audio = random.normal(0, 0.1, (1, samples)).astype(np.float32)
        picture = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
        self._controls = HopControls(preset.stream.audio_scale, preset.stream.reference_scale, 1)
        self.state: StreamState = self.streamer.open(picture, 0)
        self.step()  # warm, and the first latents to compare
        self.first = self.state.motion.float().cpu()

    def step(self) -> None:
        (self.state,), _, _ = self.streamer.hop([self.state], self._audio, self._controls)

    def difference(self, other: _Arm) -> float:
        return float((self.first - other.first).norm() / other.first.norm())


def _time_in_turns(
    arms: Mapping[str, _Arm], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            began_s = clock()
            arms[name].step()
            times[name].append(clock() - began_s)
    return times


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

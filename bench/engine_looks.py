"""`fada doctor` on the networks: which runtime would run them, what a faster one lacks, and how fast it is.

In: a preset. Out: findings. torch is imported by each look for itself, so that the others work without it.
"""

from __future__ import annotations

from bench.finding import Finding
from models.presets import shipped


def look_at_engine(preset: str) -> list[Finding]:
    """Which runtime `fada serve` would choose, and whether that was measured."""
    import torch

    from models.runtimes.backends import choose_backend, live_threads
    from models.runtimes.calibration import calibration_key, read_calibration
    from models.weights import load_model

    torch.set_num_threads(live_threads())  # as `fada serve` does
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = f"on {device}, {torch.get_num_threads()} threads"
    weights = shipped(preset)
    if not weights.is_file():
        return [Finding("engine", "good", f"would choose {choose_backend(device)} {where}, by rule")]
    found = read_calibration(calibration_key(load_model(weights), device))
    if found is None:
        text = f"would choose {choose_backend(device)} {where}, by rule; `fada doctor --calibrate` measures instead"
        return [Finding("engine", "remark", text)]
    findings = [Finding("engine", "good", f"would choose {found.chosen} {where}, as measured here")]
    for trial in found.trials:
        told = f"{trial.backend}: {trial.problem}"
        if trial.hop_ms is not None:
            told = (
                f"{trial.backend}: {trial.hop_ms:.0f} ms a hop, {trial.speedup:.2f} x PyTorch's default, "
                f"difference {trial.difference:.1e}"
            )
        findings.append(Finding("engine", "good", told))
    return findings


def look_at_kernels() -> list[Finding]:
    """This machine's own CPU kernels, which are compiled on it."""
    import torch

    from models.runtimes.backends import why_not_native

    problem = why_not_native()
    if not problem:
        return [Finding("kernels", "good", "compiled for this processor")]
    if torch.cuda.is_available():
        return [Finding("kernels", "good", "none for this processor; the GPU needs none")]
    return [Finding("kernels", "remark", f"drawing is slower than it could be: {problem}")]


def look_at_speed(preset: str) -> list[Finding]:
    """Whether this machine draws in time, measured on what `fada serve` would load."""
    from bench.live_speed import measure_live
    from models.runtimes.backends import live_threads
    from models.runtimes.options import EngineOptions
    from stream.engine.torch_engine import load_engine

    if not (shipped(preset)).is_file():
        return []  # `look_at_weights` says so
    found = measure_live(load_engine(EngineOptions(preset, threads=live_threads(), fit=True)))
    return [Finding("speed", "good" if found.callers else "remark", found.sentence())]


def calibrate_engine(preset: str) -> None:
    """Measure the runtimes on the shipped weights and keep the answer.

    Raises:
        CheckpointError: the weights are missing or broken.
    """
    import torch
    from tqdm import tqdm

    from models.presets import HopChoice
    from models.runtimes.backends import live_threads
    from models.runtimes.calibration import calibrate, write_calibration
    from models.weights import load_model

    torch.set_num_threads(live_threads())  # as `fada serve` does
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(shipped(preset))
    model.preset = HopChoice().applied(model.preset)
    with tqdm(desc="calibrating", unit="step", disable=None) as bar:

        def on_step(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        found = calibrate(model, device, on_step=on_step)
    write_calibration(found)

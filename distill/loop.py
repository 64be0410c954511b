"""The training loop that every stage shares: steps, EMA, checkpoints, resume, progress, curves.

In: a `Stage` (modules, one `loss` per step) and a `LoopConfig`. Out: a run directory with
``state.pt`` (everything needed to go on), ``model.safetensors`` (EMA weights), ``loss.csv`` and ``loss.png``.
One process or several under ``torchrun`` (gradients are averaged); the main process alone writes.
"""

from __future__ import annotations

import csv
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long and how fast to train. ``minutes`` 0 means no time limit."""

    out: Path
    steps: int
    lr: float
    minutes: float = 0.0
    warmup: int = 100
    ema: float = 0.995
    clip: float = 1.0
    weight_decay: float = 0.01
    checkpoint_s: float = 120.0
    seed: int = 0
    device: str = "cpu"
    bf16: bool = True
    resume: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.lr <= 0 or not 0 <= self.ema < 1:
            raise ValueError("LoopConfig: need steps >= 1, lr > 0 and 0 <= ema < 1")


class Stage(Protocol):
    """What a stage brings to the loop."""

    name: str

    def trainable(self) -> nn.Module:
        """The module that is trained, averaged (EMA) and saved in ``state.pt``."""
        ...

    def loss(self, generator: torch.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return its loss and figures for the log."""
        ...

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        """Write the model file from the module as it stands (the loop swaps EMA weights in)."""
        ...

    def sheet(self, path: Path) -> None:
        """Write a sample picture from the module as it stands; may do nothing."""
        ...


@dataclass(slots=True)
class _Progress:
    step: int = 0
    seconds: float = 0.0


def world() -> tuple[int, int]:
    """(rank, processes) of this process."""
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def join_world() -> None:
    """Join the process group that torchrun announces; alone, do nothing."""
    if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def learning_rate(step: int, cfg: LoopConfig) -> float:
    """Linear warm-up, then a cosine to 5% of the peak at the last step."""
    if step < cfg.warmup:
        return cfg.lr * (step + 1) / cfg.warmup
    share = min(1.0, (step - cfg.warmup) / max(1, cfg.steps - cfg.warmup))
    return cfg.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))


class Loop:
    """Runs a stage. Every random draw of step n comes from a generator seeded by (seed, n, rank), so a run that
    was killed and resumed sees the same batches as one that was not."""

    def __init__(self, stage: Stage, cfg: LoopConfig) -> None:
        self.stage, self.cfg = stage, cfg
        self.rank, self.processes = world()
        self.module = stage.trainable()
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=cfg.lr, betas=(0.9, 0.99), weight_decay=cfg.weight_decay, foreach=True
        )
        self.ema = [p.detach().clone() for p in self.parameters]
        self.progress = _Progress()
        self.rows: list[dict[str, float]] = []
        cfg.out.mkdir(parents=True, exist_ok=True)
        if cfg.resume and (cfg.out / "state.pt").is_file():
            self._restore()

    def run(self) -> dict[str, float]:
        """Train to the last step or the time limit; returns the last averaged figures."""
        cfg, began, saved = self.cfg, time.monotonic(), time.monotonic()
        spent = self.progress.seconds
        bar = tqdm(
            total=cfg.steps,
            initial=self.progress.step,
            desc=self.stage.name,
            disable=self.rank > 0,
            mininterval=5,
        )
        averages: dict[str, float] = {}
        while self.progress.step < cfg.steps:
            figures = self._step()
            for key, value in figures.items():
                averages[key] = averages.get(key, value) * 0.98 + value * 0.02
            bar.update()
            bar.set_postfix({k: f"{v:.4f}" for k, v in averages.items()}, refresh=False)
            now = time.monotonic()
            self.progress.seconds = spent + now - began
            if self.progress.step % 20 == 0:
                self.rows.append({"step": self.progress.step, "seconds": self.progress.seconds, **averages})
            out_of_time = bool(cfg.minutes) and self._agree(now - began > cfg.minutes * 60)
            if out_of_time or (self.rank == 0 and now - saved > cfg.checkpoint_s):
                self._save()
                saved = time.monotonic()
            if out_of_time:
                break
        bar.close()
        self._save(final=True)
        return averages

    def _agree(self, stop: bool) -> bool:
        if self.processes == 1:
            return stop
        flag = torch.tensor([float(stop)])
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def _step(self) -> dict[str, float]:
        cfg, step = self.cfg, self.progress.step
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, cfg)
        generator = torch.Generator().manual_seed(hash((cfg.seed, step, self.rank)) & 0x7FFFFFFF)
        kind = torch.device(cfg.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=cfg.bf16):
            loss, figures = self.stage.loss(generator, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, cfg.clip)
        self.optimizer.step()
        decay = min(cfg.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list[Tensor](self.parameters), 1 - decay)
        self.progress.step += 1
        return {"loss": float(loss.detach()), **figures}

    def _average_gradients(self) -> None:
        if self.processes == 1:
            return
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= self.processes
        offset = 0
        for p in self.parameters:
            p.grad = flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()

    def _swap(self) -> None:
        with torch.no_grad():
            for p, e in zip(self.parameters, self.ema, strict=True):
                kept = p.detach().clone()
                p.copy_(e)
                e.copy_(kept)

    def _save(self, final: bool = False) -> None:
        if self.rank > 0:
            return
        out = self.cfg.out
        state = {
            "module": self.module.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
            "rows": self.rows,
        }
        torch.save(state, out / "state.pt.partial")
        os.replace(out / "state.pt.partial", out / "state.pt")
        self._swap()
        self.module.eval()
        try:
            notes = {
                "stage": self.stage.name,
                "steps": self.progress.step,
                "seconds": round(self.progress.seconds),
                "processes": self.processes,
                "seed": self.cfg.seed,
            }
            self.stage.save(out / "model.safetensors", notes)
            with torch.no_grad():
                self.stage.sheet(out / "sheet.png")
        finally:
            self._swap()
            self.module.train()
        self._write_curve()

    def _write_curve(self) -> None:
        if not self.rows:
            return
        keys = sorted({key for row in self.rows for key in row} - {"step", "seconds"})
        with (self.cfg.out / "loss.csv").open("w", newline="") as target:
            writer = csv.DictWriter(target, ["step", "seconds", *keys])
            writer.writeheader()
            writer.writerows(self.rows)
        from distill.sheets import plot_curves

        plot_curves(self.cfg.out / "loss.png", self.rows, keys)

    def _restore(self) -> None:
        state = torch.load(self.cfg.out / "state.pt", map_location=self.cfg.device, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        for mine, theirs in zip(self.ema, state["ema"], strict=True):
            mine.copy_(theirs)
        self.progress = _Progress(state["step"], state["seconds"])
        self.rows = list(state["rows"])

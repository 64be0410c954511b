"""The training loop that every stage shares: steps, EMA, checkpoints, resume, progress, curves.

In: a `Stage` (modules, one `loss` per step) and a `LoopConfig`. Out: a run directory with ``state.pt`` (everything
needed to go on), ``model.safetensors`` (EMA weights) and the papers of `distill.training.run_folder`.
One process or several under ``torchrun`` (`distill.training.parallel`); the main process alone writes.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from distill.data.draws import StepDraw
from distill.training.parallel import (
    average_gradients,
    choose_way,
    gather_objects,
    mean_figures,
    rows_of,
    world,
    wrapped_loss,
)
from distill.training.run_folder import Row, RunFolder
from distill.training.sharding import local, share_like, share_moments, twin, whole


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long, how fast and how widely spread to train. ``minutes`` 0 means no time limit."""

    out: Path
    steps: int
    lr: float
    minutes: float = 0.0
    warmup: int = 100
    ema: float = 0.995
    clip: float = 1.0
    weight_decay: float = 0.01
    checkpoint_s: float = 120.0
    log_steps: int = 20
    seed: int = 0
    device: str = "cpu"
    bf16: bool = True
    resume: bool = True
    parallel: str = "auto"
    rates: tuple[tuple[str, float], ...] = ()
    """(part of a parameter's name, factor on its learning rate): new layers beside ready ones, say."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.lr <= 0 or not 0 <= self.ema < 1:
            raise ValueError("LoopConfig: need steps >= 1, lr > 0 and 0 <= ema < 1")
        if any(factor <= 0 for _, factor in self.rates):
            raise ValueError("LoopConfig: need factors > 0 in rates")
        if self.checkpoint_s < 0 or self.log_steps < 1:
            raise ValueError("LoopConfig: need checkpoint_s >= 0 and log_steps >= 1")


class Stage(Protocol):
    """What a stage brings to the loop."""

    name: str
    batch: int
    """Rows of the global batch, over all processes."""

    def trainable(self) -> nn.Module:
        """The module that is trained, averaged (EMA) and saved in ``state.pt``."""
        ...

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        """Draw this process's rows; return their mean loss and figures for the log."""
        ...

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        """Write the model file from the module as it stands (the loop puts EMA weights in)."""
        ...

    def sheet(self, path: Path) -> None:
        """Write a sample picture from the module as it stands; may do nothing."""
        ...


@dataclass(slots=True)
class _Progress:
    step: int = 0
    seconds: float = 0.0
    averages: Row = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


def learning_rate(step: int, cfg: LoopConfig) -> float:
    """Linear warm-up, then a cosine to 5% of the peak at the last step."""
    if step < cfg.warmup:
        return cfg.lr * (step + 1) / cfg.warmup
    share = min(1.0, (step - cfg.warmup) / max(1, cfg.steps - cfg.warmup))
    return cfg.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))


def _groups(module: nn.Module, rates: tuple[tuple[str, float], ...]) -> dict[float, list[nn.Parameter]]:
    """Trained parameters by the factor on their rate: that of the first part found in their name, else 1."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for part, factor in rates if part in name), 1.0)
            groups.setdefault(factor, []).append(parameter)
    return groups


class Loop:
    """Runs a stage. Every random draw of step n comes from generators seeded by (seed, n, row), so a run that was
    killed and resumed, or that more processes share, sees the same batches as one that was not."""

    def __init__(self, stage: Stage, cfg: LoopConfig) -> None:
        self.stage, self.cfg = stage, cfg
        self.rank, self.processes = world()
        self.first, self.batch_rows = rows_of(stage.batch)
        self.way = choose_way(cfg.parallel, cfg.device)
        self.module = stage.trainable()
        self.sharded = self.way == "fsdp"
        self.twin = twin(stage) if self.sharded and self.rank == 0 else None
        self.ask = wrapped_loss(stage, self.way)
        groups = _groups(self.module, cfg.rates)
        self.factors = tuple(groups)
        self.parameters = [p for group in groups.values() for p in group]
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups.values()],
            lr=cfg.lr,
            betas=(0.9, 0.99),
            weight_decay=cfg.weight_decay,
            foreach=True,
        )
        self.ema = [p.detach().clone() for p in self.parameters]
        self.progress = _Progress()
        self.folder = RunFolder(cfg.out)
        if cfg.resume and self._state_to_resume():
            self._restore()

    def run(self) -> dict[str, float]:
        """Train to the last step or the time limit; returns the last averaged figures."""
        cfg, state = self.cfg, self.progress
        began = saved = time.monotonic()
        spent, began_at = state.seconds, state.step
        if self.rank == 0:
            self.folder.open_board(state.step)
        if began_at:
            self._publish()  # a kill in the midst of saving may have left an older model beside the state
        bar = tqdm(
            total=cfg.steps, initial=began_at, desc=self.stage.name, disable=self.rank > 0, mininterval=5
        )
        while state.step < cfg.steps:
            figures = self._step()
            now = time.monotonic()
            late = bool(cfg.minutes) and now - began > cfg.minutes * 60
            told = gather_objects((figures, late, now - saved > cfg.checkpoint_s))
            state.seconds = spent + now - began
            self._note(mean_figures([figures for figures, _, _ in told]))
            bar.update()
            bar.set_postfix({k: f"{v:.4f}" for k, v in state.averages.items()}, refresh=False)
            if any(late for _, late, _ in told):
                break
            if told[0][2]:
                self._save()
                saved = time.monotonic()
        bar.close()
        if state.step > began_at:
            self._save()
        self.folder.close_board()
        self.close()
        return dict(state.averages)

    def close(self) -> None:
        """Let go of what hooks the stage up to the other processes; no step can follow.

        DDP's reducer holds the process group. Freed after `leave_world` it would take the group with it, and that
        destructor waits, with the interpreter locked, for a thread that may be waiting for the interpreter.
        """
        del self.ask
        gc.collect()  # DDP refers to itself

    def _note(self, figures: Row) -> None:
        """Average the figures and add a row to the log where one is due."""
        state = self.progress
        for key, value in figures.items():
            state.averages[key] = state.averages.get(key, value) * 0.98 + value * 0.02
        if state.step % self.cfg.log_steps == 0:
            state.rows.append({"step": state.step, "seconds": state.seconds, **state.averages})
            rate = learning_rate(state.step - 1, self.cfg)
            self.folder.log(state.step, {**state.averages, "learning_rate": rate})

    def _step(self) -> Row:
        """One step; returns this process's figures."""
        cfg, step = self.cfg, self.progress.step
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = learning_rate(step, cfg) * factor
        draw = StepDraw(cfg.seed, step, self.first, self.batch_rows, self.stage.batch)
        kind = torch.device(cfg.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=cfg.bf16):
            loss, figures = self.ask(draw)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.way == "average":
            average_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, cfg.clip)
        self.optimizer.step()
        decay = min(cfg.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            now = [local(p) for p in self.parameters]
            torch._foreach_lerp_([local(e) for e in self.ema], now, 1 - decay)
        self.progress.step += 1
        return {"loss": float(loss.detach()), **figures}

    @contextmanager
    def _averaged(self) -> Iterator[Stage]:
        """The stage with averaged weights in it, for as long as the context lasts; made for the first process."""
        if self.sharded:
            ema = whole(self.ema)
            if self.twin is not None:
                trained = [p for p in self.twin.trainable().eval().parameters() if p.requires_grad]
                with torch.no_grad():
                    for p, e in zip(trained, ema, strict=True):
                        p.copy_(e)
            yield self.twin or self.stage
            return
        was_training = self.module.training
        self._swap()
        self.module.eval()
        try:
            yield self.stage
        finally:
            self._swap()
            self.module.train(was_training)

    @torch.no_grad()
    def _swap(self) -> None:
        for p, e in zip(self.parameters, self.ema, strict=True):
            kept = p.detach().clone()
            p.copy_(e)
            e.copy_(kept)

    def _save(self) -> None:
        """Write the state, then what follows from it; all processes call it, the first one writes."""
        self.folder.flush()
        state = self.progress
        if self.rank == 0 or self.sharded:
            content = {
                "module": self.module.state_dict(),
                "ema": self.ema,
                "optimizer": self.optimizer.state_dict(),
                "step": state.step,
                "seconds": state.seconds,
                "averages": state.averages,
                "rows": state.rows,
            }
            content = whole(content) if self.sharded else content
            if self.rank == 0:
                partial = self.folder.state.with_name("state.pt.partial")
                torch.save(content, partial)
                os.replace(partial, self.folder.state)
        self._publish()

    def _publish(self) -> None:
        """Write model file, sample sheet and curves from averaged weights as they stand."""
        if self.rank > 0 and not self.sharded:
            return
        notes = {
            "stage": self.stage.name,
            "steps": self.progress.step,
            "seconds": round(self.progress.seconds),
            "processes": self.processes,
            "batch": self.stage.batch,
            "seed": self.cfg.seed,
        }
        with self._averaged() as stage:
            if self.rank > 0:
                return
            stage.save(self.folder.model, notes)
            with torch.no_grad():
                self.folder.write_sheet(stage.sheet, self.progress.step)
        self.folder.write_curve(self.progress.rows)

    def _state_to_resume(self) -> bool:
        found = gather_objects(self.folder.state.is_file())
        if any(found) and not all(found):
            raise ValueError(
                f"Expected {self.folder.state} to be seen by all {self.processes} processes, found it in "
                f"{sum(found)}; put the run folder on a disk that all of them share."
            )
        return all(found)

    def _restore(self) -> None:
        state = torch.load(self.folder.state, map_location=self.cfg.device, weights_only=True)
        mine = self.module.state_dict()
        self.module.load_state_dict(
            {key: share_like(mine[key], v) if key in mine else v for key, v in state["module"].items()}
        )
        self.optimizer.load_state_dict(share_moments(state["optimizer"], self.parameters))
        for ema, theirs in zip(self.ema, state["ema"], strict=True):
            ema.copy_(share_like(ema, theirs))
        averages = dict(state.get("averages", {}))  # runs from before averages were kept begin them anew
        self.progress = _Progress(state["step"], state["seconds"], averages, list(state["rows"]))

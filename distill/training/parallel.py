"""Several processes that train as one: who is who, what they tell each other, how gradients become one.

In: what torchrun announces in the environment, and a stage. Out: the process group, rows and reports gathered
over it, and the stage's loss wrapped so that `backward` leaves the gradient of the global batch. Three ways:
"average" (one all-reduce after `backward`), "ddp" (the same, overlapped with it), "fsdp" (FSDP2: each process
keeps its share of weights and moments; see `distill.training.sharding`). Alone, every function here is the
identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distill.data.draws import StepDraw

WAYS = ("auto", "average", "ddp", "fsdp")
Loss = tuple[Tensor, dict[str, float]]
Told = TypeVar("Told")


class Trainable(Protocol):
    """What of a stage this module needs."""

    def trainable(self) -> nn.Module: ...

    def loss(self, draw: StepDraw) -> Loss: ...


def world() -> tuple[int, int]:
    """(rank, processes) of this process."""
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def join_world() -> None:
    """Join the process group that torchrun announces; alone, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def leave_world() -> None:
    """Leave the process group again; alone, do nothing."""
    if dist.is_initialized():
        dist.destroy_process_group()


def own_device(device: str) -> str:
    """The device of this process: "cuda" becomes the GPU that torchrun gave it."""
    if device == "cuda" and world()[1] > 1:
        device = f"cuda:{int(os.environ['LOCAL_RANK'])}"
        torch.cuda.set_device(device)
    return device


def choose_way(asked: str, device: str) -> str:
    """How gradients become one: as asked; "auto" takes DDP on GPUs and one all-reduce elsewhere.

    Raises:
        ValueError: no such way, or one that needs several processes while this one is alone.
    """
    if asked not in WAYS:
        raise ValueError(f"Expected one of {', '.join(WAYS)} for --parallel, got '{asked}'.")
    alone = world()[1] == 1
    if alone and asked in ("ddp", "fsdp"):
        raise ValueError(
            f"--parallel {asked} shares the work of several processes and this one is alone; "
            "start it with torchrun --nproc_per_node N, or leave the option out."
        )
    if asked == "auto":
        return "ddp" if not alone and torch.device(device).type == "cuda" else "average"
    return asked


def rows_of(batch: int) -> tuple[int, int]:
    """(first, rows) of this process in a global batch of that many rows.

    Raises:
        ValueError: the batch cannot be shared evenly.
    """
    rank, processes = world()
    if batch < 1 or batch % processes:
        raise ValueError(
            f"Expected a global batch that {processes} processes share evenly, got {batch} rows; "
            f"choose a --batch that is a multiple of {processes}."
        )
    rows = batch // processes
    return rank * rows, rows


def gather_rows(rows: Tensor) -> Tensor:
    """Rows (B, ...) of all processes as (processes * B, ...), in their order in the global batch; no gradient."""
    _, processes = world()
    if processes == 1:
        return rows.detach()
    mine = rows.detach().contiguous()
    parts = [torch.empty_like(mine) for _ in range(processes)]
    dist.all_gather(parts, mine)
    return torch.cat(parts)


def gather_objects(told: Told) -> list[Told]:
    """What every process tells, in order of rank; small things only."""
    _, processes = world()
    if processes == 1:
        return [told]
    all_told: list[Any] = [None] * processes
    dist.all_gather_object(all_told, told)
    return cast(list[Told], all_told)


def mean_figures(reports: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the reports that have it, keys in order of first appearance."""
    names = dict.fromkeys(name for report in reports for name in report)
    values = {name: [report[name] for report in reports if name in report] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}


@torch.no_grad()
def same_start(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if world()[1] == 1:
        return
    for tensor in (*module.parameters(), *module.buffers()):
        flat = tensor.detach().contiguous()
        dist.broadcast(flat, src=0)
        tensor.copy_(flat)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Mean gradient over the processes; a parameter that no process used keeps none, as it would alone."""
    _, processes = world()
    if processes == 1:
        return
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=grads[0].device)
    flat = torch.cat([*(g.flatten() for g in grads), used.to(grads[0].dtype)])
    dist.all_reduce(flat)
    offset = flat.numel() - len(grads)
    counts = flat[offset:].tolist()
    flat /= processes
    offset = 0
    for parameter, count in zip(parameters, counts, strict=True):
        whole = flat[offset : offset + parameter.numel()].view_as(parameter)
        parameter.grad = whole if count else None
        offset += parameter.numel()


class LossModule(nn.Module):
    """A stage's loss as a module's forward, which is where DDP and FSDP2 hook in."""

    def __init__(self, stage: Trainable) -> None:
        super().__init__()
        self.trained = stage.trainable()
        self._ask = stage.loss

    def forward(self, draw: StepDraw) -> Loss:
        return self._ask(draw)


def wrapped_loss(stage: Trainable, way: str) -> Callable[[StepDraw], Loss]:
    """The stage's loss, hooked up for that way of `choose_way`; the trained module starts alike everywhere."""
    same_start(stage.trainable())
    if way == "average":
        return stage.loss
    if way == "fsdp":
        from distill.training.sharding import shard

        module = LossModule(stage)
        shard(module)
        return module
    # a stage may leave parameters out (a decoder without reference, say): DDP has to look for them
    return DistributedDataParallel(LossModule(stage), find_unused_parameters=True)

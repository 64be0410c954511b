"""FSDP2: weights, gradients and moments in shares, one per process, and whole again on disk.

In: a module that `distill.training.parallel` wraps. Out: the same module with its parameters as shares
(DTensors), and conversions between shares and whole tensors, so that `state.pt` is the same file
whichever way made it: a run may go on with another number of processes, or another way.
Source: Zhao et al. 2304.11277 (PyTorch FSDP), in its per-parameter form `torch.distributed.fsdp.fully_shard`.
"""

from __future__ import annotations

import copy
import warnings
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from models.modules.blocks import ResBlock, TransformerBlock
from models.modules.conv import ConvBlock

BLOCKS = (ResBlock, TransformerBlock, ConvBlock)
"""Modules that are gathered and let go one at a time; what lies between them is gathered with the root."""
StageT = TypeVar("StageT")
Tree = TypeVar("Tree")


def shard(root: nn.Module) -> None:
    """Turn the parameters of ``root`` into shares, in place, over all processes."""
    # it warns of views that blocks return, which in-place operations would spoil; our networks have none
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    first = next(root.parameters())
    mesh = init_device_mesh(first.device.type, (dist.get_world_size(),))
    root.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP2 knows no other layout
    for module in root.modules():
        if isinstance(module, BLOCKS):
            fully_shard(module, mesh=mesh)
    fully_shard(root, mesh=mesh)


def local(tensor: Tensor) -> Tensor:
    """This process's share; a tensor that is not shared is its own."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tree: Tree) -> Tree:
    """The same tree with shares gathered to whole tensors in main memory; all processes must call it."""
    keep = dist.is_initialized() and dist.get_rank() == 0

    def gather(leaf: object) -> object:
        if not isinstance(leaf, DTensor):
            return leaf
        full = leaf.full_tensor().detach()
        return full.cpu() if keep else full.new_empty(0)  # the others gather for the first process's sake

    return tree_map(gather, tree)


def share_like(target: Tensor, value: Tensor) -> Tensor:
    """Of a whole ``value``, the share that ``target`` holds of its own; without shares, ``value``."""
    if not isinstance(target, DTensor):
        return value
    there = value.to(target.device).contiguous()
    return distribute_tensor(there, target.device_mesh, target.placements, src_data_rank=None)


def share_moments(state: dict[str, object], parameters: list[nn.Parameter]) -> dict[str, object]:
    """A whole optimizer state with the moments of each parameter cut as the parameter is."""
    moments = state["state"]
    assert isinstance(moments, dict)
    cut = {
        index: {
            name: share_like(parameters[index], value)
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in own.items()
        }
        for index, own in moments.items()
    }
    return {**state, "state": cut}


def twin(stage: StageT) -> StageT:
    """A stage with trained parameters of its own and all else shared: it shows and saves averaged weights.

    Sharded parameters can neither be written as they are nor run by one process alone.
    """
    modules = {name: value for name, value in vars(stage).items() if isinstance(value, nn.Module)}
    trained = {id(p) for p in stage.trainable().parameters() if p.requires_grad}  # type: ignore[attr-defined]
    memo: dict[int, object] = {}
    for module in modules.values():
        for tensor in (*module.parameters(), *module.buffers()):
            if id(tensor) not in trained:
                memo[id(tensor)] = tensor
    other = copy.copy(stage)
    for name, module in modules.items():
        setattr(other, name, copy.deepcopy(module, memo))
    mine = {id(p) for p in other.trainable().parameters()}  # type: ignore[attr-defined]
    assert not mine & trained, "a stage must hold its trained modules as attributes of its own"
    return other

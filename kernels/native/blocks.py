"""Whole blocks of the UNets as one call each of this machine's own CPU kernels: residual and transformer.

In: fp32 tensors and weights that were packed once. Out: new tensors. Any thread, one at a time per `Kernels`.

Source: `blocks.h`; the truth are `models.modules.blocks.ResBlock` and `TransformerBlock`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kernels.native.kernels import COLUMNS, FEW_KEYS, LANES, Kernels, pointer, threads_for

_I, _P, _F = ctypes.c_int, ctypes.c_void_p, ctypes.c_float


def _pointers(names: str) -> list[tuple[str, Any]]:
    return [(name, _P) for name in names.split()]


class ResBlockWeights(ctypes.Structure):
    """`res_block_t`: linear weights of `Kernels.columns`, convolutions of `Kernels.tiles`."""

    _fields_ = [
        *((name, _I) for name in ("channels", "leaving", "groups", "embedding", "controls")),
        ("epsilon1", _F), ("epsilon2", _F),
        *_pointers("gamma1 beta1 gamma2 beta2 conv1 conv2 bias1 bias2"),
        *_pointers("emb control skip emb_bias control_bias skip_bias"),
    ]  # fmt: skip


class TransformerWeights(ctypes.Structure):
    """`transformer_t`: norms are gamma and beta of reference attention, cross-attention, perceptron and time."""

    _fields_ = [
        *((name, _I) for name in ("width", "heads", "ffn", "context", "motion")),
        ("epsilon", _F),
        *_pointers("gamma1 beta1 gamma2 beta2 gamma3 beta3 gamma4 beta4"),
        *_pointers("qkv out cross_q cross_kv cross_out up down time_qkv time_out"),
        *_pointers("out_bias cross_bias up_bias down_bias time_bias position"),
    ]  # fmt: skip


class _Tokens(ctypes.Structure):
    """`tokens_t`."""

    _fields_ = [
        ("n", _I), ("tokens", _I), ("frames", _I), ("bank", _P), ("bank_tokens", _I),
        ("context", _P), ("context_tokens", _I), ("motion", _P),
    ]  # fmt: skip


class Packed:
    """A block and its weights for C, which reads them where they lie; as they never change, copies share them."""

    def __init__(
        self,
        kernels: Kernels,
        form: type[ctypes.Structure],
        numbers: Mapping[str, float],
        weights: Mapping[str, Tensor | None],
    ) -> None:
        """Fields of ``form`` that ``weights`` leaves out, or gives as None, are null."""
        self.weights = {
            name: kernels.keep(weight.detach()) for name, weight in weights.items() if weight is not None
        }
        self._struct = form(**numbers, **{name: weight.data_ptr() for name, weight in self.weights.items()})
        self.channels, self.leaving = (int(numbers.get(name, 0)) for name in ("channels", "leaving"))
        self.address = ctypes.addressof(self._struct)

    def __deepcopy__(self, memo: dict[int, Any]) -> Packed:
        return self


def res_block(
    kernels: Kernels,
    packed: Packed,
    x: Tensor,
    also: Tensor | None,
    embedding: Tensor,
    control: Tensor | None,
) -> Tensor:
    """A residual block.

    Args:
        kernels: of this machine.
        packed: of `ResBlockWeights`.
        x: (N, C, H, W), channels a multiple of 8.
        also: (N, C2, H, W) joined behind it by channel, or None.
        embedding: (N, E), before its SiLU.
        control: (N, K) or None.

    Returns:
        (N, O, H, W), channels-last.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    also = None if also is None else also.contiguous(memory_format=torch.channels_last)
    n, first, height, width = x.shape
    channels, leaving = packed.channels, packed.leaving
    assert first + (0 if also is None else also.shape[1]) == channels
    embedding, control = embedding.contiguous(), None if control is None else control.contiguous()
    threads = threads_for(height * width * n * channels * leaving // 2)
    scratch = kernels.scratch("res_block", packed.address, n, height, width, threads)
    out = torch.empty(n, height, width, leaving)
    kernels.library.fada_res_block(
        packed.address, x.data_ptr(), pointer(also), n, height, width, first, embedding.data_ptr(),
        pointer(control), out.data_ptr(), scratch.data_ptr(), threads,
    )  # fmt: skip
    return out.permute(0, 3, 1, 2)


def transformer(
    kernels: Kernels,
    packed: Packed,
    x: Tensor,
    frames: int,
    bank: Tensor | None = None,
    context: Tensor | None = None,
    motion: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A transformer block.

    Args:
        kernels: of this machine.
        packed: of `TransformerWeights`.
        x: tokens (B T, L, C).
        frames: T.
        bank: keys and values (B, K, 2C) of the reference picture, or None.
        context: tokens (B T, K, W) for cross-attention, at most 64 a picture, or None to leave it out.
        motion: keys and values (B, M, L, 2C) of the motion frames, or None to leave out attention over time.

    Returns:
        (tokens, normed tokens), (B T, L, C) each.
    """
    x = x.contiguous()
    bank, context, motion = (None if part is None else part.contiguous() for part in (bank, context, motion))
    n, tokens, width = x.shape
    keys, few = 0 if bank is None else bank.shape[1], 0 if context is None else context.shape[1]
    assert few <= FEW_KEYS and (motion is None or motion.shape[1] + frames <= FEW_KEYS)
    call = _Tokens(n, tokens, frames, pointer(bank), keys, pointer(context), few, pointer(motion))
    at = ctypes.addressof(call)
    threads = threads_for(n * tokens * width * width)
    scratch = kernels.scratch("transformer", packed.address, at, threads)
    normed, out = torch.empty_like(x), torch.empty_like(x)
    kernels.library.fada_transformer(
        packed.address, at, x.data_ptr(), normed.data_ptr(), out.data_ptr(), scratch.data_ptr(), threads
    )
    return out, normed


def norm_linear(
    kernels: Kernels,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    position: Tensor,
    weight: Tensor,
) -> Tensor:
    """LayerNorm of x (B, M, L, C) plus position (M, C), times `Kernels.columns` of a weight -> (B, M, L, O)."""
    x = x.contiguous()
    rows, width, leaving = x.numel() // x.shape[-1], x.shape[-1], weight.shape[0] * COLUMNS
    assert position.is_contiguous() and position.shape == (x.shape[1], width) and width % LANES == 0
    scratch, out = kernels.workspace.take("scratch", rows * width), torch.empty(*x.shape[:-1], leaving)
    kernels.library.fada_norm_linear(
        x.data_ptr(), rows, width, gamma.data_ptr(), beta.data_ptr(), eps, position.data_ptr(), x.shape[2],
        x.shape[1], weight.data_ptr(), leaving, out.data_ptr(), scratch.data_ptr(),
        threads_for(rows * width * leaving // LANES),
    )  # fmt: skip
    return out

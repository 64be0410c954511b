"""Values that calls, references and kernels share, named once for all of them.

In flow keyword arguments; out flow the same. The calls (`kernels.attention`, `kernels.norm`) spell the options out
with their meaning; what stands behind a call takes them as `**options`. `Control` and `AbsorbedContext` are made by
`kernels.norm` and `kernels.cross`, and read by what runs behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from torch import Tensor


class AttentionOptions(TypedDict, total=False):
    """Of `kernels.attention.attention` and `kernels.temporal.temporal_attention`; absent is None."""

    k2: Tensor | None
    v2: Tensor | None
    mask: Tensor | None
    scale: float | None


class NormOptions(TypedDict, total=False):
    """Of `kernels.norm.group_norm_silu`; absent is its default."""

    eps: float
    scale: Tensor | None
    shift: Tensor | None
    offset: Tensor | None
    control: Control | None
    silu: bool


@dataclass(frozen=True, slots=True)
class Control:
    """A block's CFG control, mixed for each row when it is used.

    Row n of N sees the scales of row n // (N // B): the frames of a session are neighbours in the batch.
    """

    basis: Tensor  # (3, 2C) fp32: constant, along s_ref, along s_aud; scales first, then shifts
    s_ref: Tensor  # (B,) fp32
    s_aud: Tensor  # (B,) fp32


@dataclass(frozen=True, slots=True)
class AbsorbedContext:
    """Keys and values of some rows, with the projections of query and output inside them.

    Heads and keys are padded to powers of two, keys to at least 16 columns in all; what was padded or masked has
    a bias of -inf. Scores come out in powers of two: log2(e)/√D is inside the keys.
    """

    keys: Tensor  # (R2, columns, C)
    values: Tensor  # (R2, columns, C)
    bias: Tensor  # (R2, columns) fp32
    heads: int  # padded; columns / heads keys belong to each

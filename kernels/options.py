"""What calls, references and kernels take besides their main tensors, named once for all of them.

In flow keyword arguments; out flow the same. The calls (`kernels.attention`, `kernels.norm`) spell them out with
their meaning; what stands behind a call takes them as `**options`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from torch import Tensor

if TYPE_CHECKING:
    from kernels.norm import Control


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

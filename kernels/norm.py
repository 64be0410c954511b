"""GroupNorm, scale and shift, SiLU in one call, and CFG control as a few numbers a channel.

In flow features (N, C, h, w), channels-last in memory; out flow features alike. The scale and shift between
norm and SiLU come from an embedding and, in a student, from its CFG tokens: their projection is linear in the
guidance scales, so `absorb_control` turns a block's control layer and the three branches' tokens into three
vectors, and a row's control is c_0 + s_ref c_1 + s_aud c_2, summed inside the norm's own kernel. On CUDA
`kernels.norm_triton` runs, elsewhere `group_norm_reference`. Any thread.

How a network calls it:

    h = conv1(group_norm_silu(x, norm1.num_groups, norm1.weight, norm1.bias, eps=norm1.eps)) scale, shift
    = emb(F.silu(embedding)).chunk(2, dim=1) h = conv2(group_norm_silu(h, groups, weight, bias, eps=eps,
    scale=scale, shift=shift, control=control))

SD's residual blocks add their embedding before the norm instead: `offset`.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import (
    Backend,
    check_groups,
    check_out,
    check_shape,
    choose_kernel,
)
from kernels.values import Control, NormOptions


def absorb_control(weight: Tensor, bias: Tensor, base: Tensor, ref: Tensor, audio: Tensor) -> Tensor:
    """Fold a control layer into the tokens of the three branches; once a checkpoint.

    Args:
        weight: of the block's control layer, (2C, K·W).
        bias: (2C,).
        base, ref, audio: learnable tokens, (K, W) each, whose mix base + s_ref (ref − base) +
            s_aud (audio − ref) the layer would get.

    Returns:
        (3, 2C) fp32, the `basis` of a `Control`.

    Raises:
        ValueError: shapes do not fit together.
    """
    tokens = torch.stack([base.flatten(), (ref - base).flatten(), (audio - ref).flatten()]).float()
    if weight.ndim != 2 or weight.shape[1] != tokens.shape[1]:
        raise ValueError(f"expected weight of shape (2C, {tokens.shape[1]}), got {tuple(weight.shape)}.")
    check_shape("bias", bias, weight.shape[0])
    basis = tokens @ weight.float().t()
    return torch.cat([basis[:1] + bias.float(), basis[1:]])


def mix_control(control: Control, rows: int) -> Tensor:
    """(rows, 2C) fp32: what the control layer would have said of the mixed tokens."""
    s_ref, s_aud = (
        scale.float().repeat_interleave(rows // scale.shape[0]).unsqueeze(1)
        for scale in (control.s_ref, control.s_aud)
    )
    constant, along_ref, along_aud = control.basis.float()
    mixed: Tensor = constant + s_ref * along_ref + s_aud * along_aud
    return mixed


def group_norm_silu(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float = 1e-5,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    offset: Tensor | None = None,
    control: Control | None = None,
    silu: bool = True,
    out: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """silu((1 + scale) · GroupNorm(x + offset) + shift), statistics in fp32.

    Args:
        x: features, (N, C, h, w), any strides; channels-last is the quick one.
        groups: divides C.
        weight, bias: the norm's, (C,); like scale, shift and offset of any floating dtype, since under autocast
            they differ from x's.
        eps: the norm's.
        scale: factor less 1 for each row and channel, (N, C), any strides; comes with shift.
        shift: its summand, like scale.
        offset: added before the norm, (N, C).
        control: added to scale and shift; they may be absent then.
        silu: False leaves the last step out.
        out: like x, to write into; x itself may be given.
        backend: see `kernels.dispatch`.

    Returns:
        Like x, its memory format too; `out` if given.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or "triton" was insisted on where it cannot
            run.
    """
    options = NormOptions(eps=eps, scale=scale, shift=shift, offset=offset, control=control, silu=silu)
    _check(x, groups, weight, bias, options)
    check_out(out, "x", x)
    if choose_kernel(backend, (x, weight, bias, scale, shift, offset)):
        # Imported late: Triton is missing on machines without CUDA, and slow to import where it is not needed.
        from kernels.norm_triton import group_norm_triton

        result: Tensor = group_norm_triton(x, groups, weight, bias, out=out, **options)
        return result
    result = group_norm_reference(x, groups, weight, bias, **options)
    return result if out is None else out.copy_(result)


def group_norm_reference(
    x: Tensor, groups: int, weight: Tensor, bias: Tensor, **options: Unpack[NormOptions]
) -> Tensor:
    """The same in plain PyTorch. The norm is fp32: exact, and on a CPU four times faster than its bf16 form."""
    scale, shift = options.get("scale"), options.get("shift")
    offset, control = options.get("offset"), options.get("control")
    if offset is not None:
        x = x + offset.to(x.dtype)[:, :, None, None]
    h = F.group_norm(x.float(), groups, weight.float(), bias.float(), options.get("eps", 1e-5)).to(x.dtype)
    if control is not None:
        more_scale, more_shift = mix_control(control, x.shape[0]).to(x.dtype).chunk(2, dim=1)
        scale = more_scale if scale is None else scale + more_scale
        shift = more_shift if shift is None else shift + more_shift
    if scale is not None and shift is not None:
        h = torch.addcmul(shift[:, :, None, None], h, 1 + scale[:, :, None, None])
    return F.silu(h) if options.get("silu", True) else h


def _check(x: Tensor, groups: int, weight: Tensor, bias: Tensor, options: NormOptions) -> None:
    scale, shift = options.get("scale"), options.get("shift")
    offset, control = options.get("offset"), options.get("control")
    eps = options.get("eps", 1e-5)
    if x.ndim != 4:
        raise ValueError(f"expected x of shape (N, C, h, w), got {tuple(x.shape)}.")
    rows, channels = x.shape[:2]
    if groups < 1 or channels == 0 or channels % groups != 0:
        raise ValueError(f"expected groups that divide the {channels} channels, got {groups}.")
    if not eps > 0:
        raise ValueError(f"expected eps above 0, got {eps}.")
    check_shape("weight", weight, channels)
    check_shape("bias", bias, channels)
    if (scale is None) != (shift is None):
        raise ValueError("expected scale and shift together, got only one of them.")
    for name, part in (("scale", scale), ("shift", shift), ("offset", offset)):
        check_shape(name, part, rows, channels)
    named = {"x": x, "weight": weight, "bias": bias, "scale": scale, "shift": shift, "offset": offset}
    for name, part in named.items():
        if part is not None and not part.is_floating_point():
            raise ValueError(f"expected {name} of a floating dtype, got {part.dtype}.")
        if part is not None and part.device != x.device:
            raise ValueError(f"expected {name} on x's device {x.device}, got {part.device}.")
    if control is None:
        return
    check_shape("control.basis", control.basis, 3, 2 * channels)
    check_shape("control.s_aud", control.s_aud, *control.s_ref.shape)
    if control.s_ref.ndim != 1:
        raise ValueError(f"expected control.s_ref of shape (B,), got {tuple(control.s_ref.shape)}.")
    check_groups(rows, "control.s_ref", control.s_ref.shape[0])
    for name, part in (("basis", control.basis), ("s_ref", control.s_ref), ("s_aud", control.s_aud)):
        if part.dtype != torch.float32 or part.device != x.device:
            raise ValueError(
                f"expected control.{name} in fp32 on {x.device}, got {part.dtype} on {part.device}."
            )

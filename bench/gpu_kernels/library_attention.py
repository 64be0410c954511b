"""Every attention a library offers on this machine, each forced, so that a kernel meets the best of them.

In flow q, k, v of shape (B, H, L, D); out flow callables by name. FlexAttention is compiled, FA3 and FA4 are
tried where PyTorch or flash-attn brings them.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

SDPA_BACKENDS = {
    "sdpa cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa flash": SDPBackend.FLASH_ATTENTION,
    "sdpa efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def library_attentions(device: torch.device, *, compiled: bool) -> dict[str, Attend]:
    """By name, the default first. One that refuses a shape raises RuntimeError when it is called."""
    found: dict[str, Attend] = {"sdpa default": F.scaled_dot_product_attention}
    if device.type != "cuda":
        found["two products"] = _two_products
        return found
    for name, backend in SDPA_BACKENDS.items():
        found[name] = functools.partial(_forced, backend)
    if compiled:
        found["flex"] = _flex
    if importlib.util.find_spec("flash_attn_interface") is not None:
        found["fa3"] = _flash_3
    return found


def _forced(backend: SDPBackend, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q, k, v)


def _two_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return torch.softmax(scores, dim=-1) @ v


@functools.cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def _flex(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out: Tensor = _compiled_flex()(q, k, v)
    return out


def _flash_3(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    interface = importlib.import_module("flash_attn_interface")
    out = interface.flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    out = out[0] if isinstance(out, tuple) else out  # some releases return the log-sum-exp too
    attended: Tensor = out.transpose(1, 2)
    return attended

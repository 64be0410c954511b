"""Which arithmetic trains: bf16 where the hardware multiplies it, else fp32.

In: the option and a device. Out: whether to train under bf16 autocast. On a CPU without bf16 units PyTorch emulates
it: encoding 16 face boxes took 1.16 s in bf16 and 0.14 s in fp32 on one core of a Zen 3 EPYC.
"""

from __future__ import annotations

from typing import Final

import torch

from models.runtimes.backends import cpu_has_bf16

PRECISIONS: Final = ("auto", "bf16", "fp32")


def trains_in_bf16(precision: str, device: str) -> bool:
    """Whether ``precision`` means bf16 autocast on ``device``.

    Raises:
        ValueError: no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"Unknown precision '{precision}'; expected one of {', '.join(PRECISIONS)}.")
    if precision == "auto":
        kind = torch.device(device).type
        return cpu_has_bf16() if kind == "cpu" else True
    return precision == "bf16"

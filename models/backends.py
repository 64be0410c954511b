"""Which runtime runs the networks, and how to get it.

In: a model and a device. Out: `Networks`. "auto" takes torch bf16 on CUDA and on CPUs with bf16 units
(AVX512-BF16, AMX, Arm BF16), and torch fp32 on all other CPUs: what was fastest where we measured
(ARCHITECTURE.md has the figures). ONNX Runtime is there to be chosen.
"""

from __future__ import annotations

from typing import Final

import torch

from models.avatar_model import AvatarModel
from models.build import AnyModel
from models.networks import Networks, TorchNetworks
from models.sd15.networks import SD15Networks

BACKENDS: Final = ("torch-bf16", "torch-fp32", "onnx")


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware."""
    capability = getattr(torch.cpu, "get_capabilities", None)
    if capability is not None:
        found = capability()
        return any(bool(found.get(name)) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in probes)


def choose_backend(device: torch.device) -> str:
    """The default backend of a device."""
    if device.type == "cuda" or cpu_has_bf16():
        return "torch-bf16"
    return "torch-fp32"


_DTYPES: Final = {"torch-bf16": torch.bfloat16, "torch-fp32": torch.float32}


def load_networks(model: AnyModel, device: torch.device, backend: str) -> Networks:
    """Put a model on a backend.

    Raises:
        ValueError: no such backend, the model is a small teacher, or the backend does not run its layout.
    """
    if backend in _DTYPES:
        if isinstance(model, AvatarModel):
            return TorchNetworks(model, device, _DTYPES[backend])
        return SD15Networks(model, device, _DTYPES[backend])
    if backend == "onnx":
        if not isinstance(model, AvatarModel):
            raise ValueError(
                f"ONNX graphs are made of the small preset alone, not of '{model.preset.name}'; choose a torch "
                "backend."
            )
        from models.onnx_networks import OnnxNetworks

        return OnnxNetworks(model, device)
    raise ValueError(f"There is no backend '{backend}'; choose auto, {', '.join(BACKENDS)}.")

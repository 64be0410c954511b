"""Which runtime runs the networks, and how to get it.

In: a model and a device. Out: `Networks`. "auto" takes what `models.runtimes.calibration` measured to be
fastest on this very machine; where nothing was measured yet, a rule: torch bf16 on CUDA, this machine's
own kernels on CPUs with a C compiler, with weights in bf16 where the processor multiplies it, PyTorch in
bf16 or fp32 on the rest (docs/decisions/23-runtime-is-measured.md has the figures).
"""

from __future__ import annotations

import os
from typing import Final

import torch

from kernels.fp8.linear import multiplies_fp8
from kernels.native.build import NativeError, load_native
from kernels.native.kernels import Kernels
from models.avatar_model import AvatarModel
from models.build import AnyModel
from models.networks import Networks
from models.presets import Layout
from models.runtimes.fp8_modules import make_fp8
from models.runtimes.options import BACKENDS
from models.runtimes.torch_networks import CompiledNetworks, NativeNetworks, PlainNetworks, TorchNetworks
from models.sd15.networks import SD15Networks


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware: AVX512-BF16, AMX or Arm's BF16."""
    return cpu_has_matrix_units() or multiplies_pairs() or _cpu_has("", "bf16")


def cpu_has_matrix_units() -> bool:
    """Whether this CPU has matrix units for bf16 (AMX): many times as fast as its vectors in fp32."""
    return _cpu_has("_is_amx_tile_supported", "amx_bf16")


def multiplies_pairs() -> bool:
    """Whether this CPU multiplies bf16 in pairs, as `weights.h` has it (AVX512-BF16; all with AMX do)."""
    return _cpu_has("_is_avx512_bf16_supported", "avx512_bf16")


def kernels_of(backend: str) -> Kernels | None:
    """This machine's own kernels as a backend uses them; None for backends that run in PyTorch or elsewhere.

    Raises:
        NativeError: they cannot be had.
    """
    return Kernels(half=backend == "native-bf16") if backend in ("native", "native-bf16") else None


def _cpu_has(probe: str, *names: str) -> bool:
    """Whether any of the capabilities is there; ``probe`` asks a torch that cannot list them."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        found = capabilities()
        return any(bool(found.get(name)) for name in names)
    return bool(getattr(torch.cpu, probe, bool)()) if probe else False


def live_threads() -> int:
    """CPU threads of networks inside a live server: every core but one, at most torch's own number, at least 1.

    The core left out draws nothing: it hears, encodes and sends, and on a laptop it also shows the page. Two
    threads on two cores wait for each other whenever one of them must give way (docs/performance.md has figures).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), cores - 1))


def why_not_native() -> str:
    """Why this machine's own kernels cannot be had, and what helps; "" where they can.

    Compiles them where that was not done yet (seconds).
    """
    try:
        load_native()
    except NativeError as error:
        return str(error)
    return ""


def find_device(name: str | None = None) -> torch.device:
    """The device of a name; None takes CUDA where there is one.

    Raises:
        ValueError: this machine has no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} of them" if count else "no CUDA device that PyTorch can use"
        raise ValueError(
            f"Expected --device {name}, found {found} here; choose --device cpu or leave it out."
        )
    return device


def choose_backend(device: torch.device, layout: Layout = "fada") -> str:
    """The backend of a device by rule, where nothing was measured, for networks of a layout."""
    if device.type == "cuda":
        return "torch-bf16"
    if layout == "fada" and not why_not_native():
        return "native-bf16" if multiplies_pairs() else "native"
    return "torch-bf16" if cpu_has_bf16() else "torch-fp32"


_DTYPES: Final = {"torch-bf16": torch.bfloat16, "torch-fp32": torch.float32}


def load_networks(model: AnyModel, device: torch.device, backend: str) -> Networks:
    """Put a model on a backend.

    Raises:
        ValueError: no such backend, the model is a small teacher, or the backend does not run its layout.
        NativeError: this machine's own kernels cannot be had.
    """
    if backend == "torch-fp8":
        return _fp8_networks(model, device)
    if not isinstance(model, AvatarModel):
        if backend in _DTYPES:
            return SD15Networks(model, device, _DTYPES[backend])
        raise ValueError(
            f"The backend '{backend}' runs the small preset alone, not '{model.preset.name}'; choose one of "
            f"{', '.join(sorted((*_DTYPES, 'torch-fp8')))}."
        )
    if backend == "torch-eager":
        return PlainNetworks(model, device)
    if backend in _DTYPES:
        return TorchNetworks(model, device, _DTYPES[backend])
    if backend == "torch-compile":
        half = device.type == "cuda" or cpu_has_bf16()
        return CompiledNetworks(model, device, torch.bfloat16 if half else torch.float32)
    if backend in ("native", "native-bf16"):
        return NativeNetworks(model, device, half=backend == "native-bf16")
    if backend == "onnx":
        from models.runtimes.onnx_networks import OnnxNetworks

        return OnnxNetworks(model, device)
    if backend == "onnx-int8":
        from models.runtimes.onnx_int8 import Int8Networks

        return Int8Networks(model, device)
    raise ValueError(f"There is no backend '{backend}'; choose auto, {', '.join(BACKENDS)}.")


def _fp8_networks(model: AnyModel, device: torch.device) -> Networks:
    """bf16 with wide layers in 8-bit floats; on a CPU fp32 with the same rounding, to see what it costs."""
    if not multiplies_fp8(device):
        raise ValueError("torch-fp8 needs a GPU with 8-bit tensor cores (compute capability 8.9 or later).")
    networks = load_networks(model, device, "torch-bf16" if device.type == "cuda" else "torch-fp32")
    assert isinstance(networks, TorchNetworks | SD15Networks)
    make_fp8(networks.model)
    return networks

"""The rule of the parity fixtures: weights and inputs that follow from their names and a salt, nothing stored.

In: names, shapes and a salt. Out: fp32 arrays, the same to the bit wherever NumPy draws them. Whoever wrote the
fixtures filled EchoMimic's own code by this rule and kept what came out; we fill our networks and compare.
"""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

FloatArray = npt.NDArray[np.float32]

_TABLES: Final = ("pos_encoder.pe", "positional_embedding")
"""Buffers that hold sinusoids and are not drawn."""
_SHARP: Final = (".to_q.weight", ".to_k.weight", ".query.weight", ".key.weight")
"""Kernels with a larger gain, so that attention is far from uniform."""


def draw(name: str, salt: str, shape: tuple[int, ...]) -> FloatArray:
    """Unit normals of a name."""
    out = np.empty(shape, dtype=np.float32)
    draw_into(out, name, salt)
    return out


def draw_into(out: FloatArray, name: str, salt: str) -> None:
    """Fill a contiguous array with the unit normals of a name."""
    digest = hashlib.sha256(f"{name}:{salt}".encode()).digest()
    bits = np.random.PCG64(int.from_bytes(digest[:8], "little"))
    np.random.Generator(bits).standard_normal(dtype=np.float32, out=out)


def fill_network(network: nn.Module, name: str, salt: str, prefix: str = "") -> None:
    """Fill all weights of a network in place, two tensors at a time.

    Args:
        network: its state dict's keys are the public ones.
        name: of the network in the rule: denoising_unet, reference_unet, face_locator, vae or whisper.
        salt: of the draw.
        prefix: put before the keys.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:  # NumPy draws without holding the interpreter's lock
        jobs = [
            pool.submit(_fill, tensor, f"{name}/{prefix}{key}", salt)
            for key, tensor in network.state_dict().items()
            if not key.endswith(_TABLES)
        ]
        for job in jobs:
            job.result()


def _fill(tensor: Tensor, name: str, salt: str) -> None:
    out = tensor.detach().numpy()
    draw_into(out, name, salt)
    if out.ndim >= 2:
        gain = 1.6 if name.startswith("face_locator/") else 1.5 if name.endswith(_SHARP) else 1.0
        out *= np.float32(gain / math.sqrt(float(math.prod(out.shape[1:]))))
    elif name.endswith(".bias"):
        out *= np.float32(0.05)
    else:
        out *= np.float32(0.1)
        out += np.float32(1.0)


def case_input(case: str, tensor: str, salt: str, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    """An input of a case."""
    return torch.from_numpy(draw(f"input/{case}/{tensor}", salt, shape) * np.float32(scale))


def face_mask(height: int, width: int) -> Tensor:
    """(1, 1, H, W): the rectangle that all cases take for the face."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 8 : height * 5 // 8, width * 2 // 8 : width * 7 // 8] = 1.0
    return mask

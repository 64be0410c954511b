"""The student's networks on ONNX Runtime, for CPUs without bf16 units.

In: a student. Out: `Networks` whose audio encoder, motion reader, denoiser and decoder run as ONNX graphs of one
session each; the reference picture, read once per session, stays in PyTorch. Graphs are exported on first use
(or by ``fada export``) into a cache folder named by the weights' digest, and checked against PyTorch there.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.avatar_model import AvatarModel
from models.blocks import Bank
from models.face import SAMPLES_PER_FRAME
from models.networks import TorchNetworks
from models.unet import Conditions
from models.vae import ReferenceFeatures

TOLERANCE = 2e-4
"""Largest allowed relative L2 difference between a graph and PyTorch, fp32."""


class _Audio(nn.Module):
    def __init__(self, model: AvatarModel) -> None:
        super().__init__()
        self.encoder = model.audio

    def forward(self, audio: Tensor) -> Tensor:
        return self.encoder(audio)


class _Motion(nn.Module):
    def __init__(self, model: AvatarModel) -> None:
        super().__init__()
        self.net = model.reference_net

    def forward(self, motion: Tensor) -> tuple[Tensor, ...]:
        return tuple(bank.motion for bank in self.net.read_motion(motion))


class _Denoise(nn.Module):
    def __init__(self, model: AvatarModel, blocks: int) -> None:
        super().__init__()
        self.model, self.blocks = model, blocks

    def forward(self, x_t: Tensor, t: Tensor, audio: Tensor, expression: Tensor, reference: Tensor,
                scales: Tensor, *banks: Tensor) -> Tensor:  # fmt: skip
        pairs = zip(banks[: self.blocks], banks[self.blocks :], strict=True)
        control = self.model.control(scales[:, 0], scales[:, 1])
        cond = Conditions(audio, expression, reference, tuple(Bank(r, m) for r, m in pairs), control=control)
        return self.model.denoiser(x_t, t, cond)


class _Decode(nn.Module):
    def __init__(self, model: AvatarModel) -> None:
        super().__init__()
        self.vae = model.vae

    def forward(self, z: Tensor, picture: Tensor, *features: Tensor) -> Tensor:
        return self.vae.decode(z, ReferenceFeatures(picture, features) if features else None)


def cache_folder(model: AvatarModel) -> Path:
    """Where a model's graphs are kept: $FADA_CACHE or ~/.cache/fada-live, by the digest of its weights."""
    digest = hashlib.sha1(repr(model.preset).encode())
    for value in model.state_dict().values():
        digest.update(value.float().contiguous().numpy(force=True).tobytes())
    root = Path(os.environ.get("FADA_CACHE", Path.home() / ".cache" / "fada-live"))
    return root / digest.hexdigest()[:16]


def example_inputs(model: AvatarModel) -> dict[str, tuple[Tensor, ...]]:
    """Random inputs of one session for every graph, from a fixed seed."""
    preset, generator = model.preset, torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    frames, hop, latent = preset.stream.window_frames, preset.stream.hop_frames, preset.latent_shape
    audio_cfg = preset.audio
    samples = audio_cfg.context_samples + frames * SAMPLES_PER_FRAME + audio_cfg.lookahead_samples
    picture = torch.rand(1, 3, preset.face_box[3], preset.face_box[2], generator=generator)
    motion = draw(1, preset.unet.motion_frames, *latent)
    with torch.no_grad():
        still = tuple(b.reference for b in model.reference_net.read_reference(draw(1, *latent)))
        moved = tuple(b.motion for b in model.reference_net.read_motion(motion))
        kept = model.vae.reference(picture)
    features = () if kept is None else tuple(level.repeat_interleave(hop, 0) for level in kept.levels)
    shared = (draw(1, frames, preset.unet.audio_width), draw(1, frames, preset.unet.expression_dims))
    denoise = (draw(1, frames, *latent), torch.tensor([0.5]), *shared, draw(1, *latent), torch.ones(1, 2))
    return {
        "audio": (draw(1, samples) * 0.1,),
        "motion": (motion,),
        "denoise": (*denoise, *still, *moved),
        "decode": (draw(hop, *latent), picture.repeat_interleave(hop, 0), *features),
    }


def graphs(model: AvatarModel) -> dict[str, nn.Module]:
    """The modules that become graphs."""
    blocks = len(model.reference_net.read_reference(torch.zeros(1, *model.preset.latent_shape)))
    return {
        "audio": _Audio(model),
        "motion": _Motion(model),
        "denoise": _Denoise(model, blocks),
        "decode": _Decode(model),
    }


@torch.no_grad()
def export_graphs(model: AvatarModel, folder: Path) -> dict[str, float]:
    """Export every graph into ``folder`` and compare it with PyTorch.

    Returns:
        Relative L2 difference per graph.

    Raises:
        ValueError: a graph differs by more than `TOLERANCE`; its file is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().eval()
    inputs, differences = example_inputs(model), {}
    for name, module in graphs(model).items():
        final, partial = folder / f"{name}.onnx", folder / f"{name}.partial.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(), inputs[name], str(partial), dynamo=True, external_data=False, verbose=False
            )
        truth = module(*inputs[name])
        truth = truth if isinstance(truth, tuple) else (truth,)
        got = run_graph(open_graph(partial), inputs[name])
        differences[name] = max(float((a - b).norm() / b.norm()) for a, b in zip(got, truth, strict=True))
        if differences[name] > TOLERANCE:
            partial.unlink()
            raise ValueError(
                f"The ONNX graph '{name}' differs from PyTorch by {differences[name]:.1e} (> {TOLERANCE})."
            )
        partial.replace(final)
    return differences


def open_graph(path: Path) -> Any:
    """An ONNX Runtime session on the CUDA provider where onnxruntime-gpu is installed, else on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def run_graph(session: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run a graph on positional inputs."""
    names = [entry.name for entry in session.get_inputs()]
    feed = {n: np.ascontiguousarray(v.float().numpy()) for n, v in zip(names, inputs, strict=True)}
    return tuple(torch.from_numpy(out) for out in session.run(None, feed))


class OnnxNetworks(TorchNetworks):
    """`Networks` on ONNX Runtime; sessions of a batch run one after the other."""

    def __init__(self, model: AvatarModel, device: torch.device) -> None:
        folder = cache_folder(model)
        if not all((folder / f"{name}.onnx").is_file() for name in ("audio", "motion", "denoise", "decode")):
            export_graphs(model, folder)
        super().__init__(model, torch.device("cpu"), torch.float32)
        self._graphs = {
            name: open_graph(folder / f"{name}.onnx") for name in ("audio", "motion", "denoise", "decode")
        }

    def _rows(self, name: str, rows: int, *inputs: Tensor) -> list[tuple[Tensor, ...]]:
        each = len(inputs[0]) // rows
        span = [slice(row * each, (row + 1) * each) for row in range(rows)]
        return [run_graph(self._graphs[name], tuple(x[s] if len(x) != rows else x[i : i + 1] for x in inputs))
                for i, s in enumerate(span)]  # fmt: skip

    def audio_features(self, audio: Tensor) -> Tensor:
        return torch.cat([out[0] for out in self._rows("audio", len(audio), audio)])

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            torch.cat(parts) for parts in zip(*self._rows("motion", len(motion), motion), strict=True)
        )

    def denoise(
        self,
        x_t: Tensor,
        t: Tensor,
        audio: Tensor,
        expression: Tensor,
        reference: Tensor,
        reference_banks: tuple[Tensor, ...],
        motion_banks: tuple[Tensor, ...],
        scales: Tensor,
    ) -> Tensor:
        inputs = (x_t, t, audio, expression, reference, scales, *reference_banks, *motion_banks)
        return torch.cat([out[0] for out in self._rows("denoise", len(x_t), *inputs)])

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        rows = max(1, len(z) // self.preset.stream.hop_frames)
        return torch.cat([out[0] for out in self._rows("decode", rows, z, picture, *features)])

"""The student's networks on ONNX Runtime, on the CPU or, with onnxruntime-gpu, on CUDA.

In: a student. Out: `Networks` whose audio encoder, motion reader, denoiser and decoder run as ONNX graphs of one
session each; the reference picture, read once per session, stays in PyTorch. Graphs are exported on first use
(or by ``fada export``) into a cache folder named by the weights' digest, and checked against PyTorch there.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from kernels.machine import cache_root
from models.avatar_model import AvatarModel, weights_digest
from models.face import SAMPLES_PER_FRAME
from models.modules.blocks import TransformerBlock
from models.modules.conv import ReferenceFeatures
from models.modules.unet import Conditions
from models.networks import WindowConditions, projected_banks
from models.presets import Preset
from models.runtimes.torch_networks import TorchNetworks

_CPU = torch.device("cpu")

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
        self.net, self.twins = model.reference_net, nn.ModuleList(model.denoiser.transformers())

    def forward(self, motion: Tensor) -> tuple[Tensor, ...]:
        moving = self.net.read_motion(motion)
        return tuple(
            cast(TransformerBlock, twin).project_motion(bank.motion)
            for twin, bank in zip(self.twins, moving, strict=True)
        )


class _Denoise(nn.Module):
    def __init__(self, model: AvatarModel, blocks: int) -> None:
        super().__init__()
        self.model, self.blocks = model, blocks

    def forward(self, x_t: Tensor, t: Tensor, audio: Tensor, expression: Tensor, reference: Tensor,
                scales: Tensor, *banks: Tensor) -> Tensor:  # fmt: skip
        kept = projected_banks(banks[: self.blocks], banks[self.blocks :])
        control = self.model.control(scales[:, 0], scales[:, 1])
        cond = Conditions(audio, expression, reference, kept, control=control)
        return self.model.denoiser(x_t, t, cond)


class _Decode(nn.Module):
    def __init__(self, model: AvatarModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, *told: Tensor) -> Tensor:
        if self.model.preset.moves:  # looks at no picture, and a graph would drop what it does not look at
            return self.model.draw(z, ReferenceFeatures(z, told, True))
        picture, *features = told
        return self.model.draw(z, ReferenceFeatures(picture, tuple(features), True) if features else None)


GRAPHS = ("audio", "motion", "denoise", "decode")
GRAPHS_VERSION = 2
"""Bumped when the same weights would give other graphs, so that old ones are not read."""


def cache_folder(model: AvatarModel) -> Path:
    """Where a model's graphs are kept: in the cache folder, by the digest of its weights."""
    return cache_root() / f"{weights_digest(model)}.v{GRAPHS_VERSION}"


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
        twins = model.denoiser.transformers()
        read = model.reference_net.read_reference(draw(1, *latent))
        still = tuple(twin.project_reference(b.reference) for twin, b in zip(twins, read, strict=True))
        moved = _Motion(model)(motion)
        kept = model.vae.reference(picture)
        kept = None if kept is None else model.vae.decoder.mix_reference(kept)
    features = () if kept is None else tuple(level.repeat_interleave(hop, 0) for level in kept.levels)
    shared = (draw(1, frames, preset.unet.audio_width), draw(1, frames, preset.unet.expression_dims))
    denoise = (draw(1, frames, *latent), torch.tensor([0.5]), *shared, draw(1, *latent), torch.ones(1, 2))
    return {
        "audio": (draw(1, samples) * 0.1,),
        "motion": (motion,),
        "denoise": (*denoise, *still, *moved),
        "decode": decode_inputs(preset, draw(hop, *latent), picture.repeat_interleave(hop, 0), features),
    }


def graphs(model: AvatarModel) -> dict[str, nn.Module]:
    """The modules that become graphs."""
    blocks = len(model.denoiser.transformers())
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


def choose_providers(device: torch.device, available: Sequence[str]) -> list[str]:
    """ONNX Runtime's execution providers for a device.

    Raises:
        ValueError: CUDA is asked for and this ONNX Runtime has no CUDA provider.
    """
    if device.type != "cuda":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        raise ValueError(
            f"The onnx backend on {device} needs the package onnxruntime-gpu, and this ONNX Runtime has only "
            f"{', '.join(available)}; install it in place of onnxruntime, or choose torch-bf16."
        )
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def open_graph(path: Path, device: torch.device = _CPU) -> Any:
    """An ONNX Runtime session on a device; see `choose_providers`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Spinning threads would take the core from whatever runs between two graphs: torch, the server, the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = choose_providers(device, onnxruntime.get_available_providers())
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def run_graph(session: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run a graph on positional inputs."""
    names = [entry.name for entry in session.get_inputs()]
    feed = {n: np.ascontiguousarray(v.float().numpy()) for n, v in zip(names, inputs, strict=True)}
    return tuple(torch.from_numpy(out) for out in session.run(None, feed))


def denoise_inputs(x_t: Tensor, t: Tensor, told: WindowConditions) -> tuple[Tensor, ...]:
    """The inputs of the graph "denoise", in its order."""
    shared = (told.audio, told.expression, told.reference, told.scales)
    return (x_t, t, *shared, *told.reference_banks, *told.motion_banks)


def decode_inputs(
    preset: Preset, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The inputs of the graph "decode", in its order."""
    return (z, *features) if preset.moves else (z, picture, *features)


class OnnxNetworks(TorchNetworks):
    """`Networks` on ONNX Runtime; sessions of a batch run one after the other."""

    def __init__(self, model: AvatarModel, device: torch.device) -> None:
        import onnxruntime

        choose_providers(device, onnxruntime.get_available_providers())  # before a minute goes into exporting
        files = self.graph_files(model)
        super().__init__(model, torch.device("cpu"), torch.float32)
        self._graphs = {name: open_graph(path, device) for name, path in files.items()}

    def graph_files(self, model: AvatarModel) -> dict[str, Path]:
        """Where each graph lies; exported where one is missing."""
        files = {name: cache_folder(model) / f"{name}.onnx" for name in GRAPHS}
        if not all(path.is_file() for path in files.values()):
            export_graphs(model, cache_folder(model))
        return files

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

    def denoise(self, x_t: Tensor, t: Tensor, told: WindowConditions) -> Tensor:
        inputs = denoise_inputs(x_t, t, told)
        return torch.cat([out[0] for out in self._rows("denoise", len(x_t), *inputs)])

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        rows = max(1, len(z) // self.preset.stream.hop_frames)
        inputs = decode_inputs(self.preset, z, picture, features)
        return torch.cat([out[0] for out in self._rows("decode", rows, *inputs)])

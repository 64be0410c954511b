"""The ONNX graphs in 8-bit integers: weights by channel, activations by what real hops need.

In: a student. Out: `Networks` whose motion reader, denoiser and decoder multiply 8-bit integers where the processor
does that faster than fp32 (AVX-512 VNNI, Arm dot products); the audio encoder, 2% of a hop, stays as it is.
Ranges are measured on hops of the bundled faces with a babbling voice, in PyTorch, before the graphs are
quantized; both are done once and kept beside the fp32 graphs. What that costs is measured where it is chosen:
`fada doctor --calibrate` compares every runtime's latents with fp32 (`models.runtimes.calibration.TOLERANCES`).

Source: Jacob et al. 1712.05877 (affine 8-bit quantization), as ONNX Runtime's QDQ format has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from kernels.machine import ROOT
from models.avatar_model import AvatarModel
from models.face import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from models.framing.similarity import read_laid_out
from models.hop import HopControls
from models.networks import WindowConditions
from models.runtimes.onnx_networks import OnnxNetworks, decode_inputs, denoise_inputs, open_graph
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer

QUANTIZED: Final = ("motion", "denoise", "decode")
FACES: Final = 6
HOPS: Final = 6
Calls = dict[str, list[tuple[Tensor, ...]]]


class Int8Networks(OnnxNetworks):
    """`OnnxNetworks` on quantized graphs; on the CPU."""

    def __init__(self, model: AvatarModel, device: torch.device) -> None:
        """Raises ValueError for another device than the CPU."""
        if device.type != "cpu":
            raise ValueError(f"The backend onnx-int8 runs on the CPU, got {device}; choose torch-fp8.")
        super().__init__(model, device)

    def graph_files(self, model: AvatarModel) -> dict[str, Path]:
        """The audio encoder's graph as it is, the others quantized; made where they are missing."""
        files = super().graph_files(model)
        small = {name: path.with_suffix(".int8.onnx") for name, path in files.items() if name in QUANTIZED}
        if not all(path.is_file() for path in small.values()):
            quantize_graphs(model, files, small)
        return {**files, **small}


class _Noting(TorchNetworks):
    """PyTorch's networks, which note what they are asked."""

    def __init__(self, model: AvatarModel) -> None:
        super().__init__(model, torch.device("cpu"), torch.float32)
        self.calls: Calls = {name: [] for name in QUANTIZED}

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        self.calls["motion"].append((motion,))
        return super().motion_banks(motion)

    def denoise(self, x_t: Tensor, t: Tensor, told: WindowConditions) -> Tensor:
        self.calls["denoise"].append(denoise_inputs(x_t, t, told))
        return super().denoise(x_t, t, told)

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        self.calls["decode"].append(decode_inputs(self.preset, z, picture, features))
        return super().decode(z, picture, features)


def typical_calls(model: AvatarModel, faces: int, hops: int) -> Calls:
    """What the graphs are asked in some hops of the bundled faces, at several scales and numbers of evaluations.

    Raises:
        ValueError: the bundled faces are not there.
    """
    pictures = sorted(path for path in (ROOT / "avatars").glob("*") if path.suffix in (".png", ".jpg"))
    if not pictures:
        raise ValueError(f"onnx-int8 measures its ranges on the faces in {ROOT / 'avatars'}; there are none.")
    networks = _Noting(model)
    streamer, preset = Streamer(networks, torch.device("cpu")), model.preset
    step = preset.stream.hop_frames * SAMPLES_PER_FRAME
    for index, path in enumerate(pictures[:faces]):
        sound = babble(preset.window_samples + hops * step, seed=index)
        states = [streamer.open(read_laid_out(path, preset.canvas_px), index)]
        controls = HopControls((0.7, 1.4, 2.0)[index % 3], 1.0, 1 + index % 2)
        for hop in range(hops):
            window = sound[hop * step : hop * step + preset.window_samples]
            states, _, _ = streamer.hop(states, window[None], controls)
    return networks.calls


def babble(samples: int, seed: int) -> np.ndarray:
    """(samples,) float32 at 16 kHz: a gliding pitch through gliding resonances, four syllables a second."""
    random = np.random.default_rng(seed)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ

    def glide(low: float, high: float) -> np.ndarray:
        marks = random.uniform(low, high, 2 + int(6 * time_s[-1]))
        return np.interp(time_s, np.linspace(0, time_s[-1], len(marks)), marks)

    pulses = np.diff(np.floor(np.cumsum(glide(90, 220)) / SAMPLE_RATE_HZ), prepend=0.0)
    sound, before, earlier = np.zeros(samples), np.zeros(2), np.zeros(2)
    turn = 2 * np.pi * np.stack((glide(300, 850), glide(900, 2400)), axis=1) / SAMPLE_RATE_HZ
    radius = np.exp(-np.pi * 90 / SAMPLE_RATE_HZ)
    for n in range(samples):
        now = pulses[n] + 2 * radius * np.cos(turn[n]) * before - radius**2 * earlier
        before, earlier = now, before
        sound[n] = now.sum()
    loud = np.clip(np.sin(2 * np.pi * 4 * time_s + seed), 0, 1) * sound
    return (0.3 * loud / max(1e-9, np.abs(loud).max())).astype(np.float32)


def quantize_graphs(model: AvatarModel, files: Mapping[str, Path], into: Mapping[str, Path]) -> None:
    """Quantize fp32 graphs into other files; each is there whole or not at all."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    calls = typical_calls(model, FACES, HOPS)
    for name, final in into.items():
        ready, partial = final.with_suffix(".ready"), final.with_suffix(".partial")
        try:
            quant_pre_process(str(files[name]), str(ready), skip_symbolic_shape=True)
            quantize_static(
                str(ready),
                str(partial),
                _Feed(files[name], calls[name]),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                per_channel=True,
                reduce_range=True,  # 7 bits: without VNNI sums of two 8-bit products overflow 16 bits
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            partial.replace(final)
        finally:
            ready.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)


class _Feed:
    """Calls of one graph as ONNX Runtime's calibration reads them."""

    def __init__(self, file: Path, calls: list[tuple[Tensor, ...]]) -> None:
        names = [entry.name for entry in open_graph(file).get_inputs()]
        self._feeds: Iterator[dict[str, Any]] = (
            {name: value.float().numpy() for name, value in zip(names, call, strict=True)} for call in calls
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)

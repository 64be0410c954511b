"""EchoMimic's public weight files: read, checked key by key, put into one model.

In: a folder laid out as EchoMimic's `pretrained_weights`. Out: an `SD15Model` of the role "teacher" (EchoMimic
has no CFG tokens), or one sentence that says which file or key is wrong. Files are .pth, .pt, .bin (read without
running any code in them) or .safetensors, stored in fp16, bf16 or fp32.

The denoiser comes from two files; the motion module's is laid down first and the denoising UNet's over it. Together
they must give every key of the network and no other.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.checkpoint import CheckpointError
from models.presets import Preset
from models.sd15.model import SD15Model

REFERENCE: Final = ("reference_unet",)
FACE: Final = ("face_locator",)
DENOISER: Final = (("motion_module", "denoising_unet"), ("motion_module_acc", "denoising_unet_acc"))
"""Ordinary and accelerated weights, each in the order in which they are laid down."""
VAE: Final = ("sd-vae-ft-mse/diffusion_pytorch_model",)
TINY_DECODER: Final = ("taesd/taesd_decoder",)
WHISPER: Final = ("audio_processor/whisper_tiny",)
SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin")

_OLD_NAMES: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True, slots=True)
class Expected:
    """The network that files have to fill.

    Attributes:
        name: for messages.
        network: with every key and shape; may be on "meta".
        dropped: prefixes of keys that the files may hold and this network has no use for.
    """

    name: str
    network: nn.Module
    dropped: tuple[str, ...] = ()


def load_echomimic(folder: Path, preset: Preset, dtype: torch.dtype = torch.float32) -> SD15Model:
    """The model of a folder; accelerated weights are taken where the folder has them.

    Raises:
        ValueError: the preset is of another layout.
        CheckpointError: a file is missing or broken, or a key is missing, unexpected or of another shape.
    """
    if preset.layout != "sd15" or preset.audio.encoder != "whisper":
        raise ValueError(
            f"EchoMimic's files fit presets with Whisper at SD1.5 size (base, base-vae), not '{preset.name}'."
        )
    with torch.device("meta"):
        model = SD15Model(one_branch(preset), "teacher")
    fill(Expected("the ReferenceNet", model.reference_net), _paths(folder, REFERENCE), dtype)
    fill(Expected("the denoising UNet", model.denoiser), _paths(folder, _denoiser_names(folder)), dtype)
    fill(Expected("the face locator", model.face_locator), _paths(folder, FACE), dtype)
    _fill_vae(model, folder, dtype)
    whisper = Expected("Whisper's encoder", model.audio, ("decoder.",))
    fill(whisper, _paths(folder, WHISPER), dtype)
    return model.eval()


def one_branch(preset: Preset) -> Preset:
    """The preset for weights without CFG tokens: both scales are 1 and callers may ask for no other."""
    fixed = replace(
        preset.stream,
        audio_scale=1.0,
        reference_scale=1.0,
        audio_scale_range=(1.0, 1.0),
        reference_scale_range=(1.0, 1.0),
    )
    return replace(preset, stream=fixed)


def fill(expected: Expected, paths: Sequence[Path], dtype: torch.dtype) -> None:
    """Give a network the tensors of its files, later files over earlier ones.

    Raises:
        CheckpointError: the files do not give exactly the network's keys in its shapes.
    """
    wanted = expected.network.state_dict()
    laid: dict[str, Tensor] = {}
    for path in paths:
        tensors = {
            key: value for key, value in read_public(path).items() if not key.startswith(expected.dropped)
        }
        _refuse_strangers(expected.name, path, wanted, tensors)
        laid |= tensors
    missing = sorted(set(wanted) - set(laid))
    if missing:
        files = " and ".join(path.name for path in paths)
        raise CheckpointError(
            f"The weights of {expected.name} are not whole: {files} lack {len(missing)} of {len(wanted)} keys, "
            f"first {missing[0]}; get the files again."
        )
    # Copies: the files are only mapped into memory, and may change while the model lives.
    own = {key: value.to(dtype, copy=True) for key, value in laid.items()}
    expected.network.load_state_dict(own, assign=True)


def _refuse_strangers(
    name: str, path: Path, wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    surplus = sorted(set(tensors) - set(wanted))
    if surplus:
        raise CheckpointError(
            f"{path} holds {len(surplus)} keys that {name} does not have, first {surplus[0]}; it is not "
            "EchoMimic's file of that name."
        )
    for key, value in tensors.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"{path} holds {key} in shape {tuple(value.shape)}, {name} expects {tuple(wanted[key].shape)}."
            )
        if value.dtype not in _FLOATS:
            raise CheckpointError(f"{path} holds {key} as {value.dtype}; expected fp16, bf16 or fp32.")


def read_public(path: Path) -> dict[str, Tensor]:
    """Tensors of a public weight file by name; old names of attention layers become the new ones.

    Raises:
        CheckpointError: the file cannot be read, or holds something other than named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(str(path))
        else:
            content = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"The weights {path} cannot be read ({type(error).__name__}); the file may be cut off or hold more "
            "than tensors: get it again."
        ) from error
    if (
        isinstance(content, dict) and "model_state_dict" in content
    ):  # Whisper's files have their sizes beside it
        content = content["model_state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"The weights {path} hold something other than tensors by name.")
    return {_new_name(str(key)): value for key, value in content.items()}


def _new_name(key: str) -> str:
    head, found, tail = key.partition(".mid_block.attentions.0.")
    layer, dot, rest = tail.partition(".")
    return f"{head}{found}{_OLD_NAMES.get(layer, layer)}{dot}{rest}"


def _fill_vae(model: SD15Model, folder: Path, dtype: torch.dtype) -> None:
    vae, paths = model.vae, _paths(folder, VAE)
    if vae.tiny_decoder is None:
        fill(Expected("the VAE", vae), paths, dtype)
        return
    tiny, vae.tiny_decoder = vae.tiny_decoder, None  # its keys lie in a file of their own
    fill(Expected("the VAE's encoder", vae, ("decoder.", "post_quant_conv.")), paths, dtype)
    fill(Expected("the tiny decoder", tiny), _paths(folder, TINY_DECODER), dtype)
    vae.tiny_decoder = tiny


def _denoiser_names(folder: Path) -> tuple[str, ...]:
    """Accelerated weights if the denoising UNet is there in that form, else the ordinary ones."""
    for names in reversed(DENOISER):
        if _find(folder, names[-1]) is not None:
            return names
    return DENOISER[0]


def _find(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((place for place in places if place.is_file()), None)


def _paths(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of those names.

    Raises:
        CheckpointError: one of them is not there.
    """
    found = []
    for name in names:
        path = _find(folder, name)
        if path is None:
            raise CheckpointError(
                f"Expected {name} ({', '.join(SUFFIXES)}) in {folder}, found none; docs/base.md lists the files."
            )
        found.append(path)
    return found

"""EchoMimic's weight files: whole or refused with a sentence; fp16 or fp32; the overlay's order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoint import CheckpointError
from models.presets import preset
from models.runtimes.backends import load_networks
from models.sd15.echomimic import load_echomimic, read_public
from models.sd15.model import SD15Model
from models.weights import load_any_model, load_model, save_model
from tests.models.sd15.small_base import thin_base, thin_model

Edit = Callable[[dict[str, Tensor]], None]


@pytest.fixture(scope="module")
def teacher() -> SD15Model:
    return thin_model("teacher", "base-vae")


@pytest.fixture(scope="module")
def files(teacher: SD15Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thin networks in EchoMimic's files: fp16 but for the ReferenceNet, old attention names in the VAE."""
    folder = tmp_path_factory.mktemp("pretrained_weights")
    for name in ("sd-vae-ft-mse", "audio_processor", "taesd"):
        (folder / name).mkdir()
    denoiser = {key: value.half() for key, value in teacher.denoiser.state_dict().items()}
    motion = {key: value for key, value in denoiser.items() if ".motion_modules." in key}
    torch.save(motion, folder / "motion_module.pth")
    torch.save({k: v for k, v in denoiser.items() if k not in motion}, folder / "denoising_unet.pth")
    torch.save(teacher.reference_net.state_dict(), folder / "reference_unet.pth")
    torch.save(teacher.face_locator.state_dict(), folder / "face_locator.pth")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = {}
    for key, value in teacher.vae.state_dict().items():
        for new, former in old.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")
        vae[key] = value.half().contiguous()
    save_file(vae, str(folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"))
    sound = {k: v.half() for k, v in teacher.audio.state_dict().items()}
    sound["decoder.token_embedding.weight"] = torch.zeros(4, 4)
    whisper = {"dims": {"n_mels": 80}, "model_state_dict": sound}
    torch.save(whisper, folder / "audio_processor" / "whisper_tiny.pt")
    tiny = thin_model("teacher", "base").vae.tiny_decoder
    assert tiny is not None
    torch.save(tiny.state_dict(), folder / "taesd" / "taesd_decoder.pth")
    return folder


def rewrite(path: Path, content: object) -> None:
    """Put another file in its place: the old one may still be mapped into memory."""
    torch.save(content, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def test_a_folder_becomes_a_model_with_every_key(files: Path, teacher: SD15Model) -> None:
    model = load_echomimic(files, thin_base("base-vae"))
    loaded = model.state_dict()
    for key, value in teacher.state_dict().items():
        wanted = value if key.startswith(("reference_net.", "face_locator.")) else value.half().float()
        torch.testing.assert_close(loaded[key], wanted, rtol=0, atol=0)
    assert all(value.dtype == torch.float32 for value in loaded.values())
    stream = model.preset.stream
    assert stream.audio_scale_range == stream.reference_scale_range == (1.0, 1.0)
    load_networks(model, torch.device("cpu"), "torch-fp32")  # streams in one branch
    assert load_echomimic(files, thin_base("base")).vae.tiny_decoder is not None
    with pytest.raises(ValueError, match="small preset alone"):
        load_networks(model, torch.device("cpu"), "onnx")


@pytest.mark.slow
def test_accelerated_weights_are_taken_where_they_are(files: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(files, tmp_path / "weights")
    for name in ("denoising_unet", "motion_module"):
        tensors = read_public(folder / f"{name}.pth")
        torch.save({key: value + 1 for key, value in tensors.items()}, folder / f"{name}_acc.pth")
    plain, fast = load_echomimic(files, thin_base()), load_echomimic(folder, thin_base())
    got = fast.denoiser.state_dict()
    for key, value in plain.denoiser.state_dict().items():
        torch.testing.assert_close(got[key], (value.half() + 1).float())
    (folder / "motion_module_acc.pth").unlink()  # never the one's denoiser with the other's motion
    with pytest.raises(CheckpointError, match="Expected motion_module_acc"):
        load_echomimic(folder, thin_base())


def test_the_denoising_file_lies_over_the_motion_file(files: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(files, tmp_path / "weights")
    motion = read_public(folder / "motion_module.pth")
    key = next(k for k in motion if k.endswith("proj_in.weight"))
    tensors = read_public(folder / "denoising_unet.pth") | {key: torch.full_like(motion[key], 7.0)}
    rewrite(folder / "denoising_unet.pth", tensors)
    assert bool((load_echomimic(folder, thin_base()).denoiser.state_dict()[key] == 7.0).all())


def _lose(tensors: dict[str, Tensor]) -> None:
    del tensors["conv_in.bias"]


def _add(tensors: dict[str, Tensor]) -> None:
    tensors["wings.weight"] = torch.zeros(1)


def _reshape(tensors: dict[str, Tensor]) -> None:
    tensors["conv_in.bias"] = torch.zeros(99)


def _count(tensors: dict[str, Tensor]) -> None:
    tensors["conv_in.bias"] = torch.zeros_like(tensors["conv_in.bias"], dtype=torch.int64)


@pytest.mark.parametrize(
    ("file", "edit", "sentence"),
    [
        ("reference_unet.pth", _lose, r"reference_unet.pth lack 1 of \d+ keys, first conv_in.bias"),
        ("denoising_unet.pth", _lose, "motion_module.pth and denoising_unet.pth lack 1"),
        ("denoising_unet.pth", _add, "1 keys that the denoising UNet does not have, first wings.weight"),
        ("face_locator.pth", _reshape, r"conv_in.bias in shape \(99,\), the face locator expects \(16,\)"),
        ("reference_unet.pth", _count, "as torch.int64; expected fp16, bf16 or fp32"),
    ],
)
def test_keys_are_accounted_for(files: Path, tmp_path: Path, file: str, edit: Edit, sentence: str) -> None:
    folder = shutil.copytree(files, tmp_path / "weights")
    tensors = read_public(folder / file)
    edit(tensors)
    rewrite(folder / file, tensors)
    with pytest.raises(CheckpointError, match=sentence):
        load_echomimic(folder, thin_base())


class _Harm:
    """What a hostile file would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("harm",))


def test_broken_hostile_and_missing_files_are_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(files, tmp_path / "weights")
    path = folder / "reference_unet.pth"
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_echomimic(folder, thin_base())
    torch.save({"a": _Harm()}, path)
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_echomimic(folder, thin_base())
    assert "harm" not in capsys.readouterr().out
    torch.save({"a": {"b": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="other than tensors by name"):
        load_echomimic(folder, thin_base())
    path.unlink()
    with pytest.raises(CheckpointError, match=r"Expected reference_unet .* found none"):
        load_echomimic(folder, thin_base())
    with pytest.raises(ValueError, match=r"Whisper at SD1\.5 size"):
        load_echomimic(files, preset("base-wav2vec2"))


@pytest.mark.slow
def test_our_own_checkpoints_hold_either_layout(tmp_path: Path) -> None:
    path, model = tmp_path / "base.safetensors", thin_model()
    save_model(path, model, file_bytes=3_000_000)
    back = load_any_model(path)
    assert isinstance(back, SD15Model) and back.preset == model.preset and back.role == "student"
    got = back.state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(got[key], value, rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="small preset's layout"):
        load_model(path)


def test_a_preset_is_of_one_layout() -> None:
    base = thin_base()
    with pytest.raises(ValueError, match="must be of one layout"):
        replace(base, schedule="cosine")
    with pytest.raises(ValueError, match="multiple of 64 px"):
        base.resized(100)
    with pytest.raises(ValueError, match="tied to 256 px"):
        preset("small").resized(128)
    assert preset("base").resized(128).latent_shape == (4, 16, 16)
    assert preset("base").face_region == (96, 128, 320, 320)

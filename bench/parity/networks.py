"""Parity with EchoMimic: our networks, filled by the fixtures' rule, against what its own code gave.

In: a folder with `echomimic_parity.json`, `echomimic_{parity,extras,pipeline}_SALT.npz` and the JSON files beside
them. Out: relative L2 errors, each with its limit. Nothing is downloaded and no weight file is read: the rule makes
the weights. One network is in memory at a time (5.3 GB for the denoiser in fp32).
"""

from __future__ import annotations

import contextlib
import gc
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from bench.parity.rule import case_input, draw, face_mask, fill_network
from kernels.tuning import tile_coarsely
from models.modules.blocks import choose_kernels
from models.presets import preset
from models.sd15.blocks import PositionTable
from models.sd15.clips import draw_clip
from models.sd15.face_locator import FaceLocator
from models.sd15.unet import Conditions, Denoiser, ReferenceNet
from models.sd15.vae import SDVAE
from models.sd15.whisper import WhisperEncoder

LIMIT: Final = 2e-5
"""Largest relative L2 error against EchoMimic's outputs, fp32. Its own code differs from itself by 3e-6 between one
and two threads."""

PRESET: Final = "base-vae"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison; ``error`` is relative L2, or 0 and 1 for tables that must be equal."""

    name: str
    error: float
    limit: float = LIMIT

    @property
    def good(self) -> bool:
        return self.error <= self.limit


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the whole network."""

    name: str
    frames: int
    height: int
    width: int
    timestep: int
    guided: bool

    def latents(self, salt: str) -> Tensor:
        """(1, T, C, h, w)."""
        shape = (1, 4, self.frames, self.height, self.width)
        return case_input(self.name, "latents", salt, shape).transpose(1, 2)

    def reference(self, salt: str) -> Tensor:
        """(1, C, h, w)."""
        return case_input(self.name, "ref_latents", salt, (1, 4, self.height, self.width), 0.8)

    def audio(self, salt: str) -> Tensor:
        """(1, T, 50, 384)."""
        return case_input(self.name, "audio", salt, (1, self.frames, 50, 384))

    def mask(self) -> Tensor:
        return face_mask(8 * self.height, 8 * self.width)


@dataclass(slots=True)
class Fixtures:
    """The files of one salt; a file that is not there is None, and what it would check is left out by name."""

    folder: Path
    salt: str
    cases: dict[str, Case] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, row in self.read_json("parity")["cases"].items():
            self.cases[name] = Case(name, row["frames"], row["h"], row["w"], row["timestep"], row["cfg"])

    def read_json(self, kind: str) -> Any:
        """`echomimic_KIND_SALT.json`, or without the salt where one file serves all."""
        for name in (f"echomimic_{kind}_{self.salt}.json", f"echomimic_{kind}.json"):
            if (self.folder / name).is_file():
                return json.loads((self.folder / name).read_text(encoding="utf-8"))
        raise ValueError(
            f"Expected echomimic_{kind}.json in {self.folder}, found none; name the fixtures' folder."
        )

    def arrays(self, kind: str) -> Mapping[str, np.ndarray]:
        """The arrays of `echomimic_KIND_SALT.npz`."""
        path = self.folder / f"echomimic_{kind}_{self.salt}.npz"
        if not path.is_file():
            raise ValueError(f"Expected {path.name} in {self.folder}, found none; choose another salt.")
        arrays: Mapping[str, np.ndarray] = np.load(path, allow_pickle=False)
        return arrays

    def has(self, kind: str) -> bool:
        return (self.folder / f"echomimic_{kind}_{self.salt}.npz").is_file()


def salts(folder: Path) -> list[str]:
    """The salts that a folder has network outputs of."""
    return sorted(p.stem.removeprefix("echomimic_parity_") for p in folder.glob("echomimic_parity_*.npz"))


def relative_l2(got: Tensor | np.ndarray, truth: np.ndarray) -> float:
    """||got - truth|| / ||truth||, in fp64; infinite where the shapes differ or a value is not finite."""
    ours = np.asarray(got, dtype=np.float64)
    if ours.shape != truth.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.linalg.norm(ours - truth) / np.linalg.norm(truth.astype(np.float64)))


def equal(name: str, same: bool) -> Check:
    """A check of something that must be the same to the last digit."""
    return Check(name, 0.0 if same else 1.0)


def filled(make: Callable[[], nn.Module], name: str, salt: str, prefix: str = "") -> Any:
    """A network in evaluation mode with the rule's weights, without drawing any others first."""
    with torch.device("meta"):
        network = make()
    network = network.to_empty(device="cpu")
    for part in network.modules():
        if isinstance(part, (PositionTable, WhisperEncoder)):
            part.reset_table()
    fill_network(network, name, salt, prefix)
    return network.eval().requires_grad_(False)


@contextlib.contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions by matrix products in place of oneDNN's and NNPACK's own.

    Where a CPU lacks AVX-512, oneDNN adds all 11,520 products of a 3x3 convolution over 1280 channels in one fp32
    sum: 1.7e-6 relative error on a Zen 3, 2.6e-7 with matrix products. Without oneDNN, PyTorch gives batches of 16
    and more to NNPACK, whose Winograd transforms lose more yet: 4.6e-6, which guidance made 2.8e-5 of a velocity.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
            yield


@torch.inference_mode()
def network_checks(
    fixtures: Fixtures, cases: Sequence[str], pipeline: Sequence[str], kernels: Sequence[str] = ()
) -> Iterator[Check]:
    """Face locator, ReferenceNet's banks, denoiser and sampling loops.

    Args:
        fixtures: of one salt.
        cases: names of the cases to run.
        pipeline: sampling loops to run: "acc", "normal".
        kernels: cases, out of those, that both UNets also run in the Triton kernels, norms and all attention.
    """
    cfg, salt = preset(PRESET).unet, fixtures.salt
    chosen = [fixtures.cases[name] for name in cases]
    truth = fixtures.arrays("parity")
    clip = Clip(fixtures) if pipeline else None
    locator = filled(lambda: FaceLocator(cfg.channels[0]), "face_locator", salt)
    faces = {case.name: locator(case.mask()) for case in chosen}
    if clip is not None:
        clip.face = locator(clip.mask())
    for name, face in faces.items():
        yield _face_check(name, face, truth)
    reference_net = filled(lambda: ReferenceNet(cfg), "reference_unet", salt)
    banks = {case.name: reference_net.read_reference(case.reference(salt)) for case in chosen}
    if clip is not None:
        clip.banks = reference_net.read_reference(clip.reference)
    interpreted = [case for case in chosen if case.name in kernels]
    with _in_kernels(reference_net):
        kernel_banks = {case.name: reference_net.read_reference(case.reference(salt)) for case in interpreted}
    names = [n.removesuffix(".transformer_blocks.0") for n in transformer_names(reference_net)]
    del reference_net
    gc.collect()
    for case in chosen:
        yield from _bank_checks(case.name, names, banks[case.name], truth)
    for case in interpreted:
        for check in _bank_checks(case.name, names, kernel_banks[case.name], truth):
            yield replace(check, name=f"{check.name} through the kernels")
    denoiser = filled(lambda: Denoiser(cfg), "denoising_unet", salt)
    for case in chosen:
        out = denoise(denoiser, case, salt, faces[case.name], banks[case.name])
        yield Check(f"{case.name}: denoiser", relative_l2(out.transpose(1, 2), truth[f"{case.name}/out"]))
    for case in interpreted:
        with _in_kernels(denoiser):
            out = denoise(denoiser, case, salt, faces[case.name], kernel_banks[case.name])
        error = relative_l2(out.transpose(1, 2), truth[f"{case.name}/out"])
        yield Check(f"{case.name}: denoiser through the kernels", error)
    if clip is not None:
        for run in pipeline:
            yield from clip.checks(denoiser, run)


@contextlib.contextmanager
def _in_kernels(network: nn.Module) -> Iterator[None]:
    """Within: a network runs its Triton kernels, in as few programs as they can be cut into."""
    choose_kernels(network, "triton")
    try:
        with tile_coarsely():
            yield
    finally:
        choose_kernels(network, "auto")


def denoise(denoiser: Denoiser, case: Case, salt: str, face: Tensor, banks: tuple[Tensor, ...]) -> Tensor:
    """The case's one call; with guidance the first row sees neither sound, face nor reference."""
    x, audio, kv = case.latents(salt), case.audio(salt), denoiser.reference_kv(banks)
    keep = None
    if case.guided:
        x = x.repeat(2, 1, 1, 1, 1)
        audio, face = (torch.cat((torch.zeros_like(part), part)) for part in (audio, face))
        kv = tuple(part.repeat(2, 1, 1) for part in kv)
        keep = torch.tensor([False, True])
    t = torch.full((len(x),), float(case.timestep))
    out: Tensor = denoiser(x, t, Conditions(audio, face, kv, keep_reference=keep))
    return out


class Clip:
    """The clip of the sampling loops: 14 frames in the shipped fixtures."""

    face: Tensor
    banks: tuple[Tensor, ...]

    def __init__(self, fixtures: Fixtures) -> None:
        self.truth = fixtures.arrays("pipeline")
        about = fixtures.read_json("pipeline")
        self.runs, salt = about["runs"], fixtures.salt
        _, _, channels, self.frames, self.rows, self.columns = self.truth[
            f"pipe/{next(iter(self.runs))}/v"
        ].shape
        shape = (1, channels, self.frames, self.rows, self.columns)
        self.noise = case_input("P", "latents", salt, shape).transpose(1, 2)
        self.audio = case_input("P", "audio", salt, (self.frames, 50, 384)).unsqueeze(0)
        picture = np.rint(127.5 + 60 * draw("input/P/ref_image", salt, (8 * self.rows, 8 * self.columns, 3)))
        pixels = torch.from_numpy(np.clip(picture, 0, 255).astype(np.uint8)).permute(2, 0, 1)[None]
        vae = filled(lambda: SDVAE(preset(PRESET).vae), "vae", salt)
        self.reference = vae.encode(pixels.float() / 255)
        self.reference_error = relative_l2(self.reference, self.truth["pipe/ref_image_latents"])

    def mask(self) -> Tensor:
        return face_mask(8 * self.rows, 8 * self.columns)

    def checks(self, denoiser: Denoiser, run: str) -> Iterator[Check]:
        """Velocity and latents of every step of one sampling loop."""
        yield Check(f"loop {run}: reference latents", self.reference_error)
        asked, kv = self.runs[run], denoiser.reference_kv(self.banks)
        steps = list(
            draw_clip(denoiser, self.noise, self.audio, self.face, kv, asked["steps"], asked["guidance"])
        )
        same = [step.timestep for step in steps] == self.truth[f"pipe/{run}/timesteps"].tolist()
        yield equal(f"loop {run}: timesteps", same)
        for index, step in enumerate(steps):
            for what in ("v", "latents"):
                error = relative_l2(
                    getattr(step, what).transpose(1, 2), self.truth[f"pipe/{run}/{what}"][index]
                )
                yield Check(f"loop {run}: {what} of step {index + 1}", error)


def transformer_names(network: nn.Module) -> list[str]:
    """Names of the spatial blocks in the order of the data, as the fixtures name the banks."""
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    found = [n for n, _ in network.named_modules() if n.endswith(".transformer_blocks.0")]
    return sorted((n for n in found if ".attentions." in n), key=lambda n: order[n.split(".")[0]])


def _face_check(name: str, face: Tensor, truth: Mapping[str, np.ndarray]) -> Check:
    whole = face.unsqueeze(2)  # (1, C, 1, h, w)
    if f"{name}/face_out" in truth:
        return Check(f"{name}: face locator", relative_l2(whole, truth[f"{name}/face_out"]))
    _, channels, _, rows, columns = whole.shape
    probe = whole[:, :: max(1, channels // 32), :2, :: max(1, rows // 4), :: max(1, columns // 4)]
    return Check(f"{name}: face locator", relative_l2(probe, truth[f"{name}/face_probe"]))


def _bank_checks(
    case: str, names: Sequence[str], banks: Sequence[Tensor], truth: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    for name, bank in zip(names, banks, strict=True):
        _, length, width = bank.shape
        part = bank[0, :: max(1, length // 8), :: max(1, width // 40)]
        error = relative_l2(part, truth[f"{case}/bank/{name}/slice"])
        norm = float(truth[f"{case}/bank/{name}/stats"][3])
        whole = (
            abs(float(bank.double().norm()) - norm) / norm
        )  # the slice is a part; the norm is of all of it
        yield Check(f"{case}: bank {name}", max(error, whole))

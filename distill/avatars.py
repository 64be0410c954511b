"""`fada avatars`: draw the bundled avatars, and contact sheets of any characters.

In: the chosen seeds below (or a split for a sheet); out: `NAME.png` (reference with its mouth closed: a person
512x512, a drawn character 256x256), `NAME.thumb.png` (96x96) and `index.json` in the avatars folder, a PNG sheet
where asked for. The shipped networks have seen none of them in training: people have seeds beyond those that are
rendered for it, drawn characters are from the validation split.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from distill.corpus.drawn import Character, render, sample_identities
from distill.corpus.drawn.identity import SPLITS
from distill.corpus.heads import Head, Kit, make_clip
from kernels.machine import ROOT
from models.face import EXPRESSION_DIMS, MOUTH_DIMS

SUMMARY = "draw the bundled avatars, or a contact sheet of characters"

DEFAULT_FOLDER: Final = ROOT / "avatars"
AVATAR_SPLIT: Final = "val"
THUMBNAIL_PX: Final = 96
PERSON_PX: Final = 512


@dataclass(frozen=True, slots=True)
class Avatar:
    """One bundled face: its id and file name, the name shown, its seed and a line about it."""

    id: str
    name: str
    seed: int
    about: str

    def __post_init__(self) -> None:
        if not self.id.isidentifier() or not self.id.islower():
            raise ValueError(f"Expected an avatar id of small letters, got {self.id!r}; rename it.")


PEOPLE: Final = (
    Avatar("lena", "Lena", 1_000_010, "Long fair hair, calm light."),
    Avatar("samuel", "Samuel", 1_000_005, "Short hair, window light."),
    Avatar("ingrid", "Ingrid", 1_000_041, "Silver bob, bright eyes."),
    Avatar("amara", "Amara", 1_000_042, "Big natural curls."),
    Avatar("marco", "Marco", 1_000_047, "Stubble and a dark jacket."),
    Avatar("ruth", "Ruth", 1_000_027, "Square glasses, red lipstick."),
)
"""Rendered heads of people who do not exist (`distill.corpus.heads`)."""
AVATARS: Final = (
    Avatar("mira", "Mira", 37, "Brown bob, green eyes, always up for a chat."),
    Avatar("tomo", "Tomo", 15, "Round glasses and a red hoodie."),
    Avatar("zuri", "Zuri", 31, "Long violet waves and a warm hood."),
    Avatar("kofi", "Kofi", 46, "Big curls, gold glasses."),
    Avatar("freya", "Freya", 41, "Red top bun and rosy cheeks."),
    Avatar("ernesto", "Ernesto", 57, "Silver hair and a goatee."),
    Avatar("suki", "Suki", 28, "A bright blue bob, drawn in ink."),
    Avatar("noor", "Noor", 44, "Dark waves and thin gold frames."),
    Avatar("robin", "Robin", 26, "Chestnut curls and clear eyes."),
    Avatar("greta", "Greta", 56, "Silver bun, golden spectacles."),
)

_MOMENTS: Final = (
    # mouth channels, then expression channels
    ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    ((0.35, 0.0, 0.0, 0.6, 0.0, 0.0), (0.0, 0.3, 0.1, 0.1)),
    ((0.7, 0.1, 0.0, 0.5, 0.2, 0.0), (0.0, 0.0, 0.0, 0.5)),
    ((1.0, 0.0, 0.0, 0.5, 0.0, 0.0), (0.0, -0.6, 0.0, 1.0)),
    ((0.35, 1.0, 0.0, 1.0, 0.2, 0.0), (0.3, 0.0, 0.0, 0.3)),
    ((0.25, -0.5, 1.0, 0.0, 0.0, 0.0), (0.0, 0.6, 0.3, 0.0)),
    ((0.08, 0.0, 0.0, 1.0, 0.0, 1.0), (0.0, 0.0, -0.5, -0.6)),
    ((0.0, 0.5, 0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fada avatars`."""
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="folder of the avatars"
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="write only a PNG contact sheet with eight moments each"
    )
    parser.add_argument(
        "--split", choices=SPLITS, help="draw the sheet of this split's characters, not of the avatars"
    )
    parser.add_argument(
        "--count", type=int, default=10, metavar="N", help="characters of the split on the sheet (10)"
    )
    parser.add_argument(
        "--first-seed", type=int, default=0, metavar="S", help="seed of the sheet's first character (0)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was made as JSON")


def run(args: argparse.Namespace) -> int:
    """Draw the avatars or a sheet; returns the exit code."""
    if args.count < 1:
        raise ValueError(f"Expected --count of at least 1, got {args.count}; ask for one character or more.")
    if args.sheet is not None:
        split, seeds = _sheet_seeds(args.split, args.count, args.first_seed)
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(split, seeds).save(args.sheet)
        made = {"sheet": str(args.sheet), "split": split, "seeds": seeds}
    else:
        write_avatars(args.out)
        people, seeds = ([avatar.seed for avatar in faces] for faces in (PEOPLE, AVATARS))
        made = {"folder": str(args.out), "people": people, "split": AVATAR_SPLIT, "seeds": seeds}
    if args.json is not None:
        args.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return 0


def _sheet_seeds(split: str | None, count: int, first: int) -> tuple[str, list[int]]:
    if split is None:
        return AVATAR_SPLIT, [avatar.seed for avatar in AVATARS]
    return split, list(range(first, first + count))


def write_avatars(folder: Path) -> None:
    """Draw every avatar into ``folder`` with its thumbnail, and the index.

    Raises:
        PackageError: the packages that people are made of cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index, kit = [], Kit()
    for avatar in tqdm((*PEOPLE, *AVATARS), desc="avatars", unit="picture"):
        image = photographed(avatar, kit) if avatar in PEOPLE else drawn(avatar)
        image.save(folder / f"{avatar.id}.png", optimize=True)
        thumbnail = image.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
        thumbnail.save(folder / f"{avatar.id}.thumb.png", optimize=True)
        entry = {"id": avatar.id, "name": avatar.name, "image": f"{avatar.id}.png"}
        index.append(entry | {"thumbnail": f"{avatar.id}.thumb.png", "about": avatar.about})
    (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def drawn(avatar: Avatar) -> Image.Image:
    """The picture of a drawn character."""
    who = sample_identities([avatar.seed], AVATAR_SPLIT)
    return to_image(render(who, torch.zeros(1, len(MOUTH_DIMS)), torch.zeros(1, len(EXPRESSION_DIMS)))[0])


def photographed(avatar: Avatar, kit: Kit) -> Image.Image:
    """The portrait of a rendered person: seen from the front by a good camera, the trace of a smile."""
    traits = kit.traits(avatar.seed)
    camera = replace(
        traits.camera,
        yaw=0.35 * traits.camera.yaw,
        pitch=0.35 * traits.camera.pitch,
        roll=0.3 * traits.camera.roll,
        distance=max(traits.camera.distance, 9.0),
        off_x=0.0, off_y=0.0, off_scale=0.0,
        exposure=0.5, contrast=1.05, sharpening=0.35, noise=0.0, blur_px=0.0, vignette=0.05,
    )  # fmt: skip
    head = Head(replace(traits, camera=camera, weight=0.5 * traits.weight), kit, PERSON_PX)
    nothing = torch.zeros(1, len(MOUTH_DIMS)), torch.zeros(1, len(EXPRESSION_DIMS))
    state = torch.zeros(len(MOUTH_DIMS) + len(EXPRESSION_DIMS) + 1)
    state[-2:] = torch.tensor((0.35, 0.3))  # brows lifted, and the smile
    return Image.fromarray(make_clip(head, *nothing, reference=state).reference.numpy())


def draw_sheet(split: str, seeds: list[int]) -> Image.Image:
    """One row for each character, one column for each of eight moments of mouth and eyes."""
    mouth = torch.tensor([m for m, _ in _MOMENTS]).unsqueeze(0)
    expression = torch.tensor([e for _, e in _MOMENTS]).unsqueeze(0)
    rows = []
    for seed in tqdm(seeds, desc="sheet", unit="character"):
        frames = Character(sample_identities([seed], split)).frames(mouth, expression)[0]
        rows.append(torch.cat(list(frames), dim=2))
    return to_image(torch.cat(rows, dim=1))


def to_image(picture: Tensor) -> Image.Image:
    """Turn (3, H, W) in [0, 1] into an 8-bit RGB image."""
    pixels = (picture.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy()))

"""Who is rendered: everything about a head that can be said in a few numbers, drawn from a seed.

In: a seed and a split. Out: `Traits`, the same on every machine. Splits share no seed, no skin, no hair style and
no kind of light: what a model has seen in training it does not see again in validation or test. Colours are
linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from distill.corpus.heads.photo import Camera, Light, draw_camera, draw_light

Floats = npt.NDArray[np.float32]

SPLITS: Final = ("train", "val", "test")

HELD_OUT_SKINS: Final = {
    "val": (
        "middleage_lightskinned_female_diffuse2",
        "middleage_lightskinned_male_diffuse2",
        "old_darkskinned_female_diffuse",
        "old_darkskinned_male_diffuse",
    ),
    "test": (
        "young_lightskinned_female_diffuse2",
        "young_lightskinned_male_diffuse2",
        "middleage_darkskinned_female_diffuse",
        "middleage_darkskinned_male_diffuse",
    ),
}
_HAIR: Final = {  # split -> (of women, of men)
    "train": (
        ("bob01", "long01", "ponytail01", "afro01", "cropped"),
        ("short01", "short04", "afro01", "cropped"),
    ),
    "val": (("Braid01", "cropped"), ("short02", "cropped")),
    "test": (("bob02", "cropped"), ("short03", "cropped")),
}
_HAIR_COLOURS: Final = {
    "black": (0.007, 0.006, 0.0055), "dark": (0.022, 0.015, 0.011), "brown": (0.070, 0.040, 0.024),
    "chestnut": (0.110, 0.054, 0.029), "auburn": (0.17, 0.065, 0.025), "fair": (0.23, 0.15, 0.08),
    "blond": (0.40, 0.28, 0.155), "grey": (0.26, 0.25, 0.24), "white": (0.52, 0.50, 0.47),
}  # fmt: skip
BEARDS: Final = ("", "full", "goatee", "moustache", "chin")


@dataclass(frozen=True, slots=True)
class Traits:
    """One person, dressed, lit and photographed."""

    seed: int
    split: str
    gender: float  # 0 female .. 1 male
    age: float  # 0 young adult .. 1 old
    child: float  # 0 adult .. 1 child
    ancestry: tuple[float, float, float]  # African, Asian, Caucasian; sums to 1
    weight: float
    muscle: float
    skins: tuple[str, str]  # blended
    skin_share: float
    dark: bool
    hair: str  # a style, "cropped" (grown in layers) or "" (bald)
    hair_colour: Floats
    beard: str
    stubble: float
    glasses: bool
    make_up: float  # 0 none .. 1 full
    clothes: str
    teeth: str
    brow: int
    lash: int
    iris: Floats
    light: Light
    camera: Camera

    @property
    def male(self) -> bool:
        """Whether hair, clothes and beard are a man's."""
        return self.gender > 0.5

    def random(self, purpose: int) -> np.random.Generator:
        """A stream of numbers of one's own for each purpose, so that changing one part changes no other."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), 1409, purpose])


def draw_traits(seed: int, split: str = "train", skins: tuple[str, ...] = ()) -> Traits:
    """The person number ``seed`` of ``split``; ``skins`` are the names of all skins there are.

    Raises:
        ValueError: for an unknown split or a negative seed.
    """
    rng = _stream(seed, split)
    gender, age, child = _sex_and_age(rng)
    african, asian, caucasian = rng.dirichlet([0.35, 0.35, 0.45]).tolist()
    male, dark = gender > 0.5, bool(rng.random() < african)
    skin_pair = _skin_pair(rng, split, skins, male, age, dark)
    hair_colour = _hair_colour(rng, age, 0.0 if dark else caucasian)
    hair = _hair_style(rng, split, male, african, age)
    beard, stubble = _beard(rng, male and not child and gender > 0.6)
    return Traits(
        seed=seed,
        split=split,
        gender=gender,
        age=age,
        child=child,
        ancestry=(african, asian, caucasian),
        weight=float(np.clip(rng.normal(0.0, 0.35), -0.8, 0.9)),
        muscle=float(np.clip(rng.normal(0.0, 0.35), -0.9, 0.9)),
        skins=skin_pair,
        skin_share=float(rng.uniform(0.55, 1.0)),
        dark=dark,
        hair=hair,
        hair_colour=hair_colour,
        beard=beard,
        stubble=stubble,
        glasses=bool(rng.random() < 0.15),
        make_up=0.0 if male or child else float(np.clip(rng.normal(0.35, 0.35), 0.0, 1.0)),
        clothes=_clothes(rng, male),
        teeth=str(rng.choice(("Teeth_Base", *(f"Teeth_Shape0{k}" for k in range(1, 6))))),
        brow=int(rng.integers(1, 13)),
        lash=int(rng.integers(1, 5)),
        iris=_iris(rng, dark or rng.random() > caucasian),
        light=draw_light(rng, split),
        camera=draw_camera(rng),
    )


def _stream(seed: int, split: str) -> np.random.Generator:
    """The numbers that a person's traits are drawn from."""
    if split not in SPLITS:
        raise ValueError(f"Expected a split of {SPLITS}, got {split!r}.")
    if seed < 0:
        raise ValueError(f"Expected a seed of 0 or more, got {seed}.")
    return np.random.default_rng([seed, SPLITS.index(split), 1409, 0])


def _sex_and_age(rng: np.random.Generator) -> tuple[float, float, float]:
    """Gender, age and childhood as `Traits` has them."""
    gender = float(np.clip(rng.beta(0.3, 0.3), 0.03, 0.97))
    age = float(np.clip(rng.beta(0.8, 2.2) * 0.95, 0.0, 0.85))
    child = float(rng.uniform(0.1, 0.5)) if rng.random() < 0.06 else 0.0
    return gender, 0.0 if child else age, child


def _hair_style(rng: np.random.Generator, split: str, male: bool, african: float, age: float) -> str:
    """A style of the split that goes with the person; some men are bald."""
    hair = str(rng.choice(_HAIR[split][int(male)]))
    if hair == "afro01" and african < 0.3:
        hair = "cropped" if male else _HAIR[split][0][0]
    if hair == "cropped" and not male and rng.random() < 0.6 and african < 0.5:
        hair = _HAIR[split][0][0]
    return "" if male and rng.random() < 0.05 + 0.22 * age else hair


def _beard(rng: np.random.Generator, bearded: bool) -> tuple[str, float]:
    """A beard's shape and how dark the stubble is."""
    if not bearded:
        return "", 0.0
    beard = str(rng.choice(BEARDS, p=(0.70, 0.17, 0.05, 0.05, 0.03)))
    return beard, float(np.clip(rng.normal(0.22, 0.28), 0.0, 0.75))


def _skin_pair(
    rng: np.random.Generator, split: str, names: tuple[str, ...], male: bool, age: float, dark: bool
) -> tuple[str, str]:
    """Two skins of the split to blend: the first of the person's sex and age where there is one."""
    held = {name for group in HELD_OUT_SKINS.values() for name in group}
    pool = HELD_OUT_SKINS[split] if split in HELD_OUT_SKINS else [n for n in names if n not in held]
    tone = "dark" if dark else "light"
    sex = "_male_" if male else "_female_"
    stage = "old" if age > 0.55 else "middleage" if age > 0.25 else "young"
    toned = [name for name in pool if f"_{tone}" in name]
    sexed = [name for name in toned if sex in name]
    aged = [name for name in sexed if name.startswith(stage)]
    return str(rng.choice(aged or sexed or ["none"])), str(rng.choice(sexed or ["none"]))


def _hair_colour(rng: np.random.Generator, age: float, caucasian: float) -> Floats:
    if age > 0.5 and rng.random() < 0.75:
        name = rng.choice(("grey", "white", "grey", "brown"))
    elif rng.random() < caucasian:
        names = ("black", "dark", "brown", "chestnut", "auburn", "fair", "blond")
        name = rng.choice(names, p=(0.08, 0.2, 0.26, 0.14, 0.06, 0.14, 0.12))
    else:
        name = rng.choice(("black", "dark", "brown"), p=(0.6, 0.3, 0.1))
    tint = np.array([1.0, rng.uniform(0.94, 1.04), rng.uniform(0.9, 1.08)])
    return (np.array(_HAIR_COLOURS[str(name)]) * rng.uniform(0.75, 1.3) * tint).astype(np.float32)


def _clothes(rng: np.random.Generator, male: bool) -> str:
    if male:
        names = [f"male_casualsuit0{k}" for k in (1, 2, 4, 5, 6)] + ["male_elegantsuit01", "male_worksuit01"]
    else:
        names = ["female_casualsuit01", "female_casualsuit02", "female_sportsuit01", "female_elegantsuit01"]
        names += ["male_casualsuit01", "male_casualsuit04"]  # plain shirts
    return str(rng.choice(names))


def _iris(rng: np.random.Generator, brown: bool) -> Floats:
    """Colour of the iris: brown, or one of green, grey, hazel, blue."""
    if brown or rng.random() < 0.35:
        base = np.array([0.11, 0.050, 0.018]) * rng.uniform(0.35, 1.3)
    else:
        kinds = ((0.10, 0.13, 0.06), (0.16, 0.19, 0.20), (0.17, 0.11, 0.04), (0.11, 0.18, 0.27))
        base = np.array(kinds[int(rng.integers(4))]) * rng.uniform(0.7, 1.3)
    return (base * rng.uniform(0.9, 1.1, 3)).astype(np.float32)

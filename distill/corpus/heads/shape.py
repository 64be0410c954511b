"""The bones and flesh of a head: MakeHuman's shape targets, mixed by a person's traits.

In: `Traits` and `Assets`. Out: vertices (19158, 3) of a face at rest. Sizes of single features are drawn narrowly
and both sides nearly alike: most people look plain, which sheets of wilder draws do not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from distill.corpus.heads.assets import Assets
from distill.corpus.heads.traits import Traits

_OPPOSITES: Final = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"),
)  # fmt: skip
_SPREAD: Final = {
    "mouth": 0.20, "cheek": 0.20, "chin": 0.19, "eyes": 0.16, "eyebrows": 0.16, "forehead": 0.16,
    "head": 0.14, "nose": 0.20, "neck": 0.10, "ears": 0.20,
}  # fmt: skip
_LIMIT: Final = 0.5
_DAMPED: Final = {
    "head-scale": 0.5, "head-trans": 0.4, "eye-trans": 0.7, "eye-scale": 0.8, "lowerlip-middle": 0.4,
    "upperlip-middle": 0.4, "lip-ext": 0.4, "mouth-trans": 0.6, "nose-trans": 0.6, "prognathism": 0.6,
    "ear-wing": 0.6, "eyebrows-trans": 0.6, "angles": 0.7,
}  # fmt: skip
_LEFT_OUT: Final = ("head-age", "measure", "head-trans-in", "mouth-trans-in", "nose-trans-in", "neck-trans")


def paired_targets(names: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Names of targets as (less, more) of one feature, and those without an opposite."""
    known, pairs, single = set(names), [], []
    for name in names:
        for less, more in _OPPOSITES:
            if name.endswith(f"-{less}") and name.removesuffix(less) + more in known:
                pairs.append((name, name.removesuffix(less) + more))
                break
            if name.endswith(f"-{more}") and name.removesuffix(more) + less in known:
                break
        else:
            single.append(name)
    return pairs, single


def face_at_rest(traits: Traits, assets: Assets) -> Tensor:
    """Vertices (19158, 3) of the person, without expression."""
    vertices = assets.base.clone()
    for name, weight in _macro_weights(traits).items():
        if weight > 0.01:
            assets.targets[name].add_to(vertices, weight)
    rng = traits.random(1)
    names = [name for name in assets.targets if name.split("/")[0] in _SPREAD]
    pairs, single = paired_targets(names)
    drawn: dict[str, float] = {}
    for less, more in pairs:
        folder, feature = less.split("/")
        if any(word in less for word in _LEFT_OUT):
            continue
        sided = feature[:2] in ("l-", "r-")
        key = feature[2:] if sided else feature
        if key not in drawn:
            drawn[key] = float(np.clip(rng.normal(0, _SPREAD[folder]), -_LIMIT, _LIMIT)) * _damping(key)
        weight = drawn[key]
        if sided:
            weight = weight * (1 + 0.08 * float(rng.normal())) + 0.02 * float(rng.normal())
        if "eyebrows-angle" in key:
            weight = 0.25 + 0.4 * weight  # angled down they look angry
        assets.targets[more if weight > 0 else less].add_to(vertices, abs(weight))
    for name in single:
        rare = 0.08 if name.startswith("ears") else 0.18
        if "pointed" not in name and rng.random() < rare:
            assets.targets[name].add_to(vertices, float(rng.uniform(0.05, 0.35)))
    _make_uneven(vertices, assets, rng)
    return vertices


def _damping(feature: str) -> float:
    return next((factor for word, factor in _DAMPED.items() if word in feature), 1.0)


def _make_uneven(vertices: Tensor, assets: Assets, rng: np.random.Generator) -> None:
    """No face is the same on both sides."""
    for name in assets.targets:
        if name.startswith("asym/asym-") and name.endswith("-l"):
            weight = float(np.clip(rng.normal(0, 0.09), -0.2, 0.2))
            side = name if weight > 0 else name[:-1] + "r"
            if side in assets.targets:
                assets.targets[side].add_to(vertices, abs(weight))


def _macro_weights(traits: Traits) -> dict[str, float]:
    """Weights of the targets for age, sex, ancestry, weight and muscle."""
    ages = {"young": 1 - traits.age, "old": traits.age}
    if traits.child:
        ages = {"young": 1 - traits.child, "child": traits.child}
    sexes = {"female": 1 - traits.gender, "male": traits.gender}
    weights: dict[str, float] = {}
    for origin, share in zip(("african", "asian", "caucasian"), traits.ancestry, strict=True):
        for sex, of_sex in sexes.items():
            for age, of_age in ages.items():
                weights[f"macro/{origin}-{sex}-{age}"] = share * of_sex * of_age
    for sex, of_sex in sexes.items():
        for age, of_age in ages.items():
            for flesh, of_flesh in _three_way(traits.muscle, "muscle").items():
                for fat, of_fat in _three_way(traits.weight, "weight").items():
                    name = f"macro/universal-{sex}-{age}-{flesh}-{fat}"
                    weights[name] = of_sex * of_age * of_flesh * of_fat
    return weights


def _three_way(value: float, noun: str) -> dict[str, float]:
    """Shares of average, most and least for a value in -1..1."""
    return {
        f"average{noun}": 1 - abs(value),
        f"max{noun}": max(0.0, value),
        f"min{noun}": max(0.0, -value),
    }


def blink_gain(rest_gap: Tensor, closed_gap: Tensor) -> float:
    """How much of the lids' unit closes the eyes of this face: 0.8 .. 1.5."""
    moved = float(rest_gap - closed_gap)
    return float(torch.tensor(float(rest_gap) / moved).clamp(0.8, 1.5)) if moved > 1e-4 else 1.0

"""Which voices speak for which split. In: nothing but the tables below. Out: frozen lists of `Voice`.

Held out for validation and test are espeak-ng variants, whole languages, and one flite speaker each: a
validation or test clip is spoken by a voice that no training clip has used.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaking voice: engine, its name there, the language, and the split that owns it."""

    engine: str
    name: str
    language: str
    split: str


_LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "train": (
        "en-us", "en-us", "en", "en-gb-x-rp", "en-gb-scotland", "de", "fr", "es", "es-419", "it", "pl", "tr",
        "pt-br", "fi",
    ),
    "validation": ("en-us", "en", "de", "fr", "sv"),
    "test": ("en-us", "en", "es", "it", "nl"),
}  # fmt: skip
_VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "train": (
        "m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "klatt", "klatt2", "klatt3", "Alex",
        "Alicia", "Annie", "Denis", "Diogo", "Gene", "Jacky", "Lee", "Marco", "Michael", "Mike", "Storm",
        "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "edward",
        "grandma", "gustave", "iven", "john", "linda", "max", "michel", "paul", "pedro", "quincy", "rob",
        "sandro", "shelby", "steph", "travis", "victor",
    ),
    "validation": ("m5", "f4", "Andrea", "Gene2", "miguel", "grandpa", "klatt4"),
    "test": ("m8", "f5", "Henrique", "Mario", "robert", "steph2", "ed"),
}  # fmt: skip
_ENGLISH: Final = (
    ("flite", "slt", "train"),
    ("flite", "rms", "train"),
    ("festival", "kal_diphone", "train"),
    ("festival", "cmu_us_slt_arctic_hts", "train"),
    ("flite", "kal16", "validation"),
    ("flite", "awb", "test"),
)


@functools.cache
def voices_of(split: str, engine: str) -> tuple[Voice, ...]:
    """Return the split's voices of one engine; empty where the split has none of it.

    Raises:
        ValueError: unknown split.
    """
    if split not in _VARIANTS:
        raise ValueError(f"Expected a split of {tuple(_VARIANTS)}, got {split!r}.")
    if engine == "espeak":
        return tuple(
            Voice("espeak", f"{language}+{variant}", language, split)
            for language in _LANGUAGES[split]
            for variant in _VARIANTS[split]
        )
    return tuple(Voice(e, name, "en-us", split) for e, name, s in _ENGLISH if e == engine and s == split)

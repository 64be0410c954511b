"""Phones to mouth shapes: every engine's symbols become targets of the six `MOUTH_DIMS`.

In: a phone symbol: IPA (espeak-ng) or ARPAbet (flite, festival). Out: one or more `Viseme` parts, each with
its share of the phone's time (a diphthong or affricate has two). Pure tables and functions.

Source: the target values are our own, ordered by vowel height and rounding as in the IPA chart; dominance
follows Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993).
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import Final

PAUSE: Final = "_"
"""The symbol of silence in every phone list of this project."""

Six = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Viseme:
    """One mouth target.

    Attributes:
        target: open, width, round, teeth, tongue, tuck.
        dominance: how strongly each of the six is insisted on against neighbours, 0..1.
        open_cap: the opening that may not be exceeded while the sound lasts (0 = lips closed, 1 = free).
        tuck_floor: the tuck that must be reached while the sound lasts.
        vowel: whether loudness scales the opening.
    """

    target: Six
    dominance: Six
    open_cap: float = 1.0
    tuck_floor: float = 0.0
    vowel: bool = False

    def __post_init__(self) -> None:
        low = (0.0, -1.0, 0.0, 0.0, 0.0, 0.0)
        if not all(a <= value <= 1.0 for a, value in zip(low, self.target, strict=True)):
            raise ValueError(f"A viseme target must lie in the range of MOUTH_DIMS, got {self.target}.")
        if not all(0.0 <= value <= 1.0 for value in self.dominance):
            raise ValueError(f"Dominance must lie in 0..1, got {self.dominance}.")


def _vowel(opening: float, width: float, rounding: float, teeth: float) -> Viseme:
    strength = 0.9 if rounding > 0.4 else 0.6
    return Viseme(
        (opening, width, rounding, teeth, 0.05, 0.0), (1.0, 0.8, strength, 0.6, 0.3, 0.5), 1.0, 0.0, True
    )


REST: Final = Viseme((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.8, 0.6, 0.6, 0.6, 0.6, 0.6))

_LIPS: Final = Viseme((0.0, 0.0, 0.05, 0.0, 0.0, 0.0), (1.0, 0.35, 0.25, 0.9, 0.5, 0.7), 0.0)
_LABIODENTAL: Final = Viseme((0.14, 0.1, 0.0, 0.85, 0.0, 1.0), (0.95, 0.4, 0.4, 0.9, 0.6, 1.0), 0.24, 0.95)
_DENTAL: Final = Viseme((0.3, 0.1, 0.0, 0.6, 1.0, 0.0), (0.6, 0.3, 0.3, 0.7, 1.0, 0.7), 0.5)
_ALVEOLAR: Final = Viseme((0.24, 0.1, 0.0, 0.55, 0.6, 0.0), (0.5, 0.25, 0.15, 0.6, 0.8, 0.6), 0.6)
_LATERAL: Final = Viseme((0.34, 0.05, 0.0, 0.45, 0.9, 0.0), (0.5, 0.2, 0.15, 0.5, 0.95, 0.6))
_SIBILANT: Final = Viseme((0.16, 0.35, 0.0, 0.95, 0.15, 0.0), (0.85, 0.5, 0.3, 0.95, 0.5, 0.7), 0.34)
_POSTALVEOLAR: Final = Viseme((0.2, -0.35, 0.7, 0.85, 0.1, 0.0), (0.8, 0.6, 0.75, 0.9, 0.4, 0.7), 0.4)
_PALATAL: Final = Viseme((0.24, 0.5, 0.0, 0.6, 0.1, 0.0), (0.5, 0.5, 0.3, 0.5, 0.4, 0.6), 0.6)
_VELAR: Final = Viseme((0.3, 0.05, 0.0, 0.3, 0.0, 0.0), (0.35, 0.15, 0.1, 0.25, 0.4, 0.6))
_GLOTTAL: Final = Viseme((0.35, 0.0, 0.0, 0.25, 0.0, 0.0), (0.15, 0.08, 0.08, 0.15, 0.3, 0.6))
_GLIDE_W: Final = Viseme((0.14, -0.85, 1.0, 0.05, 0.0, 0.0), (0.9, 0.9, 1.0, 0.7, 0.4, 0.7), 0.32)
_GLIDE_Y: Final = Viseme((0.16, -0.7, 0.95, 0.1, 0.0, 0.0), (0.85, 0.85, 0.95, 0.6, 0.4, 0.7), 0.34)
_RHOTIC: Final = Viseme((0.26, -0.3, 0.5, 0.35, 0.25, 0.0), (0.6, 0.5, 0.55, 0.5, 0.5, 0.6), 0.7)
_TAP: Final = Viseme((0.3, 0.05, 0.0, 0.45, 0.6, 0.0), (0.4, 0.15, 0.1, 0.4, 0.7, 0.6))

_BASE: Final[dict[str, Viseme]] = {
    **dict.fromkeys("pbmɓʙ", _LIPS),
    **dict.fromkeys("fvɱʋⱱ", _LABIODENTAL),
    **dict.fromkeys("ɸβ", Viseme((0.1, 0.0, 0.25, 0.15, 0.0, 0.0), (0.9, 0.4, 0.4, 0.6, 0.5, 0.7), 0.16)),
    **dict.fromkeys("θð", _DENTAL),
    **dict.fromkeys("tdnɗʈɖɳ", _ALVEOLAR),
    **dict.fromkeys("lɫɭɬɮʎʟɺ", _LATERAL),
    **dict.fromkeys("sz", _SIBILANT),
    **dict.fromkeys("ʃʒʂʐ", _POSTALVEOLAR),
    **dict.fromkeys("ɕʑ", Viseme((0.2, 0.1, 0.35, 0.9, 0.1, 0.0), (0.8, 0.5, 0.5, 0.9, 0.4, 0.7), 0.4)),
    **dict.fromkeys("çjʝɲcɟ", _PALATAL),
    **dict.fromkeys("kɡgxɣŋɴqχʁɢʀʛɠɰ", _VELAR),
    **dict.fromkeys("hɦʔħʕʡʜʢɧ", _GLOTTAL),
    **dict.fromkeys("wʍ", _GLIDE_W),
    "ɥ": _GLIDE_Y,
    **dict.fromkeys("ɹɻ", _RHOTIC),
    **dict.fromkeys("ɾrɽ", _TAP),
    # Vowels: opening by height, width by frontness, rounding by the chart.
    "i": _vowel(0.36, 0.85, 0.0, 0.75),
    "ɪ": _vowel(0.42, 0.5, 0.0, 0.6),
    "e": _vowel(0.5, 0.6, 0.0, 0.6),
    "ɛ": _vowel(0.64, 0.42, 0.0, 0.5),
    "æ": _vowel(0.86, 0.5, 0.0, 0.5),
    "a": _vowel(0.94, 0.2, 0.0, 0.4),
    "ɐ": _vowel(0.74, 0.1, 0.0, 0.4),
    "ɑ": _vowel(1.0, -0.05, 0.0, 0.35),
    "ɒ": _vowel(0.82, -0.35, 0.5, 0.2),
    "ʌ": _vowel(0.7, 0.05, 0.0, 0.4),
    "ɔ": _vowel(0.7, -0.45, 0.65, 0.15),
    "o": _vowel(0.54, -0.6, 0.8, 0.1),
    "ɤ": _vowel(0.5, 0.1, 0.0, 0.35),
    "ʊ": _vowel(0.38, -0.45, 0.65, 0.15),
    "u": _vowel(0.28, -0.8, 1.0, 0.05),
    "ɯ": _vowel(0.36, 0.3, 0.0, 0.5),
    **dict.fromkeys("ɨᵻ", _vowel(0.36, 0.35, 0.0, 0.55)),
    "ʉ": _vowel(0.3, -0.65, 0.9, 0.1),
    "ɵ": _vowel(0.44, -0.45, 0.7, 0.15),
    "y": _vowel(0.28, -0.65, 0.95, 0.15),
    "ʏ": _vowel(0.36, -0.5, 0.75, 0.2),
    "ø": _vowel(0.46, -0.5, 0.8, 0.2),
    "œ": _vowel(0.58, -0.35, 0.65, 0.25),
    "ɶ": _vowel(0.8, -0.2, 0.5, 0.3),
    "ə": _vowel(0.44, 0.05, 0.0, 0.4),
    "ɘ": _vowel(0.42, 0.1, 0.0, 0.4),
    "ɜ": _vowel(0.5, -0.1, 0.2, 0.35),
    "ɞ": _vowel(0.56, -0.2, 0.4, 0.3),
    "ɝ": _vowel(0.42, -0.3, 0.45, 0.35),
    "ɚ": _vowel(0.38, -0.25, 0.4, 0.35),
}

ARPABET: Final[dict[str, str]] = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ",
    "b": "b", "ch": "tʃ", "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "əl", "em": "əm", "en": "ən",
    "er": "ɝ", "ey": "eɪ", "f": "f", "g": "ɡ", "hh": "h", "hv": "ɦ", "ih": "ɪ", "iy": "i", "jh": "dʒ",
    "k": "k", "l": "l", "m": "m", "n": "n", "nx": "ɾ", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ", "p": "p",
    "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w",
    "y": "j", "z": "z", "zh": "ʒ", "brth": PAUSE,
}  # fmt: skip

_STOPS: Final = frozenset("ptkbdɡg")
_FRICATIVES: Final = frozenset("szʃʒʂʐɕʑfθçx")
_IGNORED: Final = frozenset("ːˑˈˌʲʰʱˤˠˀ'’`.-_|?!;:,~^*\"#=()·‿͜͡ⁿ&1234567890ᵊ→↑↓↗↘ˡ")


@functools.cache
def visemes_of(symbol: str, engine: str) -> tuple[tuple[Viseme, float], ...]:
    """Return the visemes of one phone with their shares of its time (sum 1).

    Args:
        symbol: IPA where `engine` is "espeak", ARPAbet otherwise; `PAUSE` is silence in both.
        engine: "espeak", "flite" or "festival".

    Raises:
        ValueError: no letter of the symbol is known.
    """
    if symbol == PAUSE:
        return ((REST, 1.0),)
    if engine != "espeak":
        key = symbol.lower().rstrip("0123456789")
        if key not in ARPABET:
            raise ValueError(f"Expected an ARPAbet phone, got {symbol!r}; add it to phones.ARPABET.")
        symbol = ARPABET[key]
        if symbol == PAUSE:
            return ((REST, 1.0),)
    letters = _letters(symbol)
    if not letters:
        raise ValueError(f"Expected an IPA phone, got {symbol!r}; add its letters to phones.py.")
    if len(letters) == 1:
        return ((_BASE[letters[0]], 1.0),)
    return tuple(zip([_BASE[letter] for letter in letters], _shares(letters), strict=True))


def is_known(symbol: str, engine: str) -> bool:
    """Whether every letter of the symbol has a mouth shape (modifiers count as known)."""
    if engine != "espeak":
        return symbol == PAUSE or symbol.lower().rstrip("0123456789") in ARPABET
    if symbol.startswith("("):
        return False
    rest = [letter for letter in _decompose(symbol) if letter not in _BASE and letter not in _IGNORED]
    return symbol == PAUSE or (not rest and bool(_letters(symbol)))


def is_mark(symbol: str) -> bool:
    """Whether an IPA symbol has no sound of its own: lone modifiers, or a change of language as "(en)"."""
    return symbol.startswith("(") or all(letter in _IGNORED for letter in _decompose(symbol))


def _decompose(symbol: str) -> list[str]:
    """Return the symbol's letters without combining marks; ʷ counts as w, ç keeps its cedilla."""
    text = unicodedata.normalize("NFD", symbol.replace("ç", "\0").replace("ʷ", "w"))
    return [
        "ç" if letter == "\0" else letter
        for letter in text
        if unicodedata.category(letter) not in {"Mn", "Cf"} and not letter.isspace()
    ]


def _letters(symbol: str) -> list[str]:
    return [letter for letter in _decompose(symbol) if letter in _BASE]


def _shares(letters: list[str]) -> list[float]:
    """Time shares inside one symbol: a diphthong holds its first vowel, an affricate's stop is short."""
    if len(letters) == 2 and letters[0] in _STOPS and letters[1] in _FRICATIVES:
        return [0.4, 0.6]
    if len(letters) == 2:
        return [0.58, 0.42]
    return [1.0 / len(letters)] * len(letters)

"""Endless varied sentences in several languages, each belonging to exactly one split.

In: a split, a language and a seed. Out: one sentence or two. Words and frames are our own. A text belongs
to a split by a hash of its words, and texts of other splits are drawn again, so splits can never share one.
"""

from __future__ import annotations

import hashlib
import random
from typing import Final

from distill.corpus.speech.words import NAMES, SYLLABLES, WORDS

SPLITS: Final = ("train", "validation", "test")


def split_of(text: str) -> str:
    """Return the split that owns the text: 8 of 10 train, 1 validation, 1 test, by hash of its words."""
    words = " ".join("".join(c for c in text.casefold() if c.isalnum() or c.isspace()).split())
    bucket = hashlib.sha256(words.encode()).digest()[0] % 10
    return "validation" if bucket == 8 else "test" if bucket == 9 else "train"


def draw_text(seed: int, split: str, language: str) -> str:
    """Return a text of the split in the language (its first subtag counts), the same for the same seed.

    Raises:
        ValueError: unknown split or language.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split of {SPLITS}, got {split!r}.")
    base = language.split("-")[0]
    if base not in WORDS:
        raise ValueError(f"Expected a language of {sorted(WORDS)}, got {language!r}.")
    rng = random.Random(f"text/{seed}/{split}/{base}")
    while True:
        text = _sentence(rng, base)
        if split_of(text) == split:
            return text


def _sentence(rng: random.Random, language: str) -> str:
    kind = rng.random()
    if kind < 0.14:
        return _nonsense(rng, language)
    if kind < 0.22:
        return _closures(rng, language)
    clauses = [_clause(rng, language)]
    if rng.random() < 0.28:
        clauses.append(rng.choice(WORDS[language]["and"]) + " " + _clause(rng, language))
    text = ", ".join(clauses) if rng.random() < 0.5 else " ".join(clauses)
    return text[0].upper() + text[1:] + rng.choice(("." * 1, ".", ".", "?", "!"))


def _clause(rng: random.Random, language: str) -> str:
    words = WORDS[language]
    subject = rng.choice(NAMES) if rng.random() < 0.3 else _noun_phrase(rng, language)
    parts = [subject, rng.choice(words["verbs"])]
    if rng.random() < 0.8:
        parts.append(_noun_phrase(rng, language))
    if rng.random() < 0.6:
        parts.append(rng.choice(words["tails"]))
    if rng.random() < 0.25:
        parts.insert(0, rng.choice(words["openers"]) + ("," if rng.random() < 0.5 else ""))
    return " ".join(parts)


def _noun_phrase(rng: random.Random, language: str) -> str:
    words = WORDS[language]
    if rng.random() < 0.12:
        return f"{_number(rng)} {rng.choice(words['nouns']).split()[-1]}"
    noun = rng.choice(words["nouns"])
    if rng.random() < 0.28:
        return f"{noun} {rng.choice(words['links'])} {rng.choice(words['nouns'])}"
    return noun


def _number(rng: random.Random) -> str:
    return str(rng.choice((rng.randint(2, 20), rng.randint(21, 99), rng.randint(100, 2999))))


def _nonsense(rng: random.Random, language: str) -> str:
    """A few invented words of random syllables: sounds in every order, not only the likely ones."""
    onsets, vowels, codas = SYLLABLES.get(language, SYLLABLES["*"])
    words = []
    for _ in range(rng.randint(3, 9)):
        parts = (
            rng.choice(onsets) + rng.choice(vowels) + (rng.choice(codas) if rng.random() < 0.4 else "")
            for _ in range(rng.choices((1, 2, 3), (3, 5, 2))[0])
        )
        words.append("".join(parts))
    return " ".join(words).capitalize() + "."


def _closures(rng: random.Random, language: str) -> str:
    """Syllables of one lip or tongue gesture repeated with changing vowels, as in a warm-up of an actor."""
    _, vowels, _ = SYLLABLES.get(language, SYLLABLES["*"])
    onset = rng.choice(("p", "b", "m", "f", "v", "w", "l", "t", "n", "s"))
    words = [(onset + rng.choice(vowels)) * rng.choice((1, 2)) for _ in range(rng.randint(4, 8))]
    if rng.random() < 0.5:
        words.insert(2, rng.choice(NAMES))
    return " ".join(words).capitalize() + "."

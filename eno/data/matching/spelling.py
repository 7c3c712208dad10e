"""Comparison of the spellings of names."""

from __future__ import annotations

import re
from functools import lru_cache

from rapidfuzz.distance import OSA

_VOWELS = frozenset("aeiou")
_DIGITS = re.compile(r"\d")


@lru_cache(maxsize=1 << 16)
def spelling_similarity(one: str, other: str) -> float:
    """Compare two keys, allowing for misspellings in long ones.

    The result is 1 if they are the same, 0.99 for the same words in another order, 0.92 to 0.96 for one to three
    misspelt letters, else 0.
    """
    if one == other or one.replace(" ", "") == other.replace(" ", ""):
        return 1.0
    if sorted(one.split()) == sorted(other.split()):
        return 0.99
    errors = _errors(one, other)
    return 0.98 - 0.02 * errors if errors else 0.0


def is_misspelt(word: str, other: str) -> bool:
    """Whether two different words differ by few letters, by a plural, or because one is abbreviated ("Yr.")."""
    if word.isdecimal() or other.isdecimal():
        return False
    if word[0] == other[0] and word[-1] == other[-1] and _is_abbreviation(*sorted((word, other), key=len)):
        return True
    if abs(len(word) - len(other)) > 3:
        return False
    plural = len(word) >= 5 and word.rstrip("s") == other.rstrip("s")
    return plural or _errors(word, other) > 0


def _is_abbreviation(shorter: str, longer: str) -> bool:
    """Whether the letters of the shorter word, all of them consonants, are in the longer one in this order."""
    rest = iter(longer)
    return 2 <= len(shorter) < len(longer) and _VOWELS.isdisjoint(shorter) and all(char in rest for char in shorter)


def _errors(one: str, other: str) -> int:
    """Return by how many letters two different texts differ; 0 if by too many, or if their digits differ."""
    length = min(len(one), len(other))
    allowed = 0 if length < 5 else 1 if length < 9 else 2 if length < 16 else 3
    errors = OSA.distance(one, other, score_cutoff=allowed)
    return errors if errors <= allowed and _DIGITS.findall(one) == _DIGITS.findall(other) else 0

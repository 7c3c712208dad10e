"""Normalisation of the names of labels, artists and albums for display and comparison."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = re.compile("['’‘`´ʼ]")
_ACRONYM = re.compile(r"\b(?:\w\.){2,}")
_DOLLAR = re.compile(r"\$(?=[^\W\d])|(?<=[^\W\d])\$")
_EXCLAMATION_MARK_WITHIN = re.compile(r"(?<=[^\W\d])!(?=[^\W\d])")
_NOT_WORD = re.compile(r"[\W_]+")
# Letters that Unicode does not decompose, as people type them on a keyboard without them.
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_AND = str.maketrans({"&": " and ", "+": " and "})
_END_OF_CYRILLIC = 0x530  # marks are accents in Latin, Greek and Cyrillic; in later scripts they make other letters


def clean_label(text: str) -> str:
    """Tidy a genre or descriptor for display: composed Unicode, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def label_key(text: str) -> str:
    """Return a genre or descriptor as a key that ignores case, width and extra spaces.

    Examples
    --------
    >>> label_key("  Dream\u3000POP ")
    'dream pop'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def name_key(text: str) -> str:
    """Return the name of an artist or album as a key that is the same for all spellings.

    It ignores case, accents, punctuation, a leading "The" and the spelling of "and". A name of nothing but punctuation
    keeps it, so only an empty name has an empty key.

    Examples
    --------
    >>> [name_key(name) for name in ("Beatles, The", "Mötley Crüe", "AC/DC", "R.E.M.", "P!nk", "( )", "You & I")]
    ['beatles', 'motley crue', 'ac dc', 'rem', 'pink', '()', 'you and i']
    """
    text = unicodedata.normalize("NFKC", text).casefold().strip()
    if not any(map(str.isalnum, text)):
        return "".join(text.split())
    if not text.isascii():
        text = _without_accents(text.translate(_LETTERS))
    if text.endswith(", the"):
        text = text[:-5]
    text = _ACRONYM.sub(lambda match: match[0].replace(".", ""), _APOSTROPHES.sub("", text))
    text = _EXCLAMATION_MARK_WITHIN.sub("i", _DOLLAR.sub("s", text)).translate(_AND)
    return _NOT_WORD.sub(" ", text).strip().removeprefix("the ")


def _without_accents(text: str) -> str:
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFKD", text):
        if unicodedata.combining(char):
            if base and ord(base) < _END_OF_CYRILLIC:
                continue
        else:
            base = char
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))

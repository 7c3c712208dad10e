"""Names of artists and albums in a form that can be compared."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = re.compile("['’‘`´ʼ]")
_ACRONYM = re.compile(r"\b(?:\w\.){2,}")
_DOLLAR = re.compile(r"\$(?=[^\W\d])|(?<=[^\W\d])\$")
_INNER_MARK = re.compile(r"(?<=[^\W\d])!(?=[^\W\d])")
_NOT_WORD = re.compile(r"[\W_]+")
# Letters that Unicode does not decompose, as people write them on a keyboard that lacks them.
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_AND = str.maketrans({"&": " and ", "+": " and "})
_LAST_WITH_MARKS = 0x530  # Latin, Greek and Cyrillic lie below; elsewhere a mark makes another letter

VARIOUS_ARTISTS = frozenset({"various artists", "various", "va", "varios artistas", "v a"})
"""Keys of the name that compilations carry in place of an artist."""


def name_key(text: str) -> str:
    """Reduce a name to what is the same in all its spellings.

    Case, accents of Latin, Greek and Cyrillic letters, punctuation, a leading "The" and the form of "and" go away. A
    name of nothing but signs keeps them.

    Parameters
    ----------
    text : str
        A name, as displayed or tagged.

    Returns
    -------
    str
        Words with single spaces between them; empty only for an empty name.

    Examples
    --------
    >>> [name_key(name) for name in ("Beatles, The", "Mötley Crüe", "AC/DC", "R.E.M.", "P!nk", "( )", "You & I")]
    ['beatles', 'motley crue', 'ac dc', 'rem', 'pink', '()', 'you and i']
    """
    text = unicodedata.normalize("NFKC", text).casefold().strip()
    if not any(map(str.isalnum, text)):
        return "".join(text.split())
    if not text.isascii():
        text = _without_marks(text.translate(_LETTERS))
    if text.endswith(", the"):
        text = text[:-5]
    text = _ACRONYM.sub(lambda match: match[0].replace(".", ""), _APOSTROPHES.sub("", text))
    text = _INNER_MARK.sub("i", _DOLLAR.sub("s", text)).translate(_AND)
    key = _NOT_WORD.sub(" ", text).strip()
    return key[4:] if key.startswith("the ") else key


def _without_marks(text: str) -> str:
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFKD", text):
        if unicodedata.combining(char):
            if base and ord(base) < _LAST_WITH_MARKS:
                continue
        else:
            base = char
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))

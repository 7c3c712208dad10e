"""Normalisation of the names of labels, artists and albums for display and comparison."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from html.entities import html5

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z]\w*);")
# Unicode's default ignorable characters (zero-width spaces, byte order marks, soft hyphens, marks of direction,
# fillers) and control characters that are no spaces.
_INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff]"
)
# Ignorable characters that change how Persian, Indic and Mongolian letters, Han and emoji are drawn: joiners, variation
# selectors and tags. After letters of other scripts, and joiners at the end of a word, they do nothing.
_JOINER = "[\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef]"
_JOINER_ANYWHERE = re.compile(_JOINER)
_JOINER_WITHOUT_EFFECT = re.compile(
    rf"(?<![\u0590-\u1dff\u2190-\U0010ffff]){_JOINER}+|[\u200c\u200d]+(?=[\s\u200c\u200d]|$)"
)
_APOSTROPHES = re.compile("['’‘`´ʼ]")
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_ACRONYM = re.compile(r"\b(?:\w\.){2,}")
_DOLLAR = re.compile(r"\$(?=[^\W\d])|(?<=[^\W\d])\$")
_EXCLAMATION_MARK_WITHIN = re.compile(r"(?<=[^\W\d])!(?=[^\W\d])")
_NOT_WORD = re.compile(r"[\W_]+")
_PLAIN = re.compile(r"[A-Za-z0-9 ]+")
# Letters that Unicode does not decompose, as people type them on a keyboard without them.
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_AND = str.maketrans({"&": " and ", "+": " and "})
_END_OF_CYRILLIC = 0x530  # marks are accents in Latin, Greek and Cyrillic; in later scripts they make other letters


def clean_label(text: str) -> str:
    r"""Tidy a genre or descriptor for display.

    The result is composed Unicode with single spaces, without HTML entities and invisible characters. Zero-width
    joiners and variation selectors remain where they change how a word or an emoji is drawn.

    Examples
    --------
    >>> clean_label("\ufeffDrum &amp;amp;\xa0Bass\u200b")
    'Drum & Bass'
    """
    text = unicodedata.normalize("NFC", _visible(text))
    if not text.isascii():
        text = unicodedata.normalize("NFC", _JOINER_WITHOUT_EFFECT.sub("", text))
    return " ".join(text.split())


def label_key(text: str) -> str:
    """Return a genre or descriptor as a key that is the same for all spellings that look alike.

    It ignores case, width, extra spaces, invisible characters, and the kinds of dashes and apostrophes.

    Examples
    --------
    >>> label_key("  Dream\u3000POP ")
    'dream pop'
    """
    text = unicodedata.normalize("NFKC", clean_label(text)).casefold()
    text = _APOSTROPHES.sub("'", _DASHES.sub("-", text))
    return clean_label(_JOINER_ANYWHERE.sub("", text))


@lru_cache(maxsize=1 << 16)  # the artists of a collection are looked up for every album and track
def name_key(text: str) -> str:
    """Return the name of an artist or album as a key that is the same for all spellings.

    It ignores case, accents, punctuation, invisible characters, a leading "The" and the spelling of "and", and resolves
    HTML entities. A name of nothing but punctuation keeps it, so only an empty name has an empty key.

    Examples
    --------
    >>> [name_key(name) for name in ("Beatles, The", "Mötley Crüe", "AC/DC", "R.E.M.", "P!nk", "( )", "You & I")]
    ['beatles', 'motley crue', 'ac dc', 'rem', 'pink', '()', 'you and i']
    """
    if _PLAIN.fullmatch(text):  # most names: nothing but case, spaces and "The" to ignore
        return " ".join(text.lower().split()).removeprefix("the ")
    text = _JOINER_ANYWHERE.sub("", _visible(text))
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


def _visible(text: str) -> str:
    """Resolve HTML entities, also those that were escaped twice, and remove characters that are never visible."""
    while "&" in text and (plain := _ENTITY.sub(_character, text)) != text:
        text = plain
    return _INVISIBLE.sub("", text)


def _character(entity: re.Match[str]) -> str:
    # html.unescape also replaces the beginning of unknown names, such as &not in "&notes;".
    return html.unescape(entity[0]) if entity[0][1] == "#" else html5.get(entity[0][1:], entity[0])

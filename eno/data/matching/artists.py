"""Artist credits of albums, in tags and in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from eno.data.matching.titles import spelling_similarity
from eno.data.names import name_key

_VARIOUS_ARTISTS = frozenset({"various artists", "various", "va", "varios artistas", "v a"})
_FEATURING = re.compile(r"[\s(\[]+(?:feat|ft|featuring)\b\.?\s.*$", re.IGNORECASE)
_JOINTS = re.compile(
    r"\s*(?:;|/|,|&|\+|\||×|\band\b|\bwith\b|\bvs\b\.?|\s[xX]\s|\bfeat\b\.?|\bft\b\.?)\s*", re.IGNORECASE
)
_BRACKETED = re.compile(r"^(.*\S)\s*[\[(]([^\[\]()]+)[\])]$")
_DISAMBIGUATION = re.compile(r"[-_]f?\d+$")


def main_artist(text: str) -> str:
    """Return a credit without its guests ("feat.").

    Examples
    --------
    >>> main_artist("Massive Attack feat. Hope Sandoval")
    'Massive Attack'
    """
    return _FEATURING.sub("", text) or text


def is_various(key: str) -> bool:
    """Whether a key means "Various Artists"."""
    return key in _VARIOUS_ARTISTS


@dataclass(frozen=True)
class Credit:
    """An artist credit in all its spellings, as keys from `eno.data.names.name_key`."""

    wholes: frozenset[str]  # of the whole credit
    artists: tuple[frozenset[str], ...]  # of each artist, including transliterations
    parts: frozenset[str]  # names joined in the credit, such as "Nick Cave" and "The Bad Seeds"

    @property
    def various(self) -> bool:
        """Whether the credit is to "Various Artists"."""
        return any(map(is_various, self.wholes))


def credit_of_album(artists: Iterable[tuple[str | None, str | None]]) -> Credit:
    """Build the credit of an album in the catalogue from name and ``file_name`` of each artist.

    RateYourMusic shows names in their original script, often with a transliteration in brackets; the ``file_name`` is
    another transliteration.
    """
    artists = list(artists)
    each = []
    for name, file_name in artists:
        slug = _DISAMBIGUATION.sub("", (file_name or "").rpartition("/")[2])
        each.append(frozenset(_spellings(name or "") | {name_key(slug.replace("-", " "))} - {""}))
    names = [name or "" for name, _ in artists]
    wholes = {" and ".join(map(name_key, names))} | (each[0] if len(each) == 1 else set())
    return Credit(frozenset(wholes - {""}), tuple(each), frozenset(_parts(" & ".join(names))))


def credit_of_tag(text: str) -> Credit:
    """Build the credit of a tag, such as ``"Beatles, The"`` or ``"Iron & Wine; Calexico"``."""
    text = main_artist(text)
    parts = _parts(text)
    return Credit(frozenset(_spellings(text)), tuple(frozenset({part}) for part in parts), frozenset(parts))


def credit_similarity(tagged: Credit, album: Credit) -> float:
    """Compare the credits of a tag and an album.

    The result is 1 if they are the same, 0.99 for the same artists in another order, 0.95 if one side has only some of
    the artists, 0.92 to 0.96 for misspellings, else 0.
    """
    if not tagged.parts or not album.parts:
        return 0.0
    if tagged.wholes & album.wholes or (tagged.various and album.various):
        return 1.0
    if tagged.various or album.various:
        return 0.0
    if any(spelling_similarity(a, b) == 1.0 for a in tagged.wholes for b in album.wholes):
        return 1.0
    shared = [bool(artist & (tagged.parts | tagged.wholes)) for artist in album.artists]
    known = [any(part in artist for artist in album.artists) for part in tagged.parts]
    if tagged.parts == album.parts or (all(shared) and all(known) and known):
        return 0.99
    named = any(tagged.wholes & artist for artist in album.artists)
    if named or all(shared) or (known and all(known)) or tagged.parts & album.parts in (tagged.parts, album.parts):
        return 0.95
    return max((spelling_similarity(a, b) for a in tagged.wholes for b in album.wholes), default=0.0)


def _parts(text: str) -> list[str]:
    return [key for part in _JOINTS.split(text) if (key := name_key(part))]


def _spellings(text: str) -> set[str]:
    forms = {name_key(text)}
    bracketed = _BRACKETED.match(text.strip())
    if bracketed:
        forms |= {name_key(bracketed[1]), name_key(bracketed[2])}
    last, comma, first = text.partition(", ")
    if comma and "," not in first and len(first.split()) == 1:  # "Bowie, David"
        forms.add(name_key(f"{first} {last}"))
    return forms - {""}

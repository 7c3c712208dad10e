"""Comparison of album titles."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from rapidfuzz import fuzz

from eno.data.matching.spelling import is_misspelt, spelling_similarity
from eno.data.matching.titles import EDITION, OTHER_MIX, OTHER_RECORDING, Title

# Words whose presence in only one of two titles means nothing, even outside brackets.
_NEUTRAL = (EDITION - {"us", "uk", "single", "set"}) | frozenset(
    """the a an of and in on at to for by from with de la le el der die das und et y tha n original motion picture film
    movie music album version game official recording sound track volume issue no nr""".split()
)
_COMPARED_APART = _NEUTRAL | OTHER_RECORDING | OTHER_MIX
_COLLECTION = frozenset("best hits singles greatest anthology essential essentials collection".split())

_LONG = 8  # letters of a beginning that two titles do not share by chance
_CUT_AT = 24  # characters; shorter titles are not cut off by old tags


@dataclass(frozen=True, slots=True)
class TitleComparison:
    """How two titles agree: levels of evidence, as `eno.data.matching.evidence` lists them."""

    title: str
    numbers: str = "none"
    version: str = "same"


def compare_titles(local: Title, listed: Title, names: AbstractSet[str] = frozenset()) -> TitleComparison:
    """Compare the title of a local album with a listed one; `names` are the words of their artists' names.

    Words of editions and of the artists count for nothing; numbers, and words that name another recording, are reported
    separately if only one title has them.
    """
    if not local.words:
        return TitleComparison("missing")
    if local.compact == listed.compact:
        return TitleComparison("same", "same" if any(map(str.isdecimal, local.words)) else "none")
    lacking = list(listed.words)
    extra, shared = [], []
    for word in local.words:
        if word in lacking:
            lacking.remove(word)
            shared.append(word)
        else:
            extra.append(word)
    misspelt = _pair_misspelt(extra, lacking, shared)
    numbers = _compare_numbers(
        [word for word in extra if word.isdecimal()], [word for word in lacking if word.isdecimal()], shared
    )
    version = _compare_versions(extra, lacking, shared)
    more, fewer = (
        [word for word in words if word not in _COMPARED_APART and word not in names and not word.isdecimal()]
        for words in (extra, lacking)
    )
    level = _title_level(local, listed, (shared, more, fewer), misspelt, names)
    return TitleComparison(level, "none" if level == "cut" else numbers, version)


def _title_level(
    local: Title, listed: Title, words: tuple[list[str], list[str], list[str]], misspelt: bool, names: AbstractSet[str]
) -> str:
    """Compare titles whose `words` are shared, only in the local one, or only in the listed one."""
    shared, more, fewer = words
    telling = [word for word in shared if word not in _NEUTRAL and word not in names]
    if listed.compact in local.joined or local.compact in listed.joined:
        return "local has two titles" if local.joined else "listed has two titles"
    if not more and not fewer:
        if not shared:  # nothing but neutral words, numbers and names differ
            return "edition" if local.words and listed.words and _only_names(local, listed, names) else "different"
        return "misspelt" if misspelt else "edition"
    weight, larger = sum(map(len, telling)), max(sum(map(len, more)), sum(map(len, fewer)))
    if (
        spelling_similarity(" ".join(local.words), " ".join(listed.words)) > 0
        and fuzz.ratio(*map("".join, (more, fewer))) >= 70
    ):
        return "misspelt"
    if len(local.compact) >= _CUT_AT - 4 and listed.compact.startswith(local.compact):
        return "cut"
    if (more and fewer) or not shared:
        if local.pieces & listed.pieces and (telling or not names):
            return "piece of both"
        if _begins(local.pieces, listed) or _begins(listed.pieces, local):
            return "similar"
        return "similar" if weight >= 2 * larger else "slight" if weight >= larger and weight >= 4 else "different"
    longer, shorter, side = (local, listed, "local") if more else (listed, local, "listed")
    if shorter.compact in longer.pieces and telling:
        return f"{side} has a subtitle"
    return f"{side} is longer" if weight * 2 >= larger and weight >= 4 else "slight" if telling else "different"


def _begins(pieces: AbstractSet[str], other: Title) -> bool:
    """Whether a title begins like a piece of another, as those of discs do: "Mellon Collie: Dawn to Dusk"."""
    return any(len(piece) >= _LONG and other.compact.startswith(piece) for piece in pieces)


def _only_names(local: Title, listed: Title, names: AbstractSet[str]) -> bool:
    """Whether both titles consist of names of the artist, such as "Chicago" and "Chicago 2"."""
    return all(any(word in names for word in title.words) for title in (local, listed))


def _pair_misspelt(extra: list[str], lacking: list[str], shared: list[str]) -> bool:
    """Move words that differ by few letters from both lists to the shared ones, and report whether there were any."""
    found = False
    for word in list(extra):
        near = next((other for other in lacking if is_misspelt(word, other)), None)
        if near is not None:
            extra.remove(word)
            lacking.remove(near)
            shared.append(word)
            found = True
    return found


def _compare_numbers(extra: list[str], lacking: list[str], shared: list[str]) -> str:
    """Compare the numbers that only the local title has, that it lacks, and the words that both share."""
    if extra and lacking:
        short = [{number[-2:] for number in side if len(number) in (2, 4)} for side in (extra, lacking)]
        return "same" if short[0] and short[0] == short[1] else "other"
    if not extra and not lacking:
        return "same" if any(map(str.isdecimal, shared)) else "none"
    only = extra or lacking
    if all(number == "1" for number in only):
        return "first"
    if all(len(number) == 4 and number[:2] in ("19", "20") for number in only):
        return "year"
    return "only local" if extra else "only listed"


def _compare_versions(extra: list[str], lacking: list[str], shared: list[str]) -> str:
    """Compare words for other recordings that only the local title has, that it lacks, and that both share."""
    if any(word in OTHER_MIX for word in (*extra, *lacking)):
        return "other mix"
    if any(word in OTHER_RECORDING for word in shared):
        return "same"
    if any(word in OTHER_RECORDING for word in extra):
        return "only local"
    if any(word in OTHER_RECORDING for word in lacking):
        return "only listed"
    return "collection" if any(word in _COLLECTION for word in (*extra, *lacking)) else "same"

"""Evidence that a local album is a listed one, and how much each piece weighs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eno.data.matching.alignment import Alignment

_WEIGHTS = Path(__file__).with_name("weights.json")

Evidence = Mapping[str, str]
"""Kinds of evidence, such as ``"title"``, and the level of each, such as ``"misspelt"``."""

KINDS = {
    "artist": "artist",
    "named": "artist named in the other title",
    "title": "title",
    "numbers": "numbers in the title",
    "version": "live, remix and the like",
    "lengths": "track lengths",
    "titles": "track titles",
    "count": "number of tracks",
    "year": "year",
    "kind": "kind of release",
    "discs": "discs",
    "edition": "edition",
    "names alone": "no tracks to compare",
    "better names": "another album has this artist and title",
}
"""Kinds of evidence, and what they are called in reasons and explanations."""

CONTRADICTED = frozenset(("some", "few", "another length"))
"""Levels of ``"lengths"`` that mean another recording."""

_ARTISTS = {
    **dict.fromkeys(("same", "performer", "misspelt", "initials", "various"), "same artist"),
    **dict.fromkeys(("part of the name", "some", "one performer"), "similar artist"),
    **dict.fromkeys(("unknown", "other script", "various, listed", "various, local"), "unknown artist"),
}
_TITLES = {
    **dict.fromkeys(("same", "misspelt", "edition"), "same title"),
    **dict.fromkeys(("different", "slight"), "different title"),
    "missing": "no title",
}


@dataclass(frozen=True)
class Model:
    """Weights of all levels of evidence, in the unit of log-odds (natural logarithm).

    A conditional logit model: the candidates of a local album compete with each other and with "none of them", whose
    log-odds are 0. ``scripts/bench/catalogue/matching_weights.py`` fits the weights on generated albums.
    """

    weights: Mapping[str, Mapping[str, float]]
    prior: float

    @classmethod
    def load(cls) -> Model:
        """Load the weights that come with eno."""
        content = json.loads(_WEIGHTS.read_text(encoding="utf-8"))
        return cls(content["weights"], content["prior"])

    def log_odds(self, evidence: Evidence) -> float:
        """Return the log-odds that these are the same album, before other candidates are considered."""
        weight = self._weight_of.get
        return self.prior + sum(weight(item, 0.0) for item in evidence.items())

    @cached_property
    def _weight_of(self) -> dict[tuple[str, str], float]:
        return {(kind, level): value for kind, levels in self.weights.items() for level, value in levels.items()}

    def weight(self, kind: str, level: str) -> float:
        """Return how much a piece of evidence speaks for (positive) or against (negative) a candidate."""
        return self.weights.get(kind, {}).get(level, 0.0)


def probabilities(log_odds: Sequence[float]) -> list[float]:
    """Return the probability of each candidate; the rest of 1 is the probability that it is none of them."""
    highest = max((0.0, *log_odds))
    odds = [math.exp(one - highest) for one in log_odds]
    total = math.exp(-highest) + sum(odds)
    return [one / total for one in odds]


def says_something(kind: str, level: str) -> bool:
    """Whether a level is worth telling; that no title names a version, for example, is not."""
    return level not in ("unknown", "none", "no") and (kind, level) != ("version", "same")


def year_level(local: int | None, listed: int | None, edition: bool) -> str:
    """Compare years; a title that names an `edition` explains a later one."""
    if not local or not listed:
        return "unknown"
    later = local - listed
    if later > 0 and edition:
        return "later, as an edition"
    return "same" if later == 0 else "next" if abs(later) == 1 else "later" if later > 0 else "earlier"


def count_level(local: int | None, listed: int, edition: bool) -> str:
    """Compare numbers of tracks; a title that names an `edition` explains more of them."""
    if not local or not listed:
        return "unknown"
    if local == listed:
        return "same"
    if local > listed and edition:
        return "more, as an edition"
    if abs(local - listed) <= 2 and min(local, listed) >= 5:
        return "nearly the same"
    if local < listed:
        return "far fewer" if local * 2 <= listed else "fewer"
    return "far more" if local > listed * 2 else "more"


def lengths_level(common: Alignment) -> str:
    """Describe how many of the known track lengths of a local album and a listed one agree in order."""
    if common.sides:
        return "whole sides agree"
    local, listed, agreeing, close = common.lengths, common.listed_lengths, common.agreeing, common.close
    complete = listed == common.listed_tracks
    if local == listed == 1 and complete:
        return "same length" if agreeing else "nearly the same length" if close else "another length"
    shorter, longer = sorted((local, listed))
    if shorter < 2 or (local <= 2 and not complete):
        return "unknown"
    share = agreeing / shorter
    if share >= 0.75:
        amount = "many" if agreeing >= 8 else "several" if agreeing >= 4 else "few"
        more = "" if shorter * 4 >= longer * 3 else ", others lack" if local < listed else ", others are extra"
        return f"all of {amount}{more}"
    if share >= 0.5:
        return "most"
    if close >= 0.8 * shorter and shorter * 5 >= longer * 4 and shorter >= 3:
        return "like another pressing"
    return "some" if share > 0.3 else "few" if shorter > 3 else "few of few"


def titles_level(common: Alignment) -> str:
    """Describe how many of the track titles of a local album are listed."""
    local, listed, same = common.titles, common.listed_titles, common.same_title
    shorter, longer = sorted((local, listed))
    if shorter == 0 or (same == 0 and not common.one_script):
        return "unknown"
    share = same / shorter
    if share >= 0.75:
        more = "" if shorter * 4 >= longer * 3 else ", others lack" if local < listed else ", others are extra"
        return ("all of few" if same < 4 else "all of many") + more
    return "most" if share >= 0.5 else "some" if share >= 0.2 else "few"


def names_alone_level(artist: str, title: str, lengths: str, titles: str) -> str:
    """Describe how artist and title agree if neither lengths nor titles of tracks can be compared, else ``"no"``.

    Names count for more where nothing else tells the albums of an artist apart.
    """
    if not lengths == titles == "unknown":
        return "no"
    return f"{_ARTISTS.get(artist, 'different artist')}, {_TITLES.get(title, 'similar title')}"


def with_better_names(candidates: Sequence[tuple[int, Evidence]]) -> list[tuple[int, Evidence]]:
    """Add to the evidence for each row whether another candidate, but not this one, has the same artist and title.

    An album with a longer title, or by somebody else, is hardly meant if the catalogue has one of exactly these names.
    """
    same = [_ARTISTS.get(found["artist"]) == "same artist" and found["title"] == "same" for _, found in candidates]
    return [
        (row, {**found, "better names": "yes" if any(same) and not this else "no"})
        for (row, found), this in zip(candidates, same, strict=True)
    ]

"""Search of the catalogue by artist and title for candidates for a local album."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import rapidfuzz

from eno.data.lute.albums import release_years
from eno.data.matching.artists import (
    VARIOUS_ARTISTS,
    Credit,
    credit_of_album,
    credit_of_tag,
    credit_similarity,
    is_various,
)
from eno.data.matching.titles import Title, parse_title, title_similarity

_MAX_SAME_TITLE = 40  # if more albums share a title, only those by artists with similar names are scored
DURATION_TOLERANCE_S = 3.0
_CONTRADICTED, _CONFIRMED = 0.3, 0.8


@dataclass(frozen=True)
class LocalAlbum:
    """An album on disk, described by its tags or else by the name of its folder."""

    artist: str
    title: str
    year: int | None = None
    durations_s: tuple[float, ...] = ()  # of the tracks, in order; empty if any is unknown
    tracks: int | None = None
    compilation: bool = False  # judging by the artists of the tracks, whoever the album artist is


@dataclass(frozen=True)
class Candidate:
    """A row of the albums table that may be the local album, with a score from 0 to 1 and the reasons for it."""

    row: int
    score: float
    reason: str


class AlbumIndex:
    """Lookup of albums by artist and title."""

    def __init__(self, albums: pa.Table) -> None:
        self._file_names = albums["file_name"].to_pylist()
        self._years = release_years(albums)
        self._durations = _Durations(albums["tracks"].combine_chunks())
        self._credits = [
            credit_of_album((one["name"], one["file_name"]) for one in artists or () if one)
            for artists in albums["artists"].to_pylist()
        ]
        self._titles = [
            _titles(name, path) for name, path in zip(albums["name"].to_pylist(), self._file_names, strict=True)
        ]
        self._by_artist: dict[str, list[int]] = defaultdict(list)
        self._by_title: dict[str, list[int]] = defaultdict(list)
        for row, (credit, titles) in enumerate(zip(self._credits, self._titles, strict=True)):
            for key in _lookup_keys(credit):
                if not is_various(key):
                    self._by_artist[key].append(row)
            for compact in {title.compact for title in titles}:
                self._by_title[compact].append(row)

    def candidates(self, local: LocalAlbum) -> list[Candidate]:
        """Return the candidates for a local album, best first."""
        title = parse_title(local.title)
        found: dict[int, Candidate] = {}
        for artist in (local.artist, VARIOUS_ARTISTS) if local.compilation else (local.artist,):
            credit = credit_of_tag(artist)
            for row in self._rows(credit, title):
                one = self._score(row, local, credit, title)
                if one.score > (found[row].score if row in found else 0):
                    found[row] = one
        return sorted(found.values(), key=lambda one: (-one.score, self._file_names[one.row]))

    def _rows(self, credit: Credit, title: Title) -> set[int]:
        rows = {row for key in _lookup_keys(credit) for row in self._by_artist.get(key, ())}
        same_title = self._by_title.get(title.compact, [])
        if len(same_title) > _MAX_SAME_TITLE and credit.wholes:
            names = [min(self._credits[row].wholes, default="") for row in same_title]
            near = rapidfuzz.process.extract(
                min(credit.wholes), names, scorer=rapidfuzz.fuzz.token_set_ratio, score_cutoff=80, limit=_MAX_SAME_TITLE
            )
            same_title = [same_title[position] for _, _, position in near]
        return rows | set(same_title)

    def _score(self, row: int, local: LocalAlbum, credit: Credit, title: Title) -> Candidate:
        # The title is compared first, since it rules out most albums of an artist.
        same_title = max(title_similarity(title, other) for other in self._titles[row])
        if same_title == 0.0:
            return Candidate(row, 0.0, "")
        same_artist = credit_similarity(credit, self._credits[row]) if credit.wholes else 0.7
        if same_artist == 0.0:
            return Candidate(row, 0.0, "")
        notes = [_wording("artist", same_artist if credit.wholes else None), _wording("title", same_title)]
        score = same_artist * same_title
        agreement = duration_agreement(local.durations_s, self._durations.of(row))
        # Instrumentals and demos are as long as the songs, so lengths do not confirm them.
        if agreement is not None and agreement >= _CONFIRMED and same_title >= 0.8:
            score = 1 - (1 - score) * 0.2
            notes.append(f"{agreement:.0%} of the track lengths agree")
        elif agreement is not None and agreement <= _CONTRADICTED:
            score = min(score, 0.75)
            notes.append(f"only {agreement:.0%} of the track lengths agree")
        else:
            score, hint = self._weigh_hints(row, local, title, score)
            notes += hint
            if title.further_disc:
                score = min(score, 0.8)
                notes.append("a further disc may contain other songs")
            if not credit.wholes or (credit.various and len(title.words.split()) < 3):
                score = min(score, 0.8)
                notes.append("uncertain without track lengths")
        return Candidate(row, round(score, 4), ", ".join(notes))

    def _weigh_hints(self, row: int, local: LocalAlbum, title: Title, score: float) -> tuple[float, list[str]]:
        """Adjust a score by weak evidence: the year, the number of tracks, the type of release."""
        notes = []
        year, count = self._years[row], len(self._durations.of(row))
        if local.year and year and local.year < year - 1:
            score = min(score, 0.8)
            notes.append(f"tagged {local.year}, years before the release in {year}")
        elif local.year and year and local.year != year:
            score *= 0.97
            notes.append(f"{local.year} instead of {year}")
        if local.tracks and count and local.tracks != count:
            # Far fewer tracks suggest a single of that name, far more a box set, unless the title names an edition.
            unlike = local.tracks < count / 2 or (local.tracks > count * 2 and not title.edition)
            score = min(score, 0.8) if unlike else score * 0.98
            notes.append(f"{local.tracks} track{'s' * (local.tracks != 1)} instead of {count}")
        kind = self._file_names[row].split("/")[1] if self._file_names[row].startswith("release/") else None
        if title.kind and kind and {title.kind, kind} in ({"ep", "album"}, {"single", "album"}, {"single", "ep"}):
            score = min(score, 0.8)
            notes.append(f"tagged as {title.kind}, listed as {kind}")
        return score, notes


def duration_agreement(local_s: Sequence[float], listed_s: Sequence[float]) -> float | None:
    """Return the share of the shorter list of track lengths that occurs in the longer one, in order.

    Bonus tracks and missing tracks do not lower it. Lengths are in seconds, in track order, 0 if unknown, and may
    differ by three seconds. The result is None if a list has fewer than three known lengths.

    Examples
    --------
    >>> duration_agreement([100, 200, 300, 400], [101, 199, 50, 300])
    0.75
    """
    local, listed = ([length for length in lengths if length > 0] for lengths in (local_s, listed_s))
    if min(len(local), len(listed)) < 3:
        return None
    # Longest common subsequence.
    best = [0] * (len(listed) + 1)
    for length in local:
        previous = 0
        for i, other in enumerate(listed, 1):
            diagonal = previous + (abs(length - other) <= DURATION_TOLERANCE_S)
            previous, best[i] = best[i], max(best[i], best[i - 1], diagonal)
    return best[-1] / min(len(local), len(listed))


class _Durations:
    """Track lengths of all albums in two arrays."""

    def __init__(self, tracks: pa.ListArray) -> None:
        lengths = pc.struct_field(pc.list_flatten(tracks), "duration_seconds")
        self._lengths = lengths.fill_null(0).to_numpy(zero_copy_only=False)
        self._ends = np.concatenate([[0], np.cumsum(pc.list_value_length(tracks).fill_null(0).to_numpy())])

    def of(self, row: int) -> list[int]:
        lengths: list[int] = self._lengths[self._ends[row] : self._ends[row + 1]].tolist()
        return lengths


def _titles(name: str | None, file_name: str) -> tuple[Title, ...]:
    """Parse a title and its transliterations, which are in brackets and in the ``file_name``."""
    titles = {parse_title(name or "")}
    slug = file_name.rpartition("/")[2]
    if name and not name.isascii():
        titles.add(parse_title(slug.replace("-", " ")))
    if name and name.endswith("]") and " [" in name:
        native, _, transliterated = name[:-1].partition(" [")
        titles |= {parse_title(native), parse_title(transliterated)}
    return tuple(title for title in titles if title.words or title.numbers) or (parse_title(slug),)


def _lookup_keys(credit: Credit) -> set[str]:
    """Return all spellings of a credit without spaces and regardless of the order of their words."""
    return {"".join(sorted(key.split())) for keys in (credit.wholes, credit.parts, *credit.artists) for key in keys}


def _wording(part: str, similarity: float | None) -> str:
    if similarity is None:
        return f"no {part} tagged"
    if similarity == 1.0:
        return f"same {part}"
    return f"{part} {'nearly the same' if similarity > 0.9 else 'only in part'}"

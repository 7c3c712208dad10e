"""Search of the catalogue for candidates for local albums, with the evidence for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.lute.albums import release_years
from eno.data.matching import evidence
from eno.data.matching.alignment import DURATION_TOLERANCE_S, Alignment, TrackLists, align
from eno.data.matching.artists import Credit, compare_artists, credit_of_album, credit_of_tag
from eno.data.matching.evidence import Evidence, Model
from eno.data.matching.lookup import Kind, TermIndex, Terms, hashes, length_terms
from eno.data.matching.title_comparison import TitleComparison, compare_titles
from eno.data.matching.titles import Title, parse_title

_KINDS = {
    "names": Kind(most=2000, weight=1.0),  # artists and titles
    "words": Kind(most=300, weight=0.5),  # of artists and titles
    "songs": Kind(most=100, weight=0.5),
    "lengths": Kind(most=200, weight=0.5),  # of three successive tracks
}
_COMMON_WORDS = frozenset("the and for with from best hits live vol volume deluxe edition music album".split())
_WHOLE = frozenset(("all of many", "all of several"))  # lengths of all tracks agree, and there are no others


@dataclass(frozen=True)
class LocalAlbum:
    """An album on disk, described by its tags or else by the names of its files and folder."""

    artist: str
    title: str
    year: int | None = None
    durations_s: tuple[float, ...] = ()  # of the tracks, in order, 0 if unknown
    tracks: int | None = None
    compilation: bool = False  # judging by the artists of the tracks, whoever the album artist is
    titles: tuple[str | None, ...] = ()  # of the tracks
    performers: tuple[tuple[str, float], ...] = ()  # artists of the tracks, and the share of the tracks of each
    discs: int = 0  # number of discs; 0 if unknown


@dataclass(frozen=True)
class Candidate:
    """A row of the albums table that may be the local album, with its probability and the evidence for it."""

    row: int
    score: float
    evidence: Evidence = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The evidence in words."""
        return describe(self.evidence)


class AlbumIndex:
    """Lookup of albums by artist, title, tracks and their lengths."""

    def __init__(self, albums: pa.Table, model: Model | None = None) -> None:
        self._model = model or Model.load()
        self._file_names = albums["file_name"].to_pylist()
        self._years = release_years(albums)
        credit_of = lru_cache(maxsize=None)(credit_of_album)  # the albums of an artist share one credit
        self._credits = [
            credit_of(tuple((one["name"], one["file_name"]) for one in artists or () if one))
            for artists in albums["artists"].to_pylist()
        ]
        self._titles = [
            _titles(name, path) for name, path in zip(albums["name"].to_pylist(), self._file_names, strict=True)
        ]
        lists = albums["tracks"].combine_chunks()
        counts = pc.list_value_length(lists).fill_null(0).to_numpy()
        tracks = pc.list_flatten(lists)
        lengths = pc.struct_field(tracks, "duration_seconds").fill_null(0).to_numpy(zero_copy_only=False)
        self._tracks = TrackLists.build(counts, lengths, pc.struct_field(tracks, "name"))
        self._discs = _discs(self._tracks, pc.struct_field(tracks, "position"))
        names: list[AbstractSet[str]] = [
            credit.keys.union({title.compact for title in titles}, *(title.pieces for title in titles))
            for credit, titles in zip(self._credits, self._titles, strict=True)
        ]
        words: list[AbstractSet[str]] = [
            _words(credit, *titles) for credit, titles in zip(self._credits, self._titles, strict=True)
        ]
        terms = _terms(names, words, self._tracks, neighbours=False)
        self._index = TermIndex(_KINDS, terms, len(albums))

    def candidates(self, local: LocalAlbum) -> list[Candidate]:
        """Return the candidates for a local album, best first."""
        return next(self.candidates_of([local]))

    def candidates_of(
        self, albums: Sequence[LocalAlbum], without: Sequence[AbstractSet[int]] = ()
    ) -> Iterator[list[Candidate]]:
        """Yield the candidates for each local album, best first, `without` some rows for each."""
        tracks = _local_tracks(albums)
        parsed = [_Parsed.of(album) for album in albums]
        terms = _terms([one.names() for one in parsed], [one.words() for one in parsed], tracks, neighbours=True)
        pairs = self._index.candidates(terms, len(albums))
        alignments = align(tracks, self._tracks, pairs)
        of_album = {
            owner: list(found) for owner, found in groupby(enumerate(pairs.tolist()), key=lambda pair: pair[1][0])
        }
        for number, local in enumerate(parsed):
            left_out = without[number] if without else ()
            found = [
                (row, self._evidence(local, row, alignments[pair]))
                for pair, (_, row) in of_album.get(number, ())
                if row not in left_out
            ]
            yield self._ranked(evidence.with_better_names(found))

    def _ranked(self, found: list[tuple[int, Evidence]]) -> list[Candidate]:
        scores = evidence.probabilities([self._model.log_odds(one) for _, one in found])
        ranked = [Candidate(row, round(score, 4), one) for (row, one), score in zip(found, scores, strict=True)]
        return sorted(ranked, key=lambda one: (-one.score, self._file_names[one.row]))

    def _evidence(self, local: _Parsed, row: int, common: Alignment) -> Evidence:
        listed, titles = self._credits[row], self._titles[row]
        artist = compare_artists(local.credit, local.performers, local.album.compilation, listed)
        names = local.credit.words | listed.words
        comparisons = [compare_titles(local.title, title, names) for title in titles]
        title = comparisons[0] if len(comparisons) == 1 else max(comparisons, key=self._title_weight)
        kind = self._file_names[row].split("/")[1] if self._file_names[row].startswith("release/") else None
        lengths, songs = evidence.lengths_level(common), evidence.titles_level(common)
        count = local.album.tracks or common.tracks
        return {
            "artist": artist,
            "named": _named(local, listed, titles),
            "title": title.title,
            "numbers": title.numbers,
            "version": title.version,
            "lengths": lengths,
            "titles": songs,
            "count": (
                "sides" if common.sides else evidence.count_level(count, common.listed_tracks, local.title.edition)
            ),
            "year": evidence.year_level(local.album.year, self._years[row], local.title.edition),
            "kind": _kind_level(local.title.kind, titles[0].kind, kind),
            "discs": _discs_level(local, int(self._discs[row]), whole=lengths in _WHOLE),
            "edition": "named" if local.title.edition else "no",
            "names alone": evidence.names_alone_level(artist, title.title, lengths, songs),
        }

    def _title_weight(self, one: TitleComparison) -> float:
        levels = (("title", one.title), ("numbers", one.numbers), ("version", one.version))
        return sum(self._model.weight(kind, level) for kind, level in levels)


def describe(found: Evidence) -> str:
    """Describe evidence in words, without what says nothing."""
    telling = [(kind, level) for kind, level in found.items() if evidence.says_something(kind, level)]
    return ", ".join(f"{evidence.KINDS[kind]}: {level}" for kind, level in telling)


@dataclass(frozen=True)
class _Parsed:
    """A local album with parsed names."""

    album: LocalAlbum
    credit: Credit
    performers: tuple[tuple[Credit, float], ...]
    title: Title

    @classmethod
    def of(cls, album: LocalAlbum) -> _Parsed:
        credit = credit_of_tag(album.artist)
        performers = tuple((credit_of_tag(name), share) for name, share in album.performers)
        return cls(album, credit, performers, parse_title(album.title))

    def names(self) -> set[str]:
        pieces = {piece for piece in self.title.pieces if len(piece) > 2}
        performers = (performer.keys for performer, share in self.performers if share >= 0.1)
        return pieces.union({self.title.compact}, self.credit.keys, *performers)

    def words(self) -> set[str]:
        return _words(self.credit, self.title).union(
            *(_words(performer) for performer, share in self.performers if share >= 0.1)
        )


def _terms(
    names: list[AbstractSet[str]], words: list[AbstractSet[str]], tracks: TrackLists, *, neighbours: bool
) -> dict[str, Terms]:
    known = tracks.titles != 0
    return {
        "names": hashes(names),
        "words": hashes(words),
        "songs": (tracks.titles[known], tracks.owners()[known]),
        "lengths": length_terms(tracks.ends, tracks.lengths_s, DURATION_TOLERANCE_S, neighbours=neighbours),
    }


def _local_tracks(albums: Sequence[LocalAlbum]) -> TrackLists:
    counts = [max(len(album.durations_s), len(album.titles)) for album in albums]
    lengths = [
        album.durations_s[i] if i < len(album.durations_s) else 0.0
        for album, count in zip(albums, counts, strict=True)
        for i in range(count)
    ]
    titles = [
        album.titles[i] if i < len(album.titles) else None
        for album, count in zip(albums, counts, strict=True)
        for i in range(count)
    ]
    return TrackLists.build(np.array(counts, np.int64), np.array(lengths, np.float64), pa.array(titles, pa.string()))


def _discs(tracks: TrackLists, positions: pa.Array) -> np.ndarray:
    """Return the number of discs of each album, judging by positions such as "2-03"; 0 if unknown."""
    disc = pc.struct_field(pc.extract_regex(positions, r"^(?P<disc>\d{1,2})[-.]\d+$"), "disc")
    numbers = pc.cast(disc, pa.int32()).fill_null(0).to_numpy(zero_copy_only=False)
    most = np.zeros(len(tracks.ends) - 1, np.int32)
    np.maximum.at(most, tracks.owners(), numbers)
    return most


def _titles(name: str | None, file_name: str) -> tuple[Title, ...]:
    """Parse a title and its transliterations, which are in brackets and in the ``file_name``."""
    titles = {parse_title(name or "")}
    slug = file_name.rpartition("/")[2]
    if name and not name.isascii():
        titles.add(parse_title(slug.replace("-", " ")))
    if name and name.endswith("]") and " [" in name:
        native, _, transliterated = name[:-1].partition(" [")
        titles |= {parse_title(native), parse_title(transliterated)}
    return tuple(title for title in titles if title.words) or (parse_title(slug),)


def _words(credit: Credit, *titles: Title) -> set[str]:
    words = set() if credit.various else set(credit.words)
    words.update(*(title.words for title in titles))
    return {word for word in words if len(word) > 2 and word not in _COMMON_WORDS}


def _named(local: _Parsed, listed: Credit, titles: Sequence[Title]) -> str:
    """Whether a title names the artist of the other album, such as the composer."""
    in_listed = any(not local.credit.last_words.isdisjoint(title.words) for title in titles)
    in_local = not listed.last_words.isdisjoint(local.title.words)
    if in_listed and in_local:
        return "both"  # most often an album that is named after its artist
    return "local artist" if in_listed else "listed artist" if in_local else "no"


def _kind_level(local: str | None, titled: str | None, listed: str | None) -> str:
    """Compare the kind of release that the local title names with those that the listed title and path name."""
    if local and titled:
        return "same" if local == titled else "other"
    if not local or local == "lp" or listed not in ("album", "ep", "single", "mixtape"):
        return "unknown"
    return "same" if local == listed else f"{local} instead of {listed}" if "album" in (local, listed) else "other"


def _discs_level(local: _Parsed, listed: int, *, whole: bool) -> str:
    """Compare numbers of discs. A disc with the tracks of the `whole` album is that, whatever its number."""
    if local.title.disc is not None and not whole:
        return "first disc" if local.title.disc == 1 else "further disc"
    if not local.album.discs or not listed:
        return "unknown"
    return "same" if local.album.discs == listed else "more" if local.album.discs > listed else "fewer"

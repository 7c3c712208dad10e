"""The tracks of an index: lists, search by name, and details of one track."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import by_family, family_entries
from eno.data.lute.albums import FAMILY_LABELS
from eno.files import AudioRoots, printed_file
from eno.inference.predictor import EnoPredictor, TagProbability
from eno.similarity.indexed import IndexedTracks
from eno.similarity.lookup import similar_names
from eno.similarity.substrings import SubstringIndex

_NAMES = ("title", "artist", "album")
_AT_ONCE = 20_000


class TrackCatalogue:
    """The tracks of an index of tracks, in its order.

    `predictor` is the one that predicted ``tracks.tags``. Without `audio_roots` no audio is served.
    """

    def __init__(
        self, tracks: IndexedTracks, predictor: EnoPredictor | None, audio_roots: AudioRoots | Path | None
    ) -> None:
        self._tracks, self._predictor = tracks, predictor
        self._roots = AudioRoots(()) if audio_roots is None else AudioRoots.of(audio_roots)
        self._audio_folders = [Path(os.path.realpath(folder)) for folder in self._roots.folders]
        self.rows = np.flatnonzero(tracks.index.live)
        self._names = SubstringIndex.open(tracks.index.folder / "names", self._texts())

    def __len__(self) -> int:
        return len(self.rows)

    def _texts(self) -> Iterator[pa.Array]:
        """Yield blocks of the texts that `find` searches, one text per track."""
        table = self._tracks.metadata.table.select([*_NAMES, "track_id"])
        for first in range(0, len(self.rows), _AT_ONCE):
            rows = self._tracks.metadata_rows[self.rows[first : first + _AT_ONCE]]
            *names, paths = (_plain(column).to_pylist() for column in table.take(pa.array(rows)).columns)
            # What is part of the path is found there: names of files usually repeat the title.
            yield pa.array(
                "\n".join([path, *(name for name in own if name not in path)])
                for path, *own in zip(paths, *names, strict=True)
            )

    def find(self, words: str, *, offset: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Find tracks whose title, artist, album or path contain all `words`, ignoring case and accents.

        Returns their number, and the `summary` of up to `limit` of them from `offset` on.
        """
        found = self.rows[self._names.find(_without_accents(words))]
        return len(found), self._summaries(found[offset : offset + limit])

    def row_of(self, track_id: str) -> int | None:
        """Return the row of a track, or None if the index lacks it."""
        rows = self._tracks.index.rows_of(track_id)
        return int(rows[0]) if len(rows) else None

    def like_name(self, name: str) -> list[str]:
        """Return the ids of the tracks that end with a name, have it as their title, or as their file name."""
        return similar_names(name, self._tracks.names, self._tracks.titles)

    def summary(self, row: int) -> dict[str, Any]:
        """Return the fields that lists of tracks show."""
        return self._summaries(np.array([row]))[0]

    def _summaries(self, rows: np.ndarray) -> list[dict[str, Any]]:
        known = self._tracks.metadata.table.select(["track_id", *_NAMES, "year", "duration_s"])
        found: list[dict[str, Any]] = known.take(pa.array(self._tracks.metadata_rows[rows])).to_pylist()
        return found

    def detail(self, row: int) -> dict[str, Any]:
        """Return everything that is known about a track, except predicted tags and corrections."""
        known = self._metadata(row)
        lists: dict[str, Any] = {name: list(known.get(name) or ()) for name in ("genres", "descriptors")}
        lists["others"] = by_family(known.get(FAMILY_LABELS.name))
        track_id = self._tracks.index.track_id(row)
        section = self._roots.section(track_id)
        return {**self.summary(row), **lists, "audio": self.audio(track_id) is not None, "section": section}

    def _metadata(self, row: int) -> dict[str, Any]:
        return self._tracks.metadata.row(int(self._tracks.metadata_rows[row]))

    def predicted(self, row: int) -> list[TagProbability]:
        """Return all tags of a track with their probabilities, the highest first; [] without a predictor."""
        table, place = self._tracks.tags, int(self._tracks.tag_rows[row])
        if table is None or self._predictor is None or place < 0:
            return []
        return self._predictor.name_tags(table.of_tracks(np.array([place]))[:, 0])

    def familiarity(self, row: int) -> float | None:
        """Return how familiar a track is, see `eno.models.familiarity.Familiarity.of`; None if that is unknown."""
        table, place = self._tracks.tags, int(self._tracks.tag_rows[row])
        return None if table is None or table.familiarity is None or place < 0 else float(table.familiarity[place])

    def audio(self, track_id: str) -> Path | None:
        """Return the audio file of a track; None if it is missing, or a link that leads out of the audio folders."""
        for folder in self._audio_folders:
            path = Path(os.path.realpath(printed_file(folder, self._roots.file_name(track_id))))
            if path.is_file() and any(map(path.is_relative_to, self._audio_folders)):
                return path
        return None

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of tracks with each predicted tag, or without a predictor with each tag of the catalogue."""
        table = self._tracks.tags
        if table is None:
            return {tag: count for (_, tag), count in self.known_tags.items()}
        places = self._tracks.tag_rows[self.rows]
        shown = np.zeros(len(table.track_ids), bool)
        shown[places[places >= 0]] = True
        # Halves from 0 to 1 are in the same order as their bits, which are compared much faster.
        limits = np.asarray(table.thresholds, np.float16)
        limits = np.where(limits > table.thresholds, np.nextafter(limits, np.float16(-1)), limits)
        limits = np.maximum(limits, np.float16(0)).view(np.uint16)
        counts = []
        for of_tag, limit in zip(table.probabilities, limits, strict=True):
            counts.append(int(np.count_nonzero((np.asarray(of_tag).view(np.uint16) > limit) & shown)))
            table.forget()
        return dict(zip(table.names, counts, strict=True))

    @cached_property
    def known_tags(self) -> dict[tuple[str, str], int]:
        """(family, tag) → number of tracks, for the tags of the catalogue."""
        found: dict[tuple[str, str], int] = {}
        table = self._tracks.metadata.table.select(["genres", "descriptors", FAMILY_LABELS.name])
        table = table.take(pa.array(self._tracks.metadata_rows[self.rows]))
        for family, column in (("genre", "genres"), ("descriptor", "descriptors")):
            for one in pc.value_counts(pc.list_flatten(table[column]).combine_chunks()).to_pylist():
                if one["values"]:
                    found[family, one["values"]] = one["counts"]
        _, others = family_entries(table[FAMILY_LABELS.name])
        return found | Counter((one["family"], one["label"]) for one in others.to_pylist())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    letters = pc.utf8_normalize(pc.fill_null(column.cast(pa.string()), ""), "NFKD")
    return pc.utf8_lower(pc.replace_substring_regex(letters, r"\p{M}+", ""))


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.category(letter).startswith("M")).lower()

"""The tracks of an index, to be listed and searched by name, and what is known of each."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.files import printed_file
from eno.inference.predictor import EnoPredictor, TagProbability
from eno.similarity.indexed import IndexedTracks

_NAMES = ("title", "artist", "album")
_SHOWN = (*_NAMES, "year", "duration_s")


@dataclass(frozen=True)
class Found:
    """Some of the tracks that were looked for.

    Attributes
    ----------
    total : int
        How many there are.
    tracks : list of dict
        Those of the page: ``id``, ``title``, ``artist``, ``album``, ``year``, ``duration_s``.
    """

    total: int
    tracks: list[dict[str, Any]]


class TrackCatalogue:
    """Tracks of an index, in its order.

    Parameters
    ----------
    tracks : IndexedTracks
        Of an index of tracks.
    predictor : EnoPredictor or None
        Names the tags in ``tracks.tags``.
    audio_root : Path or None
        The folder that ids are relative to.
    """

    def __init__(self, tracks: IndexedTracks, predictor: EnoPredictor | None, audio_root: Path | None) -> None:
        self._tracks, self._predictor = tracks, predictor
        self._audio_root = None if audio_root is None else Path(os.path.realpath(audio_root))
        self.rows = np.flatnonzero(tracks.index.live)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _texts(self) -> pa.Array:
        """What a search looks into, one text a track."""
        table = self._tracks.metadata.table.take(pa.array(self._tracks.metadata_rows[self.rows]))
        columns = [pc.fill_null(table[name].cast(pa.string()), "") for name in (*_NAMES, "track_id")]
        texts = pc.utf8_normalize(pc.binary_join_element_wise(*columns, "\n"), "NFKD")
        return pc.utf8_lower(pc.replace_substring_regex(texts, r"\p{M}+", ""))

    def find(self, words: str, *, offset: int, limit: int) -> Found:
        """Look for tracks by title, artist, album and file name.

        Parameters
        ----------
        words : str
            All of them must occur, whatever their case and accents; none finds everything.
        offset, limit : int
            Which of those that are found.
        """
        found = self.rows
        for word in _plain(words).split():
            found = found[
                pc.match_substring(self._texts.take(self._places(found)), word).to_numpy(zero_copy_only=False)
            ]
        return Found(len(found), [self.summary(int(row)) for row in found[offset : offset + limit]])

    def _places(self, rows: np.ndarray) -> pa.Array:
        return pa.array(np.searchsorted(self.rows, rows))

    def row_of(self, track_id: str) -> int | None:
        """Row of a track; None where there is none."""
        rows = self._tracks.index.rows_of(track_id)
        return int(rows[0]) if len(rows) else None

    def summary(self, row: int) -> dict[str, Any]:
        """What a list shows of a track."""
        known = self._known(row)
        return {"id": self._tracks.index.track_id(row), **{name: known.get(name) for name in _SHOWN}}

    def detail(self, row: int) -> dict[str, Any]:
        """All that is known of a track but its predicted tags."""
        known = self._known(row)
        lists = {name: list(known.get(name) or ()) for name in ("genres", "descriptors")}
        return {**self.summary(row), **lists, "audio": self.audio(self._tracks.index.track_id(row)) is not None}

    def _known(self, row: int) -> dict[str, Any]:
        return self._tracks.metadata.row(int(self._tracks.metadata_rows[row]))

    def predicted(self, row: int) -> list[TagProbability]:
        """Every tag that the predictor knows, the likeliest first; none without a predictor."""
        table, place = self._tracks.tags, int(self._tracks.tag_rows[row])
        if table is None or self._predictor is None or place < 0:
            return []
        return self._predictor.name_tags(np.asarray(table.probabilities[:, place], np.float32))

    def audio(self, track_id: str) -> Path | None:
        """The file of a track of the catalogue, if it is below the audio folder, also after links were followed."""
        if self._audio_root is None:
            return None
        path = Path(os.path.realpath(printed_file(self._audio_root, track_id)))
        return path if path.is_relative_to(self._audio_root) and path.is_file() else None

    @cached_property
    def counts(self) -> dict[str, int]:
        """In how many tracks each tag is named: by the predictor, or else in the catalogue."""
        table = self._tracks.tags
        if table is not None:
            places = self._tracks.tag_rows[self.rows]
            places = places[places >= 0]
            above = [
                np.count_nonzero(np.asarray(of_tag)[places] > limit)
                for of_tag, limit in zip(table.probabilities, table.thresholds, strict=True)
            ]
            return dict(zip(table.names, map(int, above), strict=True))
        return {tag: count for (_, tag), count in self.known_tags.items()}

    @cached_property
    def known_tags(self) -> dict[tuple[str, str], int]:
        """Tags of the catalogue by family and name, and how many tracks have each."""
        found: dict[tuple[str, str], int] = {}
        table = self._tracks.metadata.table.take(pa.array(self._tracks.metadata_rows[self.rows]))
        for family, column in (("genre", "genres"), ("descriptor", "descriptors")):
            for one in pc.value_counts(pc.list_flatten(table[column]).combine_chunks()).to_pylist():
                if one["values"]:
                    found[family, one["values"]] = one["counts"]
        return found


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.category(letter).startswith("M")).lower()

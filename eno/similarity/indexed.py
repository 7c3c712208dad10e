"""An index together with the metadata and tags of its tracks, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import family_entries
from eno.data.lute.albums import FAMILY_LABELS
from eno.errors import SimilarityError
from eno.files import AudioRoots
from eno.similarity.groups import Groups
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.lookup import match_track
from eno.similarity.metadata import TrackMetadata
from eno.similarity.tag_table import TagTable
from eno.similarity.where import Where


class IndexedTracks:
    """The rows of an index, with the metadata and predicted tags of each row's track.

    Attributes
    ----------
    metadata : TrackMetadata
        If not given, only what follows from the tracks' paths.
    metadata_rows : np.ndarray [shape=(rows,), dtype=int64]
        Row of each track in `metadata`; -1 if it has none.
    """

    def __init__(
        self, index: SimilarityIndex, metadata: TrackMetadata | None = None, tags: TagTable | None = None
    ) -> None:
        self.index, self.tags = index, tags
        self.metadata = metadata if metadata is not None else TrackMetadata.read(index.distinct_ids)
        self.metadata_rows = self._per_row(self.metadata.rows_of(index.distinct_ids))

    def _per_row(self, per_name: np.ndarray) -> np.ndarray:
        rows: np.ndarray = per_name[self.index.codes] if len(per_name) else np.zeros(0, np.int64)
        return rows

    @cached_property
    def tag_rows(self) -> np.ndarray:
        """Position of each row's track in the tag table; -1 if it has none."""
        if self.tags is None:
            return np.full(len(self.index.codes), -1)
        places = pc.fill_null(pc.index_in(self.index.distinct_ids, value_set=self.tags.track_ids), -1)
        return self._per_row(places.to_numpy().astype(np.int64))

    @cached_property
    def artists(self) -> Groups:
        """Rows grouped by artist."""
        return self.metadata.artists.spread(self.metadata_rows)

    @cached_property
    def albums(self) -> Groups:
        """Rows grouped by album."""
        return self.metadata.albums.spread(self.metadata_rows)

    @cached_property
    def tracks(self) -> Groups:
        """Rows grouped by track."""
        return Groups(self.index.codes, np.arange(len(self.index.codes) + 1))

    @cached_property
    def durations_s(self) -> np.ndarray:
        """Duration of each row's track; NaN if unknown [shape=(rows,), dtype=float64]."""
        known = self.metadata.table["duration_s"].cast(pa.float64()).to_numpy()
        of_rows: np.ndarray = np.append(known, np.nan)[self.metadata_rows]
        return of_rows

    @property
    def names(self) -> pa.Array:
        """Ids of the live tracks."""
        return self.index.live_ids

    @cached_property
    def titles(self) -> pa.Array:
        """Titles of the live tracks; null if unknown."""
        rows = self.metadata.rows_of(self.names)
        return self.metadata.table["title"].combine_chunks().take(pa.array(rows, mask=rows < 0))

    def find(self, name: Path | str, audio_roots: AudioRoots | None = None) -> str | None:
        """Return the id of the track that a name stands for; see `eno.similarity.lookup.match_track`."""
        return match_track(name, self.names, self.titles, audio_roots=audio_roots)

    def matching(self, where: Where | str | None) -> np.ndarray:
        """Return a mask of live rows that meet conditions, see `Where.mask`; raise a SimilarityError if none do."""
        if isinstance(where, str):
            where = Where(expression=where)
        if not where:
            return np.array(self.index.live)
        mask: np.ndarray = np.append(where.mask(self.metadata), False)[self.metadata_rows] & self.index.live
        if not mask.any():
            raise SimilarityError("No indexed track meets all of these conditions. Leave one of them out.")
        return mask

    def tags_of(self, rows: np.ndarray) -> dict[str, float]:
        """Return the tags of some tracks taken together with their confidence, highest first.

        Predicted tags are averaged over the tracks. A catalogue tag must belong to at least half of the tracks.
        """
        if self.tags is not None:
            places = self.tag_rows[rows]
            places = places[places >= 0]
            if len(places) == 0:
                return {}
            return self.above_threshold(self.tags.of_tracks(places).mean(axis=1))
        tracks = np.unique(self.metadata_rows[rows])
        counts = Counter(
            tag for track in tracks[tracks >= 0].tolist() for tag in dict.fromkeys(self.metadata.tags(track))
        )
        return {tag: count / len(tracks) for tag, count in counts.most_common() if 2 * count >= len(tracks)}

    def above_threshold(self, probabilities: np.ndarray) -> dict[str, float]:
        """Return the predicted tags [shape=(tags,)] above their thresholds, the most probable first."""
        assert self.tags is not None
        above = np.flatnonzero(probabilities > self.tags.thresholds)
        order = above[np.argsort(-probabilities[above], kind="stable")]
        return {self.tags.names[place]: float(probabilities[place]) for place in order}

    def vocabulary(self) -> Sequence[str]:
        """Return all tags that a track may have."""
        if self.tags is not None:
            return self.tags.names
        columns = [pc.list_flatten(self.metadata.table[name]) for name in ("genres", "descriptors")]
        columns.append(family_entries(self.metadata.table[FAMILY_LABELS.name])[1].field("label"))
        return [tag for column in columns for tag in pc.unique(column).to_pylist() if tag]

    def nearest(self, vectors: np.ndarray, n: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the `n` rows nearest to any of several unit vectors [shape=(q, dim)]; fewer if fewer are allowed.

        Returns
        -------
        scores : np.ndarray [shape=(m,), dtype=float32]
            Each row's highest cosine, in descending order.
        rows : np.ndarray [shape=(m,), dtype=int64]
        """
        n = min(n, int(np.count_nonzero(allowed)))
        if n == 0:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        scores, rows = self.index.search(vectors, n, allowed=allowed)
        if (rows < 0).any():  # the searched lists hold too few allowed rows
            scores, rows = self.index.search(vectors, n, allowed=allowed, exact=True)
        order = np.argsort(-scores, axis=None, kind="stable")
        scores, rows = scores.ravel()[order], rows.ravel()[order]
        first = np.sort(np.unique(rows, return_index=True)[1])
        first = first[rows[first] >= 0][:n]
        return scores[first], rows[first]

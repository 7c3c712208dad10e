"""An index together with what is known of its tracks, row by row."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import SimilarityError
from eno.files import printable
from eno.similarity.facts import Facts
from eno.similarity.groups import Groups
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.tag_table import TagTable
from eno.similarity.where import Where


class IndexedTracks:
    """The rows of an index, and what is known of the track of each.

    Attributes
    ----------
    index : SimilarityIndex
        Vectors.
    facts : Facts
        What the catalogue knows; folders only, where none is given.
    tags : TagTable or None
        What a predictor says.
    """

    def __init__(self, index: SimilarityIndex, facts: Facts | None = None, tags: TagTable | None = None) -> None:
        ids = index.table["track_id"].unify_dictionaries().combine_chunks()
        self.index, self.tags = index, tags
        self._names: pa.Array = ids.dictionary
        self._codes: np.ndarray = ids.indices.to_numpy()
        self.facts = facts if facts is not None else Facts.read(self._names)
        self.fact_rows = self._per_row(self.facts.rows_of(self._names))

    def _per_row(self, per_name: np.ndarray) -> np.ndarray:
        # A merged or updated index may have names in its dictionary that no row has.
        rows: np.ndarray = per_name[self._codes] if len(per_name) else np.zeros(0, np.int64)
        return rows

    @cached_property
    def tag_rows(self) -> np.ndarray:
        """Of each row its track's place in the table of tags; -1 for none."""
        if self.tags is None:
            return np.full(len(self._codes), -1)
        places = pc.fill_null(pc.index_in(self._names, value_set=self.tags.track_ids), -1)
        return self._per_row(places.to_numpy().astype(np.int64))

    @cached_property
    def artists(self) -> Groups:
        """Rows by the same artist."""
        return self.facts.artists.spread(self.fact_rows)

    @cached_property
    def albums(self) -> Groups:
        """Rows of the same album."""
        return self.facts.albums.spread(self.fact_rows)

    @cached_property
    def tracks(self) -> Groups:
        """Rows of the same track."""
        return Groups(self._codes, np.arange(len(self._codes) + 1))

    @cached_property
    def durations_s(self) -> np.ndarray:
        """Length of each row's track; NaN where it is not known [shape=(rows,), dtype=float64]."""
        known = self.facts.table["duration_s"].cast(pa.float64()).to_numpy()
        of_rows: np.ndarray = np.append(known, np.nan)[self.fact_rows]
        return of_rows

    def name(self, row: int) -> str:
        """The track of a row."""
        text: str = self._names[int(self._codes[row])].as_py()
        return text

    def rows_of(self, track_id: str) -> np.ndarray:
        """Rows of a track in ascending order of time, none for one that is not there [shape=(n,), dtype=int64]."""
        code = pc.index(self._names, track_id).as_py()
        rows = np.flatnonzero((self._codes == code) & self.index.live)
        in_time: np.ndarray = rows[np.argsort(self.index.starts_s[rows], kind="stable")]
        return in_time

    def find(self, name: Path | str, audio_root: Path | None) -> str | None:
        """Tell which track is meant.

        Parameters
        ----------
        name : Path or str
            A track id; the path of a file below the audio folder; or the end of an id in any case, if only one ends so
            and there is no such file.
        audio_root : Path or None
            The audio folder.

        Returns
        -------
        str or None
            Its id; None where there is none.
        """
        text = printable(str(name))
        if len(self.rows_of(text)):
            return text
        if os.path.exists(name):  # in place of Path.exists, which minds a name that is too long
            if audio_root is None:
                return None
            file, root = Path(name).resolve(), audio_root.resolve()
            inside = printable(file.relative_to(root).as_posix()) if file.is_relative_to(root) else ""
            return inside if len(self.rows_of(inside)) else None
        ending = self._ending_in(text)
        return ending[0] if len(ending) == 1 else None

    def _ending_in(self, text: str) -> list[str]:
        matching = pc.ends_with(pc.utf8_lower(self._names), pattern="/" + text.lower())
        names = self._names.filter(matching).to_pylist()
        return [name for name in names if len(self.rows_of(name))]

    def may_be_found(self, where: Where | str | None) -> np.ndarray:
        """Rows that count and meet conditions [shape=(rows,), dtype=bool].

        Raises
        ------
        SimilarityError
            No track meets them, or has a name in them.
        ConfigError
            They cannot be understood.
        """
        if isinstance(where, str):
            where = Where(expression=where)
        if not where:
            return np.array(self.index.live)
        mask: np.ndarray = np.append(where.mask(self.facts), False)[self.fact_rows] & self.index.live
        if not mask.any():
            raise SimilarityError("No track of the index meets the conditions. Leave one of them out.")
        return mask

    def tags_of(self, rows: np.ndarray) -> dict[str, float]:
        """Tags of some tracks together, and how surely, the surest first.

        Of predicted tags, the mean probability decides; of the catalogue's, at least half of the tracks must have one.
        """
        if self.tags is not None:
            places = self.tag_rows[rows]
            places = places[places >= 0]
            if len(places) == 0:
                return {}
            return self.named(np.asarray(self.tags.probabilities[:, places], np.float32).mean(axis=1))
        facts = np.unique(self.fact_rows[rows])
        counts = Counter(tag for fact in facts[facts >= 0].tolist() for tag in dict.fromkeys(self.facts.tags(fact)))
        return {tag: count / len(facts) for tag, count in counts.most_common() if 2 * count >= len(facts)}

    def named(self, probabilities: np.ndarray) -> dict[str, float]:
        """Predicted tags above their thresholds, the surest first."""
        assert self.tags is not None
        above = np.flatnonzero(probabilities > self.tags.thresholds)
        order = above[np.argsort(-probabilities[above], kind="stable")]
        return {self.tags.names[place]: float(probabilities[place]) for place in order}

    def known_tags(self) -> Sequence[str]:
        """All tags that a track may have."""
        if self.tags is not None:
            return self.tags.names
        columns = (self.facts.table[name] for name in ("genres", "descriptors"))
        return [tag for column in columns for tag in pc.unique(pc.list_flatten(column)).to_pylist() if tag]

    def nearest(self, vectors: np.ndarray, n: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows that are nearest to any of some vectors.

        Parameters
        ----------
        vectors : np.ndarray [shape=(q, dim)]
            Unit vectors in the index's space.
        n : int
            How many are wanted.
        allowed : np.ndarray [shape=(rows,), dtype=bool]
            Which may be found.

        Returns
        -------
        scores : np.ndarray [shape=(m,), dtype=float32]
            Highest cosines, in descending order; fewer than `n` only where fewer are allowed.
        rows : np.ndarray [shape=(m,), dtype=int64]
            Each once.
        """
        n = min(n, int(np.count_nonzero(allowed)))
        if n == 0:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        scores, rows = self.index.search(vectors, n, allowed=allowed)
        if (rows < 0).any():  # the lists that were looked into hold no more
            scores, rows = self.index.search(vectors, n, allowed=allowed, exact=True)
        order = np.argsort(-scores, axis=None, kind="stable")
        scores, rows = scores.ravel()[order], rows.ravel()[order]
        first = np.sort(np.unique(rows, return_index=True)[1])
        first = first[rows[first] >= 0][:n]
        return scores[first], rows[first]

"""An index over a store: which vectors are near to a query.

An index is a folder, by default inside its store::

    manifest.json           what it is an index of, and how good it was measured to be
    space-3.safetensors     see `eno.similarity.index.space`
    vectors-3.i16           the vectors in that space, 16 bits a value; only ever appended to
    rows-7.parquet          track and time of every vector, and whether it still counts
    finder-7.faiss          what finds candidates, see `eno.similarity.index.engine`

Numbers grow with every change; the manifest names the files that count and is replaced last, so an index is the old one
or the new one, whatever interrupts. Everything in it can be made again from the store.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.embeddings.store.pooled import state_key
from eno.errors import FingerprintMismatch, SimilarityError
from eno.files import replace_file
from eno.similarity.index.engine import Engine, read_finder
from eno.similarity.index.manifest import Manifest
from eno.similarity.index.space import Space
from eno.similarity.index.vector_file import VectorFile

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.spec import EncoderSpec

LEVELS = ("tracks", "windows")
"""What a row of an index is: the mean over a track, or one window of it."""

ROW_SCHEMA = pa.schema(
    [
        pa.field("track_id", pa.dictionary(pa.int32(), pa.string())),
        ("start_s", pa.float64()),
        ("live", pa.bool_()),
        ("part", pa.int32()),
        ("audio_hash", pa.string()),
    ]
)
"""Columns of an index's rows: what they are of, and which state of the store they were taken from."""


def index_folder(store: EmbeddingStore, level: str = "tracks") -> Path:
    """Where the index of a store lies unless another folder is named.

    Raises
    ------
    SimilarityError
        The store lies on no disk of this machine.
    """
    if store.folder.local is None:
        raise SimilarityError(f"{store.folder}: an index cannot lie there. Name a folder of this machine with --index.")
    return store.folder.local / "index" / level


class SimilarityIndex:
    """Vectors of tracks or windows, and how to find those that are near. Use `open`, or `eno.similarity.index.build`.

    Reading from several threads is safe.

    Attributes
    ----------
    folder : Path
        Where it lies.
    manifest : Manifest
        What it is.
    space : Space
        The space in which vectors are compared.
    live : np.ndarray [shape=(rows,), dtype=bool]
        Which rows count; the others are of tracks that were removed or replaced.
    starts_s : np.ndarray [shape=(rows,), dtype=float64]
        Where the window of every row begins; 0 for whole tracks.
    engine : Engine
        What finds candidates.
    """

    def __init__(self, folder: Path, manifest: Manifest, space: Space, rows: pa.Table, *, writable: bool) -> None:
        self.folder, self.manifest, self.space = folder, manifest, space
        self.table = rows
        self.live = rows["live"].to_numpy()
        self.starts_s = rows["start_s"].to_numpy()
        self._vectors = VectorFile(folder / manifest.vectors, manifest.rows, space.dim)
        finder = read_finder(folder / manifest.finder, manifest.rows, space.dim, mapped=not writable)
        self.engine = Engine(finder, self._vectors, growing=writable)

    @classmethod
    def open(cls, folder: Path | str, *, writable: bool = False) -> SimilarityIndex:
        """Open an index.

        Parameters
        ----------
        folder : Path or str
            Where it lies.
        writable : bool
            Hold what finds candidates in memory instead of mapping them, so that rows can be added.

        Raises
        ------
        SimilarityError
            There is none, or one of its files is missing, cut short or damaged.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        try:
            rows = pq.read_table(folder / manifest.rows_file, schema=ROW_SCHEMA)
        except (OSError, pa.ArrowException) as error:
            raise SimilarityError(
                f"{folder / manifest.rows_file}: is missing or damaged ({error}). "
                "Build the index again: eno index build."
            ) from error
        if len(rows) != manifest.rows:
            raise SimilarityError(
                f"{folder / manifest.rows_file}: has {len(rows)} rows, expected {manifest.rows}. "
                "Build the index again: eno index build."
            )
        return cls(folder, manifest, Space.load(folder / manifest.space), rows, writable=writable)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.live))

    @property
    def level(self) -> str:
        """``"tracks"`` or ``"windows"``."""
        return self.manifest.level

    @cached_property
    def ids(self) -> np.ndarray:
        """Track of every row [shape=(rows,), dtype=object], also of those that do not count."""
        column = self.table["track_id"].unify_dictionaries().combine_chunks()
        names: np.ndarray = column.dictionary.to_numpy(zero_copy_only=False)[column.indices.to_numpy()]
        return names

    def track_ids(self) -> list[str]:
        """Ids of the tracks that can be found, sorted."""
        return sorted(set(self.ids[self.live].tolist()))

    def rows_of(self, track_ids: Sequence[str]) -> np.ndarray:
        """Rows of some tracks, those of each track in ascending order of time [shape=(n,), dtype=int64].

        Raises
        ------
        SimilarityError
            A track is not in the index.
        """
        found = [self._rows_of(name) for name in track_ids]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def _rows_of(self, track_id: str) -> np.ndarray:
        order = self._by_name
        first, last = (side(order, track_id, key=self.ids.__getitem__) for side in (bisect.bisect_left, bisect.bisect))
        rows = order[first:last]
        rows = rows[self.live[rows]]
        if len(rows) == 0:
            raise SimilarityError(f"{track_id!r} is not in the index {self.folder}.{self._like(track_id)}")
        in_time: np.ndarray = rows[np.argsort(self.starts_s[rows], kind="stable")]
        return in_time

    @cached_property
    def _by_name(self) -> np.ndarray:
        return np.argsort(self.ids.astype(str), kind="stable") if len(self.ids) else np.zeros(0, np.int64)

    def _like(self, track_id: str) -> str:
        from rapidfuzz import process

        close = process.extractOne(track_id, self.track_ids(), score_cutoff=60)
        return f" Did you mean {close[0]!r}?" if close else ""

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of rows in the index's space [shape=(n, dim), dtype=float32], of length 1 but for rounding."""
        return self._vectors.read(rows)

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows that are nearest to queries.

        Parameters
        ----------
        queries : np.ndarray [shape=(q, dim)]
            Vectors in the index's space, as ``index.space.apply`` gives them.
        k : int
            Rows that are wanted for each.
        allowed : np.ndarray [shape=(rows,), dtype=bool], optional
            Which rows may be found: the others are passed over in the search, not after it.
        exact : bool
            Compare all rows, whatever kind of index it is.

        Returns
        -------
        scores : np.ndarray [shape=(q, k), dtype=float32]
            Cosines, the highest first; -inf where there are fewer than `k` rows.
        rows : np.ndarray [shape=(q, k), dtype=int64]
            -1 where there are fewer.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.space.dim:
            raise ValueError(f"queries have the shape {queries.shape}; expected (q, {self.space.dim}).")
        if k < 1:
            raise ValueError(f"k is {k}; at least 1 row must be asked for.")
        may = self._all_live if allowed is None else allowed & self.live
        if exact:
            return self._vectors.nearest(queries, k, may)
        return self.engine.search(queries, k, may, self.manifest.probes)

    @cached_property
    def _all_live(self) -> np.ndarray | None:
        return None if self.live.all() else self.live

    def require(self, spec: EncoderSpec) -> None:
        """Make sure that it is an index of this encoder's vectors.

        Raises
        ------
        FingerprintMismatch
            It is not.
        """
        if spec.fingerprint != self.manifest.fingerprint:
            raise FingerprintMismatch(
                f"the index {self.folder} of {self.manifest.encoder}",
                spec.label,
                "Build the index of that encoder's store ('eno index build').",
            )

    def is_older_than(self, store: EmbeddingStore) -> bool:
        """Whether the store has changed since the index was built or brought up to date."""
        return state_key(store) != self.manifest.state

    def blocks(self) -> Any:
        """Go through all rows in their order: number of the first one, and float32 vectors."""
        return self._vectors.blocks()


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write the rows of an index."""
    with replace_file(path) as temporary:
        pq.write_table(rows.cast(ROW_SCHEMA), temporary, compression="zstd")

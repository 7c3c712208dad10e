"""The nearest-neighbour index of a store.

An index is a folder, by default inside its store::

    manifest.json           see `eno.similarity.index.manifest`
    space-3.safetensors     see `eno.similarity.index.space`
    vectors-3.i16           the vectors in that space, 16 bits per value; append-only
    rows-7.arrow            track and time of every vector, and whether it is live
    finder-7.faiss          the FAISS index, see `eno.similarity.index.ann`
    metadata.arrow          see `eno.similarity.kept_metadata`
    tags/                   see `eno.similarity.tag_table`

Numbers increase with every change. The manifest lists the current files and is replaced last, so an interruption leaves
either the old index or the new one. The files before the last change are kept until the next one, for readers that are
opening them. Everything can be rebuilt from the store.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import FingerprintMismatch, SimilarityError
from eno.similarity.columns import flat
from eno.similarity.index.ann import AnnIndex, read_faiss
from eno.similarity.index.manifest import Manifest
from eno.similarity.index.row_file import read_rows
from eno.similarity.index.space import Space
from eno.similarity.index.vector_file import VectorFile

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.spec import EncoderSpec
    from eno.views import RowView

LEVELS = ("tracks", "windows")
"""A row of an index is either the mean vector of a track or the vector of one window."""

ROW_SCHEMA = pa.schema(
    [
        pa.field("track_id", pa.dictionary(pa.int32(), pa.string())),
        ("start_s", pa.float64()),
        ("live", pa.bool_()),
        ("part", pa.int32()),
        ("samples_hash", pa.string()),
    ]
)
"""Columns of the table of rows. ``part`` and ``samples_hash`` identify the state of the store that was indexed."""
_FEW_EXCLUDED = 100
_ATTEMPTS = 5  # to read an index that others write
_EARLIER_NAMES = {"audio_hash": "samples_hash"}


def index_folder(store: EmbeddingStore, level: str = "tracks") -> Path:
    """Return the default folder of a store's index; raise a SimilarityError if the store is not on a local disk."""
    if store.folder.local is None:
        raise SimilarityError(
            f"{store.folder}: an index must be on a local disk, and this store is not. Specify a folder with --index."
        )
    return store.folder.local / "index" / level


class SimilarityIndex:
    """Searchable vectors of tracks or windows. Use `open`, or `eno.similarity.index.build`. Safe to read from threads.

    Attributes
    ----------
    table : pa.Table
        The rows, see `ROW_SCHEMA`.
    live : np.ndarray [shape=(rows,), dtype=bool]
        False for rows of tracks that were removed or replaced.
    starts_s : np.ndarray [shape=(rows,), dtype=float64]
        Start of each row's window in seconds; 0 for whole tracks.
    distinct_ids : pa.Array
        Distinct track ids, including those without live rows.
    codes : np.ndarray [shape=(rows,)]
        Position of each row's track in `distinct_ids`.
    """

    def __init__(self, folder: Path, manifest: Manifest, space: Space, rows: pa.Table, *, writable: bool) -> None:
        self.folder, self.manifest, self.space = folder, manifest, space
        self.table = rows
        self.live = rows["live"].to_numpy()
        self.starts_s = rows["start_s"].to_numpy()
        tracks = flat(rows["track_id"].unify_dictionaries())
        self.distinct_ids: pa.Array = tracks.dictionary
        self.codes: np.ndarray = tracks.indices.to_numpy()
        self._vectors = VectorFile(folder / manifest.vectors, manifest.rows, space.dim)
        faiss_index = read_faiss(folder / manifest.finder, manifest.rows, space.dim, mapped=not writable)
        self.ann = AnnIndex(faiss_index, self._vectors, growing=writable)

    @classmethod
    def open(cls, folder: Path | str, *, writable: bool = False) -> SimilarityIndex:
        """Open an index. If it is `writable`, FAISS's index is loaded into memory instead of mapped."""
        folder = Path(folder)
        manifest = Manifest.read(folder)
        for _ in range(_ATTEMPTS):
            try:
                return cls.read(folder, manifest, writable=writable)
            except SimilarityError:
                before, manifest = manifest, Manifest.read(folder)
                if manifest == before:
                    raise
        return cls.read(folder, manifest, writable=writable)  # it changes faster than it can be read

    @classmethod
    def read(cls, folder: Path, manifest: Manifest, *, writable: bool = False) -> SimilarityIndex:
        """Open the files that a manifest lists."""
        path = folder / manifest.rows_file
        try:
            table = read_rows(path)
            names = [_EARLIER_NAMES.get(name, name) for name in table.column_names]
            rows = table.rename_columns(names).select(ROW_SCHEMA.names).cast(ROW_SCHEMA)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise SimilarityError(
                f"{path}: is missing or damaged ({error}). Rebuild the index: eno index build."
            ) from error
        if len(rows) != manifest.rows:
            raise SimilarityError(
                f"{path}: has {len(rows)} rows, expected {manifest.rows}. Rebuild the index: eno index build."
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
        """Track id of every row, including those that are not live [shape=(rows,), dtype=object]."""
        ids: np.ndarray = self.distinct_ids.to_numpy(zero_copy_only=False)[self.codes]
        return ids

    @cached_property
    def live_ids(self) -> pa.Array:
        """Ids of the tracks that have live rows, in the order of `distinct_ids`."""
        live = np.bincount(self.codes[self.live], minlength=len(self.distinct_ids)) > 0
        return self.distinct_ids if live.all() else self.distinct_ids.filter(pa.array(live))

    def track_ids(self) -> list[str]:
        """Return the ids of all live tracks, sorted."""
        return sorted(self.live_ids.to_pylist())

    def track_id(self, row: int) -> str:
        """Return the track of a row."""
        return str(self.distinct_ids[int(self.codes[row])])

    def rows_of(self, track_id: str) -> np.ndarray:
        """Return the live rows of a track in order of time [shape=(n,), dtype=int64]; none for an unknown track."""
        code = pc.index(self.distinct_ids, track_id).as_py()
        rows = np.flatnonzero((self.codes == code) & self.live)
        in_time: np.ndarray = rows[np.argsort(self.starts_s[rows], kind="stable")]
        return in_time

    def first_rows(self, track_ids: Sequence[str]) -> np.ndarray:
        """Return the first live row of each track [shape=(n,), dtype=int64]; -1 for tracks that have none."""
        row_of, live = np.full(len(self.distinct_ids) + 1, -1), np.flatnonzero(self.live)[::-1]
        row_of[self.codes[live]] = live
        codes = pc.index_in(pa.array(track_ids, pa.string()), value_set=self.distinct_ids)
        rows: np.ndarray = row_of[codes.fill_null(len(self.distinct_ids)).to_numpy(zero_copy_only=False)]
        return rows

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return vectors in the index's space [shape=(n, dim), dtype=float32], of length 1 up to rounding."""
        return self._vectors.read(rows)

    def view(self, rows: np.ndarray) -> RowView:
        """Return a view of rows [shape=(n,)] that reads their `vectors` when it is indexed."""
        return self._vectors.view(rows)

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows.

        Parameters
        ----------
        queries : np.ndarray [shape=(q, dim)]
            From ``index.space.apply``.
        allowed : np.ndarray [shape=(rows,), dtype=bool], optional
            Rows that may be found. The filter is applied during the search, not afterwards.
        exact : bool
            Search exhaustively, regardless of the kind of index.

        Returns
        -------
        scores : np.ndarray [shape=(q, k), dtype=float32]
            Cosines, highest first; padded with -inf.
        rows : np.ndarray [shape=(q, k), dtype=int64]
            Padded with -1.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.space.dim:
            raise ValueError(f"queries have the shape {queries.shape}; expected (q, {self.space.dim}).")
        k = operator.index(k)  # FAISS does not take integers of NumPy
        if k < 1:
            raise ValueError(f"k is {k}; expected at least 1.")
        mask = self.allowed(allowed)
        if exact:
            return self._vectors.nearest(queries, k, mask)
        # The nearest rows that are allowed are among the k + excluded nearest of all.
        excluded = 0 if mask is None else len(mask) - int(np.count_nonzero(mask))
        few = excluded <= _FEW_EXCLUDED
        probes = self.manifest.probes_for(k - 1 + excluded if few else k - 1)
        return self.ann.search(queries, k, mask, probes, widen=not few)

    def forget(self) -> None:
        """Take the vectors that were read out of this process's memory.

        With each row the system maps 64 KiB around it, so that some searches make the whole file count.
        """
        self._vectors.forget()

    @cached_property
    def _all_live(self) -> bool:
        return bool(self.live.all())

    def allowed(self, rows: np.ndarray | None = None) -> np.ndarray | None:
        """Return a mask of the live rows among some [shape=(rows,), dtype=bool]; None for all rows."""
        if rows is None:
            return None if self._all_live else self.live
        mask: np.ndarray = rows & self.live
        return mask

    def require(self, spec: EncoderSpec) -> None:
        """Raise a FingerprintMismatch unless the index holds vectors of this encoder."""
        if spec.fingerprint != self.manifest.fingerprint:
            raise FingerprintMismatch(
                f"the index {self.folder} of {self.manifest.encoder}",
                spec.label,
                "Build an index of that encoder's store: eno index build.",
            )

    def is_older_than(self, store: EmbeddingStore) -> bool:
        """Whether the store has changed since it was indexed."""
        return self.manifest.state not in store.states()

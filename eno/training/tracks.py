"""From a store and a split to what a head is fitted on and judged by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from eno.data.labels.encoder import LabelEncoder
from eno.data.lute.albums import LABEL_COLUMNS
from eno.data.splits.artist_split import GROUP, read_split
from eno.data.splits.stratify import SPLITS
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import LabelError
from eno.models import Head, Vectors
from eno.tagging import vectors_for


@dataclass(frozen=True)
class LabelledTracks:
    """Vectors of tracks and the labels of their albums.

    Attributes
    ----------
    ids : list of str
        Tracks.
    X : Vectors [shape=(n, dim) or (n, layers, dim)]
        Their vectors, left in the store; or their windows.
    Y : scipy.sparse.csr_array [shape=(n, num_labels), dtype=float32]
        Their labels, 0 to 1: secondary genres may weigh less.
    albums, groups : np.ndarray [shape=(n,), dtype=object]
        Album of each track, and the group of artists that it belongs to.
    """

    ids: list[str]
    X: Vectors
    Y: sparse.csr_array
    albums: np.ndarray
    groups: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """What they are judged by: 1 for every label, whatever its weight [shape=(n, num_labels), dtype=float32]."""
        truth: np.ndarray = (self.Y.toarray() > 0).astype(np.float32)
        return truth


@dataclass(frozen=True)
class Collection:
    """A store, a split of its tracks, and the labels to be learned.

    Attributes
    ----------
    store : EmbeddingStore
        Vectors.
    splits : Path
        Folder of ``train.parquet``, ``val.parquet`` and ``test.parquet``.
    labels : LabelEncoder
        The vocabulary.
    """

    store: EmbeddingStore
    splits: Path
    labels: LabelEncoder

    def tracks(self, part: str, *, head: Head | None = None) -> LabelledTracks:
        """Read one part, without the tracks that could not be embedded.

        Parameters
        ----------
        part : {"train", "val", "test"}
            Which one.
        head : Head, optional
            Vectors are returned in the form that it takes, see `eno.tagging.vectors_for`. Without it each track's mean.

        Raises
        ------
        StoreError
            The store lacks tracks of the split, and they are not among its failures.
        CatalogueError
            The split cannot be read, or is empty.
        """
        rows = read_split(self.splits, part)
        failed = pa.array([failure.track_id for failure in self.store.ledger.failures()], pa.string())
        rows = rows.filter(pc.invert(pc.is_in(rows["track_id"], value_set=failed)))
        if len(rows) == 0:
            raise LabelError(f"{self.splits / part}.parquet: holds no tracks that could be embedded.")
        rows = rows.sort_by("track_id")
        ids = rows["track_id"].to_pylist()
        return LabelledTracks(
            ids,
            self.store.view(ids) if head is None else vectors_for(head, self.store, ids),
            self.labels.encode_many(*(rows[name] for name in LABEL_COLUMNS)),
            rows["file_name"].to_numpy(),
            rows[GROUP.name].to_numpy(),
        )

    def sizes(self) -> dict[str, int]:
        """Tracks of each part, also those that could not be embedded."""
        return {part: len(read_split(self.splits, part)) for part in SPLITS}


def split_ids(splits: Path) -> pa.Table:
    """Every track of the splits in a folder, and its part: columns ``track_id`` and ``part``."""
    parts = [(read_split(splits, part)["track_id"], part) for part in SPLITS]
    names = pa.chunked_array([chunk for ids, _ in parts for chunk in ids.chunks], pa.string())
    return pa.table({"track_id": names, "part": np.repeat(SPLITS, [len(ids) for ids, _ in parts])})


def split_hash(tracks: pa.Table) -> str:
    """Twelve hexadecimal digits that change when any track changes its part; rows as `split_ids` gives them."""
    rows = sorted(zip(tracks["part"].to_pylist(), tracks["track_id"].to_pylist(), strict=True))
    return hashlib.sha256("\n".join(f"{part}\t{track_id}" for part, track_id in rows).encode()).hexdigest()[:12]

"""From a store and a split to what a head is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.albums import LABEL_COLUMNS
from eno.data.labels import LabelEncoder
from eno.data.splits import read_split
from eno.embeddings.store import EmbeddingStore
from eno.errors import LabelError


@dataclass(frozen=True)
class LabelledTracks:
    """Vectors of tracks and the labels of their albums.

    Attributes
    ----------
    ids : list of str
        Tracks.
    X : np.ndarray [shape=(n, dim), dtype=float32]
        Their vectors.
    Y : np.ndarray [shape=(n, num_labels), dtype=float32]
        Their labels, 0 to 1: secondary genres may weigh less.
    """

    ids: list[str]
    X: np.ndarray
    Y: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """What they are judged by: 1 for every label, whatever its weight."""
        return (self.Y > 0).astype(np.float32)


def load_tracks(store: EmbeddingStore, folder: Path, part: str, labels: LabelEncoder) -> LabelledTracks:
    """Read the vectors and labels of one part, without the tracks that could not be embedded.

    Raises
    ------
    StoreError
        The store lacks tracks of the split, and they are not among its failures.
    CatalogueError
        The split cannot be read, or is empty.
    """
    rows = read_split(folder, part)
    failed = pa.array([failure.track_id for failure in store.ledger.failures()], pa.string())
    rows = rows.filter(pc.invert(pc.is_in(rows["track_id"], value_set=failed)))
    if len(rows) == 0:
        raise LabelError(f"{folder / part}.parquet: holds no tracks that could be embedded.")
    ids, X = store.matrix(rows["track_id"].to_pylist())
    return LabelledTracks(ids, X, labels.encode_many(*(rows[name] for name in LABEL_COLUMNS)).toarray())

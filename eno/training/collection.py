"""A collection to train and evaluate on: an embedding store, splits and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

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
from eno.inference.predictor_folder import PredictorParts
from eno.models import Head, Vectors
from eno.tagging import vectors_for


@dataclass(frozen=True)
class LabelledTracks:
    """Vectors of tracks and the labels of their albums.

    Attributes
    ----------
    X : Vectors [shape=(n, dim) or (n, layers, dim)]
        Means over windows, read from the store on access; or all windows, in memory.
    Y : scipy.sparse.csr_array [shape=(n, num_labels), dtype=float32]
        0 to 1; secondary genres may have a lower weight.
    albums, groups : np.ndarray [shape=(n,), dtype=object]
        The album of each track, and the group of artists that it belongs to.
    """

    ids: list[str]
    X: Vectors
    Y: sparse.csr_array
    albums: np.ndarray
    groups: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """Labels for evaluation: 1 whatever the weight [shape=(n, num_labels), dtype=float32]."""
        truth: np.ndarray = (self.Y.toarray() > 0).astype(np.float32)
        return truth


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """Predictions for the tracks of a split, before calibration.

    Attributes
    ----------
    probabilities, truth : np.ndarray [shape=(n, num_labels), dtype=float32]
    albums, groups : np.ndarray [shape=(n,), dtype=object]
        As in `LabelledTracks`.
    """

    ids: list[str]
    probabilities: np.ndarray
    truth: np.ndarray
    albums: np.ndarray
    groups: np.ndarray

    def select(self, ids: Sequence[str]) -> SplitPredictions:
        """Return the predictions for some of the tracks, in this order."""
        places = {track_id: row for row, track_id in enumerate(self.ids)}
        rows = np.array([places[track_id] for track_id in ids], np.int64)
        return SplitPredictions(
            list(ids), self.probabilities[rows], self.truth[rows], self.albums[rows], self.groups[rows]
        )


class PredictionSource(Protocol):
    """Prepared inputs of a predictor, vectors or features, with which it can be evaluated."""

    def predict(self, parts: PredictorParts, split: str, *, limit: int | None = None) -> SplitPredictions:
        """Predict the tracks of a split, with the predictor's own vocabulary.

        Parameters
        ----------
        split : {"train", "val", "test"}
        limit : int, optional
            Use a random sample of this size; always the same one.
        """


@dataclass(frozen=True)
class Collection:
    """An embedding store, a split of its tracks, and the labels to train on.

    Attributes
    ----------
    splits : Path
        Folder of ``train.parquet``, ``val.parquet`` and ``test.parquet``.
    labels : LabelEncoder
        The vocabulary.
    """

    store: EmbeddingStore
    splits: Path
    labels: LabelEncoder

    def tracks(self, split: str, *, head: Head | None = None) -> LabelledTracks:
        """Read a split, except tracks that could not be embedded, sorted by track id.

        Parameters
        ----------
        split : {"train", "val", "test"}
        head : Head, optional
            Return the vectors that this head takes, see `eno.tagging.vectors_for`; without it the mean of each track.

        Raises
        ------
        StoreError
            Tracks of the split are missing in the store, and not among its failures.
        CatalogueError
            The split cannot be read, or is empty.
        """
        rows = read_split(self.splits, split)
        failed = pa.array([failure.track_id for failure in self.store.ledger.failures()], pa.string())
        rows = rows.filter(pc.invert(pc.is_in(rows["track_id"], value_set=failed)))
        if len(rows) == 0:
            raise LabelError(f"{self.splits / split}.parquet: none of its tracks could be embedded.")
        rows = rows.sort_by("track_id")
        ids = rows["track_id"].to_pylist()
        return LabelledTracks(
            ids,
            self.store.view(ids) if head is None else vectors_for(head, self.store, ids),
            encode_labels(rows, self.labels),
            rows["file_name"].to_numpy(),
            rows[GROUP.name].to_numpy(),
        )

    def predict(self, parts: PredictorParts, split: str, *, limit: int | None = None) -> SplitPredictions:
        """See `PredictionSource.predict`.

        Raises
        ------
        FingerprintMismatch
            The store was made by another encoder than that of the predictor.
        """
        self.store.require(parts.spec)
        tracks = replace(self, labels=parts.labels).tracks(split, head=parts.head)
        rows = sample_rows(len(tracks.ids), limit)
        probabilities = parts.head.predict_proba(tracks.X[rows])
        truth = (tracks.Y[rows].toarray() > 0).astype(np.float32)
        ids = [tracks.ids[row] for row in rows]
        return SplitPredictions(ids, probabilities, truth, tracks.albums[rows], tracks.groups[rows])

    def sizes(self) -> dict[str, int]:
        """Return the number of tracks of each split, including those that could not be embedded."""
        return {split: len(read_split(self.splits, split)) for split in SPLITS}


def sample_rows(count: int, limit: int | None) -> np.ndarray:
    """Return at most `limit` of `count` rows, ascending [dtype=int64]; always the same sample."""
    return np.sort(np.random.default_rng(0).permutation(count)[:limit])


def encode_labels(rows: pa.Table, labels: LabelEncoder) -> sparse.csr_array:
    """Return the labels of the tracks of a split table [shape=(n, num_labels), dtype=float32]."""
    return labels.encode_many(*(rows[name] for name in LABEL_COLUMNS))


def split_ids(splits: Path) -> pa.Table:
    """Return the split of every track: columns ``track_id`` and ``split``."""
    ids = [read_split(splits, split)["track_id"] for split in SPLITS]
    names = pa.chunked_array([chunk for one in ids for chunk in one.chunks], pa.string())
    return pa.table({"track_id": names, "split": np.repeat(SPLITS, [len(one) for one in ids])})


def split_hash(tracks: pa.Table) -> str:
    """Return a hash of `split_ids`, twelve hexadecimal digits; the order of the rows does not matter."""
    rows = sorted(zip(tracks["split"].to_pylist(), tracks["track_id"].to_pylist(), strict=True))
    return hashlib.sha256("\n".join(f"{split}\t{track_id}" for split, track_id in rows).encode()).hexdigest()[:12]

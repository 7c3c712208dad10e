"""A collection to train and evaluate on: an embedding store, splits and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from eno.data.families import heading
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.values import present
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import GROUP, read_split
from eno.data.splits.labelled import read_labelled
from eno.data.splits.stratify import SPLITS
from eno.embeddings.store.joined_stores import Stores
from eno.errors import LabelError
from eno.inference.predictor_folder import PredictorParts
from eno.models import Head, Vectors
from eno.models.exclusive import ExclusiveLabels
from eno.models.label_weights import LabelWeights
from eno.models.training_data import select
from eno.tagging import vectors_for


@dataclass(frozen=True)
class LabelledTracks:
    """Embeddings of tracks and the labels of their albums.

    Attributes
    ----------
    X : Vectors [shape=(n, dim) or (n, layers, dim)]
        Means over windows, read from the store on access; or all windows, in memory.
    Y : scipy.sparse.csr_array [shape=(n, num_labels), dtype=float32]
        0 to 1: the values of labels that have one, `secondary_weight` for secondary genres, else 1.
    weights : LabelWeights
        Weight of every label in training: 0 for the labels of a family of which the album has none at all, since nobody
        may have named them; higher for users' corrections.
    albums, groups : np.ndarray [shape=(n,), dtype=object]
        Album and artist group of each track.
    """

    ids: list[str]
    X: Vectors
    Y: sparse.csr_array
    weights: LabelWeights
    albums: np.ndarray
    groups: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """Which labels are present, for evaluation [shape=(n, num_labels), dtype=bool]."""
        return binary(self.Y)

    @property
    def known(self) -> np.ndarray | None:
        """Which labels are known [shape=(n, num_labels), dtype=bool]; None if all are."""
        return self.weights.known()


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """Uncalibrated predictions for the tracks of a split; `albums` and `groups` as in `LabelledTracks`.

    Attributes
    ----------
    probabilities : np.ndarray [shape=(n, num_labels), dtype=float32]
    truth : np.ndarray [shape=(n, num_labels), dtype=bool]
        Which labels are present.
    known : np.ndarray [shape=(n, num_labels), dtype=bool] or None
        Which labels are known; None if all are.
    """

    ids: list[str]
    probabilities: np.ndarray
    truth: np.ndarray
    known: np.ndarray | None
    albums: np.ndarray
    groups: np.ndarray

    def select(self, ids: Sequence[str]) -> SplitPredictions:
        """Return the predictions for some of the tracks, in this order."""
        places = {track_id: row for row, track_id in enumerate(self.ids)}
        rows = np.array([places[track_id] for track_id in ids], np.int64)
        known = None if self.known is None else self.known[rows]
        return SplitPredictions(
            list(ids), self.probabilities[rows], self.truth[rows], known, self.albums[rows], self.groups[rows]
        )


class PredictionSource(Protocol):
    """Precomputed embeddings or features, on which a predictor can be evaluated."""

    def predict(self, parts: PredictorParts, split: str, *, limit: int | None = None) -> SplitPredictions:
        """Predict the tracks of a split with the predictor's own vocabulary, or a fixed random sample of `limit`."""


@dataclass(frozen=True)
class Collection:
    """An embedding store, or several that are joined; the folder of the splits, and the vocabulary to train on.

    With the `data` of a collection, tracks have the labels that its tables have now; without, those at the time of the
    split.
    """

    store: Stores
    splits: Path
    labels: LabelEncoder
    data: DataRoot | None = None

    def tracks(self, *splits: str, head: Head | None = None) -> LabelledTracks:
        """Read one or several splits, except tracks that could not be embedded or are not in all stores.

        They are sorted by track id.

        Parameters
        ----------
        head : Head, optional
            The head to prepare the embeddings for, see `eno.tagging.vectors_for`. By default the mean of each track.

        Raises
        ------
        StoreError
            Tracks of the splits are neither in the store nor among its failures.
        CatalogueError
            A split cannot be read.
        """
        rows = read_labelled(self.splits, splits, self.data)
        files = ", ".join(f"{self.splits / split}.parquet" for split in splits)
        if len(rows) == 0:
            raise LabelError(f"{files}: there are no tracks. Make splits with: eno split")
        rows = without_tracks(rows, self.store.unavailable())
        if len(rows) == 0:
            raise LabelError(f"{files}: none of the tracks could be embedded.")
        rows = rows.sort_by("track_id")
        ids = rows["track_id"].to_pylist()
        return LabelledTracks(
            ids,
            self.store.view(ids) if head is None else vectors_for(head, self.store, ids),
            encode_labels(rows, self.labels),
            label_weights(rows, self.labels),
            rows["file_name"].to_numpy(),
            rows[GROUP.name].to_numpy(),
        )

    def predict(self, parts: PredictorParts, split: str, *, limit: int | None = None) -> SplitPredictions:
        """See `PredictionSource`; raises FingerprintMismatch if the predictor's encoder is not that of the store."""
        of_encoders = replace(self, store=self.store.require(*parts.specs), labels=parts.labels)
        tracks = of_encoders.tracks(split, head=parts.head)
        rows = sample_rows(len(tracks.ids), limit)
        ids = [tracks.ids[row] for row in rows]
        probabilities, truth = parts.head.predict_proba(select(tracks.X, rows)), binary(tracks.Y[rows])
        known = tracks.weights[rows].known()
        return SplitPredictions(ids, probabilities, truth, known, tracks.albums[rows], tracks.groups[rows])

    def sizes(self) -> dict[str, int]:
        """Return the number of tracks in each split, including those that could not be embedded."""
        return {split: len(read_split(self.splits, split)) for split in SPLITS}

    def unlabelled(self) -> dict[str, int]:
        """Return the number of tracks, of all splits, whose album has no label at all of each family to train on."""
        counts = (~self.labels.known_in(read_labelled(self.splits, SPLITS, self.data))).sum(axis=0).tolist()
        families = zip(self.labels.by_family.items(), counts, strict=True)
        return {heading(family): count for (family, names), count in families if names}


def without_tracks(rows: pa.Table, track_ids: Sequence[str]) -> pa.Table:
    """Return the rows of a split, except those of some tracks."""
    return rows.filter(pc.invert(pc.is_in(rows["track_id"], value_set=pa.array(track_ids, pa.string()))))


def sample_rows(count: int, limit: int | None) -> np.ndarray:
    """Return a fixed random sample of at most `limit` of `count` rows, in ascending order [dtype=int64]."""
    return np.sort(np.random.default_rng(0).permutation(count)[:limit])


def binary(labels: sparse.csr_array) -> np.ndarray:
    """Return which labels are present [dtype=bool]; see `eno.data.labels.values`."""
    truth: np.ndarray = present(labels).toarray()
    return truth


def encode_labels(rows: pa.Table, labels: LabelEncoder) -> sparse.csr_array:
    """Encode the labels of the tracks of a split with their values [shape=(n, num_labels), dtype=float32]."""
    return labels.encode_targets(rows)


def label_weights(rows: pa.Table, labels: LabelEncoder) -> LabelWeights:
    """Return weights for the labels of the tracks of a split; see `LabelledTracks`."""
    return LabelWeights.of_families(labels.known_in(rows), labels.family_places)


def weights_of(train: LabelledTracks, val: LabelledTracks | None = None) -> dict[str, Any]:
    """Return the arguments of `eno.models.Head.fit` for the weights of labels.

    They are left out if all weights are 1, unless the head can learn from them that the labels of one family exclude
    each other.
    """
    named = {"sample_weight": train.weights} | ({} if val is None else {"sample_weight_val": val.weights})
    exclusive = train.weights.rows.shape[1] > 1 and ExclusiveLabels.of(train.Y, train.weights)
    return {name: one for name, one in named.items() if exclusive or not (one.complete and (one.rows == 1).all())}


def split_ids(splits: Path) -> pa.Table:
    """Return the split of every track: columns ``track_id`` and ``split``."""
    ids = [read_split(splits, split)["track_id"] for split in SPLITS]
    names = pa.chunked_array([chunk for one in ids for chunk in one.chunks], pa.string())
    return pa.table({"track_id": names, "split": np.repeat(SPLITS, [len(one) for one in ids])})


def split_hash(tracks: pa.Table) -> str:
    """Hash the table of `split_ids` to twelve hexadecimal digits, regardless of the order of its rows."""
    rows = sorted(zip(tracks["split"].to_pylist(), tracks["track_id"].to_pylist(), strict=True))
    return hashlib.sha256("\n".join(f"{split}\t{track_id}" for split, track_id in rows).encode()).hexdigest()[:12]

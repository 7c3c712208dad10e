"""Calibrated tag probabilities from vectors: of windows, or of the tracks of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.labels.encoder import LabelEncoder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import JoinedStores, Stores
from eno.errors import ConfigError
from eno.models.bags import Bags
from eno.models.calibration.calibrate import Calibration
from eno.models.familiarity import Familiarity
from eno.models.hierarchy import agree, agreeing_thresholds
from eno.models.taught.tags import TaughtTags
from eno.models.types import Head, Vectors
from eno.spec import EncoderSpec
from eno.views import forget

_TRACKS_AT_ONCE = 8192

EncodedTrack: TypeAlias = Sequence[np.ndarray]
"""The vectors of a track's windows [shape=(m, layers, dim)], one array per encoder of a predictor."""


def vectors_for(head: Head, store: Stores, ids: Sequence[str]) -> Vectors:
    """Return vectors of tracks, in the order of `ids` and in the form that a head takes.

    Returns
    -------
    Vectors
        Single windows, in memory, if ``head.takes_windows``; else each track's mean, left on disk.

    Raises
    ------
    StoreError
        An id is not in the store, or a part is damaged.
    ConfigError
        The head takes windows, but several stores are joined.
    """
    if not head.takes_windows:
        return store.view(ids)
    if isinstance(store, JoinedStores):
        raise ConfigError(
            "The head takes the windows of a track, but those of several stores cannot be joined because they differ "
            "in length and number. Use one store, or a head that takes the mean of each track (mlp.pooling = 'none')."
        )
    names, _, windows = store.windows(ids)
    starts = np.flatnonzero(np.append(len(names) > 0, names[1:] != names[:-1]))
    bags = Bags(_without_single_layer(windows), np.diff(starts, append=len(names)))
    found = names[starts].tolist()  # sorted
    if found == list(ids):
        return bags
    rows = {name: row for row, name in enumerate(found)}
    return bags[np.array([rows[name] for name in ids], np.int64)]


def mean_vector(specs: Sequence[EncoderSpec], track: EncodedTrack) -> np.ndarray:
    """Return the mean over a track's windows as a head takes it [shape=(dim,) or (layers, dim)].

    With several encoders, the means are flattened and joined, see `eno.embeddings.store.joined_stores.JoinedStores`.
    """
    means = [spec.renormalise(windows.mean(axis=0)) for spec, windows in zip(specs, track, strict=True)]
    if len(means) > 1:
        return np.concatenate([mean.ravel() for mean in means])
    return means[0][0] if len(means[0]) == 1 else means[0]


class VectorTagger:
    """Base class of predictors, with or without an encoder: a head, its calibration and names of the labels.

    Attributes
    ----------
    specs : tuple of EncoderSpec
        The encoder on whose vectors the head was trained, or several whose vectors are joined.
    calibration : Calibration or None
        Of tracks; None if the head's probabilities are used as they are.
    taught : TaughtTags or None
        Tags that are predicted in addition to those of the head. `labels` has both.
    familiarity : Familiarity or None
        Compares vectors with those of training tracks; None in predictors without training, and of earlier versions.
    exponent : float
        How vectors are scaled when a tag is taught; see `eno.models.taught.space.choose_exponent`.
    """

    specs: tuple[EncoderSpec, ...]
    labels: LabelEncoder
    head: Head
    calibration: Calibration | None
    taught: TaughtTags | None = None
    familiarity: Familiarity | None = None
    exponent: float = 1.0

    @property
    def thresholds(self) -> np.ndarray:
        """Probability above which each tag of a track is predicted [shape=(num_labels,)]."""
        return self._thresholds_of(self.calibration)

    def _thresholds_of(self, calibration: Calibration | None) -> np.ndarray:
        count = len(self.labels) - len(self.taught or ())
        thresholds = np.full(count, 0.5) if calibration is None else calibration.thresholds
        if self.taught:
            thresholds = self.taught.joined(self.labels, thresholds, self.taught.thresholds)
        return agreeing_thresholds(thresholds, self.labels.ancestors)

    def predict_vectors(self, X: Vectors) -> np.ndarray:
        """Return calibrated probabilities [shape=(n, num_labels), dtype=float32] for vectors, see `vectors_for`."""
        return self.calibrated(self.head.predict_proba(X), self.taught.predict_proba(X) if self.taught else None)

    def calibrated(self, probabilities: np.ndarray, taught: np.ndarray | None = None) -> np.ndarray:
        """Calibrate probabilities of the head, join those of taught tags, and let them agree with the hierarchy."""
        if self.calibration is not None:
            probabilities = self.calibration.apply(probabilities)
        if self.taught and taught is not None:
            probabilities = self.taught.joined(self.labels, probabilities, taught)
        return agree(probabilities, self.thresholds, self.labels.ancestors)

    def predict_windows(self, tracks: Sequence[EncodedTrack]) -> np.ndarray:
        """Return calibrated probabilities of tracks [shape=(n, num_labels), dtype=float32] from their windows."""
        return self.predict_vectors(self.vectors_of(tracks))

    def vectors_of(self, tracks: Sequence[EncodedTrack]) -> Vectors:
        """Return vectors as the head takes them, from the windows of tracks."""
        if not self.head.takes_windows:
            return np.stack([mean_vector(self.specs, track) for track in tracks])
        counts = np.array([len(windows) for (windows,) in tracks])
        return Bags(_without_single_layer(np.concatenate([one for (one,) in tracks])), counts)

    def familiarity_of(self, X: Vectors) -> list[float] | list[None]:
        """Return how familiar each row is, see `eno.models.familiarity.Familiarity.of`; None if that is unknown."""
        return [None] * len(X) if self.familiarity is None else self.familiarity.of(X).tolist()

    def predict_tracks(self, store: Stores, ids: Sequence[str]) -> np.ndarray:
        """Return calibrated probabilities of distinct tracks of a store [shape=(n, num_labels), dtype=float32].

        Raises
        ------
        FingerprintMismatch
            The store holds vectors of another encoder, or several stores are needed.
        StoreError
            An id is not in the store, or a part is damaged.
        """
        probabilities = np.empty((len(ids), len(self.labels)), np.float32)
        for rows, X in self.vector_batches(store, ids):
            probabilities[rows] = self.predict_vectors(X)
        return probabilities

    def vector_batches(self, store: Stores, ids: Sequence[str]) -> Iterator[tuple[np.ndarray, Vectors]]:
        """Read vectors of distinct tracks as the head takes them, without holding all of them in memory.

        The exceptions are those of `predict_tracks`.

        Yields
        ------
        rows : np.ndarray [shape=(b,), dtype=int64]
            Positions in `ids`, each once.
        X : Vectors [length=b]
        """
        store = store.require(*self.specs)
        if isinstance(store, JoinedStores) or not self.head.takes_windows:
            means = store.view(ids)
            for first in range(0, len(ids), _TRACKS_AT_ONCE):
                rows = np.arange(first, min(first + _TRACKS_AT_ONCE, len(ids)))
                yield rows, means[rows]
                forget(means)  # otherwise all of them would count as memory of this process in the end
            return
        for owners, starts, vectors in store.live_windows(_rows_of(store, ids)):
            order = np.lexsort((starts, owners))
            rows, counts = np.unique(owners, return_counts=True)
            windows = vectors[order].astype(np.float32).reshape(len(order), -1, store.spec.dim)
            yield rows, Bags(_without_single_layer(windows), counts)


def _rows_of(store: EmbeddingStore, ids: Sequence[str]) -> pa.Table:
    tracks = store.tracks()
    places = pc.index_in(pa.array(ids, pa.string()), value_set=tracks["track_id"].combine_chunks())
    if places.null_count:
        raise store.not_found(set(ids) - set(tracks["track_id"].to_pylist()))
    return tracks.take(places)


def _without_single_layer(vectors: np.ndarray) -> np.ndarray:
    """Drop the axis of layers [shape=(m, layers, dim)] where there is only one."""
    return vectors[:, 0] if vectors.shape[1] == 1 else vectors

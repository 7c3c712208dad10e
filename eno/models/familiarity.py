"""How familiar tracks are: whether there are training tracks of other artists as near to them as usual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from eno.errors import ModelError, check_format
from eno.files import replace_file
from eno.models.training_data import as_vectors, check_finite, chunks, take
from eno.models.types import Vectors

UNFAMILIAR = 0.05
"""Tracks whose familiarity is lower are unfamiliar."""

_FORMAT = 2
_LEAST_TRACKS = round(1 / UNFAMILIAR)  # with fewer, no track could be unfamiliar
_MOST_TRACKS = 4_096  # a random sample of more, so that the file stays small and the search fast
_MOST_VALUES = 2**25  # in the vectors of the sample
_NEIGHBOURS = 5
_FOLDS = 10
_CONSTANT = 1e-3  # share of the mean below which deviations are rounding errors of half precision
_NOTHING = np.float32(1e-12)
_ROWS_AT_ONCE = 1_024  # compared with the sample: 17 MB
_FURTHEST = 60_000.0  # standard deviations, which half precision can hold


def is_unfamiliar(familiarity: float | None) -> bool:
    """Return whether a track is so unlike the training tracks that its tags are doubtful; False if that is unknown."""
    return familiarity is not None and familiarity < UNFAMILIAR


def of_album(tracks: Sequence[float | None]) -> float | None:
    """Return the familiarity of an album: the median of its tracks, or None if theirs is unknown."""
    known = [one for one in tracks if one is not None]
    return float(np.median(known)) if known else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Familiarity:
    """Compares vectors with those of training tracks, all of them or a sample.

    The distance of a track is the mean of those to its 5 nearest training tracks (Y. Sun et al., "Out-of-distribution
    detection with deep nearest neighbors", ICML 2022): the geometric mean of that among standardised vectors, and that
    among directions (vectors of unit length, as in the paper). It is compared with the distances of the training tracks
    from those of other artists. Directions are seen from the vector of zeros, not from the mean of the training tracks,
    which tells them from other sounds at least as well (``docs/benchmarks.md``).

    Attributes
    ----------
    mean, scale : np.ndarray [shape=(dim,) or (layers, dim), dtype=float32]
        Standardise a vector; 0 is the scale of a constant dimension.
    origin : np.ndarray [shape=(size,), dtype=float32]
        The standardised vector from which directions are seen. Up to version 0.2 it was the mean.
    tracks : np.ndarray [shape=(n, size), dtype=float16]
        The standardised vectors of the training tracks.
    distances : np.ndarray [shape=(n,), dtype=float32]
        Of the training tracks, in ascending order.
    """

    mean: np.ndarray
    scale: np.ndarray
    origin: np.ndarray
    tracks: np.ndarray
    distances: np.ndarray

    @classmethod
    def fit(cls, X: Vectors, groups: np.ndarray, *, seed: int = 0) -> Self | None:
        """Learn which vectors are familiar from training tracks; return None if there are fewer than 20.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
        groups : np.ndarray [shape=(n,)]
            The artist of each track. If one has most of the tracks, they count as tracks of different artists.
        seed : int
            Seed of the sample, of at most 4,096 tracks.
        """
        X = as_vectors(X)
        most = min(_MOST_TRACKS, _MOST_VALUES // int(np.prod(X.shape[1:])))
        rows = np.sort(np.random.default_rng(seed).permutation(len(X))[:most])
        if len(rows) < _LEAST_TRACKS:
            return None
        vectors, distances = take(X, rows), np.empty(len(rows), np.float32)
        for known, held_out in _folds(groups[rows]):
            distances[held_out] = cls._around(vectors[known])._distances(vectors[held_out])
        return replace(cls._around(vectors), distances=np.sort(distances))

    @classmethod
    def _around(cls, vectors: np.ndarray) -> Self:
        """Return what is compared with some tracks, without distances of training tracks."""
        mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
        varies = deviation > _CONSTANT * np.abs(mean)
        scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0).astype(np.float32)
        nothing = np.zeros(0, np.float32)
        space = cls(mean=mean, scale=scale, origin=nothing, tracks=nothing, distances=nothing)
        (origin,) = space._standardise(np.zeros_like(mean)[np.newaxis])
        return replace(space, origin=origin, tracks=space._standardise(vectors).astype(np.float16))

    def of(self, X: Vectors) -> np.ndarray:
        """Return the familiarity of each row: the share of the training tracks that are at least as distant.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=float64]
            More than 0, at most 1. If a track comes from a new artist like those of the training tracks, all values
            are equally likely, up to the size of the sample.

        Raises
        ------
        ValueError
            The vectors have another shape than in training, or a value is not finite.
        """
        X = as_vectors(X)
        if tuple(X.shape[1:]) != self.mean.shape:
            expected = ", ".join(map(str, self.mean.shape))
            raise ValueError(f"X has the shape {X.shape}; familiarity was learned from (n, {expected}).")
        found = np.empty(len(X))
        for rows in chunks(len(X)):
            vectors = take(X, rows)
            check_finite(vectors, rows.start)
            nearer = np.searchsorted(self.distances, self._distances(vectors), side="left")
            found[rows] = (len(self.distances) - nearer + 1) / (len(self.distances) + 1)
        return found

    def _distances(self, vectors: np.ndarray) -> np.ndarray:
        known, result = self.tracks.astype(np.float32), np.empty(len(vectors), np.float32)
        lengths, from_origin = _lengths(known), _lengths(known - self.origin)
        for at in chunks(len(vectors), _ROWS_AT_ONCE):
            rows = self._standardise(vectors[at])
            own, own_from_origin = _lengths(rows)[:, np.newaxis], _lengths(rows - self.origin)[:, np.newaxis]
            squares = np.square(own) + np.square(lengths) - 2 * rows @ known.T
            # The same matrix product gives the distances of the directions: |a/|a| - b/|b||² |a| |b| = |a - b|² -
            # (|a| - |b|)². A vector of length 0 has no direction, and stays 0.
            directions = squares - np.square(own_from_origin - from_origin)
            directions /= np.maximum(own_from_origin, _NOTHING)
            directions /= np.maximum(from_origin, _NOTHING)
            exists = own_from_origin > 0, from_origin > 0
            directions = np.where(exists[0] & exists[1], directions, exists[0] ^ exists[1])
            result[at] = np.sqrt(_to_nearest(squares) * _to_nearest(directions))
        return result

    def _standardise(self, vectors: np.ndarray) -> np.ndarray:
        flat = ((vectors - self.mean) * self.scale).reshape(len(vectors), self.mean.size)
        return np.ascontiguousarray(np.clip(flat, -_FURTHEST, _FURTHEST), np.float32)

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        arrays = {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}
        with replace_file(path) as temporary:
            save_file(arrays, temporary, metadata={"format": str(_FORMAT)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; raises a ModelError if it is damaged, or from a newer version of eno."""
        try:
            with safe_open(path, "np") as file:
                version = int(file.metadata()["format"])
                check_format(path, version, _FORMAT, ModelError)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
                if version == 1:
                    arrays["origin"] = np.zeros(arrays["tracks"].shape[1], np.float32)
                loaded = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(f"{path}: damaged ({error!r}). Retrain the head with 'eno train'.") from error
        return loaded


def _lengths(rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows, axis=1)
    return lengths


def _to_nearest(squares: np.ndarray) -> np.ndarray:
    """Return the mean of the smallest distances of each row, from squared distances."""
    count = min(_NEIGHBOURS, squares.shape[1])
    smallest = np.partition(squares, count - 1, axis=1)[:, :count]
    means: np.ndarray = np.sqrt(np.maximum(smallest, 0)).mean(axis=1)
    return means


def _folds(groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Divide rows by group, or singly where one group has most of them; yield the other and the held-out rows."""
    from sklearn.model_selection import GroupKFold

    _, owners, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if sizes.max() > len(owners) / 2:
        owners = np.arange(len(owners))
    yield from GroupKFold(min(_FOLDS, len(np.unique(owners)))).split(owners, groups=owners)

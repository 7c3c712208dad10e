"""A vector space fitted to a collection, in which the cosine measures how similar two tracks sound.

Raw embeddings occupy a narrow cone: all cosines are high, a few directions dominate them, and some tracks ("hubs") are
near everything. The correction is fitted on the collection itself, and is linear::

    vector − mean → times a weight per value → times a matrix per layer → length 1

References
----------
O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
Multivariate Analysis, 2004. J. Su et al., "Whitening sentence representations for better semantics and faster
retrieval", 2021.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from eno.errors import ConfigError, SimilarityError
from eno.files import printable, replace_file
from eno.similarity.index.statistics import VALUES_AT_ONCE, VectorSample, check_finite
from eno.views import MappedView, RowView

METHODS = ("none", "standardise", "whiten")
"""Spaces for an index. ``none``: vectors are only scaled to length 1. ``standardise``: every value has zero mean and
unit variance. ``whiten``: values are also decorrelated. Indexes in the spaces ``centre`` and ``all-but-the-top`` of
earlier versions are still read."""

CENTRE = "centre"
"""Only the mean is subtracted, which keeps relative distances. Used for maps."""

DEFAULT_METHOD = "standardise"
"""Chosen by ``scripts/bench/spaces.py`` on half of the demo's albums. On the other half, the mean of four retrieval
measures over four encoders was 0.349, with ``none`` 0.333 and with ``whiten`` 0.313. ``whiten`` has the fewest hubs
and is best at finding other renditions of a tune, but worse at finding the same instruments."""

MIN_ROWS = 10
"""With fewer vectors nothing is fitted, and raw vectors are compared."""

_NOTHING = 1e-6  # a vector this close to the mean is rounding error and has no direction
_FLOOR = 1e-3  # minimum variance of a direction, as a fraction of the mean variance


class Space:
    """A linear map from raw vectors to vectors of length 1. Use `fit` or `load`.

    Attributes
    ----------
    shape : tuple of int
        Shape of a raw vector: ``(dim,)`` or ``(layers, dim)``. All layers have the same weight.
    dim : int
        Number of values in the space.
    spec : dict
        ``method``, ``shape``, ``seed``, ``rows`` (number of vectors it was fitted on; 0 if there were too few), and for
        ``whiten`` the ``shrinkage`` of each layer's covariance.
    """

    def __init__(
        self, spec: dict[str, Any], mean: np.ndarray, weights: np.ndarray, matrices: np.ndarray | None = None
    ) -> None:
        self.spec = spec
        self.method: str = spec["method"]
        self.shape: tuple[int, ...] = tuple(spec["shape"])
        self.dim = int(np.prod(self.shape))
        self._mean, self._weights = mean, weights
        self._matrices = None if matrices is None else matrices.astype(np.float32)

    @classmethod
    def fit(cls, vectors: np.ndarray | RowView, *, method: str = DEFAULT_METHOD, seed: int = 0) -> Space:
        """Fit a space on the vectors of a collection.

        Parameters
        ----------
        vectors : np.ndarray or RowView [shape=(n, dim) or (n, layers, dim)]
            May be memory-mapped. At most 100,000 vectors are sampled; all-zero ones are ignored.
        method : str
            One of `METHODS`, or `CENTRE`.
        """
        if method not in (*METHODS, CENTRE):
            raise ConfigError(f"space {method!r}: choose from {', '.join(METHODS)}.")
        if len(vectors.shape) not in (2, 3):
            raise ValueError(f"Vectors have the shape {vectors.shape}; expected (n, dim) or (n, layers, dim).")
        spec: dict[str, Any] = {"method": method, "shape": list(vectors.shape[1:]), "seed": seed}
        layers, dim = (1, *vectors.shape[1:])[-2:]
        sample = VectorSample(vectors, layers, dim, seed)
        rows, mean, deviations = sample.moments()
        fitted = rows >= MIN_ROWS and bool(deviations.any())
        spec["rows"] = rows if fitted else 0
        if method == "none" or not fitted:
            return cls(spec, np.zeros_like(mean), _one_weight(np.square(mean) + np.square(deviations)))
        if method == CENTRE:
            return cls(spec, mean, _one_weight(np.square(deviations)))
        weights = _inverse(deviations)
        if method == "standardise":
            return cls(spec, mean, weights)
        matrices, spec["shrinkage"] = _whitening(*sample.covariances(mean, weights), rows)
        return cls(spec, mean, weights, matrices)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Map raw vectors [shape=(n, dim) or (n, layers, dim)] into the space [shape=(n, dim), dtype=float32].

        Results have length 1, so that inner products are cosines. An all-zero vector, or one that equals the mean,
        becomes zero and has no neighbours. NaN and infinite values raise a ValueError.
        """
        return self._apply(vectors, self._mean)

    def view(self, vectors: np.ndarray | RowView) -> MappedView:
        """Return a view of `vectors` that maps them into the space when they are read; see `apply`."""
        return MappedView(vectors, self.apply, self.dim)

    def apply_text(self, vectors: np.ndarray) -> np.ndarray:
        """Map the vectors of an encoder's text tower into the space; see `apply`.

        The mean of the audio vectors is not subtracted: text vectors have another mean (the modality gap), and a
        constant shift would bias every text towards the same tracks.
        """
        return self._apply(vectors, np.zeros_like(self._mean))

    def _apply(self, vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
        if tuple(vectors.shape[1:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(f"Vectors have the shape {vectors.shape}; this space was fitted on (n, {expected}).")
        result = np.empty((len(vectors), self.dim), np.float32)
        step = max(1, VALUES_AT_ONCE // self.dim)
        for first in range(0, len(vectors), step):
            block = check_finite(vectors[first : first + step], mean.shape)
            mapped = ((block - mean) * self._weights).astype(np.float32)
            if self._matrices is not None:
                mapped = np.swapaxes(np.swapaxes(mapped, 0, 1) @ self._matrices, 0, 1)
            mapped[~block.any(axis=(1, 2))] = 0
            flat = mapped.reshape(len(block), -1)
            lengths = np.linalg.norm(flat, axis=1, keepdims=True)
            lengths[lengths < _NOTHING] = np.inf
            result[first : first + step] = flat / lengths
        return result

    def digest(self) -> str:
        """Return a hash of the space, equal for equal ones."""
        found = hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode())
        for array in (self._mean, self._weights, self._matrices):
            found.update(b"-" if array is None else np.ascontiguousarray(array).data)
        return found.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the space to a safetensors file, atomically."""
        arrays = {"mean": self._mean, "weights": self._weights, "matrices": self._matrices}
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
        with replace_file(path) as temporary:
            save_file(tensors, temporary, {"space": json.dumps(self.spec)})

    @classmethod
    def load(cls, path: Path) -> Space:
        """Read a space that `save` wrote."""
        try:
            with safe_open(path, "np") as file:
                spec = json.loads(file.metadata()["space"])
                space = cls(spec, **{name: file.get_tensor(name) for name in list(file.keys())})
            if space._mean.shape != (1, *space.shape)[-2:]:
                raise ValueError(f"mean of shape {space._mean.shape} for vectors of shape {space.shape}")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise SimilarityError(
                f"{printable(path)}: is missing or damaged ({error}). Rebuild the index: eno index build."
            ) from error
        return space


def _one_weight(squares: np.ndarray) -> np.ndarray:
    """Return weights, constant within each layer, that give all layers the same mean square [shape=(layers, dim)]."""
    means = squares.mean(axis=1, keepdims=True)
    weights: np.ndarray = np.repeat(np.where(means > 0, means, 1) ** -0.5, squares.shape[1], axis=1)
    return weights


def _inverse(values: np.ndarray) -> np.ndarray:
    # 0 stays 0: constant values do not distinguish tracks.
    inverse: np.ndarray = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return inverse


def _whitening(covariances: np.ndarray, fourth: np.ndarray, rows: int) -> tuple[np.ndarray, list[float]]:
    """Return each layer's whitening matrix and the Ledoit-Wolf shrinkage of its covariance.

    Unlike scikit-learn's estimator, this one works from moments, so the rows need not be in memory.
    """
    matrices, shrinkages = np.empty_like(covariances), []
    for matrix, covariance, power in zip(matrices, covariances, fourth, strict=True):
        dim = len(covariance)
        mean = np.trace(covariance) / dim or 1.0  # 0 if the layer is constant
        squares = np.square(covariance).sum()
        distance = squares - dim * mean**2
        noise = (power - squares) / rows
        shrinkage = float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0
        variances, axes = np.linalg.eigh(covariance)
        variances = (1 - shrinkage) * variances + shrinkage * mean
        matrix[:] = axes / np.sqrt(np.maximum(variances, _FLOOR * mean)) / np.sqrt(dim)
        shrinkages.append(shrinkage)
    return matrices, shrinkages

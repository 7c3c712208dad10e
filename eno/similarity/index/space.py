"""Vectors of an encoder → a space in which the cosine says how alike two tracks sound.

Raw embeddings crowd into a narrow cone: all cosines are high, a few directions that all tracks share decide them, and
some tracks are near to everything. What is done against it is fitted on the collection itself, and is linear::

    vector − mean → times a weight a value → times a matrix a layer → length 1

References
----------
J. Mu and P. Viswanath, "All-but-the-top: simple and effective postprocessing for word representations", ICLR 2018.
O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
Multivariate Analysis, 2004. J. Su et al., "Whitening sentence representations for better semantics and faster
retrieval", 2021.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from eno.errors import ConfigError, SimilarityError
from eno.files import printable, replace_file
from eno.similarity.index.moments import VALUES_AT_ONCE, Sample, finite
from eno.views import RowView

METHODS = ("none", "centre", "standardise", "whiten", "all-but-the-top")
"""What is done to vectors. ``none``: only their length becomes 1. ``centre``: the collection's mean is taken off.
``standardise``: every value also gets the same spread. ``whiten``: values are made independent of each other as well.
``all-but-the-top``: the mean, and the few directions in which the collection spreads most, are taken off."""

DEFAULT_METHOD = "standardise"
"""Chosen by ``scripts/bench/spaces.py`` on half of the demo's albums. On the other half the mean over four encoders of
four measures of retrieval was 0.349; ``none`` 0.333, ``centre`` 0.333, ``whiten`` 0.313, ``all-but-the-top`` 0.310.
``whiten`` has the fewest hubs and finds a tune in another rendering best, but hears instruments less."""

MIN_ROWS = 10
"""Of fewer vectors nothing is learned: they are compared as they are."""

_DIMS_PER_REMOVED = 100  # Mu and Viswanath: a hundredth of the dimensions
_NOTHING = 1e-6  # what is left of a vector at the mean is rounding, and has no direction
_FLOOR = 1e-3  # of the mean variance: directions with less are taken to have as much


class Space:
    """A linear map of raw vectors to vectors of length 1. Use `fit` or `load`.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    shape : tuple of int
        Of a raw vector: ``(dim,)``, or ``(layers, dim)``. Every layer has the same weight.
    dim : int
        Values of a vector in the space.
    spec : dict
        What the space is, as plain values for JSON: ``method``, ``shape``, ``rows`` (vectors that it was fitted on,
        0 where there were too few to learn from), ``seed``, and of each layer the ``shrinkage`` of its covariance
        (``whiten``) or the directions ``removed`` (``all-but-the-top``).
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
        """Learn a space from the vectors of a collection.

        Parameters
        ----------
        vectors : np.ndarray or RowView [shape=(n, dim) or (n, layers, dim)]
            Raw vectors, also memory-mapped ones; read in blocks. Of more than 100,000 a sample decides. Vectors that
            are zero throughout say nothing and are left out.
        method : str
            One of `METHODS`.
        seed : int
            Decides which vectors are in the sample.

        Raises
        ------
        ConfigError
            There is no such method.
        ValueError
            `vectors` has another number of dimensions, or is not finite.
        """
        if method not in METHODS:
            raise ConfigError(f"space {method!r}: choose from {', '.join(METHODS)}.")
        if len(vectors.shape) not in (2, 3):
            raise ValueError(f"vectors have the shape {vectors.shape}; expected (n, dim) or (n, layers, dim).")
        spec: dict[str, Any] = {"method": method, "shape": list(vectors.shape[1:]), "seed": seed}
        layers, dim = (1, *vectors.shape[1:])[-2:]
        sample = Sample(vectors, layers, dim, seed)
        rows, mean, deviations = sample.moments()
        learned = rows >= MIN_ROWS and bool(deviations.any())
        spec["rows"] = rows if learned else 0
        if method == "none" or not learned:
            return cls(spec, np.zeros_like(mean), _one_weight(np.square(mean) + np.square(deviations)))
        if method == "centre":
            return cls(spec, mean, _one_weight(np.square(deviations)))
        if method == "standardise":
            return cls(spec, mean, _inverse(deviations))
        if method == "whiten":
            weights = _inverse(deviations)
            matrices, spec["shrinkage"] = _whitening(*sample.covariances(mean, weights), rows)
        else:
            weights = _one_weight(np.square(deviations))
            matrices, spec["removed"] = _without_top(sample.covariances(mean, weights)[0], rows)
        return cls(spec, mean, weights, matrices)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Map raw vectors into the space.

        Parameters
        ----------
        vectors : np.ndarray [shape=(n, dim) or (n, layers, dim)]
            As the encoder gives them.

        Returns
        -------
        np.ndarray [shape=(n, dim), dtype=float32]
            Each of length 1, so that an inner product is a cosine. A vector that is zero throughout stays zero, and
            one that lies at the mean becomes zero: it is near to nothing.

        Raises
        ------
        ValueError
            The vectors have another shape than those that the space was fitted on, or are not finite.
        """
        return self._apply(vectors, self._mean)

    def apply_text(self, vectors: np.ndarray) -> np.ndarray:
        """Map vectors of an encoder's text tower into the space, for search by text.

        The mean of the collection's sounds is not taken off: texts lie around another mean, and a shift that is the
        same for all sounds would only add to every text the same liking for some tracks.

        Parameters
        ----------
        vectors : np.ndarray [shape=(n, dim) or (n, layers, dim)]
            As the text tower gives them.

        Returns
        -------
        np.ndarray [shape=(n, dim), dtype=float32]
            See `apply`.

        Raises
        ------
        ValueError
            See `apply`.
        """
        return self._apply(vectors, np.zeros_like(self._mean))

    def _apply(self, vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
        if tuple(vectors.shape[1:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(f"vectors have the shape {vectors.shape}; this space was fitted on (n, {expected}).")
        result = np.empty((len(vectors), self.dim), np.float32)
        step = max(1, VALUES_AT_ONCE // self.dim)
        for first in range(0, len(vectors), step):
            block = finite(vectors[first : first + step], mean.shape)
            mapped = ((block - mean) * self._weights).astype(np.float32)
            if self._matrices is not None:
                mapped = np.swapaxes(np.swapaxes(mapped, 0, 1) @ self._matrices, 0, 1)
            mapped[~block.any(axis=(1, 2))] = 0
            flat = mapped.reshape(len(block), -1)
            lengths = np.linalg.norm(flat, axis=1, keepdims=True)
            lengths[lengths < _NOTHING] = np.inf
            result[first : first + step] = flat / lengths
        return result

    def save(self, path: Path) -> None:
        """Write the space as one safetensors file, whole or not at all."""
        arrays = {"mean": self._mean, "weights": self._weights, "matrices": self._matrices}
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
        with replace_file(path) as temporary:
            save_file(tensors, temporary, {"space": json.dumps(self.spec)})

    @classmethod
    def load(cls, path: Path) -> Space:
        """Read what `save` wrote.

        Raises
        ------
        SimilarityError
            The file is missing or damaged.
        """
        try:
            with safe_open(path, "np") as file:
                spec = json.loads(file.metadata()["space"])
                space = cls(spec, **{name: file.get_tensor(name) for name in list(file.keys())})
            if space._mean.shape != (1, *space.shape)[-2:]:
                raise ValueError("its arrays have other shapes than it says")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise SimilarityError(
                f"{printable(path)}: is missing or damaged ({error}). 'eno index build' makes the index anew."
            ) from error
        return space


def _one_weight(squares: np.ndarray) -> np.ndarray:
    """Weights that make layers of these mean squares alike [shape=(layers, dim), the same throughout a layer]."""
    means = squares.mean(axis=1, keepdims=True)
    weights: np.ndarray = np.repeat(np.where(means > 0, means, 1) ** -0.5, squares.shape[1], axis=1)
    return weights


def _inverse(values: np.ndarray) -> np.ndarray:
    """1 / value; 0 for 0: a value that never changes tells no two tracks apart."""
    inverse: np.ndarray = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return inverse


def _whitening(covariances: np.ndarray, fourth: np.ndarray, rows: int) -> tuple[np.ndarray, list[float]]:
    """Matrices that make the values of each layer independent, and the shrinkage of each covariance.

    Ledoit and Wolf's estimate, from moments that need not have all rows in memory.
    """
    matrices, shrinkages = np.empty_like(covariances), []
    for matrix, covariance, power in zip(matrices, covariances, fourth, strict=True):
        dim = len(covariance)
        mean = np.trace(covariance) / dim or 1.0  # 0 of a layer that never changes
        squares = np.square(covariance).sum()
        distance = squares - dim * mean**2
        noise = (power - squares) / rows
        shrinkage = float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0
        variances, axes = np.linalg.eigh(covariance)
        variances = (1 - shrinkage) * variances + shrinkage * mean
        matrix[:] = axes / np.sqrt(np.maximum(variances, _FLOOR * mean)) / np.sqrt(dim)
        shrinkages.append(shrinkage)
    return matrices, shrinkages


def _without_top(covariances: np.ndarray, rows: int) -> tuple[np.ndarray, int]:
    """Matrices that take the directions of the largest variance off each layer, and how many these are."""
    dim = covariances.shape[1]
    # Of a few rows, a handful of directions would be all that there is.
    removed = min(max(1, round(dim / _DIMS_PER_REMOVED)), (rows - 1) // 5)
    matrices = np.empty_like(covariances)
    for matrix, covariance in zip(matrices, covariances, strict=True):
        variances, axes = np.linalg.eigh(covariance)
        top = axes[:, dim - removed :]
        left = variances[: dim - removed].sum()
        matrix[:] = (np.eye(dim) - top @ top.T) / np.sqrt(left if left > 0 else 1)
    return matrices, removed

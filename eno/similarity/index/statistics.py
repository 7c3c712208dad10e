"""Mean, standard deviation and covariance of vectors that need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eno.views import RowView, forget

VALUES_AT_ONCE = 4_000_000
"""Values per block that is processed at once."""

_SAMPLE_ROWS = 100_000
_CONSTANT = 1e-6  # a standard deviation below this fraction of the mean is rounding error


class VectorSample:
    """At most 100,000 vectors [shape=(n, dim) or (n, layers, dim)] drawn at random; all-zero ones are skipped."""

    def __init__(self, vectors: np.ndarray | RowView, layers: int, dim: int, seed: int) -> None:
        self._vectors, self._shape = vectors, (layers, dim)
        rows = min(len(vectors), _SAMPLE_ROWS)
        self._rows = np.sort(np.random.default_rng(seed).choice(len(vectors), rows, replace=False))

    def blocks(self) -> Iterator[np.ndarray]:
        """Iterate over the vectors [shape=(n, layers, dim), dtype=float64]; see `check_finite`."""
        layers, dim = self._shape
        step = max(1, VALUES_AT_ONCE // (layers * dim))
        for first in range(0, len(self._rows), step):
            block = check_finite(self._vectors[self._rows[first : first + step]], self._shape)
            forget(self._vectors)
            block = block[block.any(axis=(1, 2))]
            if len(block):
                yield block

    def moments(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the number of rows, the mean and the standard deviation [shape=(layers, dim)]; 0 for constants."""
        from sklearn.preprocessing import StandardScaler  # takes a second to import, which a search need not wait for

        scaler = StandardScaler()
        for block in self.blocks():
            scaler.partial_fit(block.reshape(len(block), -1))
        if not hasattr(scaler, "mean_"):
            return 0, np.zeros(self._shape), np.zeros(self._shape)
        deviations = np.sqrt(scaler.var_)
        deviations[deviations <= _CONSTANT * np.abs(scaler.mean_)] = 0
        return int(scaler.n_samples_seen_), scaler.mean_.reshape(self._shape), deviations.reshape(self._shape)

    def covariances(self, mean: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each layer's covariance [shape=(layers, dim, dim)], and the mean fourth power of its rows' norms."""
        layers, dim = self._shape
        covariances, fourth, rows = np.zeros((layers, dim, dim)), np.zeros(layers), 0
        for block in self.blocks():
            by_layer = np.swapaxes((block - mean) * weights, 0, 1)
            covariances += np.swapaxes(by_layer, 1, 2) @ by_layer
            fourth += np.square(np.square(by_layer).sum(axis=2)).sum(axis=1)
            rows += len(block)
        return covariances / rows, fourth / rows


def check_finite(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return vectors as float64 [shape=(n, layers, dim)]; raise a ValueError for NaN and infinity."""
    block = np.asarray(rows, np.float64).reshape(-1, *shape)
    if not np.isfinite(block).all():
        raise ValueError("Vectors contain NaN or infinite values.")
    return block

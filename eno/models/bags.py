"""Bags of windows, as in multiple-instance learning: labels belong to a track (the bag), not to its windows."""

from __future__ import annotations

import numpy as np


class Bags:
    """Embeddings of the windows of tracks.

    The shape is that of the means over windows, ``(n, dim)`` or ``(n, layers, dim)``.

    Parameters
    ----------
    windows : np.ndarray [shape=(m, dim) or (m, layers, dim)]
        Windows of all tracks, grouped by track.
    counts : np.ndarray [shape=(n,), dtype=int]
        Number of windows of each track, at least 1.

    Examples
    --------
    >>> bags = Bags(np.array([[0.0], [2.0], [5.0]]), np.array([2, 1]))
    >>> bags.means().tolist()
    [[1.0], [5.0]]
    """

    def __init__(self, windows: np.ndarray, counts: np.ndarray) -> None:
        self.windows, self.counts = windows, np.asarray(counts, np.int64)
        if windows.ndim not in (2, 3) or self.counts.ndim != 1:
            raise ValueError(f"windows have the shape {windows.shape}; expected (m, dim) or (m, layers, dim).")
        if (self.counts < 1).any() or self.counts.sum() != len(windows):
            raise ValueError(f"counts sum to {self.counts.sum()} for {len(windows)} windows, or a count is below 1.")
        self.shape = (len(self.counts), *windows.shape[1:])
        self._starts = np.cumsum(self.counts) - self.counts

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, tracks: slice | np.ndarray) -> Bags:
        counts, starts = self.counts[tracks], self._starts[tracks]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Bags(self.windows[np.repeat(starts, counts) + within], counts)

    def means(self) -> np.ndarray:
        """Return the mean of each track's windows [shape=(n, dim) or (n, layers, dim), dtype=float32]."""
        if len(self) == 0:
            return np.zeros(self.shape, np.float32)
        sums = np.add.reduceat(self.windows.astype(np.float32, copy=False), self._starts, axis=0)
        means: np.ndarray = sums / self.counts.reshape(-1, *[1] * (self.windows.ndim - 1))
        return means.astype(np.float32, copy=False)

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return windows, padded with zeros [shape=(n, most, ...), dtype=float32], and a mask of the real ones."""
        real = np.arange(self.counts.max(initial=1)) < self.counts[:, None]
        values = np.zeros((*real.shape, *self.windows.shape[1:]), np.float32)
        values[real] = self.windows
        return values, real

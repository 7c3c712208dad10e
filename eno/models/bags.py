"""Windows of tracks, where only the track has labels: multiple-instance learning calls that bags."""

from __future__ import annotations

import numpy as np


class Bags:
    """Vectors of windows, and how many of them each track has.

    Parameters
    ----------
    windows : np.ndarray [shape=(m, dim) or (m, layers, dim)]
        Vectors of all windows, those of a track one after the other.
    counts : np.ndarray [shape=(n,), dtype=int]
        Windows of each track, at least one; they sum up to m.

    Attributes
    ----------
    shape : tuple of int
        ``(n, dim)`` or ``(n, layers, dim)``: that of the tracks' means, which stand for the windows wherever a head
        takes one vector a track.

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
            raise ValueError(
                f"counts sum up to {self.counts.sum()} of {len(windows)} windows; each must be at least 1."
            )
        self.shape = (len(self.counts), *windows.shape[1:])
        self._starts = np.cumsum(self.counts) - self.counts

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, tracks: slice | np.ndarray) -> Bags:
        counts, starts = self.counts[tracks], self._starts[tracks]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Bags(self.windows[np.repeat(starts, counts) + within], counts)

    def means(self) -> np.ndarray:
        """The mean window of each track [shape=(n, dim) or (n, layers, dim), dtype=float32]."""
        if len(self) == 0:
            return np.zeros(self.shape, np.float32)
        sums = np.add.reduceat(self.windows.astype(np.float32, copy=False), self._starts, axis=0)
        means: np.ndarray = sums / self.counts.reshape(-1, *[1] * (self.windows.ndim - 1))
        return means.astype(np.float32, copy=False)

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Windows of each track in a row of their own.

        Returns
        -------
        values : np.ndarray [shape=(n, most, dim) or (n, most, layers, dim), dtype=float32]
            Zeros where a track has fewer windows than the one with the most.
        real : np.ndarray [shape=(n, most), dtype=bool]
            Where there is a window.
        """
        real = np.arange(self.counts.max(initial=1)) < self.counts[:, None]
        values = np.zeros((*real.shape, *self.windows.shape[1:]), np.float32)
        values[real] = self.windows
        return values, real

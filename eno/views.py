"""Some rows of a large array, without a copy of them."""

from __future__ import annotations

from typing import Any

import numpy as np


class RowView:
    """Rows of vectors that stay where they are until they are asked for.

    Parameters
    ----------
    source : array-like
        What gives rows when it is indexed: an array, also a memory-mapped one, or another source of rows.
    rows : np.ndarray [shape=(n,), dtype=int64]
        Which of them.

    Attributes
    ----------
    shape : tuple of int
        ``(n, *source.shape[1:])``.
    """

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows
        self.shape: tuple[int, ...] = (len(rows), *source.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Any:
        return self._source[self._rows[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

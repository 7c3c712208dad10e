"""A view of some rows of a large array."""

from __future__ import annotations

from typing import Any

import numpy as np


class RowView:
    """Rows [shape=(n,), dtype=int64] of an array-like source, which are read when they are indexed."""

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows
        self.shape: tuple[int, ...] = (len(rows), *source.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Any:
        return self._source[self._rows[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

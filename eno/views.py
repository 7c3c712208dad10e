"""Views of large arrays: of some of their rows, and of several side by side."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def forget(source: Any) -> None:
    """Take what was read of a memory-mapped array, or of a view of one, out of this process's memory.

    It is read again when it is needed. Nothing happens to arrays that are mapped copy-on-write, whose changes would be
    lost.
    """
    while isinstance(source, RowView | MappedView):
        source = source.source
    if isinstance(source, JoinedView):
        for one in source.sources:
            forget(one)
    mapped: Any = getattr(source, "_mmap", None)
    if mapped is not None and source.mode != "c" and hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)


class RowView:
    """Rows [shape=(n,), dtype=int64] of an array-like source, which are read when they are indexed.

    Of an array, columns can be indexed, too.
    """

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self.source, self._rows = source, rows
        self.shape: tuple[int, ...] = (len(rows), *source.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, tuple):
            rows, *columns = at
            return self.source[:, *columns][self._rows[rows]]
        return self.source[self._rows[at]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class MappedView:
    """A function of the rows of an array-like source [shape=(n, dim)], which is applied when they are indexed."""

    def __init__(self, source: Any, change: Callable[[np.ndarray], np.ndarray], dim: int) -> None:
        self.source, self._change = source, change
        self.shape: tuple[int, ...] = (len(source), dim)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._change(self.source[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class JoinedView:
    """The rows of several array-like sources side by side [shape=(n, dim)], each row flattened.

    Rows are read and joined when they are indexed, so that the sources need not be in memory.
    """

    def __init__(self, sources: Sequence[Any]) -> None:
        self.sources = sources
        self.shape: tuple[int, ...] = (len(sources[0]), sum(math.prod(source.shape[1:]) for source in sources))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        joined, start = np.empty(0), 0
        for source in self.sources:  # one after the other, to hold only one of them besides the result
            part, width = source[rows], math.prod(source.shape[1:])
            of_rows = part.shape[: part.ndim - len(source.shape) + 1]
            if start == 0:
                joined = np.empty((*of_rows, self.shape[1]), part.dtype)
            joined[..., start : start + width] = part.reshape(*of_rows, width)
            start += width
        return joined

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

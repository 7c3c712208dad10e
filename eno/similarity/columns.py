"""Columns of Arrow tables."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa


def flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it is in one piece."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


def mapped(values: pa.Array | pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    """Apply a function to each distinct string; null stays null."""
    encoded = flat(values).dictionary_encode()
    distinct = [None if text is None else change(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(distinct, pa.string()).take(encoded.indices)

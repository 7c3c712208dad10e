"""Columns of tables that hold lists of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import family_labels
from eno.data.lute.albums import LABEL_COLUMNS


def label_columns(rows: pa.Table) -> list[Any]:
    """Return the columns of a table for `eno.data.labels.LabelEncoder.encode_many`."""
    return [*(rows[name] for name in LABEL_COLUMNS), family_labels(rows)]


def as_list_array(lists: Any) -> pa.ListArray:
    """Return an array of lists, or a sequence of iterables of str or None, as an array of lists of strings."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    if isinstance(lists, pa.Array):
        return lists.cast(pa.list_(pa.string()))
    return pa.array([None if names is None else list(names) for names in lists], pa.list_(pa.string()))


def has_names(lists: Any) -> np.ndarray:
    """Return which of several lists has any name that is not empty [shape=(n,), dtype=bool]."""
    array = as_list_array(lists)
    has_text = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(pc.list_flatten(array)), ""), False)
    rows = pc.list_parent_indices(array).filter(has_text).to_numpy()
    found: np.ndarray = np.bincount(rows, minlength=len(array)) > 0
    return found

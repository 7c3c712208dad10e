"""Groups of tracks that share an artist or an album."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.similarity.columns import flat


class Groups:
    """The groups of each of many items: none, one or several.

    Attributes
    ----------
    codes : np.ndarray [shape=(m,), dtype=int64]
        Group numbers, in the order of the items.
    offsets : np.ndarray [shape=(n + 1,), dtype=int64]
        The groups of item ``i`` are ``codes[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, codes: np.ndarray, offsets: np.ndarray) -> None:
        self.codes, self.offsets = codes.astype(np.int64), offsets.astype(np.int64)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of_lists(cls, lists: pa.ListArray) -> Groups:
        """Group by the values of lists; null is an empty list."""
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        values = lists.flatten().dictionary_encode()
        return cls(values.indices.to_numpy(), np.concatenate([[0], np.cumsum(counts)]))

    @classmethod
    def of_values(cls, values: pa.Array | pa.ChunkedArray) -> Groups:
        """Group by single values; null belongs to no group."""
        values = flat(values)
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        codes = values.drop_null().dictionary_encode().indices.to_numpy()
        return cls(codes, np.concatenate([[0], np.cumsum(valid)]))

    def of(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the groups of some items; -1 belongs to no group.

        Returns
        -------
        codes : np.ndarray [shape=(m,)]
        places : np.ndarray [shape=(m,)]
            For each code, the position in `items` that it belongs to.
        """
        begins, ends = (
            np.where(items >= 0, self.offsets[items], 0),
            np.where(items >= 0, self.offsets[items + 1], 0),
        )
        counts = ends - begins
        places = np.repeat(np.arange(len(items)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.codes[np.repeat(begins, counts) + within], places

    def members(self, codes: np.ndarray) -> np.ndarray:
        """Return which items belong to any of these groups [shape=(n,), dtype=bool]."""
        mask = np.zeros(len(self), bool)
        hits = np.isin(self.codes, codes)
        mask[np.searchsorted(self.offsets, np.flatnonzero(hits), side="right") - 1] = True
        return mask

    def spread(self, items: np.ndarray) -> Groups:
        """Return the groups of other things, each of which refers to an item; -1 for none."""
        codes, places = self.of(items)
        counts = np.bincount(places, minlength=len(items))
        return Groups(codes, np.concatenate([[0], np.cumsum(counts)]))

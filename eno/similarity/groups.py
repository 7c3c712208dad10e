"""Tracks that have something in common: an artist, an album."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Groups:
    """Which groups each of many things is in: none, one or several.

    Attributes
    ----------
    codes : np.ndarray [shape=(m,), dtype=int64]
        Numbers of groups, those of the first thing first.
    offsets : np.ndarray [shape=(n + 1,), dtype=int64]
        The groups of thing ``i`` are ``codes[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, codes: np.ndarray, offsets: np.ndarray) -> None:
        self.codes, self.offsets = codes.astype(np.int64), offsets.astype(np.int64)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of_lists(cls, lists: pa.ListArray) -> Groups:
        """Group by the values of lists; null is the same as an empty list."""
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        values = lists.flatten().dictionary_encode()
        return cls(values.indices.to_numpy(), np.concatenate([[0], np.cumsum(counts)]))

    @classmethod
    def of_values(cls, values: pa.Array | pa.ChunkedArray) -> Groups:
        """Group by one value each; null is in no group."""
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        there = values.is_valid().to_numpy(zero_copy_only=False)
        codes = values.drop_null().dictionary_encode().indices.to_numpy()
        return cls(codes, np.concatenate([[0], np.cumsum(there)]))

    def of(self, things: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Groups of some things.

        Parameters
        ----------
        things : np.ndarray [shape=(k,), dtype=int64]
            Numbers of things; -1 stands for one of which nothing is known.

        Returns
        -------
        codes : np.ndarray [shape=(m,)]
            Their groups.
        places : np.ndarray [shape=(m,)]
            Of each, whose it is: a place in `things`.
        """
        begins, ends = (
            np.where(things >= 0, self.offsets[things], 0),
            np.where(things >= 0, self.offsets[things + 1], 0),
        )
        counts = ends - begins
        places = np.repeat(np.arange(len(things)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.codes[np.repeat(begins, counts) + within], places

    def members(self, codes: np.ndarray) -> np.ndarray:
        """Whether each thing is in any of these groups [shape=(n,), dtype=bool]."""
        mask = np.zeros(len(self), bool)
        hits = np.isin(self.codes, codes)
        mask[np.searchsorted(self.offsets, np.flatnonzero(hits), side="right") - 1] = True
        return mask

    def spread(self, things: np.ndarray) -> Groups:
        """Give the groups of other things, each of which stands for one of these; -1 for none."""
        codes, places = self.of(things)
        counts = np.bincount(places, minlength=len(things))
        return Groups(codes, np.concatenate([[0], np.cumsum(counts)]))

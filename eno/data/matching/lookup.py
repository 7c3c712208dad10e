"""Search for listed albums that share rare terms with a local one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

_TOP = 12  # candidates for one local album
_AT_LEAST = 0.15  # of the weight of the best candidate
_AT_A_TIME = 1000  # local albums

Terms = tuple[np.ndarray, np.ndarray]
"""Hashes of terms, and the album of each."""


@dataclass(frozen=True)
class Kind:
    """A kind of terms: terms of more albums than `most` are not looked up; `weight` multiplies their rarity."""

    most: int
    weight: float


class TermIndex:
    """Inverted index of terms of several kinds.

    A candidate's weight is the sum of the rarity (inverse document frequency) of the terms that it shares.
    """

    def __init__(self, kinds: Mapping[str, Kind], terms: Mapping[str, Terms], size: int) -> None:
        self._known: dict[str, np.ndarray] = {}
        self._rarity, postings = [], []
        for name, kind in kinds.items():
            hashes, rows = terms[name]
            order = np.lexsort((rows, hashes))
            hashes, rows = hashes[order], rows[order]
            first = np.ones(len(hashes), bool)
            first[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
            hashes, rows = hashes[first], rows[first]
            begins = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] - 1))
            known, frequency = hashes[begins], np.diff(begins, append=len(hashes))
            rare = frequency <= kind.most
            kept = np.repeat(rare, frequency)
            ends = np.concatenate([[0], np.cumsum(frequency[rare])])
            columns = rows[kept].astype(np.int32)
            data = np.ones(len(columns), np.float32)
            postings.append(csr_matrix((data, columns, ends), shape=(int(rare.sum()), size)))
            self._known[name] = known[rare]
            self._rarity.append(kind.weight * np.log1p(size / frequency[rare]))
        self._rarities = np.concatenate(self._rarity).astype(np.float32)
        self._postings = vstack(postings, format="csr")

    def candidates(self, terms: Mapping[str, Terms], count: int) -> np.ndarray:
        """Return the most likely pairs [shape=(pairs, 2)] of `count` local albums, by number, and listed ones."""
        owners, columns, offset = [], [], 0
        for name, known in self._known.items():
            hashes, owner = terms[name]
            at = np.searchsorted(known, hashes)
            found = known[np.minimum(at, len(known) - 1)] == hashes if len(known) else np.zeros(len(hashes), bool)
            owners.append(owner[found])
            columns.append(at[found] + offset)
            offset += len(known)
        # One number for each pair sorts much faster than pairs of numbers.
        pairs = np.unique(np.concatenate(owners).astype(np.int64) * offset + np.concatenate(columns))
        owner, column = np.divmod(pairs, max(offset, 1))
        wanted = csr_matrix((self._rarities[column], (owner, column)), shape=(count, offset))
        parts = [self._best(wanted[at : at + _AT_A_TIME], at) for at in range(0, count, _AT_A_TIME)]
        return np.concatenate([np.zeros((0, 2), np.int64), *parts])

    def _best(self, wanted: csr_matrix, begin: int) -> np.ndarray:
        weights = wanted @ self._postings
        owner = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
        highest = np.zeros(weights.shape[0], np.float32)
        np.maximum.at(highest, owner, weights.data)
        likely = np.flatnonzero(weights.data >= _AT_LEAST * highest[owner])
        owner, row, weight = owner[likely], weights.indices[likely], weights.data[likely]
        order = np.lexsort((row, -weight, owner))
        owner, row = owner[order], row[order]
        rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
        return np.stack([owner[rank < _TOP] + begin, row[rank < _TOP]], axis=1).astype(np.int64)


def hashes(each: Sequence[AbstractSet[str]]) -> Terms:
    """Return the terms of albums."""
    counts = np.fromiter(map(len, each), np.int64, len(each))
    values = np.fromiter((hash(term) for terms in each for term in terms), np.int64, int(counts.sum()))
    return values, np.repeat(np.arange(len(each), dtype=np.int32), counts)


def length_terms(ends: np.ndarray, lengths_s: np.ndarray, tolerance_s: float, *, neighbours: bool) -> Terms:
    """Return a term for every three successive track lengths, in steps of twice the tolerance.

    With `neighbours`, there is a term for every step that a length may fall in if it differs by up to the tolerance.
    """
    owner = np.repeat(np.arange(len(ends) - 1, dtype=np.int32), np.diff(ends))
    if len(lengths_s) < 3:
        return np.zeros(0, np.int64), np.zeros(0, np.int32)
    lengths = lengths_s.astype(np.float64)
    begin = np.flatnonzero(
        (owner[2:] == owner[:-2]) & (np.minimum(lengths[2:], np.minimum(lengths[1:-1], lengths[:-2])) > 0)
    )
    step = 2 * tolerance_s
    shifts = (-tolerance_s, tolerance_s) if neighbours else (0.0,)
    bins = [((lengths + shift) // step).astype(np.int64) for shift in shifts]
    terms = [
        (first[begin] * 100_003 + second[begin + 1]) * 100_003 + third[begin + 2]
        for first in bins
        for second in bins
        for third in bins
    ]
    return np.concatenate(terms), np.tile(owner[begin], len(terms))

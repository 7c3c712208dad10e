"""Stratified splits that keep groups whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from eno.errors import LabelError

SPLITS = ("train", "val", "test")

_URGENCY = 1e6  # outweighs any chi-square


def artist_groups(artists: Sequence[Sequence[str]]) -> list[str]:
    """Return the name of each album's group, such that no artist is in two groups.

    Albums that share an artist, directly or through further albums, are in one group, named after one of its artists.
    An album without artists is a group of its own.

    Examples
    --------
    >>> artist_groups([["Eno"], ["Eno", "Byrne"], ["Byrne"], ["Hecker"]])
    ['Byrne', 'Byrne', 'Byrne', 'Hecker']
    """
    owners = [list(names) or [f"album {i} of no artist"] for i, names in enumerate(artists)]
    names, columns = np.unique([name for owner in owners for name in owner], return_inverse=True)
    rows = np.repeat(np.arange(len(owners)), [len(owner) for owner in owners])
    # Connected components of the bipartite graph of albums and artists.
    edges = sparse.coo_array((np.ones(len(rows)), (rows, len(owners) + columns)), shape=(len(owners) + len(names),) * 2)
    _, component = connected_components(edges, directed=False)
    first_name = dict(zip(component[len(owners) :][::-1].tolist(), names[::-1].tolist(), strict=True))
    return [first_name[int(one)] for one in component[: len(owners)]]


def split_by_group(
    labels: sparse.csr_array, groups: Sequence[str], *, val: float, test: float, seed: int
) -> np.ndarray:
    """Split items so that every group is in one split and the labels are stratified.

    Groups are assigned one by one, those with the rarest labels first, as in iterative stratification (Sechidis et
    al., "On the stratification of multi-label data", ECML PKDD 2011), but with all labels of a group at once: a group
    goes to the split where it brings the counts of its labels closest to the shares (smallest increase of chi-square).
    One rule takes priority: if a label has no more unassigned groups than there are splits still lacking it, its next
    group must go to one of those splits.

    Parameters
    ----------
    labels : scipy.sparse.csr_array [shape=(n, num_labels)]
        Labels of the items, with weights above 0.
    val, test : float
        Shares of the items.
    seed : int
        Breaks ties.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=str]
        An element of `SPLITS` for every item.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < len(SPLITS):
        raise LabelError(
            f"Found {len(names)} group{'s' * (len(names) != 1)} of artists ({', '.join(names[:3])}); splits without "
            f"shared artists need at least {len(SPLITS)}: one each for {', '.join(SPLITS)}."
        )
    counts = _label_shares(labels, group_of, len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    split_of_group = _assign(counts, np.array([[1 - val - test], [val], [test]]), order)
    splits: np.ndarray = np.array(SPLITS)[split_of_group[group_of]]
    return splits


def _label_shares(labels: sparse.csr_array, group_of: np.ndarray, groups: int) -> sparse.csr_array:
    """Return the share of each label's items that is in each group [shape=(groups, labels + 1)]."""
    # Shares weight all labels equally. The number of items is the last label, so that groups without labels are spread.
    ones = np.ones(len(group_of))
    membership = sparse.csr_array((ones, (group_of, np.arange(len(group_of)))), shape=(groups, len(group_of)))
    sizes = np.bincount(group_of, minlength=groups).astype(float)
    counts = sparse.csr_array(sparse.hstack([membership @ labels.astype(float), sizes[:, None]], format="csr"))
    totals = counts.sum(axis=0)
    counts.data /= totals[counts.indices]
    return counts


def _assign(counts: sparse.csr_array, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the split of every group."""
    queues = _queues(counts, order)
    have = np.zeros((len(shares), counts.shape[1]))
    groups_left = np.bincount(counts.indices, minlength=counts.shape[1]).astype(float)
    groups_left[groups_left == 0] = np.inf
    split_of = np.full(counts.shape[0], -1)
    for _ in range(counts.shape[0]):
        label = int(groups_left.argmin())
        queue = queues[label]
        while split_of[queue[-1]] >= 0:
            queue.pop()
        group = queue.pop()
        columns = counts.indices[counts.indptr[group] : counts.indptr[group + 1]]
        own = counts.data[counts.indptr[group] : counts.indptr[group + 1]]
        held = have[:, columns]
        cost = (own**2 / shares - 2 * own * (1 - held / shares)).sum(axis=1)
        urgent = groups_left[columns] <= (held == 0).sum(axis=0)
        cost += _URGENCY * ((held > 0) & urgent).sum(axis=1)
        split = int(cost.argmin())
        split_of[group] = split
        have[split, columns] += own
        groups_left[columns] -= 1
        groups_left[groups_left == 0] = np.inf
    return split_of


def _queues(counts: sparse.csr_array, order: np.ndarray) -> list[list[int]]:
    """Return the groups of every label. The last is assigned first: the largest, so that later ones balance it."""
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    columns = counts.tocsc()
    queues = []
    for label in range(counts.shape[1]):
        span = slice(columns.indptr[label], columns.indptr[label + 1])
        groups = columns.indices[span]
        queues.append(groups[np.lexsort((rank[groups], -columns.data[span]))][::-1].tolist())
    return queues

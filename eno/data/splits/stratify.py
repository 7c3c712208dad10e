"""Dividing items into train, validation and test: groups whole, labels evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from eno.errors import LabelError

SPLITS = ("train", "val", "test")
"""The parts, in the order in which shares are given."""

_URGENCY = 1e6  # outweighs any chi-square


def artist_groups(artists: Sequence[Sequence[str]]) -> list[str]:
    """Group albums by artist, so that no artist is in two groups.

    Albums are in one group if they share an artist, directly or through further albums.

    Parameters
    ----------
    artists : sequence of sequences of str
        Artists of every album; an album without any is a group of its own.

    Returns
    -------
    list of str
        The name of every album's group, which is that of one of its artists.

    Examples
    --------
    >>> artist_groups([["Eno"], ["Eno", "Byrne"], ["Byrne"], ["Hecker"]])
    ['Byrne', 'Byrne', 'Byrne', 'Hecker']
    """
    owners = [list(names) or [f"album {i} of no artist"] for i, names in enumerate(artists)]
    names, columns = np.unique([name for owner in owners for name in owner], return_inverse=True)
    rows = np.repeat(np.arange(len(owners)), [len(owner) for owner in owners])
    # Albums and artists as the two sides of one graph.
    edges = sparse.coo_array((np.ones(len(rows)), (rows, len(owners) + columns)), shape=(len(owners) + len(names),) * 2)
    _, component = connected_components(edges, directed=False)
    first_name = dict(zip(component[len(owners) :][::-1].tolist(), names[::-1].tolist(), strict=True))
    return [first_name[int(one)] for one in component[: len(owners)]]


def split_by_group(
    labels: sparse.csr_array, groups: Sequence[str], *, val: float, test: float, seed: int
) -> np.ndarray:
    """Divide items so that no group is on two sides and every label is on all of them, as far as that goes.

    Groups are dealt out one by one, those with the rarest labels first, as in iterative stratification (Sechidis et
    al., "On the stratification of multi-label data", ECML PKDD 2011), but looking at all labels of a group at once:
    each goes to the part where it brings the counts of its labels closest to the shares (least increase of chi-square).
    Before that counts that labels which have no more groups left than there are parts without them go to one of those.

    Parameters
    ----------
    labels : scipy.sparse.csr_array [shape=(n, num_labels)]
        Labels of the items, with weights above 0.
    groups : sequence of str
        Group of every item, for instance its artist.
    val, test : float
        Shares of the items that are held out.
    seed : int
        Decides between equals.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=str]
        ``"train"``, ``"val"`` or ``"test"`` for every item.

    Raises
    ------
    LabelError
        There are fewer groups than parts.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < len(SPLITS):
        raise LabelError(
            f"{len(names)} group{'s' * (len(names) != 1)} ({', '.join(names[:3])}) cannot be divided into "
            f"{', '.join(SPLITS)} without one being on two sides; at least {len(SPLITS)} are needed."
        )
    counts = _shares_of_labels(labels, group_of, len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    part_of_group = _deal_out(counts, np.array([[1 - val - test], [val], [test]]), order)
    parts: np.ndarray = np.array(SPLITS)[part_of_group[group_of]]
    return parts


def _shares_of_labels(labels: sparse.csr_array, group_of: np.ndarray, groups: int) -> sparse.csr_array:
    """Give what part of each label's items a group holds [shape=(groups, labels + 1)].

    The number of items goes along as one more label, so that unlabelled groups are shared out too. In shares of its
    total every label weighs the same.
    """
    ones = np.ones(len(group_of))
    membership = sparse.csr_array((ones, (group_of, np.arange(len(group_of)))), shape=(groups, len(group_of)))
    sizes = np.bincount(group_of, minlength=groups).astype(float)
    counts = sparse.csr_array(sparse.hstack([membership @ labels.astype(float), sizes[:, None]], format="csr"))
    totals = counts.sum(axis=0)
    counts.data /= totals[counts.indices]
    return counts


def _deal_out(counts: sparse.csr_array, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Give the part of every group. Each step touches only the labels of one group."""
    queues = _queues(counts, order)
    have = np.zeros((len(shares), counts.shape[1]))
    groups_left = np.bincount(counts.indices, minlength=counts.shape[1]).astype(float)
    groups_left[groups_left == 0] = np.inf
    part_of = np.full(counts.shape[0], -1)
    for _ in range(counts.shape[0]):
        label = int(groups_left.argmin())
        queue = queues[label]
        while part_of[queue[-1]] >= 0:
            queue.pop()
        group = queue.pop()
        columns = counts.indices[counts.indptr[group] : counts.indptr[group + 1]]
        own = counts.data[counts.indptr[group] : counts.indptr[group + 1]]
        held = have[:, columns]
        cost = (own**2 / shares - 2 * own * (1 - held / shares)).sum(axis=1)
        # Labels that can only just still come to every part, if they go to one that lacks them.
        urgent = groups_left[columns] <= (held == 0).sum(axis=0)
        cost += _URGENCY * ((held > 0) & urgent).sum(axis=1)
        part = int(cost.argmin())
        part_of[group] = part
        have[part, columns] += own
        groups_left[columns] -= 1
        groups_left[groups_left == 0] = np.inf
    return part_of


def _queues(counts: sparse.csr_array, order: np.ndarray) -> list[list[int]]:
    """Give the groups of every label, the one to be dealt out next at the end.

    That is the largest, since what comes last can no longer be balanced; between equals the order decides.
    """
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    columns = counts.tocsc()
    queues = []
    for label in range(counts.shape[1]):
        span = slice(columns.indptr[label], columns.indptr[label + 1])
        groups = columns.indices[span]
        queues.append(groups[np.lexsort((rank[groups], -columns.data[span]))][::-1].tolist())
    return queues

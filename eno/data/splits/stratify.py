"""Stratified splits that keep groups whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from eno.errors import LabelError

SPLITS = ("train", "val", "test")

_MISSING, _NOT_LEARNED, _EMPTY = 1e6, 1e9, 1e12  # cost of what is missing in a split; outweighs any chi-square
_ROUNDS, _TINY = 10, 1e-9
_LEAST_SHARE = 1e-3  # of a split that exists although the settings no longer ask for it


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
    labels: sparse.csr_array,
    groups: Sequence[str],
    *,
    val: float,
    test: float,
    seed: int,
    kept: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Split items so that every group is in one split and the labels are stratified.

    Groups are assigned one by one, those with the rarest labels first, as in iterative stratification (Sechidis et
    al., "On the stratification of multi-label data", ECML PKDD 2011), but with all labels of a group at once: a group
    goes to the split where it brings the counts of its labels closest to the shares (smallest increase of chi-square).
    One rule takes priority: a label must be in train, with a second group also in test, with a third also in val. If it
    has no more unassigned groups than there are splits still lacking it, its next group goes to the first of those.
    Groups with several rare labels may want to go to different splits; in the end, groups of labels that are missing
    in a split are moved as long as fewer are missing afterwards. No label of two or more groups is missing in train,
    unless another split would be empty.

    Parameters
    ----------
    labels : scipy.sparse.csr_array [shape=(n, num_labels)]
        Labels of the items, with weights above 0.
    val, test : float
        Shares of the items. Without validation (0) there are only train and test.
    seed : int
        Breaks ties.
    kept : mapping of str to str, optional
        The split of groups that have one already, and stay there. The others are assigned so that all labels together
        come closest to the shares.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=str]
        An element of `SPLITS` for every item.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    kept = kept or {}
    used = SPLITS if val or SPLITS[1] in kept.values() else (SPLITS[0], SPLITS[-1])
    if len(names) < len(used):
        raise LabelError(
            f"Found {len(names)} group{'s' * (len(names) != 1)} of artists ({', '.join(names[:3])}); splits without "
            f"shared artists need at least {len(used)}: one each for {', '.join(used)}."
        )
    share_of = dict(zip(SPLITS, (1 - val - test, val, test), strict=True))
    # The only group of a label belongs in train, a second one in test, and a third one in val.
    importance = np.array([0, *range(len(used) - 1, 0, -1)])
    shares = [max(share_of[name], _LEAST_SHARE) for name in used]
    fixed = np.array([used.index(kept[name]) if name in kept else -1 for name in names.tolist()])
    splits: np.ndarray = np.array(used)[_divide(labels, group_of, shares, importance, seed, fixed)]
    return splits


def folds_by_group(labels: sparse.csr_array, groups: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """Return the fold of each item, from 0, such that groups stay whole and labels are spread over the folds.

    As `split_by_group`, but a label may be in any folds: in as many as it has groups, if that can be done. With fewer
    groups than folds there are as many folds as groups.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    parts = min(folds, len(names))
    return _divide(labels, group_of, [1 / parts] * parts, np.zeros(parts, int), seed)


def hold_out_by_group(labels: sparse.csr_array, groups: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Return which items are held out [dtype=bool]: whole groups, with one of each label of two or more groups."""
    _, group_of = np.unique(groups, return_inverse=True)
    held_out: np.ndarray = _divide(labels, group_of, [1 - share, share], np.arange(2), seed) == 1
    return held_out


def _divide(
    labels: sparse.csr_array,
    group_of: np.ndarray,
    shares: Sequence[float],
    importance: np.ndarray,
    seed: int,
    fixed: np.ndarray | None = None,
) -> np.ndarray:
    """Return the part of each item: a label of few groups is in the parts of lowest number in `importance`.

    `fixed` is the part of each group that stays where it is, and -1 for the others.
    """
    groups = int(group_of.max()) + 1
    counts = _label_shares(labels, group_of, groups)
    order = np.random.default_rng(seed).permutation(groups)
    wanted = np.array(shares)[:, np.newaxis]
    fixed = np.full(groups, -1) if fixed is None else fixed
    part_of = _assign(counts, wanted, importance, order, fixed)
    _repair(counts, wanted, importance, part_of, order[fixed[order] < 0])
    parts: np.ndarray = part_of[group_of]
    return parts


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


def _assign(
    counts: sparse.csr_array, shares: np.ndarray, importance: np.ndarray, order: np.ndarray, fixed: np.ndarray
) -> np.ndarray:
    """Return the part of every group."""
    queues = _queues(counts, order)
    have = np.zeros((len(shares), counts.shape[1]))
    groups_left = np.bincount(counts.indices, minlength=counts.shape[1]).astype(float)
    part_of = fixed.copy()
    for group in np.flatnonzero(fixed >= 0).tolist():
        columns, own = _row(counts, group)
        have[fixed[group], columns] += own
        groups_left[columns] -= 1
    groups_left[groups_left == 0] = np.inf
    for _ in range(int((fixed < 0).sum())):
        label = int(groups_left.argmin())
        queue = queues[label]
        while part_of[queue[-1]] >= 0:
            queue.pop()
        group = queue.pop()
        columns, own = _row(counts, group)
        held, left = have[:, columns], groups_left[columns]
        lacking = held == 0
        more_important = np.array([lacking[importance < one].sum(axis=0) for one in importance])
        wanted = lacking & (more_important < left)
        urgent = left <= lacking.sum(axis=0)
        cost = _increase(held, own, shares).sum(axis=1) + _MISSING * (~wanted & urgent).sum(axis=1)
        part = int(cost.argmin())
        part_of[group] = part
        have[part, columns] += own
        groups_left[columns] -= 1
        groups_left[groups_left == 0] = np.inf
    return part_of


def _repair(
    counts: sparse.csr_array, shares: np.ndarray, importance: np.ndarray, part_of: np.ndarray, order: np.ndarray
) -> None:
    """Move groups of labels that are missing in a part to where fewer labels are missing, or chi-square is smaller."""
    parts = [counts[np.flatnonzero(part_of == part)] for part in range(len(shares))]
    groups_in = np.stack([np.bincount(part.indices, minlength=counts.shape[1]) for part in parts])
    have = np.stack([part.sum(axis=0) for part in parts])
    total = groups_in.sum(axis=0)
    penalty = np.where(total > importance[:, np.newaxis], _MISSING, 0.0)
    if importance.any():
        penalty[0, total > 1] = _NOT_LEARNED
    penalty[:, -1] = _EMPTY
    for _ in range(_ROUNDS):
        lacking = ((groups_in == 0) & (penalty > 0)).sum(axis=0)
        missing = lacking > np.maximum((penalty > 0).sum(axis=0) - total, 0)
        moved = False
        for group in order[counts[order][:, np.flatnonzero(missing)].sum(axis=1) > 0].tolist():
            columns, own = _row(counts, group)
            part, held, number = part_of[group], have[:, columns], groups_in[:, columns]
            cost = _increase(held, own, shares).sum(axis=1) - (penalty[:, columns] * (number == 0)).sum(axis=1)
            leaving = _increase(held[part] - own, own, shares[part])
            cost[part] = leaving.sum() - (penalty[part, columns] * (number[part] == 1)).sum()
            best = int(cost.argmin())
            if cost[best] < cost[part] - _TINY:
                for place, sign in ((part, -1), (best, 1)):
                    have[place, columns] += sign * own
                    groups_in[place, columns] += sign
                part_of[group], moved = best, True
        if not moved:
            break


def _row(counts: sparse.csr_array, group: int) -> tuple[np.ndarray, np.ndarray]:
    span = slice(counts.indptr[group], counts.indptr[group + 1])
    return counts.indices[span], counts.data[span]


def _increase(held: np.ndarray, own: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return by how much chi-square increases if `own` is added to what parts hold."""
    result: np.ndarray = own**2 / shares - 2 * own * (1 - held / shares)
    return result


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

"""Train, validation and test: who is held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from eno.data.albums import LABEL_COLUMNS
from eno.errors import LabelError
from eno.files import replace_file

SPLITS = ("train", "val", "test")
"""The parts, in the order in which shares are given."""

SPLIT_SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("file_name", pa.string()),
        *((name, pa.list_(pa.string())) for name in LABEL_COLUMNS),
    ]
)
"""Columns of ``processed/splits/{train,val,test}.parquet``: a track, its album, the album's labels."""


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
    albums = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(owners), len(names)))
    _, component_of_name = connected_components(albums.T @ albums, directed=False)
    first_name = {
        int(component): str(name) for name, component in zip(names[::-1], component_of_name[::-1], strict=True)
    }
    return [first_name[int(component_of_name[albums.indices[albums.indptr[i]]])] for i in range(len(owners))]


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
        Multi-hot labels.
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
    membership = sparse.csr_array((np.ones(len(group_of)), (group_of, np.arange(len(group_of)))))
    # The number of items goes along as one more label, so that unlabelled groups are shared out too. In shares of
    # its total every label weighs the same.
    counts = np.column_stack([(membership @ labels).toarray(), membership.sum(axis=1)])
    counts = counts[:, counts.sum(axis=0) > 0]
    counts /= counts.sum(axis=0)
    shares = np.array([[1 - val - test], [val], [test]])
    have = np.zeros((len(SPLITS), counts.shape[1]))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    part_of = np.full(len(names), -1)
    groups_left = (counts > 0).sum(axis=0)
    while (part_of < 0).any():
        label = int(np.where(groups_left > 0, groups_left, np.inf).argmin())
        candidates = order[(part_of[order] < 0) & (counts[order, label] > 0)]
        # The largest first: what comes last can no longer be balanced.
        group = candidates[counts[candidates, label].argmax()]
        cost = (counts[group] ** 2 / shares - 2 * counts[group] * (1 - have / shares)).sum(axis=1)
        # Labels that can only just still come to every part, if they go to one that lacks them.
        urgent = (counts[group] > 0) & (groups_left <= (have == 0).sum(axis=0))
        cost += _URGENCY * ((have > 0) & urgent).sum(axis=1)
        part = int(cost.argmin())
        part_of[group] = part
        have[part] += counts[group]
        groups_left -= counts[group] > 0
    parts: np.ndarray = np.array(SPLITS)[part_of[group_of]]
    return parts


def write_splits(folder: Path, rows: pa.Table, parts: np.ndarray) -> None:
    """Write one Parquet file a part.

    Parameters
    ----------
    folder : Path
        Usually ``processed/splits``.
    rows : pyarrow.Table
        Columns of `SPLIT_SCHEMA`.
    parts : np.ndarray [shape=(n,), dtype=str]
        The part of each row, as `split_by_group` gives it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SPLITS:
        with replace_file(folder / f"{name}.parquet") as temporary:
            pq.write_table(rows.filter(pa.array(parts == name)), temporary)


def read_split(folder: Path, name: str) -> pa.Table:
    """Read one part.

    Raises
    ------
    LabelError
        The file is missing or lacks a column.
    """
    path = folder / f"{name}.parquet"
    try:
        return pq.read_table(path, columns=SPLIT_SCHEMA.names)
    except (OSError, pa.ArrowException) as error:
        raise LabelError(
            f"{path}: cannot be read as a split ({error}); expected Parquet with {', '.join(SPLIT_SCHEMA.names)}."
        ) from error

"""Train, validation and test: who is held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from eno.data.lute import LABEL_COLUMNS
from eno.errors import LabelError
from eno.files import replace_file

SPLITS = ("train", "val", "test")
"""The parts, in the order in which shares are given."""

SPLIT_SCHEMA = pa.schema(
    [("track_id", pa.string()), ("file_name", pa.string()), *((name, pa.list_(pa.string())) for name in LABEL_COLUMNS)]
)
"""Columns of ``processed/splits/{train,val,test}.parquet``: a track, its album, the album's labels."""


def split_by_group(
    labels: sparse.csr_array, groups: Sequence[str], *, val: float, test: float, seed: int
) -> np.ndarray:
    """Divide items so that no group is on two sides and every label is on all of them, as far as that goes.

    Groups are dealt out one by one, those with the rarest labels first, each to the part that lacks most of its
    labels: iterative stratification (Sechidis et al., "On the stratification of multi-label data", ECML PKDD 2011)
    over groups instead of single items.

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
    # The number of items goes along as one more label, so that unlabelled groups are shared out too.
    counts = np.column_stack([(membership @ labels).toarray(), membership.sum(axis=1)])
    shares = np.array([1 - val - test, val, test])
    wanted = shares[:, None] * counts.sum(axis=0)
    rng = np.random.default_rng(seed)
    part_of = np.full(len(names), -1)
    while (part_of < 0).any():
        left = np.flatnonzero(part_of < 0)
        remaining = counts[left].sum(axis=0)
        label = int(np.argmin(np.where(remaining > 0, remaining, np.inf)))
        candidates = left[counts[left, label] > 0] if remaining[label] > 0 else left
        # The largest first: what comes last can no longer be balanced.
        group = max(rng.permutation(candidates), key=lambda g: counts[g, label])
        has = counts[group] > 0
        lack = np.stack([wanted[:, label] / shares, (wanted[:, has] / counts[:, has].sum(axis=0)).sum(axis=1) / shares])
        part = int(np.lexsort((rng.permutation(len(SPLITS)), lack[1], lack[0]))[-1])
        part_of[group] = part
        wanted[part] -= counts[group]
    return np.array(SPLITS)[part_of[group_of]]


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

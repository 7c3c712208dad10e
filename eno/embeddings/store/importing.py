"""Stores of vectors that somebody else computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import StoreError
from eno.files import csv_records
from eno.spec import IMPORTED, EncoderSpec

_IDS = ("track_id", "path", "file", "filename", "id")
_VECTORS = ("vectors", "vector", "embeddings", "embedding", "X")
_AT_A_TIME = 50_000  # windows


@dataclass(frozen=True)
class ForeignVectors:
    """Vectors and what they belong to.

    Attributes
    ----------
    ids : list of str [length=n]
    starts_s : np.ndarray [shape=(n,), dtype=float64] or None
        Start of each window in seconds; None if unknown.
    vectors : np.ndarray [shape=(n, dim) or (n, layers, dim)]
    """

    ids: list[str]
    starts_s: np.ndarray | None
    vectors: np.ndarray


def read_vectors(vectors: Path, ids: Path | None = None, column: str | None = None) -> ForeignVectors:
    """Read vectors from ``.npy``, ``.npz``, ``.parquet`` or a Hugging Face data set on disk.

    Parameters
    ----------
    vectors : Path
        Tables have a column of lists of numbers. No file is read as a pickle.
    ids : Path, optional
        CSV file with a column ``track_id`` or ``path``, and perhaps ``start_s``, one row per vector. Needed for
        ``.npy``, and for ``.npz`` without an array of that name.
    column : str, optional
        The column or array of the vectors, by default the one with a usual name, or the only column of lists.

    Raises
    ------
    StoreError
        The file has another format, or the numbers of ids and vectors differ.
    """
    try:
        if vectors.suffix == ".npy":
            columns: dict[str, Any] = {"vectors": np.load(vectors, mmap_mode="r", allow_pickle=False)}
        elif vectors.suffix == ".npz":
            with np.load(vectors, allow_pickle=False) as archive:
                columns = dict(archive)
        else:
            columns = _columns_of(_read_table(vectors))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(
            f"{vectors}: cannot be read as .npy, .npz, Parquet or a data set on disk ({error})."
        ) from error
    name = _vector_column(vectors, columns, column)
    if ids is not None:
        header, rows = csv_records(ids, StoreError, separators=",;\t")
        columns |= {key: np.array([row[key] for _, row in rows]) for key in header}
    place = next((key for key in _IDS if key in columns), None)
    if place is None:
        where = f"{ids} has no column" if ids is not None else f"{vectors} has no ids, so name a CSV file with a column"
        raise StoreError(f"{where} {', '.join(_IDS[:-1])} or {_IDS[-1]}; found {', '.join(columns)}.")
    found = np.asarray(columns[name])
    names = [str(one) for one in np.asarray(columns[place]).tolist()]
    if found.ndim not in (2, 3) or not np.issubdtype(found.dtype, np.number) or len(found) != len(names):
        raise StoreError(
            f"{vectors}: has {len(names)} ids and an array {name} of {found.dtype} with the shape {found.shape}; "
            f"expected numbers of the shape ({len(names)}, dim) or ({len(names)}, layers, dim)."
        )
    starts = columns.get("start_s")
    try:
        return ForeignVectors(names, None if starts is None else np.asarray(starts).astype(np.float64), found)
    except ValueError as error:
        raise StoreError(f"{ids or vectors}: the column start_s is not a number of seconds ({error}).") from error


def import_vectors(
    place: Path | str,
    foreign: ForeignVectors,
    *,
    encoder_name: str,
    sample_rate: int,
    window_s: float = 10.0,
    revision: str = "1",
    dtype: str = "float32",
    track_of: Callable[[str], str] = str,
) -> EmbeddingStore:
    """Create a store of foreign vectors. Heads, evaluation, search and maps work on it; new audio cannot be encoded.

    Parameters
    ----------
    place : Path or str
        A new or empty folder.
    encoder_name, sample_rate, window_s, revision
        What computed the vectors. They are the identity of the store: vectors of another encoder need another name or
        revision.
    track_of : callable, optional
        From an id to the id of a track of the collection.
    """
    by_layer = foreign.vectors if foreign.vectors.ndim == 3 else foreign.vectors[:, np.newaxis]
    ids = [track_of(one) for one in foreign.ids]
    spec = EncoderSpec(
        name=f"{IMPORTED}{encoder_name}",
        revision=revision,
        weights_sha256="",
        sample_rate=sample_rate,
        window_samples=max(1, round(window_s * sample_rate)),
        layers=tuple(f"layer {number}" for number in range(by_layer.shape[1])),
        pooling="unknown",
        dim=by_layer.shape[2],
    )
    counts = Counter(ids)
    starts = foreign.starts_s if foreign.starts_s is not None else _consecutive(ids, window_s)
    policy = WindowPolicy(count=max(counts.values(), default=1))
    store = EmbeddingStore.create(place, spec, policy=policy, dtype=dtype)
    with store.writing():
        for rows in _batches(ids, starts):
            store.append([ids[row] for row in rows], starts[rows], by_layer[rows])
    return store


def _consecutive(ids: Sequence[str], window_s: float) -> np.ndarray:
    seen: Counter[str] = Counter()
    starts = np.zeros(len(ids))
    for row, one in enumerate(ids):
        starts[row] = seen[one] * window_s
        seen[one] += 1
    return starts


def _batches(ids: Sequence[str], starts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows sorted by track and start; all windows of a track are in one batch."""
    names = np.array(ids, dtype=object)
    order = np.lexsort((starts, np.unique(names.astype(str), return_inverse=True)[1]))
    begin = 0
    while begin < len(order):
        end = min(begin + _AT_A_TIME, len(order))
        while end < len(order) and names[order[end]] == names[order[end - 1]]:
            end += 1
        yield order[begin:end]
        begin = end


def _read_table(path: Path) -> pa.Table:
    if not path.is_dir():
        return pq.read_table(path)
    arrow = sorted(path.glob("*.arrow")) or sorted(path.glob("train/*.arrow"))
    if not arrow:
        return pq.read_table(path)
    tables = []
    for file in arrow:  # Hugging Face data sets are streams
        with pa.memory_map(str(file)) as source:
            tables.append(pa.ipc.open_stream(source).read_all())
    return pa.concat_tables(tables)


def _columns_of(table: pa.Table) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
            columns[name] = np.array(column.to_pylist()) if len(column) else np.zeros((0, 0))
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def _vector_column(path: Path, columns: dict[str, Any], column: str | None) -> str:
    arrays = [name for name, values in columns.items() if np.ndim(values) > 1]
    usual = [name for name in _VECTORS if name in arrays]
    name = column or next(iter(usual), arrays[0] if len(arrays) == 1 else None)
    if name is None or name not in columns:
        raise StoreError(f"{path}: which column has the vectors? Name it with --column; found {', '.join(columns)}.")
    return name

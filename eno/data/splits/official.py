"""Published splits of a dataset."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.data.imports.paths import TrackPaths
from eno.data.splits.artist_split import LEFT_OUT
from eno.data.splits.stratify import SPLITS
from eno.errors import CatalogueError
from eno.files import csv_records, read_lines

_SUFFIXES = (".parquet", ".csv", ".tsv", ".txt")
_COLUMNS = ("track_id", "path", "file_name")


def read_official_splits(folder: Path, tracks: pa.Table) -> tuple[np.ndarray, list[str]]:
    """Read the split of each track from a folder of published splits.

    The folder has one file for each of ``train``, ``val`` (or ``validation``, ``valid``; may be missing) and ``test``:
    ``.parquet``, ``.csv`` or ``.tsv`` with a column ``track_id``, ``path`` or ``file_name``; or ``.txt`` with one track
    or album per line. Other text before or after the name of the split is accepted, as in ``autotagging-train.tsv``. A
    track is named by its id, or as in `eno.data.imports.paths.TrackPaths`.

    Returns
    -------
    splits : np.ndarray [shape=(n,), dtype=str]
        The split of each of `tracks`; `eno.data.splits.artist_split.LEFT_OUT` for those that no file lists.
    unknown : list of str
        Entries that are neither a track nor an album of this collection.
    """
    ids = np.array(tracks["track_id"].to_pylist(), dtype=object)
    albums = np.array(tracks["file_name"].to_pylist(), dtype=object)
    known, paths = {*ids, *albums}, TrackPaths(ids)
    splits = np.full(len(ids), LEFT_OUT, dtype="<U5")
    unknown: list[str] = []
    for name in SPLITS:
        path = _find(folder, name)
        if path is None:
            continue
        named: set[str] = set()
        for one in _names(path):
            stripped = one if one in known else one.strip()
            low = stripped.removesuffix(".mp3") + ".low.mp3"  # MTG-Jamendo's smaller files
            named.update([stripped] if stripped in known else paths.find(stripped) or paths.find(low) or [stripped])
        unknown += sorted(named - known)
        listed = np.array([not named.isdisjoint(pair) for pair in zip(ids, albums, strict=True)], bool)
        twice = listed & (splits != LEFT_OUT)
        if twice.any():
            raise CatalogueError(f"{path}: lists {ids[twice][0]}, which is already in {splits[twice][0]}.")
        splits[listed] = name
    if not (splits != LEFT_OUT).any():
        example = f"found, for example, {unknown[0]!r}" if unknown else "the files are empty"
        raise CatalogueError(f"{folder}: lists no track or album of this collection; {example}.")
    return splits, unknown


def _find(folder: Path, name: str) -> Path | None:
    stems = {"val": ("val", "validation", "valid")}.get(name, (name,))
    files = sorted(path for path in folder.glob("*") if path.suffix in _SUFFIXES)
    found = [path for path in files if path.stem in stems] or [
        path for path in files if not {*stems}.isdisjoint(re.split(r"[-_.]", path.stem))
    ]
    if not found and name == "val":
        return None
    if len(found) != 1:
        seen = ", ".join(path.name for path in found) or "none"
        raise CatalogueError(f"{folder}: expected one file {name}{{{','.join(_SUFFIXES)}}}, found {seen}.")
    return found[0]


def _names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise CatalogueError(f"{path}: cannot be read as Parquet ({error}).") from error
        column = _column(path, table.column_names)
        return [str(value) for value in table[column].to_pylist() if value is not None]
    if path.suffix == ".txt":
        return [line.rstrip("\r\n") for line in read_lines(path, CatalogueError) if line.strip()]
    names, rows = csv_records(path, CatalogueError, separators="\t" if path.suffix == ".tsv" else ",;")
    column = _column(path, names)
    return [row[column] for _, row in rows if row[column]]


def _column(path: Path, names: list[str]) -> str:
    column = next((name for name in (*_COLUMNS, "PATH") if name in names), None)
    if column is None:
        raise CatalogueError(f"{path}: expected a column {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}, found {names}.")
    return column

"""From a store and album metadata to what a head is fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse

from eno.data.albums import LABEL_COLUMNS
from eno.data.labels import LabelEncoder
from eno.data.matching import match_by_folder
from eno.data.splits import SPLIT_SCHEMA, SPLITS, artist_groups, read_split, split_by_group, write_splits
from eno.embeddings.store import EmbeddingStore
from eno.errors import LabelError


@dataclass(frozen=True)
class LabelledTracks:
    """Vectors of tracks and the labels of their albums.

    Attributes
    ----------
    ids : list of str
        Tracks.
    X : np.ndarray [shape=(n, dim), dtype=float32]
        Their vectors.
    Y : np.ndarray [shape=(n, num_labels), dtype=float32]
        Their labels.
    """

    ids: list[str]
    X: np.ndarray
    Y: np.ndarray


def label_tracks(track_ids: Iterable[str], albums: pa.Table) -> pa.Table:
    """Give tracks the labels of the album in whose folder they lie.

    Parameters
    ----------
    track_ids : iterable of str
        Tracks, usually those of a store.
    albums : pyarrow.Table
        As `eno.data.lute.read_albums` gives it.

    Returns
    -------
    pyarrow.Table
        Columns of `eno.data.splits.SPLIT_SCHEMA`; tracks of no album are left out.

    Raises
    ------
    LabelError
        No track lies in the folder of an album.
    """
    file_names = albums["file_name"].to_pylist()
    row_of = {name: row for row, name in enumerate(file_names)}
    album_of = match_by_folder(track_ids, file_names)
    if not album_of:
        raise LabelError(
            "No track lies in the folder of an album. Expected <audio folder>/<file_name of the album>/<track>, "
            f"for instance {file_names[0] if file_names else 'release/album/slowdive/souvlaki'}/01.flac."
        )
    labels = albums.select(LABEL_COLUMNS).take([row_of[name] for name in album_of.values()])
    columns = [pa.array(list(album_of)), pa.array(list(album_of.values())), *labels.columns]
    return pa.Table.from_arrays(columns, names=SPLIT_SCHEMA.names).cast(SPLIT_SCHEMA)


def make_splits(
    tracks: pa.Table, albums: pa.Table, folder: Path, *, val: float, test: float, seed: int
) -> dict[str, int]:
    """Divide labelled tracks by artist and write one file a part.

    Parameters
    ----------
    tracks : pyarrow.Table
        As `label_tracks` gives it.
    albums : pyarrow.Table
        For the artists; without a column ``artists`` every album counts as an artist of its own.
    folder : Path
        Receives ``train.parquet``, ``val.parquet`` and ``test.parquet``.
    val, test : float
        Shares of the tracks that are held out.
    seed : int
        Decides between equals.

    Returns
    -------
    dict of str to int
        Tracks in each part.
    """
    names = albums["file_name"].to_pylist()
    listed = albums["artists"].to_pylist() if "artists" in albums.column_names else [None] * len(names)
    artists = [[one["file_name"] or one["name"] for one in several or ()] for several in listed]
    group_of = dict(zip(names, artist_groups(artists), strict=True))
    groups = [group_of[name] for name in tracks["file_name"].to_pylist()]
    everything = _vocabulary(tracks, min_albums=1)
    parts = split_by_group(_labels(everything, tracks), groups, val=val, test=test, seed=seed)
    write_splits(folder, tracks, parts)
    return {name: int((parts == name).sum()) for name in SPLITS}


def build_labels(train: pa.Table, *, min_albums: int) -> LabelEncoder:
    """Choose the labels that can be learned.

    Parameters
    ----------
    train : pyarrow.Table
        The training part.
    min_albums : int
        A label needs so many albums in it.

    Returns
    -------
    LabelEncoder
        The vocabulary.

    Raises
    ------
    LabelError
        No label is that frequent.
    """
    labels = _vocabulary(train, min_albums=min_albums)
    if len(labels) == 0:
        raise LabelError(
            f"No label has {min_albums} albums in the training part, which holds "
            f"{len(set(train['file_name'].to_pylist()))} albums. Lower it with --set labels.min_albums=5."
        )
    return labels


def load_tracks(store: EmbeddingStore, folder: Path, part: str, labels: LabelEncoder) -> LabelledTracks:
    """Read the vectors and labels of one part.

    Raises
    ------
    StoreError
        The store lacks tracks of the split.
    LabelError
        The split cannot be read, or is empty.
    """
    rows = read_split(folder, part)
    if len(rows) == 0:
        raise LabelError(f"{folder / part}.parquet: holds no tracks.")
    ids, X = store.matrix(rows["track_id"].to_pylist())
    return LabelledTracks(ids, X, _labels(labels, rows).toarray())


def _vocabulary(tracks: pa.Table, *, min_albums: int) -> LabelEncoder:
    albums = {row["file_name"]: row for row in tracks.to_pylist()}.values()
    genres = Counter(
        name for row in albums for name in {*(row["primary_genres"] or ()), *(row["secondary_genres"] or ())}
    )
    descriptors = Counter(name for row in albums for name in set(row["descriptors"] or ()))
    return LabelEncoder(*([name for name, n in counts.items() if n >= min_albums] for counts in (genres, descriptors)))


def _labels(encoder: LabelEncoder, tracks: pa.Table) -> sparse.csr_array:
    return encoder.encode_many(*(tracks[name].to_pylist() for name in LABEL_COLUMNS))

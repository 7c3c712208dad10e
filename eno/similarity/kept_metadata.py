"""Metadata of the tracks of an index, joined once and kept beside it as a table that is read in place.

A search needs the metadata of the few tracks that it shows. Memory-mapped, only these are read from disk.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from eno.data.layout import DataRoot
from eno.files import printable, replace_file
from eno.similarity.columns import flat
from eno.similarity.groups import Groups
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.metadata import TrackMetadata

logger = logging.getLogger(__name__)

FILE = "metadata.arrow"

_VERSION = 3  # changes with the columns of `eno.similarity.joined_metadata`, or with how they are made
_MADE_FROM = b"made_from"
_ARTIST_GROUPS, _ALBUM_GROUPS = "artist groups", "album groups"
_GROUPS = pa.list_(pa.int64())


def metadata_of(index: SimilarityIndex, root: DataRoot | None) -> TrackMetadata:
    """Return the metadata of the live tracks of an index from a collection's tables, see `TrackMetadata.read`.

    They are read from the table beside the index. If there is none, or the index or one of the collection's tables has
    changed since, it is made again, in memory alone if the folder of the index cannot be written to.
    """
    path, made_from = index.folder / FILE, _made_from(index, root)
    found = _open(path, made_from)
    if found is not None:
        return found
    metadata = TrackMetadata.read(index.live_ids, root)
    try:
        _write(path, metadata, made_from)
    except OSError as error:
        logger.debug("%s: cannot be kept (%s)", printable(path), error)
        return metadata
    return _open(path, made_from) or metadata


def _made_from(index: SimilarityIndex, root: DataRoot | None) -> bytes:
    """Return what identifies the files that the metadata is made from."""
    tables = [] if root is None else [root.tracks, root.matches, root.albums, root.track_labels]
    stamps = [_stamp(path) for path in (index.folder / index.manifest.rows_file, *tables)]
    return json.dumps([_VERSION, index.manifest.rows_file, stamps]).encode()


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the size and the modification time of a file; None if there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None


def _open(path: Path, made_from: bytes) -> TrackMetadata | None:
    """Open a kept table; None if there is none that was made from these files."""
    try:
        table = pa.ipc.open_file(pa.memory_map(os.fspath(path))).read_all()
        if (table.schema.metadata or {}).get(_MADE_FROM) != made_from:
            return None
        artists, albums = (_as_groups(table[name]) for name in (_ARTIST_GROUPS, _ALBUM_GROUPS))
        return TrackMetadata(table.drop_columns([_ARTIST_GROUPS, _ALBUM_GROUPS]), artists, albums)
    except (OSError, KeyError, pa.ArrowException) as error:
        if not isinstance(error, FileNotFoundError):
            logger.warning("%s: is damaged (%s) and made again.", printable(path), error)
        return None


def _write(path: Path, metadata: TrackMetadata, made_from: bytes) -> None:
    table = metadata.table.combine_chunks()
    for name, groups in ((_ARTIST_GROUPS, metadata.artists), (_ALBUM_GROUPS, metadata.albums)):
        offsets = pa.array(groups.offsets.astype(np.int32))
        table = table.append_column(name, pa.ListArray.from_arrays(offsets, pa.array(groups.codes), type=_GROUPS))
    table = table.replace_schema_metadata({_MADE_FROM: made_from})
    with (
        replace_file(path) as temporary,
        pa.OSFile(os.fspath(temporary), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def _as_groups(lists: pa.ChunkedArray) -> Groups:
    if lists.num_chunks == 0:
        return Groups(np.zeros(0, np.int64), np.zeros(1, np.int64))
    whole = flat(lists)
    return Groups(whole.values.to_numpy(), whole.offsets.to_numpy())

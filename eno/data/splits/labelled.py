"""Splits with the labels that their tracks have now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from eno.data.imports.items import read_track_labels
from eno.data.layout import DataRoot
from eno.data.lute.albums import FAMILY_LABELS, LABEL_COLUMNS, LABEL_VALUES, read_album_labels
from eno.data.splits.artist_split import read_split, with_labels


def read_labelled(folder: Path, splits: Sequence[str], data: DataRoot | None) -> pa.Table:
    """Read one or several splits, with the columns of `read_split` and the present labels of a collection.

    Tracks have the labels that they had when they were split if their album is not in the collection's tables, or
    without a collection.
    """
    rows = pa.concat_tables([read_split(folder, split) for split in splits])
    if data is None or not data.albums.is_file():
        return rows
    albums = read_album_labels(data.albums)
    listed = pc.is_in(rows["file_name"], value_set=albums["file_name"].combine_chunks())
    present = with_labels(rows.filter(listed), albums, read_track_labels(data.track_labels))
    labelled = pc.index_in(rows["track_id"], value_set=present["track_id"].combine_chunks())
    for name in (*LABEL_COLUMNS, FAMILY_LABELS.name, LABEL_VALUES.name):
        column = pc.if_else(listed, present[name].take(labelled), rows[name])
        rows = rows.set_column(rows.column_names.index(name), rows.field(name), column)
    return rows

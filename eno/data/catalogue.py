"""The steps ``eno labels`` and ``eno split`` on the files of a collection."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from eno.data.families import merged_entries
from eno.data.imports.items import read_track_labels
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.hierarchy import Hierarchy
from eno.data.labels.vocabulary import build_vocabulary
from eno.data.layout import DataRoot
from eno.data.library.scanning import read_tracks
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS, LABEL_COLUMNS, read_albums
from eno.data.matching.matcher import albums_with_tracks, read_matches
from eno.data.splits.artist_split import (
    LEFT_OUT,
    SplitReport,
    describe_splits,
    label_tracks,
    make_splits,
    splits_before,
    track_groups,
    write_splits,
)
from eno.data.splits.leaks import check_leaks, leave_out_repeats
from eno.data.splits.official import read_official_splits
from eno.data.tables import with_column, write_table
from eno.errors import CatalogueError

logger = logging.getLogger(__name__)


def choose_labels(
    root: DataRoot,
    *,
    min_albums: int | None = None,
    min_artists: int | None = None,
    secondary_weight: float = 1.0,
    aliases: Mapping[str, str] | None = None,
    hierarchy: Hierarchy | None = None,
    all_albums: bool = False,
) -> tuple[LabelEncoder, pa.Table]:
    """Choose the labels of a collection and write them; see `eno.data.labels.vocabulary.build_vocabulary`.

    Only albums with matched tracks are counted, unless `all_albums`.
    """
    albums = read_albums(root.albums)
    labels, counts = build_vocabulary(
        albums if all_albums else _albums_with_labels(root, albums),
        min_albums=min_albums,
        min_artists=min_artists,
        aliases=aliases,
        hierarchy=hierarchy,
        secondary_weight=secondary_weight,
    )
    write_table(root.label_counts, counts)
    labels.save(root.label_encoder)
    return labels, counts


def _albums_with_labels(root: DataRoot, albums: pa.Table) -> pa.Table:
    """Return the albums that have tracks, with the labels of these tracks."""
    matches, own = read_matches(root.matches), read_track_labels(root.track_labels)
    albums = albums_with_tracks(albums, matches)
    if not len(own):
        return albums
    rows_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in label_tracks(matches, albums, own).to_pylist():
        rows_of[row["file_name"]].append(row)
    names = albums["file_name"].to_pylist()
    for name in LABEL_COLUMNS:
        lists = [list(dict.fromkeys(one for row in rows_of[album] for one in row[name] or ())) for album in names]
        albums = _with_lists(albums, ALBUM_SCHEMA.field(name), lists)
    others = [merged_entries(row[FAMILY_LABELS.name] for row in rows_of[album]) for album in names]
    return _with_lists(with_column(albums, FAMILY_LABELS), FAMILY_LABELS, others)


def _with_lists(albums: pa.Table, field: pa.Field, lists: list[Any]) -> pa.Table:
    return albums.set_column(albums.column_names.index(field.name), field, pa.array(lists, field.type))


def split_tracks(
    root: DataRoot,
    *,
    val: float,
    test: float,
    seed: int,
    official: Path | None = None,
    allow_leaks: bool = False,
    anew: bool = False,
) -> tuple[SplitReport, list[str]]:
    """Split the tracks of a collection, check for leakage, and write the splits; if there is leakage, write nothing.

    Tracks must have been matched and labels chosen. Tracks that are in a split stay there, unless their artist is now
    connected to those of another split, or `anew` is set. `official` is a folder of published splits to use unchanged,
    see `eno.data.splits.official.read_official_splits`. Also returns its entries that are not in this collection.
    With `allow_leaks`, published splits that share artists, albums or songs are written, with a warning.
    """
    albums, tags = read_albums(root.albums), read_tracks(root.tracks)
    tracks = label_tracks(read_matches(root.matches), albums, read_track_labels(root.track_labels))
    labels = LabelEncoder.load(root.label_encoder)
    unknown: list[str] = []
    before = {} if anew else splits_before(root.splits)
    if official is None:
        splits = make_splits(tracks, albums, labels, tags=tags, val=val, test=test, seed=seed, before=before)
        splits = leave_out_repeats(tracks, splits, albums, tags)
    else:
        splits, unknown = read_official_splits(official, tracks)
    try:
        check_leaks(tracks, splits, albums, tags)
    except CatalogueError as error:
        if official is None or not allow_leaks:
            raise
        logger.warning("%s", error)
    write_splits(root.splits, tracks, splits, track_groups(tracks, albums, tags))
    report = describe_splits(tracks, albums, labels, splits, tags)
    pairs = [
        (before.get(track_id), split) for track_id, split in zip(tracks["track_id"].to_pylist(), splits, strict=True)
    ]
    kept = sum(was == split for was, split in pairs)
    moved = sum(was is not None and was != split and split != LEFT_OUT for was, split in pairs)
    return replace(report, kept=kept, moved=moved), unknown

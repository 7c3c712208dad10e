"""The steps that choose labels and divide tracks, over the files of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.hierarchy import Hierarchy
from eno.data.labels.vocabulary import build_vocabulary
from eno.data.layout import DataRoot
from eno.data.library.scanning import read_tracks
from eno.data.lute.albums import read_albums
from eno.data.matching.matcher import albums_with_tracks, read_matches
from eno.data.splits.artist_split import (
    SplitReport,
    describe_splits,
    label_tracks,
    make_splits,
    track_groups,
    write_splits,
)
from eno.data.splits.leaks import check_leaks, leave_out_repeats
from eno.data.splits.official import read_official_splits
from eno.data.tables import write_table


def choose_labels(
    root: DataRoot,
    *,
    min_albums: int,
    min_artists: int,
    secondary_weight: float = 1.0,
    aliases: Mapping[str, str] | None = None,
    hierarchy: Hierarchy | None = None,
    all_albums: bool = False,
) -> tuple[LabelEncoder, pa.Table]:
    """Build the vocabulary of a collection and write it.

    Parameters
    ----------
    root : DataRoot
        Albums must have been imported, and unless all of them count, tracks matched.
    min_albums, min_artists, secondary_weight, aliases, hierarchy
        See `eno.data.labels.vocabulary.build_vocabulary`.
    all_albums : bool
        Count albums without audio too.

    Returns
    -------
    labels : LabelEncoder
    counts : pyarrow.Table
        See `eno.data.labels.vocabulary.build_vocabulary`.
    """
    albums = read_albums(root.albums)
    labels, counts = build_vocabulary(
        albums if all_albums else albums_with_tracks(albums, read_matches(root.matches)),
        min_albums=min_albums,
        min_artists=min_artists,
        aliases=aliases,
        hierarchy=hierarchy,
        secondary_weight=secondary_weight,
    )
    write_table(root.label_counts, counts)
    labels.save(root.label_encoder)
    return labels, counts


def split_tracks(
    root: DataRoot, *, val: float, test: float, seed: int, official: Path | None = None
) -> tuple[SplitReport, list[str]]:
    """Divide the tracks of a collection, look for leaks, and write the splits.

    Parameters
    ----------
    root : DataRoot
        Tracks must have been matched and labels chosen.
    val, test, seed
        See `eno.data.splits.artist_split.make_splits`.
    official : Path, optional
        A division to use instead, see `eno.data.splits.official.read_official_splits`; it is not changed.

    Returns
    -------
    report : SplitReport
    unknown : list of str
        What the official division names that is not here.

    Raises
    ------
    CatalogueError
        Something is in two parts; nothing is written then.
    """
    albums, tags = read_albums(root.albums), read_tracks(root.tracks)
    tracks, labels = label_tracks(read_matches(root.matches), albums), LabelEncoder.load(root.label_encoder)
    unknown: list[str] = []
    if official is None:
        parts = make_splits(tracks, albums, labels, tags=tags, val=val, test=test, seed=seed)
        parts = leave_out_repeats(tracks, parts, albums, tags)
    else:
        parts, unknown = read_official_splits(official, tracks)
    check_leaks(tracks, parts, albums, tags)
    write_splits(root.splits, tracks, parts, track_groups(tracks, albums, tags))
    return describe_splits(tracks, albums, labels, parts, tags), unknown

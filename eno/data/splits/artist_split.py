"""Artist-disjoint splits: no artist is in two of training, validation and test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import family_labels, merged_entries
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.values import merged_values
from eno.data.lute.albums import FAMILY_LABELS, LABEL_COLUMNS, LABEL_VALUES
from eno.data.matching.artists import artist_key
from eno.data.splits.compilations import artists_of_tag, group_compilations
from eno.data.splits.stratify import SPLITS, artist_groups, split_by_group
from eno.data.tables import read_table, with_column, write_table
from eno.errors import CatalogueError

SPLIT_SCHEMA = pa.schema([
    ("track_id", pa.string()), ("file_name", pa.string()), *((name, pa.list_(pa.string())) for name in LABEL_COLUMNS),
    FAMILY_LABELS, LABEL_VALUES,
])  # fmt: skip
"""Columns of ``processed/splits/{train,val,test}.parquet``: a track, its album and the album's labels."""

GROUP = pa.field("group", pa.string())
"""Another column of splits: the group of artists, which folds and confidence intervals keep together."""

LEFT_OUT = ""
"""Marks tracks that are in no split."""

_SEVERAL = 6  # an album credited to more artists does not join them


@dataclass(frozen=True)
class SplitReport:
    """Sizes of the splits, and how evenly labels are spread over them.

    A gap is the difference between the share of a label's tracks and the share of all tracks that are in a split;
    `worst_gap` and `mean_gap` are the maximum and the mean over labels and splits.
    """

    tracks: dict[str, int]
    albums: dict[str, int]
    artists: dict[str, int]
    worst_gap: float
    mean_gap: float
    worst_label: str
    worst_split: str
    largest_group: float  # share of all tracks
    left_out: int  # tracks in no split
    kept: int = 0  # tracks that are in the same split as before
    moved: int = 0  # tracks that were in another one


def label_tracks(matches: pa.Table, albums: pa.Table, track_labels: pa.Table | None = None) -> pa.Table:
    """Return the matched tracks with their labels, see `with_labels`."""
    matched = matches.filter(pc.equal(matches["decision"], "matched"))
    if len(matched) == 0:
        raise CatalogueError("No track is matched to an album. For the reasons, run: eno match")
    unknown = pc.invert(pc.is_in(matched["file_name"], value_set=albums["file_name"].combine_chunks()))
    if pc.any(unknown).as_py():
        raise CatalogueError(
            f"Tracks are matched to the album {matched.filter(unknown)['file_name'][0]}, which is not in the albums "
            "table. Run again: eno match"
        )
    return with_labels(matched, albums, track_labels)


def with_labels(tracks: pa.Table, albums: pa.Table, track_labels: pa.Table | None = None) -> pa.Table:
    """Return tracks with the labels of their albums, which must be in the table, in the columns of `SPLIT_SCHEMA`.

    A track with labels of its own, from `eno.data.imports.read_track_labels`, has those in place of the labels of an
    album that was imported with it, and in addition to those of any other album.
    """
    rows = pc.index_in(tracks["file_name"], value_set=albums["file_name"].combine_chunks())
    values = with_column(albums, LABEL_VALUES)[LABEL_VALUES.name]
    labels = [*(albums[name] for name in LABEL_COLUMNS), family_labels(albums), values]
    columns = [tracks["track_id"], tracks["file_name"], *(column.take(rows) for column in labels)]
    table = pa.Table.from_arrays(columns, names=SPLIT_SCHEMA.names).cast(SPLIT_SCHEMA)
    return table if track_labels is None or not len(track_labels) else _with_own_labels(table, track_labels)


def _with_own_labels(table: pa.Table, track_labels: pa.Table) -> pa.Table:
    own: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in track_labels.to_pylist():
        own[row["track_id"]].append(row)
    imported = set(track_labels["file_name"].to_pylist())
    changed = np.flatnonzero(pc.is_in(table["track_id"], value_set=track_labels["track_id"].combine_chunks()))
    rows = table.take(changed).to_pylist()
    for row in rows:
        found = own[row["track_id"]]
        sources = found if row["file_name"] in imported else [row, *found]
        values = merged_values(sources)
        row |= {name: list(_merged(one[name] for one in sources)) for name in LABEL_COLUMNS}
        row[FAMILY_LABELS.name] = merged_entries(one[FAMILY_LABELS.name] for one in sources)
        row[LABEL_VALUES.name] = values
    places = np.arange(len(table))
    places[changed] = len(table) + np.arange(len(changed))
    return pa.concat_tables([table, pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA)]).take(places)


def _merged(lists: Iterable[list[str] | None]) -> dict[str, None]:
    return dict.fromkeys(label for labels in lists for label in labels or ())


def make_splits(
    tracks: pa.Table,
    albums: pa.Table,
    labels: LabelEncoder,
    *,
    val: float,
    test: float,
    seed: int,
    tags: pa.Table | None = None,
    before: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Split labelled tracks into train, val and test without shared artists.

    All artists of an album stay together. Artists of compilations are taken from the tags of their tracks, and no
    artist who is credited with an album or tagged on a compilation is in two splits. Guests ("feat.") do not count.
    Compilations, and albums credited to more than six artists, are left out if they would join artists who are
    otherwise unconnected. Artists who are only on compilations never join others: of their tracks, those in another
    group are left out. Fewer groups than splits raise a `LabelError`.

    Parameters
    ----------
    tracks : pyarrow.Table
        From `label_tracks`.
    labels : LabelEncoder
        The labels to stratify by.
    val, test : float
        Shares of the tracks; `val` may be 0.
    tags : pyarrow.Table, optional
        The tracks table, for the artists on compilations. Without it each compilation is a group of its own.
    before : mapping of str to str, optional
        The split of tracks that have been split before. A group of artists stays where most of these tracks are, and
        only the other groups are assigned.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=str]
        The split of each track, or `LEFT_OUT`.
    """
    groups = track_groups(tracks, albums, tags)
    matrix = labels.encode_table(tracks)
    used = np.array([group is not None for group in groups], bool)
    splits = np.full(len(groups), LEFT_OUT, dtype="<U5")
    splits[used] = split_by_group(
        matrix[used],
        [group for group in groups if group is not None],
        val=val,
        test=test,
        seed=seed,
        kept=_splits_of_groups(tracks["track_id"].to_pylist(), groups, before or {}),
    )
    return splits


def _splits_of_groups(
    track_ids: Sequence[str], groups: Sequence[str | None], before: Mapping[str, str]
) -> dict[str, str]:
    """Return where most of the tracks of each group are that were split `before`."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for track_id, group in zip(track_ids, groups, strict=True):
        if group is not None and track_id in before:
            counts[group][before[track_id]] += 1
    return {group: found.most_common(1)[0][0] for group, found in counts.items()}


def splits_before(folder: Path) -> dict[str, str]:
    """Return the split of every track that has one in a folder of splits; none if there are no splits."""
    if not (folder / f"{SPLITS[0]}.parquet").is_file():
        return {}
    return {track_id: name for name in SPLITS for track_id in read_split(folder, name)["track_id"].to_pylist()}


def track_groups(tracks: pa.Table, albums: pa.Table, tags: pa.Table | None) -> list[str | None]:
    """Return the group of artists of every track; None for tracks that would join separate groups.

    No artist who is credited with an album, or tagged on a compilation, is in two groups; see `make_splits`.
    """
    file_names = tracks["file_name"].to_pylist()
    owners = artists_of_albums(albums, list(dict.fromkeys(file_names)))
    credited = [name for name, artists in owners.items() if 0 < len(artists) <= _SEVERAL]
    group_of = dict(zip(credited, artist_groups([owners[name] for name in credited]), strict=True)) if credited else {}
    group_of_artist = {artist: group for name, group in group_of.items() for artist in owners[name]}
    columns = [] if tags is None else [tags[name].to_pylist() for name in ("track_id", "artist")]
    artist_of = dict(zip(*columns, strict=True))
    on_compilations = {
        row: tuple(owners[name]) or artists_of_tag(artist_of.get(track_id) or "", group_of_artist)
        for row, (track_id, name) in enumerate(zip(tracks["track_id"].to_pylist(), file_names, strict=True))
        if name not in group_of
    }
    compilations = defaultdict(list)
    for row, artists in on_compilations.items():
        compilations[file_names[row]].append(artists)
    group_of |= group_compilations(compilations, group_of_artist)
    return [
        group if all(group_of_artist.get(artist) == group for artist in on_compilations.get(row, ())) else None
        for row, group in enumerate(map(group_of.get, file_names))
    ]


def artists_of_albums(albums: pa.Table, file_names: list[str]) -> dict[str, list[str]]:
    """Return the keys of the artists of the named albums; none for compilations."""
    rows = pc.index_in(pa.array(file_names, pa.string()), value_set=albums["file_name"].combine_chunks())
    listed = albums["artists"].take(rows).to_pylist()
    found = {}
    for name, several in zip(file_names, listed, strict=True):
        keys = {artist_key(one["name"], one["file_name"]) for one in several or () if one}
        found[name] = sorted(key for key in keys if key)
    return found


def describe_splits(
    tracks: pa.Table, albums: pa.Table, labels: LabelEncoder, splits: np.ndarray, tags: pa.Table | None = None
) -> SplitReport:
    """Count the contents of each split and measure how evenly the labels are spread; see `make_splits`."""
    file_names = np.array(tracks["file_name"].to_pylist(), dtype=object)
    owners = artists_of_albums(albums, list(dict.fromkeys(file_names)))
    albums_in = {name: set(file_names[splits == name]) for name in SPLITS}
    used = splits != LEFT_OUT
    matrix = labels.encode_table(tracks)[used]
    matrix.data[:] = 1
    totals = np.maximum(matrix.sum(axis=0), 1e-9)
    occurs = totals >= 1
    gaps = np.array([
        np.where(occurs, abs(matrix[splits[used] == name].sum(axis=0) / totals - (splits[used] == name).mean()), 0)
        for name in SPLITS
    ])  # fmt: skip
    split, label = np.unravel_index(int(gaps.argmax()), gaps.shape) if gaps.size else (0, 0)
    groups = Counter(group for group in track_groups(tracks, albums, tags) if group is not None)
    return SplitReport(
        tracks={name: int((splits == name).sum()) for name in SPLITS},
        albums={name: len(albums_in[name]) for name in SPLITS},
        artists={name: len({artist for album in albums_in[name] for artist in owners[album]}) for name in SPLITS},
        worst_gap=float(gaps.max(initial=0.0)),
        mean_gap=float(gaps[:, occurs].mean()) if occurs.any() else 0.0,
        worst_label=labels.all_labels[label] if len(labels) else "",
        worst_split=SPLITS[split],
        largest_group=max(groups.values(), default=0) / max(1, len(tracks)),
        left_out=int((~used).sum()),
    )


def write_splits(folder: Path, rows: pa.Table, splits: np.ndarray, groups: list[str | None] | None = None) -> None:
    """Write rows with the columns of `SPLIT_SCHEMA`, their `splits` and their `track_groups`: one file per split."""
    if groups is not None:
        rows = rows.append_column(GROUP, pa.array(groups, GROUP.type))
    for name in SPLITS:
        write_table(folder / f"{name}.parquet", rows.filter(pa.array(splits == name)))


def read_split(folder: Path, name: str) -> pa.Table:
    """Read a split, with the columns of `SPLIT_SCHEMA` and `GROUP`; an album without a group is its own group."""
    origin = "Create it with: eno split"
    schema = SPLIT_SCHEMA.append(GROUP)
    later = {FAMILY_LABELS.name, LABEL_VALUES.name}  # earlier splits lack them
    needed = [column for column in SPLIT_SCHEMA.names if column not in later]
    table = read_table(folder / f"{name}.parquet", schema=schema, needed=needed, origin=origin)
    table = table.select(schema.names)
    return table.set_column(len(SPLIT_SCHEMA), GROUP, pc.coalesce(table[GROUP.name], table["file_name"]))

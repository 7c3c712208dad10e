"""The choice of labels that are frequent enough to train on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from eno.data.families import families_of, names_in
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.hierarchy import Hierarchy
from eno.data.lute.albums import album_artists
from eno.data.names import clean_label, label_key
from eno.errors import LabelError

LABEL_COUNTS_SCHEMA = pa.schema([
    ("label", pa.string()), ("family", pa.string()), ("albums", pa.int32()), ("artists", pa.int32()),
    ("direct_albums", pa.int32()), ("kept", pa.bool_()), ("reason", pa.string()), ("parents", pa.list_(pa.string())),
])  # fmt: skip
"""Columns of ``labels.parquet``; DATA.md describes them."""


def build_vocabulary(
    albums: pa.Table,
    *,
    min_albums: int | None = None,
    min_artists: int | None = None,
    aliases: Mapping[str, str] | None = None,
    hierarchy: Hierarchy | None = None,
    secondary_weight: float = 1.0,
) -> tuple[LabelEncoder, pa.Table]:
    """Choose the labels that are frequent enough to train on.

    Parameters
    ----------
    albums : pyarrow.Table
        The albums to count, usually those with audio.
    min_albums, min_artists : int, optional
        Minimum numbers of albums, and of artists of these albums, for a label to be kept; see `default_limits`.
    hierarchy : Hierarchy, optional
        An album with a label also counts for the label's ancestors.

    Returns
    -------
    labels : LabelEncoder
    counts : pyarrow.Table
        Columns of `LABEL_COUNTS_SCHEMA`, one row for every name that occurs, most frequent first.
    """
    usual = default_limits(len(albums))
    min_albums, min_artists = min_albums or usual[0], min_artists or usual[1]
    hierarchy = hierarchy or Hierarchy(())
    spelled = {family: _spellings(names_in(albums, family)) for family in families_of(albums)}
    known_aliases = {label_key(alias): label for alias, label in (aliases or {}).items()}
    names = {family: _names(found, known_aliases, hierarchy) for family, found in spelled.items()}
    direct = LabelEncoder((), (), aliases=aliases).replaced(names)
    everything = _with_ancestors(names, hierarchy, aliases=aliases)
    matrix, direct_matrix = everything.encode_table(albums), direct.encode_table(albums)
    albums_of, artists_of = _column_counts(matrix), _column_counts(_artist_incidence(albums) @ matrix)
    direct_albums_of = _column_counts(direct_matrix)
    rows: list[dict[str, Any]] = []
    for column, (family, label) in enumerate(zip(everything.families, everything.all_labels, strict=True)):
        counted = {"albums": int(albums_of[column]), "artists": int(artists_of[column])}
        own = int(direct_albums_of[column])
        reason = _why_dropped(**counted, own=own, min_albums=min_albums, min_artists=min_artists)
        rows.append({
            "label": label,
            "family": family,
            **counted,
            "direct_albums": own,
            "kept": reason is None,
            "reason": reason,
            "parents": hierarchy.parents(label),
        })  # fmt: skip
    rows += _alias_rows(spelled, known_aliases)
    rows.sort(key=lambda row: (-row["albums"], row["family"], row["label"]))
    kept = {family: [row["label"] for row in rows if row["kept"] and row["family"] == family] for family in names}
    if not any(kept.values()):
        raise LabelError(_nothing_kept(rows, len(albums), min_albums, min_artists))
    encoder = _with_ancestors(kept, hierarchy, aliases=aliases, secondary_weight=secondary_weight)
    return encoder, pa.Table.from_pylist(rows, schema=LABEL_COUNTS_SCHEMA)


def default_limits(albums: int) -> tuple[int, int]:
    """Return the minimum numbers of albums and artists of a label in a collection of so many albums.

    A label needs 2 % of the albums, at least 5 and at most 100, and a tenth as many artists, from 3 to 10.

    Examples
    --------
    >>> [default_limits(albums) for albums in (60, 600, 300_000)]
    [(5, 3), (12, 3), (100, 10)]
    """
    of_albums = min(max(albums // 50, 5), 100)
    return of_albums, min(max(of_albums // 10, 3), 10)


def roll_up(counts: pa.Table, hierarchy: Hierarchy) -> list[tuple[str, int, int]]:
    """Count the albums and the kept labels below each top-level label, itself included; most albums first."""
    albums_of = {label_key(row["label"]): row["albums"] for row in counts.to_pylist() if row["family"] == "genre"}
    kept = Counter(
        label_key(root)
        for row in counts.to_pylist()
        if row["kept"] and row["family"] == "genre"
        for root in {row["label"], *hierarchy.ancestors(row["label"])}
    )
    roots = [(root, albums_of.get(label_key(root), 0), kept[label_key(root)]) for root in hierarchy.roots()]
    return sorted(roots, key=lambda row: -row[1])


def _with_ancestors(names: Mapping[str, list[str]], hierarchy: Hierarchy, **options: Any) -> LabelEncoder:
    """Return a vocabulary of labels by family, each of which implies its ancestors among them."""
    implied = hierarchy.implied([name for own in names.values() for name in own])
    return LabelEncoder((), (), implied=implied, **options).replaced(names)


def _spellings(columns: Iterable[pa.Array]) -> dict[str, str]:
    """Map the key of every name to its most frequent spelling."""
    counts: Counter[str] = Counter()
    for column in columns:
        for item in pc.value_counts(column).to_pylist():
            counts[clean_label(item["values"] or "")] += item["counts"]
    del counts[""]
    spelled: dict[str, str] = {}
    for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        spelled.setdefault(label_key(name), name)
    return spelled


def _names(found: dict[str, str], aliases: Mapping[str, str], hierarchy: Hierarchy) -> list[str]:
    """Return the labels of a family: the names that occur, with aliases resolved, and their ancestors."""
    names = {key: name for key, name in found.items() if key not in aliases}
    for key in found:
        if key in aliases:
            names.setdefault(label_key(aliases[key]), aliases[key])
    for name in list(names.values()):
        for ancestor in hierarchy.ancestors(name):
            names.setdefault(label_key(ancestor), ancestor)
    return list(names.values())


def _alias_rows(spelled: dict[str, dict[str, str]], aliases: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"label": name, "family": family, "albums": 0, "artists": 0, "direct_albums": 0, "kept": False,
         "reason": f"alias of {aliases[key]}", "parents": []}
        for family, found in spelled.items() for key, name in found.items() if key in aliases
    ]  # fmt: skip


def _artist_incidence(albums: pa.Table) -> sparse.csr_array:
    """Return 1 where an album is by an artist [shape=(artists, albums)]; one without artists has its own artist."""
    row_of: dict[str, int] = defaultdict(lambda: len(row_of))
    pairs = [
        (row_of[artist], album)
        for album, artists in enumerate(album_artists(albums))
        for artist in artists or [f"unknown artist of album {album}"]
    ]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(row_of), len(albums)))


def _column_counts(matrix: sparse.csr_array) -> np.ndarray:
    return np.bincount(matrix.indices[matrix.data > 0], minlength=matrix.shape[1])


def _why_dropped(*, albums: int, artists: int, own: int, min_albums: int, min_artists: int) -> str | None:
    if own == 0:
        return "no album has this label itself, only its descendants"
    reasons = []
    if albums < min_albums:
        reasons.append(f"{albums} album{'s' * (albums != 1)}, needs {min_albums}")
    if artists < min_artists:
        reasons.append(f"{artists} artist{'s' * (artists != 1)}, needs {min_artists}")
    return "; ".join(reasons) or None


def _nothing_kept(rows: list[dict[str, Any]], albums: int, min_albums: int, min_artists: int) -> str:
    most = max(rows, key=lambda row: row["albums"], default=None)
    frequent = f"the most frequent label, {most['label']}, has {most['albums']}" if most else "none has a label"
    return (
        f"No label has {min_albums} albums by {min_artists} artists. Of {albums} albums, {frequent}. Lower the limits, "
        "for example: --set labels.min_albums=5 --set labels.min_artists=3"
    )

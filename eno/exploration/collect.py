"""Computation of the statistics of the exploration report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import DESCRIPTOR, GENRE, HEADINGS, families_of, lists_of
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.library.outlines import own_audio
from eno.data.library.scanning import read_tracks
from eno.data.lute.albums import LABEL_COLUMNS, album_artists, read_albums, release_years
from eno.data.matching.matcher import albums_with_tracks, read_matches
from eno.data.splits.artist_split import read_split
from eno.data.splits.stratify import SPLITS
from eno.errors import CatalogueError
from eno.exploration.statistics import LIMITS, AudioStatistics, CoOccurrence, Exploration, LabelStatistics, Pair
from eno.exploration.track_picture import choose_track
from eno.files import AudioRoots

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PAIRS, _HEAT_LABELS = 20, 24


def explore(
    root: DataRoot,
    *,
    audio_roots: AudioRoots | Path | str | Iterable[Path | str] | None = None,
    track: str | None = None,
) -> Exploration:
    """Compute the statistics of a collection: its albums, and its tracks, matches and splits if they exist.

    `audio_roots` are ``raw/audio`` by default. `track` is the id of the track to plot, by default the first readable
    one that has an album.
    """
    albums = read_albums(root.albums)
    tracks = read_tracks(root.tracks) if root.tracks.is_file() else None
    matches = read_matches(root.matches) if root.matches.is_file() else None
    splits = all((root.splits / f"{name}.parquet").is_file() for name in SPLITS)
    sources = (("tracks", tracks, "scan"), ("matches", matches, "match"), ("splits", splits or None, "split"))
    hints = [f"No {name} yet. Create them with: eno {command}" for name, found, command in sources if found is None]
    picture, problem = None, None
    if tracks is not None:
        picture, problem = choose_track(AudioRoots.of(audio_roots or own_audio(root)), tracks, matches, albums, track)
    elif track is not None:
        raise CatalogueError(f"{track!r} cannot be plotted before the audio files are scanned. Run: eno scan")
    fields = {name: albums[name] for name in LABEL_COLUMNS}
    genres = label_statistics(fields["primary_genres"], fields["secondary_genres"])
    descriptors = label_statistics(fields["descriptors"])
    others = {
        family: label_statistics(pa.chunked_array([lists_of(albums, family)]))
        for family in families_of(albums)
        if family not in HEADINGS
    }
    return Exploration(
        overview=_overview(albums, tracks, matches),
        hints=hints + ([problem] if problem else []),
        genres=genres,
        descriptors=descriptors,
        others=others,
        co_occurrence=co_occurrence(albums, genres, descriptors, others),
        years=dict(sorted(Counter(year // 10 * 10 for year in release_years(albums) if year is not None).items())),
        audio=None if tracks is None else _audio(tracks),
        incomplete=[] if matches is None else _incomplete(albums, matches),
        splits=[_split_row(root.splits, name) for name in SPLITS] if splits else [],
        track=picture,
    )


def co_occurrence(
    albums: pa.Table,
    genres: LabelStatistics,
    descriptors: LabelStatistics,
    others: Mapping[str, LabelStatistics] = MappingProxyType({}),
) -> CoOccurrence | None:
    """Find the pairs of labels with the highest lift, if any pair is on five albums and on one in two thousand."""
    total = len(albums)
    min_albums = max(5, total // 2000)
    found = {GENRE: genres, DESCRIPTOR: descriptors, **others}
    encoder = LabelEncoder((), ()).replaced({
        family: [name for name, count in one.counts if count >= min_albums] for family, one in found.items()
    })  # fmt: skip
    matrix = encoder.encode_table(albums)
    together = (matrix.T @ matrix).tocoo()
    counts = matrix.sum(axis=0)
    rows, columns = together.coords
    kept = (rows < columns) & (together.data >= min_albums)
    rows, columns, both = rows[kept], columns[kept], together.data[kept]
    lift = both * total / (counts[rows] * counts[columns])
    order = np.lexsort((columns, rows, -lift))[:_PAIRS]
    if not len(order):
        return None
    names = encoder.all_labels
    pairs = [Pair(names[rows[i]], names[columns[i]], int(both[i]), float(lift[i])) for i in order]
    chosen = list(dict.fromkeys(int(c) for i in order for c in (rows[i], columns[i])))[:_HEAT_LABELS]
    square = matrix[:, chosen]
    dense = (square.T @ square).toarray() * total / np.outer(counts[chosen], counts[chosen])
    np.fill_diagonal(dense, np.nan)
    arranged = _arranged(dense)
    return CoOccurrence(pairs, min_albums, [names[chosen[i]] for i in arranged], dense[np.ix_(arranged, arranged)])


def _arranged(lift: np.ndarray) -> np.ndarray:
    """Order labels by hierarchical clustering of their lift."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(lift) < 3:
        return np.arange(len(lift))
    distance = 1 / (1 + np.nan_to_num(lift))
    np.fill_diagonal(distance, 0)
    order: np.ndarray = leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))
    return order


def label_statistics(*columns: pa.ChunkedArray) -> LabelStatistics:
    """Count the labels of one family, whose columns have one list per album."""
    arrays = [column.combine_chunks() for column in columns]
    flat = pa.chunked_array([pc.list_flatten(array) for array in arrays])
    named = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(flat)), 0), False)
    rows = np.concatenate([pc.list_parent_indices(array).to_numpy() for array in arrays]).astype(np.int64)
    rows = rows[named.to_numpy()]
    encoded = flat.filter(named).dictionary_encode().combine_chunks()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    # A genre that is primary and secondary counts once.
    seen = np.unique(rows * max(1, len(names)) + codes)
    rows, codes = seen // max(1, len(names)), seen % max(1, len(names))
    per_label = np.bincount(codes, minlength=len(names))
    total = len(arrays[0])
    kept = [
        (limit, int((per_label >= limit).sum()), len(np.unique(rows[per_label[codes] >= limit])) / max(1, total))
        for limit in LIMITS
    ]
    per_album = Counter(np.bincount(rows, minlength=total).tolist())
    ordered = sorted(zip(names, per_label.tolist(), strict=True), key=lambda item: (-item[1], item[0]))
    return LabelStatistics(ordered, dict(sorted(per_album.items())), kept)


def _overview(albums: pa.Table, tracks: pa.Table | None, matches: pa.Table | None) -> list[tuple[str, str]]:
    artists = {artist for several in album_artists(albums) for artist in several}
    empty = {
        name: int((pc.list_value_length(albums[name]).fill_null(0).to_numpy() == 0).sum()) for name in LABEL_COLUMNS
    }
    listed = pc.list_value_length(albums["tracks"]).fill_null(0).to_numpy()
    rows = [
        ("albums", f"{len(albums):,}"),
        ("artists", f"{len(artists):,}"),
        ("tracks in the catalogue", f"{int(listed.sum()):,}"),
        ("albums without a track list", f"{int((listed == 0).sum()):,}"),
        *((f"albums without {name.replace('_', ' ')}", f"{count:,}") for name, count in empty.items()),
    ]
    if tracks is not None:
        readable = tracks.filter(pc.is_null(tracks["problem"]))
        rows += [
            ("audio files", f"{len(tracks):,}"),
            ("hours of audio", f"{(pc.sum(readable['duration_s']).as_py() or 0) / 3600:,.1f}"),
            ("gigabytes of audio", f"{(pc.sum(tracks['size']).as_py() or 0) / 1e9:,.2f}"),
            ("unreadable files", f"{len(tracks) - len(readable):,}"),
        ]
        hashes = tracks["packet_hash"].drop_null()
        if len(hashes):
            rows.append(("files with the same audio as another", f"{len(hashes) - len(hashes.unique()):,}"))
    if matches is not None:
        counts = Counter(matches["decision"].to_pylist())
        rows += [(f"{name} tracks", f"{counts[name]:,}") for name in ("matched", "ambiguous", "unmatched")]
        methods = Counter(matches.filter(pc.is_valid(matches["file_name"]))["method"].drop_null().to_pylist())
        rows += [(f"tracks matched by {method}", f"{count:,}") for method, count in methods.most_common()]
        rows.append(("albums with audio", f"{len(albums_with_tracks(albums, matches)):,}"))
    return rows


def _audio(tracks: pa.Table) -> AudioStatistics:
    readable = tracks.filter(pc.is_null(tracks["problem"])).sort_by("duration_s")
    ids, durations = readable["track_id"].to_pylist(), readable["duration_s"].to_pylist()
    named = list(zip(ids, durations, strict=True))
    described = zip(*(readable[n].to_pylist() for n in ("container", "codec", "sample_rate", "channels")), strict=True)
    return AudioStatistics(
        durations_s=np.array(durations, float),
        shortest=named[:5],
        longest=named[::-1][:5],
        formats=[(*one, count) for one, count in Counter(described).most_common()],
        problems=_problems(tracks),
    )


def _problems(tracks: pa.Table) -> list[tuple[str, int, str]]:
    """Group unreadable files by reason. Reasons that differ only in numbers are merged, with "…" for the number."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in tracks.filter(pc.is_valid(tracks["problem"])).select(["problem", "track_id"]).to_pylist():
        groups.setdefault(_NUMBER.sub("…", row["problem"]), []).append((row["problem"], row["track_id"]))
    named = [
        (reasons.pop() if len(reasons := {reason for reason, _ in files}) == 1 else pattern, len(files), files[0][1])
        for pattern, files in groups.items()
    ]
    return sorted(named, key=lambda row: -row[1])


def _incomplete(albums: pa.Table, matches: pa.Table) -> list[tuple[str, int, int]]:
    files = Counter(matches["file_name"].drop_null().to_pylist())
    listed = zip(albums["file_name"].to_pylist(), pc.list_value_length(albums["tracks"]).to_pylist(), strict=True)
    return [(name, files[name], count) for name, count in listed if name in files and count and count != files[name]]


def _split_row(folder: Path, name: str) -> tuple[str, int, int]:
    split = read_split(folder, name)
    return name, len(split), len(split["file_name"].unique())

"""Albums by the MusicBrainz and Spotify ids in the tags of their tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import CatalogueError
from eno.files import csv_records


def read_mbids(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns ``mbid`` (of a release or release group) and ``file_name`` (of an album)."""
    names, rows = csv_records(path, CatalogueError, separators=",;\t")
    if missing := [name for name in ("mbid", "file_name") if name not in names]:
        raise CatalogueError(f"{path}: missing columns: {', '.join(missing)}; found {', '.join(names)[:80]!r}.")
    return {row["mbid"].strip().lower(): row["file_name"].strip() for _, row in rows}


class IdLookup:
    """Lookup of albums by MusicBrainz and Spotify ids."""

    def __init__(self, albums: pa.Table, tracks: pa.Table, album_of_mbid: Mapping[str, str]) -> None:
        self._maps: list[tuple[str, str, dict[str, str], list[str | None]]] = []
        for tag, column, method in (
            ("musicbrainz_release_group_id", "musicbrainz_release_group_id", "musicbrainz"),
            ("musicbrainz_release_id", "musicbrainz_release_id", "musicbrainz"),
            ("spotify_album_id", "spotify_id", "spotify"),
        ):
            if tracks[tag].null_count == len(tracks):
                continue
            known = albums.filter(pc.is_valid(albums[column])).select([column, "file_name"]).to_pydict()
            counts = Counter(known[column])
            album_of = {
                id_.removeprefix("spotify:album:"): name
                for id_, name in zip(known[column], known["file_name"], strict=True)
                if counts[id_] == 1  # an id of several albums is ambiguous
            }
            if method == "musicbrainz":
                album_of = {**album_of_mbid, **album_of}
            self._maps.append((tag, method, album_of, tracks[tag].to_pylist()))

    def find(self, rows: np.ndarray, rejected: Set[str]) -> tuple[str, str, str] | None:
        """Return the album that the ids in the tags of these tracks name, the method, and the reason."""
        for tag, method, album_of, ids in self._maps:
            named = {album_of.get(id_) for row in rows if (id_ := ids[row])} - rejected
            if len(named) == 1 and (name := named.pop()) is not None:
                return name, method, f"same {tag.replace('_', ' ')}"
        return None

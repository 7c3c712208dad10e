"""The tracks that a path in somebody else's file means."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from eno.files import printable, section_file


class TrackPaths:
    """Finds tracks by paths that other programs wrote.

    Parameters
    ----------
    track_ids : iterable of str
    roots : sequence of Path
        Audio folders, below which absolute paths are looked up.
    """

    def __init__(self, track_ids: Iterable[str], roots: Sequence[Path] = ()) -> None:
        self._ids = set(track_ids)
        self._roots = [place for root in roots for place in dict.fromkeys((os.path.abspath(root), str(root.resolve())))]
        self._by_end: dict[str, list[str]] = defaultdict(list)
        self._by_folder: dict[str, list[str]] = defaultdict(list)
        for track_id in sorted(self._ids):
            name = track_id.rpartition("/")[2]
            for end in {name, os.path.splitext(name)[0]}:
                self._by_end[end].append(track_id)
            parents = track_id.split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                self._by_folder["/".join(parents[:depth])].append(track_id)
            if file := section_file(track_id):
                self._by_folder[file].append(track_id)

    def find(self, path: str) -> list[str]:
        """Return the track at a path, or those below a folder or in a file; an empty list if that is none, or unclear.

        A path is absolute, relative to an audio folder, or the end of exactly one track's path, with or without the
        suffix.
        """
        path = printable(path.strip()).replace("\\", "/").removeprefix("./")
        if os.path.isabs(path):
            below = [os.path.relpath(path, root) for root in self._roots if Path(path).is_relative_to(root)]
            return next((found for one in below if (found := self._exactly(one))), [])
        if found := self._exactly(path):
            return found
        for end in dict.fromkeys((path, os.path.splitext(path)[0])):
            several = [
                one
                for one in self._by_end.get(end.rpartition("/")[2], ())
                if _ends_with(one, end) or _ends_with(one.rpartition(".")[0], end)
            ]
            if len(several) == 1:
                return several
        return []

    def _exactly(self, path: str) -> list[str]:
        return [path] if path in self._ids else self._by_folder.get(path.rstrip("/"), [])


def _ends_with(track_id: str, end: str) -> bool:
    return track_id == end or track_id.endswith(f"/{end}")

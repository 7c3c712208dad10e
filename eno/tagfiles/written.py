"""Which tags of the collection's files were written by eno, so that they are not taken for the user's own labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from eno.data.names import label_key
from eno.errors import CatalogueError
from eno.files import AudioRoots, append_json_lines, parse_json_lines, printable, read_lines
from eno.tagfiles.edits import TagEdit

Written = dict[str, dict[str, frozenset[str]]]
"""Track id → field → keys of the tags, see `eno.data.names.label_key`."""


class WrittenTags:
    """A file of JSON lines: a track, and the tags that eno wrote to each of its fields. It is made with the first.

    A later line of a track replaces what an earlier one says about the same field; a field without tags is the user's.
    """

    def __init__(self, path: Path, roots: AudioRoots | None) -> None:
        self.path = path
        self._roots = [] if roots is None else [os.path.realpath(folder) for folder in roots.folders]

    def add(self, edit: TagEdit) -> None:
        """Record an edit that was written, unless its file is not in the audio folders."""
        if track_id := self._track_id(edit.path):
            before = {name: (*values, *edit.remaining.get(name, ())) for name, values in edit.before.items()}
            added = {name: [one for one in values if one not in before[name]] for name, values in edit.after.items()}
            append_json_lines(self.path, [{"track_id": track_id, "fields": added}])

    def forget(self, paths: Iterable[Path]) -> None:
        """Record that files have their previous tags again."""
        known = self.read()
        ids = [track_id for path in paths if (track_id := self._track_id(path)) in known]
        append_json_lines(self.path, [{"track_id": one, "fields": dict.fromkeys(known[one], ())} for one in ids])

    def follow(self, moved: Mapping[str, str]) -> None:
        """Repeat what is known of renamed files under their new ids, given new id → earlier id."""
        known = self.read()
        lines = [
            {"track_id": new, "fields": {name: sorted(keys) for name, keys in known[old].items()}}
            for new, old in moved.items()
            if old in known and new not in known
        ]
        append_json_lines(self.path, lines)

    def read(self) -> Written:
        """Return the tags that eno wrote.

        Raises
        ------
        CatalogueError
            A line of the file is damaged.
        """
        found: dict[str, dict[str, frozenset[str]]] = {}
        lines = read_lines(self.path, CatalogueError) if self.path.is_file() else []
        for number, row in parse_json_lines(lines, printable(self.path), CatalogueError):
            try:
                fields = {name: frozenset(map(label_key, values)) for name, values in row["fields"].items()}
                found.setdefault(str(row["track_id"]), {}).update(fields)
            except (TypeError, KeyError, AttributeError) as error:
                raise CatalogueError(
                    f"{printable(self.path)}: line {number} is damaged. Remove the line; the tags that eno wrote to "
                    "that file then count as your own."
                ) from error
        return found

    def _track_id(self, path: Path) -> str | None:
        file = os.path.realpath(path)
        root = next((root for root in self._roots if file.startswith(os.path.join(root, ""))), None)
        return None if root is None else printable(os.path.relpath(file, root))

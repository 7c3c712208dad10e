"""Labels from the tags of the audio files."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from eno.data.families import DESCRIPTOR, GENRE
from eno.data.imports.items import Item, split_labels
from eno.errors import CatalogueError

FIELDS = {"genre": GENRE, "style": GENRE, "mood": DESCRIPTOR, "grouping": DESCRIPTOR}
"""Tags that hold labels, and the family of each."""


def labels_of_tags(tracks: pa.Table, fields: Mapping[str, str] = FIELDS, separators: str = ";|") -> list[Item]:
    """Return the labels in the tags of every track that has any.

    Parameters
    ----------
    tracks : pyarrow.Table
        From `eno.data.library.scanning.read_tracks`.
    fields : mapping of str to str
        Tag, one of `FIELDS`, → family of its labels.
    separators : str
        Characters that separate several labels in one tag.
    """
    if unknown := sorted(fields.keys() - FIELDS.keys()):
        raise CatalogueError(f"{unknown[0]!r} is not a tag with labels; expected one of {', '.join(FIELDS)}.")
    items = []
    for row in tracks.select(["track_id", *(f"{name}s" for name in fields)]).to_pylist():
        found = [
            (family, label)
            for name, family in fields.items()
            for text in row[f"{name}s"] or ()
            for label in split_labels(text, separators)
        ]
        if found:
            items.append(Item([row["track_id"]], found))
    return items

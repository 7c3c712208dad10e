"""Labels from the tags of the audio files."""

from __future__ import annotations

from collections.abc import Mapping, Set

import pyarrow as pa

from eno.data.families import DESCRIPTOR, GENRE
from eno.data.imports.items import Item, split_labels
from eno.data.names import label_key
from eno.errors import CatalogueError

FIELDS = {"genre": GENRE, "style": GENRE, "mood": DESCRIPTOR, "grouping": DESCRIPTOR}
"""Tags that hold labels, and the family of each."""


def labels_of_tags(
    tracks: pa.Table,
    fields: Mapping[str, str] = FIELDS,
    separators: str = ";|",
    written: Mapping[str, Mapping[str, Set[str]]] | None = None,
) -> tuple[list[Item], list[str]]:
    """Return the labels in the tags of every track that has any, and those that were left out, each with the reason.

    Parameters
    ----------
    tracks : pyarrow.Table
        From `eno.data.library.scanning.read_tracks`.
    fields : mapping of str to str
        Tag, one of `FIELDS`, → family of its labels.
    separators : str
        Characters that separate several labels in one tag.
    written : mapping, optional
        Track id → tag → keys of the labels that eno predicted and wrote there, see `eno.tagfiles.written`. They are
        left out: eno would learn from its own predictions.
    """
    if unknown := sorted(fields.keys() - FIELDS.keys()):
        raise CatalogueError(f"{unknown[0]!r} is not a tag with labels; expected one of {', '.join(FIELDS)}.")
    items, skipped = [], []
    for row in tracks.select(["track_id", *(f"{name}s" for name in fields)]).to_pylist():
        predicted = (written or {}).get(row["track_id"], {})
        found = []
        for name, family in fields.items():
            for label in (label for text in row[f"{name}s"] or () for label in split_labels(text, separators)):
                if label_key(label) in predicted.get(name, ()):
                    skipped.append(f"{row['track_id']}: the {name} {label}, which eno predicted")
                else:
                    found.append((family, label))
        if found:
            items.append(Item([row["track_id"]], found))
    return items, skipped

"""Families of labels: genres, descriptors, and any others, such as instruments or languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.lute.albums import FAMILY_LABELS, LABEL_COLUMNS
from eno.data.names import clean_label
from eno.data.tables import with_column
from eno.errors import LabelError

GENRE, DESCRIPTOR = "genre", "descriptor"

HEADINGS = {GENRE: "genres", DESCRIPTOR: "descriptors"}
"""What the labels of a family are called together; those of other families have the name of the family."""

COLUMNS = {GENRE: LABEL_COLUMNS[:2], DESCRIPTOR: LABEL_COLUMNS[2:]}
"""Columns of tables for the labels of each family; those of other families are in the column `FAMILY_LABELS`."""

_SINGULAR = {heading: family for family, heading in HEADINGS.items()}
# Results name families beside these: the output of 'eno tag --json', and the metrics of an evaluation.
_RESERVED = {"track_id", "folder", "path", "tags", "error", "familiarity", "unfamiliar", "encoder", "tracks",
             "head", "torso", "tail"}  # fmt: skip
_LONGEST = 50


def family_name(text: str) -> str:
    """Return the name of a family as eno stores it, in lower case.

    Raises
    ------
    LabelError
        The name is empty, longer than 50 characters, or has another meaning in the results.

    Examples
    --------
    >>> family_name("Instruments"), family_name("Genres")
    ('instruments', 'genre')
    """
    name = clean_label(text).casefold()
    name = _SINGULAR.get(name, name)
    if not name or len(name) > _LONGEST or name in _RESERVED:
        problem = "has another meaning in results" if name in _RESERVED else f"must have 1 to {_LONGEST} characters"
        raise LabelError(f"{text!r} cannot be the name of a family of labels: it {problem}. Choose another name.")
    return name


def heading(family: str) -> str:
    """Return what the labels of a family are called together: ``"genres"``, ``"descriptors"``, or the family."""
    return HEADINGS.get(family, family)


def families_of(rows: pa.Table) -> list[str]:
    """Return the families in a table with label columns: genre, descriptor, then the others by name."""
    _, entries = family_entries(family_labels(rows))
    others = {name for name in pc.unique(entries.field("family")).to_pylist() if name}
    return [GENRE, DESCRIPTOR, *sorted(others - HEADINGS.keys())]


def names_in(rows: pa.Table, family: str) -> list[pa.Array]:
    """Return the names of all labels of a family in a table, with repetitions, in one array per column."""
    found = [pc.list_flatten(rows[column].combine_chunks()) for column in COLUMNS.get(family, ())]
    _, entries = family_entries(family_labels(rows))
    return [*found, entries.filter(pc.equal(entries.field("family"), family)).field("label")]


def lists_of(rows: pa.Table, family: str) -> pa.ListArray:
    """Return the labels of another family than genres and descriptors in a table, as one list per row."""
    places, entries = family_entries(family_labels(rows))
    own = pc.equal(entries.field("family"), family)
    counts = np.bincount(places[own.to_numpy(zero_copy_only=False)], minlength=len(rows))
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), entries.filter(own).field("label"))


def family_labels(rows: pa.Table) -> pa.ChunkedArray:
    """Return the column `FAMILY_LABELS` of a table; nulls if the table lacks it."""
    return with_column(rows, FAMILY_LABELS)[FAMILY_LABELS.name]


def family_entries(lists: Any) -> tuple[np.ndarray, pa.StructArray]:
    """Return the entries of a column `FAMILY_LABELS` one after the other, and the row of each [dtype=int64].

    `lists` is an array of lists, a sequence of lists of dicts, or None for no entries at all. Entries without a family
    or label are left out.
    """
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    if not isinstance(lists, pa.Array):
        lists = pa.array(lists if lists is not None else [], FAMILY_LABELS.type)
    entries = pc.list_flatten(lists)
    named = pc.and_(pc.is_valid(entries.field("family")), pc.is_valid(entries.field("label")))
    rows: np.ndarray = pc.list_parent_indices(lists).filter(named).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows, entries.filter(named)


def merged_entries(lists: Iterable[Iterable[Mapping[str, str]] | None]) -> list[dict[str, str]]:
    """Join lists of entries of a column `FAMILY_LABELS`."""
    merged = dict.fromkeys((one["family"], one["label"]) for entries in lists for one in entries or ())
    return [{"family": family, "label": label} for family, label in merged]


def by_family(entries: Iterable[Mapping[str, str]] | None) -> dict[str, list[str]]:
    """Return the labels of each family in an entry of a column `FAMILY_LABELS`."""
    found: dict[str, list[str]] = {}
    for one in entries or ():
        found.setdefault(one["family"], []).append(one["label"])
    return found

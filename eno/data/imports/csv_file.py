"""Labels from CSV and TSV files."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from eno.data.families import DESCRIPTOR, GENRE
from eno.data.imports.folders import FAMILY_OF
from eno.data.imports.items import Item, split_labels
from eno.data.imports.paths import TrackPaths
from eno.data.names import clean_label
from eno.errors import CatalogueError
from eno.files import csv_records

_PATHS = ("path", "track_id", "file", "filename", "file_name", "mp3_path")
_LABELS = ("label", "labels", "tag", "tags")
_OTHERS = ("artist", "album", "title", "family", "value")
_MOSTLY = 0.5  # a column with more values from 0 to 1 than this share is one label's
_FAMILIES = {GENRE: GENRE, DESCRIPTOR: DESCRIPTOR, **FAMILY_OF}


def read_label_csv(
    path: Path,
    tracks: TrackPaths,
    *,
    family: str = GENRE,
    family_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    separators: str = ";|",
    ignored: Collection[str] = (),
) -> tuple[list[Item], list[str]]:
    """Read labels of tracks or albums from a CSV or TSV file with a header.

    A row is about the track or folder in the column ``path``, or else about the album in ``artist`` and ``album``. Its
    labels are in the column ``label``, which may be a list, of the family in the column ``family``; in columns named
    ``genre``, ``style``, ``mood`` or ``descriptor``; and in one column per label, whose values are from 0 to 1. In the
    column ``family``, styles are genres and moods are descriptors; any other name is a family of its own. The column
    ``value`` has the value of the labels of a row, from 0 to 1. A row of zeros says that its track has none of these
    labels; an empty cell says nothing.

    Parameters
    ----------
    tracks : TrackPaths
    family : str
        Family of the labels for which the file names none.
    family_column : str, optional
        Name of the column with the family, if it is not ``family``.
    columns : mapping of str to str, optional
        Further columns with labels → family.
    ignored : collection of str
        Columns without labels. A column of which most values are numbers from 0 to 1 is taken for one label's.

    Returns
    -------
    items : list of Item
    skipped : list of str
        Rows that were left out, each with the reason.

    Raises
    ------
    CatalogueError
        The file cannot be read, has no labels, lacks a column, or has a value outside 0 … 1 in the column of a label.
    """
    header, rows = csv_records(path, CatalogueError, separators=",;\t")
    names = {name: name.strip().casefold() for name in header}
    values = {names[name]: name for name in header}
    place = next((values[name] for name in _PATHS if name in values), None)
    if place is None and not {"artist", "album"} <= values.keys():
        raise CatalogueError(f"{path}: expected a column path, or artist and album; found {', '.join(header)[:200]}.")
    kinds = family_column or values.get("family")
    lists = {name: _FAMILIES[key] for name, key in names.items() if key in _FAMILIES and name != kinds} | {
        name: family for name, key in names.items() if key in _LABELS
    }
    if missing := sorted({*(columns or ()), *ignored, *([family_column] if family_column else [])} - names.keys()):
        raise CatalogueError(f"{path}: has no column {missing[0]!r}; found {', '.join(header)[:200]}.")
    lists |= columns or {}
    used = {place, kinds, *lists, *ignored, *(name for name, key in names.items() if key in _OTHERS)}
    valued = [name for name in header if name not in used and name.strip() and _is_value_column(name, rows)]
    if not lists and not valued:
        raise CatalogueError(
            f"{path}: no column has labels; expected one named label or genre, or one for each label with values from "
            f"0 to 1; found {', '.join(header)[:200]}."
        )
    items: list[Item] = []
    skipped: list[str] = []
    for line, row in rows:
        artist, album, title = (row[values[name]].strip() or None if name in values else None for name in _OTHERS[:3])
        ids = tracks.find(row[place]) if place is not None and row[place].strip() else []
        if not ids and (place is not None or not (artist and album)):
            unknown = "lacks an artist or an album" if place is None else f"{row[place]!r} is no track here, or several"
            skipped.append(f"line {line}: {unknown}")
            continue
        own = row[kinds].strip() if kinds is not None else ""
        value = _value(row[values["value"]]) if "value" in values and row[values["value"]].strip() else 1.0
        if value is None:
            skipped.append(f"line {line}: the value {row[values['value']]!r} is not a number from 0 to 1")
            continue
        found = {
            (_family(own or kind) if names[name] in _LABELS else kind, label): value
            for name, kind in lists.items()
            for label in split_labels(row[name], separators)
        }
        for name in valued:
            if text := row[name].strip():
                found[family, clean_label(name)] = _value_of_label(path, line, name, text)
        # Labels of the same family already say that the others are absent, so only rows of zeros keep these.
        present = {kind for (kind, _), value in found.items() if value > 0}
        if found := {(kind, name): value for (kind, name), value in found.items() if value > 0 or kind not in present}:
            below_1 = {label: value for label, value in found.items() if value < 1}
            items.append(Item(ids, list(found), artist, album, title, below_1))
    return items, skipped


def _family(name: str) -> str:
    return _FAMILIES.get(name.casefold(), name)


def _is_value_column(name: str, rows: list[tuple[int, dict[str, str]]]) -> bool:
    texts = [text for _, row in rows if (text := row[name].strip())]
    return sum(_value(text) is not None for text in texts) > _MOSTLY * len(texts)


def _value_of_label(path: Path, line: int, name: str, text: str) -> float:
    value = _value(text)
    if value is None:
        raise CatalogueError(
            f"{path}: line {line}: the value of {name} is {text!r}; expected a number from 0 to 1. If the "
            f"column is no label, leave it out: --ignore {shlex.quote(name)}"
        )
    return value


def _value(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None

"""Values of labels between 0 and 1, such as the share of listeners who named them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from eno.data.families import COLUMNS, by_family
from eno.data.lute.albums import FAMILY_LABELS, LABEL_VALUES
from eno.data.names import label_key
from eno.data.tables import with_column

PRESENT = 0.5
"""A label with at least this value counts as present wherever labels are counted, divided among splits, or judged."""


def present(values: Any) -> Any:
    """Return which labels are present [dtype=bool], given their values as an array or a sparse array."""
    return values >= PRESENT


def value_entries(rows: pa.Table) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the entries of the column `LABEL_VALUES` of a table, each with the number of its row."""
    column = with_column(rows, LABEL_VALUES)[LABEL_VALUES.name]
    if column.null_count < len(column):
        yield from ((row, one) for row, entries in enumerate(column.to_pylist()) for one in entries or ())


def without_values(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the label columns of a row without the labels that have a value."""
    valued = {_key(one["family"], one["label"]) for one in row.get(LABEL_VALUES.name) or ()}
    lists = {
        column: [name for name in row[column] or () if name and _key(family, name) not in valued]
        for family, columns in COLUMNS.items()
        for column in columns
    }
    others = [one for one in row[FAMILY_LABELS.name] or () if _key(one["family"], one["label"]) not in valued]
    return {**lists, FAMILY_LABELS.name: others}


def merged_values(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the entries of the column `LABEL_VALUES` of several rows: the highest value counts.

    A label that any of the rows has without a value has none afterwards, either.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    certain: set[tuple[str, str]] = set()
    for row in rows:
        for one in row[LABEL_VALUES.name] or ():
            key = _key(one["family"], one["label"])
            found[key] = max(found.get(key, one), one, key=lambda entry: entry["value"])
        lists = without_values(row)
        named = {family: [name for column in columns for name in lists[column]] for family, columns in COLUMNS.items()}
        for family, names in (named | by_family(lists[FAMILY_LABELS.name])).items():
            certain.update(_key(family, name) for name in names)
    return [one for key, one in found.items() if key not in certain]


def _key(family: str, label: str) -> tuple[str, str]:
    return family, label_key(label)

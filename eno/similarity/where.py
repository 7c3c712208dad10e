"""Filters: which tracks a search may find.

An expression of the user is evaluated by DuckDB on the table in memory. It can neither read files nor change settings,
and must be a single expression: no statement, and no query inside it.
"""

from __future__ import annotations

import fnmatch
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import HEADINGS, family_name, heading, lists_of
from eno.errors import ConfigError, LabelError, MissingExtra, SimilarityError
from eno.similarity.metadata import TrackMetadata

if TYPE_CHECKING:
    import duckdb

_TIMEOUT_S = 20.0
_DATABASE: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "threads": 2,
    "memory_limit": "2GB",
    "max_temp_directory_size": "0B",
    "lock_configuration": True,
}


@dataclass(frozen=True, kw_only=True)
class Where:
    """Conditions that must all hold. Names match regardless of case and accents.

    Attributes
    ----------
    genres, descriptors, artists, albums : tuple of str
        Tracks with any of these.
    labels : tuple of (str, str)
        Families and labels, such as ``("instruments", "organ")``; of each family named, tracks have any of its labels.
    years : tuple of int or None, optional
        First and last year; None for an open end. Tracks without a year are excluded.
    duration_s : tuple of float or None, optional
        Shortest and longest duration in seconds, likewise.
    path : str, optional
        The beginning of track ids; or a pattern for the whole id with ``*``, ``?`` and ``[…]``, where ``*`` also
        matches ``/``.
    expression : str, optional
        Any condition in DuckDB's SQL over the columns of `TrackMetadata.table`. Needs the extra ``search``.

    Examples
    --------
    >>> Where(genres=("shoegaze",), years=(1990, None), expression="rating > 3.5 and codec <> 'MP3'")  # doctest: +SKIP
    """

    genres: tuple[str, ...] = ()
    descriptors: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    artists: tuple[str, ...] = ()
    albums: tuple[str, ...] = ()
    years: tuple[int | None, int | None] | None = None
    duration_s: tuple[float | None, float | None] | None = None
    path: str | None = None
    expression: str | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def mask(self, metadata: TrackMetadata) -> np.ndarray:
        """Return which tracks meet the conditions [shape=(len(metadata),), dtype=bool].

        Raises
        ------
        SimilarityError
            No track has a genre, descriptor, other label, artist or album of that name, or no family can have its name.
        ConfigError
            The expression is invalid or not allowed, or a range is empty.
        """
        mask = np.ones(len(metadata), bool)
        for condition in self._conditions(metadata):
            mask &= condition
        if self.expression is not None:
            mask &= _evaluate(self.expression, metadata.table)
        return mask

    def _conditions(self, metadata: TrackMetadata) -> Iterator[np.ndarray]:
        table = metadata.table
        yield from self._list_conditions(metadata)
        if self.albums:
            yield _is_in(table["album"], [one for name in self.albums for one in metadata.spellings("album", name)])
        for column, span in (("year", self.years), ("duration_s", self.duration_s)):
            low, high = span or (None, None)
            if low is not None and high is not None and low > high:
                raise ConfigError(f"{column} from {low} to {high}: the first value must not exceed the last.")
            if low is not None:
                yield _true(pc.greater_equal(table[column], low))
            if high is not None:
                yield _true(pc.less_equal(table[column], high))
        if self.path:
            matches = re.compile(fnmatch.translate(self.path)).match
            ids = table["track_id"].to_pylist()
            yield np.array([one.startswith(self.path) or matches(one) is not None for one in ids], bool)

    def _list_conditions(self, metadata: TrackMetadata) -> Iterator[np.ndarray]:
        """Yield the conditions on what a track may have several of: artists and the labels of each family."""
        listed = {"genres": [*self.genres], "descriptors": [*self.descriptors], "artists": [*self.artists]}
        others: dict[str, list[str]] = {}
        for text, name in self.labels:
            try:
                family = family_name(text)
            except LabelError as error:
                raise SimilarityError(str(error)) from error
            (listed if family in HEADINGS else others).setdefault(heading(family), []).append(name)
        for column, names in listed.items():
            if names:
                wanted = [one for name in names for one in metadata.spellings(column, name)]
                yield _has_any(metadata.table[column].combine_chunks(), wanted)
        for family, names in others.items():
            wanted = [one for name in names for one in metadata.label_spellings(family, name)]
            yield _has_any(lists_of(metadata.table, family), wanted)


def family_and_label(text: str) -> tuple[str, str]:
    """Return the family and the name of a label that is given as ``FAMILY=NAME``.

    Examples
    --------
    >>> family_and_label("instruments=organ")
    ('instruments', 'organ')
    """
    family, _, name = (part.strip() for part in text.partition("="))
    if not (family and name):
        raise ConfigError(f"The label {text!r} has no family or no name; expected, for example, instruments=organ.")
    return family, name


def _has_any(lists: pa.ListArray, wanted: list[str]) -> np.ndarray:
    mask = np.zeros(len(lists), bool)
    mask[pc.list_parent_indices(lists).to_numpy()[_is_in(pc.list_flatten(lists), wanted)]] = True
    return mask


def _is_in(values: pa.Array | pa.ChunkedArray, wanted: list[str]) -> np.ndarray:
    return _true(pc.is_in(values, value_set=pa.array(wanted, pa.string())))


def _true(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    mask: np.ndarray = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask


def _evaluate(expression: str, table: pa.Table) -> np.ndarray:
    """Evaluate a user's expression for each row [shape=(rows,), dtype=bool]; null counts as false."""
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("search", "duckdb") from error
    with duckdb.connect(config=_DATABASE) as connection:
        connection.register("tracks", table)
        watch = threading.Timer(_TIMEOUT_S, connection.interrupt)
        try:
            _check(connection, expression)
            watch.start()
            query = f"SELECT coalesce(({expression}\n), false) AS holds FROM tracks"
            return np.asarray(connection.execute(query).fetchnumpy()["holds"], bool)
        except duckdb.Error as error:
            reason = " ".join(str(error).split("\n\nLINE")[0].split()).rstrip(".")
            columns = f" Columns: {', '.join(table.column_names)}." if isinstance(error, duckdb.BinderException) else ""
            raise ConfigError(f"--where {expression!r}: {reason}.{columns}") from None
        finally:
            watch.cancel()


def _check(connection: duckdb.DuckDBPyConnection, expression: str) -> None:
    """Make sure that a user's text is a single boolean expression without subqueries."""
    import duckdb

    duckdb.SQLExpression(expression)
    parsed = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n) FROM tracks"]).fetchone()
    if parsed is not None and "SUBQUERY" in _classes(json.loads(parsed[0])):
        raise ConfigError(f"--where {expression!r}: contains a subquery. Use an expression over one track's columns.")
    kind = connection.sql(f"SELECT ({expression}\n) FROM tracks LIMIT 0").types[0]
    if str(kind) != "BOOLEAN":
        raise ConfigError(f"--where {expression!r}: has the type {kind}, expected a condition such as 'year >= 1990'.")


def _classes(node: Any) -> set[str]:
    """Return the classes of all nodes of a parsed statement."""
    if isinstance(node, list):
        return {kind for one in node for kind in _classes(one)}
    if not isinstance(node, dict):
        return set()
    return {str(node.get("class"))} | {kind for one in node.values() for kind in _classes(one)}

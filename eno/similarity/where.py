"""Which tracks a search may find: filters over what is known of them.

Conditions are answered by DuckDB, over the table in memory. It may read no files and change no settings, and an
expression of the user's is one expression: no statement, and no query inside it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from eno.errors import ConfigError
from eno.similarity.facts import Facts

_ROW = "_row"
_TIMEOUT_S = 20.0  # an expression may ask for more than a search is worth


@dataclass(frozen=True, kw_only=True)
class Where:
    """Conditions that all must hold. Names are found whatever their case and accents.

    Attributes
    ----------
    genres, descriptors, artists, albums : tuple of str
        Tracks with any of these.
    years : tuple of int or None, optional
        First and last year, None for an open end. A track whose year is not known is left out; so it is with lengths.
    duration_s : tuple of float or None, optional
        Shortest and longest, in seconds.
    path : str, optional
        How the track id begins; or a pattern for all of it, with ``*``, ``?`` and ``[…]``, in which ``*`` also stands
        for ``/``.
    expression : str, optional
        Any condition in DuckDB's SQL over the columns of `Facts.table`.

    Examples
    --------
    >>> Where(genres=("shoegaze",), years=(1990, None), expression="rating > 3.5 and codec <> 'MP3'")  # doctest: +SKIP
    """

    genres: tuple[str, ...] = ()
    descriptors: tuple[str, ...] = ()
    artists: tuple[str, ...] = ()
    albums: tuple[str, ...] = ()
    years: tuple[int | None, int | None] | None = None
    duration_s: tuple[float | None, float | None] | None = None
    path: str | None = None
    expression: str | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def mask(self, facts: Facts) -> np.ndarray:
        """Tell which tracks meet the conditions.

        Parameters
        ----------
        facts : Facts
            What is known of the tracks.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=bool]
            In the order of `facts`.

        Raises
        ------
        SimilarityError
            No track has a genre, descriptor, artist or album of that name.
        ConfigError
            The expression is none, names a column that is not there, or asks for what it may not.
        """
        conditions = list(self._conditions(facts))
        mask = np.ones(len(facts), bool)
        if not conditions and self.expression is None:
            return mask
        mask[:] = False
        clauses = [f"({clause})" for clause, _ in conditions]
        values = [value for _, several in conditions for value in several]
        table = facts.table.append_column(_ROW, pa.array(np.arange(len(facts))))
        with facts.database.cursor() as connection:
            connection.register("facts", table)
            if self.expression is not None:
                _check(connection, self.expression, facts)
                clauses.append(f"({self.expression}\n)")
            query = f"SELECT {_ROW} FROM facts WHERE {' AND '.join(clauses)}"
            try:
                mask[_rows(connection, query, values)] = True
            except duckdb.Error as error:
                if self.expression is None:
                    raise
                raise _refused(self.expression, error, facts) from None
        return mask

    def _conditions(self, facts: Facts) -> Iterator[tuple[str, list[Any]]]:
        for column, names in (("genres", self.genres), ("descriptors", self.descriptors), ("artists", self.artists)):
            if names:
                yield f"list_has_any({column}, ?)", [[one for name in names for one in facts.spellings(column, name)]]
        if self.albums:
            titles = [one for name in self.albums for one in facts.spellings("album", name)]
            yield "list_contains(?, album)", [titles]
        for column, span in (("year", self.years), ("duration_s", self.duration_s)):
            first, last = span or (None, None)
            if first is not None and last is not None and first > last:
                raise ConfigError(f"{column} from {first} to {last}: the first is above the last.")
            if first is not None:
                yield f"{column} >= ?", [first]
            if last is not None:
                yield f"{column} <= ?", [last]
        if self.path:
            yield "starts_with(path, ?) OR path GLOB ?", [self.path, self.path]


def _check(connection: duckdb.DuckDBPyConnection, expression: str, facts: Facts) -> None:
    """Make sure that a user's text is one expression that says yes or no of each track."""
    try:
        duckdb.SQLExpression(expression)
        parsed = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n) FROM facts"]).fetchone()
        if parsed is not None and "SUBQUERY" in _classes(json.loads(parsed[0])):
            raise ConfigError(f"--where {expression!r}: holds a query of its own; it may only ask about one track.")
        kind = connection.sql(f"SELECT ({expression}\n) FROM facts LIMIT 0").types[0]
    except duckdb.Error as error:
        raise _refused(expression, error, facts) from None
    if str(kind) != "BOOLEAN":
        raise ConfigError(f"--where {expression!r}: gives {kind}, expected true or false, as in 'year >= 1990'.")


def _classes(node: Any) -> set[str]:
    """Kinds of all the nodes of a parsed statement."""
    if isinstance(node, list):
        return {kind for one in node for kind in _classes(one)}
    if not isinstance(node, dict):
        return set()
    return {str(node.get("class"))} | {kind for one in node.values() for kind in _classes(one)}


def _rows(connection: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> np.ndarray:
    watch = threading.Timer(_TIMEOUT_S, connection.interrupt)
    watch.start()
    try:
        return np.asarray(connection.execute(query, values).fetchnumpy()[_ROW], np.int64)
    finally:
        watch.cancel()


def _refused(expression: str, error: duckdb.Error, facts: Facts) -> ConfigError:
    reason = " ".join(str(error).split("\n\nLINE")[0].split()).rstrip(".")
    columns = f" Columns: {', '.join(facts.table.column_names)}." if isinstance(error, duckdb.BinderException) else ""
    return ConfigError(f"--where {expression!r}: {reason}.{columns}")

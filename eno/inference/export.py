"""Predicted tags in the formats of other programs: CSV, Parquet, beets and MusicBrainz Picard."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eno.files import printable, replace_file
from eno.inference.predictions import TagProbability

CSV_COLUMNS = ("path", "family", "tag", "probability", "threshold", "familiarity")

_TAGS = pa.schema(
    [(name, pa.string()) for name in CSV_COLUMNS[:3]] + [(name, pa.float32()) for name in CSV_COLUMNS[3:]]
)
_ROWS_AT_ONCE = 100_000


def csv_lines(path: str, tags: Sequence[TagProbability], familiarity: float | None = None) -> str:
    """Return one CSV line per tag with the columns `CSV_COLUMNS`, without the last line break.

    `familiarity` is that of the track or album, see `eno.models.familiarity.Familiarity.of`; None is an empty column.
    """
    last = "" if familiarity is None else f"{familiarity:.4f}"
    return _csv([(path, tag.family, tag.tag, f"{tag.probability:.4f}", f"{tag.threshold:.4f}", last) for tag in tags])


def csv_header() -> str:
    """Return the header line of `csv_lines`."""
    return _csv([CSV_COLUMNS])


class TagFile(AbstractContextManager["TagFile"]):
    """A Parquet file with the columns `CSV_COLUMNS` and one row per tag, written in pieces.

    It replaces an earlier file of the name when all is written, and not after an error.
    """

    def __init__(self, path: Path) -> None:
        self._replaced = replace_file(path)
        self._rows: list[tuple[str, str, str, float, float, float | None]] = []

    def __enter__(self) -> TagFile:
        self._writer = pq.ParquetWriter(self._replaced.__enter__(), _TAGS)
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._flush()
        finally:
            self._writer.close()
            self._replaced.__exit__(*error)

    def add(self, path: str, tags: Sequence[TagProbability], familiarity: float | None = None) -> None:
        """Add the tags of a track or album."""
        name = printable(path)  # Parquet holds UTF-8
        self._rows += [(name, tag.family, tag.tag, tag.probability, tag.threshold, familiarity) for tag in tags]
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [[] for _ in _TAGS]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _TAGS, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_TAGS))
        self._rows = []


def beets_line(path: str, tags: Sequence[TagProbability]) -> str:
    """Return a shell command that sets ``genres`` and the flexible field ``mood`` of a file in beets' library.

    With ``-W -M`` beets neither writes to the file nor moves it. beets separates lists by ``"; "``.
    """
    query = f"path:{os.path.abspath(path)}"
    fields = [f"{name}={'; '.join(values)}" for name, values in _values(tags, "genres").items() if values]
    return shlex.join(["beet", "modify", "-y", "-W", "-M", query, *fields]) if fields else ""


def picard_line(path: str, tags: Sequence[TagProbability]) -> str:
    """Return a JSON object with the path, and the tags as lists under Picard's names ``genre`` and ``mood``."""
    return json.dumps({"path": path, **_values(tags, "genre")})


def _values(tags: Sequence[TagProbability], genres: str) -> dict[str, list[str]]:
    return {
        genres: [tag.tag for tag in tags if tag.family == "genre"],
        "mood": [tag.tag for tag in tags if tag.family == "descriptor"],
    }


def _csv(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(map(_csv_line, rows))


def _csv_line(row: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)  # with another line terminator, Python 3.11 and 3.12 would not quote \r
    return text.getvalue().removesuffix("\r\n")

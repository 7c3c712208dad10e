"""Tags for other programs, as lines of text."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Sequence

from eno.inference.predictions import TagProbability

CSV_COLUMNS = ("path", "family", "tag", "probability", "threshold")


def csv_lines(path: str, tags: Sequence[TagProbability]) -> str:
    """One line for each tag, without the end of the last; the columns are `CSV_COLUMNS`."""
    rows = [(path, tag.family, tag.tag, f"{tag.probability:.4f}", f"{tag.threshold:.4f}") for tag in tags]
    return _csv(rows)


def csv_header() -> str:
    """The names of the columns."""
    return _csv([CSV_COLUMNS])


def beets_line(path: str, tags: Sequence[TagProbability]) -> str:
    """The command that gives the item of a file its ``genres``, and a flexible field ``mood``, in beets' library.

    It changes the library alone (``-W -M``): neither tags in files nor where files lie. Values are parted by ``"; "``,
    as beets takes lists.
    """
    query = f"path:{os.path.abspath(path)}"
    fields = [f"{name}={'; '.join(values)}" for name, values in _values(tags, "genres").items() if values]
    return shlex.join(["beet", "modify", "-y", "-W", "-M", query, *fields]) if fields else ""


def picard_line(path: str, tags: Sequence[TagProbability]) -> str:
    """A JSON object of the path and MusicBrainz Picard's names of tags, ``genre`` and ``mood``, each with a list."""
    return json.dumps({"path": path, **_values(tags, "genre")})


def _values(tags: Sequence[TagProbability], genres: str) -> dict[str, list[str]]:
    return {
        genres: [tag.tag for tag in tags if tag.family == "genre"],
        "mood": [tag.tag for tag in tags if tag.family == "descriptor"],
    }


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")

"""The review file, in which the user resolves ambiguous matches."""

from __future__ import annotations

import csv
import logging
import re
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from eno.data.matching.candidates import Candidate
from eno.data.matching.grouping import LocalGroup
from eno.errors import CatalogueError
from eno.files import csv_records, printable, replace_file

logger = logging.getLogger(__name__)

COLUMNS = (
    "decision", "folder", "album", "artist", "year", "tracks",
    "candidate", "candidate_artists", "candidate_name", "candidate_date", "score", "reason", "fingerprint",
)  # fmt: skip
"""Columns of the review file. The user fills in the first; ``folder`` and ``album`` identify the files, and if those
change, the ``fingerprint`` of their lengths does."""
_NEEDED = ("decision", "folder", "album", "candidate")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what spreadsheets take for a formula, with the apostrophes of `_as_text`
_YES, _NO = ("yes", "y", "x", "1", "true"), ("no", "n", "0", "false")


@dataclass
class Review:
    """Local albums with their candidates, one per row, and the decisions of the user.

    In the column ``decision``, ``yes`` accepts the candidate of that row, ``no`` rejects it, and empty leaves it open.
    Users may add rows with other candidates: ``yes`` overrides any match, ``no`` reverts one.
    """

    _rows: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))
    _read: set[tuple[str, str, str, str]] = field(default_factory=set)
    _questions: list[tuple[float, list[dict[str, str]]]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, *, known: Collection[str]) -> Review:
        """Read the decisions; a missing file contains none.

        The file is UTF-8 CSV with comma, semicolon or tab, as spreadsheets write it. `known` has the ``file_name`` of
        every album and of its duplicates.
        """
        if not path.is_file():
            return cls()
        names, rows = csv_records(path, CatalogueError, separators=",;\t")
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise CatalogueError(f"{path}: missing columns: {', '.join(missing)}; found {', '.join(names)[:80]!r}.")
        review = cls()
        for line, row in rows:
            decision = row["decision"].strip().lower()
            if decision and decision not in _YES + _NO:
                raise CatalogueError(f"{path}: line {line}: decision {decision!r}, expected yes or no.")
            kept = {name: _from_text(row.get(name, "")) for name in COLUMNS} | {"decision": decision}
            if decision in _YES and kept["candidate"] not in known:
                raise CatalogueError(f"{path}: line {line}: unknown album {kept['candidate']!r}.")
            if decision in _NO and kept["candidate"] not in known:
                message = "%s: line %d: the rejected album %r is not in the catalogue."
                logger.warning(message, printable(path), line, kept["candidate"])
            if decision:
                review._rows[_key(kept)].append(kept)
                review._read.add((*_key(kept), kept["candidate"], decision))
        return review

    def locate(self, groups: Iterable[LocalGroup]) -> None:
        """Move decisions about albums whose folder or tag changed to those with the same fingerprint."""
        groups = list(groups)
        known = {key for group in groups for key in group.keys}
        by_fingerprint = {group.fingerprint: group for group in groups if group.fingerprint}
        for key in [key for key in self._rows if key not in known]:
            for row in self._rows.pop(key):
                group = by_fingerprint.get(row["fingerprint"])
                folder, album = group.keys[0] if group else key
                self._rows[folder, album].append(row | {"folder": folder, "album": album})
        for group in groups:
            for key in group.keys:
                for row in self._rows.get(key, ()):
                    row["fingerprint"] = group.fingerprint or row["fingerprint"]

    def accepted(self, group: LocalGroup) -> str | None:
        """Return the candidate that the user accepted."""
        return next(self._decided(group, _YES), None)

    def rejected(self, group: LocalGroup, folders: Mapping[str, str]) -> set[str]:
        """Return the albums that the user rejected; `folders` maps every album and its duplicates to it."""
        return {folders[one] for one in self._decided(group, _NO) if one in folders}

    def _decided(self, group: LocalGroup, decisions: tuple[str, ...]) -> Iterator[str]:
        rows = (row for key in group.keys for row in self._rows.get(key, ()))
        return (row["candidate"] for row in rows if row["decision"] in decisions)

    def without_files(self, groups: Iterable[LocalGroup]) -> list[tuple[str, str]]:
        """Return folder and album of the decisions that concern none of these local albums."""
        return sorted(self._rows.keys() - {key for group in groups for key in group.keys})

    def ask(self, group: LocalGroup, candidates: list[Candidate], albums: pa.Table) -> None:
        """Add a local album and its candidates for review."""
        # Taking rows of a table with lists copies more than these rows.
        listed = [albums.slice(one.row, 1).to_pylist()[0] for one in candidates]
        rows = [_row(group, one, album) for one, album in zip(candidates, listed, strict=True)]
        self._questions.append(((group.local.tracks or 1) * max(one.score for one in candidates), rows))

    def add_answers(self, later: Review) -> None:
        """Add the decisions that were made since this was read, for example on the web page."""
        new = [
            row
            for rows in later._rows.values()
            for row in rows
            if (*_key(row), row["candidate"], row["decision"]) not in self._read
        ]
        for row in new:
            self._rows[_key(row)].append(row)
        answered = set(map(_key, new))
        self._questions = [(worth, rows) for worth, rows in self._questions if _key(rows[0]) not in answered]

    @property
    def asked(self) -> int:
        """Number of local albums added by `ask`."""
        return len(self._questions)

    def write(self, path: Path) -> None:
        """Write the file, or remove it if it would be empty.

        Open questions come first: those whose answer would probably match many tracks.
        """
        questions = [rows for _, rows in sorted(self._questions, key=lambda question: -question[0])]
        _write_rows(path, [row for rows in (*questions, *self._rows.values()) for row in rows])


def _key(row: dict[str, str]) -> tuple[str, str]:
    return row["folder"], row["album"]


class ReviewFile:
    """The review file as a list of questions that are answered one by one, for the web page."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def questions(self) -> list[list[dict[str, str]]]:
        """Return the open questions: the rows of all candidates of each local album, in the order of the file."""
        by_album: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for row in self._rows():
            by_album[_key(row)].append(row)
        return [rows for rows in by_album.values() if not any(row["decision"] for row in rows)]

    def answer(self, folder: str, album: str, accepted: str | None) -> bool:
        """Accept a candidate, or reject all of them (None); False if there is no such question."""
        with self._lock:
            rows = self._rows()
            asked = [row for row in rows if _key(row) == (folder, album)]
            if not asked or (accepted is not None and accepted not in [row["candidate"] for row in asked]):
                return False
            for row in asked:
                row["decision"] = "no" if accepted is None else "yes" if row["candidate"] == accepted else ""
            _write_rows(self._path, rows)
        return True

    def _rows(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        _, rows = csv_records(self._path, CatalogueError, separators=",;\t")
        return [{name: _from_text(row.get(name, "")) for name in COLUMNS} for _, row in rows]


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the file, or remove it if it would be empty."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        # Spreadsheets recognise UTF-8 by the byte order mark.
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({name: _as_text(value) for name, value in row.items()} for row in rows)


def _as_text(value: str) -> str:
    """Mark a value with an apostrophe if a spreadsheet would compute it as a formula and save the result instead."""
    return f"'{value}" if _FORMULA.match(value) else value


def _from_text(value: str) -> str:
    return value[1:] if value.startswith("'") and _FORMULA.match(value) else value


def _row(group: LocalGroup, one: Candidate, listed: dict[str, Any]) -> dict[str, str]:
    folder, album = group.keys[0]
    return {
        "decision": "",
        "folder": folder,
        "album": album,
        "artist": group.local.artist,
        "year": str(group.local.year or ""),
        "tracks": str(group.local.tracks or ""),
        "candidate": listed["file_name"],
        "candidate_artists": "; ".join(artist["name"] or "" for artist in listed["artists"] or () if artist),
        "candidate_name": listed["name"] or "",
        "candidate_date": listed["release_date"] or "",
        "score": f"{one.score:.3f}",
        "reason": one.reason,
        "fingerprint": group.fingerprint,
    }

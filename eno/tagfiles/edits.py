"""Changes of tags: planned, written without touching the audio, and taken back.

A file is never changed in place. Its copy beside it gets the tags, and takes its place in one step once the tags can be
read back and every packet of audio in it is what it was before. Permissions stay, and the owner where that is
allowed; other hard links to the file keep the old tags. The time of change is that of writing, by which music servers
notice it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutagen import MutagenError

from eno.data.library.packets import packet_hash
from eno.data.names import label_key
from eno.errors import AudioError, CatalogueError
from eno.files import printable, read_lines, replace_file
from eno.tagfiles.fields import FIELDS, TagFile

EXISTING = ("keep", "merge", "replace")
"""What happens to values that a file has: a field with values is left alone, extended, or overwritten."""

_FORMAT = 1

Values = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class TagEdit:
    """What would change in a file.

    Attributes
    ----------
    path : Path
        The file.
    before, after : dict of str to tuple of str
        Values of each field that would be written, now and then; equal ones are left out.
    kept : dict of str to tuple of str
        Values of fields that are left alone because the file has some.
    """

    path: Path
    before: Values
    after: Values
    kept: Values


def plan_edit(path: Path, wanted: Mapping[str, Sequence[str]], *, existing: str = "keep") -> TagEdit:
    """Compare what a file should say with what it says; writes nothing.

    Parameters
    ----------
    path : Path
        An audio file.
    wanted : mapping of str to sequence of str
        Values of the fields ``genre``, ``mood`` and ``style``. A field without values is left alone.
    existing : {"keep", "merge", "replace"}
        See `EXISTING`. Values that differ in nothing but case and spaces are merged into one.

    Raises
    ------
    AudioError
        The file cannot be read, or can carry no tags.
    ValueError
        A field or `existing` is unknown.
    """
    if existing not in EXISTING or not set(wanted) <= set(FIELDS):
        raise ValueError(f"existing is {existing!r}, fields are {list(wanted)}; see EXISTING and FIELDS.")
    now = TagFile(path).read()
    before, after, kept = {}, {}, {}
    for field, values in wanted.items():
        found, new = tuple(now[field]), tuple(dict.fromkeys(values))
        if existing == "merge":
            keys = {label_key(one) for one in found}
            new = found + tuple(one for one in new if label_key(one) not in keys)
        if not values or new == found:
            continue
        if existing == "keep" and found:
            kept[field] = found
        else:
            before[field], after[field] = found, new
    return TagEdit(path, before, after, kept)


class UndoLog:
    """Old tags of the files that are written, as lines of JSON.

    Parameters
    ----------
    path : Path
        The file. It is made with the first line, and lines are added to one that is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line, and see to it that it is on disk.

        Raises
        ------
        CatalogueError
            It cannot be written; without it no file should be.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"format": _FORMAT, **row}) + "\n")  # ASCII: names may be odd bytes
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CatalogueError(
                f"{printable(self.path)}: old tags cannot be kept there ({error.strerror}), so nothing more is "
                "written. Name another place with --undo-file."
            ) from error


def write_edit(edit: TagEdit, log: UndoLog, *, keep_mtime: bool = False) -> None:
    """Write the fields that change.

    Parameters
    ----------
    edit : TagEdit
        What `plan_edit` gave.
    log : UndoLog
        Gets the old tags before the file is replaced.
    keep_mtime : bool
        Leave the time of change as it was.

    Raises
    ------
    AudioError
        The file has changed since it was planned, cannot be written, or its audio would not come out the same. It is
        as it was then.
    """
    path = edit.path.resolve()  # a link would be replaced by a file
    old = TagFile(path)
    _expect(edit.path, old, edit.before, "since it was looked at; run the command again")
    row = {
        "path": str(path),
        "kind": old.kind,
        "tagged": old.tagged,
        "kept": {field: old.keep(field) for field in edit.after},
        "after": edit.after,
    }

    with _copy(edit.path, path, old, keep_mtime=keep_mtime, last=lambda: log.append(row)) as new:
        for field, values in edit.after.items():
            new.write(field, values)
        new.save()
        _expect(edit.path, TagFile(new.path, like=new), edit.after, "on the way; nothing is written")


def undo(log: Path, *, keep_mtime: bool = False) -> Iterator[tuple[Path, AudioError | None]]:
    """Put back the tags that files had, the last that were written first.

    Parameters
    ----------
    log : Path
        What `UndoLog` wrote.
    keep_mtime : bool
        Leave the time of change as it is.

    Yields
    ------
    path : Path
        A file whose tags are as they were,
    error : AudioError or None
        unless there is one: it is gone, or somebody has changed these fields since.

    Raises
    ------
    CatalogueError
        The file is no such log.
    """
    for row in reversed(_read_log(log)):
        path = Path(row["path"])
        try:
            _restore(path, row, keep_mtime)
            yield path, None
        except AudioError as error:
            yield path, error


def _restore(path: Path, row: dict[str, Any], keep_mtime: bool) -> None:
    old = TagFile(path)
    if all(old.keep(field) == kept for field, kept in row["kept"].items()):
        return
    after: Values = {field: tuple(values) for field, values in row["after"].items()}
    _expect(path, old, after, "since eno wrote them, and are left alone")

    with _copy(path, path, old, keep_mtime=keep_mtime) as new:
        for field, kept in row["kept"].items():
            new.restore(field, kept)
        new.save(without=not row["tagged"])


@contextmanager
def _copy(
    name: Path, path: Path, old: TagFile, *, keep_mtime: bool, last: Callable[[], None] = lambda: None
) -> Iterator[TagFile]:
    """Give a copy of a file to write tags to, which takes its place if its audio is the same; `last` comes before."""
    try:
        status = path.stat()
        if not os.access(path, os.W_OK):
            raise AudioError(name, "may not be written by this user; change its permissions")
        digest = _packet_hash(path, name)
        with replace_file(path, mode=status.st_mode) as temporary:
            shutil.copy2(path, temporary)
            with suppress(OSError):  # not everybody may, and not every file system knows owners
                os.chown(temporary, status.st_uid, status.st_gid)
            yield TagFile(temporary, like=old)
            if _packet_hash(temporary, name) != digest:
                raise AudioError(name, "its audio would not come out the same; nothing is written")
            if keep_mtime:
                os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
            last()
    except OSError as error:
        raise AudioError(name, f"cannot be written ({error.strerror}); it is as it was") from error
    except MutagenError as error:
        raise AudioError(name, f"its tags cannot be written ({error}); it is as it was") from error


def _packet_hash(path: Path, name: Path) -> str:
    try:
        return packet_hash(path, everything=True)
    except AudioError as error:
        raise AudioError(name, f"its audio {error.reason}; nothing is written") from error


def _expect(name: Path, file: TagFile, values: Values, when: str) -> None:
    now = file.read()
    for field, expected in values.items():
        if tuple(now[field]) != expected:
            found = ", ".join(now[field]) or "nothing"
            raise AudioError(name, f"its tags have changed {when}: {field} is {found}")


def _read_log(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in read_lines(path, CatalogueError) if line.strip()]
        for row in rows:
            if row["format"] != _FORMAT or not {"path", "tagged", "kept", "after"} <= set(row):
                raise ValueError("a line of another kind")
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogueError(f"{printable(path)}: holds no old tags of 'eno write-tags' ({error}).") from error
    return rows

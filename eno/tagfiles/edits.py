"""Planning, writing and undoing edits of tags, without changing the audio.

A file is never changed in place. A copy beside it is tagged, and replaces it atomically once the tags can be read back
and every packet of audio is the same. Permissions are kept, and the owner if allowed; other hard links to the file keep
the old tags. The modification time changes by default, so that music servers notice the new tags.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from eno.data.library.packets import packet_hash
from eno.data.names import label_key
from eno.errors import AudioError, CatalogueError, EnoError, check_format
from eno.files import parse_json_lines, printable, read_lines, replace_file
from eno.tagfiles.field_names import field_name as check_name
from eno.tagfiles.fields import TagFile, wrong_size

EXISTING = ("keep", "merge", "replace")
"""What to do with existing values of a field: keep them, add to them, or replace them."""

_FORMAT = 1
_KEYS = {"path", "tagged", "kept", "after"}

_SEPARATORS = re.compile(r"[;,/|\\\\\0]")  # that people put between several values in one text
_GENRE_NUMBER = re.compile(r"\s*(?:\d+|RX|CR)\s*$|\((?:\d+|RX|CR)\)")

Values = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class TagEdit:
    """A planned edit: old and new values of the fields that change, and the values of those that are kept.

    `remaining` has old values in blocks such as RIFF INFO that eno reads but does not write.
    """

    path: Path
    before: Values
    after: Values
    kept: Values
    remaining: Values = field(default_factory=dict)


def plan_edit(path: Path, wanted: Mapping[str, Sequence[str]], *, existing: str = "keep") -> TagEdit:
    """Plan an edit without writing anything.

    `wanted` has the values of fields such as ``genre``, see `eno.tagfiles.fields`; a field without values is not
    changed. `existing` is one of `EXISTING`; merging ignores differences in case and spaces. Raises a LabelError if a
    field is not for tags, see `eno.tagfiles.field_names.field_name`.
    """
    if existing not in EXISTING:
        raise ValueError(f"existing is {existing!r}; expected one of {EXISTING}.")
    for name in wanted:
        check_name(name)
    file = TagFile(path)
    now, elsewhere = file.read(wanted), file.read_elsewhere(wanted)
    before, after, kept, remaining = {}, {}, {}, {}
    for field_name, values in wanted.items():
        found, new = tuple(now[field_name]), tuple(dict.fromkeys(values))
        present = found or tuple(elsewhere[field_name])
        if existing == "merge":
            keys = {label_key(one) for text in present for one in (text, *_SEPARATORS.split(text))}
            more = tuple(one for one in new if label_key(one) not in keys)
            new = present + more if more else found
        if not values or new == found:
            continue
        if existing == "keep" and present:
            kept[field_name] = present
        else:
            if file.kind == "ID3" and field_name == "genre":
                _check_genres(path, new)
            before[field_name], after[field_name] = found, new
            if elsewhere[field_name] and not found:
                remaining[field_name] = present
    return TagEdit(path, before, after, kept, remaining)


def _check_genres(path: Path, genres: Sequence[str]) -> None:
    for genre in genres:
        if _GENRE_NUMBER.match(genre):
            raise AudioError(
                path,
                f"the genre {genre!r} cannot be written to ID3 tags, where readers take it for a number in the list of "
                "ID3v1's genres; rename the label",
            )


class UndoLog:
    """The old tags of files, as JSON lines that are appended to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_checked = False

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a line and sync it to disk."""
        line = json.dumps({"format": _FORMAT, **row}).encode() + b"\n"  # ASCII, since names need not be UTF-8
        try:
            with self.path.open("a+b") as file:
                if not self._is_checked:
                    _end_last_line(file)
                    self._is_checked = True
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CatalogueError(
                f"{printable(self.path)}: the old tags cannot be saved ({error.strerror}), so no more files are "
                "changed. Choose another file with --undo-file."
            ) from error


def _end_last_line(file: BinaryIO) -> None:
    """Remove a line that a crash cut off, since its file was not changed; any other line gets its end."""
    file.seek(0)
    last = file.read().rpartition(b"\n")[2]
    if not last:
        return
    try:
        json.loads(last)
    except ValueError:
        if last.startswith(b'{"format": '):
            file.truncate(file.tell() - len(last))
            return
    file.write(b"\n")


def write_edit(edit: TagEdit, log: UndoLog, *, keep_mtime: bool = False) -> None:
    """Log the old tags, then write a planned edit.

    If the tags have changed since the edit was planned, the file cannot be written, or its audio would change, an
    `AudioError` is raised and the file is unchanged.
    """
    path = edit.path.resolve()  # or else a link would be replaced by a file
    old = TagFile(path)
    _expect(edit.path, old, edit.before, "since the edit was planned; run the command again")
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
        written = TagFile(new.path, like=new).read(edit.after)
        if any(tuple(written[field]) != values for field, values in edit.after.items()):
            raise ValueError("what was written cannot be read back")


def undo(log: Path, *, keep_mtime: bool = False) -> Iterator[tuple[Path, AudioError | None]]:
    """Restore the old tags of files, most recent edits first; yield each path and None, or why it was not restored.

    Fields that have been changed since by another program are not restored.
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
    _expect(path, old, after, "since eno wrote them, so they are kept")

    with _copy(path, path, old, keep_mtime=keep_mtime) as new:
        for field, kept in row["kept"].items():
            new.restore(field, kept)
        new.save(remove_empty=not row["tagged"])


@contextmanager
def _copy(
    name: Path, path: Path, old: TagFile, *, keep_mtime: bool, last: Callable[[], None] = lambda: None
) -> Iterator[TagFile]:
    """Yield a copy to tag. If its audio is unchanged, call `last` and replace the file with the copy."""
    status = old.status
    try:
        if not os.access(path, os.W_OK):
            raise AudioError(name, "is not writable for this user; change its permissions")
        digest = _packet_hash(path, name)
        with replace_file(path, mode=status.st_mode) as temporary:
            shutil.copy2(path, temporary)
            with suppress(OSError):  # needs privileges, and not every file system has owners
                os.chown(temporary, status.st_uid, status.st_gid)
            yield TagFile(temporary, like=old)
            if _packet_hash(temporary, name) != digest:
                raise AudioError(name, "its audio would change; nothing is written")
            now = path.stat()
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (status.st_ino, status.st_size, status.st_mtime_ns):
                raise AudioError(name, "another program has changed it in the meantime; run the command again")
            if keep_mtime:
                os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
            last()
    except OSError as error:
        raise AudioError(name, f"cannot be written ({error.strerror}); the file is unchanged") from error
    except EnoError:
        raise
    except Exception as error:  # mutagen raises many kinds of errors, for instance if sizes in a header are wrong
        reason = wrong_size(path) or error
        raise AudioError(name, f"its tags cannot be written ({reason}); the file is unchanged") from error


def _packet_hash(path: Path, name: Path) -> str:
    try:
        return packet_hash(path, everything=True)
    except AudioError as error:
        raise AudioError(name, f"its audio {error.reason}; nothing is written") from error


def _expect(name: Path, file: TagFile, values: Values, when: str) -> None:
    now = file.read(values)
    for name_of_field, expected in values.items():
        if tuple(now[name_of_field]) != expected:
            found = ", ".join(now[name_of_field]) or "nothing"
            raise AudioError(name, f"its tags have changed {when}: {name_of_field} is {found}")


def _read_log(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, row in parse_json_lines(read_lines(path, CatalogueError), printable(path), CatalogueError):
        if not isinstance(row, dict) or not set(row) >= _KEYS:
            raise CatalogueError(f"{printable(path)}: line {number} is not an undo log of 'eno write-tags'.")
        check_format(path, row["format"], _FORMAT, CatalogueError)
        rows.append(row)
    return rows

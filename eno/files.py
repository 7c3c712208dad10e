"""Atomic writing of files, reading of text, and paths whose names are not UTF-8."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from eno.processes import is_running, machine_key

logger = logging.getLogger(__name__)

_NAME_BYTES = 60
_ESCAPED = "backslashreplace"  # an unpaired surrogate, as in names that are not UTF-8, becomes its escape in JSON
_TEMPORARY = re.compile(r"\..*\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp", re.DOTALL)
_ABANDONED_S = 24 * 3600  # an unfinished file that was not written to for so long has no writer


@contextmanager
def replace_file(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to, which atomically replaces `path` on success and is synced to disk.

    The folder must exist. `mode` sets the permissions, which by default are those of a new file.
    """
    _remove_leftovers(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    try:
        temporary.touch()
        mode = temporary.stat().st_mode if mode is None else stat.S_IMODE(mode)
        yield temporary
        temporary.chmod(mode)  # some libraries create files that only their owner may read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """Return a new name for an unfinished file, which says whose it is and is never longer than 100 bytes.

    Names may have 255 bytes, on eCryptfs 143; a name in UTF-8 may have four bytes per character.
    """
    beginning = os.fsencode(name)[:_NAME_BYTES].decode("utf-8", "ignore")
    return f".{beginning}.{machine_key()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def cache_folder() -> Path:
    """Return the folder for downloads: ``$ENO_CACHE``, or else the user's cache folder."""
    return Path(os.environ.get("ENO_CACHE") or platformdirs.user_cache_path("eno"))


def printable(path: Path | str) -> str:
    r"""Return a path as valid Unicode, with ``\\xNN`` for bytes of its name that are not UTF-8."""
    if isinstance(path, str) and path.isascii():
        return path
    return os.fsencode(path).decode("utf-8", "backslashreplace")


# C0 and C1, marks and overrides of direction, invisible characters, and what is no character in UTF-8.
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_LINE_END = re.compile(r"\n(?=  )")


def visible(value: object, *, lines: bool = False) -> str:
    r"""Return a text for a terminal: control characters, and letters that reverse or hide others, become escapes.

    Otherwise the names of files could move the cursor, change colours or show another name. For text that is
    data, see `printable`.

    Parameters
    ----------
    lines : bool
        Keep line breaks before two spaces, with which messages list things.

    Examples
    --------
    >>> visible("Intro\x1b[2J.mp3"), visible("two\nlines")
    ('Intro\\x1b[2J.mp3', 'two\\nlines')
    """
    if lines:
        return "\n".join(map(visible, _LINE_END.split(str(value))))
    return _CONTROLS.sub(_escaped, str(value))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8, as `printable` shows it
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape", "backslashreplace").decode()


def printed_file(folder: Path, name: str) -> Path:
    r"""Return the path of a file by its `printable` name, in which ``\\xNN`` may stand for a byte."""
    path = folder / name
    if "\\x" not in name or path.exists():
        return path
    spelled = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(name))
    odd = folder / os.fsdecode(spelled)
    return odd if odd.exists() else path


class Section(NamedTuple):
    """Start and end, in seconds, of a track that is a part of a file."""

    start_s: float
    end_s: float


_SECTION_ID = re.compile(r"(.*\.[^./#]+)#\d\d+", re.DOTALL)


def section_file(track_id: str) -> str | None:
    """Return the file in the id of a section; None if it is not such an id.

    Examples
    --------
    >>> section_file("mixes/1998.flac#07"), section_file("#07/song.flac")
    ('mixes/1998.flac', None)
    """
    found = _SECTION_ID.fullmatch(track_id)
    return found[1] if found else None


@dataclass(frozen=True)
class AudioRoots:
    """The folders of a music collection. The id of a track is its path below one of them.

    If several contain the same path, the first one is used. `exclude` holds globs of files and folders that do not
    belong to the collection: of a name, or with ``/`` of a path below an audio folder. `files`, if not None, are the
    only files of the collection, as paths in one of the folders. `sections` are those tracks that are parts of a
    file, by their ids: the path of the file, ``#`` and the number of the track.
    """

    folders: tuple[Path, ...]
    exclude: tuple[str, ...] = ()
    files: tuple[Path, ...] | None = None
    sections: Mapping[str, Section] = field(default_factory=dict)

    @classmethod
    def of(cls, places: AudioRoots | Path | str | Iterable[Path | str]) -> AudioRoots:
        """Accept one folder or several."""
        if isinstance(places, AudioRoots):
            return places
        return cls((Path(places),) if isinstance(places, str | Path) else tuple(map(Path, places)))

    def file(self, track_id: str) -> Path:
        """Return the path of a track's file, which need not exist; see `section` for a part of a file."""
        name = self.file_name(track_id)
        found = [printed_file(folder, name) for folder in self.folders]
        return next((path for path in found if path.exists()), found[0])

    def file_name(self, track_id: str) -> str:
        """Return the `printable` path of a track's file below its folder."""
        return track_id.rpartition("#")[0] if track_id in self.sections else track_id

    def section(self, track_id: str) -> Section | None:
        """Return which part of its file a track is; None if it is all of it."""
        return self.sections.get(track_id)

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))


def read_lines(path: Path, error: type[Exception]) -> list[str]:
    r"""Read a UTF-8 text file as lines, with their line ends; a byte order mark is skipped.

    Only ``\n``, ``\r\n`` and ``\r`` end a line. `str.splitlines` would also split names that contain U+0085 or U+2028.
    Line ends are not changed, since they may be part of a quoted value of a CSV file.
    If the file cannot be read or is not UTF-8, `error` is raised.
    """
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise error(f"{printable(path)}: cannot be read ({reason.strerror}).") from reason
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise error(f"{printable(path)}: is UTF-16; save it as UTF-8.")
    try:
        return list(io.StringIO(content.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as reason:
        line = content[: reason.start].count(b"\n") + 1
        raise error(f"{printable(path)}: line {line} is not UTF-8; save the file as UTF-8.") from reason


def csv_rows(path: Path, error: type[Exception], *, separators: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a UTF-8 CSV file that are not empty, each with the number of its last line.

    The separator is the one of `separators` that is most frequent in the first line. If a quotation mark is missing,
    which would join all further rows into one value, or the file cannot be read, `error` is raised.
    """
    lines = read_lines(path, error)
    reader = csv.reader(lines, delimiter=max(separators, key="".join(lines[:1]).count), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as reason:
        problem = f"line {reader.line_num} is not valid CSV ({reason})"
        raise error(f"{printable(path)}: {problem}. Check the quotation marks there and above.") from reason


def csv_records(
    path: Path, error: type[Exception], *, separators: str = ","
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header: its columns, and the other rows of `csv_rows` by column, "" for missing values."""
    (_, names), *rows = list(csv_rows(path, error, separators=separators)) or [(1, [])]
    return names, [(line, dict.fromkeys(names, "") | dict(zip(names, row, strict=False))) for line, row in rows]


def append_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a file of JSON Lines and sync it to disk; a last line that was cut off does not join the first."""
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()  # ASCII, whatever the names contain
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                lines = b"\n" + lines
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def parse_json_lines(lines: Sequence[str | bytes], place: str, error: type[Exception]) -> Iterator[tuple[int, Any]]:
    """Yield the number and value of each line of JSON Lines that is not blank.

    A last line without a line end, which a crash or a full disk leaves, is ignored with a warning if it is damaged.
    For any other damaged line `error` is raised.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as reason:
            if number == len(lines) and line[-1:] not in ("\n", b"\n"):
                logger.warning("%s: the last line is incomplete; it is ignored.", place)
                return
            raise error(f"{place}: line {number} is damaged ({reason}). Remove or restore this line.") from reason


def finite(value: Any) -> Any:
    """Return a value of JSON with null instead of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with replace_file(path) as temporary:
        content = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(content, encoding="utf-8", errors=_ESCAPED)


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value per line, atomically."""
    with replace_file(path) as temporary:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        temporary.write_text("".join(lines), encoding="utf-8", errors=_ESCAPED)


@cache
def _remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of killed processes from a folder, once per folder and process."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            owner = _TEMPORARY.fullmatch(entry.name)
            if owner is None:
                continue
            killed = owner["host"] == machine_key() and not is_running(int(owner["pid"]))
            if killed or time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
                Path(entry).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename is only on disk once its folder is synced. Windows cannot open folders, and does not need this.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

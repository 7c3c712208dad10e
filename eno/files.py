"""Files: written so that a crash never leaves half of one, named so that any name can be shown."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs


@contextmanager
def replace_file(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes `path` in one step, synced to disk.

    Parameters
    ----------
    path : Path
        The file to create or replace. Its folder must exist.
    mode : int, optional
        Its permissions, if not those of a new file.

    Yields
    ------
    Path
        A name in the same folder, so that the final rename stays on one file system.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode if mode is None else stat.S_IMODE(mode)
        yield temporary
        temporary.chmod(mode)  # some libraries put a file there that only its owner may read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where eno keeps what it downloads: ``$ENO_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("ENO_CACHE") or platformdirs.user_cache_path("eno"))


def printable(path: Path | str) -> str:
    r"""Give a path as text that any terminal and any table takes.

    Names on disk are bytes; those that are not UTF-8 get ``\\xNN`` for the odd bytes.
    """
    if isinstance(path, str) and path.isascii():
        return path
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printed_file(folder: Path, name: str) -> Path:
    r"""Find the file below a folder whose name `printable` gave: odd bytes are spelled out as ``\\xNN`` there."""
    path = folder / name
    if "\\x" not in name or path.exists():
        return path
    spelled = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(name))
    odd = folder / os.fsdecode(spelled)
    return odd if odd.exists() else path


@dataclass(frozen=True)
class AudioRoots:
    """The folders of a music collection. The id of a track is its path below one of them.

    Attributes
    ----------
    folders : tuple of Path
        At least one. Where two of them hold a file of the same name, the first one counts.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, places: AudioRoots | Path | str | Iterable[Path | str]) -> AudioRoots:
        """Accept one folder or several."""
        if isinstance(places, AudioRoots):
            return places
        return cls((Path(places),) if isinstance(places, str | Path) else tuple(map(Path, places)))

    def file(self, track_id: str) -> Path:
        """Return the path of a track's file, which need not exist."""
        found = [printed_file(folder, track_id) for folder in self.folders]
        return next((path for path in found if path.exists()), found[0])

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))


def read_lines(path: Path, error: type[Exception]) -> list[str]:
    r"""Read the lines of a UTF-8 text file that a user or a program wrote.

    Only ``\n``, ``\r\n`` and ``\r`` end a line. `str.splitlines` would also cut names that contain U+0085 or U+2028.

    Parameters
    ----------
    path : Path
        The file; a byte order mark is skipped.
    error : type of exception
        Raised if the file cannot be read or is not UTF-8; the message names the line.

    Returns
    -------
    list of str
        Each with a ``\n`` at its end, as iterating over an open file yields them.
    """
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise error(f"{printable(path)}: cannot be read ({reason.strerror}).") from reason
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise error(f"{printable(path)}: is UTF-16; save it as UTF-8.")
    try:
        return list(io.StringIO(content.decode("utf-8-sig"), newline=None))
    except UnicodeDecodeError as reason:
        line = content[: reason.start].count(b"\n") + 1
        raise error(f"{printable(path)}: line {line} is not UTF-8; save the file as UTF-8.") from reason


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in UTF-8, whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line in UTF-8, whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    # A rename is only on disk once its folder is; Windows cannot open folders and needs no such call.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

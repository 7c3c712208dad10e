"""The folder of a store: on a disk, on a network share, or in an object store."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import fs

from eno.errors import StoreError
from eno.files import replace_file

_TEMPORARY = ".tmp"
# An object appears when its upload is complete; elsewhere a rename is needed for that.
_OBJECT_STORES = ("s3", "gcs", "abfs")
_SETTLE_S = 1.0  # after which the last of several simultaneous writes of an object is visible


@dataclass(frozen=True)
class Entry:
    """A file of a folder: its path below the folder, bytes, and time of writing in nanoseconds since 1970."""

    name: str
    size: int
    mtime_ns: int


class Folder:
    """A folder whose files are written whole or not at all.

    Parameters
    ----------
    place : Path or str
        A path, or a URI that pyarrow knows: ``s3://bucket/folder``, ``gs://…``, ``hdfs://…``.

    Attributes
    ----------
    local : Path or None
        The path; None for a URI.

    Raises
    ------
    StoreError
        pyarrow has no file system for the URI.
    """

    def __init__(self, place: Path | str) -> None:
        self.local: Path | None = None
        if isinstance(place, Path) or "://" not in place:
            self.place: Path | str = Path(place)
            self.local = Path(place)
            return
        self.place = place
        with self._explained("cannot be reached"):
            self._files, base = fs.FileSystem.from_uri(place)
        self._base = PurePosixPath(base)

    def __str__(self) -> str:
        # The query of a URI may hold secrets.
        return str(self.place).partition("?")[0] if self.local is None else str(self.place)

    def make(self, name: str = "") -> None:
        """Create the folder, or a folder in it."""
        if self.local is not None:
            (self.local / name).mkdir(parents=True, exist_ok=True)
        elif self._files.type_name not in _OBJECT_STORES:
            self._files.create_dir(self._path(name), recursive=True)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.local is not None:
            return (self.local / name).is_file()
        with self._explained("cannot be read"):
            return bool(self._files.get_file_info(self._path(name)).type == fs.FileType.File)

    def entries(self, name: str = "") -> list[Entry]:
        """List the files of the folder, or of a folder in it, sorted by name and without unfinished ones."""
        return [entry for entry in self._all(name) if not PurePosixPath(entry.name).name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Read a whole file; FileNotFoundError if it does not exist."""
        with self.open(name) as file:
            content: bytes = file.read()
        return content

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for random access; FileNotFoundError if it does not exist."""
        if self.local is not None:
            return pa.OSFile(os.fspath(self.local / name), "rb")
        return self._files.open_input_file(self._path(name))

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write or replace a file. If that fails with a StoreError, the earlier file is still there."""
        with self._explained("cannot be written"):
            if self.local is not None:
                with replace_file(self.local / name) as temporary:
                    temporary.write_bytes(content)
                return
            path = self._path(name)
            written = path
            if self._files.type_name not in _OBJECT_STORES:
                written = str(PurePosixPath(path).with_name(f".{PurePosixPath(path).name}.{os.getpid()}{_TEMPORARY}"))
            stream = self._files.open_output_stream(written)
            stream.write(content)
            stream.close()  # not in a `finally`: closing after an error would publish half an object
            if written != path:
                self._files.move(written, path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that does not exist yet; return False if it does.

        On local file systems and network shares, exactly one of several processes succeeds. In object stores this holds
        if their attempts are at most a second apart: reading again shows which write was the last.
        """
        with self._explained("cannot be written to"):
            if self.local is not None:
                try:
                    descriptor = os.open(self.local / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                except FileExistsError:
                    return False
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                return True
            if self.exists(name):
                return False
            self.write(name, content)
            time.sleep(_SETTLE_S)
            return self.read(name) == content

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with self._explained("cannot be written to"):
            if self.local is not None:
                (self.local / name).unlink(missing_ok=True)
                return
            with contextlib.suppress(FileNotFoundError):
                self._files.delete_file(self._path(name))

    def remove_leftovers(self, name: str = "") -> None:
        """Remove the unfinished files that a killed writer left in the folder, or in a folder in it."""
        for entry in self._all(name):
            file_name = PurePosixPath(entry.name).name
            if file_name.startswith(".") and file_name.endswith(_TEMPORARY):
                self.remove(entry.name)

    def _all(self, name: str) -> list[Entry]:
        if self.local is not None:
            return sorted(_entries(self.local, name), key=lambda entry: entry.name)
        with self._explained("cannot be listed"):
            selector = fs.FileSelector(self._path(name), allow_not_found=True)
            infos = [info for info in self._files.get_file_info(selector) if info.type == fs.FileType.File]
        found = [
            Entry(str(PurePosixPath(info.path).relative_to(self._base)), info.size, info.mtime_ns or 0)
            for info in infos
        ]
        return sorted(found, key=lambda entry: entry.name)

    def _path(self, name: str) -> str:
        return str(self._base / name)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise StoreError(f"{self}: {what} ({reason}).") from error


def _entries(root: Path, name: str) -> Iterator[Entry]:
    try:
        with os.scandir(root / name) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):  # replaced meanwhile
                    if entry.is_file():
                        status = entry.stat()
                        yield Entry(str(PurePosixPath(name, entry.name)), status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        return

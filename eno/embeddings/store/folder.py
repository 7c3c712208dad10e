"""The folder of a store, wherever it lies: on a disk, a network share, or in an object store."""

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
# On their own, an object is there whole once its upload ends; elsewhere a rename makes it so.
_OBJECT_STORES = ("s3", "gcs", "abfs")
_SETTLE_S = 1.0  # between two writers who create a file at once where only the last write counts


@dataclass(frozen=True)
class Entry:
    """A file of a folder.

    Attributes
    ----------
    name : str
        Its path below the folder, with ``/``.
    size : int
        Bytes.
    mtime_ns : int
        When it was written, in nanoseconds since 1970.
    """

    name: str
    size: int
    mtime_ns: int


class Folder:
    """Files below one place, written whole or not at all.

    Parameters
    ----------
    place : Path or str
        A path, or a URI that pyarrow takes: ``s3://bucket/folder``, ``gs://…``, ``hdfs://…``.

    Attributes
    ----------
    place : Path or str
        As given.
    local : Path or None
        The path, if it is one.

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
        # What follows the question mark may be a secret.
        return str(self.place).partition("?")[0] if self.local is None else str(self.place)

    def make(self, name: str = "") -> None:
        """Make the folder, or one in it."""
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
        """List the files of a folder in it, without those being written, in the order of their names."""
        return [entry for entry in self._all(name) if not PurePosixPath(entry.name).name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Read a file whole; FileNotFoundError if it is not there."""
        with self.open(name) as file:
            content: bytes = file.read()
        return content

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading at any place; FileNotFoundError if it is not there."""
        if self.local is not None:
            return pa.OSFile(os.fspath(self.local / name), "rb")
        return self._files.open_input_file(self._path(name))

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write or replace a file: afterwards it is there whole, or the one before it still is.

        Raises
        ------
        StoreError
            It cannot be written, for instance because the disk is full.
        """
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
            stream.close()  # not in a `finally`: closing after an error would make half an object a whole one
            if written != path:
                self._files.move(written, path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False if it is.

        On file systems of the machine, and on network shares, exactly one of several who try succeeds. Elsewhere that
        is so for all who try within a second of each other, since the last to write is found out by reading again.
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
        """Remove a file, if it is there."""
        with self._explained("cannot be written to"):
            if self.local is not None:
                (self.local / name).unlink(missing_ok=True)
                return
            with contextlib.suppress(FileNotFoundError):
                self._files.delete_file(self._path(name))

    def remove_leftovers(self, name: str = "") -> None:
        """Remove the halves of files that a killed writer left in a folder."""
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

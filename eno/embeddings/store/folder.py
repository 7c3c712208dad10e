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
from eno.files import replace_file, temporary_name

_TEMPORARY = ".tmp"
# An object appears when its upload is complete; elsewhere a rename is needed for that.
_OBJECT_STORES = ("s3", "gcs", "abfs")
_SETTLE_S = 1.0  # after which the last of several simultaneous writes of an object is visible


@dataclass(frozen=True)
class Entry:
    """A file in a folder: path below the folder, size in bytes, modification time in nanoseconds since 1970."""

    name: str
    size: int
    mtime_ns: int


class Folder:
    """A folder in which files are written atomically.

    Parameters
    ----------
    place : Path or str
        A path, or a URI that pyarrow supports: ``s3://bucket/folder``, ``gs://…``, ``hdfs://…``.

    Attributes
    ----------
    local : Path or None
        The path; None for a URI.

    Raises
    ------
    StoreError
        pyarrow does not support the URI.
    """

    def __init__(self, place: Path | str) -> None:
        self.local = Path(place) if isinstance(place, Path) or "://" not in place else None
        self.place: Path | str = place if self.local is None else self.local
        if self.local is not None:
            self._files, base = fs.LocalFileSystem(), self.local.as_posix()
        else:
            with self.explained("cannot be reached"):
                self._files, base = fs.FileSystem.from_uri(place)
        self._base = PurePosixPath(base)
        self._renames = self._files.type_name not in _OBJECT_STORES

    def __str__(self) -> str:
        # The query of a URI may contain secrets.
        return str(self.place).partition("?")[0] if self.local is None else str(self.place)

    def make(self, name: str = "") -> None:
        """Create the folder, or a subfolder."""
        if self._renames:
            with self.explained("cannot be created"):
                self._files.create_dir(self._path(name), recursive=True)

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        with self.explained("cannot be read"):
            return bool(self._files.get_file_info(self._path(name)).type == fs.FileType.File)

    def entries(self, name: str = "") -> list[Entry]:
        """List the files in the folder or a subfolder, sorted by name, without unfinished ones."""
        return [entry for entry in self._all(name) if not PurePosixPath(entry.name).name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Read a whole file; raise FileNotFoundError if it does not exist."""
        with self.open(name) as file:
            content: bytes = file.read()
        return content

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for random access; raise FileNotFoundError if it does not exist."""
        return self._files.open_input_file(self._path(name))

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write or replace a file. If this fails, with a StoreError, the earlier file is still there."""
        with self.explained("cannot be written"):
            if self.local is not None:
                with replace_file(self.local / name) as temporary:
                    temporary.write_bytes(content)
                return
            path = written = self._path(name)
            if self._renames:
                written = str(PurePosixPath(path).with_name(temporary_name(PurePosixPath(path).name)))
            stream = self._files.open_output_stream(written)
            stream.write(content)
            stream.close()  # not in a `finally`: closing after an error would publish half an object
            if self._renames:
                self._files.move(written, path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists; return whether it was written.

        On local file systems and network shares, exactly one of several processes succeeds. In object stores this holds
        if their attempts are at most a second apart: reading again shows which write was the last.
        """
        with self.explained("cannot be written to"):
            if self.local is not None:
                try:
                    with (self.local / name).open("xb") as file:
                        file.write(content)
                except FileExistsError:
                    return False
                return True
            if self.exists(name):
                return False
            self.write(name, content)
            time.sleep(_SETTLE_S)
            return self.read(name) == content

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with self.explained("cannot be written to"), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(self._path(name))

    def remove_leftovers(self, name: str = "") -> None:
        """Remove the unfinished files of a killed writer from the folder or a subfolder."""
        for entry in self._all(name):
            file_name = PurePosixPath(entry.name).name
            if file_name.startswith(".") and file_name.endswith(_TEMPORARY):
                self.remove(entry.name)

    def _all(self, name: str) -> list[Entry]:
        with self.explained("cannot be listed"):
            found = self._files.get_file_info(fs.FileSelector(self._path(name), allow_not_found=True))
        entries = [
            Entry(str(PurePosixPath(info.path).relative_to(self._base)), info.size, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File
        ]
        return sorted(entries, key=lambda entry: entry.name)

    def _path(self, name: str) -> str:
        return str(self._base / name)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Raise errors of the file system as StoreError, with the folder and what it is that fails."""
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            raise StoreError(f"{self}: {what} ({os.strerror(number) if number else error}).") from error

"""The audio files of a user: found, named, never changed."""

from __future__ import annotations

import os
import time
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from eno.errors import AudioError
from eno.files import printable

AUDIO_SUFFIXES = frozenset(
    [
        ".aac",
        ".aif",
        ".aifc",
        ".aiff",
        ".ape",
        ".au",
        ".caf",
        ".flac",
        ".m4a",
        ".m4b",
        ".mka",
        ".mp2",
        ".mp3",
        ".mp4",
        ".mpc",
        ".oga",
        ".ogg",
        ".opus",
        ".tta",
        ".w64",
        ".wav",
        ".wave",
        ".webm",
        ".wma",
        ".wv",
    ]
)
"""File name endings, in lower case, of what is taken for audio while a folder is walked."""

IO_THREADS = 16
"""Threads that list, look at and read files; they wait for a disk or a network more than they compute."""

_TRIED_FOLDERS, _WAITS = 8, 10  # so many listings tell; a network waits a hundred times longer than it works


class Track(NamedTuple):
    r"""One audio file.

    Attributes
    ----------
    id : str
        Its path below the audio folder, with ``/``; it stays the same when the whole folder moves. Bytes of a
        name that are not UTF-8 are written ``\xNN``.
    root, name : str
        The audio folder, and the path below it as it is on disk.
    size, mtime_ns : int or None
        Bytes, and when it was last changed, in nanoseconds since 1970; None for what cannot be looked at, such as a
        dangling link.
    """

    id: str
    root: str
    name: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def file(self) -> str:
        """Where it lies."""
        return os.path.join(self.root, self.name)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.file)


class Tracks(Sequence[Track]):
    """The audio files of a folder, in the order of their ids.

    Kept by columns, since a collection may have millions.

    Attributes
    ----------
    ids : pa.Array
        Ids.
    sizes, mtimes_ns : np.ndarray [dtype=int64]
        As those of `Track`; -1 in place of None.
    """

    def __init__(self, root: str, files: _Files) -> None:
        import pyarrow as pa  # here, since the processes that decode do without it
        import pyarrow.compute as pc

        ids = pa.array([printable(name) for name in files.names], pa.string())
        order = pc.sort_indices(ids)
        rows = order.to_numpy()
        self._root, self._names = root, [files.names[row] for row in rows.tolist()]
        self.ids: Any = ids.take(order)
        self.sizes = np.frombuffer(files.sizes, np.int64)[rows]
        self.mtimes_ns = np.frombuffer(files.mtimes_ns, np.int64)[rows]
        del ids, order
        pa.default_memory_pool().release_unused()  # of a million files 80 MB, which it would keep

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> Track: ...
    @overload
    def __getitem__(self, place: slice) -> list[Track]: ...
    def __getitem__(self, place: int | slice) -> Track | list[Track]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        name, size, mtime_ns = self._names[place], int(self.sizes[place]), int(self.mtimes_ns[place])
        return Track(printable(name), self._root, name, *((None, None) if size < 0 else (size, mtime_ns)))


def find_tracks(root: Path | str) -> Tracks:
    """Find the audio files below a folder.

    Parameters
    ----------
    root : Path or str
        The audio folder. Hidden files and folders are passed over, and so are links to folders; links to files are
        followed, even dangling ones, so that they show up as failures instead of going missing.

    Returns
    -------
    Tracks
        In the order of their ids.

    Raises
    ------
    AudioError
        There is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise AudioError(root, "is not a folder; expected one with audio files")
    return Tracks(os.fspath(root), _walk(os.fspath(root)))


class _Files:
    """Names below a root, sizes and times of change."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes, self.mtimes_ns = array("q"), array("q")

    def extend(self, other: _Files) -> None:
        self.names += other.names
        self.sizes += other.sizes
        self.mtimes_ns += other.mtimes_ns


def _walk(root: str) -> _Files:
    """Find the audio files of a tree.

    Over a network each listing is a round trip, so several are under way at a time; on a disk that answers at once
    threads only hold each other up, to a tenth of the speed. The first listings tell which it is.
    """
    found, folders = _Files(), deque([""])
    listed, waited, worked = 0, 0.0, 0.0
    while folders and (listed < _TRIED_FOLDERS or waited < _WAITS * worked):
        began, at_work = time.perf_counter(), time.thread_time()
        below, files = _list(root, folders.popleft())
        at_work = time.thread_time() - at_work
        listed, waited, worked = listed + 1, waited + time.perf_counter() - began - at_work, worked + at_work
        folders += below
        found.extend(files)
    if not folders:
        return found
    with ThreadPoolExecutor(IO_THREADS, thread_name_prefix="list") as pool:
        waiting = {pool.submit(_list, root, folder) for folder in folders}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    below, files = future.result()
                    found.extend(files)
                    waiting |= {pool.submit(_list, root, folder) for folder in below}
        finally:
            pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for the rest of the tree
    return found


def _list(root: str, folder: str) -> tuple[list[str], _Files]:
    folders, files = [], _Files()
    prefix = f"{folder}/" if folder else ""
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(prefix + name)
                elif _suffix(name) in AUDIO_SUFFIXES and not (entry.is_symlink() and _links_to_folder(entry)):
                    files.names.append(prefix + name)
                    size, mtime_ns = _stamp(entry)
                    files.sizes.append(size)
                    files.mtimes_ns.append(mtime_ns)
    except OSError as error:
        # A folder that cannot be listed hides tracks: say so instead of working on without them.
        reason = f"cannot be listed ({error.strerror}); its tracks would silently be missing"
        raise AudioError(error.filename or os.path.join(root, folder), reason) from error
    return folders, files


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        return -1, -1  # whoever opens it says why
    return status.st_size, status.st_mtime_ns


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where nobody may look: whoever opens it says so
        return False


def expand_audio(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the audio files below them.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders. A file is kept whatever it is called, also one that does not exist: whoever opens it
        reports it.

    Returns
    -------
    list of Path
        In the given order.
    """
    return [found for path in paths for found in ([t.path for t in find_tracks(path)] if path.is_dir() else [path])]

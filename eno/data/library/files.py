"""Finding the audio files of a collection."""

from __future__ import annotations

import logging
import os
import time
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import AudioError
from eno.files import AudioRoots, printable

logger = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(
    ".aac .aif .aifc .aiff .ape .au .caf .flac .m4a .m4b .mka .mp2 .mp3 .mp4 .mpc .oga .ogg .opus .tta .w64 .wav .wave "
    ".webm .wma .wv".split()
)
"""Suffixes, in lower case, of the files that are found as audio."""

IO_THREADS = 16
"""Number of threads that list folders and read files, which mostly wait for a disk or a network."""

# A folder is on a network if listing its first subfolders takes this many times longer than their CPU time.
_TRIED_FOLDERS, _NETWORK_WAIT = 8, 10


class Track(NamedTuple):
    r"""An audio file.

    Its id is its path below its audio folder, with ``/``, so that it stays the same when the folder moves. Bytes that
    are not UTF-8 are written as ``\xNN``. Size and modification time are None for dangling links.
    """

    id: str
    root: str
    name: str  # the path below the root, as it is on disk
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def file(self) -> str:
        """Path of the file as a string, which is faster than a `Path` for millions of files."""
        return os.path.join(self.root, self.name)

    @property
    def path(self) -> Path:
        """Path of the file."""
        return Path(self.file)


class Tracks(Sequence[Track]):
    """Audio files, sorted by id. They are kept in columns, since a collection may have millions.

    Attributes
    ----------
    ids : pa.Array of str
    sizes, mtimes_ns : np.ndarray [shape=(n,), dtype=int64]
        -1 in place of None.
    empty_roots : list of str
        Audio folders without audio files.
    """

    def __init__(self, roots: Sequence[str], found: Sequence[_Files]) -> None:
        names = [name for files in found for name in files.names]
        ids = pa.array([printable(name) for name in names], pa.string())
        order = pc.sort_indices(ids)  # stable, so files of the same name are in the order of their roots
        if len(roots) > 1:
            order = _without_repeated(ids, order)
        rows = order.to_numpy()
        self._roots, self._names = roots, [names[row] for row in rows.tolist()]
        self._root_of = np.repeat(np.arange(len(found), dtype=np.int16), [len(files.names) for files in found])[rows]
        self.ids: Any = ids.take(order)
        self.sizes, self.mtimes_ns = (
            np.concatenate([np.frombuffer(column, np.int64) for column in columns])[rows]
            for columns in ([files.sizes for files in found], [files.mtimes_ns for files in found])
        )
        self.empty_roots = [root for root, files in zip(roots, found, strict=True) if not files.names]
        if len(self) < len(names):
            self._warn_of_repeated(names, set(rows.tolist()))
        del ids, order
        pa.default_memory_pool().release_unused()  # for a million files, it would keep 80 MB

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
        root = self._roots[self._root_of[place]]
        return Track(printable(name), root, name, *((None, None) if size < 0 else (size, mtime_ns)))

    def warn_of_empty_roots(self) -> None:
        """Log a warning for every audio folder without files; callers then do not treat missing tracks as deleted."""
        for root in self.empty_roots:
            message = "%s contains no audio files. In case it is not mounted, no track is treated as deleted."
            logger.warning(message, printable(root))

    def _warn_of_repeated(self, names: list[str], kept: set[int]) -> None:
        repeated = next(printable(name) for row, name in enumerate(names) if row not in kept)
        first = self[pc.index(self.ids, repeated).as_py()]
        logger.warning(
            "%d files have the same path in several audio folders, for example %s; the one in %s is used.",
            len(names) - len(self),
            repeated,
            printable(first.root),
        )


def _without_repeated(ids: pa.Array, order: pa.Array) -> pa.Array:
    in_order = ids.take(order)
    is_first = pc.not_equal(in_order.slice(1), in_order.slice(0, max(0, len(ids) - 1)))
    return order.filter(pa.concat_arrays([pa.array([True][: len(ids)], pa.bool_()), is_first]))


def find_tracks(audio_roots: AudioRoots | Path | str | Iterable[Path | str]) -> Tracks:
    """Find the audio files of a collection.

    Hidden files and folders and links to folders are skipped. Links to files are followed; dangling ones are included,
    so that they are reported as unreadable. If several audio folders contain the same path, the first one is used, with
    a warning. An `AudioError` is raised for a folder that is missing, inside another one, or cannot be listed.
    """
    folders = AudioRoots.of(audio_roots).folders
    for folder in folders:
        if not folder.is_dir():
            raise AudioError(folder, "is not a folder; expected one with audio files")
    resolved = [folder.resolve() for folder in folders]
    for place, inner in enumerate(resolved):
        for other, outer in enumerate(resolved):
            if place != other and inner.is_relative_to(outer):
                reason = f"is inside the audio folder {printable(folders[other])}; use only one of the two"
                raise AudioError(folders[place], reason)
    roots = [os.fspath(folder) for folder in folders]
    return Tracks(roots, [_walk(root) for root in roots])


class _Files:
    """Names below a root, sizes and modification times."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes, self.mtimes_ns = array("q"), array("q")

    def extend(self, other: _Files) -> None:
        self.names += other.names
        self.sizes += other.sizes
        self.mtimes_ns += other.mtimes_ns


def _walk(root: str) -> _Files:
    # Over a network each listing is a round trip, so threads make many at once. On a local disk, threads slow each
    # other down, to as little as a tenth of the speed of one. The first listings show which case it is.
    found, folders = _Files(), deque([""])
    listed, waited, worked = 0, 0.0, 0.0
    while folders and (listed < _TRIED_FOLDERS or waited < _NETWORK_WAIT * worked):
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
                elif _is_audio(name) and not (entry.is_symlink() and _links_to_folder(entry)):
                    files.names.append(prefix + name)
                    size, mtime_ns = _stamp(entry)
                    files.sizes.append(size)
                    files.mtimes_ns.append(mtime_ns)
    except OSError as error:
        # If the scan went on, the tracks of this folder would count as deleted.
        reason = f"cannot be listed ({error.strerror}); fix its permissions, or its tracks would count as deleted"
        raise AudioError(error.filename or os.path.join(root, folder), reason) from error
    return folders, files


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        return -1, -1  # the reason is reported when the file is opened
    return status.st_size, status.st_mtime_ns


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself or without permission; the reason is reported when the file is opened
        return False


def expand_audio(paths: Iterable[Path]) -> list[Path]:
    """Replace folders by the audio files below them; keep files, whatever their suffixes and even if missing."""
    return [found for path in paths for found in ([t.path for t in find_tracks(path)] if path.is_dir() else [path])]

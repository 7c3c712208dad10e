"""The audio files of a user: found, named, never changed."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

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

_TRIED_FOLDERS = 8  # before it is known whether listing waits


class Track(NamedTuple):
    r"""One audio file.

    Attributes
    ----------
    id : str
        Its path below the audio folder, with ``/``; it stays the same when the whole folder moves. Bytes of a
        name that are not UTF-8 are written ``\xNN``.
    file : str
        Where it lies.
    size, mtime_ns : int or None
        Bytes, and when it was last changed, in nanoseconds since 1970; None for what cannot be looked at, such as a
        dangling link.
    """

    id: str
    file: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.file)


class FileStamp(NamedTuple):
    """What a file was when it was embedded.

    Attributes
    ----------
    size, mtime_ns : int
        Bytes, and when it was last changed, in nanoseconds since 1970.
    audio_hash : str
        Hash of the samples that the encoder heard.
    """

    size: int
    mtime_ns: int
    audio_hash: str


def find_tracks(root: Path | str) -> list[Track]:
    """Find the audio files below a folder.

    Parameters
    ----------
    root : Path or str
        The audio folder. Hidden files and folders are passed over, and so are links to folders; links to files are
        followed, even dangling ones, so that they show up as failures instead of going missing.

    Returns
    -------
    list of Track
        In the order of their ids.

    Raises
    ------
    AudioError
        There is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise AudioError(root, "is not a folder; expected one with audio files")
    return sorted(_walk(os.fspath(root)))


def _walk(root: str) -> list[Track]:
    """Find the audio files of a tree.

    Over a network each listing is a round trip, so several are under way at a time; on a disk that answers at once
    threads only hold each other up, to a tenth of the speed. The first listings tell which it is.
    """
    found: list[Track] = []
    folders, at_once, listed, waited, worked = deque([(root, "")]), 1, 0, 0.0, 0.0
    with ThreadPoolExecutor(IO_THREADS, thread_name_prefix="list") as pool:
        under_way: set[Future[_Listing]] = set()
        try:
            while folders or under_way:
                while folders and len(under_way) < at_once:
                    under_way.add(pool.submit(_list, *folders.popleft()))
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    listing = future.result()
                    folders += listing.folders
                    found += listing.tracks
                    listed, waited, worked = listed + 1, waited + listing.waited_s, worked + listing.worked_s
                if listed >= _TRIED_FOLDERS and at_once == 1 and waited > worked:
                    at_once = IO_THREADS
        finally:
            pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for the rest of the tree
    return found


class _Listing(NamedTuple):
    folders: list[tuple[str, str]]  # with what the ids of their tracks begin with
    tracks: list[Track]
    waited_s: float
    worked_s: float


def _list(folder: str, prefix: str) -> _Listing:
    folders, files = [], []
    began, worked = time.perf_counter(), time.thread_time()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, f"{prefix}{printable(name)}/"))
                elif _suffix(name) in AUDIO_SUFFIXES and not (entry.is_symlink() and _links_to_folder(entry)):
                    files.append(Track(prefix + printable(name), entry.path, *_stamp(entry)))
    except OSError as error:
        # A folder that cannot be listed hides tracks: say so instead of working on without them.
        reason = f"cannot be listed ({error.strerror}); its tracks would silently be missing"
        raise AudioError(error.filename or folder, reason) from error
    worked = time.thread_time() - worked
    return _Listing(folders, files, time.perf_counter() - began - worked, worked)


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int] | tuple[None, None]:
    try:
        status = entry.stat()
    except OSError:
        return None, None  # whoever opens it says why
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

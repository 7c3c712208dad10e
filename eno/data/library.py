"""The audio files of a user: found, named, never changed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Track:
    r"""One audio file.

    Attributes
    ----------
    id : str
        Its path below the audio folder, with ``/``; it stays the same when the whole folder moves. Bytes of a
        name that are not UTF-8 are written ``\xNN``.
    path : Path
        Where it lies.
    """

    id: str
    path: Path


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
    found = [Track(printable(path.relative_to(root).as_posix()), path) for path in _walk(root)]
    return sorted(found, key=lambda track: track.id)


def _walk(root: Path) -> list[Path]:
    """Find the audio files of a tree, several folders at a time: over a network each listing is a round trip."""
    found: list[Path] = []
    with ThreadPoolExecutor(IO_THREADS, thread_name_prefix="list") as pool:
        waiting: set[Future[tuple[list[Path], list[Path]]]] = {pool.submit(_list, root)}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    folders, files = future.result()
                    found += files
                    waiting |= {pool.submit(_list, folder) for folder in folders}
        finally:
            pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for the rest of the tree
    return found


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif path.suffix.lower() in AUDIO_SUFFIXES and not _links_to_folder(entry):
                    files.append(path)
    except OSError as error:
        # A folder that cannot be listed hides tracks: say so instead of working on without them.
        reason = f"cannot be listed ({error.strerror}); its tracks would silently be missing"
        raise AudioError(error.filename or folder, reason) from error
    return folders, files


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

"""The audio files of a user: found, named, never changed."""

from __future__ import annotations

import os
from collections.abc import Iterable
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
        The audio folder. Hidden files and folders are passed over; links to files are followed, even dangling
        ones, so that they show up as failures instead of going missing.

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
    found = []
    for folder, folders, names in os.walk(root, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES
        ]
    return sorted(
        (Track(printable(path.relative_to(root).as_posix()), path) for path in found), key=lambda track: track.id
    )


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


def _refuse(error: OSError) -> None:
    # A folder that cannot be listed hides tracks: say so instead of working on without them.
    raise AudioError(error.filename, f"cannot be listed ({error.strerror}); its tracks would silently be missing")

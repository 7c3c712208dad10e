"""Tracks ↔ albums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath


def match_by_folder(track_ids: Iterable[str], file_names: Iterable[str]) -> dict[str, str]:
    """Give each track the album in whose folder it lies.

    The guide's layout: ``raw/audio/<file_name of the album>/<track>``, where Lute's file name may itself be
    several folders deep (``release/album/slowdive/souvlaki``). Folders below it, such as ``CD1``, belong to it too.

    Parameters
    ----------
    track_ids : iterable of str
        Paths of the tracks below the audio folder, with ``/``.
    file_names : iterable of str
        File names of the albums.

    Returns
    -------
    dict of str to str
        Track id → file name; tracks outside every album's folder are left out.

    Examples
    --------
    >>> match_by_folder(["a/b/CD1/01.flac", "loose.mp3"], ["a/b", "c"])
    {'a/b/CD1/01.flac': 'a/b'}
    """
    albums = set(file_names)
    matched = {}
    for track_id in track_ids:
        album = next((str(folder) for folder in PurePosixPath(track_id).parents if str(folder) in albums), None)
        if album is not None:
            matched[track_id] = album
    return matched

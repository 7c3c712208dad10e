"""Finding the audio files of a collection."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.library.walking import Excluded, Found, is_cue_sheet, walk
from eno.errors import AudioError
from eno.files import AudioRoots, Section, printable

logger = logging.getLogger(__name__)


class Track(NamedTuple):
    r"""An audio file, or a section of one.

    Its id is its path below its audio folder, with ``/``, so that it stays the same when the folder moves. Bytes that
    are not UTF-8 are written as ``\xNN``. The id of a section ends with ``#`` and the number of the track. Size and
    modification time are those of the file, and None for dangling links.
    """

    id: str
    root: str
    name: str  # the path below the root, as it is on disk
    size: int | None = None
    mtime_ns: int | None = None
    section: Section | None = None

    @property
    def file(self) -> str:
        """Path of the file as a string, which is faster than a `Path` for millions of files."""
        return os.path.join(self.root, self.name)

    @property
    def path(self) -> Path:
        """Path of the file."""
        return Path(self.file)

    @property
    def place(self) -> str:
        """Path of the file, and for a section where it begins and ends, as a fragment of a URL would say it."""
        return (
            self.file if self.section is None else f"{self.file}#t={self.section.start_s:.3f},{self.section.end_s:.3f}"
        )


class Tracks(Sequence[Track]):
    """Audio files, sorted by id. They are kept in columns, since a collection may have millions.

    A file with `sections` is replaced by these.

    Attributes
    ----------
    ids : pa.Array of str
    sizes, mtimes_ns : np.ndarray [shape=(n,), dtype=int64]
        -1 in place of None.
    are_sections : np.ndarray [shape=(n,), dtype=bool]
    cue_sheets : list of (str, str)
        Audio folders and paths below them.
    empty_roots : list of str
        Audio folders without audio files.
    unread : dict of Path to str
        Folders that could not be listed, and why.
    left_out : Counter of str
        Numbers of files that are not audio by suffix, and of folders that were not entered by name.
    """

    def __init__(
        self, roots: Sequence[str], found: Sequence[Found], sections: Mapping[str, Section] = MappingProxyType({})
    ) -> None:
        names = [name for files in found for name in files.names]
        ids, files_of, self._sections = pa.array([printable(name) for name in names], pa.string()), None, sections
        if sections:
            ids, files_of = _with_sections(ids, sections)
        order = pc.sort_indices(ids)  # stable, so files of the same name are in the order of their roots
        if len(roots) > 1:
            order = _without_repeated(ids, order)
        rows = order.to_numpy() if files_of is None else files_of[order.to_numpy()]
        self._roots, self._names = roots, [names[row] for row in rows.tolist()]
        self._root_of = np.repeat(np.arange(len(found), dtype=np.int16), [len(files.names) for files in found])[rows]
        self.ids: Any = ids.take(order)
        self.are_sections = np.zeros(len(rows), bool)
        if sections:
            self.are_sections = pc.is_in(self.ids, value_set=pa.array(sections, pa.string())).to_numpy(False)
        self.sizes, self.mtimes_ns = (
            np.concatenate([np.frombuffer(column, np.int64) for column in columns])[rows]
            for columns in ([files.sizes for files in found], [files.mtimes_ns for files in found])
        )
        self.unread = {
            Path(root, name): reason
            for root, files in zip(roots, found, strict=True)
            for name, reason in files.unread.items()
        }
        self.left_out: Counter[str] = sum((files.left_out for files in found), Counter())
        self.cue_sheets = [(root, name) for root, files in zip(roots, found, strict=True) for name in files.cue_sheets]
        self._unread = {printable(name) for files in found for name in files.unread}
        self._empty = {printable(name) for files in found for name in files.empty}
        self.empty_roots = [root for root, files in zip(roots, found, strict=True) if not files.names]
        if len(roots) > 1 and len(kept := set(rows.tolist())) < len(names):
            self._warn_of_repeated(names, kept)
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
        track = Track(printable(name), root, name, *((None, None) if size < 0 else (size, mtime_ns)))
        if not self.are_sections[place]:
            return track
        track_id = self.ids[place].as_py()
        return track._replace(id=track_id, section=self._sections[track_id])

    def deleted(self, missing: Iterable[str]) -> set[str]:
        """Return those of some ids without a file whose file was deleted, and log a warning about the others.

        A file may come back if its folder could not be listed, if one of the audio folders contains no audio files, or
        if it lay in a subfolder of a folder that is now empty: a disk or share may not be mounted there.
        """
        deleted, kept = set(), Counter[str]()
        for track_id in missing:
            if place := self._may_be_back(track_id):
                kept[place] += 1
            else:
                deleted.add(track_id)
        for place, count in sorted(kept.items()):
            logger.warning("%s. %d tracks that may be there are not treated as deleted.", place, count)
        return deleted

    def _may_be_back(self, track_id: str) -> str | None:
        if self.empty_roots:
            return f"{printable(self.empty_roots[0])} contains no audio files and may not be mounted"
        for end in (0, *(place for place, letter in enumerate(track_id) if letter == "/")):
            if track_id[:end] in self._unread:
                return f"{track_id[:end] or printable(self._roots[0])} cannot be listed"
            if track_id[:end] in self._empty and "/" in track_id[end + 1 :]:
                return f"{track_id[:end]} is empty and may not be mounted; remove the folder if it is no longer needed"
        return None

    def _warn_of_repeated(self, names: list[str], kept: set[int]) -> None:
        repeated = next(name for row, name in enumerate(names) if row not in kept)
        first = self._roots[self._root_of[self._names.index(repeated)]]
        logger.warning(
            "%d files have the same path in several audio folders, for example %s; the one in %s is used.",
            len(names) - len(kept),
            printable(repeated),
            printable(first),
        )


def _with_sections(ids: pa.Array, sections: Mapping[str, Section]) -> tuple[pa.Array, np.ndarray]:
    """Replace the ids of files by those of their sections; also return the row of the file of each."""
    of_file: dict[str, list[str]] = {}
    for track_id in sections:
        of_file.setdefault(track_id.rpartition("#")[0], []).append(track_id)
    divided = pc.is_in(ids, value_set=pa.array(of_file, pa.string())).to_numpy(False)
    parts = [(row, one) for row in np.flatnonzero(divided).tolist() for one in of_file[ids[row].as_py()]]
    whole = np.flatnonzero(~divided)
    rows = np.concatenate([whole, np.array([row for row, _ in parts], np.int64)])
    return pa.concat_arrays([ids.take(pa.array(whole)), pa.array([one for _, one in parts], pa.string())]), rows


def _without_repeated(ids: pa.Array, order: pa.Array) -> pa.Array:
    in_order = ids.take(order)
    is_first = pc.not_equal(in_order.slice(1), in_order.slice(0, max(0, len(ids) - 1)))
    return order.filter(pa.concat_arrays([pa.array([True][: len(ids)], pa.bool_()), is_first]))


def find_tracks(audio_roots: AudioRoots | Path | str | Iterable[Path | str]) -> Tracks:
    """Find the audio files of a collection.

    Files count as audio by their suffix, see `eno.audio.formats.AUDIO_SUFFIXES`. A file with `AudioRoots.sections` is
    replaced by these. Recycle bins, snapshots and other
    folders of the system, what `AudioRoots.exclude` matches, and links to folders are skipped. Links to files are
    followed; dangling ones are included, so that they are reported as unreadable. If several audio folders contain the
    same path, the first one is used, with a warning. A folder that cannot be listed is reported in `Tracks.unread`. An
    `AudioError` is raised for an audio folder that is missing or inside another one.
    """
    given = AudioRoots.of(audio_roots)
    folders = given.folders
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
    if given.files is not None:
        return Tracks(roots, _listed(given, given.files), given.sections)
    return Tracks(roots, [walk(root, given.exclude) for root in roots], given.sections)


def _listed(given: AudioRoots, files: Iterable[Path]) -> list[Found]:
    """Return the listed files by audio folder, also those that are missing, so that they are reported."""
    found = [Found() for _ in given.folders]
    excluded = [Excluded(given.exclude, os.fspath(folder)) for folder in given.folders]
    roots = [folder.absolute() for folder in given.folders]
    for file in dict.fromkeys(files):
        path = Path(os.path.normpath(file.absolute()))
        place = next((number for number, root in enumerate(roots) if path.is_relative_to(root)), None)
        if place is None:
            raise AudioError(file, f"is listed, but not in an audio folder ({given})")
        name = os.fspath(path.relative_to(roots[place]))
        if any(excluded[place](part.name, os.fspath(part)) for part in (Path(name), *list(Path(name).parents)[:-1])):
            continue
        found[place].names.append(name)
        try:
            status = path.stat()
        except OSError:
            status = None
        found[place].sizes.append(-1 if status is None else status.st_size)
        found[place].mtimes_ns.append(-1 if status is None else status.st_mtime_ns)
    for place, here in enumerate(found):
        for folder in dict.fromkeys(os.path.dirname(name) for name in here.names):
            with suppress(OSError), os.scandir(roots[place] / folder) as entries:
                here.cue_sheets += [os.path.join(folder, one.name) for one in entries if is_cue_sheet(one.name)]
    return found


def expand_audio(paths: Iterable[Path], exclude: Sequence[str] = ()) -> tuple[list[Path], dict[Path, str]]:
    """Replace folders by the audio files below them; keep files, whatever their suffixes and even if missing.

    Returns
    -------
    files : list of Path
    unread : dict of Path to str
        Folders that cannot be listed, and why.
    """
    files: list[Path] = []
    unread: dict[Path, str] = {}
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        tracks = find_tracks(AudioRoots((path,), tuple(exclude)))
        files += [track.path for track in tracks]
        unread |= tracks.unread
    return files, unread

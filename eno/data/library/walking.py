"""Walking one audio folder: what is music, what is left out, and what cannot be listed."""

from __future__ import annotations

import os
import re
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from fnmatch import translate

from eno.audio.formats import AUDIO_SUFFIXES

IO_THREADS = 16
"""Number of threads that list folders and read files, which mostly wait for a disk or a network."""

# A folder is on a network if listing its first subfolders takes this many times longer than their CPU time.
_TRIED_FOLDERS, _NETWORK_WAIT = 8, 10
# Recycle bins, snapshots and bookkeeping of file systems, NAS devices, synchronisation programs and desktops, in lower
# case. Other names may begin with a dot: music by "...And You Will Know Us by the Trail of Dead" does.
_SYSTEM_FOLDERS = (
    "lost+found", "system volume information", "$recycle.bin", "#recycle", "#snapshot", "@*", "__macosx",
    ".trash", ".trash-*", ".trashes", ".recycle", ".recycle.bin", ".recyclebin", ".deleted", ".@*",
    ".snapshot", ".snapshots", ".zfs", ".stversions", ".stfolder*", ".sync", ".dropbox.cache", ".tmp.drive*",
    ".appledouble", ".appledb", ".appledesktop", ".spotlight-v100", ".fseventsd", ".temporaryitems",
    ".documentrevisions-v100", ".cache", ".config", ".local", ".var", ".thumbnails", ".git", ".svn", ".hg",
)  # fmt: skip


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)) or r"(?!)")


_is_system_folder = _any_of(_SYSTEM_FOLDERS).match


def is_audio(name: str) -> bool:
    """Return whether a file is taken for audio by its name. macOS keeps attributes of ``x.mp3`` in ``._x.mp3``."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")


def is_cue_sheet(name: str) -> bool:
    """Return whether a file is a CUE sheet by its name."""
    return name.lower().endswith(".cue") and not name.startswith("._")


class Excluded:
    """Files and folders that the user excludes by globs: of a name, or with ``/`` of a path below the audio folder."""

    def __init__(self, globs: Iterable[str], root: str) -> None:
        below = [os.path.expanduser(glob).rstrip("/").removeprefix(os.path.join(root, "")) for glob in globs]
        self._names = _any_of(glob for glob in below if "/" not in glob)
        self._paths = _any_of(glob if glob[0] in "/*" else f"/{glob}" for glob in below if "/" in glob)

    def __call__(self, name: str, path: str) -> bool:
        """Return whether a file or folder is excluded, given its path below the audio folder."""
        return bool(self._names.match(name) or self._paths.match(f"/{path}"))


class Found:
    """What one folder holds, or a tree of them. Paths are below the audio folder.

    Attributes
    ----------
    names : list of str
        Paths of the audio files.
    sizes, mtimes_ns : array of int64
        -1 for files whose status cannot be read.
    left_out : Counter of str
        Numbers of other files by suffix, and of folders that were not entered by name.
    unread : dict of str to str
        Folders that could not be listed completely, and why.
    empty : list of str
        Folders without any content.
    cue_sheets : list of str
        Paths of the CUE sheets.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes, self.mtimes_ns = array("q"), array("q")
        self.left_out: Counter[str] = Counter()
        self.unread: dict[str, str] = {}
        self.empty: list[str] = []
        self.cue_sheets: list[str] = []

    def extend(self, other: Found) -> None:
        """Add what another folder holds."""
        self.names += other.names
        self.sizes += other.sizes
        self.mtimes_ns += other.mtimes_ns
        self.left_out += other.left_out
        self.unread |= other.unread
        self.empty += other.empty
        self.cue_sheets += other.cue_sheets


def walk(root: str, exclude: Iterable[str] = ()) -> Found:
    """Find the audio files below a folder; see `eno.data.library.files.find_tracks`."""
    # Over a network each listing is a round trip, so threads make many at once. On a local disk, threads slow each
    # other down, to as little as a tenth of the speed of one. The first listings show which case it is.
    excluded = Excluded(exclude, root)
    found, folders = Found(), deque([""])
    listed, waited, worked = 0, 0.0, 0.0
    while folders and (listed < _TRIED_FOLDERS or waited < _NETWORK_WAIT * worked):
        began, at_work = time.perf_counter(), time.thread_time()
        below, here = _list(root, folders.popleft(), excluded)
        at_work = time.thread_time() - at_work
        listed, waited, worked = listed + 1, waited + time.perf_counter() - began - at_work, worked + at_work
        folders += below
        found.extend(here)
    if not folders:
        return found
    with ThreadPoolExecutor(IO_THREADS, thread_name_prefix="list") as pool:
        waiting = {pool.submit(_list, root, folder, excluded) for folder in folders}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    below, here = future.result()
                    found.extend(here)
                    waiting |= {pool.submit(_list, root, folder, excluded) for folder in below}
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest of the tree
    return found


def _list(root: str, folder: str, excluded: Excluded) -> tuple[list[str], Found]:
    """Return the folders to enter below a folder, and what it holds itself."""
    folders: list[str] = []
    found = Found()
    prefix = f"{folder}/" if folder else ""
    is_empty = True
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                is_empty = False
                _take(entry, prefix + entry.name, folders, found, excluded)
    except OSError as error:  # what was listed before still counts
        found.unread[folder] = f"cannot be listed ({error.strerror})"
    else:
        found.empty += [folder] * is_empty
    return folders, found


def _take(entry: os.DirEntry[str], path: str, folders: list[str], found: Found, excluded: Excluded) -> None:
    name = entry.name
    if entry.is_dir(follow_symlinks=False):
        if _is_system_folder(name.lower()) or excluded(name, path):
            found.left_out[f"{name}/"] += 1
        else:
            folders.append(path)
    elif entry.is_symlink() and _links_to_folder(entry):
        found.left_out["links to folders"] += 1
    elif not is_audio(name) or excluded(name, path):
        if is_cue_sheet(name) and not excluded(name, path):
            found.cue_sheets.append(path)
        found.left_out[_kind(name)] += 1
    else:
        found.names.append(path)
        size, mtime_ns = _stamp(entry)
        found.sizes.append(size)
        found.mtimes_ns.append(mtime_ns)


def _kind(name: str) -> str:
    return "._*" if name.startswith("._") else os.path.splitext(name)[1].lower() or "without suffix"


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

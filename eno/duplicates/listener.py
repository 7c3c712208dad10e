"""Files on demand: decoded in threads, kept while they are needed; what cannot be read is noted and gone past."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from eno.audio.reading import probe
from eno.duplicates.quality import Quality, read_quality
from eno.duplicates.recordings import SAMPLE_RATE, Recording
from eno.errors import AudioError
from eno.files import printable, printed_file

logger = logging.getLogger(__name__)

_KEPT_BYTES = 1 << 29

_T = TypeVar("_T")


class Listener:
    """Reads the files of tracks.

    Parameters
    ----------
    audio_root : Path or None
        The folder that track ids are relative to; None where nothing can be listened to.
    pool : ThreadPoolExecutor
        Where files are read.
    known : mapping of str to mapping
        Rows of ``tracks.parquet`` by track id, of as many tracks as are known.

    Attributes
    ----------
    problems : dict of str to str
        Tracks whose file could not be read, and why.
    """

    def __init__(
        self, audio_root: Path | None, pool: ThreadPoolExecutor, *, known: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.audio_root, self.pool, self._known = audio_root, pool, known
        self.problems: dict[str, str] = {}
        self._kept: OrderedDict[str, Recording] = OrderedDict()
        self._sounding_s: dict[str, float] = {}

    def durations(self, ids: Sequence[str], report: Callable[[str, int, int], None]) -> dict[str, float | None]:
        """Lengths of tracks in seconds; None where not known."""
        durations = {track_id: self._known.get(track_id, {}).get("duration_s") for track_id in ids}
        missing = [track_id for track_id, duration_s in durations.items() if duration_s is None]
        if self.audio_root is None or not missing:
            return durations
        looked = self._each(missing, lambda track_id, path: probe(path, listen=False).duration_s)
        for done, (track_id, duration_s) in enumerate(looked, 1):
            durations[track_id] = duration_s
            report("looking at files", done, len(missing))
        return durations

    def recordings(self, ids: Sequence[str]) -> dict[str, Recording]:
        """Decode tracks, without those that cannot be read. A few at a time: they are all in memory."""
        missing = [track_id for track_id in ids if track_id not in self._kept and track_id not in self.problems]
        for track_id, recording in self._each(missing, lambda track_id, path: Recording.read(path)):
            if recording is not None:
                begin, end = recording.sounding
                self._sounding_s[track_id] = (end - begin) / SAMPLE_RATE
                self._kept[track_id] = recording
        found = {track_id: self._kept[track_id] for track_id in ids if track_id in self._kept}
        for track_id in found:
            self._kept.move_to_end(track_id)
        held = sum(recording.nbytes for recording in self._kept.values())
        while held > _KEPT_BYTES:
            held -= self._kept.popitem(last=False)[1].nbytes
        return found

    def qualities(self, ids: Sequence[str]) -> dict[str, Quality]:
        """What files are worth that were decoded before, without those that can no longer be read."""

        def look(track_id: str, path: Path) -> Quality:
            return read_quality(path, sounding_s=self._sounding_s[track_id], known=self._known.get(track_id))

        return {track_id: quality for track_id, quality in self._each(ids, look) if quality is not None}

    def _each(self, ids: Sequence[str], work: Callable[[str, Path], _T]) -> Iterator[tuple[str, _T | None]]:
        """Do something with the file of every track; None where that fails, whatever is wrong with it."""
        root = self.audio_root
        if root is None:
            raise ValueError("there is no audio folder to read from.")

        def attempt(track_id: str) -> _T | None:
            try:
                return work(track_id, printed_file(root, track_id))
            except AudioError as error:
                reason = error.reason
            except Exception as error:
                logger.debug("%s", track_id, exc_info=True)
                reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
                reason = f"cannot be read ({reason})"
            self.problems[track_id] = printable(reason)
            return None

        return zip(ids, self.pool.map(attempt, ids), strict=True)

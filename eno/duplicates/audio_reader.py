"""Read the audio of tracks in a thread pool, with a cache. Files that cannot be read are recorded and skipped."""

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
from eno.files import AudioRoots, Section, printable

logger = logging.getLogger(__name__)

_CACHE_BYTES = 1 << 29

_T = TypeVar("_T")


class AudioReader:
    """Reads the files of tracks.

    Parameters
    ----------
    audio_roots : AudioRoots or None
        None if there is no audio.
    known : mapping of str to mapping
        Rows of ``tracks.parquet`` by track id, as far as there are any.

    Attributes
    ----------
    problems : dict of str to str
        Tracks whose file could not be read, and why.
    """

    def __init__(
        self, audio_roots: AudioRoots | None, pool: ThreadPoolExecutor, *, known: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.audio_roots, self.pool, self._known = audio_roots, pool, known
        self.problems: dict[str, str] = {}
        self._cache: OrderedDict[str, Recording] = OrderedDict()
        self._sounding_s: dict[str, float] = {}

    def durations(self, ids: Sequence[str], report: Callable[[str, int, int], None]) -> dict[str, float | None]:
        """Return the durations of tracks in seconds; None if unknown."""
        durations = {track_id: self._known.get(track_id, {}).get("duration_s") for track_id in ids}
        missing = [track_id for track_id, duration_s in durations.items() if duration_s is None]
        if self.audio_roots is None or not missing:
            return durations
        probed = self._each(missing, lambda track_id, path, section: _duration_s(path, section))
        for done, (track_id, duration_s) in enumerate(probed, 1):
            durations[track_id] = duration_s
            report("reading durations", done, len(missing))
        return durations

    def recordings(self, ids: Sequence[str]) -> dict[str, Recording]:
        """Decode tracks, all of which are then in memory. Unreadable ones are omitted."""
        missing = [track_id for track_id in ids if track_id not in self._cache and track_id not in self.problems]
        for track_id, recording in self._each(missing, lambda track_id, path, section: Recording.read(path, section)):
            if recording is not None:
                begin, end = recording.sounding
                self._sounding_s[track_id] = (end - begin) / SAMPLE_RATE
                self._cache[track_id] = recording
        found = {track_id: self._cache[track_id] for track_id in ids if track_id in self._cache}
        for track_id in found:
            self._cache.move_to_end(track_id)
        held = sum(recording.nbytes for recording in self._cache.values())
        while held > _CACHE_BYTES:
            held -= self._cache.popitem(last=False)[1].nbytes
        return found

    def qualities(self, ids: Sequence[str]) -> dict[str, Quality]:
        """Return the quality of files that were decoded before. Unreadable ones are omitted."""

        def read(track_id: str, path: Path, section: Section | None) -> Quality:
            known = self._known.get(track_id)
            return read_quality(path, section=section, sounding_s=self._sounding_s[track_id], known=known)

        return {track_id: quality for track_id, quality in self._each(ids, read) if quality is not None}

    def _each(
        self, ids: Sequence[str], work: Callable[[str, Path, Section | None], _T]
    ) -> Iterator[tuple[str, _T | None]]:
        """Apply a function to the file, and section of it, of every track; None if it fails for any reason."""
        roots = self.audio_roots
        if roots is None:
            raise ValueError("There is no audio folder to read from.")

        def attempt(track_id: str) -> _T | None:
            try:
                return work(track_id, roots.file(track_id), roots.section(track_id))
            except AudioError as error:
                reason = error.reason
            except Exception as error:
                logger.debug("%s", track_id, exc_info=True)
                reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
                reason = f"cannot be read ({reason})"
            self.problems[track_id] = printable(reason)
            return None

        return zip(ids, self.pool.map(attempt, ids), strict=True)


def _duration_s(path: Path, section: Section | None) -> float:
    return probe(path, listen=False).duration_s if section is None else section.end_s - section.start_s

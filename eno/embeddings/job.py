"""The precompute job: every track of a folder → vectors in a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from eno.data.audio import Windows, read_windows
from eno.data.library import Track, find_tracks
from eno.embeddings.lock import writer_lock
from eno.embeddings.store import EmbeddingStore, Failure
from eno.encoders import Encoder
from eno.errors import AudioError

_FLUSH_S = 30.0
"""So much work at most is lost when the job is killed."""
_PART_BYTES = 64 * 2**20
"""A part holds about so much, or what 30 s gave, whichever is less."""
_READ_AHEAD = 4  # tracks that are decoded while the encoder works


@dataclass(frozen=True)
class EmbedReport:
    """How a run ended. ``found == embedded + skipped + failed + left``.

    Attributes
    ----------
    found : int
        Audio files in the folder.
    embedded, skipped, failed : int
        Done now, done before, and not possible (now or before; the reasons stand in the store's ledger).
    left : int
        Not reached, because the run was interrupted.
    failures : list of Failure
        Those among the failed.
    seconds, audio_s : float
        Time that the run took, and length of the audio that was listened to.
    """

    found: int
    embedded: int
    skipped: int
    failed: int
    left: int
    failures: list[Failure]
    seconds: float
    audio_s: float

    @property
    def coverage(self) -> float:
        """Share of the files that the store holds, now or from before; 1 where there are none."""
        return (self.embedded + self.skipped) / self.found if self.found else 1.0


def embed_folder(
    root: Path | str,
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    retry_failed: bool = False,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> EmbedReport:
    """Embed all tracks of a folder that the store does not hold yet.

    Parameters
    ----------
    root : Path or str
        The audio folder.
    encoder : Encoder
        Must be the encoder of the store.
    store : EmbeddingStore
        Receives vectors and failures. What it holds already is skipped, so an interrupted run goes on.
    retry_failed : bool
        Try tracks again that failed in an earlier run.
    on_progress : callable, optional
        Called after every track with the numbers done, failed and to do.

    Returns
    -------
    EmbedReport
        Counts that add up. An interrupt (Ctrl-C) also ends in a report, after what is done was saved.

    Raises
    ------
    FingerprintMismatch
        The store belongs to another encoder.
    AudioError
        The folder cannot be read.
    StoreError
        Another run is writing into the store.
    """
    store.require(encoder.spec)
    with writer_lock(store.path):
        store.remove_leftovers()
        return _embed_folder(root, encoder, store, retry_failed=retry_failed, on_progress=on_progress)


def _embed_folder(
    root: Path | str,
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    retry_failed: bool,
    on_progress: Callable[[int, int, int], None] | None,
) -> EmbedReport:
    began = time.monotonic()
    tracks = find_tracks(root)
    done = set(store.track_ids())
    known = {failure.track_id: failure for failure in store.failures()}
    here = {track.id for track in tracks}
    failures = {} if retry_failed else {name: row for name, row in known.items() if name in here - done}
    todo = [track for track in tracks if track.id not in done and track.id not in failures]
    run = _Run(store, failures)
    try:
        for count, (track, windows) in enumerate(_decoded(todo, encoder, store), start=1):
            if isinstance(windows, AudioError):
                run.fail(track, windows)
            else:
                run.add(track, windows, encoder.encode(windows.samples))
            if on_progress:
                on_progress(count, len(failures), len(todo))
    except KeyboardInterrupt:
        pass  # what is done is saved below; the report's `left` says that there is more to do
    finally:
        run.flush()
    before = sum(track.id in done for track in tracks)
    return EmbedReport(
        found=len(tracks),
        embedded=run.embedded,
        skipped=before,
        failed=len(failures),
        left=len(tracks) - run.embedded - before - len(failures),
        failures=sorted(failures.values(), key=lambda failure: failure.track_id),
        seconds=time.monotonic() - began,
        audio_s=run.windows * encoder.spec.window_s,
    )


class _Run:
    """Collects what is done and hands it to the store from time to time."""

    def __init__(self, store: EmbeddingStore, failures: dict[str, Failure]) -> None:
        self.embedded = self.windows = self._bytes = 0
        self._store, self._failures = store, failures
        self._flushed = time.monotonic()
        self._ids: list[str] = []
        self._starts: list[np.ndarray] = []
        self._vectors: list[np.ndarray] = []

    def add(self, track: Track, windows: Windows, vectors: np.ndarray) -> None:
        if not np.isfinite(vectors).all():
            self.fail(track, AudioError(track.path, "makes the encoder give NaN or infinite values"))
            return
        self._ids += [track.id] * len(vectors)
        self._starts.append(windows.starts_s)
        self._vectors.append(vectors)
        self.embedded += 1
        self.windows += len(vectors)
        self._bytes += self._store.bytes_of(vectors)
        if self._bytes >= _PART_BYTES or time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def fail(self, track: Track, error: AudioError) -> None:
        self._failures[track.id] = Failure(track.id, str(track.path), error.reason)

    def flush(self) -> None:
        if self._ids:
            self._store.append(self._ids, np.concatenate(self._starts), np.concatenate(self._vectors))
            self._ids, self._starts, self._vectors, self._bytes = [], [], [], 0
        if self._failures or self._store.failures():
            self._store.write_failures(self._failures.values())
        self._flushed = time.monotonic()


def _decoded(
    tracks: Sequence[Track], encoder: Encoder, store: EmbeddingStore
) -> Iterator[tuple[Track, Windows | AudioError]]:
    """Decode ahead of the encoder, in order; a file that cannot be decoded yields its error."""
    spec = encoder.spec

    def decode(track: Track) -> Windows | AudioError:
        try:
            return read_windows(
                track.path,
                sample_rate=spec.sample_rate,
                window_samples=spec.window_samples,
                policy=store.policy,
                padding=spec.padding,
            )
        except AudioError as error:
            return error

    waiting = iter(tracks)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        ahead: list[tuple[Track, Future[Windows | AudioError]]] = []
        try:
            while True:
                ahead += [(track, pool.submit(decode, track)) for track in islice(waiting, _READ_AHEAD - len(ahead))]
                if not ahead:
                    return
                track, future = ahead.pop(0)
                yield track, future.result()
        finally:
            for _, future in ahead:
                future.cancel()

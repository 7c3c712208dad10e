"""The features of a collection: one NumPy file a track, made once."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eno.cnn.features import AudioFeatureExtractor
from eno.cores import usable_cores
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import read_split
from eno.data.splits.stratify import SPLITS
from eno.errors import AudioError, CatalogueError
from eno.files import printable, printed_file, read_lines, replace_file, write_json, write_json_lines

logger = logging.getLogger(__name__)

MAKE_FEATURES = "Make them with: python scripts/prepare_data.py"
_SETTINGS, _FAILURES = "features.json", "failures.jsonl"
_AHEAD = 2  # files that a process has, so that it need not wait for the next one


@dataclass(frozen=True)
class FeatureFailure:
    """A track that has no features.

    Attributes
    ----------
    track_id, path : str
        Which track, and its file.
    reason : str
        What is wrong and what to do.
    """

    track_id: str
    path: str
    reason: str


@dataclass(frozen=True)
class FeatureReport:
    """What became of the tracks of the splits: found = made + skipped + failed.

    Attributes
    ----------
    found : int
        Tracks in the splits.
    made, skipped : int
        Tracks that got their features now, and before.
    failures : list of FeatureFailure
        The others.
    """

    found: int
    made: int
    skipped: int
    failures: list[FeatureFailure]


@dataclass(frozen=True)
class _Job:
    track_id: str
    audio: Path
    target: Path


def feature_path(root: DataRoot, track_id: str) -> Path:
    """Where the features of a track lie."""
    return root.features / f"{track_id}.npy"


def prepare_features(
    root: DataRoot,
    *,
    sample_rate: int = 16_000,
    n_mels: int = 128,
    num_workers: int | None = None,
    parts: Sequence[str] = SPLITS,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureReport:
    """Compute the features of every track of the splits, as ``processed/features/<track_id>.npy``.

    Every file is written whole or not at all, so an interrupted run goes on where it stopped. Features that are older
    than their audio are made again, and tracks that failed are tried again.

    Parameters
    ----------
    root : DataRoot
        The collection; it must have been divided.
    sample_rate, n_mels : int
        See `eno.cnn.features.AudioFeatureExtractor`.
    num_workers : int, optional
        Processes; one for each core by default. With several, a file that kills its process fails alone; with 0 or 1
        everything happens in this process.
    parts : sequence of str
        Which splits.
    on_progress : callable, optional
        Called with the numbers of tracks done and to do.

    Returns
    -------
    FeatureReport
        Failures are also in ``processed/features/failures.jsonl``.

    Raises
    ------
    CatalogueError
        A split cannot be read, or there are features of other settings.
    ConfigError
        A setting is out of range.
    """
    extractor = AudioFeatureExtractor(sample_rate, n_mels)
    ids = [track_id for part in parts for track_id in read_split(root.splits, part)["track_id"].to_pylist()]
    root.features.mkdir(parents=True, exist_ok=True)
    _agree_on_settings(root, extractor.settings)
    jobs = [_Job(one, printed_file(root.audio, one), feature_path(root, one)) for one in dict.fromkeys(ids)]
    todo = [job for job in jobs if not _is_current(job)]
    failures = []
    for done, (job, reason) in enumerate(_extract_all(extractor, todo, _processes(num_workers, len(todo))), 1):
        if reason is not None:
            failures.append(FeatureFailure(job.track_id, printable(job.audio), reason))
        if on_progress:
            on_progress(done, len(todo))
    tried = {job.track_id for job in jobs}
    others = [one for one in read_failures(root) if one.track_id not in tried]  # of other parts
    failures.sort(key=lambda one: one.track_id)
    write_json_lines(root.features / _FAILURES, map(asdict, [*others, *failures]))
    return FeatureReport(len(jobs), len(todo) - len(failures), len(jobs) - len(todo), failures)


def read_failures(root: DataRoot) -> list[FeatureFailure]:
    """Tracks whose features could not be made.

    Raises
    ------
    CatalogueError
        The ledger is damaged.
    """
    path = root.features / _FAILURES
    if not path.is_file():
        return []
    try:
        return [FeatureFailure(**json.loads(line)) for line in read_lines(path, CatalogueError)]
    except (ValueError, TypeError) as error:
        raise CatalogueError(f"{path}: is damaged ({error!r}). Remove it. {MAKE_FEATURES}") from error


def read_settings(root: DataRoot) -> dict[str, Any]:
    """What the features of a collection were made with; see `AudioFeatureExtractor.settings`.

    Raises
    ------
    CatalogueError
        There are no features, or the file is damaged.
    """
    path = root.features / _SETTINGS
    if not path.is_file():
        raise CatalogueError(f"{root.features}: holds no features ({_SETTINGS} is missing). {MAKE_FEATURES}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {**content, "sample_rate": int(content["sample_rate"]), "n_mels": int(content["n_mels"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CatalogueError(
            f"{path}: is damaged ({error!r}). Remove the folder {root.features}. {MAKE_FEATURES}"
        ) from error


def _agree_on_settings(root: DataRoot, wanted: dict[str, Any]) -> None:
    path = root.features / _SETTINGS
    if not path.is_file():
        write_json(path, wanted)
        return
    found = read_settings(root)
    differing = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if differing:
        sides = ", ".join(f"{key} {found.get(key)} there, {wanted.get(key)} now" for key in differing)
        raise CatalogueError(
            f"{path}: features of other settings ({sides}). Use the settings that are there, or remove the folder "
            f"{root.features} and make all features again."
        )


def _is_current(job: _Job) -> bool:
    try:
        made = job.target.stat().st_mtime_ns
    except OSError:
        return False
    try:
        return made >= job.audio.stat().st_mtime_ns
    except OSError:  # the audio is gone: what was made of it stays
        return True


def _processes(wanted: int | None, jobs: int) -> int:
    return min(usable_cores() if wanted is None else wanted, jobs)


def _extract_all(
    extractor: AudioFeatureExtractor, jobs: Sequence[_Job], processes: int
) -> Iterator[tuple[_Job, str | None]]:
    """Give every job with the reason of its failure, or None, as they are done."""
    if processes <= 1:
        yield from ((job, _extract(extractor, job)) for job in jobs)
        return
    todo = deque(jobs)
    while todo:
        # Of the files that were under way when a process died, each is tried alone, to learn which one it was.
        for job in (yield from _extract_in_processes(extractor, todo, processes)):
            if (yield from _extract_in_processes(extractor, deque([job]), 1)):
                yield job, "kills the process that decodes it; convert or remove it"


def _extract_in_processes(
    extractor: AudioFeatureExtractor, todo: deque[_Job], processes: int
) -> Generator[tuple[_Job, str | None], None, list[_Job]]:
    """Take jobs from the queue until it is empty or a process dies; return those that were under way then."""
    running: dict[Future[str | None], _Job] = {}
    with _pool(extractor, processes) as pool:
        while todo or running:
            try:
                while todo and len(running) < processes * _AHEAD:
                    running[pool.submit(_extract_there, todo[0])] = todo[0]
                    todo.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    reason = future.result()
                    yield running.pop(future), reason
            except BrokenProcessPool:
                return list(running.values())
    return []


@contextmanager
def _pool(extractor: AudioFeatureExtractor, processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, because forking a process that has threads can hang.
    context = multiprocessing.get_context("spawn")
    settings = (extractor.sample_rate, extractor.n_mels)
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_process, initargs=settings)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process(sample_rate: int, n_mels: int) -> None:
    global _extractor
    torch.set_num_threads(1)  # the other cores have files of their own
    _extractor = AudioFeatureExtractor(sample_rate, n_mels)


_extractor: AudioFeatureExtractor


def _extract_there(job: _Job) -> str | None:
    return _extract(_extractor, job)


def _extract(extractor: AudioFeatureExtractor, job: _Job) -> str | None:
    """Write the features of a track; give the reason if that fails, since one file must not stop the others."""
    try:
        features = extractor.extract(job.audio).numpy()
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(job.target) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    except AudioError as error:
        return printable(error.reason)
    except Exception as error:
        logger.debug("%s", printable(job.audio), exc_info=True)
        reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        return printable(f"features cannot be made ({reason})")
    return None

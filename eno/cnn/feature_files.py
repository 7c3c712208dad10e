"""The features of a collection: one NumPy file a track, made once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eno.audio.worker_pool import FILE_TIMEOUT_S, TaskDone, TaskFailed, WorkerPool
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
    file_timeout_s: float = FILE_TIMEOUT_S,
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
        Worker processes; one for each core by default. A file that crashes its worker fails alone. With 0 everything
        happens in this process, without a timeout.
    file_timeout_s : float
        Longest time that a worker may take for a file.
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
    processes = usable_cores() if num_workers is None else num_workers
    for done, (job, reason) in enumerate(_extract_all(extractor, todo, processes, file_timeout_s), 1):
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


def _extract_all(
    extractor: AudioFeatureExtractor, jobs: Sequence[_Job], processes: int, file_timeout_s: float
) -> Iterator[tuple[_Job, str | None]]:
    """Yield every job with the reason of its failure, or None, as they are done."""
    if processes < 1:
        yield from ((job, _extract(extractor, job)) for job in jobs)
        return
    work = _Extraction(extractor.sample_rate, extractor.n_mels, _extract)
    with WorkerPool(work, workers=processes, timeout_s=file_timeout_s) as pool:
        for event in pool.run(jobs):
            if isinstance(event, TaskDone):
                yield event.task, event.result
            elif isinstance(event, TaskFailed):
                yield event.task, event.reason


@dataclass(frozen=True)
class _Extraction:
    """What a worker runs."""

    sample_rate: int
    n_mels: int
    extract: Callable[[AudioFeatureExtractor, _Job], str | None]

    def __call__(self, job: _Job) -> str | None:
        return self.extract(_extractor(self.sample_rate, self.n_mels), job)


@cache
def _extractor(sample_rate: int, n_mels: int) -> AudioFeatureExtractor:
    torch.set_num_threads(1)  # the other cores have files of their own
    return AudioFeatureExtractor(sample_rate, n_mels)


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

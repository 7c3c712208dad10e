"""Precomputed features of a collection, one NumPy file per track."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from eno.audio.workers.handle import TaskDone, TaskFailed
from eno.audio.workers.pool import FILE_TIMEOUT_S, WorkerPool
from eno.cnn.features import AudioFeatureExtractor
from eno.cores import usable_cores
from eno.data.layout import DataRoot
from eno.data.library.outlines import read_sections
from eno.data.splits.artist_split import read_split
from eno.data.splits.stratify import SPLITS
from eno.errors import AudioError, CatalogueError
from eno.files import (
    AudioRoots,
    Section,
    parse_json_lines,
    printable,
    read_lines,
    replace_file,
    write_json,
    write_json_lines,
)

logger = logging.getLogger(__name__)

MAKE_FEATURES = "Compute them with: python scripts/prepare_data.py"
_SETTINGS, _FAILURES, _SOURCES = "features.json", "failures.jsonl", "sources.jsonl"

_Stamp = tuple[int, int, Section | None]  # size and modification time of an audio file, and which part of it


@dataclass(frozen=True)
class FeatureFailure:
    """A track whose features could not be computed."""

    track_id: str
    path: str
    reason: str


@dataclass(frozen=True)
class FeatureReport:
    """Numbers of tracks: found = made + skipped (up to date) + failed."""

    found: int
    made: int
    skipped: int
    failures: list[FeatureFailure]


@dataclass(frozen=True)
class _Job:
    track_id: str
    audio: Path
    target: Path
    stamp: _Stamp | None  # None if the audio is gone
    section: Section | None


def feature_path(root: DataRoot, track_id: str) -> Path:
    """Return the path of a track's feature file."""
    return root.features / f"{track_id}.npy"


def prepare_features(
    root: DataRoot,
    *,
    sample_rate: int = 16_000,
    n_mels: int = 128,
    num_workers: int | None = None,
    file_timeout_s: float = FILE_TIMEOUT_S,
    splits: Sequence[str] = SPLITS,
    audio_roots: AudioRoots | Path | str | Iterable[Path | str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureReport:
    """Compute the features of all tracks of the splits, as ``processed/features/<track_id>.npy``.

    An interrupted run can be continued. The features of audio whose size or modification time differs from that in
    ``processed/features/sources.jsonl`` are recomputed, and failed tracks, which are listed in
    ``processed/features/failures.jsonl``, are tried again.

    Parameters
    ----------
    num_workers : int, optional
        Worker processes; one per core by default. A file that crashes its worker does not affect the others. With 0,
        this process computes everything, without a timeout.
    audio_roots : AudioRoots, Path, str or iterable of these, optional
        Folders of the audio files; ``raw/audio`` by default.
    on_progress : callable, optional
        Called with the numbers of tracks done and to do.

    Raises
    ------
    CatalogueError
        A split cannot be read, or the existing features have other settings.
    """
    extractor = AudioFeatureExtractor(sample_rate, n_mels)
    roots = AudioRoots.of(root.audio if audio_roots is None else audio_roots)
    roots = replace(roots, sections=roots.sections or read_sections(root.tracks))
    ids = [track_id for split in splits for track_id in read_split(root.splits, split)["track_id"].to_pylist()]
    root.features.mkdir(parents=True, exist_ok=True)
    _check_settings(root, extractor.settings)
    jobs = [_job(root, one, roots) for one in dict.fromkeys(ids)]
    sources = _read_sources(root)
    todo = [job for job in jobs if not _is_current(job, sources.get(job.track_id))]
    made = {job.track_id: job.stamp for job in jobs} | {job.track_id: None for job in todo}
    failures = []
    processes = usable_cores() if num_workers is None else num_workers
    try:
        for done, (job, reason) in enumerate(_extract_all(extractor, todo, processes, file_timeout_s), 1):
            if reason is None:
                made[job.track_id] = job.stamp
            else:
                failures.append(FeatureFailure(job.track_id, printable(job.audio), reason))
            if on_progress:
                on_progress(done, len(todo))
    finally:
        sources |= {track_id: stamp for track_id, stamp in made.items() if stamp is not None}
        rows = (
            {"track_id": one, "size": size, "mtime_ns": mtime} | ({"section": section} if section else {})
            for one, (size, mtime, section) in sorted(sources.items())
        )
        write_json_lines(root.features / _SOURCES, rows)
    tried = {job.track_id for job in jobs}
    others = [one for one in read_failures(root) if one.track_id not in tried]  # of other splits
    failures.sort(key=lambda one: one.track_id)
    write_json_lines(root.features / _FAILURES, map(asdict, [*others, *failures]))
    return FeatureReport(len(jobs), len(todo) - len(failures), len(jobs) - len(todo), failures)


def read_failures(root: DataRoot) -> list[FeatureFailure]:
    """Return the tracks whose features could not be computed."""
    path = root.features / _FAILURES
    if not path.is_file():
        return []
    try:
        rows = parse_json_lines(read_lines(path, CatalogueError), str(path), CatalogueError)
        return [FeatureFailure(**row) for _, row in rows]
    except (ValueError, TypeError) as error:
        raise CatalogueError(f"{path}: is damaged ({error!r}). Remove it. {MAKE_FEATURES}") from error


def read_settings(root: DataRoot) -> dict[str, Any]:
    """Return the settings of the features of a collection; see `AudioFeatureExtractor.settings`."""
    path = root.features / _SETTINGS
    if not path.is_file():
        raise CatalogueError(f"{root.features}: has no features ({_SETTINGS} is missing). {MAKE_FEATURES}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {**content, "sample_rate": int(content["sample_rate"]), "n_mels": int(content["n_mels"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CatalogueError(
            f"{path}: is damaged ({error!r}). Remove the folder {root.features}. {MAKE_FEATURES}"
        ) from error


def _check_settings(root: DataRoot, wanted: dict[str, Any]) -> None:
    path = root.features / _SETTINGS
    if not path.is_file():
        write_json(path, wanted)
        return
    found = read_settings(root)
    differing = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if differing:
        sides = ", ".join(f"{key} is {found.get(key)} there and {wanted.get(key)} now" for key in differing)
        raise CatalogueError(
            f"{path}: the existing features have other settings ({sides}). Use the same settings, or remove the folder "
            f"{root.features} to recompute all features."
        )


def _job(root: DataRoot, track_id: str, roots: AudioRoots) -> _Job:
    audio, section = roots.file(track_id), roots.section(track_id)
    try:
        status = audio.stat()
    except OSError:
        return _Job(track_id, audio, feature_path(root, track_id), None, section)
    stamp = (status.st_size, status.st_mtime_ns, section)
    return _Job(track_id, audio, feature_path(root, track_id), stamp, section)


def _is_current(job: _Job, source: _Stamp | None) -> bool:
    """Whether the features are those of the audio, of which `source` is the stamp at that time if it is known."""
    try:
        made = job.target.stat().st_mtime_ns
    except OSError:
        return False
    if job.stamp is None:  # the audio is gone, its features stay
        return True
    return job.stamp == source if source else made >= job.stamp[1]


def _read_sources(root: DataRoot) -> dict[str, _Stamp]:
    path = root.features / _SOURCES
    if not path.is_file():  # the features are by an earlier version
        return {}
    try:
        rows = parse_json_lines(read_lines(path, CatalogueError), str(path), CatalogueError)
        return {
            row["track_id"]: (
                int(row["size"]),
                int(row["mtime_ns"]),
                Section(*map(float, row["section"])) if "section" in row else None,
            )
            for _, row in rows
        }
    except (ValueError, TypeError, KeyError) as error:
        raise CatalogueError(f"{path}: is damaged ({error!r}). Remove it. {MAKE_FEATURES}") from error


def _extract_all(
    extractor: AudioFeatureExtractor, jobs: Sequence[_Job], processes: int, file_timeout_s: float
) -> Iterator[tuple[_Job, str | None]]:
    """Yield each job as it finishes, with the reason of its failure or None."""
    if processes < 1:
        yield from ((job, _extract(extractor, job)) for job in jobs)
        return
    work = partial(_extract_in_worker, _extract, extractor.sample_rate, extractor.n_mels)
    with WorkerPool(work, workers=processes, timeout_s=file_timeout_s) as pool:
        for event in pool.run(jobs):
            if isinstance(event, TaskDone):
                yield event.task, event.result
            elif isinstance(event, TaskFailed):
                yield event.task, event.reason


def _extract_in_worker(
    extract: Callable[[AudioFeatureExtractor, _Job], str | None], sample_rate: int, n_mels: int, job: _Job
) -> str | None:
    return extract(_worker_extractor(sample_rate, n_mels), job)


@cache
def _worker_extractor(sample_rate: int, n_mels: int) -> AudioFeatureExtractor:
    torch.set_num_threads(1)  # the other cores process other files
    return AudioFeatureExtractor(sample_rate, n_mels)


def _extract(extractor: AudioFeatureExtractor, job: _Job) -> str | None:
    """Write the features of a track. Return the reason of a failure, because one file must not stop the others."""
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(job.target) as temporary, temporary.open("wb") as file:
            extractor.extract_to(job.audio, file, job.section)
    except AudioError as error:
        return printable(error.reason)
    except Exception as error:
        logger.debug("%s", printable(job.audio), exc_info=True)
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        return printable(f"features cannot be computed ({reason})")
    return None

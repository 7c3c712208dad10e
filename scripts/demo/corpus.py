"""Build the demo corpus: rendered albums of real tunes, in the layout and with the metadata of a user's own music."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eno.errors import ConfigError, MissingExtra
from eno.files import write_json, write_json_lines
from scripts.demo.album import Album
from scripts.demo.catalogue import Tune
from scripts.demo.plan import Reading, plan_albums, try_read
from scripts.demo.render import Job, render
from scripts.demo.soundfont import corrected_soundfont, find_soundfont

CORPUS_VERSION = 2
"""Increased by every change of the code that changes the corpus of the same arguments."""

_UNFINISHED = "corpus.unfinished.json"

Progress = Callable[[str, int, int], None]
"""Called with ``"reading scores"`` or ``"rendering"``, the number done and the total.

Scores are read in several rounds, which are counted separately, until enough are usable.
"""

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class CorpusSummary:
    """Size and folder of a corpus; `reused` if it had already been built."""

    root: Path
    albums: int
    tracks: int
    reused: bool


def build_corpus(
    root: Path,
    *,
    tracks: int = 600,
    duration_s: float = 30.0,
    seed: int = 0,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> CorpusSummary:
    """Render tunes from music21's bundled scores to albums, with metadata in the format of Lute.

    Files are ``raw/audio/<file_name of the album>/<number> - <title>.<ogg or flac>``, ``raw/metadata/lute.jsonl`` (for
    ``eno import lute``) and finally ``corpus.json``. An interrupted build is continued.

    Parameters
    ----------
    tracks : int
        Number of tracks, about six per album.
    seed : int
        The same seed yields the same albums and samples.
    workers : int, optional
        Worker processes; by default one per core. The result does not depend on it.

    Raises
    ------
    MissingExtra
        music21, symusic or pretty_midi is not installed.
    ConfigError
        The folder contains something else, or there are not enough tunes.
    """
    if min(tracks, duration_s, workers or 1) < 1:
        raise ConfigError(f"Tracks, seconds and workers must be at least 1; got {tracks=}, {duration_s=}, {workers=}.")
    arguments = {"version": CORPUS_VERSION, "seed": seed, "tracks": tracks, "duration_s": duration_s}
    finished = root / "corpus.json"
    if finished.is_file():
        manifest = _expect(finished, arguments)
        return CorpusSummary(root, manifest["albums"], manifest["tracks"], reused=True)
    soundfont = _require_packages()
    recipe = {**arguments, **_versions(soundfont)}
    started = root / _UNFINISHED
    if started.is_file():
        _expect(started, recipe)
    elif (root / "raw").exists():
        raise ConfigError(f"{root / 'raw'}: was not created by the demo. Choose another folder.")
    albums, skipped = _render_albums(root, recipe, workers or os.cpu_count() or 1, on_progress)
    metadata = root / "raw" / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    write_json_lines(metadata / "lute.jsonl", (album.row(duration_s) for album in albums))
    write_json(finished, {**recipe, "albums": len(albums), "skipped": skipped})
    started.unlink()
    return CorpusSummary(root, len(albums), tracks, reused=False)


def planned_albums(root: Path, *, workers: int | None = None) -> list[Album]:
    """Recompute the albums of a finished corpus, with the tune and performance of every track.

    Raises
    ------
    MissingExtra
        music21, symusic or pretty_midi is not installed.
    ConfigError
        There is no finished corpus, or it was built with other versions of the packages or of eno.
    """
    finished = root / "corpus.json"
    if not finished.is_file():
        raise ConfigError(f"{root}: no finished demo corpus ({finished.name} is missing). Build it with: make demo")
    recipe = _expect(finished, {"version": CORPUS_VERSION, **_versions(_require_packages())})
    with worker_pool(workers or os.cpu_count() or 1) as run:
        albums, _ = plan_albums(
            recipe["tracks"],
            duration_s=recipe["duration_s"],
            seed=recipe["seed"],
            read=lambda tunes: run(try_read, tunes),
        )
    return albums


def _render_albums(
    root: Path, recipe: dict[str, Any], workers: int, on_progress: Progress | None
) -> tuple[list[Album], dict[str, str]]:
    """Plan the albums and render the missing tracks."""
    report = on_progress or (lambda stage, done, total: None)
    with worker_pool(workers) as run:

        def read(tunes: Sequence[Tune]) -> Iterator[Reading]:
            return _counted("reading scores", run(try_read, tunes), len(tunes), report)

        albums, skipped = plan_albums(recipe["tracks"], duration_s=recipe["duration_s"], seed=recipe["seed"], read=read)
        jobs = [job for number, album in enumerate(albums) for job in _jobs(album, number, root, recipe)]
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / _UNFINISHED, recipe)
        with corrected_soundfont() as soundfont:
            results = run(functools.partial(_render_once, soundfont=soundfont), jobs)
            for _ in _counted("rendering", results, len(jobs), report):
                pass
    return albums, skipped


def _jobs(album: Album, number: int, root: Path, recipe: dict[str, Any]) -> Iterator[Job]:
    folder = root / "raw" / "audio" / album.file_name
    for position, (name, performance) in enumerate(zip(album.track_files, album.performances, strict=True)):
        seed = (recipe["seed"], 2, number, position)
        yield Job(folder / name, performance, album.rendering, recipe["duration_s"], seed)


def _render_once(job: Job, soundfont: Path) -> None:
    if not job.path.is_file():
        job.path.parent.mkdir(parents=True, exist_ok=True)
        render(job, soundfont)


def _require_packages() -> Path:
    for package in ("music21", "symusic"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("demo", package)
    return find_soundfont()


def _versions(soundfont: Path) -> dict[str, str]:
    return {
        "music21": importlib.metadata.version("music21"),
        "symusic": importlib.metadata.version("symusic"),
        "soundfont_sha256": hashlib.sha256(soundfont.read_bytes()).hexdigest(),
    }


def _expect(path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Read a manifest; raise `ConfigError` unless it has the expected values."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    differing = [key for key, value in wanted.items() if found.get(key) != value]
    if differing:
        sides = ", ".join(f"{key} {found.get(key)!r} instead of {wanted[key]!r}" for key in differing)
        raise ConfigError(f"{path}: belongs to another corpus: {sides}. Choose another folder or delete this one.")
    return found


def _counted(stage: str, results: Iterable[_R], total: int, report: Progress) -> Iterator[_R]:
    for done, result in enumerate(results, 1):
        yield result
        report(stage, done, total)


@contextmanager
def worker_pool(workers: int) -> Iterator[Callable[[Callable[[_T], _R], Sequence[_T]], Iterable[_R]]]:
    """Return an order-preserving map over worker processes, or the built-in one for a single worker."""
    if workers == 1:
        yield map
        return
    # Spawn, since forking a process with threads (torch, pyarrow) can hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        try:
            yield executor.map
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise

"""Copies and renditions of the demo's tracks, to evaluate the search for duplicates.

A copy is the same recording in another file and should be found; a rendition is another performance of the tune and
should not.
"""

from __future__ import annotations

import functools
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from eno.errors import CatalogueError, UnknownName
from eno.files import replace_file
from scripts.demo.audio_files import write_audio
from scripts.demo.corpus import planned_albums, worker_pool
from scripts.demo.instruments import PROGRAMS, TEMPI, Rendering
from scripts.demo.performance import Performance, perform
from scripts.demo.plan import PITCHES
from scripts.demo.render import Job, render
from scripts.demo.scores import Score, read_score
from scripts.demo.soundfont import corrected_soundfont

Audio = NDArray[np.float32]  # [shape=(samples, channels)]

_OPUS_RATE = 48_000  # the only rate of Opus
_TRIM_START_S, _TRIM_END_S = 2.5, 4.0
_PAD_START_S, _PAD_END_S = 2.0, 3.0
_TRANSPOSITIONS = (-5, -4, -3, -2, 2, 3, 4, 5)  # semitones


@dataclass(frozen=True)
class Variant:
    """A file derived from a track, at ``<destination>/<kind>/<id of the track, with the suffix of its format>``.

    Attributes
    ----------
    kind : str
        One of `COPIES` or `RENDITIONS`.
    same_recording : bool
        Whether it is a copy.
    """

    path: Path
    source_track_id: str
    kind: str
    same_recording: bool


@dataclass(frozen=True)
class _Copy:
    """How a kind of copy changes the samples, and in which format it is written."""

    suffix: str = ".flac"
    kbps: int | None = None
    change: Callable[[Audio, int], Audio] = lambda audio, rate: audio
    rate: int | None = None


def _trim(audio: Audio, rate: int, *, start_s: float = 0.0, end_s: float = 0.0) -> Audio:
    return audio[round(start_s * rate) : len(audio) - round(end_s * rate)]


def _pad(audio: Audio, rate: int) -> Audio:
    return np.pad(audio, ((round(_PAD_START_S * rate), round(_PAD_END_S * rate)), (0, 0)))


def _gain(audio: Audio, rate: int, *, db: float) -> Audio:
    return audio * np.float32(10 ** (db / 20))


def _mono(audio: Audio, rate: int) -> Audio:
    mixed: Audio = audio.mean(axis=1, keepdims=True)
    return mixed


_COPIES: Mapping[str, _Copy] = {
    "mp3-64": _Copy(".mp3", kbps=64),
    "mp3-128": _Copy(".mp3", kbps=128),
    "mp3-320": _Copy(".mp3", kbps=320),
    "ogg": _Copy(".ogg"),
    "opus": _Copy(".opus", rate=_OPUS_RATE),
    "flac": _Copy(),
    "trimmed-start": _Copy(change=functools.partial(_trim, start_s=_TRIM_START_S)),
    "trimmed-end": _Copy(change=functools.partial(_trim, end_s=_TRIM_END_S)),
    "trimmed-both": _Copy(change=functools.partial(_trim, start_s=_TRIM_START_S, end_s=_TRIM_END_S)),
    "padded": _Copy(change=_pad),
    "gain-6db": _Copy(change=functools.partial(_gain, db=-6.0)),
    "gain-12db": _Copy(change=functools.partial(_gain, db=-12.0)),
    "22050hz": _Copy(rate=22_050),
    "48000hz": _Copy(rate=48_000),
    "mono": _Copy(change=_mono),
}

COPIES: tuple[str, ...] = tuple(_COPIES)
"""Kinds of copies: MP3 with 64, 128 and 320 kbit/s, Vorbis, Opus, FLAC; and in FLAC: without the first 2.5 s, the last
4 s or both; padded with 2 s and 3 s of silence; 6 and 12 dB softer; at other sample rates; in mono."""

RENDITIONS: tuple[str, ...] = ("take", "instrument", "tempo", "transposed")
"""Kinds of renditions: another take with different loudness, timing and room and a slightly different tempo; on an
instrument of another family; at another of the demo's three tempi; transposed by two to five semitones."""


def write_copies(
    audio_root: Path,
    track_ids: Sequence[str],
    destination: Path,
    *,
    kinds: Sequence[str] = COPIES,
    workers: int | None = None,
) -> list[Variant]:
    """Write copies of recordings as they occur in collections, sorted by track and then by kind.

    Parameters
    ----------
    audio_root : Path
        Folder of the tracks, which must be readable by libsndfile.
    destination : Path
        Folder for the copies. Existing files of the same name are replaced.
    workers : int, optional
        Worker processes; by default one per core.

    Raises
    ------
    UnknownName
        There is no such kind.
    CatalogueError
        A track does not exist.
    """
    _require_kinds(kinds, COPIES)
    for track_id in track_ids:
        if not (audio_root / track_id).is_file():
            raise CatalogueError(f"{track_id}: no such file in {audio_root}.")
    with worker_pool(workers or os.cpu_count() or 1) as run:
        one = functools.partial(_copy_track, audio_root=audio_root, destination=destination, kinds=tuple(kinds))
        return [variant for variants in run(one, track_ids) for variant in variants]


def _copy_track(track_id: str, *, audio_root: Path, destination: Path, kinds: Sequence[str]) -> list[Variant]:
    audio, rate = sf.read(audio_root / track_id, dtype="float32", always_2d=True)
    variants = []
    for kind in kinds:
        copy = _COPIES[kind]
        path = _place(destination, kind, track_id, copy.suffix)
        changed = copy.change(audio, rate)
        if copy.rate not in (None, rate):
            changed = soxr.resample(changed, rate, copy.rate)
        with replace_file(path) as temporary:
            write_audio(temporary, changed, copy.rate or rate, suffix=copy.suffix, kbps=copy.kbps)
        variants.append(Variant(path, track_id, kind, same_recording=True))
    return variants


def write_renditions(
    data_root: Path,
    track_ids: Sequence[str],
    destination: Path,
    *,
    kinds: Sequence[str] = RENDITIONS,
    seed: int = 0,
    workers: int | None = None,
) -> list[Variant]:
    """Render other performances of the demo's tunes, sorted by track and then by kind.

    Parameters
    ----------
    data_root : Path
        Folder of the corpus. Its scores are read again, which takes a minute.
    destination : Path
        Folder for the renditions. Existing files of the same name are replaced.
    seed : int
        The same seed yields the same samples.
    workers : int, optional
        Worker processes; by default one per core.

    Raises
    ------
    UnknownName
        There is no such kind.
    CatalogueError
        A track is not in the corpus.
    ConfigError
        The corpus is unfinished, or was built with other versions of the packages or of eno.
    """
    _require_kinds(kinds, RENDITIONS)
    albums = planned_albums(data_root, workers=workers)
    tunes = {
        f"{album.file_name}/{name}": (album, tune)
        for album in albums
        for name, tune in zip(album.track_files, album.tunes, strict=True)
    }
    unknown = [track_id for track_id in track_ids if track_id not in tunes]
    if unknown:
        raise CatalogueError(f"{unknown[0]}: not a track of the corpus in {data_root}.")
    duration_s = json.loads((data_root / "corpus.json").read_text("utf-8"))["duration_s"]
    jobs, variants = [], []
    for track_id in track_ids:
        album, tune = tunes[track_id]
        score = read_score(tune)
        for kind in kinds:
            path = _place(destination, kind, track_id, album.rendering.suffix)
            draw = (seed, zlib.crc32(track_id.encode()), zlib.crc32(kind.encode()))
            performance, rendering = _play(score, tune.beat_q, album.rendering, kind, duration_s, draw)
            jobs.append(Job(path, performance, rendering, duration_s, draw))
            variants.append(Variant(path, track_id, kind, same_recording=False))
    with corrected_soundfont() as soundfont, worker_pool(workers or os.cpu_count() or 1) as run:
        for _ in run(functools.partial(render, soundfont=soundfont), jobs):
            pass
    return variants


def _play(
    score: Score, beat_q: float, rendering: Rendering, kind: str, duration_s: float, draw: tuple[int, ...]
) -> tuple[Performance, Rendering]:
    rng = np.random.default_rng(draw)
    if kind == "instrument":
        programs = [program for program in PROGRAMS if program.family != rendering.program.family]
        rendering = replace(rendering, program=programs[rng.integers(len(programs))])
    elif kind == "tempo":
        tempi = [tempo for tempo in TEMPI if tempo != rendering.tempo]
        rendering = replace(rendering, tempo=tempi[rng.integers(len(tempi))])
    performance = perform(score, beat_q=beat_q, rendering=rendering, duration_s=duration_s, rng=rng)
    if kind == "transposed":
        pitches = performance.notes[:, 2]
        low, high = PITCHES[0] - pitches.min(), PITCHES[1] - pitches.max()
        performance.notes[:, 2] += rng.choice([shift for shift in _TRANSPOSITIONS if low <= shift <= high])
    return performance, rendering


def _place(destination: Path, kind: str, track_id: str, suffix: str) -> Path:
    path = destination / kind / PurePosixPath(track_id).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _require_kinds(kinds: Sequence[str], known: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in known:
            raise UnknownName("kind of variant", kind, known)

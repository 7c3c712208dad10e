"""Plots of one track in the exploration report: choice and preparation of the track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.audio_file import open_audio
from eno.data.lute.albums import LABEL_COLUMNS
from eno.errors import AudioError, CatalogueError
from eno.exploration.statistics import PICTURE_S, TrackPicture
from eno.files import AudioRoots, Section

_PICTURE_RATE = 22_050
_PICTURE_COLUMNS = 1000
_TRIED = 10


def choose_track(
    audio_roots: AudioRoots, tracks: pa.Table, matches: pa.Table | None, albums: pa.Table, wanted: str | None
) -> tuple[TrackPicture | None, str | None]:
    """Prepare the track with the id `wanted`, or else the first readable one that has an album, for plotting.

    If there is none, the reason is returned instead.
    """
    album_of = {}
    if matches is not None:
        album_of = dict(zip(matches["track_id"].to_pylist(), matches["file_name"].to_pylist(), strict=True))
    readable = tracks.filter(pc.is_null(tracks["problem"]))["track_id"].to_pylist()
    if wanted is not None and wanted not in tracks["track_id"].to_pylist():
        raise CatalogueError(f"{wanted!r} is not in the tracks table. If the file is new, run: eno scan")
    candidates = [wanted] if wanted is not None else sorted(readable, key=lambda one: not album_of.get(one))[:_TRIED]
    problem = "No track is pictured: none is readable."
    for chosen in candidates:
        try:
            samples = _start_of(audio_roots.file(chosen), audio_roots.section(chosen))
        except AudioError as error:
            problem = f"No track is pictured: {error}"
            continue
        own = albums.filter(pc.equal(albums["file_name"], album_of.get(chosen) or "")).select(LABEL_COLUMNS).to_pylist()
        labels = [label for row in own for column in LABEL_COLUMNS for label in row[column] or () if label]
        return picture_track(chosen, samples, _PICTURE_RATE, labels), None
    return None, problem


def _start_of(path: Path, section: Section | None) -> np.ndarray:
    """Decode the beginning of a track; an hour of its features would need gigabytes."""
    with open_audio(path, section=section) as audio:
        samples = min(audio.samples(_PICTURE_RATE), PICTURE_S * _PICTURE_RATE)
        return audio.span(_PICTURE_RATE, 0, samples)


def picture_track(track_id: str, samples: np.ndarray, sample_rate: int, labels: list[str]) -> TrackPicture:
    """Prepare mono samples [shape=(samples,), dtype=float32] for plotting."""
    import torch
    import torchaudio

    edges = np.linspace(0, len(samples), min(_PICTURE_COLUMNS, len(samples)) + 1).astype(int)[:-1]
    envelope = np.stack([np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)])
    mel = torchaudio.transforms.MelSpectrogram(sample_rate=sample_rate, n_mels=128, n_fft=2048, hop_length=512)
    power = mel(torch.from_numpy(samples)).numpy()
    mel_db = 10 * np.log10(np.maximum(power, power.max() * 1e-8 + 1e-12))
    return TrackPicture(
        track_id, labels, len(samples) / sample_rate, envelope, samples[: 5 * sample_rate], mel_db, sample_rate
    )

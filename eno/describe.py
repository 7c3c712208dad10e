"""Descriptions of files, stores, predictors and the installation, as names and values."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from eno.config import Settings
from eno.errors import EnoError
from eno.version import __version__

if TYPE_CHECKING:
    from eno.spec import EncoderSpec


def describe(path: Path) -> dict[str, str]:
    """Describe an audio file, an embedding store or a predictor."""
    if not path.is_dir():
        return _audio(path)
    if (path / "manifest.json").is_file():
        return describe_store(path)
    if (path / "predictor.json").is_file():
        return _predictor(path)
    raise EnoError(f"{path}: is a folder, expected an audio file, an embedding store or a predictor.")


def describe_installation(settings: Settings) -> dict[str, str]:
    """Describe the installation: versions, devices, encoders, heads and folders."""
    import torch

    from eno.encoders import ENCODERS
    from eno.files import cache_folder
    from eno.models import HEADS

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "eno": __version__,
        "Python": platform.python_version(),
        "PyTorch": f"{torch.__version__}, {torch.get_num_threads()} CPU threads, {', '.join(gpus) or 'no GPU'}",
        "encoders": ", ".join(ENCODERS),
        "heads": ", ".join(HEADS),
        "data_root": str(settings.data_root),
        "embeddings": settings.embeddings,
        "cache": str(cache_folder()),
    }


def _audio(path: Path) -> dict[str, str]:
    from eno.audio.reading import probe

    found = probe(path)
    return {
        "file": str(found.path),
        "format": f"{found.container} {found.codec}, decoded by {found.decoder}",
        "audio": f"{found.duration_s:.2f} s, {found.sample_rate} Hz, {found.channels} channels",
        "downmix": str(found.downmix),
    }


def describe_store(path: Path | str) -> dict[str, str]:
    """Describe an embedding store."""
    from eno.embeddings.store.embedding_store import EmbeddingStore

    store = EmbeddingStore.open(path)
    counts = store.summary()
    return {
        "store": str(path),
        "encoder": _encoder(store.spec),
        "vectors": f"{len(store.spec.layers)} × {store.spec.dim} {store.dtype} per {store.spec.window_s:.2f} s window",
        "windows": str(store.policy),
        "contents": f"{counts['tracks']} tracks, {counts['windows']} windows, {counts['failures']} failures"
        + f", {counts['gone']} deleted files" * bool(counts["gone"]),
        "size": f"{counts['parts']} parts, {counts['bytes'] / 1e6:.1f} MB",
    }


def _predictor(path: Path) -> dict[str, str]:
    from eno.data.labels.encoder import LabelEncoder
    from eno.inference.predictor_folder import read_description
    from eno.training.record import EVALUATION, TrainingRecord

    description = read_description(path)
    labels = LabelEncoder.load(path / "label_encoder.json")
    rows = {
        "predictor": str(path),
        "encoder": "; ".join(map(_encoder, description.specs)),
        "windows": ", ".join(dict.fromkeys(map(str, description.policies))),
        "labels": labels.describe(),
    }
    if (path / "training.json").is_file():
        record = TrainingRecord.load(path)
        tracks = ", ".join(f"{split} {count}" for split, count in record.tracks.items())
        rows["trained"] = f"{record.head} on {tracks} tracks in {record.seconds:.1f} s, {record.created}"
    metrics = path / EVALUATION / "metrics.json"
    if metrics.is_file():
        results = json.loads(metrics.read_text(encoding="utf-8"))
        figures = {level: results[level]["metrics"]["map_macro"] for level in ("tracks", "albums")}
        rows["mAP"] = ", ".join(f"{level} {value:.3f}" for level, value in figures.items())
    return rows


def _encoder(spec: EncoderSpec) -> str:
    settings = {**spec.location, **spec.options}
    return f"{spec.label}  " + ", ".join(f"{key} = {value}" for key, value in settings.items())

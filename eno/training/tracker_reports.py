"""Report training, evaluation, comparison and embedding to an experiment tracker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eno.spec import fingerprint_of, label_of
from eno.tracking.experiment import Experiment, NoExperiment, RegisteredModel
from eno.version import __version__

if TYPE_CHECKING:  # a command should import only what it reports
    from eno.embeddings.job.embed import EmbedProgress, EmbedReport
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.evaluation.evaluation import Evaluation, Level
    from eno.models import Head
    from eno.models.epochs import Epoch
    from eno.training.collection import Collection
    from eno.training.compare import ComparisonRow
    from eno.training.heads import TrainedPredictor

_METRICS = (
    "map_macro", "map_micro", "roc_auc_macro", "f1_macro", "f1_micro", "precision_macro", "recall_macro",
    "precision_micro", "recall_micro", "lrap", "hamming_loss", "ece",
)  # fmt: skip
_CURVES = {
    "train_loss": ("loss", "train"),
    "val_loss": ("loss", "validation"),
    "val_map": ("mAP", "validation"),
    "learning_rate": ("learning rate", "train"),
}
_EMBEDDING_VALUES = ("found", "embedded", "skipped", "failed", "left", "changed", "vanished", "seconds", "audio_s")
_POINTS = 200  # of a curve over an embedding job


def lineage(collection: Collection) -> dict[str, Any]:
    """Describe the data of a run: the store and its encoder, the splits, and the vocabulary."""
    from eno.training.collection import split_hash, split_ids

    store, labels = collection.store, collection.labels
    return {
        "store": str(store.path),
        "encoder": label_of(store.specs),
        "encoder_fingerprint": fingerprint_of(store.specs),
        "splits": str(collection.splits),
        "split_hash": split_hash(split_ids(collection.splits)),
        "tracks": collection.sizes(),
        "genres": labels.num_genres,
        "descriptors": labels.num_descriptors,
        **({"other_labels": {family: len(names) for family, names in labels.others.items()}} if labels.others else {}),
        "eno": __version__,
    }


def training_tag(model: Path) -> str:
    """Return the tag in the model registry of the predictor in a folder, which no other training shares."""
    from eno.training.record import RECORD

    return f"training {hashlib.sha256((model / RECORD).read_bytes()).hexdigest()[:12]}"


def epoch_reporter(experiment: Experiment) -> Callable[[Epoch], None] | None:
    """Return a callback that reports losses, mAP and learning rate after each epoch; None without a tracker."""
    if isinstance(experiment, NoExperiment):
        return None

    def report(epoch: Epoch) -> None:
        for name, (title, series) in _CURVES.items():
            value = getattr(epoch, name)
            if value is not None:
                experiment.scalar(title, series, value, epoch.number)

    return report


def report_predictor(experiment: Experiment, trained: TrainedPredictor, folder: Path) -> None:
    """Report a predictor saved in a folder: validation metrics, thresholds, selected options, and the model itself."""
    parts, record = trained.parts, trained.record
    labels = parts.labels.all_labels
    experiment.value("validation mAP", record.validation["map_macro"])
    experiment.value("seconds to fit", record.seconds)
    for rule, estimate in record.validation["rules"].items():
        for name, value in estimate.items():
            if isinstance(value, float):
                experiment.value(f"validation {name} by rule {rule}", value)
    if parts.calibration is not None:
        rows = zip(labels, record.train_positives, np.round(parts.calibration.thresholds, 4).tolist(), strict=True)
        experiment.table("thresholds", ("label", "training tracks", "threshold"), list(rows))
    experiment.tag(record.head, record.encoder, f"split {record.split_hash}")
    model = RegisteredModel(
        name=folder.resolve().name,
        folder=folder,
        labels=tuple(labels),
        fingerprint=record.encoder,
        tags=("eno", record.head, f"split {record.split_hash}", training_tag(folder)),
    )
    experiment.model(model)
    _report_selection(experiment, parts.head)


def _report_selection(experiment: Experiment, head: Head, name: str = "") -> None:
    """Report the settings that a head tried on the validation split, labels that failed, and weights of a blend."""
    tried = getattr(head, "val_map", None)
    if tried:
        rows = [(", ".join(map(str, key)) if isinstance(key, tuple) else key, value) for key, value in tried.items()]
        experiment.table(f"{name}settings tried".strip(), ("setting", "validation mAP"), rows)
    failures = getattr(head, "failures", None)
    if failures:
        experiment.table(f"{name}failed labels", ("label index", "reason"), list(failures.items()))
    members: Sequence[Head] = getattr(head, "members", ())
    if members:
        names = [type(member).__name__ for member in members]
        weights = np.mean(head.weights, axis=1).tolist()  # type: ignore[attr-defined]
        experiment.table("mean weights of the blend", ("head", "weight"), list(zip(names, weights, strict=True)))
        for member, title in zip(members, names, strict=True):
            _report_selection(experiment, member, f"{title}: ")


def report_evaluation(experiment: Experiment, found: Evaluation, folder: Path) -> None:
    """Report an evaluation and its files in a folder."""
    from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE

    for kind, level in (("track", found.tracks), ("album", found.albums)):
        for name in _METRICS:
            experiment.value(f"{kind} {name}", getattr(level.metrics, name))
    experiment.value("chance mAP", found.chance)
    rows = [[name, *_with_interval(found.tracks, name), *_with_interval(found.albums, name)] for name in _METRICS]
    experiment.table("metrics", ("metric", "tracks", "low", "high", "albums", "low", "high"), rows)
    _plot(experiment, found)
    experiment.table(
        "labels", found.per_label.column_names, [list(row.values()) for row in found.per_label.to_pylist()]
    )
    confused = [(one.missed, one.predicted, one.tracks, one.lift) for one in found.confused]
    experiment.table("confused labels", ("missed", "predicted instead", "tracks", "times chance"), confused)
    answers = {None: "unknown", True: "yes", False: "no"}
    findings = [(one.issue, answers[one.found], one.evidence, one.remedy) for one in found.findings]
    experiment.table("findings", ("issue", "found", "evidence", "remedy"), findings)
    for name in (METRICS_FILE, PER_LABEL_FILE, REPORT_FILE):
        experiment.artifact(name, folder / name)


def _plot(experiment: Experiment, found: Evaluation) -> None:
    curves = {f"{one.name} {one.average_precision:.2f}": (one.recall, one.precision) for one in found.precision_recall}
    experiment.lines("precision and recall", curves, x="recall", y="precision")
    limits = found.thresholds
    experiment.lines(
        "F1 with one threshold",
        {"macro": (limits.thresholds, limits.f1_macro), "micro": (limits.thresholds, limits.f1_micro)},
        x="threshold",
        y="F1",
    )
    kept = np.isfinite(found.reliability.observed)
    observed = (found.reliability.predicted[kept], found.reliability.observed[kept])
    experiment.lines(
        "reliability",
        {"observed": observed, "ideal": ((0, 1), (0, 1))},
        x="predicted probability",
        y="share of positives",
    )
    evaluated = [row for row in found.per_label.to_pylist() if row["average_precision"] is not None]
    points = ([row["train_positives"] for row in evaluated], [row["average_precision"] for row in evaluated])
    experiment.lines(
        "frequent and rare labels", {"label": points}, x="training tracks", y="average precision", markers=True
    )
    if found.error_map.labels:
        experiment.matrix(
            "joint errors, times chance", found.error_map.lift.tolist(), found.error_map.labels, x="label", y="label"
        )


def _with_interval(level: Level, name: str) -> list[float | None]:
    interval = level.intervals.get(name)
    ends = (None, None) if interval is None else (interval.low, interval.high)
    return [None if value is None else round(float(value), 4) for value in (getattr(level.metrics, name), *ends)]


def report_comparison(experiment: Experiment, rows: Sequence[ComparisonRow], files: Sequence[Path]) -> None:
    """Report a comparison and its files."""
    from eno.training.comparison_table import comparison_cells, conclusion

    experiment.table("comparison", *comparison_cells(rows))
    experiment.describe("conclusion", {"conclusion": conclusion(rows)})
    for row in rows:
        experiment.value(f"test mAP {row.encoder} {row.head}".strip(), row.metrics["map_macro"].value)
    for path in files:
        experiment.artifact(path.name, path)


def progress_reporter(experiment: Experiment) -> Callable[[EmbedProgress], None]:
    """Return a callback that reports the progress of an embedding job at a limited number of points."""
    last = 0

    def report(at: EmbedProgress) -> None:
        nonlocal last
        point = at.done * _POINTS // max(1, at.total)
        if point == last:
            return
        last = point
        experiment.scalar("rate", "tracks per second", at.tracks_per_s, at.done)
        experiment.scalar("rate", "hours of audio per hour", at.audio_hours_per_hour, at.done)
        experiment.scalar("failed", "tracks", at.failed, at.done)

    return report


def report_embedding(experiment: Experiment, report: EmbedReport, store: EmbeddingStore) -> None:
    """Report a finished embedding job and its store."""
    for name in _EMBEDDING_VALUES:
        experiment.value(name, getattr(report, name))
    experiment.value("coverage", report.coverage)
    facts = {"store": str(store.path), "encoder": store.spec.to_dict(), "windows": asdict(store.policy)}
    experiment.describe("data", {**facts, "encoder_fingerprint": store.spec.fingerprint, "eno": __version__})
    experiment.table("failed tracks", ("path", "reason"), [(one.path, one.reason) for one in report.failures])
    experiment.tag(store.spec.label)

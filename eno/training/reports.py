"""What an experiment tracker is told of training and judging."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eno import __version__
from eno.cnn.settings import Epoch
from eno.evaluation.evaluation import Evaluation, Level
from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE
from eno.inference.predictor_folder import PredictorParts
from eno.models import Head
from eno.tracking.experiment import Experiment, NoExperiment, RegisteredModel
from eno.training.compare import ComparisonRow
from eno.training.comparison import comparison_cells, conclusion
from eno.training.heads import TrainedHead
from eno.training.record import TrainingRecord
from eno.training.tracks import Collection, split_hash, split_ids

_HEADLINE = (
    "map_macro", "map_micro", "roc_auc_macro", "f1_macro", "f1_micro", "precision_macro", "recall_macro",
    "precision_micro", "recall_micro", "lrap", "hamming_loss", "ece",
)  # fmt: skip
_TITLES = {"train_loss": ("loss", "train"), "val_loss": ("loss", "validation"), "val_map": ("mAP", "validation")}


def lineage(collection: Collection) -> dict[str, Any]:
    """Say which data a run saw: the store with its fingerprint, the split with its hash, the vocabulary."""
    store, labels = collection.store, collection.labels
    return {
        "store": str(store.path),
        "encoder": store.spec.label,
        "encoder_fingerprint": store.spec.fingerprint,
        "splits": str(collection.splits),
        "split_hash": split_hash(split_ids(collection.splits)),
        "tracks": collection.sizes(),
        "genres": labels.num_genres,
        "descriptors": labels.num_descriptors,
        "eno": __version__,
    }


def epoch_reporter(experiment: Experiment) -> Callable[[int, dict[str, float]], None] | None:
    """Give what a head's ``on_epoch`` may be: it draws losses, mAP and the learning rate; None if nobody listens."""
    if isinstance(experiment, NoExperiment):
        return None

    def report(epoch: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            experiment.scalar(*_TITLES.get(name, (name.replace("_", " "), "train")), value, epoch)

    return report


def cnn_epoch_reporter(experiment: Experiment) -> Callable[[Epoch], None]:
    """Give what ``on_epoch`` of `eno.cnn.training.train_cnn` may be."""
    report = epoch_reporter(experiment)

    def of_epoch(epoch: Epoch) -> None:
        if report is None:
            return
        figures = {name: getattr(epoch, name) for name in ("train_loss", "val_loss", "val_map", "learning_rate")}
        report(epoch.number, {name: value for name, value in figures.items() if value is not None})

    return of_epoch


def report_head(experiment: Experiment, trained: TrainedHead, folder: Path) -> None:
    """Tell of a head that was trained and saved into a folder."""
    report_predictor(experiment, trained.parts, trained.record, folder)
    _report_choices(experiment, trained.head)


def report_predictor(experiment: Experiment, parts: PredictorParts, record: TrainingRecord, folder: Path) -> None:
    """Tell of a predictor that was saved into a folder: what validation says, its thresholds, and the model itself."""
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
    experiment.artifact("predictor", folder)
    model = RegisteredModel(
        name=folder.resolve().name,
        folder=folder,
        labels=tuple(labels),
        fingerprint=record.encoder,
        tags=("eno", record.head, f"split {record.split_hash}"),
    )
    experiment.model(model)


def _report_choices(experiment: Experiment, head: Head, name: str = "") -> None:
    """Tell what a head tried that has no epochs, and what it kept."""
    tried = getattr(head, "val_map", None)
    if tried:
        rows = [(", ".join(map(str, key)) if isinstance(key, tuple) else key, value) for key, value in tried.items()]
        experiment.table(f"{name}what was tried".strip(), ("setting", "validation mAP"), rows)
    failures = getattr(head, "failures", None)
    if failures:
        experiment.table(f"{name}failed labels", ("label number", "reason"), list(failures.items()))
    members: Sequence[Head] = getattr(head, "members", ())
    if members:
        names = [type(member).__name__ for member in members]
        weights = np.asarray(getattr(head, "weights", ())).tolist()
        experiment.table("weights of the blend", ("head", "weight"), list(zip(names, weights, strict=True)))
        for member, title in zip(members, names, strict=True):
            _report_choices(experiment, member, f"{title}: ")


def report_evaluation(experiment: Experiment, found: Evaluation, folder: Path) -> None:
    """Tell of an evaluation whose report was written into a folder."""
    for kind, level in (("track", found.tracks), ("album", found.albums)):
        for name in _HEADLINE:
            experiment.value(f"{kind} {name}", getattr(level.metrics, name))
    experiment.value("chance mAP", found.chance)
    experiment.table("metrics", ("metric", "tracks", "from", "to", "albums", "from", "to"), _metrics_rows(found))
    _draw(experiment, found)
    experiment.table(
        "labels", found.per_label.column_names, [list(row.values()) for row in found.per_label.to_pylist()]
    )
    confused = [(one.missed, one.predicted, one.tracks, one.lift) for one in found.confused]
    experiment.table("confused labels", ("missed", "predicted instead", "tracks", "times chance"), confused)
    findings = [(one.issue, _yes(one.found), one.evidence, one.remedy) for one in found.findings]
    experiment.table("findings", ("issue", "found", "evidence", "remedy"), findings)
    for name in (METRICS_FILE, PER_LABEL_FILE, REPORT_FILE):
        experiment.artifact(name, folder / name)


def _draw(experiment: Experiment, found: Evaluation) -> None:
    curves = {f"{one.name} {one.average_precision:.2f}": (one.recall, one.precision) for one in found.ranking}
    experiment.lines("precision and recall", curves, x="recall", y="precision")
    limits = found.thresholds
    experiment.lines(
        "F1 with one threshold",
        {"macro": (limits.thresholds, limits.f1_macro), "micro": (limits.thresholds, limits.f1_micro)},
        x="threshold",
        y="F1",
    )
    kept = np.isfinite(found.reliability.found)
    promise = (found.reliability.promised[kept], found.reliability.found[kept])
    experiment.lines("reliability", {"found": promise, "ideal": ((0, 1), (0, 1))}, x="promised", y="found")
    judged = [row for row in found.per_label.to_pylist() if row["average_precision"] is not None]
    points = ([row["train_positives"] for row in judged], [row["average_precision"] for row in judged])
    experiment.lines(
        "frequent and rare labels", {"label": points}, x="training tracks", y="average precision", markers=True
    )
    if found.error_map.labels:
        experiment.matrix(
            "errors together, times chance", found.error_map.lift.tolist(), found.error_map.labels, x="label", y="label"
        )


def _metrics_rows(found: Evaluation) -> list[list[Any]]:
    return [[name, *_with_range(found.tracks, name), *_with_range(found.albums, name)] for name in _HEADLINE]


def _with_range(level: Level, name: str) -> list[float | None]:
    interval = level.intervals.get(name)
    ends = (None, None) if interval is None else (interval.low, interval.high)
    values = (getattr(level.metrics, name), *ends)
    return [None if value is None or not np.isfinite(value) else round(float(value), 4) for value in values]


def _yes(found: bool | None) -> str:
    return "cannot be told" if found is None else "yes" if found else "no"


def report_comparison(experiment: Experiment, rows: Sequence[ComparisonRow], files: Sequence[Path]) -> None:
    """Tell of a comparison that was written into some files."""
    experiment.table("comparison", *comparison_cells(rows))
    experiment.describe("conclusion", {"conclusion": conclusion(rows)})
    for row in rows:
        experiment.value(f"test mAP {row.encoder} {row.head}".strip(), row.metrics["map_macro"].value)
    for path in files:
        experiment.artifact(path.name, path)

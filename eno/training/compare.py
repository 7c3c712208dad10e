"""Train several models on one split and compare them on the same test tracks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.labelled import read_labelled
from eno.data.splits.stratify import SPLITS
from eno.encoders import Encoder, is_own, load_encoder
from eno.errors import ConfigError
from eno.evaluation.confidence import Interval, intervals, paired_difference
from eno.evaluation.metrics import evaluate, prevalence_baseline
from eno.files import AudioRoots
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.spec import vector_shape
from eno.training.collection import Collection, SplitPredictions, label_weights
from eno.training.feedback import Corrections
from eno.training.heads import TrainedPredictor, train_head
from eno.training.record import HeadPlan

PREVALENCE = "prevalence"
"""The baseline that predicts the base rate of each label."""

_TIMED = 3  # files to measure the time per file


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model to train and compare; see `head_candidate` and `eno.cnn.predictor.cnn_candidate`.

    Attributes
    ----------
    encoder, head : str
        Names to show.
    folder_name : str
        Name of the predictor's folder.
    splits : Path
        Folder of the splits.
    train : callable
        Trains the model on a device, saves it as a predictor in a folder, and predicts the test split.
    dim : int
        Number of input values per track; 0 if it is not fixed.
    data : DataRoot or None
        The tables from which labels come, see `eno.training.collection.Collection`.
    """

    encoder: str
    head: str
    folder_name: str
    splits: Path
    labels: LabelEncoder
    train: Callable[[Path, str], tuple[TrainedPredictor, SplitPredictions]]
    dim: int = 0
    data: DataRoot | None = None

    @property
    def name(self) -> str:
        """Names of the encoder and the head."""
        return f"{self.encoder} {self.head}"


def head_candidate(
    encoder: str, collection: Collection, plan: HeadPlan, *, corrections: Corrections | None = None
) -> Candidate:
    """Return a head on the embeddings of a store as a candidate; `encoder` is the name to show."""

    def train(folder: Path, device: str) -> tuple[TrainedPredictor, SplitPredictions]:
        trained = train_head(collection, plan, device=device, checkpoint=folder, corrections=corrections)
        trained.save(folder)
        return trained, collection.predict(trained.parts, SPLITS[-1])

    dim = math.prod(vector_shape(collection.store.specs))
    folder_name = f"{encoder.replace(' + ', '+')}-{plan.head}"
    return Candidate(
        encoder, plan.head, folder_name, collection.splits, collection.labels, train, dim=dim, data=collection.data
    )


@dataclass(eq=False)
class ComparisonRow:
    """A model and its results on the test split.

    Attributes
    ----------
    val_map : float
        Macro mAP on held-out tracks, on which the winner is selected: those of all folds, or of the validation split if
        a candidate, such as the CNN, was validated on that.
    metrics : dict of str to Interval
        ``map_macro``, ``f1_macro``, ``f1_micro``, ``roc_auc_macro``; F1 with calibrated thresholds.
    f1_fixed : float
        Macro F1 of uncalibrated probabilities at a threshold of 0.5.
    difference : Interval or None
        Macro mAP minus that of the reference, on the same tracks; None for the reference.
    fit_s : float
        Seconds to fit and calibrate, without embedding.
    tag_s : float
        Median seconds from an audio file to its tags, with all models loaded; NaN without audio.
    size_bytes : int
        Of the saved predictor, without a pretrained encoder.
    """

    encoder: str
    head: str
    metrics: dict[str, Interval]
    f1_fixed: float
    difference: Interval | None = None
    val_map: float = float("nan")
    dim: int = 0
    fit_s: float = 0.0
    tag_s: float = float("nan")
    size_bytes: int = 0
    folder: Path | None = None
    winner: bool = False


def compare_candidates(
    candidates: Sequence[Candidate],
    out: Path,
    *,
    reference: Candidate | None = None,
    audio_roots: AudioRoots | Path | str | Iterable[Path | str] | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int, str], None] | None = None,
) -> list[ComparisonRow]:
    """Train candidates, which must have the same splits and labels, and compare them on the test split.

    Parameters
    ----------
    out : Path
        Parent folder of the predictors.
    reference : Candidate, optional
        The candidate with which the others are compared; by default the prevalence baseline.
    audio_roots : AudioRoots, Path, str or iterable of these, optional
        Audio folders, to measure the time per file.
    on_progress : callable, optional
        Called with the number of trained models, their total number, and the name of the next.

    Returns
    -------
    list of ComparisonRow
        Sorted by macro mAP on the test split, best first. The winner is selected on held-out tracks, so it may not
        come first.
    """
    _check(candidates)
    rows: list[ComparisonRow] = []
    probabilities: list[np.ndarray] = []
    validations: list[dict[str, Any]] = []
    encoders: dict[str, Encoder] = {}
    for number, candidate in enumerate(candidates):
        if on_progress:
            on_progress(number, len(candidates), candidate.name)
        folder = out / candidate.folder_name
        trained, predicted = candidate.train(folder, device)
        if number == 0:
            test = predicted
            audio = [] if audio_roots is None else [*map(AudioRoots.of(audio_roots).file, _spread(test.ids))]
        raw = _probabilities(candidate, predicted, test.ids)
        probabilities.append(trained.parts.calibrated(raw))
        row = ComparisonRow(
            encoder=candidate.encoder,
            head=candidate.head,
            dim=candidate.dim,
            metrics=intervals(test.truth, probabilities[-1], trained.parts.thresholds, test.groups, known=test.known),
            f1_fixed=evaluate(test.truth, raw, known=test.known).f1_macro,
            fit_s=trained.record.seconds,
            tag_s=_seconds_per_file(trained.parts, audio, encoders, device),
            size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            folder=folder,
        )
        rows.append(row)
        validations.append(trained.record.validation)
    if on_progress:
        on_progress(len(candidates), len(candidates), "")
    labels = candidates[0].labels
    split = read_labelled(candidates[0].splits, SPLITS[:1], candidates[0].data)
    counts = label_weights(split, labels).counts()
    base_rates = prevalence_baseline(labels.encode_table(split), len(test.ids), counts)
    _select(rows, validations)
    metrics = intervals(test.truth, base_rates, 0.5, test.groups, known=test.known)
    rows.append(ComparisonRow(PREVALENCE, "", metrics=metrics, f1_fixed=metrics["f1_macro"].value))
    probabilities.append(base_rates)
    place = next((place for place, candidate in enumerate(candidates) if candidate is reference), -1)
    for row, one in zip(rows, probabilities, strict=True):
        if row is not rows[place]:
            found = paired_difference(
                test.truth, one, probabilities[place], test.groups, metrics=("map_macro",), known=test.known
            )
            row.difference = found["map_macro"]
    return sorted(rows, key=lambda row: -row.metrics["map_macro"].value)


def _select(rows: Sequence[ComparisonRow], validations: Sequence[dict[str, Any]]) -> None:
    """Mark the winner on held-out tracks, which must be the same for all candidates."""
    same = all(one["method"] == validations[0]["method"] for one in validations)
    for row, validation in zip(rows, validations, strict=True):
        value = validation["map_macro" if same else "map_validation_split"]
        row.val_map = math.nan if value is None else value
    max(rows, key=lambda row: -math.inf if math.isnan(row.val_map) else row.val_map).winner = True


def _check(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise ConfigError("There is nothing to compare. Name at least one store and one head.")
    names = [one.name for one in candidates]
    if len(set(names)) < len(names):
        raise ConfigError(f"Two candidates are called {max(names, key=names.count)!r}. Give each a unique name.")
    first = candidates[0]
    for other in candidates[1:]:
        if other.splits != first.splits or other.labels != first.labels:
            raise ConfigError(
                f"{first.name} and {other.name} cannot be compared because they have different splits or labels."
            )


def _probabilities(candidate: Candidate, predicted: SplitPredictions, ids: list[str]) -> np.ndarray:
    try:
        return predicted.select(ids).probabilities
    except KeyError as error:
        raise ConfigError(
            f"{candidate.name}: the test track {error} of the other candidates is missing. Embed all tracks, or "
            "compute their features with scripts/prepare_data.py."
        ) from None


def _spread(ids: list[str]) -> list[str]:
    """Return the first track, to warm up, and then a few spread evenly."""
    return [ids[0], *ids[:: max(1, len(ids) // _TIMED)][:_TIMED]]


def _seconds_per_file(parts: PredictorParts, files: Sequence[Path], encoders: dict[str, Encoder], device: str) -> float:
    """Return the median time to tag a file, without the first; NaN without files. Loaded encoders are cached."""
    if not files or any(is_own(spec.name) for spec in parts.specs):
        return float("nan")
    for spec in parts.specs:
        if spec.fingerprint not in encoders:
            encoders[spec.fingerprint] = load_encoder(spec.name, device=device, **spec.options, **spec.location)
    loaded = [encoders[spec.fingerprint] for spec in parts.specs]
    predictor = EnoPredictor(loaded, parts.head, parts.labels, policy=parts.policies, calibration=parts.calibration)
    seconds = []
    for path in files:
        began = time.perf_counter()
        predictor.predict_proba(path)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))

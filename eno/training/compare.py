"""Train several models on one split and compare them on the same test tracks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from eno.data.labels.encoder import LabelEncoder
from eno.data.splits.artist_split import read_split
from eno.data.splits.stratify import SPLITS
from eno.encoders import Encoder, is_own, load_encoder
from eno.errors import ConfigError
from eno.evaluation.bootstrap import Interval, intervals, paired_difference
from eno.evaluation.metrics import evaluate, prevalence_baseline
from eno.files import AudioRoots
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.training.collection import Collection, SplitPredictions, encode_labels
from eno.training.heads import train_head
from eno.training.record import HeadPlan, TrainingRecord

PREVALENCE = "prevalence"
"""The baseline that predicts the base rate of each label."""

_TIMED = 3  # files that are tagged to measure the time for a file


@dataclass(frozen=True, eq=False)
class TrainedCandidate:
    """A trained and saved model.

    Attributes
    ----------
    test : SplitPredictions
        Its predictions for the test split, before calibration.
    dim : int
        Number of input values per track; 0 if there is no fixed number.
    """

    parts: PredictorParts
    record: TrainingRecord
    test: SplitPredictions
    dim: int


class Candidate(Protocol):
    """A model to train and compare: `HeadCandidate` or `eno.cnn.predictor.CNNCandidate`."""

    @property
    def encoder(self) -> str:
        """Name of the encoder in the table."""

    @property
    def head(self) -> str:
        """Name of the head in the table."""

    @property
    def folder_name(self) -> str:
        """Name of the folder for the predictor."""

    @property
    def splits(self) -> Path:
        """Folder of the splits."""

    @property
    def labels(self) -> LabelEncoder:
        """The vocabulary."""

    def train(self, folder: Path, device: str) -> TrainedCandidate:
        """Train the model, save the predictor in a folder, and predict the test split."""


@dataclass(frozen=True)
class HeadCandidate:
    """A head on the vectors of a store; `encoder` is the name to show."""

    encoder: str
    collection: Collection
    plan: HeadPlan

    @property
    def head(self) -> str:
        """See `Candidate`."""
        return self.plan.head

    @property
    def folder_name(self) -> str:
        """See `Candidate`."""
        return f"{self.encoder}-{self.plan.head}"

    @property
    def splits(self) -> Path:
        """See `Candidate`."""
        return self.collection.splits

    @property
    def labels(self) -> LabelEncoder:
        """See `Candidate`."""
        return self.collection.labels

    def train(self, folder: Path, device: str) -> TrainedCandidate:
        """See `Candidate.train`."""
        trained = train_head(self.collection, self.plan, device=device, checkpoint=folder)
        trained.save(folder)
        test = self.collection.predict(trained.parts, SPLITS[-1])
        spec = self.collection.store.spec
        return TrainedCandidate(trained.parts, trained.record, test, spec.dim * len(spec.layers))


@dataclass(eq=False)
class ComparisonRow:
    """A model and its results on the test split.

    Attributes
    ----------
    dim : int
        Number of input values per track; 0 if there is no fixed number.
    val_map : float
        Macro mAP on the validation split, by which the winner is selected.
    metrics : dict of str to Interval
        ``map_macro``, ``f1_macro``, ``f1_micro``, ``roc_auc_macro``; F1 with calibrated thresholds.
    f1_fixed : float
        Macro F1 of uncalibrated probabilities with a threshold of 0.5.
    difference : Interval or None
        Macro mAP minus that of the reference, in a paired bootstrap over artists; None for the reference itself.
    fit_s : float
        Seconds to fit and calibrate, without embedding.
    tag_s : float
        Median seconds from an audio file to its tags, with everything loaded; NaN without audio.
    size_bytes : int
        Of the saved predictor, without the weights of a pretrained encoder.
    winner : bool
        Whether it is the best on the validation split.
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
    """Train candidates and compare them on the test split.

    Parameters
    ----------
    candidates : sequence of Candidate
        All with the same splits and labels.
    out : Path
        Receives a folder for each predictor.
    reference : Candidate, optional
        The candidate with which the others are compared; the prevalence baseline if not given.
    audio_roots : AudioRoots, Path, str or iterable of these, optional
        Audio folders, to measure how long a file takes.
    on_progress : callable, optional
        Called with the number of trained models, their total number, and the name of the next.

    Returns
    -------
    list of ComparisonRow
        Sorted by macro mAP on the test split, best first. The winner is selected on the validation split, so it may not
        come first.

    Raises
    ------
    ConfigError
        Candidates have different splits or labels, or the same name.
    EnoError
        A candidate cannot be trained.
    """
    _check(candidates)
    rows: list[ComparisonRow] = []
    probabilities: list[np.ndarray] = []
    timer = _Timer(AudioRoots.of(audio_roots) if audio_roots is not None else None, device)
    for number, candidate in enumerate(candidates):
        if on_progress:
            on_progress(number, len(candidates), _name(candidate))
        folder = out / candidate.folder_name
        trained = candidate.train(folder, device)
        if number == 0:
            test = trained.test
        raw, calibration = _probabilities(candidate, trained, test.ids), trained.parts.calibration
        assert calibration is not None
        probabilities.append(calibration.apply(raw))
        row = ComparisonRow(
            encoder=candidate.encoder,
            head=candidate.head,
            dim=trained.dim,
            val_map=trained.record.validation["map_macro"] or float("nan"),
            metrics=intervals(test.truth, probabilities[-1], calibration.thresholds, test.groups),
            f1_fixed=evaluate(test.truth, raw).f1_macro,
            fit_s=trained.record.seconds,
            tag_s=timer.seconds(trained.parts, test.ids),
            size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            folder=folder,
        )
        rows.append(row)
    if on_progress:
        on_progress(len(candidates), len(candidates), "")
    train_labels = encode_labels(read_split(candidates[0].splits, SPLITS[0]), candidates[0].labels)
    base_rates = prevalence_baseline(train_labels.toarray() > 0, len(test.ids))
    best = max(rows, key=lambda row: row.val_map)
    metrics = intervals(test.truth, base_rates, 0.5, test.groups)
    rows.append(ComparisonRow(PREVALENCE, "", metrics=metrics, f1_fixed=metrics["f1_macro"].value))
    probabilities.append(base_rates)
    place = next((place for place, candidate in enumerate(candidates) if candidate is reference), -1)
    for row, one in zip(rows, probabilities, strict=True):
        row.winner = row is best
        if row is not rows[place]:
            found = paired_difference(test.truth, one, probabilities[place], test.groups, metrics=("map_macro",))
            row.difference = found["map_macro"]
    return sorted(rows, key=lambda row: -row.metrics["map_macro"].value)


def _check(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise ConfigError("There is nothing to compare. Name at least one store and one head.")
    names = [_name(one) for one in candidates]
    if len(set(names)) < len(names):
        raise ConfigError(f"Two candidates are called {max(names, key=names.count)!r}. Give each a unique name.")
    first = candidates[0]
    for other in candidates[1:]:
        if other.splits != first.splits or other.labels != first.labels:
            raise ConfigError(
                f"{_name(first)} and {_name(other)} cannot be compared because they have different splits or labels."
            )


def _name(candidate: Candidate) -> str:
    return f"{candidate.encoder} {candidate.head}"


def _probabilities(candidate: Candidate, trained: TrainedCandidate, ids: list[str]) -> np.ndarray:
    try:
        return trained.test.select(ids).probabilities
    except KeyError as error:
        raise ConfigError(
            f"{_name(candidate)}: the test track {error} of the other candidates is missing. Embed all tracks, or "
            "compute their features with scripts/prepare_data.py."
        ) from None


class _Timer:
    """Measures the time from a file to its tags; loads each encoder once."""

    def __init__(self, audio_roots: AudioRoots | None, device: str) -> None:
        self._audio_roots, self._device = audio_roots, device
        self._encoders: dict[str, Encoder] = {}

    def seconds(self, parts: PredictorParts, ids: list[str]) -> float:
        """Median over some files, after one to warm up."""
        spec = parts.spec
        if self._audio_roots is None or is_own(spec.name):
            return float("nan")
        if spec.fingerprint not in self._encoders:
            encoder = load_encoder(spec.name, device=self._device, **spec.options, **spec.location)
            self._encoders[spec.fingerprint] = encoder
        predictor = EnoPredictor(
            self._encoders[spec.fingerprint], parts.head, parts.labels, policy=parts.policy,
            calibration=parts.calibration,
        )  # fmt: skip
        seconds = []
        for track_id in [ids[0], *ids[:: max(1, len(ids) // _TIMED)][:_TIMED]]:
            began = time.perf_counter()
            predictor.predict_proba(self._audio_roots.file(track_id))
            seconds.append(time.perf_counter() - began)
        return float(np.median(seconds[1:]))

"""Encoders, heads and the CNN from scratch, over one split and in one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eno.cnn.predictor import CNN, save_cnn_predictor
from eno.cnn.settings import CNNSettings
from eno.cnn.training import predict_split, train_cnn
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.stratify import SPLITS
from eno.encoders import Encoder, is_own, load_encoder
from eno.errors import ConfigError
from eno.evaluation.bootstrap import Interval, intervals, paired_difference
from eno.evaluation.metrics import evaluate, prevalence_baseline
from eno.files import printed_file
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.training.heads import train_head
from eno.training.record import HeadPlan
from eno.training.tracks import Collection

PREVALENCE = "prevalence"
"""The baseline that only knows how frequent each label is."""

_FROM_SCRATCH = "scratch"
_TIMED = 3  # files that are tagged to learn how long one takes


@dataclass(frozen=True)
class Candidate:
    """A head over a store.

    Attributes
    ----------
    name : str
        What to call the encoder.
    collection : Collection
        Vectors, splits and labels.
    plan : HeadPlan
        The head.
    """

    name: str
    collection: Collection
    plan: HeadPlan


@dataclass(frozen=True)
class CNNCandidate:
    """The CNN from scratch.

    Attributes
    ----------
    data_root : Path
        With features that ``scripts/prepare_data.py`` made.
    settings : CNNSettings
        How it is trained.
    plan : HeadPlan
        Its ``calibration`` and ``album`` count.
    """

    data_root: Path
    settings: CNNSettings
    plan: HeadPlan


@dataclass(frozen=True, eq=False)
class ComparisonRow:
    """One model, judged by the test part.

    Attributes
    ----------
    encoder, head : str
        What it is.
    dim : int
        Values of a track that the head learns from; 0 for none.
    val_map : float
        Macro mAP on the validation part: what the winner is chosen by.
    metrics : dict of str to Interval
        ``map_macro``, ``f1_macro``, ``f1_micro``, ``roc_auc_macro`` on the test part, F1 with calibrated thresholds.
    f1_fixed : float
        Macro F1 with probabilities that are not calibrated and a threshold of 0.5.
    difference : Interval or None
        Macro mAP minus that of the reference, over the same draws of artists; None for the reference itself.
    fit_s : float
        Seconds to fit and calibrate, without embedding.
    tag_s : float
        Median seconds from a file to its tags, with everything loaded; NaN where no audio is at hand.
    size_bytes : int
        Of the saved predictor, without the weights of a pretrained encoder.
    folder : Path or None
        Where it was saved.
    winner : bool
        Whether it is the best by validation.
    """

    encoder: str
    head: str
    dim: int
    val_map: float
    metrics: dict[str, Interval]
    f1_fixed: float
    difference: Interval | None
    fit_s: float
    tag_s: float
    size_bytes: int
    folder: Path | None
    winner: bool = False


@dataclass(frozen=True, eq=False)
class _Judged:
    """A trained model and what it says about the test part."""

    encoder: str
    head: str
    dim: int
    val_map: float
    raw: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray
    fit_s: float
    tag_s: float = float("nan")
    folder: Path | None = None


def compare_candidates(
    candidates: Sequence[Candidate],
    out: Path,
    *,
    cnn: CNNCandidate | None = None,
    audio_root: Path | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int, str], None] | None = None,
) -> list[ComparisonRow]:
    """Train all candidates on one split, and judge them by the same test tracks.

    Parameters
    ----------
    candidates : sequence of Candidate
        All over the same splits and labels.
    out : Path
        Receives a folder for each predictor.
    cnn : CNNCandidate, optional
        The CNN from scratch beside them; then it is what the others are compared with, else the prevalence baseline.
    audio_root : Path, optional
        Folder of the tracks, to time how long a file takes from end to end.
    device : str
        See `eno.devices.resolve_device`.
    on_progress : callable, optional
        Takes the models trained, those to train, and the name of the next.

    Returns
    -------
    list of ComparisonRow
        The best by macro mAP on the test part first. The winner is chosen by the validation part, so it need not be
        the first.

    Raises
    ------
    ConfigError
        Candidates have different splits or labels, or the same name.
    EnoError
        One of them cannot be trained.
    """
    first = _check(candidates, cnn)
    total = len(candidates) + (cnn is not None)
    judged: list[_Judged] = []
    ids, truth, groups, train_truth = _test_part(first)
    encoders: dict[str, Encoder] = {}
    for number, candidate in enumerate(candidates):
        if on_progress:
            on_progress(number, total, f"{candidate.name} {candidate.plan.head}")
        judged.append(_train_and_predict(candidate, ids, out, audio_root, encoders, device))
    if cnn is not None:
        if on_progress:
            on_progress(total - 1, total, "CNN from scratch")
        judged.append(_train_cnn_and_predict(cnn, first.collection.labels, ids, out / "cnn", audio_root))
    if on_progress:
        on_progress(total, total, "")
    frequent = prevalence_baseline(train_truth, len(ids))
    nothing = _Judged(PREVALENCE, "", 0, float("nan"), frequent, frequent, np.full(truth.shape[1], 0.5), 0.0)
    reference = judged[-1] if cnn is not None else nothing
    best = max(judged, key=lambda one: one.val_map)
    rows = [_row(one, truth, groups, reference, winner=one is best) for one in [*judged, nothing]]
    return sorted(rows, key=lambda row: -row.metrics["map_macro"].value)


def _check(candidates: Sequence[Candidate], cnn: CNNCandidate | None) -> Candidate:
    if not candidates:
        raise ConfigError("There is nothing to compare: name at least one store and one head.")
    names = [(one.name, one.plan.head) for one in candidates]
    if len(set(names)) < len(names):
        raise ConfigError(f"Two candidates are called {max(names, key=names.count)}; each needs a name of its own.")
    first = candidates[0]
    for other in candidates[1:]:
        same = other.collection.splits == first.collection.splits and other.collection.labels == first.collection.labels
        if not same:
            raise ConfigError(
                f"{first.name} and {other.name} have different splits or labels; they cannot be compared."
            )
    if cnn is not None and DataRoot(cnn.data_root).splits != first.collection.splits:
        raise ConfigError(
            f"The CNN learns from the splits of {cnn.data_root}, the heads from {first.collection.splits}."
        )
    return first


def _test_part(first: Candidate) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Tracks that all candidates are judged by, their labels and artists; and the labels of the training part."""
    test = first.collection.tracks(SPLITS[-1])
    return test.ids, test.truth, test.groups, first.collection.tracks(SPLITS[0]).truth


def _train_and_predict(
    candidate: Candidate,
    ids: list[str],
    out: Path,
    audio_root: Path | None,
    encoders: dict[str, Encoder],
    device: str,
) -> _Judged:
    collection, plan = candidate.collection, candidate.plan
    folder = out / f"{candidate.name}-{plan.head}"
    trained = train_head(collection, plan, device=device, checkpoint=folder)
    trained.save(folder)
    test = collection.tracks(SPLITS[-1], head=trained.head)
    if test.ids != ids:
        raise ConfigError(f"{candidate.name}: lacks test tracks that the others have; embed all of them first.")
    raw = trained.head.predict_proba(test.X)
    calibration = trained.parts.calibration
    assert calibration is not None
    spec = collection.store.spec
    if audio_root is not None and spec.fingerprint not in encoders and not is_own(spec.name):
        encoders[spec.fingerprint] = load_encoder(spec.name, device=device, **spec.options, **spec.location)
    encoder = encoders.get(spec.fingerprint)
    return _Judged(
        candidate.name,
        plan.head,
        int(np.prod(test.X.shape[1:])),
        trained.record.validation["map_macro"] or float("nan"),
        raw,
        calibration.apply(raw),
        calibration.thresholds,
        trained.record.seconds,
        _seconds_of_a_file(trained.parts, encoder, ids, audio_root),
        folder,
    )


def _train_cnn_and_predict(
    cnn: CNNCandidate, labels: LabelEncoder, ids: list[str], folder: Path, audio_root: Path | None
) -> _Judged:
    result = train_cnn(cnn.data_root, labels, folder, cnn.settings)
    parts, record = save_cnn_predictor(result, cnn.data_root, cnn.plan)
    found, probabilities, _ = predict_split(result, cnn.data_root, SPLITS[-1], windows=parts.policy.count)
    place = {name: row for row, name in enumerate(found)}
    missing = [name for name in ids if name not in place]
    if missing:
        raise ConfigError(f"{len(missing)} test tracks have no features, such as {missing[0]}: scripts/prepare_data.py")
    raw = probabilities[[place[name] for name in ids]]
    assert parts.calibration is not None
    encoder = load_encoder(CNN, **parts.spec.options, **parts.spec.location) if audio_root else None
    return _Judged(
        "CNN",
        _FROM_SCRATCH,
        0,
        record.validation["map_macro"] or float("nan"),
        raw,
        parts.calibration.apply(raw),
        parts.calibration.thresholds,
        result.seconds,
        _seconds_of_a_file(parts, encoder, ids, audio_root),
        folder,
    )


def _seconds_of_a_file(
    parts: PredictorParts, encoder: Encoder | None, ids: list[str], audio_root: Path | None
) -> float:
    """Median time of some files, from the file to its tags, after one that warms up."""
    if encoder is None or audio_root is None:
        return float("nan")
    predictor = EnoPredictor(encoder, parts.head, parts.labels, policy=parts.policy, calibration=parts.calibration)
    seconds = []
    for name in [ids[0], *ids[:: max(1, len(ids) // _TIMED)][:_TIMED]]:
        began = time.perf_counter()
        predictor.predict_proba(printed_file(audio_root, name))
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))


def _row(one: _Judged, truth: np.ndarray, groups: np.ndarray, reference: _Judged, *, winner: bool) -> ComparisonRow:
    difference = None
    if one is not reference:
        found = paired_difference(truth, one.probabilities, reference.probabilities, groups, metrics=("map_macro",))
        difference = found["map_macro"]
    files = [path for path in one.folder.rglob("*") if path.is_file()] if one.folder else []
    return ComparisonRow(
        encoder=one.encoder,
        head=one.head,
        dim=one.dim,
        val_map=one.val_map,
        metrics=intervals(truth, one.probabilities, one.thresholds, groups),
        f1_fixed=evaluate(truth, one.raw).f1_macro,
        difference=difference,
        fit_s=one.fit_s,
        tag_s=one.tag_s,
        size_bytes=sum(path.stat().st_size for path in files),
        folder=one.folder,
        winner=winner,
    )

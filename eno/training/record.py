"""The record of a training, saved with the predictor so that the training can be repeated and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.data.labels.encoder import LabelEncoder
from eno.data.splits.stratify import SPLITS
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.joined_stores import Stores, open_stores
from eno.embeddings.store.manifest import MANIFEST_FILE
from eno.errors import ConfigError, ModelError, check_format
from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE
from eno.files import write_json
from eno.inference.predictor_folder import LABELS, read_description
from eno.training.collection import split_ids

RECORD, _TRACKS = "training.json", "training_tracks.parquet"
_FORMAT = 1
EVALUATION = "evaluation"
"""Subfolder of a predictor with its evaluation report."""
_SHOWN = 5
Validation: TypeAlias = Literal["folds", "fixed"]
FOLDS: Validation = "folds"


@dataclass(frozen=True)
class HeadPlan:
    """A head to train (one of `eno.models.HEADS`) with its options.

    `validation` is "folds" to cross-fit on the training and validation splits, see `eno.models.Head.fit`, or "fixed" to
    learn from the training split only and validate on the validation split. `calibration` has options of
    `eno.models.calibration.calibrate.fit_calibration`; `album` is how tracks are aggregated into albums, see
    `eno.models.aggregation.aggregate`.
    """

    head: str
    options: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    album: str = "mean_logit"
    validation: Validation = FOLDS


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How a predictor was trained.

    Attributes
    ----------
    options : dict
        Options of the head that were set.
    calibration : dict
        As in `HeadPlan`, with its ``album``.
    store : str or list of str
        Where the vectors were read from; a list if several stores were joined.
    encoder : str
        Name and fingerprint, of all encoders.
    tracks : dict of str to int
        Number of tracks in each split.
    train_positives : list of int
        Number of training tracks with each label.
    seconds : float
        Time to fit and calibrate.
    validation : dict
        On held-out tracks: ``map_macro``, and under ``rules`` the results of each threshold rule. Under ``method`` the
        `HeadPlan.validation`, which records of eno 0.1 lack. ``map_validation_split`` is on the validation split alone,
        whatever the method, to compare models. For a blend, ``heads`` has the macro mAP of each of its
        heads, and ``given_up`` the seconds that others would have taken.
    feedback : dict or None
        See `eno.training.feedback.Corrections.apply`.
    """

    head: str
    options: dict[str, Any]
    calibration: dict[str, Any]
    store: str | list[str]
    splits: str
    encoder: str
    split_hash: str
    tracks: dict[str, int]
    train_positives: list[int]
    seconds: float
    validation: dict[str, Any]
    eno: str
    created: str
    feedback: dict[str, Any] | None = None

    @property
    def stores(self) -> list[str]:
        """The store, or those that were joined, in a list."""
        return [self.store] if isinstance(self.store, str) else self.store

    @property
    def plan(self) -> HeadPlan:
        """The plan to repeat this training."""
        calibration = dict(self.calibration)
        album, validation = calibration.pop("album"), self.validation.get("method", FOLDS)
        return HeadPlan(self.head, self.options, calibration, album, validation)

    def save(self, folder: Path) -> None:
        """Save the record and the split of every track in a predictor's folder."""
        for name in (METRICS_FILE, PER_LABEL_FILE, REPORT_FILE):  # of the previous predictor
            (folder / EVALUATION / name).unlink(missing_ok=True)
        write_table(folder / _TRACKS, split_ids(Path(self.splits)))
        write_json(folder / RECORD, {"format": _FORMAT, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> TrainingRecord:
        """Load the record of a predictor."""
        path = folder / RECORD
        if not path.is_file():
            raise ModelError(f"{folder}: has no training record ({RECORD} is missing). Train with: eno train")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            check_format(path, content.pop("format"), _FORMAT, ModelError)
            return cls(**content)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ModelError(f"{path}: is damaged ({error!r}). Train again with: eno train") from error


def trained_tracks(folder: Path) -> pa.Table:
    """Load the splits with which a predictor was trained: columns ``track_id`` and ``split``."""
    try:
        table = pq.read_table(folder / _TRACKS)
        names = ["split" if name == "part" else name for name in table.column_names]  # "part" until eno 0.1
        return table.rename_columns(names).select(["track_id", "split"])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ModelError(f"{folder / _TRACKS}: cannot be read ({error}). Train again with: eno train") from error


def unseen_tracks(folder: Path, track_ids: list[str]) -> list[str]:
    """Return the tracks that a predictor was not trained on; raises a ModelError if there are none."""
    trained = trained_tracks(folder)
    seen = trained.filter(pc.not_equal(trained["split"], SPLITS[-1]))
    known = pc.is_in(pa.array(track_ids, pa.string()), value_set=seen["track_id"].combine_chunks())
    unseen: list[str] = pa.array(track_ids, pa.string()).filter(pc.invert(known)).to_pylist()
    if track_ids and not unseen:
        raise ModelError(
            f"{folder}: was trained on other splits: all of these {len(track_ids)} test tracks were in its training or "
            f"validation split, for instance {track_ids[0]}. Train it again with: eno retrain {folder}"
        )
    return unseen


ON_OTHER_ROWS = ("labels", "training tracks of", f"{SPLITS[0]} tracks", f"{SPLITS[1]} tracks")
"""Beginnings of the lines of `changes` after which validation figures are not those of the same tracks and labels."""


def changes(old: Path, new: Path) -> Iterator[str]:
    """Describe the differences between the trainings of two predictors, one per line."""
    before, after = TrainingRecord.load(old), TrainingRecord.load(new)
    if before.stores != after.stores:
        yield f"store: {', '.join(before.stores)} → {', '.join(after.stores)}"
    for name in ("encoder", "splits", "head"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name}: {getattr(before, name)} → {getattr(after, name)}"
    for title, left, right in (
        ("option", before.options, after.options),
        ("calibration", before.calibration, after.calibration),
    ):
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                yield f"{title} {name}: {left.get(name, 'default')} → {right.get(name, 'default')}"
    if before.feedback != after.feedback:
        yield f"feedback: {_summary(before.feedback)} → {_summary(after.feedback)}"
    was, now = LabelEncoder.load(old / LABELS), LabelEncoder.load(new / LABELS)
    yield from _names("labels", set(was.all_labels), set(now.all_labels))
    counts = dict(zip(was.all_labels, before.train_positives, strict=True))
    moved = [
        (name, counts[name], count)
        for name, count in zip(now.all_labels, after.train_positives, strict=True)
        if name in counts and counts[name] != count
    ]
    if moved:
        moved.sort(key=lambda one: -abs(one[2] - one[1]))
        shown = ", ".join(f"{name} {left} → {right}" for name, left, right in moved[:_SHOWN])
        yield f"training tracks of {len(moved)} labels: {shown}" + " …" * (len(moved) > _SHOWN)
    for split in SPLITS:
        ids = [
            set(table.filter(pc.equal(table["split"], split))["track_id"].to_pylist())
            for table in (trained_tracks(old), trained_tracks(new))
        ]
        yield from _names(f"{split} tracks", *ids)


def _summary(feedback: dict[str, Any] | None) -> str:
    return "none" if feedback is None else f"{feedback['tracks']} tracks, weight {feedback['weight']:g}"


def _names(what: str, before: set[str], after: set[str]) -> Iterator[str]:
    for sign, names in (("+", after - before), ("-", before - after)):
        if names:
            shown = ", ".join(sorted(names)[:_SHOWN]) + " …" * (len(names) > _SHOWN)
            yield f"{what}: {sign}{len(names)} ({shown})"


def stores_for(model: Path, store: EmbeddingStore) -> Stores:
    """Return the stores from which a predictor tags the tracks of a store: it, and those of its other encoders.

    The store of another encoder is the one next to `store`, or else the one that the predictor was trained on.

    Raises
    ------
    ConfigError
        There is no store of another encoder.
    FingerprintMismatch
        The predictor does not need the encoder of `store`.
    """
    specs = read_description(model).specs
    if len(specs) == 1 or store.spec.fingerprint not in [spec.fingerprint for spec in specs]:
        return store.require(*specs)
    recorded = TrainingRecord.load(model).stores if (model / RECORD).is_file() else [""] * len(specs)
    places = []
    for spec, trained in zip(specs, recorded, strict=True):
        beside = "" if store.folder.local is None else str(store.folder.local.parent / spec.label)
        known = [str(store.path)] if spec.fingerprint == store.spec.fingerprint else [beside, trained]
        found = [place for place in known if place and Folder(place).exists(MANIFEST_FILE)]
        if not found:
            raise ConfigError(
                f"{model}: needs vectors of {spec.label} as well as those in {store.path}, but there is no store in "
                f"{' or '.join(filter(None, known))}. Create one with 'eno embed'."
            )
        places.append(found[0])
    return open_stores(places)

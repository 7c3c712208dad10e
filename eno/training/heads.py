"""Train a head on a collection: fit it, calibrate it on held-out tracks, and save it as a predictor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from eno.data.labels.values import present
from eno.data.splits.stratify import SPLITS
from eno.errors import ConfigError, LabelError, TrainingError
from eno.inference.predictor_folder import PredictorParts, update_model_card
from eno.models import Head, create_head
from eno.models.aggregation import aggregate
from eno.models.average_precision import macro_map
from eno.models.calibration.calibrate import fit_calibration
from eno.models.familiarity import Familiarity
from eno.models.taught.space import choose_exponent
from eno.models.training_data import constant_labels
from eno.processes import give_back_memory
from eno.registry import HEADS, TRAINED_HEADS
from eno.spec import label_of
from eno.training.collection import (
    Collection,
    LabelledTracks,
    SplitPredictions,
    binary,
    split_hash,
    split_ids,
    weights_of,
)
from eno.training.feedback import Corrections
from eno.training.record import FOLDS, HeadPlan, TrainingRecord
from eno.version import __version__

if TYPE_CHECKING:
    from eno.models.epochs import Epoch

logger = logging.getLogger(__name__)

_NAMED = 5  # labels, in a warning
_CHECKPOINT, _ON_EPOCH = "checkpoint", "on_epoch"
_FITTED, _FAMILIARITY, _EXPONENT, _TRACKS, _STEPS = 90, 91, 94, 98, 100  # done: the head, then what follows


@dataclass(frozen=True)
class TrainedPredictor:
    """A predictor without its encoder, and the record of its training."""

    parts: PredictorParts
    record: TrainingRecord

    def save(self, folder: Path) -> None:
        """Save the predictor and its record, and remove the evaluation of an earlier predictor from the folder."""
        self.parts.save(folder)
        self.record.save(folder)
        update_model_card(folder)


def train_head(
    collection: Collection,
    plan: HeadPlan,
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
    on_progress: Callable[..., None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    corrections: Corrections | None = None,
) -> TrainedPredictor:
    """Fit a head on all tracks that are not in the test split, which is not read.

    Options are chosen, and probabilities calibrated, on predictions of tracks by heads that were not fitted on their
    artists (see `eno.models.Head.fit`). With ``plan.validation = "fixed"``, only the training split is fitted on, and
    the validation split is used for these.

    Parameters
    ----------
    checkpoint : Path, optional
        Parent folder of checkpoints, for heads that can resume a long training.
    on_progress : callable, optional
        Called with the numbers of steps done and in total, and after the head is fitted with a note of what is done.
    on_epoch : callable, optional
        Called after every epoch, if the head is trained in epochs.

    Raises
    ------
    LabelError
        No training track has any of the labels.
    TrainingError
        The embeddings are unusable, an option has an invalid value, or training diverges.
    """
    if plan.head in HEADS and plan.head not in TRAINED_HEADS:
        raise ConfigError(
            f"The head {plan.head!r} is not trained on a collection. Choose from: {', '.join(TRAINED_HEADS)}."
        )
    head = create_head(plan.head, device=device, **plan.options)
    report = on_progress or (lambda *step: None)
    head.on_progress = lambda done, of: report(int(_FITTED * done / max(of, 1)), _STEPS)
    if hasattr(head, _ON_EPOCH):
        setattr(head, _ON_EPOCH, on_epoch)
    if checkpoint is not None and hasattr(head, _CHECKPOINT):
        setattr(head, _CHECKPOINT, checkpoint / _CHECKPOINT)
    train = collection.tracks(*_fitted_splits(plan), head=head)
    feedback = None
    if corrections is not None:
        train, feedback = corrections.apply(train, collection.labels)
    if train.Y.nnz == 0:
        raise LabelError(
            f"{collection.splits}: none of {len(train.ids)} training tracks has any of the labels. "
            "Choose labels again with: eno labels"
        )
    _warn_of_constant_labels(train, collection.labels.all_labels)
    began = time.monotonic()
    give_back_memory()  # of the tables
    held_out, val_map = _fit(collection, plan, head, train)
    give_back_memory()
    report(_FITTED, _STEPS, "familiarity")
    familiarity = Familiarity.fit(train.X, train.groups)
    report(_FAMILIARITY, _STEPS, "scale of taught tags")
    exponent = choose_exponent(train.X, train.Y, train.groups)
    parts = PredictorParts(
        specs=collection.store.specs, labels=collection.labels, head=head, policies=collection.store.policies,
        album=plan.album, familiarity=familiarity, exponent=exponent,
    )  # fmt: skip
    report(_EXPONENT, _STEPS, "calibrating tracks")
    trained = calibrate_predictor(
        parts,
        plan,
        held_out,
        val_map,
        stores=collection.store.places,
        splits=collection.splits,
        train_labels=train.Y,
        began=began,
        feedback=feedback,
        on_albums=lambda: report(_TRACKS, _STEPS, "calibrating albums"),
    )
    report(_STEPS, _STEPS)
    return trained


def _fitted_splits(plan: HeadPlan) -> tuple[str, ...]:
    return SPLITS[:2] if plan.validation == FOLDS else SPLITS[:1]


def _fit(
    collection: Collection, plan: HeadPlan, head: Head, train: LabelledTracks
) -> tuple[SplitPredictions, float | None]:
    """Fit a head, and return its predictions of held-out tracks, and their macro mAP."""
    try:
        if plan.validation != FOLDS:
            val = collection.tracks(SPLITS[1], head=head)
            head.fit(train.X, train.Y, val.X, val.truth, **weights_of(train, val))
            found = SplitPredictions(val.ids, head.predict_proba(val.X), val.truth, val.known, val.albums, val.groups)
            return found, macro_map(found.truth, found.probabilities, found.known)
        head.fit(train.X, train.Y, groups=train.groups, **weights_of(train))
    except ValueError as error:
        raise TrainingError(
            f"The head {plan.head!r} cannot be fitted on {', '.join(collection.store.places)}: {error}"
        ) from error
    out_of_fold = head.out_of_fold
    assert out_of_fold is not None
    val_map, rows = out_of_fold.macro_map(), out_of_fold.rows
    held_out = SplitPredictions(
        [train.ids[row] for row in rows], np.asarray(out_of_fold.probabilities), binary(out_of_fold.truth),
        out_of_fold.weights.known(), train.albums[rows], train.groups[rows],
    )  # fmt: skip
    return held_out, val_map


def _warn_of_constant_labels(train: LabelledTracks, names: Sequence[str]) -> None:
    constant = [names[place] for place in np.flatnonzero(constant_labels(train.Y, train.weights)).tolist()]
    if constant:
        more = f" and {len(constant) - _NAMED} more" if len(constant) > _NAMED else ""
        logger.warning(
            "%d of %d labels are on no training track or on all of them (%s%s); their base rate is predicted. More "
            "tracks, or labels with more artists (eno labels --set labels.min_artists=…), avoid this.",
            len(constant), len(names), ", ".join(constant[:_NAMED]), more,
        )  # fmt: skip


def _tried(head: Head) -> dict[str, Any]:
    """Return what a blend of heads tried."""
    found = {"heads": getattr(head, "scores", {}), "given_up": getattr(head, "given_up", {})}
    return {name: value for name, value in found.items() if value}


def _on_validation_split(held_out: SplitPredictions, ids: pa.Table) -> float | None:
    """Return macro mAP on the held-out tracks that are in the validation split; None without any."""
    those = set(ids["track_id"].filter(pc.equal(ids["split"], SPLITS[1])).to_pylist())
    rows = np.array([id_ in those for id_ in held_out.ids], bool)
    known = None if held_out.known is None else held_out.known[rows]
    return macro_map(held_out.truth[rows], held_out.probabilities[rows], known)


def calibrate_predictor(
    parts: PredictorParts,
    plan: HeadPlan,
    held_out: SplitPredictions,
    val_map: float | None,
    *,
    stores: list[str],
    splits: Path,
    train_labels: sparse.csr_array,
    began: float,
    feedback: dict[str, Any] | None = None,
    on_albums: Callable[[], None] = lambda: None,
) -> TrainedPredictor:
    """Calibrate a predictor for tracks and for albums on held-out tracks, and record its training.

    `val_map` is macro mAP on these tracks, `began` the start of the training, from `time.monotonic`. `on_albums` is
    called before the calibration for albums.
    """
    options = plan.calibration
    calibration = fit_calibration(
        held_out.probabilities, held_out.truth, groups=held_out.groups, known=held_out.known, **options
    )
    parts = replace(parts, calibration=calibration)
    on_albums()
    _, of_albums = aggregate(parts.calibrated(held_out.probabilities), held_out.albums, plan.album)
    rows = np.sort(np.unique(held_out.albums.astype(str), return_index=True)[1])  # the first track of each album
    known = None if held_out.known is None else held_out.known[rows]
    album_calibration = fit_calibration(
        of_albums, held_out.truth[rows], groups=held_out.groups[rows], known=known, **options
    )
    ids = split_ids(splits)
    rules = {name: asdict(estimate) for name, estimate in calibration.estimates.items()}
    record = TrainingRecord(
        head=plan.head,
        options=plan.options,
        calibration={**plan.calibration, "album": plan.album},
        store=stores[0] if len(stores) == 1 else stores,
        splits=str(splits),
        encoder=label_of(parts.specs),
        split_hash=split_hash(ids),
        tracks={one["values"]: one["counts"] for one in ids["split"].value_counts().to_pylist()},
        train_positives=np.bincount(present(train_labels).indices, minlength=len(parts.labels)).tolist(),
        seconds=round(time.monotonic() - began, 3),
        validation={
            "method": plan.validation,
            "map_macro": val_map,
            "map_validation_split": _on_validation_split(held_out, ids),
            "rules": rules,
        }
        | _tried(parts.head),
        eno=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        feedback=feedback,
    )
    return TrainedPredictor(replace(parts, album_calibration=album_calibration), record)

"""Compare a predictor before and after it was trained again, on tracks that neither has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from eno.data.splits.artist_split import GROUP, read_split
from eno.data.splits.stratify import SPLITS
from eno.errors import TrainingError
from eno.evaluation.confidence import Interval, paired_difference
from eno.inference.predictor_folder import PredictorParts
from eno.models.average_precision import macro_map
from eno.training.collection import Collection, SplitPredictions
from eno.training.record import trained_tracks

_COMPARED = 20_000  # tracks; more would narrow the interval little
_MAP = "map_macro"


@dataclass(frozen=True)
class BeforeAfter:
    """Macro mAP of two predictors for the same tracks and labels, and the difference after - before."""

    tracks: int
    labels: int
    before: float
    after: float
    difference: Interval

    def __str__(self) -> str:
        change = f"{self.difference.value:+.3f}"
        if not np.isnan(self.difference.low):
            change += f" [{self.difference.low:+.3f}, {self.difference.high:+.3f}]"
        return (
            f"test mAP {self.before:.3f} → {self.after:.3f}, {change}, on the same {self.tracks:,} tracks that neither "
            f"has learned from, and the {self.labels:,} labels that both have"
        )


def compare_before_after(before: Path, after: Path, collection: Collection, *, device: str = "auto") -> BeforeAfter:
    """Compare two predictors on test tracks of a collection, with the labels that it has now.

    Left out are tracks of artists that either predictor was trained or calibrated on, which happens if the two were
    trained on different splits. Of more than 20,000 tracks a fixed random sample is used.

    Parameters
    ----------
    before, after : Path
        Folders of the predictors.

    Raises
    ------
    TrainingError
        There are no such tracks, or the predictors have no label in common.
    FingerprintMismatch
        One of the predictors needs other vectors than those of the collection.
    """
    both = [PredictorParts.load(folder, device=device, taught=False) for folder in (before, after)]
    names = [list(zip(parts.labels.families, parts.labels.all_labels, strict=True)) for parts in both]
    shared = [label for label in names[0] if label in set(names[1])]
    if not shared:
        raise TrainingError("The predictors have no label in common.")
    unseen = _unseen(collection.splits, before, after)
    found = []
    for parts, own in zip(both, names, strict=True):
        predicted = collection.predict(parts, SPLITS[-1], limit=_COMPARED)
        predicted = predicted.select([name for name in predicted.ids if name in unseen])
        found.append(_columns(predicted, parts, [own.index(label) for label in shared]))
    old, new = found
    if not new.ids:
        raise TrainingError("Both predictors together have learned from the artists of all test tracks.")
    difference = paired_difference(
        new.truth, new.probabilities, old.probabilities, new.groups, metrics=(_MAP,), known=new.known
    )
    scores = [macro_map(new.truth, one.probabilities, new.known) for one in found]
    if scores[0] is None or scores[1] is None:
        raise TrainingError("None of the test tracks has any of the labels.")
    return BeforeAfter(len(new.ids), len(shared), scores[0], scores[1], difference[_MAP])


def _unseen(splits: Path, *folders: Path) -> set[str]:
    """Return the test tracks whose artists are in no track that the predictors of some folders have learned from."""
    test = read_split(splits, SPLITS[-1])
    for folder in folders:
        trained = trained_tracks(folder)
        seen = trained["track_id"].filter(pc.not_equal(trained["split"], SPLITS[-1])).combine_chunks()
        artists = pc.unique(test[GROUP.name].filter(pc.is_in(test["track_id"], value_set=seen)))
        test = test.filter(pc.invert(pc.is_in(test[GROUP.name], value_set=artists)))
    return set(test["track_id"].to_pylist())


def _columns(predicted: SplitPredictions, parts: PredictorParts, columns: Sequence[int]) -> SplitPredictions:
    """Calibrate predictions, and keep those of some labels."""
    known = None if predicted.known is None else predicted.known[:, columns]
    return SplitPredictions(
        predicted.ids, parts.calibrated(predicted.probabilities)[:, columns], predicted.truth[:, columns], known,
        predicted.albums, predicted.groups,
    )  # fmt: skip

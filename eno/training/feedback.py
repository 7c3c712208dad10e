"""Users' corrections of predicted tags, stored as JSON Lines and used in training.

Lines are only ever appended. The last one about a tag of a track counts.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from eno.data.labels.encoder import LabelEncoder
from eno.data.names import label_key
from eno.errors import ConfigError, LabelError
from eno.files import append_json_lines
from eno.training.collection import LabelledTracks

logger = logging.getLogger(__name__)

VERDICTS = ("accept", "add", "reject", "withdraw")
"""The predicted tag is right; a tag is missing; the predicted tag is wrong; the earlier correction no longer counts."""

WEIGHT = 4.0
"""Default weight of a corrected tag in training; others have a weight of 1."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A verdict (see `VERDICTS`) on a tag of a track, at a time in ISO 8601."""

    time: str
    track_id: str
    tag: str
    family: str
    verdict: str

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) for value in asdict(self).values()):
            raise ValueError("a field is not text")
        if self.verdict not in VERDICTS or not self.family.strip():
            raise ValueError(f"verdict {self.verdict!r}, family {self.family!r}")

    @property
    def subject(self) -> tuple[str, str, str]:
        """Track, family and tag, ignoring the tag's case."""
        return self.track_id, self.family, label_key(self.tag)


class Feedback:
    """The corrections in a file, which is created with the first one. Malformed lines are skipped with a warning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str, str], Correction] = {}
        if path.exists():
            self._update(_read(path))

    def _update(self, corrections: Iterable[Correction]) -> None:
        for correction in corrections:
            self._latest.pop(correction.subject, None)  # so that the newest comes last
            if correction.verdict != "withdraw":
                self._latest[correction.subject] = correction

    def append(self, corrections: Iterable[Correction]) -> None:
        """Add corrections and flush them to disk."""
        new = list(corrections)
        with self._lock:
            append_json_lines(self.path, map(asdict, new))
            self._update(new)

    def follow(self, moved: Mapping[str, str]) -> None:
        """Repeat the corrections of tracks whose files were renamed under their new ids, given new id → earlier id."""
        own = {one.track_id for one in self.latest()}
        earlier = {new: old for new, old in moved.items() if old in own and new not in own}
        if new := [replace(one, track_id=track_id) for track_id, old in earlier.items() for one in self.of_track(old)]:
            self.append(new)

    def latest(self) -> list[Correction]:
        """Return the valid corrections, oldest first."""
        with self._lock:
            return list(self._latest.values())

    def of_track(self, track_id: str) -> list[Correction]:
        """Return the valid corrections of one track, oldest first."""
        return [one for one in self.latest() if one.track_id == track_id]

    def apply(self, ids: list[str], labels: LabelEncoder, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Correct `truth` [shape=(n, num_labels)], the labels of tracks, in place.

        An accepted or added tag also sets the labels that it implies.

        Returns
        -------
        counts : np.ndarray [shape=(n,), dtype=int64]
            Number of corrections applied to each track.
        corrected : np.ndarray [shape=(n, num_labels), dtype=bool]
            The labels that they set.
        """
        rows = {track_id: row for row, track_id in enumerate(ids)}
        counts, corrected = np.zeros(len(ids), np.int64), np.zeros(truth.shape, bool)
        # Rejections last: a user may accept a subgenre but reject a genre that it implies.
        for one in sorted(self.latest(), key=lambda one: one.verdict == "reject"):
            row = rows.get(one.track_id)
            columns = np.array(labels.columns_of(one.family, one.tag), np.int64)
            if row is None or len(columns) == 0:
                continue
            if one.verdict == "reject":
                columns = columns[[label_key(labels.all_labels[place]) == label_key(one.tag) for place in columns]]
            truth[row, columns] = float(one.verdict != "reject")
            corrected[row, columns] = True
            counts[row] += 1
        return counts, corrected


@dataclass(frozen=True)
class Corrections:
    """Corrections for training: they replace labels of albums. `weight` is the weight of a corrected tag of a track."""

    feedback: Feedback
    weight: float = WEIGHT

    def __post_init__(self) -> None:
        if not 0 < self.weight < np.inf:
            raise ConfigError(f"The weight of feedback is {self.weight}; it must be above 0.")

    @classmethod
    def read(cls, path: Path, *, weight: float = WEIGHT) -> Corrections:
        """Read a file, which must contain corrections."""
        feedback = Feedback(path)
        if not feedback.latest():
            raise LabelError(f"{path}: has no corrections. Make some on the web page of 'eno serve'.")
        return cls(feedback, weight)

    def apply(self, tracks: LabelledTracks, labels: LabelEncoder) -> tuple[LabelledTracks, dict[str, Any]]:
        """Correct the labels of the training split; those of the other splits stay, so that heads remain comparable.

        Returns
        -------
        tracks : LabelledTracks
            With corrected labels and their weights; other labels of the same tracks keep their weights.
        summary : dict
            For the training record: ``file``, ``weight``, number of corrected ``tracks``, and of ``corrections``
            applied. Other corrections are of tracks in other splits, or of tags outside the vocabulary.
        """
        corrected = {one.track_id for one in self.feedback.latest()}
        is_corrected = np.array([track_id in corrected for track_id in tracks.ids])
        rows, others = np.flatnonzero(is_corrected), np.flatnonzero(~is_corrected)
        truth = tracks.Y[rows].toarray()
        counts, changed = self.feedback.apply([tracks.ids[row] for row in rows], labels, truth)
        stacked = sparse.vstack([tracks.Y[others], sparse.csr_array(truth)], format="csr")
        places, columns = np.nonzero(changed)
        weights = tracks.weights.with_single(rows[places], columns, self.weight)
        summary = {
            "file": str(self.feedback.path),
            "weight": float(self.weight),
            "tracks": int((counts > 0).sum()),
            "corrections": int(counts.sum()),
        }
        Y = stacked[np.argsort(np.concatenate([others, rows]))]
        return replace(tracks, Y=Y, weights=weights), summary


def _read(path: Path) -> Iterable[Correction]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}).") from error
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                yield Correction(**json.loads(line))
        except (ValueError, TypeError) as error:
            logger.warning("%s, line %d: not a correction (%s); skipped", path, number, error)

"""Predicted tags of tracks and albums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eno.errors import AudioError
from eno.models.aggregation import aggregate
from eno.models.calibration.calibrate import Calibration
from eno.models.familiarity import is_unfamiliar
from eno.models.hierarchy import agree
from eno.tagging import VectorTagger


@dataclass(frozen=True)
class TagProbability:
    """The probability of a tag of a track, which has the tag if it is strictly above `threshold`."""

    tag: str
    family: str  # "genre", "descriptor" or another, see `eno.data.families`
    probability: float
    threshold: float = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """The tags of a file or album, or an error.

    Attributes
    ----------
    named : dict
        The predicted tags, as in `eno.inference.file_tagger.FileTagger.predict`.
    tags : list of TagProbability
        All tags, the most probable first.
    probabilities : np.ndarray [shape=(num_labels,), dtype=float32] or None
        In the order of ``labels.all_labels``; None after an error.
    familiarity : float or None
        How familiar the file is, 0 to 1, see `eno.models.familiarity.Familiarity.of`; of an album, the median of its
        files. None if the predictor does not know.
    """

    path: Path
    named: dict[str, list[str]] = field(default_factory=lambda: {"genres": [], "descriptors": []})
    tags: list[TagProbability] = field(default_factory=list)
    probabilities: np.ndarray | None = None
    error: AudioError | None = None
    familiarity: float | None = None

    @property
    def unfamiliar(self) -> bool:
        """Whether the file is unlike the tracks that the predictor was trained on, so that its tags are doubtful."""
        return is_unfamiliar(self.familiarity)


class TagPredictor(VectorTagger):
    """A `VectorTagger` that names tags, and combines the tracks of an album by `eno.models.aggregation.aggregate`.

    `album` is the method; the combined probabilities are calibrated if there is an `album_calibration`.
    """

    album_calibration: Calibration | None
    album: str

    @property
    def album_thresholds(self) -> np.ndarray:
        """Probability above which each tag of an album is predicted [shape=(num_labels,)]."""
        return self._thresholds_of(self.album_calibration)

    def name_tags(self, probabilities: np.ndarray, *, album: bool = False) -> list[TagProbability]:
        """Return all tags of a track, or of an album, from its probabilities [shape=(num_labels,)], highest first."""
        return next(self.name_rows(np.asarray(probabilities)[np.newaxis], album=album))

    def name_rows(
        self, probabilities: np.ndarray, *, album: bool = False, chosen: np.ndarray | None = None
    ) -> Iterator[list[TagProbability]]:
        """Yield the tags of each row of probabilities [shape=(n, num_labels)], or those `chosen` [dtype=bool]."""
        thresholds = (self.album_thresholds if album else self.thresholds).tolist()
        depths = np.bincount(self.labels.ancestors[:, 0], minlength=len(self.labels))
        names, families, every = self.labels.all_labels, self.labels.families, np.arange(len(self.labels))
        for number, row in enumerate(probabilities):
            some = every if chosen is None else np.flatnonzero(chosen[number])
            # Of equally likely tags, ancestors come first, so that no shorter list names a tag without them.
            ranked = some[np.lexsort((depths[some], -row[some]))]
            yield [
                TagProbability(names[place], families[place], value, thresholds[place])
                for place, value in zip(ranked.tolist(), row[ranked].tolist(), strict=True)
            ]

    def combine_tracks(
        self, probabilities: np.ndarray, albums: Sequence[str] | np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """Return distinct albums and their calibrated probabilities; see `eno.models.aggregation.aggregate`."""
        names, combined = aggregate(probabilities, albums, self.album)
        calibrated = combined
        if self.album_calibration is not None and not self.taught:
            calibrated = self.album_calibration.apply(combined)
        elif self.album_calibration is not None and self.taught:
            trained, taught = self.taught.separated(self.labels, combined)
            calibrated = self.taught.joined(self.labels, self.album_calibration.apply(trained), taught)
        return names, agree(calibrated, self.album_thresholds, self.labels.ancestors)

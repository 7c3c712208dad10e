"""Predicted tags with their names, for tracks and for albums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eno.errors import AudioError
from eno.models.aggregation import aggregate
from eno.models.calibration.calibrate import Calibration
from eno.tagging import VectorTagger


@dataclass(frozen=True)
class TagProbability:
    """The probability of one tag of one track.

    Attributes
    ----------
    family : str
        ``"genre"`` or ``"descriptor"``.
    threshold : float
        The tag is predicted if its probability is strictly above.
    """

    tag: str
    family: str
    probability: float
    threshold: float = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """The tags of one file of many, or the error that occurred.

    Attributes
    ----------
    named : dict
        The predicted tags, ``{"genres": [...], "descriptors": [...]}``; empty lists after an error.
    tags : list of TagProbability
        All tags, the most probable first; empty after an error.
    probabilities : np.ndarray [shape=(num_labels,), dtype=float32] or None
        In the order of ``labels.all_labels``; None after an error.
    """

    path: Path
    named: dict[str, list[str]] = field(default_factory=lambda: {"genres": [], "descriptors": []})
    tags: list[TagProbability] = field(default_factory=list)
    probabilities: np.ndarray | None = None
    error: AudioError | None = None


class TagPredictor(VectorTagger):
    """A `VectorTagger` that names tags and combines the tracks of albums; base class of predictors.

    Attributes
    ----------
    album_calibration : Calibration or None
        Of albums; None if combined probabilities are used as they are.
    album : str
        How the probabilities of an album's tracks are combined, see `eno.models.aggregation.aggregate`.
    """

    album_calibration: Calibration | None
    album: str

    @property
    def album_thresholds(self) -> np.ndarray:
        """Probability above which each tag of an album is predicted [shape=(num_labels,)]."""
        return np.full(len(self.labels), 0.5) if self.album_calibration is None else self.album_calibration.thresholds

    def name_tags(self, probabilities: np.ndarray, *, album: bool = False) -> list[TagProbability]:
        """Return all tags of a track, or of an album, the most probable first.

        `probabilities` has the shape (num_labels,).
        """
        thresholds = self.album_thresholds if album else self.thresholds
        columns = self.labels.all_labels, self.labels.families, probabilities.tolist(), thresholds.tolist()
        return sorted((TagProbability(*row) for row in zip(*columns, strict=True)), key=lambda tag: -tag.probability)

    def combine_tracks(
        self, probabilities: np.ndarray, albums: Sequence[str] | np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """Return the distinct albums, and their calibrated probabilities from those of their tracks.

        See `eno.models.aggregation.aggregate` for parameters and shapes.
        """
        names, combined = aggregate(probabilities, albums, self.album)
        return names, combined if self.album_calibration is None else self.album_calibration.apply(combined)

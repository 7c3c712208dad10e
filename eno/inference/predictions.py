"""From probabilities to names: calibrated, with the threshold of each label, for tracks and for albums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eno.data.labels.encoder import LabelEncoder
from eno.errors import AudioError
from eno.models.aggregation import aggregate
from eno.models.calibration.calibrate import Calibration
from eno.tagging import VectorTagger


@dataclass(frozen=True)
class TagProbability:
    """One tag of one track.

    Attributes
    ----------
    tag : str
        Its name.
    family : str
        ``"genre"`` or ``"descriptor"``.
    probability : float
        0 … 1.
    threshold : float
        Above it the tag is named.
    """

    tag: str
    family: str
    probability: float
    threshold: float = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is known of one file of many, or why nothing is.

    Attributes
    ----------
    path : Path
        The file, as it was named.
    named : dict
        ``{"genres": [...], "descriptors": [...]}``; empty lists where there is an error.
    tags : list of TagProbability
        Every tag with its probability and threshold, the likeliest first; none where there is an error.
    probabilities : np.ndarray [shape=(num_labels,), dtype=float32] or None
        In the order of ``labels.all_labels``; None where there is an error.
    error : AudioError or None
        Why the file cannot be read as audio.
    """

    path: Path
    named: dict[str, list[str]] = field(default_factory=lambda: {"genres": [], "descriptors": []})
    tags: list[TagProbability] = field(default_factory=list)
    probabilities: np.ndarray | None = None
    error: AudioError | None = None


class TagNaming(VectorTagger):
    """Names what a head gives; `eno.inference.predictor.EnoPredictor` is one that also hears.

    Parameters
    ----------
    labels : LabelEncoder
        Names the probabilities.
    calibration, album_calibration : Calibration or None
        What probabilities of tracks and of albums mean, and from which on a label is named.
    album : str
        How tracks make an album, see `eno.models.aggregation.aggregate`.
    """

    def __init__(
        self,
        labels: LabelEncoder,
        calibration: Calibration | None = None,
        album_calibration: Calibration | None = None,
        album: str = "mean_logit",
    ) -> None:
        self.labels = labels
        self.calibration, self.album_calibration, self.album = calibration, album_calibration, album

    @property
    def album_thresholds(self) -> np.ndarray:
        """Above which probability each tag of an album is named [shape=(num_labels,)]."""
        return np.full(len(self.labels), 0.5) if self.album_calibration is None else self.album_calibration.thresholds

    def name_tags(self, probabilities: np.ndarray, *, album: bool = False) -> list[TagProbability]:
        """Name probabilities [shape=(num_labels,)] of a track or an album, the likeliest first."""
        thresholds = self.album_thresholds if album else self.thresholds
        rows = zip(
            self.labels.all_labels, self.labels.families, probabilities.tolist(), thresholds.tolist(), strict=True
        )
        return sorted((TagProbability(*row) for row in rows), key=lambda tag: -tag.probability)

    def combine_tracks(
        self, probabilities: np.ndarray, albums: Sequence[str] | np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """From probabilities of tracks to calibrated ones of their albums; see `eno.models.aggregation.aggregate`."""
        names, combined = aggregate(probabilities, albums, self.album)
        return names, combined if self.album_calibration is None else self.album_calibration.apply(combined)

"""What people say of predicted tags, as training takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from eno.data.labels.encoder import LabelEncoder
from eno.errors import ConfigError, LabelError
from eno.training.feedback import Feedback
from eno.training.tracks import LabelledTracks

WEIGHT = 4.0
"""How much a track counts that somebody has listened to, beside one that only has the labels of its album."""


class Corrections:
    """Corrections that go over the labels of albums, and make their tracks weigh more.

    Parameters
    ----------
    feedback : Feedback
        What was said.
    weight : float
        What a corrected training track weighs; the others weigh 1.

    Attributes
    ----------
    tracks, used, unused : int
        Training tracks that `apply` has corrected, by how many corrections, and how many were left: of tracks of the
        validation and test part, of tracks without labels, and of words that are no labels.

    Raises
    ------
    ConfigError
        The weight is not above 0.
    """

    def __init__(self, feedback: Feedback, *, weight: float = WEIGHT) -> None:
        if not 0 < weight < np.inf:
            raise ConfigError(f"The weight of feedback is {weight}; it must be above 0.")
        self.feedback, self.weight = feedback, float(weight)
        self.tracks = self.used = 0
        self.unused = len(feedback.latest())

    @classmethod
    def read(cls, path: Path, *, weight: float = WEIGHT) -> Corrections:
        """Read a file of corrections.

        Raises
        ------
        LabelError
            It is missing, cannot be read, or holds no correction.
        ConfigError
            The weight is not above 0.
        """
        feedback = Feedback(path)
        if not feedback.latest():
            raise LabelError(f"{path}: holds no corrections. They are made on the page of 'eno serve'.")
        return cls(feedback, weight=weight)

    def apply(self, tracks: LabelledTracks, labels: LabelEncoder) -> tuple[LabelledTracks, np.ndarray]:
        """Set the labels of tracks right.

        Parameters
        ----------
        tracks : LabelledTracks
            Those of the training part. The others are not corrected: they judge this head by the same labels as others.
        labels : LabelEncoder
            The vocabulary.

        Returns
        -------
        tracks : LabelledTracks
            With other labels.
        sample_weight : np.ndarray [shape=(n,), dtype=float32]
            How much each weighs.
        """
        said = {one.track_id for one in self.feedback.latest()}
        rows = np.flatnonzero([track_id in said for track_id in tracks.ids])
        truth = tracks.Y[rows].toarray()
        counts = self.feedback.apply([tracks.ids[row] for row in rows], labels, truth)
        self.tracks, self.used = int((counts > 0).sum()), int(counts.sum())
        self.unused = len(self.feedback.latest()) - self.used
        others = np.ones(len(tracks.ids), np.float32)
        others[rows] = 0
        places = sparse.csr_array(
            (np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))), shape=(len(others), len(rows))
        )
        Y = sparse.csr_array(sparse.diags_array(others) @ tracks.Y + places @ sparse.csr_array(truth))
        Y.eliminate_zeros()
        sample_weight = np.ones(len(others), np.float32)
        sample_weight[rows[counts > 0]] = self.weight
        return replace(tracks, Y=Y), sample_weight

    def to_dict(self) -> dict[str, Any]:
        """What a record keeps of them."""
        return {
            "file": str(self.feedback.path),
            "weight": self.weight,
            "tracks": self.tracks,
            "corrections": self.used,
        }

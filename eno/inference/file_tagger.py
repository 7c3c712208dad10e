"""Files → tags, one at a time, many at once, or as an album."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.encoders import Encoder
from eno.errors import AudioError
from eno.inference.encode_files import encode_files
from eno.inference.predictions import Prediction, TagNaming, TagProbability
from eno.models import Head, Vectors
from eno.models.calibration.calibrate import Calibration
from eno.tagging import mean_vector

logger = logging.getLogger(__name__)

_BATCH_WINDOWS = 64


class Tagger(TagNaming):
    """Hears files and names their tags; `eno.inference.predictor.EnoPredictor` is one that can be saved and loaded.

    Parameters
    ----------
    encoder : Encoder
        Turns windows into vectors.
    head : Head
        Turns vectors into probabilities; `eno.models.IdentityHead` where they are probabilities already.
    labels, calibration, album_calibration, album
        See `eno.inference.predictions.TagNaming`.
    policy : WindowPolicy, optional
        Which windows of a file are listened to.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        labels: LabelEncoder,
        *,
        policy: WindowPolicy | None = None,
        calibration: Calibration | None = None,
        album_calibration: Calibration | None = None,
        album: str = "mean_logit",
    ) -> None:
        super().__init__(labels, calibration, album_calibration, album)
        self.encoder, self.head, self.spec = encoder, head, encoder.spec
        self.policy = policy or WindowPolicy()

    def predict(self, path: Path | str, threshold: float | None = None) -> dict[str, list[str]]:
        """Name the tags of a file.

        Parameters
        ----------
        path : Path or str
            An audio file.
        threshold : float, optional
            Tags with a probability strictly above it are named. Without it each tag has the threshold of its own that
            was learned on validation tracks, or 0.5 where none was.

        Returns
        -------
        dict
            ``{"genres": [...], "descriptors": [...]}``.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return self.labels.decode(self.predict_proba(path), self.thresholds if threshold is None else threshold)

    def predict_tags(self, path: Path | str) -> list[TagProbability]:
        """Every tag with its probability and threshold, the likeliest first.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return self.name_tags(self.predict_proba(path))

    def predict_many(
        self,
        paths: Iterable[Path | str],
        threshold: float | None = None,
        *,
        batch_windows: int = _BATCH_WINDOWS,
        threads: int | None = None,
    ) -> Iterator[Prediction]:
        """Name the tags of many files, of which several are decoded and encoded at a time.

        Parameters
        ----------
        paths : iterable of Path or str
            Audio files; taken only a few ahead of what is answered.
        threshold : float, optional
            As in `predict`.
        batch_windows : int
            About so many windows go through the encoder together.
        threads : int, optional
            How many threads decode: as many as there are processor cores, at most 8.

        Yields
        ------
        Prediction
            One for each path, in their order. A file that cannot be read has its `error`, and the others go on.

        Raises
        ------
        ValueError
            `batch_windows` or `threads` is below 1.
        """
        limits = self.thresholds if threshold is None else threshold
        for path, found in self._probabilities_of(paths, batch_windows, threads):
            if isinstance(found, AudioError):
                yield Prediction(path, error=found)
            else:
                yield Prediction(path, self.labels.decode(found, limits), self.name_tags(found), found)

    def predict_embeddings(self, X: Vectors, threshold: float | None = None) -> list[dict[str, list[str]]]:
        """Name the tags of tracks that are embedded already; as `predict`, one answer for each row.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
            As in `predict_vectors`.
        threshold : float, optional
            As in `predict`.
        """
        limits = self.thresholds if threshold is None else threshold
        return [self.labels.decode(row, limits) for row in self.predict_vectors(X)]

    def predict_album(self, paths: Iterable[Path | str], threshold: float | None = None) -> dict[str, list[str]]:
        """Name the tags of an album by all of its tracks together; as `predict`.

        Parameters
        ----------
        paths : iterable of Path or str
            Its audio files. Those that cannot be read are left out with a warning.
        threshold : float, optional
            As in `predict`; the thresholds that were learned are those of albums.

        Raises
        ------
        AudioError
            None of the files can be read as audio.
        """
        thresholds = self.album_thresholds if threshold is None else threshold
        return self.labels.decode(self.predict_album_proba(paths), thresholds)

    def predict_album_proba(self, paths: Iterable[Path | str]) -> np.ndarray:
        """Probabilities of an album [shape=(num_labels,), dtype=float32]; see `predict_album`."""
        tracks, failed = [], None
        for _, found in self._probabilities_of(paths):
            if isinstance(found, AudioError):
                failed = found
                logger.warning("left out of its album: %s", found)
            else:
                tracks.append(found)
        if not tracks:
            raise failed or ValueError("an album needs at least one file.")
        probabilities: np.ndarray = self.combine_tracks(np.stack(tracks), ["album"] * len(tracks))[1][0]
        return probabilities

    def predict_proba(self, path: Path | str) -> np.ndarray:
        """Probabilities in the order of ``labels.all_labels`` [shape=(num_labels,), dtype=float32].

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return cast(np.ndarray, self.predict_windows([self._windows(path)])[0])

    def embed(self, path: Path | str) -> np.ndarray:
        """Turn a file into one vector: the mean over its windows, which is what most heads take.

        Returns
        -------
        np.ndarray [shape=(dim,) or (layers, dim), dtype=float32]
            The second shape where the encoder gives more than one layer.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return mean_vector(self.spec, self._windows(path))

    def _probabilities_of(
        self, paths: Iterable[Path | str], batch_windows: int = _BATCH_WINDOWS, threads: int | None = None
    ) -> Iterator[tuple[Path, np.ndarray | AudioError]]:
        """Give the probabilities of each file, in their order, or why there are none."""
        batches = encode_files(
            paths, read=self._read, encode=self.encoder.encode, batch_windows=batch_windows, threads=threads
        )
        with closing(batches):
            for batch in batches:
                heard = [found for _, found in batch if not isinstance(found, AudioError)]
                rows = iter(self.predict_windows(heard) if heard else ())
                for path, found in batch:
                    yield path, found if isinstance(found, AudioError) else next(rows)

    def _windows(self, path: Path | str) -> np.ndarray:
        """Vectors of the windows of a file [shape=(windows, layers, dim)]."""
        return self.encoder.encode(self._read(path))

    def _read(self, path: Path | str) -> np.ndarray:
        """Decode the windows of a file [shape=(windows, window_samples)]."""
        spec = self.encoder.spec
        return read_windows(
            path,
            sample_rate=spec.sample_rate,
            window_samples=spec.window_samples,
            policy=self.policy,
            padding=spec.padding,
        ).samples

"""Tag audio files: one at a time, many at once, or as an album."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.encoders import Encoder
from eno.errors import AudioError
from eno.inference.encode_files import encode_files
from eno.inference.predictions import Prediction, TagPredictor, TagProbability
from eno.models import Vectors
from eno.tagging import mean_vector

logger = logging.getLogger(__name__)

_BATCH_WINDOWS = 64


class FileTagger(TagPredictor):
    """A `TagPredictor` that reads and encodes audio files. Its subclass sets the attributes.

    Attributes
    ----------
    policy : WindowPolicy
        Which windows of a file are encoded.
    """

    encoder: Encoder
    policy: WindowPolicy

    def predict(self, path: Path | str, threshold: float | None = None) -> dict[str, list[str]]:
        """Return the tags of a file.

        Parameters
        ----------
        path : Path or str
        threshold : float, optional
            Tags with a probability strictly above it are returned. By default each tag has its own calibrated
            threshold, or 0.5 without calibration.

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
        """Return all tags of a file with probabilities and thresholds, the most probable first.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return self.name_tags(self.predict_proba(path))

    def predict_proba(self, path: Path | str) -> np.ndarray:
        """Return the probabilities of a file [shape=(num_labels,), dtype=float32], ordered as ``labels.all_labels``.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return cast(np.ndarray, self.predict_windows([self._encode(path)])[0])

    def predict_many(
        self,
        paths: Iterable[Path | str],
        threshold: float | None = None,
        *,
        batch_windows: int = _BATCH_WINDOWS,
        threads: int | None = None,
    ) -> Iterator[Prediction]:
        """Tag many files, with several being decoded and encoded at a time.

        Parameters
        ----------
        paths : iterable of Path or str
            Read lazily, a few files ahead of the results.
        threshold : float, optional
            As in `predict`.
        batch_windows, threads
            See `eno.inference.encode_files.encode_files`.

        Yields
        ------
        Prediction
            One for each path, in order. A file that cannot be read has an `error`, and does not stop the others.

        Raises
        ------
        ValueError
            `batch_windows` or `threads` is below 1.
        """
        thresholds = self.thresholds if threshold is None else threshold
        for path, found in self._probabilities_of(paths, batch_windows, threads):
            if isinstance(found, AudioError):
                yield Prediction(path, error=found)
            else:
                yield Prediction(path, self.labels.decode(found, thresholds), self.name_tags(found), found)

    def predict_embeddings(self, X: Vectors, threshold: float | None = None) -> list[dict[str, list[str]]]:
        """Return the tags of each row of `X`, as in `predict`; see `predict_vectors` for `X`."""
        thresholds = self.thresholds if threshold is None else threshold
        return [self.labels.decode(row, thresholds) for row in self.predict_vectors(X)]

    def predict_album(self, paths: Iterable[Path | str], threshold: float | None = None) -> dict[str, list[str]]:
        """Return the tags of an album, combined from its files; as `predict`, with the thresholds of albums.

        Files that cannot be read are skipped with a warning.

        Raises
        ------
        AudioError
            No file can be read as audio.
        """
        thresholds = self.album_thresholds if threshold is None else threshold
        return self.labels.decode(self.predict_album_proba(paths), thresholds)

    def predict_album_proba(self, paths: Iterable[Path | str]) -> np.ndarray:
        """Return the probabilities of an album [shape=(num_labels,), dtype=float32]; see `predict_album`."""
        tracks, failed = [], None
        for _, found in self._probabilities_of(paths):
            if isinstance(found, AudioError):
                failed = found
                logger.warning("skipped in its album: %s", found)
            else:
                tracks.append(found)
        if not tracks:
            raise failed or ValueError("An album needs at least one file.")
        probabilities: np.ndarray = self.combine_tracks(np.stack(tracks), ["album"] * len(tracks))[1][0]
        return probabilities

    def embed(self, path: Path | str) -> np.ndarray:
        """Return the mean vector over the windows of a file, which is what most heads take.

        Returns
        -------
        np.ndarray [shape=(dim,) or (layers, dim), dtype=float32]
            The second shape if the encoder returns more than one layer.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return mean_vector(self.spec, self._encode(path))

    def _probabilities_of(
        self, paths: Iterable[Path | str], batch_windows: int = _BATCH_WINDOWS, threads: int | None = None
    ) -> Iterator[tuple[Path, np.ndarray | AudioError]]:
        batches = encode_files(
            paths, read=self._read, encode=self.encoder.encode, batch_windows=batch_windows, threads=threads
        )
        with closing(batches):
            for batch in batches:
                readable = [found for _, found in batch if not isinstance(found, AudioError)]
                rows = iter(self.predict_windows(readable) if readable else ())
                for path, found in batch:
                    yield path, found if isinstance(found, AudioError) else next(rows)

    def _encode(self, path: Path | str) -> np.ndarray:
        """Return the vectors of the windows of a file [shape=(windows, layers, dim)]."""
        return self.encoder.encode(self._read(path))

    def _read(self, path: Path | str) -> np.ndarray:
        return read_windows(
            path,
            sample_rate=self.spec.sample_rate,
            window_samples=self.spec.window_samples,
            policy=self.policy,
            padding=self.spec.padding,
        ).samples

"""Tag audio files: one at a time, many at once, or as an album."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np

from eno.audio.audio_file import open_audio
from eno.audio.reading import OpenWindows, sounding_windows
from eno.audio.windows import WindowPolicy
from eno.encoders import Encoder
from eno.errors import AudioError
from eno.inference.encode_files import encode_files
from eno.inference.predictions import Prediction, TagPredictor, TagProbability
from eno.models import Vectors
from eno.tagging import EncodedTrack, mean_vector

logger = logging.getLogger(__name__)

_BATCH_WINDOWS = 64


class FileTagger(TagPredictor):
    """A `TagPredictor` that reads and encodes audio files; `policies` choose the windows for each of the `encoders`.

    All methods that read a file raise an AudioError if it cannot be read as audio.
    """

    encoders: tuple[Encoder, ...]
    policies: tuple[WindowPolicy, ...]

    def predict(self, path: Path | str, threshold: float | None = None) -> dict[str, list[str]]:
        """Return the tags of a file as ``{"genres": [...], "descriptors": [...]}``.

        These are the tags with a probability strictly above `threshold`; by default above the calibrated threshold of
        each tag, or 0.5 without calibration.
        """
        return self.labels.decode(self.predict_proba(path), self.thresholds if threshold is None else threshold)

    def predict_tags(self, path: Path | str) -> list[TagProbability]:
        """Return all tags of a file with probabilities and thresholds, the most probable first."""
        return self.name_tags(self.predict_proba(path))

    def predict_proba(self, path: Path | str) -> np.ndarray:
        """Return the probabilities of a file [shape=(num_labels,), dtype=float32], ordered as ``labels.all_labels``."""
        return cast(np.ndarray, self.predict_windows([self._encode(path)])[0])

    def predict_many(
        self,
        paths: Iterable[Path | str],
        threshold: float | None = None,
        *,
        batch_windows: int = _BATCH_WINDOWS,
        threads: int | None = None,
    ) -> Iterator[Prediction]:
        """Tag many files, decoding and encoding several at a time; yields their predictions in order.

        The prediction for a file that cannot be read has an `error`. `threshold` is that of `predict`; see
        `eno.inference.encode_files.encode_files` for the other parameters.
        """
        thresholds = self.thresholds if threshold is None else threshold
        for path, found in self._probabilities_of(paths, batch_windows, threads):
            if isinstance(found, AudioError):
                yield Prediction(path, error=found)
            else:
                yield Prediction(path, self.labels.decode(found, thresholds), self.name_tags(found), found)

    def predict_embeddings(self, X: Vectors, threshold: float | None = None) -> list[dict[str, list[str]]]:
        """Return the tags of each row of `X`, see `predict` and `predict_vectors`."""
        thresholds = self.thresholds if threshold is None else threshold
        return [self.labels.decode(row, thresholds) for row in self.predict_vectors(X)]

    def predict_album(self, paths: Iterable[Path | str], threshold: float | None = None) -> dict[str, list[str]]:
        """Return the tags of an album as `predict` does, with probabilities from all files and thresholds for albums.

        Unreadable files are skipped with a warning; if no file is readable, an AudioError is raised.
        """
        thresholds = self.album_thresholds if threshold is None else threshold
        return self.labels.decode(self.predict_album_proba(paths), thresholds)

    def predict_album_proba(self, paths: Iterable[Path | str]) -> np.ndarray:
        """Return the probabilities of an album [shape=(num_labels,), dtype=float32]; see `predict_album`."""
        tracks, failed = [], None
        for _, found in self._probabilities_of(paths):
            if isinstance(found, AudioError):
                failed = found
                logger.warning("skipped: %s", found)
            else:
                tracks.append(found)
        if not tracks:
            raise failed or ValueError("An album needs at least one file.")
        probabilities: np.ndarray = self.combine_tracks(np.stack(tracks), ["album"] * len(tracks))[1][0]
        return probabilities

    def embed(self, path: Path | str) -> np.ndarray:
        """Return the mean vector of a file's windows [shape=(dim,), or (layers, dim) with several layers].

        With several encoders, their vectors are flattened and joined.
        """
        return mean_vector(self.specs, self._encode(path))

    def _probabilities_of(
        self, paths: Iterable[Path | str], batch_windows: int = _BATCH_WINDOWS, threads: int | None = None
    ) -> Iterator[tuple[Path, np.ndarray | AudioError]]:
        batches = encode_files(
            paths,
            read=self._read,
            encoders=[encoder.encode for encoder in self.encoders],
            batch_windows=batch_windows,
            threads=threads,
        )
        with closing(batches):
            for batch in batches:
                readable = [found for _, found in batch if not isinstance(found, AudioError)]
                rows = iter(self.predict_windows(readable) if readable else ())
                for path, found in batch:
                    yield path, found if isinstance(found, AudioError) else next(rows)

    def _encode(self, path: Path | str) -> EncodedTrack:
        return [encoder.encode(windows) for encoder, windows in zip(self.encoders, self._read(path), strict=True)]

    def _read(self, path: Path | str) -> Sequence[np.ndarray]:
        """Decode the windows for each encoder; encoders with the same windows share them."""
        read: dict[tuple[Any, ...], np.ndarray] = {}
        layouts = [
            (spec.sample_rate, spec.window_samples, policy, spec.padding)
            for spec, policy in zip(self.specs, self.policies, strict=True)
        ]
        with open_audio(Path(path)) as audio:
            for layout in layouts:
                if layout not in read:
                    read[layout] = sounding_windows(OpenWindows(audio, *layout)).samples
        return [read[layout] for layout in layouts]

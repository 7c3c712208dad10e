"""Tag audio files: one at a time, many at once, or as an album."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from eno.audio.audio_file import open_audio
from eno.audio.reading import OpenWindows, sounding_blocks
from eno.audio.windows import WindowPolicy
from eno.encoders import Encoder
from eno.errors import AudioError
from eno.files import Section
from eno.inference.encode_files import Encoded, decoded_ahead, encode_files
from eno.inference.predictions import Prediction, TagPredictor, TagProbability
from eno.models import Vectors
from eno.models.familiarity import of_album
from eno.tagging import EncodedTrack, mean_vector

logger = logging.getLogger(__name__)

Sections: TypeAlias = Mapping[Path, tuple[Path, Section]]
"""The files and limits of paths that stand for a part of a file, such as ``mix.flac#07``."""

_BATCH_WINDOWS = 64
_HELD_WINDOWS = 64  # a file with more windows is decoded and encoded in blocks of so many


class FileTagger(TagPredictor):
    """A `TagPredictor` that reads and encodes audio files; `policies` choose the windows for each of the `encoders`.

    All methods that read a file raise an AudioError if it cannot be read as audio.
    """

    encoders: tuple[Encoder, ...]
    policies: tuple[WindowPolicy, ...]

    def predict(self, path: Path | str, threshold: float | None = None) -> dict[str, list[str]]:
        """Return the tags of a file as ``{"genres": [...], "descriptors": [...]}``.

        Other families follow under their names. These are the tags with a probability strictly above `threshold`; by
        default above the calibrated threshold of each tag, or 0.5 without calibration.
        """
        return self.prediction(path, threshold).named

    def predict_tags(self, path: Path | str) -> list[TagProbability]:
        """Return all tags of a file with probabilities and thresholds, the most probable first."""
        return self.prediction(path).tags

    def predict_proba(self, path: Path | str) -> np.ndarray:
        """Return the probabilities of a file [shape=(num_labels,), dtype=float32], ordered as ``labels.all_labels``."""
        return cast(np.ndarray, self.prediction(path).probabilities)

    def prediction(self, path: Path | str, threshold: float | None = None) -> Prediction:
        """Return the tags of a file as `predict` does, with all probabilities and with how familiar the file is."""
        return self._predictions([(Path(path), self._encode(path))], threshold)[0]

    def predict_many(
        self,
        paths: Iterable[Path | str],
        threshold: float | None = None,
        *,
        sections: Sections | None = None,
        batch_windows: int = _BATCH_WINDOWS,
        threads: int | None = None,
    ) -> Iterator[Prediction]:
        """Tag many files, decoding and encoding several at a time; yields their predictions in order.

        The prediction for a file that cannot be read has an `error`. `threshold` is that of `predict`. `sections` are
        those of the paths that stand for a part of a file; see `eno.inference.encode_files.encode_files` for the other
        parameters.
        """
        places = sections or {}
        batches = encode_files(
            paths,
            read=lambda path: self._read(*places.get(path, (path, None))),
            encode_long=lambda path: self._encode(*places.get(path, (path, None))),
            encoders=[encoder.encode for encoder in self.encoders],
            batch_windows=batch_windows,
            threads=threads,
        )
        with closing(batches):
            for batch in batches:
                yield from self._predictions(batch, threshold)

    def predict_embeddings(self, X: Vectors, threshold: float | None = None) -> list[dict[str, list[str]]]:
        """Return the tags of each row of `X`, see `predict` and `predict_vectors`."""
        thresholds = self.thresholds if threshold is None else threshold
        return [self.labels.decode(row, thresholds) for row in self.predict_vectors(X)]

    def predict_album(self, paths: Iterable[Path | str], threshold: float | None = None) -> dict[str, list[str]]:
        """Return the tags of an album as `predict` does, with probabilities from all files and thresholds for albums.

        Unreadable files are skipped with a warning; if no file is readable, an AudioError is raised.
        """
        return self.album_prediction(paths, threshold).named

    def predict_album_proba(self, paths: Iterable[Path | str]) -> np.ndarray:
        """Return the probabilities of an album [shape=(num_labels,), dtype=float32]; see `predict_album`."""
        return cast(np.ndarray, self.album_prediction(paths).probabilities)

    def album_prediction(
        self, paths: Iterable[Path | str], threshold: float | None = None, *, sections: Sections | None = None
    ) -> Prediction:
        """Do the same as `prediction` for an album, see `predict_album`; the path is that of its first file.

        `sections` is that of `predict_many`.
        """
        tracks: list[Prediction] = []
        failed = None
        for one in self.predict_many(paths, sections=sections):
            if one.error is not None:
                failed = one.error
                logger.warning("skipped: %s", failed)
            else:
                tracks.append(one)
        if not tracks:
            raise failed or ValueError("An album needs at least one file.")
        _, combined = self.combine_tracks(np.array([one.probabilities for one in tracks]), [""] * len(tracks))
        named = self.labels.decode(combined[0], self.album_thresholds if threshold is None else threshold)
        familiarity = of_album([one.familiarity for one in tracks])
        tags = self.name_tags(combined[0], album=True)
        return Prediction(tracks[0].path, named, tags, combined[0], familiarity=familiarity)

    def embed(self, path: Path | str) -> np.ndarray:
        """Return the mean vector of a file's windows [shape=(dim,), or (layers, dim) with several layers].

        With several encoders, their vectors are flattened and joined.
        """
        return mean_vector(self.specs, self._encode(path))

    def _predictions(self, batch: list[Encoded], threshold: float | None) -> list[Prediction]:
        readable = [found for _, found in batch if not isinstance(found, AudioError)]
        thresholds = self.thresholds if threshold is None else threshold
        rows: Iterator[tuple[np.ndarray, float | None]] = iter(())
        if readable:
            X = self.vectors_of(readable)
            rows = zip(self.predict_vectors(X), self.familiarity_of(X), strict=True)
        predictions = []
        for path, found in batch:
            if isinstance(found, AudioError):
                predictions.append(Prediction(path, error=found))
            else:
                row, familiarity = next(rows)
                named = self.labels.decode(row, thresholds)
                predictions.append(Prediction(path, named, self.name_tags(row), row, familiarity=familiarity))
        return predictions

    def _encode(self, path: Path | str, section: Section | None = None) -> EncodedTrack:
        """Encode a file in blocks, so that memory does not grow with its length."""
        layouts = self._layouts()
        vectors: list[list[np.ndarray]] = [[] for _ in layouts]
        with open_audio(Path(path), section=section) as audio:
            for layout in dict.fromkeys(layouts):
                sharing = [place for place, one in enumerate(layouts) if one == layout]
                for block in decoded_ahead(sounding_blocks(OpenWindows(audio, *layout), _HELD_WINDOWS)):
                    for place in sharing:
                        vectors[place].append(self.encoders[place].encode(block))
        return [np.concatenate(blocks) for blocks in vectors]

    def _read(self, path: Path | str, section: Section | None = None) -> Sequence[np.ndarray] | None:
        """Decode the windows for each encoder, those with the same windows only once; None if there are too many."""
        layouts = self._layouts()
        read: dict[tuple[Any, ...], np.ndarray] = {}
        with open_audio(Path(path), section=section) as audio:
            opened = {layout: OpenWindows(audio, *layout) for layout in layouts}
            if any(len(windows.starts_s) > _HELD_WINDOWS for windows in opened.values()):
                return None
            for layout, windows in opened.items():
                (read[layout],) = sounding_blocks(windows, _HELD_WINDOWS)
        return [read[layout] for layout in layouts]

    def _layouts(self) -> list[tuple[Any, ...]]:
        """Return the arguments of `OpenWindows` for each encoder; several may have the same windows."""
        return [
            (spec.sample_rate, spec.window_samples, policy, spec.padding)
            for spec, policy in zip(self.specs, self.policies, strict=True)
        ]

"""Audio file → tags."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from eno.data.audio import read_windows
from eno.data.labels import LabelEncoder
from eno.data.windows import WindowPolicy
from eno.encoders import Encoder, is_own, load_encoder
from eno.errors import AudioError, FingerprintMismatch, ModelError
from eno.inference.saved import PredictorParts
from eno.models import Head, Vectors
from eno.models.aggregation import aggregate
from eno.models.bags import Bags
from eno.models.calibration import Calibration

logger = logging.getLogger(__name__)


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


class EnoPredictor:
    """Encoder, head and vocabulary together: `predict` takes a file and gives tags.

    Parameters
    ----------
    encoder : Encoder, or Path or str
        Turns windows into vectors. Or ``best_model.pt`` of ``scripts/train.py``: then `head` is the path of the
        vocabulary, ``label_encoder.json``, and nothing else is needed.
    head : Head or None
        Turns the mean of a track's vectors into probabilities. None where the vectors are probabilities already, as
        with musicnn's own tags.
    labels : LabelEncoder
        Names the probabilities.
    policy : WindowPolicy
        Which windows of a file are listened to: the same as when the head was trained.
    calibration, album_calibration : Calibration, optional
        What probabilities of tracks and of albums mean, and from which on a label is named.
    album : str
        How tracks make an album, see `eno.models.aggregation.aggregate`.

    Examples
    --------
    >>> predictor = EnoPredictor.musicnn("mtt")  # doctest: +SKIP
    >>> predictor.predict("song.mp3", threshold=0.3)  # doctest: +SKIP
    {'genres': ['classical'], 'descriptors': ['piano', 'solo']}
    >>> predictor = EnoPredictor("best_model.pt", "label_encoder.json")  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: Encoder | Path | str,
        head: Head | Path | str | None,
        labels: LabelEncoder | None = None,
        *,
        policy: WindowPolicy | None = None,
        calibration: Calibration | None = None,
        album_calibration: Calibration | None = None,
        album: str = "mean_logit",
    ) -> None:
        if isinstance(encoder, (str, Path)):
            encoder, labels = load_encoder("simple_cnn", model=str(encoder)), LabelEncoder.load(cast(Path, head))
            head = None
            if len(labels) != encoder.spec.dim:
                model = encoder.spec.location["model"]
                raise ModelError(f"{model}: gives {encoder.spec.dim} labels, the vocabulary has {len(labels)}.")
        if labels is None:
            raise TypeError("EnoPredictor needs labels, or the paths of best_model.pt and label_encoder.json.")
        self.encoder, self.head, self.labels = encoder, cast("Head | None", head), labels
        self.policy = policy or WindowPolicy()
        self.calibration, self.album_calibration, self.album = calibration, album_calibration, album

    @classmethod
    def musicnn(
        cls, vocabulary: str = "mtt", *, device: str = "auto", policy: WindowPolicy | None = None
    ) -> EnoPredictor:
        """Tag with the vocabulary that a musicnn checkpoint was trained on; nothing has to be learned.

        Parameters
        ----------
        vocabulary : {"mtt", "msd"}
            The 50 tags of MagnaTagATune or of the Million Song Dataset.
        device : str
            See `eno.devices.resolve_device`.
        policy : WindowPolicy, optional
            Which windows of a file are listened to.

        Returns
        -------
        EnoPredictor
            A tag's probability is its mean over the windows, as in musicnn's own tagger.
        """
        from eno.encoders.musicnn import MusiCNN, tag_labels  # torch takes seconds to import

        labels = tag_labels(vocabulary)
        return cls(MusiCNN(checkpoint=vocabulary, output="tags", device=device), None, labels, policy=policy)

    @classmethod
    def zero_shot(
        cls,
        encoder: Encoder,
        tags: LabelEncoder | Iterable[str],
        *,
        templates: Sequence[str] | None = None,
        policy: WindowPolicy | None = None,
    ) -> EnoPredictor:
        """Tag with any words, by what an encoder with a text tower knows of them; nothing has to be learned.

        Parameters
        ----------
        encoder : Encoder
            One with a text tower: ``load_encoder("clap")`` or ``"laion"``.
        tags : LabelEncoder or iterable of str
            The words. Plain words count as descriptors.
        templates : sequence of str, optional
            Prompts, each with ``{}`` for the tag; a tag's vector is their mean.
            `eno.inference.zero_shot.DEFAULT_TEMPLATES` are used otherwise.
        policy : WindowPolicy, optional
            Which windows of a file are listened to.

        Returns
        -------
        EnoPredictor
            Its head is a `eno.models.zero_shot.ZeroShotHead`: ``predictor.head.fit(X, Y)`` calibrates it.

        Raises
        ------
        ConfigError
            The encoder takes no text, there are no tags, or a template has no ``{}``.
        """
        from eno.inference.zero_shot import zero_shot_head

        labels = tags if isinstance(tags, LabelEncoder) else LabelEncoder([], tags)
        return cls(encoder, zero_shot_head(encoder, labels, templates), labels, policy=policy)

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
        for path in paths:
            try:
                tracks.append(self.predict_proba(path))
            except AudioError as error:
                failed = error
                logger.warning("left out of its album: %s", error)
        if not tracks:
            raise failed or ValueError("an album needs at least one file.")
        probabilities: np.ndarray = self.combine_tracks(np.stack(tracks), ["album"] * len(tracks))[1][0]
        return probabilities

    def combine_tracks(
        self, probabilities: np.ndarray, albums: Sequence[str] | np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """From probabilities of tracks to calibrated ones of their albums; see `eno.models.aggregation.aggregate`."""
        names, combined = aggregate(probabilities, albums, self.album)
        return names, combined if self.album_calibration is None else self.album_calibration.apply(combined)

    @property
    def thresholds(self) -> np.ndarray:
        """Above which probability each tag of a track is named [shape=(num_labels,)]."""
        return _thresholds(self.calibration, len(self.labels))

    @property
    def album_thresholds(self) -> np.ndarray:
        """Above which probability each tag of an album is named [shape=(num_labels,)]."""
        return _thresholds(self.album_calibration, len(self.labels))

    def name_tags(self, probabilities: np.ndarray, *, album: bool = False) -> list[TagProbability]:
        """Name probabilities [shape=(num_labels,)] of a track or an album, the likeliest first."""
        families = ["genre"] * self.labels.num_genres + ["descriptor"] * self.labels.num_descriptors
        thresholds = self.album_thresholds if album else self.thresholds
        rows = zip(self.labels.all_labels, families, probabilities.tolist(), thresholds.tolist(), strict=True)
        return sorted((TagProbability(*row) for row in rows), key=lambda tag: -tag.probability)

    def predict_proba(self, path: Path | str) -> np.ndarray:
        """Probabilities in the order of ``labels.all_labels`` [shape=(num_labels,), dtype=float32].

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        if self.head is not None and self.head.takes_windows:
            vectors = self._windows(path)
            one = Bags(vectors[:, 0] if vectors.shape[1] == 1 else vectors, np.array([len(vectors)]))
            return cast(np.ndarray, self.predict_vectors(one)[0])
        return cast(np.ndarray, self.predict_vectors(self.embed(path)[np.newaxis])[0])

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
        mean = self.encoder.spec.to_length(self._windows(path).mean(axis=0))
        return mean[0] if len(mean) == 1 else mean

    def _windows(self, path: Path | str) -> np.ndarray:
        """Vectors of the windows of a file [shape=(windows, layers, dim)]."""
        spec = self.encoder.spec
        windows = read_windows(
            path,
            sample_rate=spec.sample_rate,
            window_samples=spec.window_samples,
            policy=self.policy,
            padding=spec.padding,
        )
        return self.encoder.encode(windows.samples)

    def predict_vectors(self, X: Vectors) -> np.ndarray:
        """Probabilities of tracks that are embedded already.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
            Vectors of tracks, as `embed` or `eno.embeddings.store.EmbeddingStore.matrix` gives them, or their windows
            where the head takes these.

        Returns
        -------
        np.ndarray [shape=(n, num_labels), dtype=float32]
            In the order of ``labels.all_labels``, calibrated if the predictor is.
        """
        probabilities = np.asarray(X, np.float32) if self.head is None else self.head.predict_proba(X)
        return probabilities if self.calibration is None else self.calibration.apply(probabilities)

    def save(self, folder: Path | str) -> None:
        """Write the predictor as one folder of JSON and safetensors.

        The encoder's weights are not copied: its settings and fingerprint are kept, and it is loaded anew.
        """
        PredictorParts(
            spec=self.encoder.spec,
            labels=self.labels,
            head=self.head,
            policy=self.policy,
            calibration=self.calibration,
            album_calibration=self.album_calibration,
            album=self.album,
        ).save(folder)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        encoder: Encoder | None = None,
        **location: Any,
    ) -> EnoPredictor:
        """Read a predictor that `save` or ``eno train`` wrote.

        Parameters
        ----------
        folder : Path or str
            Where it lies.
        device, dtype : str
            See `eno.encoders.load_encoder`.
        encoder : Encoder, optional
            The encoder, if it is loaded already. Needed where it is one of your own, since a file may not decide
            which code is run.
        **location
            Where the encoder's weights lie, if not where they were when it was saved: ``model``, ``revision``.
            With another model, the revision that was saved does not count.

        Raises
        ------
        ModelError
            The folder holds no predictor, or it is damaged, or needs an encoder of somebody's own.
        FingerprintMismatch
            The encoder of today is not the one that the head was trained on.
        """
        parts = PredictorParts.load(folder, device=device)
        spec = parts.spec
        if encoder is None:
            if is_own(spec.name):
                raise ModelError(
                    f"{folder}: needs the encoder {spec.name!r}, which is no part of eno. If you trust its code, name "
                    f"it: --encoder {spec.name}, or load(folder, encoder=load_encoder({spec.name!r}))."
                )
            place = location if "model" in location else spec.location | location
            encoder = load_encoder(spec.name, device=device, dtype=dtype, **spec.options, **place)
        if encoder.spec.fingerprint != spec.fingerprint:
            raise FingerprintMismatch(
                f"the head in {folder}, trained on {spec.label}",
                encoder.spec.label,
                "Train it again on embeddings of the present encoder ('eno embed', 'eno train').",
            )
        return cls(
            encoder,
            parts.head,
            parts.labels,
            policy=parts.policy,
            calibration=parts.calibration,
            album_calibration=parts.album_calibration,
            album=parts.album,
        )


def _thresholds(calibration: Calibration | None, labels: int) -> np.ndarray:
    return np.full(labels, 0.5) if calibration is None else calibration.thresholds

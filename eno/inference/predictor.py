"""Audio file → tags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eno.data.audio import read_windows
from eno.data.labels import LabelEncoder
from eno.data.windows import WindowPolicy
from eno.encoders import Encoder, is_own, load_encoder
from eno.errors import FingerprintMismatch, ModelError
from eno.files import write_json
from eno.models import Head, load_head
from eno.spec import EncoderSpec

_FORMAT = 1
_PREDICTOR, _LABELS, _HEAD = "predictor.json", "label_encoder.json", "head"


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
    """

    tag: str
    family: str
    probability: float


class EnoPredictor:
    """Encoder, head and vocabulary together: `predict` takes a file and gives tags.

    Parameters
    ----------
    encoder : Encoder
        Turns windows into vectors.
    head : Head or None
        Turns the mean of a track's vectors into probabilities. None where the vectors are probabilities already, as
        with musicnn's own tags.
    labels : LabelEncoder
        Names the probabilities.
    policy : WindowPolicy
        Which windows of a file are listened to: the same as when the head was trained.

    Examples
    --------
    >>> predictor = EnoPredictor.musicnn("mtt")  # doctest: +SKIP
    >>> predictor.predict("song.mp3", threshold=0.3)  # doctest: +SKIP
    {'genres': ['classical'], 'descriptors': ['piano', 'solo']}
    """

    def __init__(
        self, encoder: Encoder, head: Head | None, labels: LabelEncoder, *, policy: WindowPolicy | None = None
    ) -> None:
        self.encoder, self.head, self.labels = encoder, head, labels
        self.policy = policy or WindowPolicy()

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

    def predict(self, path: Path | str, threshold: float = 0.5) -> dict[str, list[str]]:
        """Name the tags of a file.

        Parameters
        ----------
        path : Path or str
            An audio file.
        threshold : float
            Tags with a probability strictly above it are named.

        Returns
        -------
        dict
            ``{"genres": [...], "descriptors": [...]}``.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return self.labels.decode(self.predict_proba(path), threshold)

    def predict_tags(self, path: Path | str) -> list[TagProbability]:
        """Every tag with its probability, the likeliest first.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return self.name_tags(self.predict_proba(path))

    def name_tags(self, probabilities: np.ndarray) -> list[TagProbability]:
        """Name probabilities [shape=(num_labels,)], the likeliest first."""
        families = ["genre"] * self.labels.num_genres + ["descriptor"] * self.labels.num_descriptors
        rows = zip(self.labels.all_labels, families, probabilities.tolist(), strict=True)
        return sorted((TagProbability(*row) for row in rows), key=lambda tag: -tag.probability)

    def predict_proba(self, path: Path | str) -> np.ndarray:
        """Probabilities in the order of ``labels.all_labels`` [shape=(num_labels,), dtype=float32].

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        probabilities: np.ndarray = self.predict_vectors(self.embed(path)[np.newaxis])[0]
        return probabilities

    def embed(self, path: Path | str) -> np.ndarray:
        """Turn a file into the vector that the head takes: the mean over its windows.

        Returns
        -------
        np.ndarray [shape=(dim,) or (layers, dim), dtype=float32]
            The second shape where the encoder gives more than one layer.

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        spec = self.encoder.spec
        windows = read_windows(
            path,
            sample_rate=spec.sample_rate,
            window_samples=spec.window_samples,
            policy=self.policy,
            padding=spec.padding,
        )
        mean = spec.to_length(self.encoder.encode(windows.samples).mean(axis=0))
        return mean[0] if len(mean) == 1 else mean

    def predict_vectors(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of tracks that are embedded already.

        Parameters
        ----------
        X : np.ndarray [shape=(n, dim) or (n, layers, dim)]
            Vectors of tracks, as `embed` or `eno.embeddings.store.EmbeddingStore.matrix` gives them.

        Returns
        -------
        np.ndarray [shape=(n, num_labels), dtype=float32]
            In the order of ``labels.all_labels``.
        """
        return X if self.head is None else self.head.predict_proba(X)

    def save(self, folder: Path | str) -> None:
        """Write the predictor as one folder of JSON and safetensors.

        The encoder's weights are not copied: its settings and fingerprint are kept, and it is loaded anew.
        """
        save_predictor(folder, self.encoder.spec, self.head, self.labels, policy=self.policy)

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
        folder = Path(folder)
        spec, policy, has_head = read_description(folder)
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
        head = load_head(folder / _HEAD, device=device) if has_head else None
        return cls(encoder, head, LabelEncoder.load(folder / _LABELS), policy=policy)


def save_predictor(
    folder: Path | str, spec: EncoderSpec, head: Head | None, labels: LabelEncoder, *, policy: WindowPolicy
) -> None:
    """Write a predictor without loading its encoder; see `EnoPredictor`.

    Parameters
    ----------
    folder : Path or str
        Is created; a predictor in it is replaced.
    spec : EncoderSpec
        The encoder on whose vectors the head was trained.
    head, labels, policy
        As in `EnoPredictor`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    labels.save(folder / _LABELS)
    if head is not None:
        head.save(folder / _HEAD)
    content = {"format": _FORMAT, "encoder": spec.to_dict(), "windows": asdict(policy), "head": head is not None}
    write_json(folder / _PREDICTOR, content)


def read_description(folder: Path) -> tuple[EncoderSpec, WindowPolicy, bool]:
    """Read what a saved predictor says of itself, without loading encoder or head.

    Returns
    -------
    spec : EncoderSpec
        The encoder that it needs.
    policy : WindowPolicy
        Which windows of a file it listens to.
    has_head : bool
        Whether a head was saved with it.

    Raises
    ------
    ModelError
        The folder holds no predictor, or it is damaged.
    """
    path = folder / _PREDICTOR
    if not path.is_file():
        raise ModelError(f"{folder}: holds no predictor ({_PREDICTOR} is missing). 'eno train' makes one.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ModelError(f"{path}: has format {content['format']}; this eno reads format {_FORMAT}.")
        return EncoderSpec.from_dict(content["encoder"]), WindowPolicy(**content["windows"]), content["head"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is damaged ({error!r}). Train the head again.") from error

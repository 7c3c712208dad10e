"""Audio file → tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.encoders import Encoder, is_own, load_encoder
from eno.errors import FingerprintMismatch, ModelError
from eno.inference.file_tagger import Tagger
from eno.inference.predictions import Prediction, TagProbability
from eno.inference.predictor_folder import PredictorParts
from eno.inference.sources import find_predictor
from eno.models import Head, IdentityHead
from eno.models.calibration.calibrate import Calibration

__all__ = ["EnoPredictor", "Prediction", "TagProbability"]


class EnoPredictor(Tagger):
    """Encoder, head and vocabulary together: `predict` takes a file and gives tags.

    Parameters
    ----------
    encoder : Encoder, or Path or str
        Turns windows into vectors. Or ``best_model.pt`` of ``scripts/train.py``: then `head` is the path of the
        vocabulary, ``label_encoder.json``, and nothing else is needed.
    head : Head
        Turns the vectors of a track into probabilities. `eno.models.IdentityHead` where they are probabilities already,
        as with musicnn's own tags.
    labels : LabelEncoder
        Names the probabilities.
    policy : WindowPolicy
        Which windows of a file are listened to: the same as when the head was trained.
    calibration, album_calibration : Calibration, optional
        What probabilities of tracks and of albums mean, and from which on a label is named.
    album : str
        How tracks make an album, see `eno.models.aggregation.aggregate`.

    Notes
    -----
    Threads may share a predictor: nothing that it does changes it.

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
        head: Head | Path | str,
        labels: LabelEncoder | None = None,
        *,
        policy: WindowPolicy | None = None,
        calibration: Calibration | None = None,
        album_calibration: Calibration | None = None,
        album: str = "mean_logit",
    ) -> None:
        if isinstance(encoder, (str, Path)):
            encoder, labels = load_encoder("simple_cnn", model=str(encoder)), LabelEncoder.load(cast(Path, head))
            head = IdentityHead()
            if len(labels) != encoder.spec.dim:
                model = encoder.spec.location["model"]
                raise ModelError(f"{model}: gives {encoder.spec.dim} labels, the vocabulary has {len(labels)}.")
        if labels is None:
            raise TypeError("EnoPredictor needs labels, or the paths of best_model.pt and label_encoder.json.")
        super().__init__(
            encoder,
            cast(Head, head),
            labels,
            policy=policy,
            calibration=calibration,
            album_calibration=album_calibration,
            album=album,
        )

    @classmethod
    def musicnn(
        cls, vocabulary: Literal["mtt", "msd"] = "mtt", *, device: str = "auto", policy: WindowPolicy | None = None
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
        from eno.encoders.musicnn.encoder import MusiCNN, tag_labels  # torch takes seconds to import

        labels = tag_labels(vocabulary)
        return cls(MusiCNN(checkpoint=vocabulary, output="tags", device=device), IdentityHead(), labels, policy=policy)

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
    def from_pretrained(
        cls,
        source: Path | str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        encoder: Encoder | None = None,
        **location: Any,
    ) -> EnoPredictor:
        """Load a predictor from a folder, the Hugging Face hub or ClearML's model registry.

        Parameters
        ----------
        source : Path or str
            A folder written by `save` or ``eno train``; ``user/name`` or ``user/name@revision`` on the hub; or
            the id of a ClearML model. See `eno.inference.sources.find_predictor`.
        device, dtype, encoder, **location
            As in `load`.

        Raises
        ------
        ModelError, FingerprintMismatch
            As in `load`; ModelError also if the download fails.
        """
        return cls.load(find_predictor(source), device=device, dtype=dtype, encoder=encoder, **location)

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

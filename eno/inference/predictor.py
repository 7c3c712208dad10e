"""The predictor: from an audio file to its tags."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.encoders import Encoder, ImportedEncoder, is_imported, is_own, load_encoder
from eno.errors import FingerprintMismatch, ModelError
from eno.inference.file_tagger import FileTagger
from eno.inference.predictions import Prediction, TagProbability
from eno.inference.predictor_folder import PredictorParts
from eno.inference.sources import find_predictor
from eno.models import Head, IdentityHead
from eno.models.calibration.calibrate import Calibration
from eno.models.familiarity import Familiarity
from eno.models.taught.fitting import TagEstimate
from eno.models.taught.tags import TaughtTags
from eno.spec import EncoderSpec, label_of

if TYPE_CHECKING:
    from eno.embeddings.store.joined_stores import Stores

__all__ = ["EnoPredictor", "Prediction", "TagProbability"]


class EnoPredictor(FileTagger):
    """Tags audio files with one or several encoders, a head and a vocabulary. Threads may share a predictor.

    Parameters
    ----------
    encoder : Encoder, sequence of Encoder, Path or str
        An encoder; or several, whose mean vectors are flattened and joined in this order;
        or the path of the ``best_model.pt`` of ``scripts/train.py``. In the latter case `head` is the path of
        ``label_encoder.json``, and no other argument is needed.
    head : Head, Path or str
        `eno.models.IdentityHead` if the encoder returns probabilities, as with musicnn's own tags.
    policy : WindowPolicy or sequence of WindowPolicy, optional
        Which windows of a file are encoded, for all encoders or for each; should be what the head was trained with.
    calibration, album_calibration : Calibration, optional
        Calibration and thresholds for tracks and for albums.
    album : str
        How the probabilities of an album's tracks are combined, see `eno.models.aggregation.aggregate`.
    taught : TaughtTags, optional
        Tags that were taught; `labels` are only those of the head.
    familiarity : Familiarity, optional
        Compares files with the training tracks.
    exponent : float
        How vectors are scaled when a tag is taught; see `eno.models.taught.space.choose_exponent`.

    Examples
    --------
    >>> predictor = EnoPredictor.musicnn("mtt")  # doctest: +SKIP
    >>> predictor.predict("song.mp3", threshold=0.3)  # doctest: +SKIP
    {'genres': ['classical'], 'descriptors': ['piano', 'solo']}
    >>> predictor = EnoPredictor("best_model.pt", "label_encoder.json")  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: Encoder | Sequence[Encoder] | Path | str,
        head: Head | Path | str,
        labels: LabelEncoder | None = None,
        *,
        policy: WindowPolicy | Sequence[WindowPolicy] | None = None,
        calibration: Calibration | None = None,
        album_calibration: Calibration | None = None,
        album: str = "mean_logit",
        taught: TaughtTags | None = None,
        familiarity: Familiarity | None = None,
        exponent: float = 1.0,
    ) -> None:
        encoders: tuple[Encoder, ...]
        if isinstance(encoder, str | Path):
            vocabulary = cast(Path, head)
            network = load_encoder("simple_cnn", model=str(encoder))
            encoders, head = (network,), IdentityHead()
            labels = LabelEncoder.load(vocabulary)
            if len(labels) != network.spec.dim:
                model = network.spec.location["model"]
                raise ModelError(
                    f"{model}: has {network.spec.dim} outputs, but {vocabulary} has {len(labels)} labels. Pass the "
                    "label_encoder.json that was saved with the model."
                )
        elif isinstance(encoder, Sequence):
            encoders = tuple(cast(Sequence[Encoder], encoder))
        else:
            encoders = (encoder,)
        if labels is None:
            raise TypeError("EnoPredictor needs labels, or the paths of best_model.pt and label_encoder.json.")
        several = policy if isinstance(policy, Sequence) else [policy or WindowPolicy()] * len(encoders)
        if len(several) != len(encoders):
            raise ValueError(f"There are {len(several)} window policies for {len(encoders)} encoders.")
        self.encoders, self.specs = encoders, tuple(one.spec for one in encoders)
        self.policies = tuple(several)
        self.head, self.labels = cast(Head, head), labels
        self.calibration, self.album_calibration, self.album = calibration, album_calibration, album
        self.taught = taught
        self.labels = taught.added_to(labels) if taught else labels
        self.familiarity, self.exponent = familiarity, exponent

    @classmethod
    def musicnn(
        cls, vocabulary: Literal["mtt", "msd"] = "mtt", *, device: str = "auto", policy: WindowPolicy | None = None
    ) -> EnoPredictor:
        """Return musicnn's own tagger for the 50 tags of MagnaTagATune or of the Million Song Dataset.

        It needs no training. Probabilities are means over windows.
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
        """Return a predictor of any tags that needs no training; ``predictor.head.fit(X, Y)`` calibrates it.

        Parameters
        ----------
        encoder : Encoder
            With a text tower: ``load_encoder("clap")`` or ``"laion"``.
        tags : LabelEncoder or iterable of str
            Plain strings become descriptors.
        templates, policy
            See `eno.inference.zero_shot.zero_shot_head`, which also lists the exceptions, and `EnoPredictor`.
        """
        from eno.inference.zero_shot import zero_shot_head

        labels = tags if isinstance(tags, LabelEncoder) else LabelEncoder([], tags)
        return cls(encoder, zero_shot_head(encoder, labels, templates), labels, policy=policy)

    def save(self, folder: Path | str) -> None:
        """Save the predictor to a folder, without the encoder's weights; see `eno.inference.predictor_folder`."""
        PredictorParts(
            specs=self.specs,
            labels=self.labels,
            head=self.head,
            policies=self.policies,
            calibration=self.calibration,
            album_calibration=self.album_calibration,
            album=self.album,
            taught=self.taught,
            familiarity=self.familiarity,
            exponent=self.exponent,
        ).save(folder)

    def push_to_hub(
        self, repository: str, *, folder: Path | str | None = None, private: bool = True, token: str | None = None
    ) -> str:
        """Upload the predictor to the Hugging Face hub; `from_pretrained` loads it. Returns the address of the commit.

        Parameters
        ----------
        repository, private, token
            See `eno.inference.sources.push_to_hub`.
        folder : Path or str, optional
            Where the predictor is saved, with its record of training and its evaluation for the model card. By default
            it is saved to a temporary folder, without them.
        """
        from eno.inference.sources import push_to_hub

        if folder is not None:
            return push_to_hub(folder, repository, private=private, token=token)
        with tempfile.TemporaryDirectory() as temporary:
            self.save(temporary)
            return push_to_hub(temporary, repository, private=private, token=token)

    def teach(
        self,
        tag: str,
        examples: Iterable[Path | str],
        *,
        background: Stores,
        counter_examples: Iterable[Path | str] = (),
        family: str | None = None,
    ) -> TagEstimate:
        """Add a tag from a few examples, or improve one that was taught before; `save` keeps it.

        The probabilities of other tags do not change. Not while other threads use this predictor.

        Parameters
        ----------
        tag : str
        examples : iterable of Path or str
            Tracks with the tag: files, or track ids of the store. Those of earlier calls are used, too.
        background : EmbeddingStore or JoinedStores
            A collection embedded with the predictor's encoder. Most of its tracks should not have the tag.
        counter_examples : iterable of Path or str, optional
            Tracks without the tag, in particular those that were given it by mistake.
        family : str, optional
            Such as ``"genre"``; by default that of the tag so far, or else ``"descriptor"``.

        Returns
        -------
        TagEstimate
            How well the tag does on examples that were held out.

        Raises
        ------
        AudioError
            A file cannot be read.
        LabelError
            The predictor was trained on this tag, or there are no examples.
        FingerprintMismatch
            The store holds vectors of another encoder.
        """
        from eno.inference.teaching import Teaching

        teaching = Teaching(background, *self.specs, embed=self.embed)
        found = [teaching.examples(names, strict=True)[0] for names in (examples, counter_examples)]
        taught = teaching.teach(self, tag, *found, family=family)
        self.labels = taught.added_to(self.taught.removed_from(self.labels) if self.taught else self.labels)
        self.taught = taught
        return taught.tags[-1].fitted.estimate

    @classmethod
    def from_pretrained(cls, source: Path | str, **options: Any) -> EnoPredictor:
        """Load a predictor from a folder, the Hugging Face hub or ClearML's model registry.

        See `eno.inference.sources.find_predictor` for `source`, and `load` for `options`.
        """
        return cls.load(find_predictor(source), **options)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        encoder: Encoder | Sequence[Encoder] | None = None,
        **location: Any,
    ) -> EnoPredictor:
        """Load a predictor that `save` or ``eno train`` wrote.

        Parameters
        ----------
        folder : Path or str
        device, dtype : str
            See `eno.encoders.load_encoder`.
        encoder : Encoder or sequence of Encoder, optional
            Encoders that are already loaded. Required for those that are not part of eno, because a file must not
            decide which code runs.
        **location
            ``model`` and ``revision`` of the weights of the only encoder to load, if they have moved. With a new
            model, the saved revision is ignored.

        Raises
        ------
        ModelError
            The folder holds no predictor or a damaged one, or `encoder` is missing.
        FingerprintMismatch
            The encoder differs from the one that the head was trained on.
        """
        parts = PredictorParts.load(folder, device=device)
        given = encoder if isinstance(encoder, Sequence) else [encoder] if encoder is not None else []
        loaded = {one.spec.fingerprint: one for one in given}
        missing = [spec for spec in parts.specs if spec.fingerprint not in loaded]
        if location and len(missing) > 1:
            raise TypeError(f"{folder}: {', '.join(location)} cannot be set for several encoders. Pass encoder=.")
        if len(loaded) > len(parts.specs) - len(missing):
            raise _mismatch(folder, parts.specs, [one.spec for one in given])
        for spec in missing:
            loaded[spec.fingerprint] = _load(folder, spec, device, dtype, location)
        return cls(
            [loaded[spec.fingerprint] for spec in parts.specs],
            parts.head,
            parts.taught.removed_from(parts.labels) if parts.taught else parts.labels,
            policy=parts.policies,
            calibration=parts.calibration,
            album_calibration=parts.album_calibration,
            album=parts.album,
            taught=parts.taught,
            familiarity=parts.familiarity,
            exponent=parts.exponent,
        )


def _load(folder: Path | str, spec: EncoderSpec, device: str, dtype: str, location: dict[str, Any]) -> Encoder:
    """Load an encoder of a saved predictor."""
    if is_own(spec.name):
        raise ModelError(
            f"{folder}: needs the encoder {spec.name!r}, which is not part of eno. If you trust its code, "
            f"specify --encoder {spec.name}, or in Python load(folder, encoder=load_encoder({spec.name!r}))."
        )
    if is_imported(spec.name):
        return ImportedEncoder(spec)
    place = location if "model" in location else spec.location | location
    encoder = load_encoder(spec.name, device=device, dtype=dtype, **spec.options, **place)
    if encoder.spec.fingerprint != spec.fingerprint:
        raise _mismatch(folder, [spec], [encoder.spec])
    return encoder


def _mismatch(folder: Path | str, expected: Sequence[EncoderSpec], found: Sequence[EncoderSpec]) -> FingerprintMismatch:
    return FingerprintMismatch(
        f"the head in {folder}, trained on {label_of(expected)}",
        label_of(found),
        "Retrain it on embeddings of the current encoder ('eno embed', 'eno train').",
    )

"""Predictors on disk.

::

    README.md                model card, for people
    predictor.json           settings of the encoder or encoders, their window policies, aggregation of albums
    label_encoder.json       the vocabulary
    head/                    settings as JSON, weights as safetensors or in LightGBM's text format
    calibration.json         calibration and thresholds of tracks (optional)
    album_calibration.json   the same for albums (optional)
    taught-*.safetensors     taught tags with their examples; * is the fingerprint of the encoders (optional)
    familiarity.safetensors  how far the training tracks are from their neighbours (optional)
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.data.names import label_key
from eno.errors import EnoError, ModelError, check_format
from eno.files import write_json
from eno.inference.model_card import write_model_card
from eno.inference.predictions import TagPredictor
from eno.models import Head, IdentityHead, load_head
from eno.models.aggregation import AGGREGATIONS
from eno.models.calibration.calibrate import Calibration
from eno.models.familiarity import Familiarity
from eno.models.taught.tags import TaughtTags
from eno.spec import EncoderSpec, fingerprint_of

logger = logging.getLogger(__name__)

_FORMAT, _JOINED_FORMAT = 1, 2  # earlier versions cannot use the predictors of several encoders
_ATTEMPTS = 5  # to read a predictor that others replace
PREDICTOR, LABELS, HEAD = "predictor.json", "label_encoder.json", "head"
_CALIBRATION, _ALBUM_CALIBRATION = "calibration.json", "album_calibration.json"
_TAUGHT = "taught-{}.safetensors"
_FAMILIARITY = "familiarity.safetensors"


@dataclass(frozen=True, kw_only=True)
class PredictorParts(TagPredictor):
    """A predictor without its encoders, for tagging vectors. See `eno.inference.predictor.EnoPredictor`."""

    specs: tuple[EncoderSpec, ...]
    labels: LabelEncoder
    head: Head
    policies: tuple[WindowPolicy, ...]
    calibration: Calibration | None = None
    album_calibration: Calibration | None = None
    album: str = "mean_logit"
    taught: TaughtTags | None = None  # None when it has just been trained
    familiarity: Familiarity | None = None
    exponent: float = 1.0

    def save(self, folder: Path | str) -> None:
        """Save the predictor, replacing any that is in the folder. If `taught` is None, taught tags there are kept."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # The folder is not a predictor without this file, so a crash cannot leave a mixture of two predictors.
        (folder / PREDICTOR).unlink(missing_ok=True)
        (self.labels if self.taught is None else self.taught.removed_from(self.labels)).save(folder / LABELS)
        self.head.save(folder / HEAD)
        optional = {
            _CALIBRATION: self.calibration, _ALBUM_CALIBRATION: self.album_calibration, _FAMILIARITY: self.familiarity
        }  # fmt: skip
        for name, part in optional.items():
            (folder / name).unlink(missing_ok=True)
            if part is not None:
                part.save(folder / name)
        if self.taught is not None:
            self.taught.save(folder / _TAUGHT.format(fingerprint_of(self.specs)))
        encoders = [
            {"encoder": spec.to_dict(), "windows": asdict(policy)}
            for spec, policy in zip(self.specs, self.policies, strict=True)
        ]
        joined = {"format": _JOINED_FORMAT, "encoders": encoders}
        content = joined if len(encoders) > 1 else {"format": _FORMAT, **encoders[0]}
        write_json(folder / PREDICTOR, content | {"head": True, "album": self.album, "exponent": self.exponent})
        update_model_card(folder)

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto", taught: bool = True) -> PredictorParts:
        """Load what `save` wrote, with or without its taught tags.

        Raises a ModelError if that is missing, damaged or being replaced.
        """
        folder = Path(folder)
        for _ in range(_ATTEMPTS):
            before = _version(folder)
            if before is None:
                read_description(folder)  # says what is missing, unless it has just been saved
                continue
            try:
                parts = cls._read(folder, device, taught)
            except EnoError:
                if before == _version(folder):
                    raise
            else:
                if before == _version(folder):
                    return parts
        raise ModelError(f"{folder}: another process is saving a predictor there. Try again when it has finished.")

    @classmethod
    def _read(cls, folder: Path, device: str, taught: bool) -> PredictorParts:
        description = read_description(folder)
        labels = LabelEncoder.load(folder / LABELS)
        calibrations = [
            Calibration.load(folder / name, labels=len(labels)) if (folder / name).is_file() else None
            for name in (_CALIBRATION, _ALBUM_CALIBRATION)
        ]
        tags = _taught_tags(folder, description.specs, labels) if taught else TaughtTags()
        return cls(
            specs=description.specs,
            labels=tags.added_to(labels),
            head=load_head(folder / HEAD, device=device) if description.has_head else IdentityHead(),
            policies=description.policies,
            calibration=calibrations[0],
            album_calibration=calibrations[1],
            album=description.album,
            taught=tags if taught else None,
            familiarity=Familiarity.load(folder / _FAMILIARITY) if (folder / _FAMILIARITY).is_file() else None,
            exponent=description.exponent,
        )


def update_model_card(folder: Path) -> None:
    """Write the model card of a saved predictor again, after it was trained or evaluated."""
    path = folder / _CALIBRATION
    thresholds = Calibration.load(path).thresholds if path.is_file() else None
    write_model_card(folder, read_description(folder).specs, thresholds=thresholds)


def _taught_tags(folder: Path, specs: Sequence[EncoderSpec], labels: LabelEncoder) -> TaughtTags:
    """Load the taught tags, without those that are now among the trained labels."""
    found = TaughtTags.load(folder / _TAUGHT.format(fingerprint_of(specs)))
    trained = set(map(label_key, labels.all_labels))
    both = [tag.name for tag in found.tags if label_key(tag.name) in trained]
    if both:
        logger.warning(
            "%s: the predictor was trained on %s, so the taught tags of that name are not used. To use them, train "
            "without these labels.", folder, ", ".join(both),
        )  # fmt: skip
    return found.without(*both)


def save_taught(folder: Path, taught: TaughtTags) -> None:
    """Change the taught tags of a saved predictor."""
    description = folder / PREDICTOR
    taught.save(folder / _TAUGHT.format(fingerprint_of(read_description(folder).specs)))
    # Others see from its inode that the predictor has changed; its time still tells when the predictor was trained.
    trained_ns = description.stat().st_mtime_ns
    write_json(description, json.loads(description.read_text(encoding="utf-8")))
    os.utime(description, ns=(trained_ns, trained_ns))


def copy_taught(source: Path, folder: Path) -> None:
    """Copy the taught tags of one predictor's folder to another one, for all encoders."""
    for path in source.glob(_TAUGHT.format("*")):
        shutil.copy2(path, folder)


def taught_before(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the taught tags that a predictor has, and of those for vectors of other encoders."""
    current = _TAUGHT.format(fingerprint_of(read_description(folder).specs))
    names: dict[bool, list[str]] = {True: [], False: []}
    for path in sorted(folder.glob(_TAUGHT.format("*"))):
        names[path.name == current] += [tag.name for tag in TaughtTags.load(path).tags]
    return names[True], names[False]


@dataclass(frozen=True)
class Description:
    """The content of ``predictor.json``."""

    specs: tuple[EncoderSpec, ...]
    policies: tuple[WindowPolicy, ...]
    has_head: bool  # false only in early predictors whose vectors are probabilities
    album: str
    exponent: float  # for teaching; 1 in predictors of earlier versions


def read_description(folder: Path) -> Description:
    """Read ``predictor.json`` alone; raises a ModelError if it is missing or damaged."""
    path = folder / PREDICTOR
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_format(path, content["format"], _JOINED_FORMAT, ModelError)
        encoders = content["encoders"] if content["format"] == _JOINED_FORMAT else [content]
        specs = tuple(EncoderSpec.from_dict(_with_location(one["encoder"], folder)) for one in encoders)
        policies = tuple(WindowPolicy(**one["windows"]) for one in encoders)
        if not specs:
            raise ValueError("no encoders")
        album = content.get("album", "mean_logit")
        if album not in AGGREGATIONS:
            raise ValueError(f"album {album!r}")
        return Description(specs, policies, content["head"], album, float(content.get("exponent", 1.0)))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{folder}: not a predictor ({PREDICTOR} is missing). 'eno train' writes one.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error!r}). Retrain the head with 'eno train'.") from error


def _version(folder: Path) -> tuple[int, int] | None:
    """Return what changes whenever a predictor is saved, and None while it is being saved."""
    try:
        status = (folder / PREDICTOR).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _with_location(encoder: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Update the location of weights that are in the predictor's folder, which may have been moved."""
    model = encoder.get("location", {}).get("model")
    if model is None or not (folder / Path(model).name).is_file():
        return encoder
    return encoder | {"location": encoder["location"] | {"model": str(folder / Path(model).name)}}

"""Predictors on disk: one folder of JSON and safetensors.

::

    predictor.json           encoder, its fingerprint, windows, how tracks make an album
    label_encoder.json       the vocabulary
    head/                    settings as JSON, weights as safetensors or in LightGBM's text
    calibration.json         what probabilities mean, and the threshold of each label
    album_calibration.json   the same for albums
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.errors import ModelError
from eno.files import write_json
from eno.models import Head, IdentityHead, load_head
from eno.models.aggregation import AGGREGATIONS
from eno.models.calibration.calibrate import Calibration
from eno.spec import EncoderSpec
from eno.tagging import VectorTagger

_FORMAT = 1
PREDICTOR, LABELS, HEAD = "predictor.json", "label_encoder.json", "head"
_CALIBRATION, _ALBUM_CALIBRATION = "calibration.json", "album_calibration.json"


@dataclass(frozen=True, kw_only=True)
class PredictorParts(VectorTagger):
    """All of a predictor but its encoder, of which only the identity is kept.

    Attributes
    ----------
    spec : EncoderSpec
        The encoder on whose vectors the head was trained.
    labels : LabelEncoder
        Names the probabilities.
    policy : WindowPolicy
        Which windows of a file are listened to.
    calibration, album_calibration : Calibration or None
        Of tracks and of albums; None where probabilities are taken as they are.
    album : str
        How tracks make an album, see `eno.models.aggregation.aggregate`.
    """

    spec: EncoderSpec
    labels: LabelEncoder
    head: Head
    policy: WindowPolicy
    calibration: Calibration | None = None
    album_calibration: Calibration | None = None
    album: str = "mean_logit"

    def save(self, folder: Path | str) -> None:
        """Write the predictor; one that is in the folder is replaced."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # While this is missing, the folder holds no predictor: a crash leaves none rather than two halves.
        (folder / PREDICTOR).unlink(missing_ok=True)
        self.labels.save(folder / LABELS)
        self.head.save(folder / HEAD)
        for name, calibration in ((_CALIBRATION, self.calibration), (_ALBUM_CALIBRATION, self.album_calibration)):
            (folder / name).unlink(missing_ok=True)
            if calibration is not None:
                calibration.save(folder / name)
        content = {"format": _FORMAT, "encoder": self.spec.to_dict(), "windows": asdict(self.policy)}
        write_json(folder / PREDICTOR, content | {"head": True, "album": self.album})

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> PredictorParts:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            The folder holds no predictor, or it is damaged.
        """
        folder = Path(folder)
        description = read_description(folder)
        labels = LabelEncoder.load(folder / LABELS)
        calibrations = [
            Calibration.load(folder / name, labels=len(labels)) if (folder / name).is_file() else None
            for name in (_CALIBRATION, _ALBUM_CALIBRATION)
        ]
        return cls(
            spec=description.spec,
            labels=labels,
            head=load_head(folder / HEAD, device=device) if description.has_head else IdentityHead(),
            policy=description.policy,
            calibration=calibrations[0],
            album_calibration=calibrations[1],
            album=description.album,
        )


@dataclass(frozen=True)
class Description:
    """What a saved predictor says of itself.

    Attributes
    ----------
    spec : EncoderSpec
        The encoder that it needs.
    policy : WindowPolicy
        Which windows of a file it listens to.
    has_head : bool
        Whether it has a folder for the head. Until eno 0.1 those whose vectors are probabilities had none.
    album : str
        How tracks make an album.
    """

    spec: EncoderSpec
    policy: WindowPolicy
    has_head: bool
    album: str


def read_description(folder: Path) -> Description:
    """Read what a saved predictor says of itself, without loading encoder or head.

    Raises
    ------
    ModelError
        The folder holds no predictor, or it is damaged.
    """
    path = folder / PREDICTOR
    if not path.is_file():
        raise ModelError(f"{folder}: holds no predictor ({PREDICTOR} is missing). 'eno train' makes one.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ModelError(f"{path}: has format {content['format']}; this eno reads format {_FORMAT}.")
        spec = EncoderSpec.from_dict(_placed(content["encoder"], folder))
        album = content.get("album", "mean_logit")
        if album not in AGGREGATIONS:
            raise ValueError(f"album {album!r}")
        return Description(spec, WindowPolicy(**content["windows"]), content["head"], album)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is damaged ({error!r}). Train the head again.") from error


def _placed(encoder: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Weights that lie in the predictor's own folder are found wherever that folder is moved to."""
    model = encoder.get("location", {}).get("model")
    if model is None or not (folder / Path(model).name).is_file():
        return encoder
    return encoder | {"location": encoder["location"] | {"model": str(folder / Path(model).name)}}

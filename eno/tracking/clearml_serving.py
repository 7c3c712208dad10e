"""Preprocessing module for ClearML Serving, to be passed to ``--engine custom --preprocess``.

The model is a predictor registered by ``scripts/serve.py`` or by a tracked ``eno train``. A request is one of

- the bytes of an audio file, raw or in a form (``curl --data-binary @song.mp3``, ``curl -F file=@song.mp3``);
- JSON ``{"audio": "<base64>", "name": "song.mp3"}``;
- JSON ``{"embeddings": [[…], …]}``: for each track one vector of the predictor's encoder, or one per window if the head
  takes windows. With several encoders, their vectors are flattened and joined.

JSON may also contain ``threshold`` and ``top``. URLs in a request are never fetched.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from eno.errors import AudioError
from eno.inference.predictor import EnoPredictor
from eno.models.bags import Bags
from eno.models.familiarity import is_unfamiliar
from eno.spec import label_of, vector_shape

MAX_BYTES = 200_000_000
"""Largest accepted audio file; the container's environment variable ``ENO_SERVING_MAX_BYTES`` overrides it."""

_MAX_TRACKS = 10_000
_TOP = 20

Statistics = Callable[[dict[str, Any]], None] | None


class Preprocess:
    """Predict tags for audio or embeddings.

    ClearML Serving creates one instance, sets ``model_endpoint`` and calls `load`; then, for each request, it calls
    `preprocess`, `process` and `postprocess` with the same ``state``. A ValueError becomes a response with status 422.
    """

    model_endpoint: Any = None

    def __init__(self) -> None:
        self._predictor: EnoPredictor | None = None
        self._max_bytes = int(os.environ.get("ENO_SERVING_MAX_BYTES", MAX_BYTES))

    def load(self, local_file_name: str) -> EnoPredictor:
        """Load a predictor from a folder or a zip file."""
        place, device = Path(local_file_name), os.environ.get("ENO_DEVICE", "auto")
        with tempfile.TemporaryDirectory(prefix="eno-predictor-") as folder:
            if place.is_file():
                with zipfile.ZipFile(place) as packed:
                    packed.extractall(folder)
                place = Path(folder)
            self._predictor = EnoPredictor.load(place, device=device)
        return self._predictor

    def unload(self) -> None:
        """Release the predictor."""
        self._predictor = None

    def preprocess(self, body: Any, state: dict[str, Any], collect_custom_statistics_fn: Statistics = None) -> Any:
        """Parse a request: return audio and its file extension, or vectors."""
        fields = body if isinstance(body, dict) else {}
        state["threshold"] = _number(fields, "threshold", None, 0, 1)
        state["top"] = int(_number(fields, "top", _TOP, 0, 1_000_000) or 0)
        state["many"] = "embeddings" in fields
        if state["many"]:
            return self._vectors(fields["embeddings"])
        if isinstance(body, bytes | bytearray):
            audio, name = _from_form(bytes(body))
        else:
            audio, name = _decoded(fields.get("audio")), str(fields.get("name", ""))
        if not audio:
            raise ValueError("no audio: send the bytes of a file, or JSON with 'audio' (base64) or 'embeddings'")
        if len(audio) > self._max_bytes:
            raise ValueError(f"the file has {len(audio)} bytes; the limit is {self._max_bytes}")
        extension = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
        return audio, extension.group() if extension else ""

    def process(self, data: Any, state: dict[str, Any], collect_custom_statistics_fn: Statistics = None) -> np.ndarray:
        """Compute probabilities [shape=(tracks, num_labels), dtype=float32]."""
        predictor = self._loaded()
        if collect_custom_statistics_fn is not None:
            collect_custom_statistics_fn({"tracks": len(data) if state["many"] else 1})
        if state["many"]:
            state["familiarity"] = predictor.familiarity_of(data)
            return predictor.predict_vectors(data)
        audio, extension = data
        with tempfile.TemporaryDirectory(prefix="eno-request-") as folder:
            path = Path(folder) / f"audio{extension}"
            path.write_bytes(audio)
            try:
                found = predictor.prediction(path)
            except AudioError as error:
                raise ValueError(f"the audio cannot be decoded: {error.reason}") from None
        state["familiarity"] = [found.familiarity]
        return np.array([found.probabilities])

    def postprocess(
        self, data: np.ndarray, state: dict[str, Any], collect_custom_statistics_fn: Statistics = None
    ) -> dict[str, Any]:
        """Return ``genres`` and ``descriptors`` above their thresholds, and the most probable ``tags``.

        Tags of other families are under the names of the families. ``familiarity`` and ``unfamiliar`` are as in
        `eno.inference.predictions.Prediction`. For embeddings all of these are in a list under ``tracks``.
        """
        answers = [self._answer(*one, state) for one in zip(data, state["familiarity"], strict=True)]
        encoder = label_of(self._loaded().specs)
        return {"encoder": encoder, "tracks": answers} if state["many"] else {"encoder": encoder, **answers[0]}

    def _answer(self, probabilities: np.ndarray, familiarity: float | None, state: dict[str, Any]) -> dict[str, Any]:
        predictor, limit = self._loaded(), state["threshold"]
        named = predictor.labels.decode(probabilities, predictor.thresholds if limit is None else limit)
        tags = predictor.name_tags(probabilities)[: state["top"]]
        known = {"familiarity": familiarity, "unfamiliar": is_unfamiliar(familiarity)}
        return {**named, "tags": [asdict(tag) for tag in tags], **known}

    def _loaded(self) -> EnoPredictor:
        if self._predictor is None:
            raise RuntimeError("No predictor is loaded. Add the endpoint with --model-id.")
        return self._predictor

    def _vectors(self, values: Any) -> np.ndarray | Bags:
        predictor = self._loaded()
        shape = vector_shape(predictor.specs)
        windows = predictor.head.takes_windows
        expected = f"(tracks, {'windows, ' * windows}{', '.join(map(str, shape))})"
        if not isinstance(values, list) or not 0 < len(values) <= _MAX_TRACKS:
            raise ValueError(f"'embeddings' must be a list of 1 to {_MAX_TRACKS} tracks, with the shape {expected}")
        try:
            tracks = [np.asarray(value, np.float32) for value in values]
        except (TypeError, ValueError):
            raise ValueError(f"'embeddings' must contain only numbers, with the shape {expected}") from None
        for track in tracks:
            found = track.shape[1:] if windows and track.ndim and len(track) else track.shape
            if found != shape or not np.isfinite(track).all():
                encoders = label_of(predictor.specs)
                raise ValueError(f"'embeddings' must be finite numbers with the shape {expected}, from {encoders}")
        if windows:
            return Bags(np.concatenate(tracks), np.array([len(track) for track in tracks]))
        return np.stack(tracks)


def _number(fields: dict[str, Any], name: str, default: float | None, low: float, high: float) -> float | None:
    value = fields.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name!r} must be a number from {low} to {high}")
    return float(value)


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("'audio' is not base64") from None


def _from_form(body: bytes) -> tuple[bytes, str]:
    """Return the content and name of the first file in a form, or a body that is not a form unchanged."""
    line = body[:100].split(b"\r\n", 1)[0]
    if not (line.startswith(b"--") and body.rstrip().endswith(line + b"--")):
        return body, ""
    for part in (b"\r\n" + body).split(b"\r\n" + line)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        if extended := re.search(rb"filename\*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", head, re.IGNORECASE):  # RFC 5987
            return content, unquote(extended[2].decode("ascii", "replace"), extended[1].decode("ascii"), "replace")
        if name := re.search(rb'filename="([^"]*)"', head, re.IGNORECASE):
            return content, name[1].decode("utf-8", "replace")
    return b"", ""

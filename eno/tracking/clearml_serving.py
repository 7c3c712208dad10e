"""What ClearML Serving runs for a request: ``--engine custom --preprocess`` of this very file.

The model is a predictor that ``scripts/serve.py`` or a tracked ``eno train`` registered. A request is one of

- the bytes of an audio file, as they are or in a form (``curl --data-binary @song.mp3``, ``curl -F file=@song.mp3``);
- JSON ``{"audio": "<base64>", "name": "song.mp3"}``;
- JSON ``{"embeddings": [[…], …]}``: a vector of the predictor's encoder for each track, or all windows of each track
  where its head takes these.

JSON may also hold ``threshold`` and ``top``. Nothing is ever fetched from an address that a request names.
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

import numpy as np

from eno.errors import AudioError
from eno.inference.predictor import EnoPredictor
from eno.models.bags import Bags

MAX_BYTES = 200_000_000
"""Of an audio file; ``ENO_SERVING_MAX_BYTES`` in the container sets another limit."""

_MAX_TRACKS = 10_000
_TOP = 20

Statistics = Callable[[dict[str, Any]], None] | None


class Preprocess:
    """Tags for audio or for embeddings; one instance answers all requests.

    ClearML Serving makes it, sets ``model_endpoint``, calls `load` once, and for each request `preprocess`, `process`
    and `postprocess`. A ValueError reaches the client with status 422.
    """

    model_endpoint: Any = None

    def __init__(self) -> None:
        self._predictor: EnoPredictor | None = None
        self._max_bytes = int(os.environ.get("ENO_SERVING_MAX_BYTES", MAX_BYTES))

    def load(self, local_file_name: str) -> EnoPredictor:
        """Load a predictor.

        Parameters
        ----------
        local_file_name : str
            Its folder, which ClearML has unpacked, or a zip file of it.

        Returns
        -------
        EnoPredictor

        Raises
        ------
        ModelError
            It is no predictor, or it is damaged.
        """
        place, device = Path(local_file_name), os.environ.get("ENO_DEVICE", "auto")
        with tempfile.TemporaryDirectory(prefix="eno-predictor-") as folder:
            if place.is_file():
                with zipfile.ZipFile(place) as packed:
                    packed.extractall(folder)
                place = Path(folder)
            self._predictor = EnoPredictor.load(place, device=device)
        return self._predictor

    def unload(self) -> None:
        """Forget the predictor."""
        self._predictor = None

    def preprocess(self, body: Any, state: dict[str, Any], collect_custom_statistics_fn: Statistics = None) -> Any:
        """Read a request.

        Parameters
        ----------
        body : bytes or dict
            See the module.
        state : dict
            Of this request; receives ``threshold``, ``top`` and ``many``.
        collect_custom_statistics_fn : callable, optional
            Not used here.

        Returns
        -------
        tuple of bytes and str, or np.ndarray, or Bags
            Audio and the end of its name, or vectors.

        Raises
        ------
        ValueError
            It is no such request.
        """
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
            raise ValueError(f"the file has {len(audio)} bytes; at most {self._max_bytes} are taken")
        ending = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
        return audio, ending.group() if ending else ""

    def process(self, data: Any, state: dict[str, Any], collect_custom_statistics_fn: Statistics = None) -> np.ndarray:
        """Compute probabilities.

        Parameters
        ----------
        data : tuple of bytes and str, or np.ndarray, or Bags
            As `preprocess` gives it.
        state : dict
            Of this request.
        collect_custom_statistics_fn : callable, optional
            Receives ``tracks``.

        Returns
        -------
        np.ndarray [shape=(tracks, num_labels), dtype=float32]

        Raises
        ------
        ValueError
            The file cannot be read as music.
        """
        predictor = self._loaded()
        if collect_custom_statistics_fn is not None:
            collect_custom_statistics_fn({"tracks": len(data) if state["many"] else 1})
        if state["many"]:
            return predictor.predict_vectors(data)
        audio, ending = data
        with tempfile.TemporaryDirectory(prefix="eno-request-") as folder:
            path = Path(folder) / f"audio{ending}"
            path.write_bytes(audio)
            try:
                return predictor.predict_proba(path)[np.newaxis]
            except AudioError as error:
                raise ValueError(f"not music that can be read: {error.reason}") from None

    def postprocess(
        self, data: np.ndarray, state: dict[str, Any], collect_custom_statistics_fn: Statistics = None
    ) -> dict[str, Any]:
        """Name the tags.

        Parameters
        ----------
        data : np.ndarray [shape=(tracks, num_labels)]
            As `process` gives it.
        state : dict
            Of this request.
        collect_custom_statistics_fn : callable, optional
            Not used here.

        Returns
        -------
        dict
            ``genres`` and ``descriptors`` that are named, and in ``tags`` the likeliest with probability and threshold;
            for embeddings a list of such answers under ``tracks``.
        """
        answers = [self._answer(row, state) for row in data]
        encoder = self._loaded().encoder.spec.label
        return {"encoder": encoder, "tracks": answers} if state["many"] else {"encoder": encoder, **answers[0]}

    def _answer(self, probabilities: np.ndarray, state: dict[str, Any]) -> dict[str, Any]:
        predictor, limit = self._loaded(), state["threshold"]
        named = predictor.labels.decode(probabilities, predictor.thresholds if limit is None else limit)
        tags = predictor.name_tags(probabilities)[: state["top"]]
        return {**named, "tags": [asdict(tag) for tag in tags]}

    def _loaded(self) -> EnoPredictor:
        if self._predictor is None:
            raise RuntimeError("no predictor is loaded: the endpoint needs --model-id")
        return self._predictor

    def _vectors(self, values: Any) -> np.ndarray | Bags:
        predictor = self._loaded()
        spec = predictor.encoder.spec
        shape = (spec.dim,) if len(spec.layers) == 1 else (len(spec.layers), spec.dim)
        windows = predictor.head.takes_windows
        wanted = f"(tracks, {'windows, ' * windows}{', '.join(map(str, shape))})"
        if not isinstance(values, list) or not 0 < len(values) <= _MAX_TRACKS:
            raise ValueError(f"'embeddings' must be a list of 1 to {_MAX_TRACKS} tracks, of the shape {wanted}")
        try:
            tracks = [np.asarray(value, np.float32) for value in values]
        except (TypeError, ValueError):
            raise ValueError(f"'embeddings' holds what is no number; its shape must be {wanted}") from None
        for track in tracks:
            found = track.shape[1:] if windows and track.ndim and len(track) else track.shape
            if found != shape or not np.isfinite(track).all():
                raise ValueError(f"'embeddings' must be finite numbers of the shape {wanted}, of {spec.label}")
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
    """Take the first file of a form; what is no form is audio as it is."""
    line = body[:100].split(b"\r\n", 1)[0]
    if not (line.startswith(b"--") and body.rstrip().endswith(line + b"--")):
        return body, ""
    for part in (b"\r\n" + body).split(b"\r\n" + line)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'filename="([^"]*)"', head)
        if name:
            return content, name[1].decode("utf-8", "replace")
    return b"", ""

"""A trained CNN as an encoder: its embeddings are the probabilities of its labels."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from eno.cnn.features import AudioFeatureExtractor
from eno.cnn.network import SimpleCNN
from eno.encoders.checkpoints import read_pickled, sha256_of
from eno.encoders.torch_encoder import BatchSize, Dtype, TorchEncoder
from eno.errors import ConfigError, ModelError, WeightsError
from eno.spec import EncoderSpec

HISTORY = "history.json"
"""The file next to the checkpoint in which `eno.cnn.training.train_cnn` records settings and metrics."""

DEFAULTS = {"window_s": 3.0, "n_mels": 128, "sample_rate": 16_000}
"""Defaults of `eno.cnn.training.CNNSettings` and ``scripts/prepare_data.py``."""

_LAST = "classifier.4.weight"
_TRAIN = "Train a CNN with: python scripts/train.py"


class SimpleCNNTagger(TorchEncoder):
    """Apply a trained `eno.cnn.network.SimpleCNN` to windows of audio.

    Parameters
    ----------
    model : str
        Checkpoint: a state dict such as ``best_model.pt``.
    window_s : float, optional
        Length of a window in seconds; by default that of the training crops. The defaults of this and the next two
        come from ``history.json`` next to the checkpoint; without a history of this checkpoint, from `DEFAULTS`.
    n_mels : int, optional
        Mel bands of the features; by default as in training.
    sample_rate : int, optional
        Sample rate in Hz; by default as in training.
    batch_size : int, optional
        Windows per batch; by default 2 on a CPU and 64 on a GPU.
    device, dtype
        See `eno.encoders.torch_encoder.TorchEncoder`.
    """

    def __init__(
        self,
        *,
        model: str,
        window_s: Annotated[float, Field(ge=0.5, le=600)] | None = None,
        n_mels: Annotated[int, Field(ge=1)] | None = None,
        sample_rate: Annotated[int, Field(ge=1)] | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch_size: BatchSize = None,
    ) -> None:
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        path = Path(model).expanduser()
        given = {"window_s": window_s, "n_mels": n_mels, "sample_rate": sample_rate}
        options: dict[str, Any] = DEFAULTS | _training_settings(path)
        options |= {name: value for name, value in given.items() if value is not None}
        options["window_s"] = float(options["window_s"])
        if not 0.5 <= options["window_s"] <= 600:
            raise ConfigError(f"window_s = {options['window_s']}: expected 0.5 to 600 seconds.")
        network = load_simple_cnn(path, n_mels=options["n_mels"])
        self._features = AudioFeatureExtractor(options["sample_rate"], options["n_mels"]).to(self.device)
        self._network = self._place(network)
        self.spec = EncoderSpec(
            name="simple_cnn",
            options=options,
            revision="1",
            weights_sha256=sha256_of([path]),
            sample_rate=options["sample_rate"],
            window_samples=round(options["window_s"] * options["sample_rate"]),
            layers=("tags",),
            pooling="mean over time and frequency",
            dim=network.num_labels,
            location={"model": str(path.absolute())},
        )

    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        features = self._features.from_waveform(audio).unsqueeze(1)
        with self._mixed_precision():
            logits = self._network(features)
        return torch.sigmoid(logits.float()).unsqueeze(1)


def _training_settings(checkpoint: Path) -> dict[str, Any]:
    """Read the options in `DEFAULTS` from the history next to a checkpoint; empty without a matching history."""
    try:
        content = json.loads(checkpoint.with_name(HISTORY).read_text(encoding="utf-8"))
        if content["weights_sha256"] == sha256_of([checkpoint]):
            return {"window_s": float(content["settings"]["crop_s"])} | {
                name: int(content["features"][name]) for name in ("n_mels", "sample_rate")
            }
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the folder may contain an unrelated file of that name
    return {}


def load_simple_cnn(path: Path | str, *, n_mels: int = 128) -> SimpleCNN:
    """Load the state dict of a CNN without running code from the file; `n_mels` is not stored in it."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file. {_TRAIN}")
    try:
        weights = read_pickled(path)
    except WeightsError as error:
        reason = (
            str(error) if zipfile.is_zipfile(path) else f"{path}: is truncated, damaged or not a PyTorch checkpoint."
        )
        raise ModelError(f"{reason} {_TRAIN}") from error
    if not isinstance(weights, dict) or not torch.is_tensor(weights.get(_LAST)):
        raise ModelError(f"{path}: is not the state dict of a SimpleCNN ({_LAST} is missing). {_TRAIN}")
    network = SimpleCNN(n_mels, len(weights[_LAST]))
    try:
        network.load_state_dict(weights)
    except (RuntimeError, AttributeError) as error:  # the first for names and shapes, the second for values
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: is the state dict of another network ({reason}). {_TRAIN}") from error
    return network.eval()

"""The package laion-clap as an encoder, for users who have it installed.

`eno.encoders.clap.encoder` returns the same vectors from a converted checkpoint (``eno weights convert-laion``) without
this package, which needs NumPy 1, a dozen other packages, and access to the hub when it is imported. Random cropping is
avoided by windows of exactly the expected length, checkpoints are read without running code, and audio is only rounded
to 16 bits on request.

References
----------
https://github.com/LAION-AI/CLAP, version 1.1.7 of the package.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from eno.encoders.checkpoints import sha256_of
from eno.encoders.clap.laion_checkpoint import read_laion_checkpoint
from eno.encoders.text import check_text_tower, encode_in_batches
from eno.encoders.torch_encoder import BatchSize, Dtype, TorchEncoder
from eno.errors import ConfigError, MissingExtra, WeightsError, first_line
from eno.spec import EncoderSpec

_SAMPLE_RATE, _WINDOW_SAMPLES = 48_000, 480_000
_ARCHITECTURES = {96: "HTSAT-tiny", 128: "HTSAT-base", 256: "HTSAT-large"}  # width of the first layer → name


class LaionCLAP(TorchEncoder):
    """A checkpoint of laion_clap, run with laion_clap.

    Parameters
    ----------
    model : str
        Checkpoint of laion_clap: a ``.pt`` file, without feature fusion. The size of its HTSAT is detected.
    int16 : bool
        Round audio to 16 bits first, as the package does with arrays and files.
    batch_size : int, optional
        Windows per batch; by default 4 on a CPU and 64 on a GPU.
    device, dtype
        See `eno.encoders.torch_encoder.TorchEncoder`.

    Raises
    ------
    MissingExtra
        laion-clap or one of its dependencies is not installed.
    WeightsError
        The checkpoint cannot be read or does not fit.
    """

    _batch_sizes = (4, 64)

    def __init__(
        self,
        *,
        model: str,
        int16: bool = False,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch_size: BatchSize = None,
    ) -> None:
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        path = Path(model).expanduser()
        weights = read_laion_checkpoint(path)
        width = weights["audio_branch.patch_embed.proj.weight"].shape[0]
        if width not in _ARCHITECTURES:
            raise WeightsError(
                f"{path}: the first layer has width {width}; laion_clap supports {list(_ARCHITECTURES)}."
            )
        self._int16 = int16
        self._module = _build(_import_package(), _ARCHITECTURES[width], self.device)
        _load(self._module.model, weights, path)
        self._place(self._module)
        self.spec = EncoderSpec(
            name="laion",
            options={"int16": int16},
            revision="1",
            weights_sha256=sha256_of([path]),
            sample_rate=_SAMPLE_RATE,
            window_samples=_WINDOW_SAMPLES,
            layers=("projection",),
            pooling="mean over time and frequency, projected, unit length",
            dim=weights["audio_projection.2.weight"].shape[0],
            padding="repeatpad",  # as in training
            location={"model": str(path.absolute())},
            normalized=True,
        )
        self.logit_scale = float(self._module.model.logit_scale_a.detach().exp())
        check_text_tower(self, model)

    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        if self._int16:
            audio = (audio.clamp(-1, 1) * 32767).to(torch.int16).float() / 32767
        with self._mixed_precision():
            # Tensors are not rounded by the package, and windows of this length are not cropped.
            vectors: torch.Tensor = self._module.get_audio_embedding_from_data(x=audio, use_tensor=True)
        return vectors.unsqueeze(1)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, truncated to 77 tokens, as unit vectors [shape=(n, dim), dtype=float32]."""
        return encode_in_batches(texts, self._encode_texts, self.spec.dim)

    @torch.inference_mode()
    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        with self._mixed_precision():
            vectors: np.ndarray = self._module.get_text_embedding(texts, use_tensor=True).float().cpu().numpy()
        return vectors


def _import_package() -> ModuleType:
    try:
        return importlib.import_module("laion_clap")
    except ModuleNotFoundError as error:
        missing = error.name or "laion_clap"
        if missing == "laion_clap":
            raise MissingExtra("laion", "laion-clap") from error
        raise MissingExtra("laion", missing, needed_by="laion-clap") from error
    except OSError as error:
        raise _offline(error) from error
    except (ImportError, RuntimeError, AttributeError) as error:
        raise ConfigError(
            f"laion_clap is installed but cannot be imported ({error}). The usual reason is a torchvision built for "
            "another PyTorch: install the one that matches yours. Or convert the checkpoint with 'eno weights "
            "convert-laion' and use the encoder 'clap', which needs neither package."
        ) from error


def _build(package: ModuleType, architecture: str, device: torch.device) -> Any:
    try:
        return package.CLAP_Module(enable_fusion=False, amodel=architecture, tmodel="roberta", device=device)
    except OSError as error:
        raise _offline(error) from error


def _offline(error: OSError) -> WeightsError:
    return WeightsError(
        "laion_clap could not download roberta-base and the tokenizers of BERT and BART from the hub "
        f"({first_line(error)}). Offline: copy the hub's cache from a machine that has them, or convert the checkpoint "
        "with 'eno weights convert-laion' and use the encoder 'clap'."
    )


def _load(network: torch.nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    # Buffers that only some versions of transformers have.
    buffers = {f"text_branch.embeddings.{name}" for name in ("position_ids", "token_type_ids")}
    report = network.load_state_dict(weights, strict=False)
    for problem, keys in (("lacks", report.missing_keys), ("has unexpected weights:", report.unexpected_keys)):
        if rest := sorted(set(keys) - buffers):
            raise WeightsError(f"{path}: {problem} {', '.join(rest[:5])}. It does not fit laion_clap's network.")

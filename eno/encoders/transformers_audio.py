"""Audio models of transformers that return hidden states, as ``hf:<id or folder>``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    ASTFeatureExtractor,
    ASTModel,
    EncodecModel,
    HubertModel,
    Wav2Vec2Model,
    WavLMModel,
    WhisperFeatureExtractor,
    WhisperModel,
)

from eno.encoders.checkpoints import CONFIG, PREPROCESSOR, Checkpoint, load_network, locate
from eno.encoders.hidden_states import HiddenStateEncoder, Layers, Pooling, all_states, standardise
from eno.encoders.torch_encoder import BatchSize, Dtype, WindowLength
from eno.errors import ConfigError

_WINDOW_S = 5.0

States = Sequence[torch.Tensor]


@dataclass(frozen=True)
class _Loaded:
    """A network with its front end.

    Attributes
    ----------
    prepare : callable
        Maps audio [shape=(b, samples)] to the float32 input of the network.
    states : callable
        Maps the network and its input to depth + 1 hidden states [shape=(b, time, width)].
    window_samples : int or None
        Length of a window if the network accepts only one.
    """

    network: Any
    prepare: Callable[[torch.Tensor], torch.Tensor]
    states: Callable[[Any, torch.Tensor], States]
    depth: int
    width: int
    window_samples: int | None
    gain_invariant: bool


class TransformersAudio(HiddenStateEncoder):
    """AST, wav2vec 2.0, HuBERT, WavLM, and the encoders of Whisper and EnCodec.

    Parameters
    ----------
    model : str
        Checkpoint: an id on the Hugging Face hub, or a folder.
    revision : str, optional
        Branch, tag or commit on the hub.
    layers : "spread", "all" or sequence of int
        Hidden states to store: 'spread' (four, evenly over the depth), 'all', or layer numbers. 0 is the input of the
        first layer. EnCodec has only layer 0: the latents before quantisation.
    pooling : {"mean", "max", "mean_std"}
        Pooling over the frames of a window: mean, maximum, or mean and standard deviation. For AST also over
        frequency.
    window_s : float, optional
        Length of a window in seconds, by default 5. AST (10.26 s) and Whisper (30 s) have fixed windows.
    batch_size : int, optional
        Windows per batch; by default 2 on a CPU and 64 on a GPU.
    device, dtype
        See `eno.encoders.torch_encoder.TorchEncoder`.

    Raises
    ------
    WeightsError
        The checkpoint cannot be found or downloaded, or does not fit.
    ConfigError
        The model is of another type, or has a fixed window length and `window_s` is set.
    """

    _batch_sizes = (2, 64)

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        layers: Layers = "spread",
        pooling: Pooling = "mean",
        window_s: WindowLength | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch_size: BatchSize = None,
    ) -> None:
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        checkpoint = locate(model, revision)
        kind = checkpoint.read_json(CONFIG).get("model_type")
        if kind not in _LOADERS:
            raise ConfigError(
                f"{model}: has the model type {kind!r}; 'hf:' supports {', '.join(_LOADERS)}. For other models, write "
                "your own encoder: see docs/tutorials/encoder.md."
            )
        settings = checkpoint.read_json(PREPROCESSOR)
        loaded = _LOADERS[kind](checkpoint, settings)
        if window_s is not None and loaded.window_samples is not None:
            raise ConfigError(f"{model}: the window length of this model is fixed. Leave out window_s.")
        sample_rate = int(settings["sampling_rate"])
        self._network = self._place(loaded.network)
        self._prepare, self._states = loaded.prepare, loaded.states
        self.spec = self._describe(
            name="hf",
            revision=checkpoint.code_revision("1", CONFIG, PREPROCESSOR),
            weights_sha256=checkpoint.sha256,
            location=checkpoint.location,
            depth=loaded.depth,
            width=loaded.width,
            layers=layers,
            pooling=pooling,
            window_s=(window_s or _WINDOW_S) if loaded.window_samples is None else None,
            window_samples=loaded.window_samples,
            sample_rate=sample_rate,
            gain_invariant=loaded.gain_invariant,
        )

    def _hidden_states(self, audio: torch.Tensor) -> States:
        values = self._prepare(audio).to(self.device)
        with self._mixed_precision():
            return self._states(self._network, values)


def _load_waveform_model(model_class: Any) -> Callable[[Checkpoint, dict[str, Any]], _Loaded]:
    def load(checkpoint: Checkpoint, settings: dict[str, Any]) -> _Loaded:
        heads = ("lm_head", "quantizer", "project_q", "project_hid", "projector", "classifier", "layer_weights")
        network = load_network(model_class, checkpoint, unused=heads)
        normalise = bool(settings.get("do_normalize", True))
        return _Loaded(
            network=network,
            prepare=standardise if normalise else lambda audio: audio,
            states=lambda network, values: all_states(network(values, output_hidden_states=True)),
            depth=network.config.num_hidden_layers,
            width=network.config.hidden_size,
            window_samples=None,
            gain_invariant=normalise,
        )

    return load


def _load_ast(checkpoint: Checkpoint, settings: dict[str, Any]) -> _Loaded:
    network = load_network(ASTModel, checkpoint, unused=("classifier",))
    extractor = ASTFeatureExtractor(**_arguments(settings))
    rate, frames = extractor.sampling_rate, extractor.max_length

    def states(network: Any, values: torch.Tensor) -> States:
        # The first two tokens are for classification; the others are patches of the spectrogram.
        return [state[:, 2:] for state in all_states(network(values, output_hidden_states=True))]

    return _Loaded(
        network=network,
        prepare=_on_cpu(extractor, "input_values"),
        states=states,
        depth=network.config.num_hidden_layers,
        width=network.config.hidden_size,
        # Kaldi's frames: 25 ms long, 10 ms apart, none past the end.
        window_samples=(frames - 1) * rate // 100 + rate // 40,
        gain_invariant=False,
    )


def _load_whisper(checkpoint: Checkpoint, settings: dict[str, Any]) -> _Loaded:
    network = load_network(WhisperModel, checkpoint, unused=("proj_out",)).encoder
    extractor = WhisperFeatureExtractor(**_arguments(settings))
    return _Loaded(
        network=network,
        prepare=_on_cpu(extractor, "input_features"),
        states=lambda network, values: all_states(network(values, output_hidden_states=True)),
        depth=network.config.encoder_layers,
        width=network.config.d_model,
        window_samples=extractor.n_samples,
        gain_invariant=False,  # levels are relative to the maximum, but clipped 80 dB below it
    )


def _load_encodec(checkpoint: Checkpoint, settings: dict[str, Any]) -> _Loaded:
    codec = load_network(EncodecModel, checkpoint)
    config = codec.config

    def prepare(audio: torch.Tensor) -> torch.Tensor:
        values = audio.unsqueeze(1).expand(-1, config.audio_channels, -1)
        if config.normalize:
            # Per window, as in the codec itself.
            level = values.mean(dim=1, keepdim=True).square().mean(dim=2, keepdim=True).sqrt() + 1e-8
            values = values / level
        return values

    return _Loaded(
        network=codec.encoder,
        prepare=prepare,
        states=lambda network, values: [network(values).transpose(1, 2)],
        depth=0,
        width=config.hidden_size,
        window_samples=None,
        gain_invariant=config.normalize,
    )


def _on_cpu(extractor: Any, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    def prepare(audio: torch.Tensor) -> torch.Tensor:
        windows = list(audio.cpu().numpy())
        values: torch.Tensor = extractor(windows, sampling_rate=extractor.sampling_rate, return_tensors="pt")[name]
        return values.float()

    return prepare


def _arguments(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("feature_extractor_type", "processor_class")}


_LOADERS = {
    "audio-spectrogram-transformer": _load_ast,
    "wav2vec2": _load_waveform_model(Wav2Vec2Model),
    "hubert": _load_waveform_model(HubertModel),
    "wavlm": _load_waveform_model(WavLMModel),
    "whisper": _load_whisper,
    "encodec": _load_encodec,
}

"""Encoders that pool hidden states of a transformer over time, for one or more layers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field

from eno.encoders.torch_encoder import TorchEncoder
from eno.errors import ConfigError
from eno.spec import EncoderSpec

Layers = Literal["spread", "all"] | Annotated[Sequence[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Pooling = Literal["mean", "max", "mean_std"]

_SPREAD = 4  # layers by default; more hardly help heads that learn layer weights


def _mean_and_deviation(states: torch.Tensor) -> torch.Tensor:
    return torch.cat([states.mean(dim=1), states.std(dim=1, correction=0)], dim=1)


_POOLINGS: dict[Pooling, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda states: states.mean(dim=1),
    "max": lambda states: states.amax(dim=1),
    "mean_std": _mean_and_deviation,
}


def choose_layers(layers: Layers, depth: int) -> tuple[int, ...]:
    """Return the numbers of the chosen hidden states, in the given order.

    Parameters
    ----------
    layers : "spread", "all" or sequence of int
        Four spread evenly over the depth, all, or these. 0 is the input of the first layer, `depth` the last layer.
    depth : int
        Number of layers of the network.

    Raises
    ------
    ConfigError
        There is no such layer.

    Examples
    --------
    >>> choose_layers("spread", 12), choose_layers("spread", 1)
    ((3, 6, 9, 12), (1,))
    """
    if layers == "spread":
        return tuple(sorted({max(1, round(depth * (i + 1) / _SPREAD)) for i in range(_SPREAD)} if depth else {0}))
    if layers == "all":
        return tuple(range(depth + 1))
    if isinstance(layers, str) or not layers:
        raise ConfigError(f"layers = {layers!r}: expected 'spread', 'all', or numbers from 0 to {depth}.")
    for layer in layers:
        if not 0 <= layer <= depth:
            raise ConfigError(
                f"layers = {list(layers)}: there is no layer {layer}; this network has layers 0 to {depth}."
            )
    return tuple(layers)


class HiddenStateEncoder(TorchEncoder):
    """Base of encoders whose vectors are hidden states of several layers, pooled over time."""

    def _describe(
        self,
        *,
        depth: int,
        width: int,
        layers: Layers,
        pooling: Pooling,
        window_s: float | None,
        window_samples: int | None = None,
        sample_rate: int,
        **identity: Any,
    ) -> EncoderSpec:
        """Check the options and return the spec; exactly one of `window_s` and `window_samples` is set."""
        if pooling not in _POOLINGS:
            raise ConfigError(f"pooling = {pooling!r}: choose from {', '.join(get_args(Pooling))}.")
        self._chosen = choose_layers(layers, depth)
        self._pool = _POOLINGS[pooling]
        return EncoderSpec(
            options={"layers": list(self._chosen), "pooling": pooling}
            | ({} if window_s is None else {"window_s": float(window_s)}),
            sample_rate=sample_rate,
            window_samples=window_length(window_s, sample_rate) if window_samples is None else window_samples,
            layers=tuple(f"layer {layer}" for layer in self._chosen),
            pooling=f"{pooling} over time",
            dim=width * (2 if pooling == "mean_std" else 1),
            **identity,
        )

    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        states = self._hidden_states(audio)
        return torch.stack([self._pool(states[layer].float()) for layer in self._chosen], dim=1)

    @abstractmethod
    def _hidden_states(self, audio: torch.Tensor) -> Sequence[torch.Tensor]:
        """Map audio [shape=(b, samples)] to depth + 1 hidden states [shape=(b, time, width)]."""


def window_length(window_s: float | None, sample_rate: int) -> int:
    """Return the samples of a window; raise `ConfigError` if it is shorter than 0.5 s or longer than a minute."""
    if window_s is None or not 0.5 <= window_s <= 60:
        raise ConfigError(f"window_s = {window_s}: expected 0.5 to 60 seconds.")
    return round(window_s * sample_rate)


def standardise(audio: torch.Tensor) -> torch.Tensor:
    """Scale every window to zero mean and unit variance, as `transformers.Wav2Vec2FeatureExtractor` does."""
    centred = audio - audio.mean(dim=1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + 1e-7)


def all_states(output: Any) -> tuple[torch.Tensor, ...]:
    """Return all hidden states of an output of transformers, the last one after the final normalisation.

    Whether the last of ``hidden_states`` is before or after that normalisation differs between versions and models.
    """
    return (*output.hidden_states[:-1], output.last_hidden_state)

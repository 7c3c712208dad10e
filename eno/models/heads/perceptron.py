"""The network of the MLP head."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import nn

Pooling: TypeAlias = Literal["none", "mean", "attention", "max"]


class Perceptron(nn.Module):
    """Standardisation, a weighted mean over the encoder's layers if there are several, hidden layers, logits.

    Parameters
    ----------
    shape : tuple of int
        Shape of one vector: ``(dim,)`` or ``(layers, dim)``.
    pooling : {"none", "mean", "attention", "max"}
        Pooling of the last hidden layer over a track's windows; "none" takes one vector per track. "attention" is gated
        attention: M. Ilse et al., "Attention-based deep multiple instance learning", ICML 2018.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    prior: torch.Tensor

    def __init__(
        self, shape: tuple[int, ...], labels: int, *, hidden: tuple[int, ...], dropout: float, pooling: Pooling = "none"
    ) -> None:
        super().__init__()
        self.shape, self.pooling = shape, pooling
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        # Logits of the base rates of constant labels; NaN for the others.
        self.register_buffer("prior", torch.full((labels,), torch.nan))
        self.layer_weights = nn.Parameter(torch.zeros(shape[0])) if len(shape) == 2 else None
        dim = shape[-1]
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout)]
            dim = width
        self.body = nn.Sequential(*layers)
        self.attention = _GatedAttention(dim) if pooling == "attention" else None
        self.output = nn.Linear(dim, labels)

    def forward(self, X: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        """Compute logits [shape=(b, labels)].

        Parameters
        ----------
        X : torch.Tensor [shape=(b, *shape) or (b, windows, *shape)]
        real : torch.Tensor [shape=(b, windows), dtype=bool], optional
            Which windows are not padding, if X has windows.
        """
        standardised = (X - self.mean) * self.scale
        if self.layer_weights is not None:
            standardised = torch.einsum("...ld,l->...d", standardised, self.layer_weights.softmax(0))
        values = self.body(standardised)
        if real is not None:
            values = self._pool(values, real)
        logits: torch.Tensor = self.output(values)
        return torch.where(self.prior.isnan(), logits, self.prior)

    def _pool(self, values: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        if self.pooling == "max":
            return values.masked_fill(~real[..., None], -torch.inf).amax(dim=1)
        if self.attention is None:
            weights = real / real.sum(dim=1, keepdim=True)
        else:
            weights = self.attention(values).masked_fill(~real, -torch.inf).softmax(dim=1)
        return torch.einsum("bwd,bw->bd", values, weights)


class _GatedAttention(nn.Module):
    """A score for every window [shape=(b, windows)]."""

    def __init__(self, dim: int, width: int = 128) -> None:
        super().__init__()
        self.what, self.gate = nn.Linear(dim, width), nn.Linear(dim, width)
        self.score = nn.Linear(width, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.score(torch.tanh(self.what(values)) * torch.sigmoid(self.gate(values)))
        return scores.squeeze(-1)

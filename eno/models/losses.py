"""Losses for multi-label training.

Focal: T.-Y. Lin et al., ICCV 2017. Asymmetric: T. Ridnik et al., ICCV 2021. Effective numbers: Y. Cui et al.,
"Class-balanced loss based on effective number of samples", CVPR 2019. Label smoothing: C. Szegedy et al., CVPR 2016.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Loss: TypeAlias = Literal["bce", "focal", "asymmetric"]
"""Binary cross-entropy; with less weight on easy rows (focal); with less weight on easy negatives (asymmetric)."""

ClassWeights: TypeAlias = Literal["none", "balanced", "effective"]
"""Weights of a label's positives: 1; as much as all its negatives together; by the effective number of positives."""
LOSSES: tuple[str, ...] = get_args(Loss)
CLASS_WEIGHTS: tuple[str, ...] = get_args(ClassWeights)

_PARAMETERS = {
    "bce": set[str](),
    "focal": {"gamma"},
    "asymmetric": {"gamma_negative", "gamma_positive", "clip"},
}
_TINY = 1e-8  # powers below 1 have no gradient at 0
_MAX_WEIGHT = 100.0  # so that a label with one positive in a million rows does not dominate


class MultiLabelLoss(nn.Module):
    """Mean loss over rows and labels.

    Parameters
    ----------
    gamma : float, optional
        Focusing parameter of the focal loss, by default 2.
    gamma_negative, gamma_positive, clip : float, optional
        Focusing parameters of the asymmetric loss, by default 4 and 1, and the shift of the probabilities of negatives,
        by default 0.05.
    label_smoothing : float
        How far targets are moved towards 0.5: with 0.1, 1 becomes 0.95 and 0 becomes 0.05.
    positive_weights : np.ndarray [shape=(k,)], optional
        See `positive_weights`.

    Notes
    -----
    With 0 for all of its parameters, each loss is binary cross-entropy. A parameter of another loss is a ValueError.

    Examples
    --------
    >>> loss = MultiLabelLoss("bce")
    >>> round(loss(torch.tensor([[0.8, -0.2]]), torch.tensor([[1.0, 0.0]])).item(), 4)
    0.4846
    """

    weights: torch.Tensor

    def __init__(
        self,
        name: Loss = "bce",
        *,
        gamma: float | None = None,
        gamma_negative: float | None = None,
        gamma_positive: float | None = None,
        clip: float | None = None,
        label_smoothing: float = 0.0,
        positive_weights: np.ndarray | None = None,
    ) -> None:
        if name not in LOSSES:
            raise ValueError(f"loss = {name!r}: expected one of {', '.join(LOSSES)}.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing = {label_smoothing}: expected at least 0 and below 1.")
        options = {"gamma": gamma, "gamma_negative": gamma_negative, "gamma_positive": gamma_positive, "clip": clip}
        passed = {option: value for option, value in options.items() if value is not None}
        if unused := passed.keys() - _PARAMETERS[name]:
            has = ", ".join(sorted(_PARAMETERS[name])) or "none"
            raise ValueError(f"The loss {name!r} has no parameter {min(unused)!r}; it has: {has}.")
        super().__init__()
        self.name, self.label_smoothing = name, label_smoothing
        self.gamma, self.gamma_negative = passed.get("gamma", 2.0), passed.get("gamma_negative", 4.0)
        self.gamma_positive, self.clip = passed.get("gamma_positive", 1.0), passed.get("clip", 0.05)
        self.weighted = positive_weights is not None
        weights = np.ones(1) if positive_weights is None else positive_weights
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32), persistent=False)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the mean loss from logits and targets [shape=(b, k)], optionally weighted [shape=(b, 1) or (b, k)].

        Targets that are NaN are not known, and do not count.
        """
        known = ~torch.isnan(targets)
        targets = torch.where(known, targets, 0)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        losses = self._elements(logits, targets)
        if self.weighted:
            losses = losses * (1 + targets * (self.weights - 1))
        if weights is not None:
            losses = losses * weights
        return (losses * known).sum() / known.sum().clamp_min(1)

    def _elements(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.name == "bce":
            return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.name == "focal":
            losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            missed = (targets - torch.sigmoid(logits)).abs().clamp_min(_TINY)
            return losses * missed**self.gamma
        positive = torch.sigmoid(logits)
        negative = (1 - positive + self.clip).clamp(max=1)
        easy = (
            (1 - positive).clamp_min(_TINY) ** self.gamma_positive,
            (1 - negative).clamp_min(_TINY) ** self.gamma_negative,
        )
        of_positives = functional.logsigmoid(logits) * easy[0]
        of_negatives = (negative.clamp_min(_TINY).log() if self.clip else functional.logsigmoid(-logits)) * easy[1]
        return -(targets * of_positives + (1 - targets) * of_negatives)


def positive_weights(kind: ClassWeights, positives: np.ndarray, rows: np.ndarray | int) -> np.ndarray | None:
    """Return weights for the positives of each label relative to its negatives [shape=(k,), dtype=float32].

    They are limited to 1/100 … 100; None means that all are 1. `positives` counts the training rows with each label
    [shape=(k,)], `rows` all training rows, or those in which each label is known.
    """
    if kind not in CLASS_WEIGHTS:
        raise ValueError(f"class_weights = {kind!r}: expected one of {', '.join(CLASS_WEIGHTS)}.")
    if kind == "none":
        return None
    counts = np.maximum(np.asarray(positives, np.float64), 1)
    if kind == "balanced":
        weights = (rows - counts) / counts
    else:  # relative to the mean over labels
        beta = 1 - 1 / np.maximum(rows, 2)
        inverse = (1 - beta) / (1 - beta**counts)
        weights = inverse / inverse.mean()
    clipped: np.ndarray = np.clip(weights, 1 / _MAX_WEIGHT, _MAX_WEIGHT).astype(np.float32)
    return clipped

"""Losses of multi-label training: each label of each row is a decision of its own.

References
----------
Focal: T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017. Asymmetric: T. Ridnik et al., "Asymmetric
loss for multi-label classification", ICCV 2021. Effective numbers: Y. Cui et al., "Class-balanced loss based on
effective number of samples", CVPR 2019. Smoothing: C. Szegedy et al., "Rethinking the Inception architecture for
computer vision", CVPR 2016.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LOSSES = ("bce", "focal", "asymmetric")
"""Losses by name: binary cross-entropy; with easy decisions weighing less; with easy negatives weighing less."""

CLASS_WEIGHTS = ("none", "balanced", "effective")
"""What a label's positives weigh: as all else; as much as its negatives together; by their effective number."""

_TINY = 1e-8  # powers below 1 have no gradient at 0
_MAX_WEIGHT = 100.0  # a label on one row of a million must not decide every step


class MultiLabelLoss(nn.Module):
    """Mean loss over rows and labels.

    Parameters
    ----------
    name : {"bce", "focal", "asymmetric"}
        See `LOSSES`.
    gamma : float
        Focal: how much less easy decisions weigh; 0 makes it binary cross-entropy.
    gamma_negative, gamma_positive, clip : float
        Asymmetric: the same for negatives and positives, and by how much probabilities of negatives are lowered first.
        All 0 make it binary cross-entropy.
    label_smoothing : float
        Targets are moved so far towards one half: 0.1 makes 1 to 0.95 and 0 to 0.05.
    positive_weights : np.ndarray [shape=(k,)], optional
        What each label's positives weigh, see `positive_weights`.

    Examples
    --------
    >>> loss = MultiLabelLoss("bce")
    >>> round(loss(torch.tensor([[0.8, -0.2]]), torch.tensor([[1.0, 0.0]])).item(), 4)
    0.4846
    """

    weights: torch.Tensor

    def __init__(
        self,
        name: str = "bce",
        *,
        gamma: float = 2.0,
        gamma_negative: float = 4.0,
        gamma_positive: float = 1.0,
        clip: float = 0.05,
        label_smoothing: float = 0.0,
        positive_weights: np.ndarray | None = None,
    ) -> None:
        if name not in LOSSES:
            raise ValueError(f"loss {name!r}: choose from {', '.join(LOSSES)}.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it must be at least 0 and below 1.")
        super().__init__()
        self.name, self.gamma, self.label_smoothing = name, gamma, label_smoothing
        self.gamma_negative, self.gamma_positive, self.clip = gamma_negative, gamma_positive, clip
        self.weighted = positive_weights is not None
        weights = np.ones(1) if positive_weights is None else positive_weights
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32), persistent=False)

    def forward(
        self, logits: torch.Tensor, targets: torch.Tensor, row_weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the mean loss.

        Parameters
        ----------
        logits, targets : torch.Tensor [shape=(b, k)]
            What the network gives, and labels from 0 to 1.
        row_weights : torch.Tensor [shape=(b,)], optional
            How much each row counts.

        Returns
        -------
        torch.Tensor [shape=()]
        """
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        losses = self._elements(logits, targets)
        if self.weighted:
            losses = losses * (1 + targets * (self.weights - 1))
        if row_weights is not None:
            losses = losses * row_weights[:, None]
        return losses.mean()

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


def positive_weights(kind: str, positives: np.ndarray, rows: int) -> np.ndarray | None:
    """Give what each label's positives weigh against its negatives.

    Parameters
    ----------
    kind : {"none", "balanced", "effective"}
        See `CLASS_WEIGHTS`.
    positives : np.ndarray [shape=(k,)]
        Training rows that have each label.
    rows : int
        All training rows.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=float32] or None
        Between 1/100 and 100. None where all weigh 1.
    """
    if kind not in CLASS_WEIGHTS:
        raise ValueError(f"class_weights {kind!r}: choose from {', '.join(CLASS_WEIGHTS)}.")
    if kind == "none":
        return None
    counts = np.maximum(np.asarray(positives, np.float64), 1)
    if kind == "balanced":
        weights = (rows - counts) / counts
    else:  # effective numbers, relative to that of the mean label
        beta = 1 - 1 / max(rows, 2)
        inverse = (1 - beta) / (1 - beta**counts)
        weights = inverse / inverse.mean()
    clipped: np.ndarray = np.clip(weights, 1 / _MAX_WEIGHT, _MAX_WEIGHT).astype(np.float32)
    return clipped

"""Training in epochs: the record of an epoch, early stopping, mixup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Results of one pass over the training data.

    Fields after `train_loss` are None where not measured; eno 0.1 saved only the loss and `val_map`.

    Attributes
    ----------
    number : int
        From 1.
    val_map : float or None
        Macro mAP on the validation data; None if no label has both positives and negatives there.
    learning_rate : float or None
        At the end of the epoch.
    """

    number: int
    train_loss: float
    val_loss: float | None = None
    val_map: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None


class EarlyStopping:
    """Remember the best epoch (0 before the first), and stop after `patience` epochs without improvement."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._best_score: float | None = None
        self.best = 0

    def improved(self, number: int, score: float | None) -> bool:
        """Whether this epoch is the best so far. Without a score, the latest epoch is the best."""
        if score is not None and self._best_score is not None and score <= self._best_score:
            return False
        self._best_score, self.best = score, number
        return True

    def stops(self, number: int) -> bool:
        """Whether training should end after this epoch."""
        return number - self.best >= self._patience


def mixup(alpha: float, rng: np.random.Generator, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Mix the rows of a batch in random pairs (H. Zhang et al., "mixup: Beyond empirical risk minimization", 2018).

    One share, drawn from Beta(alpha, alpha), and the same pairs are used for all tensors [shape=(b, ...)], such as
    inputs, targets and weights. Boolean masks are united.
    """
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(tensors[0]))).to(tensors[0].device)
    return tuple(
        one | one[partners] if one.dtype == torch.bool else torch.lerp(one[partners], one, share) for one in tensors
    )

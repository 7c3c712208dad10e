"""What models that are trained in epochs share: the record of an epoch, early stopping and mixup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Results of one pass over the training data.

    Attributes
    ----------
    number : int
        Starts at 1.
    train_loss : float
        Mean over the pass.
    val_loss : float or None
        On the validation data after the pass; None in heads saved by eno 0.1.
    val_map : float or None
        Macro mean average precision on the validation data; None if no label has both positives and negatives there.
    learning_rate : float or None
        At the end of the pass; None in heads saved by eno 0.1.
    seconds : float or None
        Time for training and validation, if it was measured.
    """

    number: int
    train_loss: float
    val_loss: float | None = None
    val_map: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None


class EarlyStopping:
    """Keep track of the best epoch, and stop after `patience` epochs without improvement.

    Attributes
    ----------
    best : int
        Number of the best epoch so far; 0 before the first.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._best_score: float | None = None
        self.best = 0

    def improved(self, number: int, score: float | None) -> bool:
        """Whether this epoch is the best so far. Higher scores are better; without a score the latest epoch is best."""
        if score is not None and self._best_score is not None and score <= self._best_score:
            return False
        self._best_score, self.best = score, number
        return True

    def stops(self, number: int) -> bool:
        """Whether training should end after this epoch."""
        return number - self.best >= self._patience


def mixup(alpha: float, rng: np.random.Generator, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Mix the rows of a batch in random pairs (H. Zhang et al., "mixup: Beyond empirical risk minimization", 2018).

    Parameters
    ----------
    alpha : float
        The share of the first row of each pair is drawn from Beta(alpha, alpha), once for the batch.
    *tensors : torch.Tensor [shape=(b, ...)]
        Inputs, targets, sample weights, all mixed with the same share and pairs; of boolean masks, the union.
    """
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(tensors[0]))).to(tensors[0].device)
    return tuple(
        one | one[partners] if one.dtype == torch.bool else torch.lerp(one[partners], one, share) for one in tensors
    )

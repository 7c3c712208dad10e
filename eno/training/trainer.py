"""One pass over the data: to learn from it, or to see how well it is predicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from eno.errors import TrainingError

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Batches of features and labels, such as a `torch.utils.data.DataLoader` gives."""

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes logits and labels [shape=(b, k)], gives their mean loss."""

_SURE = 1e-7  # float32 has no logit of a probability that is 1


def train_one_epoch(
    model: nn.Module,
    dataloader: Batches,
    optimizer: torch.optim.Optimizer,
    loss_fn: LossFunction,
    device: torch.device | str,
    *,
    mixup: float = 0.0,
    rng: np.random.Generator | None = None,
    scheduler: Any = None,
    on_step: Callable[[int], None] | None = None,
) -> float:
    """Learn from every batch once.

    Parameters
    ----------
    model : torch.nn.Module
        Maps features to logits; it must be on `device`.
    dataloader : iterable of (torch.Tensor [shape=(b, 1, n_mels, frames)], torch.Tensor [shape=(b, k)])
        Batches of features and labels.
    optimizer : torch.optim.Optimizer
        Makes the steps.
    loss_fn : callable
        Takes logits and labels, gives their mean loss.
    device : torch.device or str
        Where it is computed.
    mixup : float
        Mix rows of a batch in pairs, features and labels alike, by a share from Beta(mixup, mixup); 0 mixes nothing
        (H. Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018). Log-mel spectrograms are mixed as
        they are.
    rng : numpy.random.Generator, optional
        Draws shares and pairs.
    scheduler : optional
        One of `torch.optim.lr_scheduler` that goes on by a step after every batch.
    on_step : callable, optional
        Called after every batch with how many there were.

    Returns
    -------
    float
        Mean loss over the rows, so that a short last batch counts for no more than its rows; NaN if there are none.

    Raises
    ------
    TrainingError
        The loss is not a number any more.
    """
    model.train()
    rng = rng or np.random.default_rng()
    total, rows = 0.0, 0
    for step, (features, labels) in enumerate(dataloader, 1):
        features, labels = features.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if mixup > 0:
            features, labels = _mix(features, labels, mixup, rng)
        loss = loss_fn(model(features), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(_explain(features, labels, value, step, optimizer))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total += value * len(features)
        rows += len(features)
        if on_step:
            on_step(step)
    return total / rows if rows else math.nan


def validate(
    model: nn.Module,
    dataloader: Batches,
    loss_fn: LossFunction,
    device: torch.device | str,
    *,
    on_batch: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
) -> float:
    """Compute the loss without learning.

    Parameters
    ----------
    model, dataloader, loss_fn, device
        As in `train_one_epoch`. Features may also be several windows of each track, [shape=(b, windows, 1, n_mels,
        frames)]: then the loss is that of the mean of their probabilities, as it is predicted.
    on_batch : callable, optional
        Called with the logits and labels of every batch [shape=(b, k)], on the CPU.

    Returns
    -------
    float
        Mean loss over the rows; NaN if there are none.

    Raises
    ------
    TrainingError
        The loss is not a number.
    """
    model.eval()
    total, rows = 0.0, 0
    with torch.no_grad():
        for step, (features, labels) in enumerate(dataloader, 1):
            labels = labels.to(device, non_blocking=True)
            logits = track_logits(model, features.to(device, non_blocking=True))
            value = loss_fn(logits, labels).item()
            if not math.isfinite(value):
                raise TrainingError(_explain(features, labels, value, step))
            total += value * len(labels)
            rows += len(labels)
            if on_batch:
                on_batch(logits.cpu(), labels.cpu())
    return total / rows if rows else math.nan


def predict(model: nn.Module, dataloader: Batches, device: torch.device | str) -> np.ndarray:
    """Probabilities of every row [shape=(n, k), dtype=float32]; features as in `validate`."""
    model.eval()
    with torch.no_grad():
        found = [torch.sigmoid(track_logits(model, features.to(device))).cpu() for features, _ in dataloader]
    probabilities: np.ndarray = torch.cat(found).numpy()
    return probabilities


def track_logits(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Logits of tracks [shape=(b, k)]; of several windows those of the mean of their probabilities."""
    if features.ndim != 5:
        logits: torch.Tensor = model(features)
        return logits
    probabilities = torch.sigmoid(model(features.flatten(0, 1))).reshape(*features.shape[:2], -1).mean(dim=1)
    return torch.logit(probabilities, eps=_SURE)


def _mix(
    features: torch.Tensor, labels: torch.Tensor, alpha: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(features))).to(features.device)
    return torch.lerp(features[partners], features, share), torch.lerp(labels[partners], labels, share)


def _explain(
    features: torch.Tensor,
    labels: torch.Tensor,
    loss: float,
    step: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> str:
    for name, values in (("features", features), ("labels", labels)):
        if not bool(torch.isfinite(values).all()):
            return (
                f"The loss is {loss} at batch {step}, since its {name} are not all finite: look for bad data, and make "
                "it anew (scripts/prepare_data.py, eno labels)."
            )
    rate = f", which is {optimizer.param_groups[0]['lr']:g}" if optimizer else ""
    return f"The loss is {loss} at batch {step}: lower the learning rate{rate}, or check for bad data."

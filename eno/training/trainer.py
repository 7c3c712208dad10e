"""Training loops for PyTorch modules: one epoch of training, validation, prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from eno.errors import TrainingError
from eno.models.epochs import mixup as mix

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Batches of features and labels, such as a `torch.utils.data.DataLoader`."""

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Returns the mean loss of logits and labels [shape=(b, k)]."""

_EPSILON = 1e-7  # the logit of 1 is infinite


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
    """Train on every batch once, and return the mean loss per row; NaN if there are no rows.

    Parameters
    ----------
    model : torch.nn.Module
        Maps features to logits. Must be on `device`.
    dataloader : iterable of (torch.Tensor [shape=(b, 1, n_mels, frames)], torch.Tensor [shape=(b, k)])
        Features and labels.
    mixup : float
        Alpha of `eno.models.epochs.mixup`, drawn from `rng`; 0 for none.
    scheduler : optional
        A scheduler of `torch.optim.lr_scheduler`, stepped after every batch.
    on_step : callable, optional
        Called after every batch with the number of batches so far.

    Raises
    ------
    TrainingError
        The loss is not finite.
    """
    model.train()
    rng = rng or np.random.default_rng()
    total, rows = 0.0, 0
    for step, (features, labels) in enumerate(dataloader, 1):
        features, labels = features.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if mixup > 0:
            features, labels = mix(mixup, rng, features, labels)
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
    """Return the mean loss per row without training; NaN if there are no rows.

    Parameters
    ----------
    dataloader
        As in `train_one_epoch`, or with several windows per track [shape=(b, windows, 1, n_mels, frames)], whose
        probabilities are averaged before the loss.
    on_batch : callable, optional
        Called with the logits and labels of every batch [shape=(b, k)], on the CPU.
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
    """Predict probabilities [shape=(n, k), dtype=float32] of features as in `validate`."""
    model.eval()
    with torch.no_grad():
        found = [torch.sigmoid(track_logits(model, features.to(device))).cpu() for features, _ in dataloader]
    probabilities: np.ndarray = torch.cat(found).numpy()
    return probabilities


def track_logits(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Compute the logits of tracks [shape=(b, k)]; with several windows, those of the mean probability."""
    if features.ndim != 5:
        logits: torch.Tensor = model(features)
        return logits
    probabilities = torch.sigmoid(model(features.flatten(0, 1))).reshape(*features.shape[:2], -1).mean(dim=1)
    return torch.logit(probabilities, eps=_EPSILON)


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
                f"The loss is {loss} at batch {step} because its {name} contain values that are not finite. Rebuild "
                f"the {name} with: {'python scripts/prepare_data.py' if name == 'features' else 'eno labels'}"
            )
    rate = f" (now {optimizer.param_groups[0]['lr']:g})" if optimizer else ""
    return f"The loss is {loss} at batch {step}. Lower the learning rate{rate}, or check the data."

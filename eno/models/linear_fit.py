"""The minimum of multi-label logistic regression, all labels at once, from vectors that may lie on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from eno.models.base import ROWS_AT_ONCE, Training, chunks, take

_LOGITS_AT_ONCE = 4_000_000  # 16 MB, which stay in the cache between the two products
_HELD = 32_000_000  # values of vectors that are kept standardised; more are standardised anew in every step
_ALONE = 100_000_000  # multiplications below which threads wait for each other longer than they work
_WIDEST_BASIS = 4096  # dimensions; beyond, finding the axes takes longer than they save


@dataclass(frozen=True)
class Weights:
    """Coefficients of standardised vectors.

    Attributes
    ----------
    coefficients : np.ndarray [shape=(dim, k), dtype=float64]
        Of each label, in its own column.
    intercepts : np.ndarray [shape=(k,), dtype=float64]
        Its logit at the mean vector.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray


class Objective:
    """Mean binary cross-entropy per row of each label, and its gradient.

    Parameters
    ----------
    training : Training
        Vectors, labels and weights.
    chosen : np.ndarray [dtype=int64]
        Which training rows count.
    labels : np.ndarray [dtype=int64]
        Which labels.
    mean, scale : np.ndarray [shape=(dim,), dtype=float32]
        Make vectors standardised ones, see `Training.moments`. It is done anew for every piece, which costs little
        beside what is computed from it, so that no second copy of all vectors is needed.
    device : torch.device
        Where to compute.
    """

    def __init__(
        self,
        training: Training,
        chosen: np.ndarray,
        labels: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        device: torch.device,
    ) -> None:
        self._X, self._rows = training.X, training.rows[chosen]
        self._Y = training.Y[chosen][:, labels]
        weights = training.weights[chosen].astype(np.float64)
        self._weights = (weights / max(weights.sum(), 1e-12)).astype(np.float32)
        self._mean, self._scale, self.device = mean, scale, device
        self._pieces = list(chunks(len(chosen), max(256, min(ROWS_AT_ONCE, _LOGITS_AT_ONCE // max(1, len(labels))))))
        self._held: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._rows)

    def vectors(self) -> Iterator[torch.Tensor]:
        """Standardised vectors, piece by piece; few are kept."""
        if self._held:
            yield from self._held
            return
        for at in self._pieces:
            rows = take(self._X, self._rows[at]).reshape(at.stop - at.start, -1)
            piece = torch.from_numpy((rows - self._mean) * self._scale).to(self.device)
            if len(self._rows) * rows.shape[1] <= _HELD:
                self._held.append(piece)
            yield piece

    def __call__(self, coefficients: torch.Tensor, intercepts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Losses of the labels [shape=(k,)], and their gradients by coefficients and intercepts."""
        losses = torch.zeros(len(intercepts), dtype=torch.float64, device=self.device)
        by_coefficients, by_intercepts = torch.zeros_like(coefficients), torch.zeros_like(intercepts)
        for at, X in zip(self._pieces, self.vectors(), strict=True):
            Y = torch.from_numpy(self._Y[at].toarray()).to(self.device)
            weights = torch.from_numpy(self._weights[at]).to(self.device)
            logits = torch.addmm(intercepts, X, coefficients)
            losses += (weights @ torch.nn.functional.softplus(logits).addcmul_(Y, logits, value=-1)).double()
            errors = logits.sigmoid_().sub_(Y).mul_(weights[:, None])
            by_coefficients.addmm_(X.T, errors)
            by_intercepts += errors.sum(dim=0)
        return losses, by_coefficients, by_intercepts


class Solver:
    """L-BFGS along the principal axes of the vectors, each step scaled by how curved the loss of a label is.

    Where a label's probability is p for all rows, the curvature of its loss along an axis of variance v is p (1 - p) v.
    In coordinates divided by its root all labels, frequent and rare, have about the same well-rounded valley, so that
    tens of steps lead where hundreds would. The minimum is not changed by that, nor by giving labels the same weight.

    Parameters
    ----------
    objective : Objective
        Any rows of the training; their axes stand for those of all.
    priors : np.ndarray [shape=(k,), dtype=float64]
        How frequent each label is.
    """

    def __init__(self, objective: Objective, priors: np.ndarray) -> None:
        dim, rows, moment = 0, 0, torch.zeros(1, dtype=torch.float64)
        for X in objective.vectors():
            dim, rows = X.shape[1], rows + len(X)
            if dim <= _WIDEST_BASIS:
                moment = moment + (X.T @ X).double().cpu()
        self._axes: torch.Tensor | None = None
        self._variances = torch.ones(dim, dtype=torch.float64)
        if moment.ndim == 2:
            with _threads_for(10 * dim**3):
                self._variances, axes = torch.linalg.eigh(moment / rows)
            self._axes = axes.to(objective.device)
        p = torch.from_numpy(priors)
        self._curvature = p * (1 - p)
        # So that the loss of every label is the same before anything is learned, and all of them sum up to 1.
        self._importance = -1 / (p * p.log() + (1 - p) * torch.log1p(-p)) / max(1, len(p))

    def solve(
        self, objective: Objective, start: Weights, l2: float, *, max_iterations: int, tolerance: float
    ) -> Weights:
        """Go down from `start`.

        Parameters
        ----------
        objective : Objective
            What to minimise, together with half of `l2` times the square of each label's coefficients.
        start : Weights
            Where to begin.
        l2 : float
            Strength of the penalty.
        max_iterations : int
            Steps at most.
        tolerance : float
            Ends when a step makes the loss smaller by less than this share of what it was before anything was learned.

        Returns
        -------
        Weights
        """
        if start.coefficients.size == 0:
            return start
        device = objective.device
        curvature = torch.vstack([self._variances.clamp(min=0)[:, None] * self._curvature + l2, self._curvature])
        units = (self._importance * curvature).clamp(min=1e-12).sqrt().to(device)
        importance = self._importance.to(device)
        begin = [torch.from_numpy(part).to(device) for part in (start.coefficients, start.intercepts[None])]
        values = units * torch.vstack([self._along(begin[0]), begin[1]])
        optimizer = torch.optim.LBFGS(
            [values],
            max_iter=max_iterations,
            max_eval=2 * max_iterations,
            tolerance_grad=0,
            tolerance_change=tolerance,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> torch.Tensor:
            scaled = values / units
            losses, by_coefficients, by_intercepts = objective(self._out(scaled[:-1]).float(), scaled[-1].float())
            along = self._along(by_coefficients.double()) + l2 * scaled[:-1]
            values.grad = importance * torch.vstack([along, by_intercepts.double()]) / units
            return importance @ (losses + 0.5 * l2 * scaled[:-1].square().sum(dim=0))

        with _threads_for(len(objective) * values.numel()):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        scaled = values / units
        return Weights(self._out(scaled[:-1]).cpu().numpy(), scaled[-1].cpu().numpy())

    def _along(self, values: torch.Tensor) -> torch.Tensor:
        """From dimensions to axes."""
        return values if self._axes is None else self._axes.T @ values

    def _out(self, values: torch.Tensor) -> torch.Tensor:
        """From axes to dimensions."""
        return values if self._axes is None else self._axes @ values


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        if multiplications < _ALONE:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)

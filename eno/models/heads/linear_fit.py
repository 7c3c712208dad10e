"""Solver for multi-label logistic regression on vectors that may be on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from eno.models.training_data import ROWS_AT_ONCE, TrainingData, chunks, take
from eno.processes import give_back_memory

_LOGITS_AT_ONCE = 4_000_000  # 16 MB, which stay in the CPU cache between the two products
_CACHED = 32_000_000  # values of standardised vectors that are cached; more are standardised again in every step
_SINGLE_THREAD = 100_000_000  # multiplications below which several threads are slower than one
_MUCH = 1_000_000_000  # multiplications; beyond, the time to give memory back does not matter
_MAX_AXES = 4096  # dimensions; beyond, computing the principal axes costs more than they save


@dataclass(frozen=True)
class Weights:
    """Coefficients [shape=(dim, k), dtype=float64] and intercepts [shape=(k,)] for standardised vectors."""

    coefficients: np.ndarray
    intercepts: np.ndarray


class Objective:
    """Binary cross-entropy of each label per row, and its gradient, on some rows and labels of the training data.

    The loss of a label is the weighted sum over the rows, divided by what the weights of a label sum to on average. A
    penalty thus holds back labels that are known in few rows more than others.

    Chunks are standardised whenever they are read, which is cheap and saves a second copy of all vectors.
    """

    def __init__(
        self,
        data: TrainingData,
        rows: np.ndarray,
        labels: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        device: torch.device,
    ) -> None:
        self._X, self._rows = data.X, data.rows[rows]
        self._Y = data.Y[rows][:, labels]
        self._weights = data.weights[rows].of_labels(labels)
        self._scale_of_weights = self._weights.scale()
        self.shares = self._weights.totals() / self._scale_of_weights
        self._mean, self._scale, self.device = mean, scale, device
        self._pieces = list(chunks(len(rows), max(256, min(ROWS_AT_ONCE, _LOGITS_AT_ONCE // max(1, len(labels))))))
        self._cached: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._rows)

    def vectors(self) -> Iterator[torch.Tensor]:
        """Yield standardised vectors in chunks."""
        if self._cached:
            yield from self._cached
            return
        for at in self._pieces:
            vectors = take(self._X, self._rows[at]).reshape(at.stop - at.start, -1)
            piece = torch.from_numpy((vectors - self._mean) * self._scale).to(self.device)
            if len(self._rows) * vectors.shape[1] <= _CACHED:
                self._cached.append(piece)
            yield piece

    def __call__(self, coefficients: torch.Tensor, intercepts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the loss of each label [shape=(k,)], and the gradients of coefficients and intercepts."""
        losses = torch.zeros(len(intercepts), dtype=torch.float64, device=self.device)
        by_coefficients, by_intercepts = torch.zeros_like(coefficients), torch.zeros_like(intercepts)
        for at, X in zip(self._pieces, self.vectors(), strict=True):
            Y = torch.from_numpy(self._Y[at].toarray()).to(self.device)
            weights = torch.from_numpy(self._weights[at].dense() / np.float32(self._scale_of_weights)).to(self.device)
            logits = torch.addmm(intercepts, X, coefficients)
            of_rows = torch.nn.functional.softplus(logits).addcmul_(Y, logits, value=-1)
            losses += of_rows.mul_(weights).sum(dim=0).double()
            errors = logits.sigmoid_().sub_(Y).mul_(weights)
            by_coefficients.addmm_(X.T, errors)
            by_intercepts += errors.sum(dim=0)
        return losses, by_coefficients, by_intercepts


class Solver:
    """Preconditioned L-BFGS along the principal axes of the vectors of `objective`, which may be a sample.

    The curvature of a label's loss along an axis with variance v is about p (1 - p) v, where p is its base rate.
    Scaling coordinates by its square root conditions frequent and rare labels alike: tens of iterations suffice instead
    of hundreds. The minimum does not change.
    """

    def __init__(self, objective: Objective, base_rates: np.ndarray) -> None:
        dim, rows, moment = 0, 0, torch.zeros(1, dtype=torch.float64)
        for X in objective.vectors():
            dim, rows = X.shape[1], rows + len(X)
            if dim <= _MAX_AXES:
                moment = moment + (X.T @ X).double().cpu()
        self._axes: torch.Tensor | None = None
        self._variances = torch.ones(dim, dtype=torch.float64)
        if moment.ndim == 2:
            with _threads_for(10 * dim**3):
                self._variances, axes = torch.linalg.eigh(moment / rows)
            self._axes = axes.to(objective.device)
        p, shares = torch.from_numpy(base_rates), torch.from_numpy(objective.shares).clamp(min=1e-6)
        self._curvature = shares * p * (1 - p)
        # Makes the initial losses of all labels equal, with sum 1.
        self._importance = -1 / (p * p.log() + (1 - p) * torch.log1p(-p)) / shares / max(1, len(p))

    def solve(
        self, objective: Objective, start: Weights, l2: float, *, max_iterations: int, tolerance: float
    ) -> Weights:
        """Minimise the loss plus ``l2 / 2`` times the squared norm of each label's coefficients.

        It stops when a step lowers the loss by less than `tolerance` times the initial loss.
        """
        if start.coefficients.size == 0:
            return start
        device = objective.device
        curvature = torch.vstack([self._variances.clamp(min=0)[:, None] * self._curvature + l2, self._curvature])
        units = (self._importance * curvature).clamp(min=1e-12).sqrt().to(device)
        importance = self._importance.to(device)
        begin = [torch.from_numpy(part).to(device) for part in (start.coefficients, start.intercepts[None])]
        values = units * torch.vstack([self._to_axes(begin[0]), begin[1]])
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
            losses, by_coefficients, by_intercepts = objective(self._from_axes(scaled[:-1]).float(), scaled[-1].float())
            if len(objective) * values.numel() > _MUCH:
                give_back_memory()  # of the chunks: otherwise, it grows with every step
            by_axes = self._to_axes(by_coefficients.double()) + l2 * scaled[:-1]
            values.grad = importance * torch.vstack([by_axes, by_intercepts.double()]) / units
            return importance @ (losses + 0.5 * l2 * scaled[:-1].square().sum(dim=0))

        with _threads_for(len(objective) * values.numel()):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        scaled = values / units
        return Weights(self._from_axes(scaled[:-1]).cpu().numpy(), scaled[-1].cpu().numpy())

    def _to_axes(self, values: torch.Tensor) -> torch.Tensor:
        return values if self._axes is None else self._axes.T @ values

    def _from_axes(self, values: torch.Tensor) -> torch.Tensor:
        return values if self._axes is None else self._axes @ values


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        if multiplications < _SINGLE_THREAD:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)

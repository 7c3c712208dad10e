"""Multi-label logistic regression: fast and robust, the reference for the other heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit

from eno.devices import resolve_device
from eno.models.average_precision import macro_map
from eno.models.base import BaseHead
from eno.models.linear_fit import Objective, Solver, Weights
from eno.models.training_data import TrainingData, take
from eno.models.types import Count, NonNegative

_SELECTION_ROWS = 20_000  # training rows on which the penalty is chosen
_VAL_ROWS = 10_000  # more would hardly change the mean
_PATIENCE = 2  # weaker penalties in a row without a better mAP; these take longest to fit
_COARSE, _FINE = 1e-4, 1e-6  # relative change of the loss at which L-BFGS stops


class LinearHead(BaseHead):
    """L2-regularised logistic regression of all labels at once, on standardised vectors.

    Parameters
    ----------
    l2 : sequence of float
        Candidates for the L2 penalty, from which macro mAP on the validation rows selects one; see Notes.
    max_iterations : int
        Iterations of L-BFGS per penalty, starting from the solution for the next stronger one.
    seed : int
        Seed of the held-out rows and of the samples for model selection.

    Attributes
    ----------
    chosen_l2 : float
    val_map : dict of float to float
        Macro mAP on the validation rows by penalty; empty if they have no positives.

    Notes
    -----
    The solution is that of `sklearn.linear_model.LogisticRegression` with ``C = 1 / (l2 * n)``. Penalties are tried
    from the strongest on, until two in a row are worse. With more than 20,000 training rows, the penalty is selected on
    a sample of that size; it and the next weaker one are then fitted on all rows, with a coarser tolerance that hardly
    changes the ranking. The layers of an encoder are concatenated.
    """

    name = "linear"

    def __init__(
        self,
        *,
        l2: Sequence[NonNegative] = (1.0, 0.1, 0.01, 0.001, 0.0001),
        max_iterations: Count = 200,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.l2, self.max_iterations, self.seed, self.device = l2, max_iterations, seed, device
        self.chosen_l2 = float("nan")
        self.val_map: dict[float, float] = {}
        self._fitted: dict[str, np.ndarray] = {}

    def _fit(self, data: TrainingData) -> None:
        random, device = np.random.default_rng(self.seed), resolve_device(self.device)
        some_val = np.sort(random.permutation(len(data.rows_val))[:_VAL_ROWS])
        rows_val, truth = take(data.X_val, data.rows_val[some_val]), data.Y_val[some_val].toarray()
        mean, scale = (values.ravel() for values in data.moments())
        labels, base_rates = np.flatnonzero(~data.constant_labels()), data.base_rates()

        def fitted_from(weights: Weights) -> dict[str, np.ndarray]:
            coefficients = np.zeros((len(mean), len(base_rates)), np.float32)
            intercepts = logit(base_rates).astype(np.float32)
            coefficients[:, labels], intercepts[labels] = weights.coefficients, weights.intercepts
            return {"mean": mean, "scale": scale, "coefficients": coefficients, "intercepts": intercepts}

        def validate(weights: Weights) -> float | None:
            return macro_map(truth, _probabilities(fitted_from(weights), rows_val))

        some = np.sort(random.permutation(len(data))[:_SELECTION_ROWS])
        objective = Objective(data, some, labels, mean, scale, device)
        solver = Solver(objective, base_rates[labels])
        weights = Weights(np.zeros((len(mean), len(labels))), logit(base_rates[labels]))
        penalties = sorted(self.l2, reverse=True)
        if len(some) == len(data):
            weights = self._path(solver, objective, weights, penalties, validate, _FINE)
        else:
            weights = self._path(solver, objective, weights, penalties, validate, _COARSE)
            objective = Objective(data, np.arange(len(data)), labels, mean, scale, device)
            # More rows need no stronger penalty, perhaps a weaker one.
            penalties = [penalty for penalty in penalties if penalty <= self.chosen_l2][:2]
            weights = self._path(solver, objective, weights, penalties, validate, _COARSE)
        self._fitted = fitted_from(weights)

    def _path(
        self,
        solver: Solver,
        objective: Objective,
        weights: Weights,
        penalties: list[float],
        validate: Callable[[Weights], float | None],
        tolerance: float,
    ) -> Weights:
        """Fit with each penalty, strongest first, and return the weights with the best validation mAP."""
        self.val_map, best, kept, worse = {}, -1.0, weights, 0
        for done, penalty in enumerate(penalties, 1):
            weights = solver.solve(objective, weights, penalty, max_iterations=self.max_iterations, tolerance=tolerance)
            val_map = validate(weights)
            self._report(done, len(penalties))
            if val_map is not None:
                self.val_map[penalty] = val_map
            # If no label has both positives and negatives in validation, the weakest penalty is used.
            if val_map is None or val_map > best:
                best, self.chosen_l2, kept = -1.0 if val_map is None else val_map, penalty, weights
                worse = 0
            elif (worse := worse + 1) == _PATIENCE:
                break
        return kept

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return _probabilities(self._fitted, X)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"chosen_l2": self.chosen_l2, "val_map": list(self.val_map.items())}, self._fitted

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.chosen_l2, self.val_map = content["chosen_l2"], dict(content["val_map"])
        shape = arrays.pop("shape", None)  # of heads saved by eno 0.1
        if arrays.keys() != {"mean", "scale", "coefficients", "intercepts"}:
            raise ValueError(f"its arrays are {', '.join(arrays)}")
        self._shape = tuple(content["shape"] if shape is None else shape.tolist())
        self._fitted = arrays


def _probabilities(fitted: dict[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    flat = np.asarray(X, np.float32).reshape(len(X), len(fitted["mean"]))
    logits = ((flat - fitted["mean"]) * fitted["scale"]) @ fitted["coefficients"] + fitted["intercepts"]
    probabilities: np.ndarray = expit(logits).astype(np.float32)
    return probabilities

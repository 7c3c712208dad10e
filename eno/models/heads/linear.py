"""Multi-label logistic regression: fast and robust, the reference for the other heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, logit

from eno.devices import resolve_device
from eno.models.average_precision import ValidationScore, validation_score
from eno.models.base import BaseHead
from eno.models.folds import mean_by_choice
from eno.models.heads.linear_fit import Objective, Solver, Weights
from eno.models.training_data import TrainingData, take
from eno.models.types import Count, NonNegative

_STAGES = (20_000, 80_000)  # training rows on which the penalty is chosen, before all are used
_VAL_ROWS = 10_000  # more would hardly change the mean
_PATIENCE = 2  # penalties in a row without a better mAP
_STEP, _WEAKEST, _STRONGEST = 10**0.5, 1e-8, 1e3
_WEIGHTS = ("coefficients", "intercepts")
_COARSE, _FINE = 1e-4, 1e-6  # relative change of the loss at which L-BFGS stops


class LinearHead(BaseHead):
    """L2-regularised logistic regression of all labels at once, on standardised vectors.

    Parameters
    ----------
    l2 : sequence of float, optional
        Candidates for the L2 penalty, from which `eno.models.average_precision.ValidationScore` selects one. By
        default a search, in steps of half a power of ten towards weaker and stronger ones, each until two in a row are
        worse.
    max_iterations : int
        Iterations of L-BFGS per penalty, starting from the solution for the penalty before.
    seed : int
        Seed of the held-out rows and of the samples for model selection.

    Attributes
    ----------
    chosen_l2 : float
    val_map : dict of float to float
        Macro mAP on the validation rows by penalty; empty if they have no positives.

    Notes
    -----
    The solution is that of `sklearn.linear_model.LogisticRegression` with ``C = 1 / (l2 * n)``. With more than 20,000
    training rows, the penalty is selected on a sample of that size, then among its neighbours on one of 80,000 rows. On
    all rows only the corresponding penalty is fitted, with a coarser tolerance that hardly changes the ranking. The
    layers of an encoder are concatenated.
    """

    name = "linear"
    _first_l2: ClassVar[float] = 0.03  # where the search begins

    def __init__(
        self,
        *,
        l2: Sequence[NonNegative] | None = None,
        max_iterations: Count = 200,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.l2, self.max_iterations, self.seed, self.device = l2, max_iterations, seed, device
        self.chosen_l2 = float("nan")
        self.val_map: dict[float, float] = {}
        self._scores: dict[float, float] = {}
        self._fitted: dict[str, np.ndarray] = {}
        self._tried = 0
        self._start: dict[str, np.ndarray] = {}  # fitted on most of the rows, where the head is refitted on all

    def _fit(self, data: TrainingData) -> None:
        mean, scale = (values.ravel() for values in data.moments())
        self._fit_features(data, mean, scale)

    def _fit_features(self, data: TrainingData, mean: np.ndarray, scale: np.ndarray) -> None:
        random, device = np.random.default_rng(self.seed), resolve_device(self.device)
        some_val = np.sort(random.permutation(len(data.rows_val))[:_VAL_ROWS])
        rows_val, truth = take(data.X_val, data.rows_val[some_val]), data.Y_val[some_val].toarray()
        known = data.weights_val[some_val].known()
        labels, base_rates = np.flatnonzero(~data.constant_labels()), data.base_rates()

        def fitted_from(weights: Weights) -> dict[str, np.ndarray]:
            coefficients = np.zeros((len(mean), len(base_rates)), np.float32)
            intercepts = logit(base_rates).astype(np.float32)
            coefficients[:, labels], intercepts[labels] = weights.coefficients, weights.intercepts
            return {"mean": mean, "scale": scale, "coefficients": coefficients, "intercepts": intercepts}

        def validate(weights: Weights) -> ValidationScore | None:
            return validation_score(truth, _probabilities(fitted_from(weights), rows_val), known)

        order, sizes = random.permutation(len(data)), [*(size for size in _STAGES if size < len(data)), len(data)]
        weights = Weights(np.zeros((len(mean), len(labels))), logit(base_rates[labels]))
        if self._start:
            coefficients, intercepts = (self._start[name].astype(np.float64) for name in _WEIGHTS)
            weights, sizes = Weights(coefficients[:, labels], intercepts[labels]), [len(data)]
        solver, self._tried = None, 0
        for stage, size in enumerate(sizes):
            objective = Objective(data, np.sort(order[:size]), labels, mean, scale, device)
            solver = solver or Solver(objective, base_rates[labels])
            fit = partial(
                solver.solve,
                objective,
                max_iterations=self.max_iterations,
                tolerance=_COARSE if len(data) > _STAGES[0] else _FINE,
            )
            if stage == 0:
                candidates, patience = self._candidates(), _PATIENCE
            else:
                # As C of scikit-learn, the penalty of all rows together hardly depends on their number.
                candidates, patience = self._candidates(self.chosen_l2 * sizes[stage - 1] / size), 1
            if 0 < stage == len(sizes) - 1:
                candidates = [candidates[0][:1]]
            weights = self._select(fit, validate, weights, candidates, patience=patience)
        self._report(self._tried, self._tried)
        self._fitted = fitted_from(weights)

    def _chosen_options(self) -> dict[str, Any]:
        return {"l2": (self.chosen_l2,)}

    def _common_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        means = mean_by_choice(one._scores for one in fitted)
        return {"l2": (max(means, key=lambda l2: means[l2]) if means else fitted[0].chosen_l2,)}

    def _refit_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        self._start = self._start_from(fitted[0])
        return {}

    def _start_from(self, fitted: Self) -> dict[str, np.ndarray]:
        return fitted._fitted

    def _adopt(self, fitted: Sequence[Self]) -> None:
        self._start = {}
        self.val_map = mean_by_choice(one.val_map for one in fitted)

    def _candidates(self, first: float | None = None) -> list[list[float]]:
        """Return penalties in the order in which they are tried: from the first to weaker ones, then to stronger."""
        if self.l2 is not None:
            given = sorted(map(float, self.l2), reverse=True)
            if first is None:
                return [given]
            steps = np.log(np.maximum(given, _WEAKEST)) - np.log(max(first, _WEAKEST))
            return [[given[int(np.abs(steps).argmin())]]]
        first = first or self._first_l2
        weaker, stronger = (round(np.log(one) / np.log(_STEP)) for one in (first / _WEAKEST, _STRONGEST / first))
        return [[first / _STEP**step for step in range(weaker)], [first * _STEP**step for step in range(1, stronger)]]

    def _select(
        self,
        fit: Callable[[Weights, float], Weights],
        validate: Callable[[Weights], ValidationScore | None],
        start: Weights,
        candidates: list[list[float]],
        *,
        patience: int,
    ) -> Weights:
        """Try the penalties of each direction until `patience` in a row are worse; return the best weights."""
        self.val_map, self._scores, best, kept = {}, {}, -np.inf, start
        for direction in candidates:
            weights, worse = start, 0
            for penalty in direction:
                weights = fit(weights, penalty)
                if penalty == candidates[0][0]:
                    start = weights
                score = validate(weights)
                self._tried += 1
                self._report(self._tried, self._tried + _PATIENCE)  # nobody knows how many will follow
                if score is None:  # no label has both positives and negatives in validation
                    self.chosen_l2 = penalty
                    return weights
                self.val_map[penalty], self._scores[penalty] = score
                if score.overall > best:
                    best, self.chosen_l2, kept, worse = score.overall, penalty, weights, 0
                elif (worse := worse + 1) == patience:
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

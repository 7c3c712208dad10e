"""Multi-label logistic regression: quick, hard to get wrong, and the measure of whether anything more pays."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import expit, logit

from eno.devices import resolve_device
from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models.base import Options, check_shape, chunks, take, training_and_validation
from eno.models.heads import HEAD_FILE
from eno.models.linear_fit import Objective, Solver, Weights
from eno.models.ranking import macro_map
from eno.models.types import Labels, Vectors

_WEIGHTS = "head.safetensors"
_CHOSEN_BY = 20_000  # training rows by which a strength is chosen
_JUDGED = 10_000  # validation rows: more would change the mean little and take longer
_WORSE = 2  # weaker strengths in a row that end the search; they take the longest
_ROUGHLY, _CLOSELY = 1e-4, 1e-6  # share of the loss below which a step is the last


class LinearHead(Options):
    """Logistic regression of all labels at once over standardised vectors; how much it is held back is chosen.

    Parameters
    ----------
    l2 : sequence of float
        Strengths of the L2 penalty to choose from, each half the square of the weights' length per training row. They
        are tried from the strongest on, until two in a row are worse. The best by macro mAP on the validation rows is
        kept.
    max_iterations : int
        Of L-BFGS, for each strength; it goes on from the weights of the stronger one before.
    seed : int
        Decides which rows are held out where no validation rows are given, and by which a strength is chosen.
    device : str
        See `eno.devices.resolve_device`.

    Attributes
    ----------
    chosen_l2 : float
        The strength that was kept.
    val_map : dict of float to float
        Macro mAP on the validation rows by strength, of those that were tried on all rows; empty if they have no
        positives.

    Notes
    -----
    Of more than 20,000 training rows so many choose a strength; this and the next weaker one are then fitted on all
    rows, not quite to the minimum: what is left changes no rank worth its time. Vectors may lie on disk: they are read
    piece by piece in each step.

    Layers of an encoder are taken one after the other, as one longer vector. For each label the minimum is that of
    `sklearn.linear_model.LogisticRegression` with ``C = 1 / (l2 * n)``.
    """

    def __init__(
        self,
        *,
        l2: Sequence[float] = (1.0, 0.1, 0.01, 0.001, 0.0001),
        max_iterations: int = 200,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.l2, self.max_iterations, self.seed, self.device = l2, max_iterations, seed, device
        self.chosen_l2 = float("nan")
        self.val_map: dict[float, float] = {}
        self._fitted: dict[str, np.ndarray] | None = None

    def fit(
        self,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None = None,
        Y_val: Labels | None = None,
        *,
        groups: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Self:
        """Learn from vectors and their labels; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            Shapes do not fit together, there are too few rows, or a value is not finite.
        """
        training = training_and_validation(
            X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed
        )
        random, device = np.random.default_rng(self.seed), resolve_device(self.device)
        judged = np.sort(random.permutation(len(training.rows_val))[:_JUDGED])
        rows_val, truth = take(training.X_val, training.rows_val[judged]), training.Y_val[judged].toarray()
        mean, scale = (values.ravel() for values in training.moments())
        labels, priors = np.flatnonzero(~training.single_class()), training.priors()

        def fitted_from(weights: Weights) -> dict[str, np.ndarray]:
            coefficients = np.zeros((len(mean), len(priors)), np.float32)
            intercepts = logit(priors).astype(np.float32)
            coefficients[:, labels], intercepts[labels] = weights.coefficients, weights.intercepts
            shape = np.array(training.shape)
            return {
                "mean": mean,
                "scale": scale,
                "shape": shape,
                "coefficients": coefficients,
                "intercepts": intercepts,
            }

        def judge(weights: Weights) -> float | None:
            return macro_map(truth, _probabilities(fitted_from(weights), rows_val))

        some = np.sort(random.permutation(len(training))[:_CHOSEN_BY])
        objective = Objective(training, some, labels, mean, scale, device)
        solver = Solver(objective, priors[labels])
        weights = Weights(np.zeros((len(mean), len(labels))), logit(priors[labels]))
        strengths = sorted(self.l2, reverse=True)
        if len(some) == len(training):
            found = self._path(solver, objective, weights, strengths, judge, _CLOSELY)
        else:
            path = self._path(solver, objective, weights, strengths, judge, _ROUGHLY)
            objective = Objective(training, np.arange(len(training)), labels, mean, scale, device)
            # More rows need no stronger penalty, perhaps a weaker one.
            strengths = [strength for strength in strengths if strength <= self.chosen_l2][:2]
            found = self._path(solver, objective, path, strengths, judge, _ROUGHLY)
        self._fitted = fitted_from(found)
        return self

    def _path(
        self,
        solver: Solver,
        objective: Objective,
        weights: Weights,
        strengths: list[float],
        judge: Callable[[Weights], float | None],
        tolerance: float,
    ) -> Weights:
        """Fit for each strength, going on from the stronger one before; give what validation likes best."""
        self.val_map, best, kept, worse = {}, -1.0, weights, 0
        for done, strength in enumerate(strengths, 1):
            weights = solver.solve(
                objective, weights, strength, max_iterations=self.max_iterations, tolerance=tolerance
            )
            val_map = judge(weights)
            self._report(done, len(strengths))
            if val_map is not None:
                self.val_map[strength] = val_map
            # Validation rows that all have the same labels cannot rank the strengths: then the weakest is kept.
            if val_map is None or val_map > best:
                best, self.chosen_l2, kept = -1.0 if val_map is None else val_map, strength, weights
                worse = 0
            elif (worse := worse + 1) == _WORSE:
                break
        return kept

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if self._fitted is None:
            raise NotFitted(type(self).__name__)
        check_shape(X, tuple(self._fitted["shape"].tolist()))
        return np.concatenate([_probabilities(self._fitted, take(X, rows)) for rows in chunks(len(X))])

    def save(self, folder: Path | str) -> None:
        """Write the fitted head as ``head.json`` and ``head.safetensors``.

        Raises
        ------
        NotFitted
            There is nothing to save yet.
        """
        if self._fitted is None:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(folder / _WEIGHTS) as temporary:
            save_file({name: np.ascontiguousarray(value) for name, value in self._fitted.items()}, temporary)
        options = self._saved_options()
        chosen = {"chosen_l2": self.chosen_l2, "val_map": list(self.val_map.items())}
        write_json(folder / HEAD_FILE, {"head": "linear", "options": options | {"l2": list(self.l2)}, **chosen})

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            A file is missing or damaged.
        """
        folder = Path(folder)
        try:
            content = json.loads((folder / HEAD_FILE).read_text(encoding="utf-8"))
            head = cls(**content["options"], device=device)
            head.chosen_l2, head.val_map = content["chosen_l2"], dict(content["val_map"])
            head._fitted = load_file(folder / _WEIGHTS)
            if head._fitted.keys() != {"mean", "scale", "shape", "coefficients", "intercepts"}:
                raise ValueError(f"holds {', '.join(head._fitted)}")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        return head


def _probabilities(fitted: dict[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    flat = np.asarray(X, np.float32).reshape(len(X), -1)
    logits = ((flat - fitted["mean"]) * fitted["scale"]) @ fitted["coefficients"] + fitted["intercepts"]
    probabilities: np.ndarray = expit(logits).astype(np.float32)
    return probabilities

"""Multi-label logistic regression: quick, hard to get wrong, and the measure of whether anything more pays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from scipy.special import expit, logit

from eno.devices import resolve_device
from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models import HEAD_FILE, Labels, Vectors
from eno.models.base import ROWS_AT_ONCE, Options, check_shape, chunks, take, training_and_validation
from eno.models.ranking import macro_map

_WEIGHTS = "head.safetensors"


class LinearHead(Options):
    """Logistic regression of all labels at once over standardised vectors; how much it is held back is chosen.

    Parameters
    ----------
    l2 : sequence of float
        Strengths of the L2 penalty to choose from, each half the square of the weights' length per training row. The
        best by macro mAP on the validation rows is kept.
    max_iterations : int
        Of L-BFGS, for each strength; it goes on from the weights of the stronger one before.
    seed : int
        Decides which rows are held out where no validation rows are given.
    device : str
        See `eno.devices.resolve_device`.

    Attributes
    ----------
    chosen_l2 : float
        The strength that was kept.
    val_map : dict of float to float
        Macro mAP on the validation rows by strength; empty if they have no positives.

    Notes
    -----
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
        rows, dense, weights = training.whole()
        rows_val, dense_val = training.validation()
        mean, scale = (values.ravel() for values in training.moments())
        base = {"mean": mean, "scale": scale, "shape": np.array(training.shape)}
        single, prior = training.single_class(), logit(training.priors())
        flat = (rows.reshape(len(rows), -1) - mean) * scale
        objective = _Objective(flat, dense, weights, resolve_device(self.device))
        start = np.zeros((flat.shape[1] + 1, dense.shape[1]))
        start[-1] = prior
        self.val_map, best = {}, -1.0
        for strength in sorted(self.l2, reverse=True):
            options = {"maxiter": self.max_iterations, "maxfun": 2 * self.max_iterations}
            found = minimize(objective, start.ravel(), (strength,), jac=True, method="L-BFGS-B", options=options)
            start = found.x.reshape(start.shape)
            fitted = {**base, "coefficients": start[:-1].astype(np.float32), "intercepts": start[-1].astype(np.float32)}
            fitted["coefficients"][:, single], fitted["intercepts"][single] = 0, prior[single]
            val_map = macro_map(dense_val, _probabilities(fitted, rows_val))
            if val_map is not None:
                self.val_map[strength] = val_map
            # Validation rows that all have the same labels cannot rank the strengths: then the weakest is kept.
            if self.val_map.get(strength, np.inf) > best:
                best, self.chosen_l2, self._fitted = self.val_map.get(strength, -1.0), strength, fitted
        return self

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


class _Objective:
    """Mean binary cross-entropy per row, summed over the labels, with an L2 penalty; and its gradient."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray, device: torch.device) -> None:
        total = max(float(weights.sum()), 1e-12)
        self._device = device
        self._X, self._Y = torch.from_numpy(np.ascontiguousarray(X, np.float32)), torch.from_numpy(Y)
        self._weights = torch.from_numpy(weights / total)

    def __call__(self, values: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        shape = (self._X.shape[1] + 1, self._Y.shape[1])
        parameters = torch.from_numpy(values.reshape(shape)).to(self._device, torch.float32)
        loss, gradient = 0.0, torch.zeros(shape, device=self._device)
        for first in range(0, len(self._X), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            X, Y, weights = (part[rows].to(self._device) for part in (self._X, self._Y, self._weights))
            logits = X @ parameters[:-1] + parameters[-1]
            losses = torch.nn.functional.softplus(logits) - Y * logits
            loss += float((losses.sum(dim=1) * weights).sum(dtype=torch.float64))
            errors = (torch.sigmoid(logits) - Y) * weights[:, None]
            gradient[:-1] += X.T @ errors
            gradient[-1] += errors.sum(dim=0)
        weights_only = values.reshape(shape)[:-1]
        loss += 0.5 * l2 * float((weights_only**2).sum())
        result = gradient.cpu().numpy().astype(np.float64)
        result[:-1] += l2 * weights_only
        return loss, result.ravel()

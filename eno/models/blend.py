"""A blend of heads: the weighted mean of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from eno.errors import NotFitted
from eno.models.bags import Bags
from eno.models.base import BaseHead
from eno.models.calibration.scaling import logits_of
from eno.models.heads import create_head, load_head
from eno.models.training_data import TrainingData, check_labelled
from eno.models.types import Head, Labels, Vectors
from eno.views import RowView

_VAL_VALUES = 4_000_000  # rows times labels, sampled to fit the few weights on
_STEPS = 1_000  # of progress per member


class BlendHead(BaseHead):
    """Weighted mean of the logits of several heads.

    Parameters
    ----------
    heads : sequence of str
        Names of different heads.
    options : mapping of str to mapping, optional
        Options of each head, by its name. ``eno train`` fills it from the heads' sections of ``eno.toml``.
    seed : int
        Seed of the held-out rows; also of heads whose options have none.

    Attributes
    ----------
    members : list of Head
    weights : np.ndarray [shape=(len(members),), dtype=float64]
        The non-negative weights with sum 1 and the lowest log-loss on the validation rows. All equal if no validation
        row has a label.

    Notes
    -----
    All heads are fitted on the same rows. They use the same validation rows for model selection and early stopping as
    the blend for its weights; with few of them, this favours heads that select among many options.

    Examples
    --------
    Blend fitted heads::

        BlendHead.of([linear, mlp]).fit_weights(X_val, Y_val)
    """

    name = "blend"

    def __init__(
        self,
        *,
        heads: Sequence[str] = ("linear", "mlp", "lightgbm"),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.heads, self.options, self.seed, self.device = heads, options, seed, device
        self.checkpoint: Path | None = None
        self.members: list[Head] = []
        self.weights = np.zeros(0)

    @classmethod
    def of(cls, members: Sequence[Head]) -> Self:
        """Blend heads fitted on the same vectors and labels, with equal weights until `fit_weights`."""
        if not members:
            raise ValueError("A blend needs at least one head.")
        blend = cls(heads=tuple(getattr(member, "name", type(member).__name__) for member in members))
        blend.members, blend.weights = list(members), np.full(len(members), 1 / len(members))
        blend._shape, blend._fitted_options = getattr(members[0], "_shape", ()), blend._saved_options()
        return blend

    @property
    def takes_windows(self) -> bool:
        """Whether any of the heads takes windows; the others use their means."""
        return any(member.takes_windows for member in self.members or self._create_members())

    def _fit(self, data: TrainingData) -> None:
        members = self._create_members()
        rows, rows_val = _rows(data.X, data.rows), _rows(data.X_val, data.rows_val)
        for number, member in enumerate(members):
            self._forward_hooks(member, number)
            member.fit(rows, data.Y, rows_val, data.Y_val, sample_weight=data.weights)
        self.members = members
        self.fit_weights(rows_val, data.Y_val)

    def _create_members(self) -> list[Head]:
        names, options = list(self.heads), dict(self.options or {})
        if not names or len(set(names)) < len(names) or "blend" in names:
            raise ValueError(f"heads = {names}: expected names of different heads, without 'blend'.")
        for name in options:
            if name not in names:
                raise ValueError(f"There are options for {name!r}, which is not among the heads {', '.join(names)}.")
        shared = {"seed": self.seed, "device": self.device}
        return [create_head(name, **shared | dict(options.get(name, {}))) for name in names]

    def _forward_hooks(self, member: Head, number: int) -> None:
        total = len(self.heads) * _STEPS
        member.on_progress = lambda done, of: self._report(int((number + done / max(of, 1)) * _STEPS), total)
        if self.on_epoch is not None and hasattr(member, "on_epoch"):
            member.on_epoch = self.on_epoch
        if self.checkpoint is not None and hasattr(member, "checkpoint"):
            member.checkpoint = self.checkpoint.with_name(f"{self.checkpoint.name}-{number}")

    def fit_weights(self, X: Vectors, Y: Labels) -> Self:
        """Fit only the weights, on validation rows that no head was fitted on."""
        if not self.members:
            raise NotFitted(type(self).__name__)
        X, labels = check_labelled(X, Y)
        self.weights = np.full(len(self.members), 1 / len(self.members))
        if labels.nnz == 0:
            return self
        rows = np.arange(len(X))
        wanted = max(1, _VAL_VALUES // labels.shape[1])
        if len(rows) > wanted:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, wanted, replace=False))
        some = _rows(X, rows)
        logits = np.stack([logits_of(member.predict_proba(some)) for member in self.members])
        self.weights = _best_weights(logits, labels[rows].toarray())
        return self

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """See `eno.models.Head.predict_proba`; the members check the vectors."""
        if not self.members:
            raise NotFitted(type(self).__name__)
        used = [(head, weight) for head, weight in zip(self.members, self.weights.tolist(), strict=True) if weight > 0]
        logits = sum(np.float32(weight) * logits_of(head.predict_proba(X)) for head, weight in used)
        probabilities: np.ndarray = expit(logits)
        return probabilities

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"weights": self.weights.tolist()}, {}

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.weights = np.array(content["weights"], np.float64)
        if self.weights.shape != (len(self.heads),) or not np.isclose(self.weights.sum(), 1):
            raise ValueError(f"weights {content['weights']}")

    def _write_files(self, folder: Path) -> None:
        for number, member in enumerate(self.members):
            member.save(folder / str(number))

    def _read_files(self, folder: Path) -> None:
        self.members = [load_head(folder / str(number), device=self.device) for number in range(len(self.weights))]
        self._shape = getattr(self.members[0], "_shape", ())


def _rows(X: Vectors, rows: np.ndarray) -> Vectors:
    if len(rows) == len(X) and (rows == np.arange(len(X))).all():
        return X
    return X[rows] if isinstance(X, Bags) else RowView(X, rows)


def _best_weights(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Minimise log-loss over non-negative weights with sum 1, from logits [shape=(members, n, k)] and labels (n, k)."""
    flat, y = logits.reshape(len(logits), -1), truth.ravel()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = weights.astype(np.float32) @ flat
        value = (np.logaddexp(0, z, dtype=np.float64) - y * z).mean()
        return float(value), flat @ (expit(z) - y) / np.float64(len(y))

    start = np.full(len(flat), 1 / len(flat))
    simplex = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    found = minimize(
        loss, start, jac=True, method="SLSQP", bounds=[(0, 1)] * len(flat), constraints=simplex, options={"ftol": 1e-9}
    )
    weights = np.clip(found.x, 0, 1) if np.isfinite(found.x).all() else start
    weights[weights < 1e-4] = 0  # a head with negligible weight need not be evaluated
    result: np.ndarray = weights / weights.sum()
    return result

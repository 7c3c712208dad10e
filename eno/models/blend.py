"""Several heads are asked, and their logits averaged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from eno.errors import ModelError, NotFitted
from eno.files import write_json
from eno.models.bags import Bags
from eno.models.base import Options, check_labelled, training_and_validation
from eno.models.calibration.scaling import logits_of
from eno.models.heads import HEAD_FILE, HEADS, create_head, load_head
from eno.models.types import Head, Labels, Vectors
from eno.views import RowView

_VAL_VALUES = 4_000_000  # of all rows and labels, by which weights are chosen: a handful of numbers needs no more
_STEPS = 1_000  # of a member, in what is reported


class BlendHead(Options):
    """Weighted mean of the logits of several heads.

    Parameters
    ----------
    heads : sequence of str
        Names of different heads.
    options : mapping of str to mapping, optional
        Options of each head, by its name. In ``eno.toml`` they come from the sections of the heads.
    seed : int
        Decides which rows are held out where no validation rows are given; also the seed of heads whose options have
        none.
    device : str
        See `eno.devices.resolve_device`.

    Attributes
    ----------
    members : list of Head
        The fitted heads.
    weights : np.ndarray [shape=(len(members),), dtype=float64]
        At least 0, with sum 1: those of the lowest log-loss on the validation rows; all the same where no validation
        row has a label.

    Notes
    -----
    All heads see the same training and validation rows. That each chose and stopped by the validation rows already
    favours none of them by much; with few such rows a head that chooses among many settings gains most.

    Examples
    --------
    Heads that are fitted already only need weights::

        BlendHead.of([linear, mlp]).fit_weights(X_val, Y_val)
    """

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
        """Blend heads that are fitted already; `fit_weights` comes next.

        Parameters
        ----------
        members : sequence of Head
            Fitted on vectors of the same shape and on the same labels. Until `fit_weights` they weigh the same.
        """
        if not members:
            raise ValueError("no heads: a blend needs at least one.")
        places = {place: name for name, place in HEADS.items()}
        kinds = [f"{type(member).__module__}:{type(member).__name__}" for member in members]
        blend = cls(heads=tuple(places.get(kind, kind) for kind in kinds))
        blend.members, blend.weights = list(members), np.full(len(members), 1 / len(members))
        return blend

    @property
    def takes_windows(self) -> bool:
        """Whether one of the heads takes windows; the others take their means."""
        return any(member.takes_windows for member in self.members or self._create())

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
        """Fit all heads, then choose their weights; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            Shapes do not fit together, there are too few rows, a value is not finite, or an option has a wrong value.
        UnknownName, ConfigError
            There is no such head, or it has no such option.
        """
        members = self._create()
        training = training_and_validation(
            X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed
        )
        rows, rows_val = _rows(training.X, training.rows), _rows(training.X_val, training.rows_val)
        for number, member in enumerate(members):
            self._follow(member, number)
            member.fit(rows, training.Y, rows_val, training.Y_val, sample_weight=training.weights)
        self.members = members
        return self.fit_weights(rows_val, training.Y_val)

    def _create(self) -> list[Head]:
        names, options = list(self.heads), dict(self.options or {})
        if not names or len(set(names)) < len(names) or "blend" in names:
            raise ValueError(f"heads is {names}; expected names of different heads, without 'blend'.")
        for name in options:
            if name not in names:
                raise ValueError(f"options are given for {name!r}, which is not among the heads {', '.join(names)}.")
        shared = {"seed": self.seed, "device": self.device}
        return [create_head(name, **shared | dict(options.get(name, {}))) for name in names]

    def _follow(self, member: Head, number: int) -> None:
        """Pass on where a head reports, and where it keeps what it has done so far."""
        total = len(self.heads) * _STEPS
        member.on_progress = lambda done, of: self._report(int((number + done / max(of, 1)) * _STEPS), total)
        if self.on_epoch is not None and hasattr(member, "on_epoch"):
            member.on_epoch = self.on_epoch
        if self.checkpoint is not None and hasattr(member, "checkpoint"):
            member.checkpoint = self.checkpoint.with_name(f"{self.checkpoint.name}-{number}")

    def fit_weights(self, X: Vectors, Y: Labels) -> Self:
        """Choose the weights of heads that are fitted.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
            Vectors of validation rows, which no head was fitted on.
        Y : np.ndarray or sparse array of scipy [shape=(n, k)]
            Their labels, 0 to 1.

        Returns
        -------
        Self

        Raises
        ------
        NotFitted
            There are no heads yet.
        ValueError
            Shapes do not fit together, or a value is not finite.
        """
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
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if not self.members:
            raise NotFitted(type(self).__name__)
        used = [(head, weight) for head, weight in zip(self.members, self.weights.tolist(), strict=True) if weight > 0]
        logits = sum(np.float32(weight) * logits_of(head.predict_proba(X)) for head, weight in used)
        probabilities: np.ndarray = expit(logits)
        return probabilities

    def save(self, folder: Path | str) -> None:
        """Write ``head.json``, and each head into a folder of its own: ``0``, ``1``, ….

        Raises
        ------
        NotFitted
            There is nothing to save yet.
        """
        if not self.members:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for number, member in enumerate(self.members):
            member.save(folder / str(number))
        options = self._saved_options() | {"heads": list(self.heads)}
        write_json(folder / HEAD_FILE, {"head": "blend", "options": options, "weights": self.weights.tolist()})

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
            blend = cls(**content["options"], device=device)
            blend.weights = np.array(content["weights"], np.float64)
            if blend.weights.shape != (len(blend.heads),) or not np.isclose(blend.weights.sum(), 1):
                raise ValueError(f"weights {content['weights']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        blend.members = [load_head(folder / str(number), device=device) for number in range(len(blend.weights))]
        return blend


def _rows(X: Vectors, rows: np.ndarray) -> Vectors:
    if len(rows) == len(X) and (rows == np.arange(len(X))).all():
        return X
    return X[rows] if isinstance(X, Bags) else RowView(X, rows)


def _best_weights(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Weights of the lowest log-loss.

    Parameters
    ----------
    logits : np.ndarray [shape=(members, n, k)]
        Of each head.
    truth : np.ndarray [shape=(n, k)]
        Labels, 0 to 1.

    Returns
    -------
    np.ndarray [shape=(members,), dtype=float64]
        At least 0, with sum 1.
    """
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
    weights[weights < 1e-4] = 0  # a head that does not count need not be asked
    result: np.ndarray = weights / weights.sum()
    return result

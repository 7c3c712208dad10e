"""Gradient-boosted trees, one ensemble a label, on vectors that are binned once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import expit, logit

from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models import HEAD_FILE, Labels, Vectors
from eno.models.base import Options, check_shape, take, training_and_validation

logger = logging.getLogger(__name__)

_ARRAYS, _TREES = "head.safetensors", "trees.txt"
_SEPARATOR = "\n=== end of label ===\n"


class LightGBMHead(Options):
    """One-vs-rest LightGBM.

    Parameters
    ----------
    num_leaves, learning_rate, feature_fraction, min_data_in_leaf, max_bin
        As LightGBM has them.
    rounds, early_stopping : int
        Trees a label at most, and rounds without a better average precision on the validation rows after which its
        training ends.
    max_rows : int
        A label is learned from all its positives and so many rows at most; further negatives are left out, and the
        probabilities corrected for it.
    seed : int
        Decides which features a tree sees, which negatives are left out, and which rows are held out where no
        validation rows are given.
    threads : int, optional
        As many as there are cores, if not given.
    device : str
        Without meaning: trees grow on the CPU.

    Attributes
    ----------
    failures : dict of int to str
        Labels whose training failed, and why; they are predicted by their prior.

    Notes
    -----
    LightGBM's `Dataset`, which sorts every value into a bin, is made once; for each label only its targets are
    replaced, or a subset of its rows is taken, which copies bins and not values. Labels are learned one after the other
    with all cores: the targets of a `Dataset` are overwritten in place, which no two trainings may do at once.

    References
    ----------
    G. Ke et al., "LightGBM: A highly efficient gradient boosting decision tree", NeurIPS 2017.
    """

    def __init__(
        self,
        *,
        num_leaves: int = 15,
        learning_rate: float = 0.1,
        feature_fraction: float = 0.1,
        min_data_in_leaf: int = 20,
        max_bin: int = 63,
        rounds: int = 150,
        early_stopping: int = 20,
        max_rows: int = 20_000,
        seed: int = 0,
        threads: int | None = None,
        device: str = "auto",
    ) -> None:
        self.num_leaves, self.learning_rate, self.feature_fraction = num_leaves, learning_rate, feature_fraction
        self.min_data_in_leaf, self.max_bin, self.rounds = min_data_in_leaf, max_bin, rounds
        self.early_stopping, self.max_rows, self.seed = early_stopping, max_rows, seed
        self.threads, self.device = threads, device
        self.failures: dict[int, str] = {}
        self._boosters: list[lgb.Booster | None] | None = None
        self._shifts = self._priors = np.zeros(0)
        self._shape: tuple[int, ...] = ()

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
        vectors, dense, weights = training.whole()
        vectors_val, dense_val = training.validation()
        binning = {"max_bin": self.max_bin, "min_data_in_bin": 3, "feature_pre_filter": False, "verbosity": -1}
        parameters = {**binning, **self._parameters()}
        flat = vectors.reshape(len(vectors), -1)
        data = lgb.Dataset(flat, np.zeros(len(flat)), weight=weights, params=parameters, free_raw_data=True).construct()
        rows_val = vectors_val.reshape(len(vectors_val), -1)
        validation = data.create_valid(rows_val, np.zeros(len(rows_val)), params=parameters).construct()
        single = training.single_class()
        self._shape, self._priors = training.shape, training.priors()
        self._boosters, self._shifts, self.failures = [None] * dense.shape[1], np.zeros(dense.shape[1]), {}
        for label in np.flatnonzero(~single).tolist():
            try:
                y, y_val = np.ascontiguousarray(dense[:, label]), dense_val[:, label] > 0
                self._fit_label(label, data, validation, y, y_val, parameters)
            except lgb.basic.LightGBMError as error:
                self.failures[label] = str(error)
                logger.warning("label number %d cannot be learned and is predicted by its prior: %s", label, error)
        return self

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "cross_entropy",  # as binary, but takes soft labels too
            "metric": "average_precision",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction": self.feature_fraction,
            "min_data_in_leaf": self.min_data_in_leaf,
            "force_col_wise": True,  # the better one for many columns, and no test of both for every label
            "num_threads": self.threads or 0,
            "seed": self.seed,
            "deterministic": True,
        }

    def _fit_label(
        self,
        label: int,
        data: lgb.Dataset,
        validation: lgb.Dataset,
        y: np.ndarray,
        y_val: np.ndarray,
        parameters: dict[str, Any],
    ) -> None:
        rows, kept = self._rows(label, y)
        if rows is None:
            train = data.set_label(y)
        else:
            train = data.subset(rows.tolist(), params=parameters).construct().set_label(y[rows])
        callbacks: list[Any] = []
        valid_sets: list[lgb.Dataset] = []
        if y_val.any() and not y_val.all():
            valid_sets = [validation.set_label(y_val.astype(np.float32))]
            callbacks = [lgb.early_stopping(self.early_stopping, verbose=False)]
        booster = lgb.train(parameters, train, self.rounds, valid_sets=valid_sets, callbacks=callbacks)
        assert self._boosters is not None
        self._boosters[label], self._shifts[label] = booster, np.log(kept)

    def _rows(self, label: int, y: np.ndarray) -> tuple[np.ndarray | None, float]:
        """Rows to learn a label from, ascending as LightGBM takes them, and the share of negatives among them."""
        negatives = np.flatnonzero(y == 0)
        positives = np.flatnonzero(y > 0)
        wanted = max(self.max_rows - len(positives), len(positives))
        if len(negatives) <= wanted:
            return None, 1.0
        chosen = np.random.default_rng((self.seed, label)).choice(negatives, wanted, replace=False)
        return np.sort(np.concatenate([positives, chosen])), wanted / len(negatives)

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if self._boosters is None:
            raise NotFitted(type(self).__name__)
        check_shape(X, self._shape)
        flat = np.ascontiguousarray(take(X, slice(None))).reshape(len(X), -1)
        logits = np.tile(logit(self._priors), (len(flat), 1))
        for label, booster in enumerate(self._boosters):
            if booster is not None and len(flat):
                logits[:, label] = booster.predict(flat, raw_score=True) + self._shifts[label]
        probabilities: np.ndarray = expit(logits).astype(np.float32)
        return probabilities

    def save(self, folder: Path | str) -> None:
        """Write the fitted head as ``head.json``, ``head.safetensors`` and ``trees.txt`` in LightGBM's own text format.

        Raises
        ------
        NotFitted
            There is nothing to save yet.
        """
        if self._boosters is None:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        trees = [booster.model_to_string() if booster else "" for booster in self._boosters]
        with replace_file(folder / _TREES) as temporary:
            temporary.write_text(_SEPARATOR.join([*trees, ""]), encoding="utf-8")
        with replace_file(folder / _ARRAYS) as temporary:
            save_file({"shifts": self._shifts, "priors": np.asarray(self._priors, np.float64)}, temporary)
        options = self._saved_options()
        content = {"head": "lightgbm", "options": options, "shape": list(self._shape)}
        write_json(folder / HEAD_FILE, content | {"failures": list(self.failures.items())})

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
            head._shape, head.failures = tuple(content["shape"]), dict(content["failures"])
            arrays = load_file(folder / _ARRAYS)
            head._shifts, head._priors = arrays["shifts"], arrays["priors"]
            *trees, rest = (folder / _TREES).read_text(encoding="utf-8").split(_SEPARATOR)
            if rest or len(trees) != len(head._priors):
                raise ValueError(f"{_TREES} is cut short")
            head._boosters = [lgb.Booster(model_str=text) if text else None for text in trees]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, lgb.basic.LightGBMError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        return head

"""Gradient-boosted trees: one ensemble per label."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import lightgbm as lgb
import numpy as np
from pydantic import Field
from scipy.special import expit, logit

from eno.cores import usable_cores
from eno.errors import TrainingError
from eno.files import replace_file
from eno.models.base import TREES, BaseHead
from eno.models.heads.lgbm.checkpoint import LabelCheckpoint, key_of
from eno.models.heads.lgbm.labels import BoostingOptions, LabelTrees, train_in_threads
from eno.models.training_data import TrainingData
from eno.models.types import Count, Positive

logger = logging.getLogger(__name__)

_SEPARATOR = "\n=== end of label ===\n"
_EXECUTORS = ("local", "ray")


class LightGBMHead(BaseHead):
    """One-vs-rest LightGBM (G. Ke et al., NeurIPS 2017).

    Parameters
    ----------
    num_leaves, min_data_in_leaf : int
        Maximum number of leaves per tree, and minimum number of training rows per leaf.
    learning_rate : float
        Shrinkage of every tree.
    feature_fraction : float
        Fraction of the dimensions that is sampled for each tree.
    max_bin : int
        Maximum number of bins per dimension.
    rounds : int
        Maximum number of trees per label.
    early_stopping : int
        Rounds without a better average precision of the label on the validation rows after which training stops.
    min_judged : int
        Validation positives that a label needs for early stopping; with fewer, the best round would be chance.
    max_rows : int
        Training rows per label: all positives, and a sample of the negatives. Probabilities are corrected for it.
    seed : int
        Seed of the sampling of dimensions and negatives, and of the held-out rows.
    threads : int, optional
        Labels that are trained at once; by default one per core. On Ray the cluster decides.
    executor : {"local", "ray"}
        Train on this machine or on a Ray cluster (see `eno.models.heads.lgbm.ray`), with the same result.
    checkpoint : Path or str, optional
        Folder for the labels trained so far, with a folder in it for each fold. Training with the same data and
        settings resumes from it, until the head is saved.

    Attributes
    ----------
    failures : dict of int to str
        Index of every label whose training failed, and the reason; its base rate is predicted.
    """

    name = "lightgbm"
    _rows_at_once = 4_096
    _is_averaged = True

    def __init__(
        self,
        *,
        num_leaves: Annotated[int, Field(ge=2)] = 8,
        learning_rate: Positive = 0.15,
        feature_fraction: Annotated[float, Field(gt=0, le=1)] = 0.1,
        min_data_in_leaf: Count = 20,
        max_bin: Annotated[int, Field(ge=2)] = 63,
        rounds: Count = 150,
        early_stopping: Count = 50,
        min_judged: Count = 100,
        max_rows: Count = 20_000,
        seed: int = 0,
        threads: Count | None = None,
        executor: Literal["local", "ray"] = "local",
        checkpoint: Path | str | None = None,
        device: str = "auto",
    ) -> None:
        self.num_leaves, self.learning_rate, self.feature_fraction = num_leaves, learning_rate, feature_fraction
        self.min_data_in_leaf, self.max_bin, self.rounds = min_data_in_leaf, max_bin, rounds
        self.early_stopping, self.min_judged, self.max_rows = early_stopping, min_judged, max_rows
        self.seed, self.threads, self.executor, self.checkpoint = seed, threads, executor, checkpoint
        self.device = device
        self.failures: dict[int, str] = {}
        self._boosters: list[lgb.Booster | None] = []
        self._shifts = self._base_rates = np.zeros(0)

    def _fit(self, data: TrainingData) -> None:
        if self.executor not in _EXECUTORS:
            raise ValueError(f"executor = {self.executor!r}: expected one of {', '.join(_EXECUTORS)}.")
        labels = np.flatnonzero(~data.constant_labels()).tolist()
        boosters: list[lgb.Booster | None] = [None] * data.Y.shape[1]
        shifts, failures = np.zeros(len(boosters)), {}
        for done, trained in enumerate(self._resumed(data, labels), 1):
            if trained.failure:
                failures[trained.label] = trained.failure
                logger.warning("label %d failed; its base rate is predicted: %s", trained.label, trained.failure)
            else:
                boosters[trained.label], shifts[trained.label] = lgb.Booster(model_str=trained.trees), trained.shift
            self._report(done, len(labels))
        if labels and len(failures) == len(labels):
            raise TrainingError(f"LightGBM failed for all {len(labels)} labels: {failures[labels[0]]}")
        self._boosters, self._shifts, self._base_rates = boosters, shifts, data.base_rates()
        self.failures = dict(sorted(failures.items()))

    def _refit_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        trees = [booster.num_trees() for booster in fitted[0]._boosters if booster is not None]
        return {"rounds": max(1, round(float(np.median(trees))))} if trees else {}

    def _forget(self) -> None:
        self._boosters = []

    def _adopt(self, fitted: Sequence[Self]) -> None:
        self.failures = {label: reason for one in fitted for label, reason in one.failures.items()}

    def _resumed(self, data: TrainingData, labels: list[int]) -> Iterator[LabelTrees]:
        """Yield labels from the checkpoint, then the others as they are trained."""
        if self.checkpoint is None:
            yield from self._train(data, labels)
            return
        settings = {name: value for name, value in self._saved_options().items() if name != "threads"}
        checkpoint = LabelCheckpoint(Path(self.checkpoint), key_of(data, settings))
        finished = checkpoint.finished()
        if finished:
            logger.info("%s: resuming, %d of %d labels are trained", self.checkpoint, len(finished), len(labels))
        yield from finished.values()
        for trained in self._train(data, [label for label in labels if label not in finished]):
            checkpoint.add(trained)
            yield trained

    def _train(self, data: TrainingData, labels: list[int]) -> Iterator[LabelTrees]:
        if not labels:
            return
        options = BoostingOptions(
            parameters=self._parameters(),
            rounds=self.rounds,
            early_stopping=self.early_stopping,
            min_judged=self.min_judged,
            max_rows=self.max_rows,
            seed=self.seed,
        )
        try:
            if self.executor == "ray":
                from eno.models.heads.lgbm.ray import train_on_ray

                yield from train_on_ray(data, options, labels)
            else:
                yield from train_in_threads(data, options, labels, self.threads or usable_cores())
        except lgb.basic.LightGBMError as error:
            raise TrainingError(f"LightGBM: {error}") from error

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "cross_entropy",  # like binary, but accepts soft labels
            "metric": "average_precision",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction": self.feature_fraction,
            "min_data_in_leaf": self.min_data_in_leaf,
            "max_bin": self.max_bin,
            "min_data_in_bin": 3,
            "feature_pre_filter": False,
            "force_col_wise": True,  # faster for many columns; otherwise both ways are timed for every label
            # Labels are trained in parallel instead: threads within a tree wait at every leaf, and change the sums.
            "num_threads": 1,
            "seed": self.seed,
            "deterministic": True,
            "verbosity": -1,
        }

    def _saved_options(self) -> dict[str, Any]:
        options = super()._saved_options()
        return {name: value for name, value in options.items() if name not in ("executor", "checkpoint")}

    def _predict(self, X: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(X.reshape(len(X), math.prod(X.shape[1:])))
        logits = np.tile(logit(self._base_rates), (len(flat), 1))
        for label, booster in enumerate(self._boosters):
            if booster is not None and len(flat):
                raw = booster.predict(flat, raw_score=True, num_threads=self.threads or usable_cores())
                logits[:, label] = raw + self._shifts[label]
        probabilities: np.ndarray = expit(logits).astype(np.float32)
        return probabilities

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {"shifts": self._shifts, "priors": np.asarray(self._base_rates, np.float64)}
        return {"failures": list(self.failures.items())}, arrays

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        super()._restore(content, arrays)
        self.failures = dict(content["failures"])
        self._shifts, self._base_rates = arrays["shifts"], arrays["priors"]

    def _write_files(self, folder: Path) -> None:
        with replace_file(folder / TREES) as temporary, temporary.open("w", encoding="utf-8") as file:
            for booster in self._boosters:
                file.write((booster.model_to_string() if booster else "") + _SEPARATOR)

    def _read_files(self, folder: Path) -> None:
        *trees, rest = (folder / TREES).read_text(encoding="utf-8").split(_SEPARATOR)
        if rest or len(trees) != len(self._base_rates):
            raise ValueError(f"{TREES} is truncated")
        try:
            self._boosters = [lgb.Booster(model_str=text) if text else None for text in trees]
        except lgb.basic.LightGBMError as error:
            raise ValueError(str(error)) from error

"""Gradient-boosted trees, one ensemble a label, on vectors that are binned once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import expit, logit

from eno.cores import usable_cores
from eno.errors import ModelError, NotFitted, TrainingError
from eno.files import replace_file, write_json
from eno.models.base import Options, Training, check_shape, chunks, take, training_and_validation
from eno.models.heads import HEAD_FILE
from eno.models.lgbm.checkpoint import LabelCheckpoint, key_of
from eno.models.lgbm.labels import Grown, Plan, learn_here
from eno.models.types import Labels, Vectors

logger = logging.getLogger(__name__)

_ARRAYS, _TREES = "head.safetensors", "trees.txt"
_SEPARATOR = "\n=== end of label ===\n"
_EXECUTORS = ("local", "ray")


class LightGBMHead(Options):
    """One-vs-rest LightGBM.

    Parameters
    ----------
    num_leaves, learning_rate, feature_fraction, min_data_in_leaf, max_bin
        As LightGBM has them.
    rounds : int
        Trees a label at most.
    early_stopping : int
        Rounds without a better average precision on the validation rows after which the training of a label ends.
    min_judged : int
        A label that fewer validation rows have is not stopped early: by so few, the best round is found by chance.
    max_rows : int
        A label is learned from all its positives and so many rows at most; further negatives are left out, and the
        probabilities corrected for it.
    seed : int
        Decides which features a tree sees, which negatives are left out, and which rows are held out where no
        validation rows are given.
    threads : int, optional
        Labels that are learned at once; as many as there are cores, if not given. On Ray the cluster decides.
    executor : {"local", "ray"}
        Whether labels are learned here, or on a Ray cluster (`eno.models.lgbm.ray`). The result is the same.
    checkpoint : Path or str, optional
        A folder where `fit` keeps the labels it has learned, until it is done. After an interruption it goes on from
        there if data and settings are the same, and starts anew if they are not.
    device : str
        Without meaning: trees grow on the CPU.

    Attributes
    ----------
    failures : dict of int to str
        Labels whose training failed, and why; they are predicted by their prior.

    Notes
    -----
    Vectors are sorted into bins once and may lie on disk; see `eno.models.lgbm.labels.LabelLearner`.

    References
    ----------
    G. Ke et al., "LightGBM: A highly efficient gradient boosting decision tree", NeurIPS 2017.
    """

    def __init__(
        self,
        *,
        num_leaves: int = 8,
        learning_rate: float = 0.15,
        feature_fraction: float = 0.1,
        min_data_in_leaf: int = 20,
        max_bin: int = 63,
        rounds: int = 150,
        early_stopping: int = 50,
        min_judged: int = 100,
        max_rows: int = 20_000,
        seed: int = 0,
        threads: int | None = None,
        executor: str = "local",
        checkpoint: Path | str | None = None,
        device: str = "auto",
    ) -> None:
        self.num_leaves, self.learning_rate, self.feature_fraction = num_leaves, learning_rate, feature_fraction
        self.min_data_in_leaf, self.max_bin, self.rounds = min_data_in_leaf, max_bin, rounds
        self.early_stopping, self.min_judged, self.max_rows = early_stopping, min_judged, max_rows
        self.seed, self.threads, self.executor, self.checkpoint = seed, threads, executor, checkpoint
        self.device = device
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
            Shapes do not fit together, there are too few rows, a value is not finite, or `executor` is unknown.
        TrainingError
            LightGBM takes none of the labels.
        MissingExtra
            Ray is wanted, and not installed.
        """
        if self.executor not in _EXECUTORS:
            raise ValueError(f"executor {self.executor!r}: choose from {', '.join(_EXECUTORS)}.")
        training = training_and_validation(
            X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed
        )
        labels = np.flatnonzero(~training.single_class()).tolist()
        boosters: list[lgb.Booster | None] = [None] * training.Y.shape[1]
        shifts, failures = np.zeros(len(boosters)), {}
        for done, grown in enumerate(self._learned(training, labels), 1):
            if grown.failure:
                failures[grown.label] = grown.failure
                logger.warning(
                    "label number %d cannot be learned and is predicted by its prior: %s", grown.label, grown.failure
                )
            else:
                boosters[grown.label], shifts[grown.label] = lgb.Booster(model_str=grown.trees), grown.shift
            self._report(done, len(labels))
        if labels and len(failures) == len(labels):
            raise TrainingError(f"LightGBM learns none of the {len(labels)} labels: {failures[labels[0]]}")
        self._shape, self._priors = training.shape, training.priors()
        self._boosters, self._shifts, self.failures = boosters, shifts, dict(sorted(failures.items()))
        return self

    def _learned(self, training: Training, labels: list[int]) -> Iterator[Grown]:
        """Give the labels as they are learned, those of the checkpoint first."""
        checkpoint = None
        if self.checkpoint is not None:
            settings = {name: value for name, value in self._saved_options().items() if name != "threads"}
            checkpoint = LabelCheckpoint(Path(self.checkpoint), key_of(training, settings))
            before = checkpoint.finished()
            if before:
                logger.info("%s: %d of %d labels were learned before", self.checkpoint, len(before), len(labels))
            yield from before.values()
            labels = [label for label in labels if label not in before]
        for grown in self._executed(training, labels) if labels else ():
            if checkpoint is not None:
                checkpoint.keep(grown)
            yield grown
        if checkpoint is not None:
            checkpoint.remove()

    def _executed(self, training: Training, labels: list[int]) -> Iterator[Grown]:
        plan = Plan(
            parameters=self._parameters(),
            rounds=self.rounds,
            early_stopping=self.early_stopping,
            min_judged=self.min_judged,
            max_rows=self.max_rows,
            seed=self.seed,
        )
        try:
            if self.executor == "ray":
                from eno.models.lgbm.ray import learn_on_ray

                yield from learn_on_ray(training, plan, labels)
            else:
                yield from learn_here(training, plan, labels, self.threads or usable_cores())
        except lgb.basic.LightGBMError as error:
            raise TrainingError(f"LightGBM cannot learn: {error}") from error

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "cross_entropy",  # as binary, but takes soft labels too
            "metric": "average_precision",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction": self.feature_fraction,
            "min_data_in_leaf": self.min_data_in_leaf,
            "max_bin": self.max_bin,
            "min_data_in_bin": 3,
            "feature_pre_filter": False,
            "force_col_wise": True,  # the better one for many columns, and no test of both for every label
            # Labels side by side: threads within a tree wait for each other at every leaf, and round sums differently.
            "num_threads": 1,
            "seed": self.seed,
            "deterministic": True,
            "verbosity": -1,
        }

    def _saved_options(self) -> dict[str, Any]:
        options = super()._saved_options()
        return {name: value for name, value in options.items() if name not in ("executor", "checkpoint")}

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if self._boosters is None:
            raise NotFitted(type(self).__name__)
        check_shape(X, self._shape)
        return np.concatenate([self._probabilities(take(X, rows), self._boosters) for rows in chunks(len(X))])

    def _probabilities(self, X: np.ndarray, boosters: list[lgb.Booster | None]) -> np.ndarray:
        flat = np.ascontiguousarray(X.reshape(len(X), -1))
        logits = np.tile(logit(self._priors), (len(flat), 1))
        for label, booster in enumerate(boosters):
            if booster is not None and len(flat):
                raw = booster.predict(flat, raw_score=True, num_threads=self.threads or usable_cores())
                logits[:, label] = raw + self._shifts[label]
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

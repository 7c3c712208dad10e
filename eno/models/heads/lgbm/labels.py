"""Boosted trees of single labels, on vectors that are binned once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from scipy import sparse

from eno.data.labels.values import present
from eno.models.label_weights import LabelWeights
from eno.models.training_data import ROWS_AT_ONCE, TrainingData, take
from eno.models.types import Vectors

_BINNING_ROWS = 5000  # to choose the bounds of bins on: 80 for each of 63 bins
_VAL_ROWS = 10_000  # for early stopping; more would change little
_VALIDATION_INTERVAL = 5  # rounds; sorting the scores takes longer than growing a tree


class LabelTrees(NamedTuple):
    """The trees of a label.

    Attributes
    ----------
    label : int
        Index of the label.
    trees : str
        In LightGBM's text format.
    shift : float
        Correction of the logit for negatives that were not sampled.
    failure : str
        Why training failed; empty if it did not.
    """

    label: int
    trees: str = ""
    shift: float = 0.0
    failure: str = ""


@dataclass(frozen=True)
class BoostingOptions:
    """LightGBM's own parameters, and options of `eno.models.heads.lgbm.head.LightGBMHead`."""

    parameters: dict[str, Any]
    rounds: int
    early_stopping: int
    min_judged: int
    max_rows: int
    seed: int


class Rows(lgb.Sequence):
    """Rows of vectors that LightGBM reads in chunks."""

    batch_size = ROWS_AT_ONCE

    def __init__(self, X: Vectors, rows: np.ndarray) -> None:
        self._X, self._rows = X, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int | slice | list[int]) -> np.ndarray:
        found = take(self._X, self._rows[at])  # LightGBM passes slices, `_sample` lists
        return found.reshape(len(found), -1)


class LabelTrainer:
    """Train labels one by one, possibly in several threads.

    LightGBM's `Dataset`, which sorts every value into a bin, is built once. Training of a label takes a subset of its
    rows, which copies bins instead of values, so threads share nothing that they write to.
    """

    def __init__(
        self,
        pieces: Sequence[Rows],
        pieces_val: Sequence[Rows],
        Y: sparse.csc_array,
        Y_val: sparse.csc_array,
        weights: LabelWeights,
        weights_val: LabelWeights,
        options: BoostingOptions,
        *,
        threads: int,
    ) -> None:
        self._Y, self._Y_val, self._options = Y, Y_val, options
        self._weights, self._weights_val = weights, weights_val
        parameters = options.parameters | {"num_threads": threads}
        sample = _sample(pieces, options.seed)
        bounds = lgb.Dataset(sample, np.zeros(len(sample)), params=parameters).construct()
        self._data = bounds.create_valid(list(pieces), np.zeros(Y.shape[0]), params=parameters)
        self._validation = bounds.create_valid(list(pieces_val), np.zeros(Y_val.shape[0]), params=parameters)
        self._data.construct()
        if Y_val.shape[0]:
            self._validation.construct()

    def train(self, label: int) -> LabelTrees:
        """Train one label; a LightGBMError is returned as its failure."""
        options, y, y_val = self._options, _column(self._Y, label), _column(self._Y_val, label)
        weights, known_val = self._weights.of_label(label), np.flatnonzero(self._weights_val.of_label(label))
        known = np.flatnonzero(weights)
        rows, kept = choose_rows(y[known], options.max_rows, (options.seed, label))
        rows_val, _ = choose_rows(y_val[known_val], _VAL_ROWS, (options.seed, label))
        rows, rows_val, positives = known[rows], known_val[rows_val], np.count_nonzero(present(y_val[known_val]))
        weights = weights[rows]
        try:
            data, shift = self._subset(self._data, rows, y), float(np.log(kept))
            if kept < 1 and ((y > 0) & (y < 1)).any():
                # One shift of all logits is right only if every absence of the label was sampled alike.
                weights, shift = weights * np.where(y[rows] > 0, 1, 1 / kept), 0.0
            if (weights != 1).any():  # LightGBM is faster without
                data.set_weight(weights)
            booster = lgb.Booster(options.parameters, data)
            if options.min_judged <= positives < len(known_val):
                booster.add_valid(self._subset(self._validation, rows_val, present(y_val)), "validation")
                best = _boost(booster, options.rounds, options.early_stopping)
            else:
                best = _boost(booster, options.rounds, None)
            return LabelTrees(label, booster.model_to_string(num_iteration=best), shift)
        except lgb.basic.LightGBMError as error:
            return LabelTrees(label, failure=str(error))

    def _subset(self, data: lgb.Dataset, rows: np.ndarray, y: np.ndarray) -> lgb.Dataset:
        subset = data.subset(rows.tolist(), params=self._options.parameters).construct()
        return subset.set_label(y[rows].astype(np.float32))


def _sample(pieces: Sequence[Rows], seed: int) -> np.ndarray:
    """Return the vectors that determine the bounds of bins."""
    starts = np.cumsum([0, *map(len, pieces)])
    rows = np.sort(np.random.default_rng(seed).permutation(starts[-1])[:_BINNING_ROWS])
    cuts = np.searchsorted(rows, starts)
    parts = zip(pieces, starts[:-1], cuts[:-1], cuts[1:], strict=True)
    return np.concatenate([piece[(rows[first:end] - start).tolist()] for piece, start, first, end in parts])


def _boost(booster: lgb.Booster, rounds: int, early_stopping: int | None) -> int:
    """Add trees, and return the number of them to keep."""
    best, best_score = rounds, -1.0
    for done in range(1, rounds + 1):
        booster.update()
        if early_stopping is None or (done % _VALIDATION_INTERVAL and done < rounds):
            continue
        score = booster.eval_valid()[0][2]
        if score > best_score:
            best, best_score = done, score
        elif done - best >= early_stopping:
            break
    return best


def choose_rows(y: np.ndarray, max_rows: int, seed: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Return the training rows of a label, in ascending order as LightGBM requires, and the fraction of negatives kept.

    All positives are used, and a random sample of negatives up to `max_rows` in all, but at least as many as positives.
    """
    positive = y > 0
    negatives = np.flatnonzero(~positive)
    count = len(y) - len(negatives)
    wanted = max(max_rows - count, count)
    if len(negatives) <= wanted:
        return np.arange(len(y)), 1.0
    chosen = np.random.default_rng(seed).choice(negatives, wanted, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(positive), chosen])), wanted / len(negatives)


def _column(Y: sparse.csc_array, label: int) -> np.ndarray:
    column = np.zeros(Y.shape[0], np.float32)
    part = slice(Y.indptr[label], Y.indptr[label + 1])
    column[Y.indices[part]] = Y.data[part]
    return column


def train_in_threads(
    data: TrainingData, options: BoostingOptions, labels: Sequence[int], threads: int
) -> Iterator[LabelTrees]:
    """Train labels in threads of this process, and yield them as they finish."""
    trainer = LabelTrainer(
        [Rows(data.X, data.rows)],
        [Rows(data.X_val, data.rows_val)],
        data.Y.tocsc(),
        data.Y_val.tocsc(),
        data.weights,
        data.weights_val,
        options,
        threads=threads,
    )
    with ThreadPoolExecutor(threads) as pool:
        try:
            for future in as_completed([pool.submit(trainer.train, label) for label in labels]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)

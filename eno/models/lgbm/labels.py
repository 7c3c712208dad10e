"""What LightGBM learns of single labels, from vectors that are binned once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from scipy import sparse

from eno.models.base import ROWS_AT_ONCE, Training, take
from eno.models.types import Vectors

_BINNED = 5000  # rows by which the bounds of bins are chosen: 80 for each of 63 bins
_JUDGED = 10_000  # validation rows that decide when to stop: more would change little and take longer
_JUDGED_EVERY = 5  # rounds; sorting the scores takes longer than growing a tree


class Grown(NamedTuple):
    """What became of a label.

    Attributes
    ----------
    label : int
        Its number.
    trees : str
        In LightGBM's text format; empty if it failed.
    shift : float
        What to add to the logit, since negatives were left out.
    failure : str
        Why it cannot be learned; empty if it was.
    """

    label: int
    trees: str = ""
    shift: float = 0.0
    failure: str = ""


@dataclass(frozen=True)
class Plan:
    """How each label is learned.

    Attributes
    ----------
    parameters : dict
        LightGBM's.
    rounds, early_stopping, min_judged, max_rows, seed : int
        See `eno.models.lgbm.head.LightGBMHead`.
    """

    parameters: dict[str, Any]
    rounds: int
    early_stopping: int
    min_judged: int
    max_rows: int
    seed: int


class Rows(lgb.Sequence):
    """Vectors as LightGBM reads them: piece by piece, wherever they lie.

    Parameters
    ----------
    X : Vectors [shape=(n, dim) or (n, layers, dim)]
        Vectors.
    rows : np.ndarray [dtype=int64]
        Which of them.
    """

    batch_size = ROWS_AT_ONCE

    def __init__(self, X: Vectors, rows: np.ndarray) -> None:
        self._X, self._rows = X, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int | slice | list[int]) -> np.ndarray:
        found = take(self._X, self._rows[at])  # LightGBM asks for slices, `_drawn` for lists
        return found.reshape(len(found), -1)


class LabelLearner:
    """Learns labels one by one; several threads may do so at once.

    LightGBM's `Dataset`, which sorts every value into a bin, is made once. For each label a subset of its rows is
    taken, which copies bins and not values, so that trainings share nothing that is written to.

    Parameters
    ----------
    pieces, pieces_val : sequence of Rows
        Vectors to learn from and to stop by, in the order of their labels.
    Y, Y_val : scipy.sparse.csc_array [shape=(n, k), (n_val, k), dtype=float32]
        Labels of both.
    weights : np.ndarray [shape=(n,), dtype=float32]
        What each row weighs.
    plan : Plan
        How to learn.
    threads : int
        To sort values into bins with.

    Raises
    ------
    lightgbm.basic.LightGBMError
        A parameter has a value that LightGBM does not take.
    """

    def __init__(
        self,
        pieces: Sequence[Rows],
        pieces_val: Sequence[Rows],
        Y: sparse.csc_array,
        Y_val: sparse.csc_array,
        weights: np.ndarray,
        plan: Plan,
        *,
        threads: int,
    ) -> None:
        self._Y, self._Y_val, self._plan = Y, Y_val, plan
        parameters = plan.parameters | {"num_threads": threads}
        given = None if (weights == 1).all() else weights  # without weights LightGBM has less to do
        drawn = _drawn(pieces, plan.seed)
        bounds = lgb.Dataset(drawn, np.zeros(len(drawn)), params=parameters).construct()
        self._data = bounds.create_valid(list(pieces), np.zeros(Y.shape[0]), weight=given, params=parameters)
        self._validation = bounds.create_valid(list(pieces_val), np.zeros(Y_val.shape[0]), params=parameters)
        self._data.construct()
        self._validation.construct()

    def learn(self, label: int) -> Grown:
        """Grow the trees of one label."""
        plan, y, y_val = self._plan, _column(self._Y, label), _column(self._Y_val, label)
        rows, kept = choose_rows(y, plan.max_rows, (plan.seed, label))
        judged, _ = choose_rows(y_val, _JUDGED, (plan.seed, label))
        positives = np.count_nonzero(y_val)
        try:
            booster = lgb.Booster(plan.parameters, self._subset(self._data, rows, y))
            if plan.min_judged <= positives < len(y_val):
                booster.add_valid(self._subset(self._validation, judged, y_val > 0), "validation")
                best = _boost(booster, plan.rounds, plan.early_stopping)
            else:
                best = _boost(booster, plan.rounds, None)
            return Grown(label, booster.model_to_string(num_iteration=best), float(np.log(kept)))
        except lgb.basic.LightGBMError as error:
            return Grown(label, failure=str(error))

    def _subset(self, data: lgb.Dataset, rows: np.ndarray, y: np.ndarray) -> lgb.Dataset:
        subset = data.subset(rows.tolist(), params=self._plan.parameters).construct()
        return subset.set_label(y[rows].astype(np.float32))


def _drawn(pieces: Sequence[Rows], seed: int) -> np.ndarray:
    """Vectors by which the bounds of bins are chosen."""
    starts = np.cumsum([0, *map(len, pieces)])
    rows = np.sort(np.random.default_rng(seed).permutation(starts[-1])[:_BINNED])
    cuts = np.searchsorted(rows, starts)
    parts = zip(pieces, starts[:-1], cuts[:-1], cuts[1:], strict=True)
    return np.concatenate([piece[(rows[first:end] - start).tolist()] for piece, start, first, end in parts])


def _boost(booster: lgb.Booster, rounds: int, early_stopping: int | None) -> int:
    """Add trees; give how many of them are to be kept."""
    best, best_score = rounds, -1.0
    for done in range(1, rounds + 1):
        booster.update()
        if early_stopping is None or (done % _JUDGED_EVERY and done < rounds):
            continue
        score = booster.eval_valid()[0][2]
        if score > best_score:
            best, best_score = done, score
        elif done - best >= early_stopping:
            break
    return best


def choose_rows(y: np.ndarray, most: int, seed: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Rows of a label: all its positives, and as many negatives as there is room for, but not fewer than positives.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        The label.
    most : int
        Rows at most, unless more than half of them were positives.
    seed : tuple of int
        Decides which negatives are left out.

    Returns
    -------
    rows : np.ndarray [dtype=int64]
        Ascending, as LightGBM takes them.
    kept : float
        Share of the negatives that is among them.
    """
    positive = y > 0
    negatives = np.flatnonzero(~positive)
    count = len(y) - len(negatives)
    wanted = max(most - count, count)
    if len(negatives) <= wanted:
        return np.arange(len(y)), 1.0
    chosen = np.random.default_rng(seed).choice(negatives, wanted, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(positive), chosen])), wanted / len(negatives)


def _column(Y: sparse.csc_array, label: int) -> np.ndarray:
    column = np.zeros(Y.shape[0], np.float32)
    part = slice(Y.indptr[label], Y.indptr[label + 1])
    column[Y.indices[part]] = Y.data[part]
    return column


def learn_here(training: Training, plan: Plan, labels: Sequence[int], threads: int) -> Iterator[Grown]:
    """Learn labels in threads of this process, in whatever order they are done.

    Parameters
    ----------
    training : Training
        Vectors and labels.
    plan : Plan
        How to learn.
    labels : sequence of int
        Which of them.
    threads : int
        Labels that are learned at once.

    Yields
    ------
    Grown
        One for each label.
    """
    learner = LabelLearner(
        [Rows(training.X, training.rows)],
        [Rows(training.X_val, training.rows_val)],
        training.Y.tocsc(),
        training.Y_val.tocsc(),
        training.weights,
        plan,
        threads=threads,
    )
    with ThreadPoolExecutor(threads) as pool:
        try:
            for future in as_completed([pool.submit(learner.learn, label) for label in labels]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)

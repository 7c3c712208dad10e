"""The models that are compared: what scikit-learn offers in a line, and eno's heads.

All are fitted on all rows that are not test rows. A model takes a problem and returns probabilities of its test rows.
As in `eno train`, if a row has no label of a family at all, eno's heads do not learn the labels of this family from it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from eno.models import create_head
from eno.models.average_precision import has_both_classes, macro_map
from scripts.bench.tagging.problems import Problem

_MULTINOMIAL = "LogisticRegression (CV), multinomial"
Model = Callable[[Problem], np.ndarray]

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of ridge regression, per row
_FOLDS, _ROWS_FOR_FOLDS = 5, 10_000  # with more rows, the strength is chosen on the first fold
_TREES, _TREE_VALUES = 500, 10_000_000  # rows times labels times trees that are grown before their votes are counted


def _dense(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, X_test = (np.asarray(problem.vectors(part), np.float32) for part in ("train", "test"))
    return X, problem.labels("train").toarray(), X_test


def _forest(kind: Any) -> Model:
    def predict(problem: Problem) -> np.ndarray:
        X, Y, X_test = _dense(problem)
        at_once = max(1, min(_TREES, _TREE_VALUES // Y.size))
        votes = np.zeros((len(X_test), Y.shape[1]))
        for first in range(0, _TREES, at_once):
            trees = min(at_once, _TREES - first)
            model = kind(trees, n_jobs=-1, random_state=first).fit(X, Y)
            votes += trees * np.stack([_positive(one) for one in model.predict_proba(X_test)], axis=1)
        return votes / _TREES

    return predict


def _neighbours(problem: Problem) -> np.ndarray:
    X, Y, X_test = _dense(problem)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(20)).fit(X, Y)
    return np.stack([_positive(one) for one in model.predict_proba(X_test)], axis=1)


def _boosted(problem: Problem) -> np.ndarray:
    from lightgbm import LGBMClassifier  # other models do not pay for its memory

    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    return _one_vs_rest(LGBMClassifier(verbosity=-1), *_dense(problem))


def _svc(problem: Problem) -> np.ndarray:
    return _one_vs_rest(SVC(probability=True, random_state=0), *_dense(problem))


def _logistic(problem: Problem) -> np.ndarray:
    return _regularised(problem, _STRENGTHS, lambda strength, *data: _one_vs_rest(_regression(strength), *data))


def _multinomial(problem: Problem) -> np.ndarray:
    def fit(strength: float, X: np.ndarray, Y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
        X, X_test = _scaled(X, X_test)
        fitted = _regression(strength).fit(X, Y.argmax(axis=1))
        found = np.zeros((len(X_test), Y.shape[1]))
        found[:, fitted.classes_] = fitted.predict_proba(X_test)
        return found

    return _regularised(problem, _STRENGTHS, fit)


def _ridge(problem: Problem) -> np.ndarray:
    def fit(penalty: float, X: np.ndarray, Y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
        X, X_test = _scaled(X, X_test)
        return np.clip(Ridge(penalty * len(X)).fit(X, Y).predict(X_test), 0, 1)

    return _regularised(problem, _PENALTIES, fit)


def _regularised(
    problem: Problem, strengths: Sequence[float], fit_and_predict: Callable[..., np.ndarray]
) -> np.ndarray:
    """Choose a strength by cross-validation, fit a regression with it, and predict."""
    X, Y, X_test = _dense(problem)
    groups = problem.groups("train")
    folds = list(GroupKFold(min(_FOLDS, len(np.unique(groups))), shuffle=True, random_state=0).split(X, groups=groups))

    def score(strength: float) -> float:
        scores = []
        for fit, held_out in folds[: len(folds) if len(X) <= _ROWS_FOR_FOLDS else 1]:
            scores.append(macro_map(Y[held_out], fit_and_predict(strength, X[fit], Y[fit], X[held_out])))
        return float(np.mean([one for one in scores if one is not None]))

    return fit_and_predict(max(strengths, key=score), X, Y, X_test)


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000)


def _positive(probabilities: np.ndarray) -> np.ndarray:
    return probabilities[:, 1] if probabilities.shape[1] == 2 else np.zeros(len(probabilities))


def _scaled(X: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(X_test)


def _one_vs_rest(model: Any, X: np.ndarray, Y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Fit a model per label; a label that all or no rows have is predicted by its frequency."""
    X, X_test = _scaled(X, X_test)
    found = np.tile(Y.mean(axis=0), (len(X_test), 1))
    for label in np.flatnonzero(has_both_classes(Y)):
        found[:, label] = clone(model).fit(X, Y[:, label]).predict_proba(X_test)[:, 1]
    return found


RIVALS: dict[str, tuple[Model, float]] = {
    "LogisticRegression (CV)": (_logistic, 5e6),
    _MULTINOMIAL: (_multinomial, 5e6),
    "Ridge (CV)": (_ridge, 5e8),
    "RandomForest(500)": (_forest(RandomForestClassifier), 5e6),
    "ExtraTrees(500)": (_forest(ExtraTreesClassifier), 5e6),
    "SVC": (_svc, 1e5),
    "KNeighbors(20)": (_neighbours, 5e6),
    "LGBMClassifier": (_boosted, 5e5),
}
"""Models of scikit-learn and LightGBM, and with how many rows times labels they can still be expected to finish."""


def feasible(problem: Problem) -> list[str]:
    """Return the names of the rivals that fit a problem and finish at its size."""
    Y = problem.labels("train")
    one_each = bool((Y.sum(axis=1) == 1).all())
    found = [name for name, (_, limit) in RIVALS.items() if Y.shape[0] * Y.shape[1] <= limit]
    return found if one_each else [name for name in found if name != _MULTINOMIAL]


def predict(name: str, options: dict[str, Any], problem: Problem) -> np.ndarray:
    """Fit a rival, or a head of eno, and predict the test rows."""
    if name in RIVALS:
        return RIVALS[name][0](problem)
    head = create_head(name, **options)
    groups = problem.groups("train")
    artists = groups if len(np.unique(groups)) < len(groups) else None  # row numbers say nothing
    head.fit(problem.vectors("train"), problem.labels("train"), groups=artists, sample_weight=problem.known())
    return head.predict_proba(problem.vectors("test"))

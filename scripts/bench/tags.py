"""Quality of eno's heads on real data, against what scikit-learn's models reach in one line on the same rows.

Every model is fitted on all rows that are not test rows; eno's heads choose their options within these. Options are the
defaults, except for the rivals with "CV", which choose theirs by cross-validation in folds of whole groups.

    python scripts/bench/tags.py --emotions mulan_emotions.arff --yeast mulan_yeast.arff --draws 10
    python scripts/bench/tags.py --gtzan gtzan_msdmusicnn_taggram_train.npz gtzan_msdmusicnn_taggram_test.npz
    python scripts/bench/tags.py --store data/demo/embeddings/musicnn-454219cbc6d1 --data-root data/demo

emotions and yeast: https://github.com/tsoumakas/mulan, random hold-outs of 270 and 900 test rows. GTZAN: tag-grams of
musicnn, https://github.com/jordipons/sklearn-audio-transfer-learning, artist-filtered split, mean over windows. A store
is divided by its own splits; all metrics are means over labels with positives and negatives in the test rows.

The last column is the difference in macro mAP to the best rival with a 95 % confidence interval: from leaving out
artists where there is one split, and from the differences of the draws with the correction of C. Nadeau and Y. Bengio,
"Inference for the generalization error" (Machine Learning 52, 2003) where there are several.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.io import arff
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.evaluation.confidence import paired_difference
from eno.evaluation.metrics import evaluate
from eno.models import create_head
from eno.models.average_precision import has_both_classes, macro_map
from eno.registry import TRAINED_HEADS
from eno.training.collection import Collection

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Problem:
    """Rows to fit on and to test on; `groups` are the artists, or the row numbers."""

    X: np.ndarray
    Y: np.ndarray
    groups: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray
    groups_test: np.ndarray


def of_arff(path: Path, labels: int, test: int, draws: int) -> Iterator[Problem]:
    """Yield random hold-outs of a data set of Mulan, whose last columns are the labels."""
    rows, _ = arff.loadarff(path)
    values = np.array([[float(value) for value in row] for row in rows.tolist()], np.float32)
    X, Y, numbers = values[:, :-labels], values[:, -labels:], np.arange(len(values))
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(values))
        some, others = order[:test], order[test:]
        yield Problem(X[others], Y[others], numbers[others], X[some], Y[some], numbers[some])


def of_gtzan(train: Path, test: Path) -> Iterator[Problem]:
    """Yield the one split of the tag-grams."""
    parts = []
    for path in (train, test):
        with np.load(path, allow_pickle=True) as content:  # as they were published; eno itself never reads pickles
            ids, first, owner = np.unique(content["IDS"], return_index=True, return_inverse=True)
            sums = np.zeros((len(ids), content["X"].shape[1]), np.float32)
            np.add.at(sums, owner, content["X"])
            parts.append((sums / np.bincount(owner)[:, None], content["Y"][first], ids))
    names = np.unique(parts[0][1])
    (X, y, ids), (X_test, y_test, ids_test) = parts
    hot = [(values[:, None] == names).astype(np.float32) for values in (y, y_test)]
    yield Problem(X, hot[0], np.arange(len(ids)), X_test, hot[1], ids_test)


def of_store(path: Path, data: DataRoot) -> Iterator[Problem]:
    """Yield the split of a store."""
    collection = Collection(EmbeddingStore.open(path), data.splits, LabelEncoder.load(data.label_encoder))
    train, val, test = (collection.tracks(split) for split in ("train", "val", "test"))
    X, X_val, X_test = (np.asarray(one.X[:], np.float32).reshape(len(one.ids), -1) for one in (train, val, test))
    Y, groups = np.concatenate([train.truth, val.truth]), np.concatenate([train.groups, val.groups])
    yield Problem(np.concatenate([X, X_val]), Y, groups.astype(str), X_test, test.truth, test.groups.astype(str))


def rivals() -> dict[str, Callable[[Problem], np.ndarray]]:
    """Return what scikit-learn offers, by name: functions that fit a model and predict the test rows."""

    def forest(kind: Any) -> Callable[[Problem], np.ndarray]:
        def predict(problem: Problem) -> np.ndarray:
            model = kind(500, n_jobs=-1, random_state=0).fit(problem.X, problem.Y)
            return np.stack([_positive(one) for one in model.predict_proba(problem.X_test)], axis=1)

        return predict

    def standardised(model: Any) -> Callable[[Problem], np.ndarray]:
        def predict(problem: Problem) -> np.ndarray:
            return _one_vs_rest(make_pipeline(StandardScaler(), model), problem)

        return predict

    def logistic(problem: Problem) -> np.ndarray:
        def score(strength: float) -> float:
            model, scores = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)), []
            folds = GroupKFold(min(5, len(np.unique(problem.groups))), shuffle=True, random_state=0)
            for fit, held_out in folds.split(problem.X, groups=problem.groups):
                X, Y, groups = (values[held_out] for values in (problem.X, problem.Y, problem.groups))
                part = Problem(problem.X[fit], problem.Y[fit], problem.groups[fit], X, Y, groups)
                scores.append(macro_map(Y, _one_vs_rest(model, part)))
            return float(np.mean([one for one in scores if one is not None]))

        best = max(_STRENGTHS, key=score)
        return standardised(LogisticRegression(C=best, max_iter=1000))(problem)

    return {
        "LogisticRegression (CV)": logistic,
        "RandomForest(500)": forest(RandomForestClassifier),
        "ExtraTrees(500)": forest(ExtraTreesClassifier),
        "SVC": standardised(SVC(probability=True, random_state=0)),
        "KNeighbors(20)": standardised(KNeighborsClassifier(20)),
    }


def _positive(probabilities: np.ndarray) -> np.ndarray:
    return probabilities[:, 1] if probabilities.shape[1] == 2 else np.zeros(len(probabilities))


def _one_vs_rest(model: Any, problem: Problem) -> np.ndarray:
    """Fit a model per label; a label that all or no rows have is predicted by its frequency."""
    found = np.tile(problem.Y.mean(axis=0), (len(problem.X_test), 1))
    for label in np.flatnonzero(has_both_classes(problem.Y)):
        fitted = clone(model).fit(problem.X, problem.Y[:, label])
        found[:, label] = fitted.predict_proba(problem.X_test)[:, 1]
    return found


def head(name: str) -> Callable[[Problem], np.ndarray]:
    """Return a function that fits a head of eno and predicts the test rows."""

    def predict(problem: Problem) -> np.ndarray:
        return create_head(name).fit(problem.X, problem.Y, groups=problem.groups).predict_proba(problem.X_test)

    return predict


def compare(title: str, problems: Sequence[Problem], heads: Sequence[str]) -> None:
    """Fit all models on each problem, and print a table."""
    models = rivals() | {name: head(name) for name in heads}
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    seconds = dict.fromkeys(models, 0.0)
    for problem in problems:
        for name, predict in models.items():
            began = time.perf_counter()
            found[name].append(predict(problem))
            seconds[name] += (time.perf_counter() - began) / len(problems)
    scores = {
        name: [evaluate(problem.Y_test, one) for problem, one in zip(problems, predicted, strict=True)]
        for name, predicted in found.items()
    }
    means = {name: np.mean([one.map_macro for one in values]) for name, values in scores.items()}
    best = max(rivals(), key=lambda name: means[name])
    shape = problems[0].X.shape
    print(f"\n{title}: {shape[0]} rows of {shape[1]}, {problems[0].Y.shape[1]} labels, {len(problems)} draw(s)")
    print(f"{'':<24} {'mAP':>7} {'LRAP':>7} {'AUROC':>7} {'fit':>8}  mAP minus that of {best}")
    for name in sorted(models, key=lambda name: -means[name]):
        lrap, area = (np.mean([getattr(one, key) for one in scores[name]]) for key in ("lrap", "roc_auc_macro"))
        shown = "" if name == best else _difference(problems, found[name], found[best])
        print(f"{name:<24} {means[name]:7.4f} {lrap:7.4f} {area:7.4f} {seconds[name]:6.1f} s  {shown}", flush=True)


def _difference(problems: Sequence[Problem], ours: list[np.ndarray], theirs: list[np.ndarray]) -> str:
    if len(problems) == 1:
        one, metrics = problems[0], ("map_macro",)
        return f"{paired_difference(one.Y_test, ours[0], theirs[0], one.groups_test, metrics=metrics)['map_macro']}"
    values = np.array(
        [
            evaluate(problem.Y_test, a).map_macro - evaluate(problem.Y_test, b).map_macro
            for problem, a, b in zip(problems, ours, theirs, strict=True)
        ]
    )
    share = len(problems[0].X_test) / len(problems[0].X)
    error = values.std(ddof=1) * np.sqrt(1 / len(values) + share)
    reach = stats.t.ppf(0.975, len(values) - 1) * error
    return f"{values.mean():.3f} [{values.mean() - reach:.3f}, {values.mean() + reach:.3f}]"


def main() -> None:
    """Measure the data sets that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emotions", type=Path)
    parser.add_argument("--yeast", type=Path)
    parser.add_argument("--gtzan", type=Path, nargs=2)
    parser.add_argument("--store", type=Path, action="append", default=[])
    parser.add_argument("--data-root", type=Path, help="folder of the splits and labels of the stores")
    parser.add_argument("--draws", type=int, default=10, help="random hold-outs of emotions and yeast")
    parser.add_argument("--heads", nargs="+", default=list(TRAINED_HEADS))
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    if chosen.emotions:
        compare("emotions", list(of_arff(chosen.emotions, 6, 270, chosen.draws)), chosen.heads)
    if chosen.yeast:
        compare("yeast", list(of_arff(chosen.yeast, 14, 900, chosen.draws)), chosen.heads)
    if chosen.gtzan:
        compare("GTZAN", list(of_gtzan(*chosen.gtzan)), chosen.heads)
    for store in chosen.store:
        compare(store.name, list(of_store(store, DataRoot(chosen.data_root))), chosen.heads)


if __name__ == "__main__":
    main()

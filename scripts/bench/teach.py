"""Quality of taught tags by the number of examples, against what somebody would do instead.

Each label in turn is the taught tag. Examples are drawn from the tracks with the label that are not test tracks; all
other tracks that are not test tracks, also those with the label, are the unlabelled background. `eno teach` is compared
with the cosine to the mean of the examples, as in a search for similar tracks (vectors standardised), and with
scikit-learn's ``LogisticRegression(class_weight="balanced")`` of the examples against the background, on the same
standardised vectors and on raw ones.

    python -m scripts.bench.teach --gtzan gtzan_msdmusicnn_taggram_train.npz gtzan_msdmusicnn_taggram_test.npz
    python -m scripts.bench.teach --emotions mulan_emotions.arff --yeast mulan_yeast.arff
    python -m scripts.bench.teach --store data/demo/embeddings/musicnn-454219cbc6d1 --data-root data/demo

How `eno teach` scales vectors is chosen on the other labels. See `tags.py` for the data. Average precision and F1 (at
the tag's own threshold) are means over labels and draws; the 95 % interval of the difference to the best other method
is over labels. "recall" and "share" are those of `eno teach` on the test tracks, and "told" is what it tells the user.
The defaults were chosen on the stores of the demo, so figures on these are optimistic.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from eno.data.layout import DataRoot
from eno.models.average_precision import has_both_classes
from eno.models.taught.fitting import TagEstimate, fit_tag
from eno.models.taught.space import choose_exponent
from scripts.bench.tagging.problems import Problem, of_arff, of_gtzan, of_store

EXAMPLES = (1, 2, 5, 10, 20, 50)
OURS = "eno teach"


class Task:
    """Examples of a tag, background and test tracks; `Z` are standardised by the background."""

    def __init__(self, problem: Problem, examples: np.ndarray, exponent: float) -> None:
        X, self.test = (np.asarray(problem.vectors(part), np.float32) for part in ("train", "test"))
        self.X, self.background = X[examples], np.delete(X, examples, axis=0)
        self.groups, self.exponent = problem.groups("train")[examples], exponent
        mean, scale = self.background.mean(axis=0), self.background.std(axis=0)
        scale[scale < 1e-9] = 1
        self.Z = [(values - mean) / scale for values in (self.X, self.background, self.test)]


def teach(task: Task) -> tuple[np.ndarray, np.ndarray, TagEstimate]:
    """Return scores, decisions and the estimate of a taught tag."""
    fitted = fit_tag(task.X, task.background, groups=task.groups, exponent=task.exponent)
    scores = task.test @ fitted.coefficients + fitted.intercept
    return scores, scores > np.log(fitted.threshold / (1 - fitted.threshold)), fitted.estimate


def cosine(task: Task) -> tuple[np.ndarray, None, None]:
    """Return the cosine to the mean of the examples; it has no threshold."""
    examples, _, test = task.Z
    return _unit(test) @ _unit(_unit(examples).mean(axis=0)), None, None


def logistic(vectors: Callable[[Task], list[np.ndarray]]) -> Callable[[Task], tuple[np.ndarray, np.ndarray, None]]:
    """Return a function that fits scikit-learn's logistic regression."""

    def predict(task: Task) -> tuple[np.ndarray, np.ndarray, None]:
        examples, background, test = vectors(task)
        rows = np.concatenate([examples, background])
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        scores = model.fit(rows, np.arange(len(rows)) < len(examples)).decision_function(test)
        return scores, scores > 0, None

    return predict


METHODS: dict[str, Callable[[Task], tuple[np.ndarray, np.ndarray | None, TagEstimate | None]]] = {
    OURS: teach,
    "cosine to the mean": cosine,
    "LogisticRegression": logistic(lambda task: task.Z),
    "LogisticRegression (raw)": logistic(lambda task: [task.X, task.background, task.test]),
}


@dataclass(frozen=True)
class Result:
    """Figures of one method on one draw of examples; NaN where there are none."""

    method: str
    count: int
    label: tuple[int, int]
    seconds: float
    precision: float
    f1: float = np.nan
    recall: float = np.nan
    share: float = np.nan
    told_recall: float = np.nan
    told_share: float = np.nan


def tasks(problems: Iterable[Problem], draws: int) -> Iterator[tuple[Task, tuple[int, int], np.ndarray]]:
    """Yield tasks, the label of each, and which test tracks have it."""
    for number, problem in enumerate(problems):
        Y, truth = (problem.labels(part).toarray() for part in ("train", "test"))
        for label in np.flatnonzero(has_both_classes(truth)).tolist():
            having = np.flatnonzero(Y[:, label])
            others = sparse.csr_array(np.delete(Y, label, axis=1))  # a predictor does not have the label yet
            exponent = choose_exponent(problem.vectors("train"), others, problem.groups("train"))
            for draw in range(draws):
                order = np.random.default_rng([number, label, draw]).permutation(having)
                for count in EXAMPLES:
                    if 2 * count <= len(having):  # so that the background has some, too
                        yield Task(problem, order[:count], exponent), (number, label), truth[:, label] > 0


def measured(name: str, task: Task, label: tuple[int, int], truth: np.ndarray) -> Result:
    """Run a method."""
    began = time.perf_counter()
    scores, given, estimate = METHODS[name](task)
    seconds, precision = time.perf_counter() - began, average_precision_score(truth, scores)
    values = {}
    if given is not None:
        values |= {"f1": f1_score(truth, given, zero_division=0), "recall": given[truth].mean(), "share": given.mean()}
    if estimate is not None:
        values["told_share"] = estimate.share
        values["told_recall"] = estimate.found / estimate.examples if estimate.examples else np.nan
    return Result(name, len(task.X), label, seconds, precision, **values)


def measure(title: str, problems: Iterable[Problem], draws: int) -> None:
    """Teach each label of each problem with several draws of examples, and print tables."""
    results = [measured(name, *task) for task in tasks(problems, draws) for name in METHODS]
    counts = [count for count in EXAMPLES if any(one.count == count for one in results)]

    def row(name: str, what: str, method: str) -> None:
        values = [
            _mean(getattr(one, what) for one in results if (one.method, one.count) == (method, n)) for n in counts
        ]
        if not np.isnan(values).all():
            print(f"{name:<26}", *(f"{value:6.3f}" for value in values), flush=True)

    print(f"\n{title}\n{'examples':<26}", *(f"{count:>6}" for count in counts))
    labels = [len({one.label for one in results if one.count == count}) for count in counts]
    print(f"{'labels':<26}", *(f"{count:>6}" for count in labels))
    for what in ("precision", "f1", "seconds"):
        print({"precision": "average precision", "f1": "F1"}.get(what, what))
        for name in METHODS:
            row(f"  {name}", what, name)
    for count in counts:
        print(f"difference in average precision, {count:>2} examples:", _difference(results, count))
    for name, what in (
        ("recall told", "told_recall"), ("recall", "recall"), ("share told", "told_share"), ("share", "share"),
    ):  # fmt: skip
        row(name, what, OURS)


def _mean(values: Iterable[float]) -> float:
    some = [value for value in values if not np.isnan(value)]
    return float(np.mean(some)) if some else np.nan


def _difference(results: list[Result], count: int) -> str:
    found: dict[str, dict[tuple[int, int], list[float]]] = {name: defaultdict(list) for name in METHODS}
    for one in results:
        if one.count == count:
            found[one.method][one.label].append(one.precision)
    means = {name: np.array([np.mean(one) for one in values.values()]) for name, values in found.items()}
    best = max((name for name in means if name != OURS), key=lambda name: means[name].mean())
    values = means[OURS] - means[best]
    reach = np.nan
    if len(values) > 1:
        reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} [{values.mean() - reach:+.3f}, {values.mean() + reach:+.3f}] to {best}"


def _unit(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
    return result


def main() -> None:
    """Measure the data sets that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emotions", type=Path)
    parser.add_argument("--yeast", type=Path)
    parser.add_argument("--gtzan", type=Path, nargs=2)
    parser.add_argument("--store", type=Path, action="append", default=[])
    parser.add_argument("--data-root", type=Path, help="folder of the splits and labels of the stores")
    parser.add_argument("--draws", type=int, default=5, help="draws of the examples of each label")
    parser.add_argument("--holdouts", type=int, default=2, help="random hold-outs of emotions and yeast")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.gtzan:
            measure("GTZAN", of_gtzan(folder / "gtzan", *chosen.gtzan), chosen.draws)
        if chosen.emotions:
            problems = of_arff(folder / "emotions", chosen.emotions, 6, 270, chosen.holdouts)
            measure("emotions", problems, chosen.draws)
        if chosen.yeast:
            measure("yeast", of_arff(folder / "yeast", chosen.yeast, 14, 900, chosen.holdouts), chosen.draws)
        for store in chosen.store:
            problems = of_store(folder / store.name, store, DataRoot(chosen.data_root))
            measure(store.name, problems, chosen.draws)


if __name__ == "__main__":
    main()

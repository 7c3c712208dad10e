"""How often confidence intervals are wrong, in simulations where the truth is known.

Two models predict tags for tracks of a few artists. Tracks of an artist share labels, and each model errs in its own
way on every artist. Three figures per metric, each for percentiles of 300 bootstrap samples of artists (shifted so that
their mean is the value on all rows) and for the jackknife of `eno.evaluation.confidence`:

- *different*: how often the interval of the difference excludes 0 for models that are equally good; 5 % are promised.
- *found*: how often it excludes 0 in the right direction for models of which one is better, the power.
- *missed*: how often the interval of one model's score excludes the mean over all test sets of this size.

*none* is how often the jackknife gives no interval (fewer than three artists; a metric that is undefined without one of
them, or that no artist changes); such cases count as not different, not found and not missed.

    python -m scripts.bench.intervals [--draws 1000] [--artists 10 30 100] [--labels common tail few rare]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from eno.evaluation.confidence import Interval, intervals, paired_difference
from eno.evaluation.weighted_metrics import weighted_metrics

LABELS = {  # number of labels, and the share of artists that have the most and the least frequent one
    "common": (20, 0.4, 0.1), "tail": (50, 0.3, 0.02), "few": (3, 0.3, 0.1), "rare": (20, 0.06, 0.015),
}  # fmt: skip
SIZES = ("equal", "unequal", "half")
"""Tracks per artist: 4; log-normal, 1 to 30; 4, but one artist has half of all tracks."""

_METRICS = ("map_macro", "f1_macro", "f1_micro", "lrap")
_BOOTSTRAP = 300
_LEAD = 0.5  # of the better model, in logits of true labels

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def simulate(random: np.random.Generator, artists: int, sizes: str, labels: str, lead: float = 0.0) -> Sample:
    """Return labels, the probabilities of two models, thresholds, and the artist of each row."""
    tracks = np.full(artists, 4)
    if sizes == "unequal":
        tracks = np.clip(np.ceil(random.lognormal(1, 1, artists)), 1, 30).astype(int)
    elif sizes == "half":
        tracks[0] = tracks[1:].sum()
    owner = np.repeat(np.arange(artists), tracks)
    count, most, least = LABELS[labels]
    shares = np.geomspace(most, least, count)
    truth = (random.random((artists, count)) < shares)[owner] & (random.random((len(owner), count)) < 0.85)
    if not truth.any() or not (truth.any(axis=0) & ~truth.all(axis=0)).any():
        return simulate(random, artists, sizes, labels, lead)  # nothing to evaluate
    difficulty = 0.7 * random.normal(size=(artists, count))[owner] + 0.4 * random.normal(size=truth.shape)
    models = []
    for ahead in (lead, 0.0):
        known = 0.6 * random.normal(size=(artists, 1))[owner]  # how well the model knows this artist
        errors = 0.6 * random.normal(size=(artists, count))[owner] + 0.5 * random.normal(size=truth.shape)
        logits = np.log(shares / (1 - shares)) + (2.2 + ahead + known) * truth + difficulty + errors
        models.append(expit(logits).astype(np.float32))
    return truth, models[0], models[1], np.minimum(2.5 * shares, 0.5), owner


def bootstrap(random: np.random.Generator, sample: Sample) -> dict[str, tuple[Interval, Interval]]:
    """Return the score of the first model and the difference, with percentiles over samples of artists."""
    truth, a, b, thresholds, owner = sample
    artists = owner.max() + 1
    weights = np.ones((artists, 1 + _BOOTSTRAP), np.float32)
    for column in range(1, weights.shape[1]):
        weights[:, column] = np.bincount(random.integers(artists, size=artists), minlength=artists)
    of_a, of_b = (weighted_metrics(truth, one, thresholds, owner, weights, _METRICS) for one in (a, b))
    return {name: (_percentiles(of_a[name]), _percentiles(of_a[name] - of_b[name])) for name in _METRICS}


def _percentiles(values: np.ndarray) -> Interval:
    drawn = values[1:][~np.isnan(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) - drawn.mean() + values[0]
    return Interval(float(values[0]), float(low), float(high))


def jackknife(sample: Sample) -> dict[str, tuple[Interval, Interval]]:
    """Return the same from `eno.evaluation.confidence`."""
    truth, a, b, thresholds, owner = sample
    scores = intervals(truth, a, thresholds, owner, metrics=_METRICS)
    limits = {"thresholds_a": thresholds, "thresholds_b": thresholds}
    differences = paired_difference(truth, a, b, owner, metrics=_METRICS, **limits)
    return {name: (scores[name], differences[name]) for name in _METRICS}


def measure(artists: int, sizes: str, labels: str, draws: int, seed: int) -> dict[str, list[float]]:
    """Return percentages by metric: different, found and missed for bootstrap and jackknife in turn, then none."""
    random = np.random.default_rng([seed, artists, SIZES.index(sizes), list(LABELS).index(labels)])
    equal, better = defaultdict(list), defaultdict(list)
    for lead, kept in ((0.0, equal), (_LEAD, better)):
        for _ in range(draws):
            sample = simulate(random, artists, sizes, labels, lead)
            for method, found in (("bootstrap", bootstrap(random, sample)), ("jackknife", jackknife(sample))):
                for name, pair in found.items():
                    kept[name, method].append(pair)
    rows = {}
    for name in _METRICS:
        columns: list[list[float]] = []
        for method in ("bootstrap", "jackknife"):
            pairs = equal[name, method]
            expected = np.mean([score.value for score, _ in pairs])
            columns.append([
                _share([one.low > 0 or one.high < 0 for _, one in pairs]),
                _share([one.low > 0 for _, one in better[name, method]]),
                _share([score.low > expected or score.high < expected for score, _ in pairs]),
            ])  # fmt: skip
        none = _share([bool(np.isnan(one.low)) for _, one in equal[name, "jackknife"]])
        rows[name] = [value for pair in zip(*columns, strict=True) for value in pair] + [none]
    return rows


def _share(values: Sequence[bool]) -> float:
    return 100 * float(np.mean(values))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--artists", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--labels", nargs="+", choices=list(LABELS), default=list(LABELS))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("Percentages: bootstrap → jackknife")
    print(f"{'artists, sizes, labels':<24}{'metric':<11}{'different':>14}{'found':>16}{'missed':>16}{'none':>7}")
    every = []
    for artists in given.artists:
        for sizes in given.sizes:
            for labels in given.labels:
                rows = measure(artists, sizes, labels, given.draws, given.seed)
                every += list(rows.values())
                for name, values in rows.items():
                    _print(f"{artists}, {sizes}, {labels}", name, values)
    for word, summary in (("mean", np.mean), ("highest", np.max)):
        _print(word, "", summary(every, axis=0))


def _print(title: str, metric: str, values: Sequence[float]) -> None:
    shown = "".join(f"{values[i]:>8.1f} →{values[i + 1]:>6.1f}" for i in (0, 2, 4))
    print(f"{title:<24}{metric:<11}{shown}{values[6]:>7.1f}", flush=True)


if __name__ == "__main__":
    main()

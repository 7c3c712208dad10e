"""Fit the weights of evidence of `eno match` on made-up albums, and check whether its scores are probabilities.

A conditional logit model (McFadden, 1974): the candidates of each local album compete with one another and with "none
of them". The weights are fitted on three made-up catalogues, the penalty was chosen by the log-loss on two others, and
a sixth is held out for the check.

``python -m scripts.bench.catalogue.matching_weights [--write]``
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching import evidence
from eno.data.matching.candidates import AlbumIndex
from eno.data.matching.evidence import Model
from scripts.bench.catalogue.made_albums import World

SAYING_NOTHING = ("unknown", "none", "no", "different", "same")
"""Levels with the weight 0: the first of these that a kind of evidence has, but for artists."""

FITTED, CHOSEN, HELD_OUT = (0, 1, 2), (3, 4), 5
"""Seeds of the catalogues for the weights, for the penalty and for the check."""

Example = tuple[list[evidence.Evidence], int | None]
"""The evidence for all candidates of a local album, and which of them is right."""


def examples(seed: int, artists: int, copies: int) -> tuple[list[Example], int]:
    """Return the candidates of made-up albums, and how many listed albums are not among theirs."""
    world = World(seed, artists)
    albums = pa.Table.from_pylist(world.catalogue(), schema=ALBUM_SCHEMA)
    file_names, index = albums["file_name"].to_pylist(), AlbumIndex(albums)
    local = world.copies(copies)
    made, missed = [], 0
    for (_, path), found in zip(local, index.candidates_of([album for album, _ in local]), strict=True):
        right = next((i for i, one in enumerate(found) if file_names[one.row] == path), None)
        missed += path is not None and right is None
        made.append(([one.evidence for one in found], right))
    return made, missed


def encode(made: list[Example], columns: dict[tuple[str, str], int]) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """Return one row of zeros and ones a candidate, the album of each row, and whether it is the right one."""
    rows = [
        (owner, found, number == right)
        for owner, (candidates, right) in enumerate(made)
        for number, found in enumerate(candidates)
    ]
    cells = [(i, columns[item]) for i, (_, found, _) in enumerate(rows) for item in found.items() if item in columns]
    at = np.array(cells).T
    matrix = csr_matrix((np.ones(at.shape[1]), (at[0], at[1])), shape=(len(rows), len(columns)))
    return matrix, np.array([owner for owner, _, _ in rows]), np.array([right for _, _, right in rows])


def fit(made: list[Example], l2: float) -> Model:
    """Fit weights by penalised maximum likelihood."""
    levels = sorted({item for candidates, _ in made for found in candidates for item in found.items()})
    columns = {item: i for i, item in enumerate(levels)}
    matrix, owner, right = encode(made, columns)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        log_odds = matrix @ values[:-1] + values[-1]
        highest = np.zeros(len(made))
        np.maximum.at(highest, owner, log_odds)
        odds = np.exp(log_odds - highest[owner])
        total = np.bincount(owner, odds, len(made)) + np.exp(-highest)
        error = odds / total[owner] - right
        value = (np.log(total) + highest).sum() - log_odds[right].sum() + l2 / 2 * (values[:-1] ** 2).sum()
        return value, np.append(matrix.T @ error + l2 * values[:-1], error.sum())

    found = minimize(loss, np.zeros(len(columns) + 1), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    weights: dict[str, dict[str, float]] = defaultdict(dict)
    for (kind, level), value in zip(levels, found.x[:-1], strict=True):
        weights[kind][level] = float(value)
    return centred(weights, float(found.x[-1]))


def centred(weights: dict[str, dict[str, float]], prior: float) -> Model:
    """Move weights so that a level that says nothing has the weight 0; every candidate has one level of each kind."""
    for kind, levels in weights.items():
        base = next((levels[name] for name in SAYING_NOTHING if name in levels), 0.0) if kind != "artist" else 0.0
        prior += base
        weights[kind] = {name: round(value - base, 2) for name, value in levels.items()}
    return Model(weights, round(prior, 2))


def best_of(model: Model, made: list[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of the best candidate of each local album that has one, and whether it is right.

    Lengths of another recording rule a match out, whatever the score.
    """
    best = []
    for candidates, right in made:
        scores = evidence.probabilities([model.log_odds(found) for found in candidates])
        if scores:
            top = int(np.argmax(scores))
            if candidates[top]["lengths"] not in evidence.CONTRADICTED:
                best.append((scores[top], top == right))
    score, good = np.array(best).T
    return score, good


def log_loss(model: Model, made: list[Example]) -> float:
    """Return the mean log-loss over local albums, by which the default of ``--l2`` was chosen."""
    losses = []
    for candidates, right in made:
        scores = evidence.probabilities([model.log_odds(found) for found in candidates])
        losses.append(-np.log(max(1e-9, 1 - sum(scores) if right is None else scores[right])))
    return float(np.mean(losses))


def report(model: Model, made: list[Example], missed: int) -> None:
    """Print how often scores of each range are right, and precision and recall at some thresholds."""
    score, good = best_of(model, made)
    print("score of the best candidate, albums, mean score, share that are right")
    for low, high in (
        (0, 0.1),
        (0.1, 0.3),
        (0.3, 0.5),
        (0.5, 0.7),
        (0.7, 0.9),
        (0.9, 0.97),
        (0.97, 0.99),
        (0.99, 0.999),
        (0.999, 1.01),
    ):
        within = (score >= low) & (score < high)
        if within.any():
            print(f"{low:5.3f} {within.sum():6d} {score[within].mean():.4f} {good[within].mean():.4f}")
    listed = sum(right is not None for _, right in made) + missed
    for one in (0.5, 0.8, 0.9, 0.95, 0.97, 0.99):
        over = score >= one
        print(f"threshold {one}: precision {good[over].mean():.4f} recall {good[over].sum() / listed:.4f}")
    print(f"not found among the candidates: {missed} of {listed}")


def main() -> None:
    """Fit, write the weights if asked to, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artists", type=int, default=2500)
    parser.add_argument("--copies", type=int, default=20_000)
    parser.add_argument("--l2", type=float, default=1.0)
    parser.add_argument("--write", action="store_true", help="replace the weights that come with eno")
    options = parser.parse_args()

    def several(seeds: tuple[int, ...]) -> list[Example]:
        return [one for seed in seeds for one in examples(seed, options.artists, options.copies)[0]]

    model = fit(several(FITTED), options.l2)
    for kind, levels in model.weights.items():
        print(
            f"{kind}: "
            + ", ".join(f"{name} {value:+.1f}" for name, value in sorted(levels.items(), key=lambda one: -one[1]))
        )
    print(f"prior {model.prior}; log-loss on other catalogues {log_loss(model, several(CHOSEN)):.4f}")
    if options.write:
        content = {"prior": model.prior, "weights": model.weights}
        Path(evidence.__file__).with_name("weights.json").write_text(
            json.dumps(content, indent=1) + "\n", encoding="utf-8"
        )
    report(model, *examples(HELD_OUT, options.artists, options.copies // 3))


if __name__ == "__main__":
    main()

r"""How well predictors tell tracks of new artists from other music, compared with simpler measures.

    python scripts/bench/familiarity.py --store data/demo/embeddings/musicnn-454219cbc6d1 --data-root data/demo \\
        --other other_music
    python scripts/bench/familiarity.py --gtzan gtzan_msdmusicnn_taggram_train.npz gtzan_msdmusicnn_taggram_test.npz
    python scripts/bench/familiarity.py --tracks 300000

With a store, everything is fitted on the tracks that are not in its test split, whose artists are then compared with
the audio files in the folders below `--other`, each a kind of its own. With GTZAN (see ``tags.py``), two of the ten
genres at a time are left out of training. AUROC is the probability that a track of the other kind is less familiar than
one of a new artist (or of a known genre); the last columns are the shares that are unfamiliar. The rivals mark what
exceeds the 95 % quantile of their values in eight folds of whole artists. `--tracks` measures time and size on random
vectors.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from tagging import problems

from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder
from eno.errors import AudioError
from eno.inference.predictor import EnoPredictor
from eno.models import IdentityHead, create_head
from eno.models.familiarity import UNFAMILIAR, Familiarity


@dataclass(frozen=True)
class Rows:
    """Rows to fit on, and rows of new artists."""

    X: np.ndarray
    Y: np.ndarray
    groups: np.ndarray
    X_test: np.ndarray

    @classmethod
    def of(cls, problem: problems.Problem) -> Rows:
        """Read a problem into memory."""
        X, X_test = (
            np.array(problem.vectors(part)).reshape(len(problem.groups(part)), -1) for part in ("train", "test")
        )
        return cls(X, problem.labels("train").toarray(), problem.groups("train").astype(str), X_test)


Measure = Callable[[Rows, np.ndarray], np.ndarray]
"""Fitted on ``problem.X``: the higher its value, the less familiar is the vector."""


def highest_probability(problem: Rows, X: np.ndarray) -> np.ndarray:
    """Return the negative of the highest probability that the linear head predicts."""
    head = create_head("linear").fit(problem.X, problem.Y, groups=problem.groups)
    return -head.predict_proba(X).max(axis=1)


def distance_to_mean(problem: Rows, X: np.ndarray) -> np.ndarray:
    """Return the distance to the mean of the standardised training rows."""
    return np.linalg.norm(StandardScaler().fit(problem.X).transform(X), axis=1)


def mahalanobis(problem: Rows, X: np.ndarray) -> np.ndarray:
    """Return the squared Mahalanobis distance with the shrunken covariance of Ledoit and Wolf."""
    scaler = StandardScaler().fit(problem.X)
    return np.asarray(LedoitWolf().fit(scaler.transform(problem.X)).mahalanobis(scaler.transform(X)))


RIVALS: dict[str, Measure] = {
    "highest probability": highest_probability,
    "distance to the mean": distance_to_mean,
    "Mahalanobis distance": mahalanobis,
}


def with_eno(problem: Rows, X: np.ndarray) -> np.ndarray:
    """Return the share of the training tracks that are nearer."""
    fitted = Familiarity.fit(problem.X, problem.groups)
    assert fitted is not None
    return 1 - fitted.of(X)


def limit(measure: Measure, problem: Rows) -> float:
    """Return the value that 5 % of the tracks of held-out artists exceed."""
    values = np.empty(len(problem.X))
    for known, held_out in GroupKFold(8, shuffle=True, random_state=0).split(problem.X, groups=problem.groups):
        part = Rows(problem.X[known], problem.Y[known], problem.groups[known], problem.X_test)
        values[held_out] = measure(part, problem.X[held_out])
    return float(np.quantile(values, 1 - UNFAMILIAR))


def row(measure: Measure, problem: Rows, others: list[np.ndarray]) -> list[float]:
    """Return the AUROC of each of the others and of all, and the shares marked of test rows and of all others."""
    stacked = np.concatenate([problem.X_test, *others])
    values = measure(problem, stacked)
    ends = np.cumsum([len(problem.X_test), *map(len, others)])
    known, *unknown = np.split(values, ends[:-1])
    unknown.append(np.concatenate(unknown))
    found = [float(roc_auc_score(np.arange(len(known) + len(one)) >= len(known), np.r_[known, one])) for one in unknown]
    top = 1 - UNFAMILIAR if measure is with_eno else limit(measure, problem)
    return [*found, float((known > top).mean()), float((unknown[-1] > top).mean())]


def encode(store: EmbeddingStore, folder: Path) -> np.ndarray:
    """Return the mean vectors of the audio files in a folder."""
    spec, vectors = store.spec, []
    tagger = EnoPredictor(
        load_encoder(spec.name, **spec.options), IdentityHead(), LabelEncoder([], []), policy=store.policy
    )
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            vectors.append(tagger.embed(path).ravel())
        except AudioError as error:
            print(f"skipped {error}")
    return np.stack(vectors)


def of_genres(problem: Rows, genres_test: np.ndarray) -> np.ndarray:
    """Return the mean figures over all pairs of genres that are left out; each figure as in `row`, by measure."""
    figures = []
    for pair in itertools.combinations(range(problem.Y.shape[1]), 2):
        known, known_test = (~Y[:, pair].any(axis=1) for Y in (problem.Y, genres_test))
        Y = np.delete(problem.Y[known], pair, axis=1)
        part = Rows(problem.X[known], Y, problem.groups[known], problem.X_test[known_test])
        figures.append([row(one, part, [problem.X_test[~known_test]])[1:] for one in measures().values()])
    return np.mean(figures, axis=0)


def measures() -> dict[str, Measure]:
    """Return all measures by name."""
    return {"eno": with_eno, **RIVALS}


def size_and_speed(tracks: int, dim: int = 512) -> None:
    """Print time and size with artists of ten tracks, compared with the linear head."""
    rng, artists = np.random.default_rng(0), np.arange(tracks) // 10
    X = np.repeat(rng.standard_normal((tracks // 10 + 1, dim), np.float32), 10, axis=0)[:tracks]
    X += rng.standard_normal(X.shape, np.float32)
    began = time.perf_counter()
    fitted = Familiarity.fit(X, artists)
    assert fitted is not None
    print(f"fit of {tracks} × {dim}: {time.perf_counter() - began:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "file")
        print(f"file: {(Path(folder) / 'file').stat().st_size / 1e6:.2f} MB")
    some = X[:20_000]
    head = create_head("linear").fit(some, rng.random((len(some), 100)) < 0.1)
    for name, work in (("familiarity", fitted.of), ("linear head, 100 labels", head.predict_proba)):
        work(some)  # to warm up
        began = time.perf_counter()
        work(some)
        print(f"{name}: {(time.perf_counter() - began) / len(some) * 1e6:.1f} µs per track")


def table(titles: list[str], rows: Iterable[Sequence[float]]) -> None:
    """Print a table with one row per measure."""
    print(f"| | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}")
    for name, values in zip(measures(), rows, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |", flush=True)


def of_store(options: argparse.Namespace, folder: Path) -> None:
    """Compare the artists of the test split with other music."""
    (problem,) = problems.of_store(folder, options.store, DataRoot(options.data_root))
    known, kinds = Rows.of(problem), sorted(path for path in options.other.iterdir() if path.is_dir())
    store = EmbeddingStore.open(options.store)
    others = [encode(store, kind) for kind in kinds]
    titles = [f"AUROC: {kind.name} ({len(one)})" for kind, one in zip(kinds, others, strict=True)]
    rows = (row(measure, known, others) for measure in measures().values())
    table([*titles, "AUROC: all", "new artists marked", "others marked"], rows)


def main() -> None:
    """Measure what the options name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--other", type=Path, help="folder whose subfolders have other music")
    parser.add_argument("--gtzan", type=Path, nargs=2)
    parser.add_argument("--tracks", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.store is not None:
            of_store(options, Path(folder))
        if options.gtzan is not None:
            (problem,) = problems.of_gtzan(Path(folder), *options.gtzan)
            rows = of_genres(Rows.of(problem), problem.labels("test").toarray())
            table(["AUROC", "known genres marked", "other genres marked"], rows)
    if options.tracks is not None:
        size_and_speed(options.tracks)


if __name__ == "__main__":
    main()

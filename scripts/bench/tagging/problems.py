"""Data sets to measure heads on, as files: each model is fitted in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.io import arff
from sklearn.model_selection import GroupShuffleSplit

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import Encoder
from eno.models.label_weights import LabelWeights
from eno.training.collection import Collection
from scripts.bench.tagging import long_tail

_DRAWN = 0.25  # of the artists of a store


@dataclass(frozen=True)
class Problem:
    """Rows to fit on and to test on, in a folder; `groups` are the artists, or the row numbers."""

    folder: Path

    @classmethod
    def write(cls, folder: Path, train: tuple[np.ndarray, ...], test: tuple[np.ndarray, ...]) -> Problem:
        """Write vectors, labels and groups of both parts."""
        folder.mkdir(parents=True, exist_ok=True)
        for part, (X, Y, groups) in (("train", train), ("test", test)):
            np.save(folder / f"{part}.npy", X)
            sparse.save_npz(folder / f"{part}_labels.npz", sparse.csr_array(Y))
            np.savez(folder / f"{part}_rows.npz", artists=groups)
        return cls(folder)

    @classmethod
    def divide(cls, folder: Path, values: Sequence[np.ndarray], train: np.ndarray, test: np.ndarray) -> Problem:
        """Write the rows `train` and `test` of vectors, labels and groups."""
        parts = (tuple(one[rows] for one in values) for rows in (train, test))
        return cls.write(folder, *parts)

    def vectors(self, part: str) -> np.ndarray:
        """Return vectors that stay on disk until they are used."""
        found: np.ndarray = np.load(self.folder / f"{part}.npy", mmap_mode="r")
        return found

    def labels(self, part: str) -> sparse.csr_array:
        """Return sparse labels."""
        return sparse.load_npz(self.folder / f"{part}_labels.npz")

    def groups(self, part: str) -> np.ndarray:
        """Return the artist of each row."""
        with np.load(self.folder / f"{part}_rows.npz") as content:
            found: np.ndarray = content["artists"]
        return found

    def known(self) -> LabelWeights | None:
        """Return the weights that `eno train` would use: 0 for a family of which a training row has no label at all.

        None where the labels have no families.
        """
        with np.load(self.folder / "train_rows.npz") as content:
            if "family" not in content:
                return None
            family = content["family"]
        labels = self.labels("train")
        known = [labels[:, family == one].sum(axis=1) > 0 for one in range(family.max() + 1)]
        return LabelWeights.of_families(np.stack(known, axis=1), family)


def of_arff(folder: Path, path: Path, labels: int, test: int, draws: int) -> list[Problem]:
    """Draw random hold-outs from a data set of Mulan, whose last columns are the labels."""
    rows, _ = arff.loadarff(path)
    values = np.array([[float(value) for value in row] for row in rows.tolist()], np.float32)
    every = values[:, :-labels], values[:, -labels:], np.arange(len(values))
    problems = []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(values))
        problems.append(Problem.divide(folder / f"draw{draw}", every, order[test:], order[:test]))
    return problems


def of_gtzan(folder: Path, train: Path, test: Path) -> list[Problem]:
    """Return the one split of the tag-grams, as means over windows."""
    parts = []
    for path in (train, test):
        with np.load(path) as content:
            ids, first, owner = np.unique(content["IDS"], return_index=True, return_inverse=True)
            sums = np.zeros((len(ids), content["X"].shape[1]), np.float32)
            np.add.at(sums, owner, content["X"])
            parts.append((sums / np.bincount(owner)[:, None], content["Y"][first], np.arange(len(ids))))
    names = np.unique(parts[0][1])
    hot = [(X, (y[:, None] == names).astype(np.float32), numbers) for X, y, numbers in parts]
    return [Problem.write(folder, hot[0], hot[1])]


def of_store(folder: Path, path: Path, data: DataRoot, draws: int = 0) -> list[Problem]:
    """Return the split of a store, or, with `draws`, random hold-outs of a quarter of all its artists."""
    collection = Collection(EmbeddingStore.open(path), data.splits, LabelEncoder.load(data.label_encoder))
    parts = []
    for names in (("train", "val"), ("test",)):
        tracks = [collection.tracks(name) for name in names]
        X = np.concatenate([np.asarray(one.X[:], np.float32).reshape(len(one.ids), -1) for one in tracks])
        truth, groups = (np.concatenate([getattr(one, key) for one in tracks]) for key in ("truth", "groups"))
        parts.append((X, truth.astype(np.float32), groups.astype(str)))
    if not draws:
        return [Problem.write(folder, parts[0], parts[1])]
    every = tuple(np.concatenate(both) for both in zip(*parts, strict=True))
    hold_outs = GroupShuffleSplit(draws, test_size=_DRAWN, random_state=0).split(*every)
    return [Problem.divide(folder / f"draw{draw}", every, *both) for draw, both in enumerate(hold_outs)]


def embedded(encoder: Encoder, audio: Path, store: Path) -> tuple[list[str], np.ndarray]:
    """Return the ids of the files below a folder, and their mean vectors over four windows [shape=(n, dim)].

    Vectors are kept in the store; files that cannot be embedded are left out.
    """
    found = EmbeddingStore.open_or_create(store, encoder.spec, policy=WindowPolicy(count=4))
    report = embed_folder(audio, encoder, found)
    for failure in report.failures:
        print(f"left out: {failure.track_id}: {failure.reason}")
    ids, vectors = found.matrix()
    return [str(one) for one in ids], np.asarray(vectors, np.float64).reshape(len(ids), -1)


def of_long_tail(folder: Path, rows: int, labels: int) -> list[Problem]:
    """Return a synthetic collection, see `long_tail.write`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test_rows.npz").exists():
        long_tail.write(folder, rows, 512, labels, test=max(6_000, rows // 10))
    return [Problem(folder)]


def first_half(problems: list[Problem], folder: Path) -> list[Problem]:
    """Divide the training rows of each problem by group, for choosing defaults without the test rows."""
    found = []
    for number, problem in enumerate(problems):
        groups = problem.groups("train")
        names = np.unique(groups)
        some = np.isin(groups, np.random.default_rng(number).permutation(names)[: len(names) // 2])
        every = problem.vectors("train"), problem.labels("train").toarray(), groups
        found.append(Problem.divide(folder / f"half{number}", every, some, ~some))
    return found

"""Neighbours vote: nothing is learned but where the training rows are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models.base import Options, Training, check_shape, chunks, take, training_and_validation
from eno.models.heads import HEAD_FILE
from eno.models.ranking import macro_map
from eno.models.types import Labels, Vectors

_ARRAYS, _INDEX = "head.safetensors", "neighbours.faiss"
# Training rows up to which all are compared: in batches that takes no longer than inverted lists, of which many have to
# be searched to find as much.
_EXACT = 300_000
_PROBED = 1 / 8  # share of the inverted lists that is searched
_LEARNED_FROM = 64  # rows for each inverted list from which their centres are learned
_VAL_ROWS = 5_000  # by which k and temperature are chosen, at most
_ROWS = 2_048  # that are searched for together


class KNNHead(Options):
    """Votes of the most similar training rows, the more similar the more they count.

    Parameters
    ----------
    k : int or sequence of int
        Numbers of neighbours to choose from.
    temperatures : float or sequence of float
        To choose from: a neighbour's vote weighs ``exp((cos - cos of the nearest) / temperature)``. The best `k` and
        temperature by macro mAP on the validation rows are kept.
    smoothing : float
        Votes that the prior of each label has; the nearest neighbour has one.
    seed : int
        Decides which rows are held out where no validation rows are given.
    device : str
        Without meaning: FAISS searches on the CPU.

    Attributes
    ----------
    chosen_k, chosen_temperature : int, float
        What was kept.
    val_map : dict of tuple to float
        Macro mAP on the validation rows by k and temperature; empty if they have no positives.

    Notes
    -----
    Rows are compared by the cosine of their standardised vectors, layers of an encoder as one longer vector: with all
    rows up to 300,000 of them, above that with those of the nearest inverted lists. A row that is itself among the
    training rows finds itself, and is not left out: probabilities of training rows look too good.

    References
    ----------
    FAISS: M. Douze et al., "The Faiss library", 2024, https://arxiv.org/abs/2401.08281.
    """

    def __init__(
        self,
        *,
        k: int | Sequence[int] = (5, 10, 20, 40),
        temperatures: float | Sequence[float] = (0.03, 0.1, 0.3, 1.0),
        smoothing: float = 1.0,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.k, self.temperatures, self.smoothing, self.seed, self.device = k, temperatures, smoothing, seed, device
        self.chosen_k, self.chosen_temperature = 0, float("nan")
        self.val_map: dict[tuple[int, float], float] = {}
        self._index: Any = None
        self._labels = sparse.csr_array((0, 0), dtype=np.float32)
        self._arrays: dict[str, np.ndarray] = {}

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
        """Remember vectors and their labels; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            Shapes do not fit together, there are too few rows, a value is not finite, or an option has a wrong value.
        """
        counts, temperatures = self._choices()
        training = training_and_validation(
            X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed
        )
        mean, scale = training.moments()
        self._arrays = {"mean": mean, "scale": scale, "single": training.single_class(), "prior": training.priors()}
        counted = np.flatnonzero(training.weights > 0)
        self._arrays["weights"], self._labels = training.weights[counted], training.Y[counted]
        self._index = self._build(training, training.rows[counted])
        self._choose(training, counts, temperatures)
        return self

    def _choices(self) -> tuple[list[int], list[float]]:
        counts = sorted({int(k) for k in np.atleast_1d(self.k)})
        temperatures = sorted({float(one) for one in np.atleast_1d(self.temperatures)}, reverse=True)
        if not counts or counts[0] < 1:
            raise ValueError(f"k is {self.k}; at least 1 neighbour must vote.")
        if not temperatures or not 0 < temperatures[-1] < np.inf:
            raise ValueError(f"temperatures is {self.temperatures}; they must be above 0.")
        if not self.smoothing >= 0:
            raise ValueError(f"smoothing is {self.smoothing}; it must be 0 or above.")
        return counts, temperatures

    def _build(self, training: Training, rows: np.ndarray) -> Any:
        if len(rows) == 0:
            raise ValueError("all training rows have weight 0.")
        dim = int(np.prod(training.shape))
        index: Any
        if len(rows) <= _EXACT:
            index = faiss.IndexFlatIP(dim)
        else:
            lists = round(4 * np.sqrt(len(rows)))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
            index.nprobe, index.cp.seed = max(1, round(_PROBED * lists)), self.seed
            some = np.random.default_rng(self.seed).choice(rows, min(_LEARNED_FROM * lists, len(rows)), replace=False)
            index.train(self._directions(take(training.X, np.sort(some))))
        for part in chunks(len(rows)):
            index.add(self._directions(take(training.X, rows[part])))
        return index

    def _choose(self, training: Training, counts: list[int], temperatures: list[float]) -> None:
        rows = np.arange(len(training.rows_val))
        if len(rows) > _VAL_ROWS:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, _VAL_ROWS, replace=False))
        truth = training.Y_val[rows].toarray()
        similarities, neighbours = self._search(take(training.X_val, training.rows_val[rows]), counts[-1])
        # Validation rows that all have the same labels cannot rank what is tried: then what is in the middle is kept.
        self.chosen_k, self.chosen_temperature = counts[len(counts) // 2], temperatures[len(temperatures) // 2]
        self.val_map = {}
        for k in counts:
            for temperature in temperatures:
                votes = self._vote(similarities[:, :k], neighbours[:, :k], temperature)
                val_map = macro_map(truth, votes)
                if val_map is not None:
                    self.val_map[k, temperature] = val_map
        if self.val_map:
            self.chosen_k, self.chosen_temperature = max(self.val_map, key=lambda tried: self.val_map[tried])

    def _directions(self, X: np.ndarray) -> np.ndarray:
        standardised = ((X - self._arrays["mean"]) * self._arrays["scale"]).reshape(len(X), -1)
        lengths = np.linalg.norm(standardised, axis=1, keepdims=True)
        return np.ascontiguousarray(standardised / np.maximum(lengths, 1e-12), np.float32)

    def _search(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and numbers of the k nearest training rows [shape=(n, k)]; fewer if there are not so many."""
        k = min(k, self._index.ntotal)
        if len(X) == 0:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        found = [self._index.search(self._directions(X[rows]), k) for rows in chunks(len(X), _ROWS)]
        similarities, neighbours = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return similarities, neighbours

    def _vote(self, similarities: np.ndarray, neighbours: np.ndarray, temperature: float) -> np.ndarray:
        found = neighbours >= 0  # inverted lists may hold fewer than were asked for
        similarities = np.where(found, similarities, -1)
        nearest = similarities.max(axis=1, keepdims=True, initial=-1)
        votes = np.exp((similarities - nearest) / temperature) * found
        votes *= self._arrays["weights"][neighbours]
        starts = np.arange(0, votes.size + 1, max(votes.shape[1], 1))
        ballots = sparse.csr_array(
            (votes.ravel(), neighbours.ravel() * found.ravel(), starts), (len(votes), self._index.ntotal)
        )
        prior = self._arrays["prior"]
        totals = votes.sum(axis=1, keepdims=True, dtype=np.float64) + self.smoothing
        probabilities = ((ballots @ self._labels).toarray() + self.smoothing * prior) / np.maximum(totals, 1e-12)
        probabilities[:, self._arrays["single"]] = prior[self._arrays["single"]]
        result: np.ndarray = np.clip(probabilities, 0, 1).astype(np.float32)
        return result

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if self._index is None:
            raise NotFitted(type(self).__name__)
        check_shape(X, self._arrays["mean"].shape)
        found = (self._search(take(X, rows), self.chosen_k) for rows in chunks(len(X), _ROWS))
        return np.concatenate([self._vote(*one, self.chosen_temperature) for one in found])

    def save(self, folder: Path | str) -> None:
        """Write the fitted head as ``head.json``, ``head.safetensors`` and ``neighbours.faiss`` in FAISS's own format.

        Raises
        ------
        NotFitted
            There is nothing to save yet.
        """
        if self._index is None:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(folder / _INDEX) as temporary:
            faiss.write_index(self._index, str(temporary))
        labels = {name: getattr(self._labels, name) for name in ("indptr", "indices", "data")}
        arrays = {name: np.ascontiguousarray(value) for name, value in (self._arrays | labels).items()}
        with replace_file(folder / _ARRAYS) as temporary:
            save_file(arrays, temporary)
        counts, temperatures = self._choices()
        options = self._saved_options() | {"k": counts, "temperatures": temperatures}
        chosen = {"chosen_k": self.chosen_k, "chosen_temperature": self.chosen_temperature}
        tried = [[*one, val_map] for one, val_map in self.val_map.items()]
        write_json(folder / HEAD_FILE, {"head": "knn", "options": options, **chosen, "val_map": tried})

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
            head.chosen_k, head.chosen_temperature = int(content["chosen_k"]), float(content["chosen_temperature"])
            head.val_map = {(int(k), float(one)): float(val_map) for k, one, val_map in content["val_map"]}
            arrays = load_file(folder / _ARRAYS)
            parts = tuple(arrays.pop(name) for name in ("data", "indices", "indptr"))
            head._labels = sparse.csr_array(parts, (len(arrays["weights"]), len(arrays["prior"])))
            head._labels.check_format()
            head._arrays = arrays
            head._index = faiss.read_index(str(folder / _INDEX))
            if (head._index.ntotal, head._index.d) != (len(arrays["weights"]), arrays["mean"].size):
                raise ValueError(f"{_INDEX} is of another head")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        return head

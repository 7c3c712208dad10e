"""The k-nearest-neighbour head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from scipy import sparse

from eno.files import replace_file
from eno.models.average_precision import validation_score
from eno.models.base import NEIGHBOURS, BaseHead, labels_from_arrays, labels_to_arrays
from eno.models.folds import mean_by_choice
from eno.models.label_weights import LabelWeights
from eno.models.training_data import TrainingData, chunks, take
from eno.models.types import Count, NonNegative, Positive

# Up to this many training rows search is exact: in batches it takes no longer than inverted lists, of which many have
# to be searched for the same recall.
_EXACT = 300_000
_PROBED = 1 / 8  # share of the inverted lists that is searched
_ROWS_PER_LIST = 64  # to fit the centres of the inverted lists on
_VAL_ROWS = 5_000  # at most, to choose k and temperature
_QUERIES = 2_048  # searched for together


class KNNHead(BaseHead):
    """Weighted vote of the most similar training rows.

    Parameters
    ----------
    k : int or sequence of int
        Candidates for the number of neighbours, from which
        `eno.models.average_precision.ValidationScore` selects one.
    temperatures : float or sequence of float
        Candidates for the temperature, likewise. The weight of a neighbour is
        ``exp((similarity - highest similarity) / temperature)``.
    smoothing : float
        Weight of the label's base rate in the vote; the nearest neighbour has weight 1.
    seed : int
        Seed of the held-out rows if there are no validation rows.

    Attributes
    ----------
    chosen_k, chosen_temperature : int, float
    val_map : dict of tuple to float
        Macro mAP on the validation rows by k and temperature; empty if they have no positives.

    Notes
    -----
    Similarity is the cosine of standardised vectors; the layers of an encoder are concatenated. Search is exact up to
    300,000 training rows, and uses inverted lists above (FAISS: M. Douze et al., https://arxiv.org/abs/2401.08281).
    Probabilities of training rows are too good, because each finds itself.
    """

    name = "knn"
    _rows_at_once = _QUERIES

    def __init__(
        self,
        *,
        k: Count | Sequence[Count] = (5, 10, 20, 40),
        temperatures: Positive | Sequence[Positive] = (0.03, 0.1, 0.3, 1.0),
        smoothing: NonNegative = 1.0,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.k, self.temperatures, self.smoothing, self.seed, self.device = k, temperatures, smoothing, seed, device
        self.chosen_k, self.chosen_temperature = 0, float("nan")
        self.val_map: dict[tuple[int, float], float] = {}
        self._scores: dict[tuple[int, float], float] = {}
        self._smoothing = 0.0
        self._index: Any = None
        self._labels = self._weighted = sparse.csr_array((0, 0), dtype=np.float32)
        self._weights = LabelWeights.of(None, (0, 0))
        self._arrays: dict[str, np.ndarray] = {}

    def _fit(self, data: TrainingData) -> None:
        counts, temperatures = self._choices()
        self._smoothing = float(self.smoothing)
        mean, scale = data.moments()
        self._arrays = {"mean": mean, "scale": scale, "single": data.constant_labels(), "prior": data.base_rates()}
        counted = np.flatnonzero(data.weights.counted())
        self._weights, self._labels = data.weights[counted], data.Y[counted]
        self._weighted = self._weights.times(self._labels)
        self._index = self._build(data, data.rows[counted])
        self._choose(data, counts, temperatures)

    def _choices(self) -> tuple[list[int], list[float]]:
        counts = sorted({int(k) for k in np.atleast_1d(self.k)})
        temperatures = sorted({float(one) for one in np.atleast_1d(self.temperatures)}, reverse=True)
        if not counts or counts[0] < 1:
            raise ValueError(f"k = {self.k}: expected at least 1 neighbour.")
        if not temperatures or not 0 < temperatures[-1] < np.inf:
            raise ValueError(f"temperatures = {self.temperatures}: expected numbers above 0.")
        if not self.smoothing >= 0:
            raise ValueError(f"smoothing = {self.smoothing}: expected 0 or above.")
        return counts, temperatures

    def _build(self, data: TrainingData, rows: np.ndarray) -> Any:
        dim = int(np.prod(data.shape))
        index: Any
        if len(rows) <= _EXACT:
            index = faiss.IndexFlatIP(dim)
        else:
            lists = round(4 * np.sqrt(len(rows)))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
            index.nprobe, index.cp.seed = max(1, round(_PROBED * lists)), self.seed
            some = np.random.default_rng(self.seed).choice(rows, min(_ROWS_PER_LIST * lists, len(rows)), replace=False)
            index.train(self._directions(take(data.X, np.sort(some))))
        for part in chunks(len(rows)):
            index.add(self._directions(take(data.X, rows[part])))
        return index

    def _choose(self, data: TrainingData, counts: list[int], temperatures: list[float]) -> None:
        rows = np.arange(len(data.rows_val))
        if len(rows) > _VAL_ROWS:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, _VAL_ROWS, replace=False))
        truth, known = data.Y_val[rows].toarray(), data.weights_val[rows].known()
        similarities, neighbours = self._search(take(data.X_val, data.rows_val[rows]), counts[-1])
        # If no label has both positives and negatives in validation, the middle options are used.
        self.chosen_k, self.chosen_temperature = counts[len(counts) // 2], temperatures[len(temperatures) // 2]
        self.val_map, self._scores = {}, {}
        for k in counts:
            for temperature in temperatures:
                votes = self._vote(similarities[:, :k], neighbours[:, :k], temperature)
                score = validation_score(truth, votes, known)
                if score is not None:
                    self.val_map[k, temperature], self._scores[k, temperature] = score
        if self._scores:
            self.chosen_k, self.chosen_temperature = max(self._scores, key=lambda tried: self._scores[tried])

    def _chosen_options(self) -> dict[str, Any]:
        return {"k": self.chosen_k, "temperatures": self.chosen_temperature}

    def _common_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        means = mean_by_choice(one._scores for one in fitted)
        if not means:
            return fitted[0]._chosen_options()
        k, temperature = max(means, key=lambda tried: means[tried])
        return {"k": k, "temperatures": temperature}

    def _forget(self) -> None:
        self._index = None

    def _adopt(self, fitted: Sequence[Self]) -> None:
        self.val_map = mean_by_choice(one.val_map for one in fitted)

    def _directions(self, X: np.ndarray) -> np.ndarray:
        standardised = ((X - self._arrays["mean"]) * self._arrays["scale"]).reshape(len(X), self._arrays["mean"].size)
        lengths = np.linalg.norm(standardised, axis=1, keepdims=True)
        return np.ascontiguousarray(standardised / np.maximum(lengths, 1e-12), np.float32)

    def _search(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return cosines and indices of the k nearest training rows [shape=(n, k)]."""
        k = min(k, self._index.ntotal)
        if len(X) == 0:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        found = [self._index.search(self._directions(X[rows]), k) for rows in chunks(len(X), _QUERIES)]
        similarities, neighbours = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return similarities, neighbours

    def _vote(self, similarities: np.ndarray, neighbours: np.ndarray, temperature: float) -> np.ndarray:
        found = neighbours >= 0  # inverted lists may hold fewer rows than requested
        similarities = np.where(found, similarities, -1)
        nearest = similarities.max(axis=1, keepdims=True, initial=-1)
        votes = np.exp((similarities - nearest) / temperature) * found
        starts = np.arange(0, votes.size + 1, max(votes.shape[1], 1))
        ballots = sparse.csr_array(
            (votes.ravel(), neighbours.ravel() * found.ravel(), starts), (len(votes), self._index.ntotal)
        )
        base_rates, constant = self._arrays["prior"], self._arrays["single"]
        totals = self._weights.votes(ballots) + self._smoothing
        probabilities = (ballots @ self._weighted).toarray() + self._smoothing * base_rates
        probabilities /= np.maximum(totals, 1e-12)
        probabilities[:, constant] = base_rates[constant]
        result: np.ndarray = np.clip(probabilities, 0, 1).astype(np.float32)
        return result

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self._vote(*self._search(X, self.chosen_k), self.chosen_temperature)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        tried = [[*one, val_map] for one, val_map in self.val_map.items()]
        chosen = {"chosen_k": self.chosen_k, "chosen_temperature": self.chosen_temperature, "val_map": tried}
        return chosen, self._arrays | labels_to_arrays(self._labels) | self._weights.to_arrays()

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.chosen_k, self.chosen_temperature = int(content["chosen_k"]), float(content["chosen_temperature"])
        self.val_map = {(int(k), float(one)): float(val_map) for k, one, val_map in content["val_map"]}
        self._smoothing = float(self.smoothing)
        shape = len(arrays["weights"]), len(arrays["prior"])
        self._labels, self._weights = labels_from_arrays(arrays, shape), LabelWeights.from_arrays(arrays, shape)
        self._weighted = self._weights.times(self._labels)
        self._arrays, self._shape = arrays, arrays["mean"].shape

    def _write_files(self, folder: Path) -> None:
        with replace_file(folder / NEIGHBOURS) as temporary:
            faiss.write_index(self._index, str(temporary))

    def _read_files(self, folder: Path) -> None:
        self._index = faiss.read_index(str(folder / NEIGHBOURS))
        if (self._index.ntotal, self._index.d) != (len(self._weights), self._arrays["mean"].size):
            raise ValueError(f"{NEIGHBOURS} belongs to another head")

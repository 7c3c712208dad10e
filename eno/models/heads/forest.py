"""Extremely randomised trees: one forest for all labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field
from scipy import sparse

from eno.cores import usable_cores
from eno.models.base import BaseHead, labels_from_arrays, labels_to_arrays
from eno.models.label_weights import LabelWeights
from eno.models.training_data import TrainingData, take
from eno.models.types import Count
from eno.processes import give_back_memory

_TARGETS = 64  # with more labels, splits are chosen on random combinations of them
_QUERIES = 1_024  # rows that walk down all trees together
_VALUES_AT_ONCE = 16_000_000  # targets of all nodes of trees that are grown together: 128 MB
_TREES = ("roots", "feature", "threshold", "right")


class _Tree(NamedTuple):
    """A tree: of each node, the dimension (-1 in a leaf), the threshold and the right child; of each row, the leaf."""

    feature: np.ndarray
    threshold: np.ndarray
    right: np.ndarray
    leaves: np.ndarray


class ForestHead(BaseHead):
    """Extremely randomised trees (P. Geurts et al., Machine Learning 63, 2006) that split on all labels together.

    Parameters
    ----------
    trees : int
        Number of trees.
    min_rows_in_leaf : int
        Minimum number of training rows per leaf.
    feature_fraction : float, optional
        Fraction of the dimensions that are tried at each split; by default the square root of their number.
    max_rows : int
        Training rows at most; of more, a random sample is used.
    seed : int
        Seed of the trees and of the sample.

    Notes
    -----
    The trees are grown by scikit-learn. A prediction is the mean, over the trees, of the mean labels of the training
    rows in the same leaf, to which the base rate is added with the weight of one tree so that no probability is 0 or 1.
    Where the labels of a row have different weights, it is the mean over all leaves together.
    With more than 64 labels, splits are chosen on 64 random combinations of them (as in L. Iosipoi and A. Vakhrushev,
    "SketchBoost", NeurIPS 2022), while leaves keep all labels.
    """

    name = "forest"
    _rows_at_once = _QUERIES

    def __init__(
        self,
        *,
        trees: Count = 500,
        min_rows_in_leaf: Count = 1,
        feature_fraction: Annotated[float, Field(gt=0, le=1)] | None = None,
        max_rows: Annotated[int, Field(ge=2)] = 10_000,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.trees, self.min_rows_in_leaf, self.feature_fraction = trees, min_rows_in_leaf, feature_fraction
        self.max_rows, self.seed, self.device = max_rows, seed, device
        self._arrays: dict[str, np.ndarray] = {}
        self._labels = sparse.csr_array((0, 0), dtype=np.float32)
        self._weights = LabelWeights.of(None, (0, 0))

    def _fit(self, data: TrainingData) -> None:
        random = np.random.default_rng(self.seed)
        counted = np.flatnonzero(data.weights.counted())
        rows = np.sort(random.permutation(counted)[: self.max_rows])
        X = take(data.X, data.rows[rows]).reshape(len(rows), -1)
        Y, weights, base_rates = data.Y[rows], data.weights[rows], data.base_rates()
        targets = _targets(Y, weights.known(), base_rates, random)
        # For as many nodes as there can be: what is not written to takes no memory.
        nodes, roots = self.trees * (2 * len(rows) - 1), np.zeros(self.trees + 1, np.int32)
        feature, threshold, right = np.empty(nodes, np.int32), np.empty(nodes, np.float32), np.empty(nodes, np.int32)
        leaves = np.empty((len(rows), self.trees), np.int32)
        for number, tree in enumerate(self._grow(X, targets, weights.means())):
            root, end = roots[number], roots[number] + len(tree.feature)
            feature[root:end], threshold[root:end], right[root:end] = tree.feature, tree.threshold, tree.right + root
            leaves[:, number], roots[number + 1] = tree.leaves + root, end
        self._labels, self._weights = Y, weights
        self._arrays = {
            "roots": roots[:-1],
            "feature": feature[: roots[-1]],
            "threshold": threshold[: roots[-1]],
            "right": right[: roots[-1]],
            "leaves": leaves,
            "constant": data.constant_labels(),
            "base_rates": base_rates,
        }
        give_back_memory()  # in which the trees grew
        self._sort_leaves()

    def _forget(self) -> None:
        self._arrays = {}
        del self._rows_by_leaf, self._starts, self._shares

    def _grow(self, X: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Iterator[_Tree]:
        """Yield trees, a few at a time: each node of scikit-learn's holds a value for every target."""
        from sklearn.ensemble import ExtraTreesRegressor  # takes a second to import

        at_once = max(1, _VALUES_AT_ONCE // max(1, 2 * targets.size))  # a tree has up to two nodes per row
        for first in range(0, self.trees, at_once):
            self._report(first, self.trees)
            forest = ExtraTreesRegressor(
                min(at_once, self.trees - first),
                min_samples_leaf=self.min_rows_in_leaf,
                max_features="sqrt" if self.feature_fraction is None else self.feature_fraction,
                n_jobs=usable_cores(),
                random_state=self.seed if first == 0 else np.random.default_rng((self.seed, first)).integers(2**31),
            )
            one_label = targets.shape[1] == 1  # scikit-learn warns of a matrix with one column
            for one in forest.fit(X, targets.ravel() if one_label else targets, weights).estimators_:
                tree = one.tree_
                yield _Tree(
                    np.maximum(tree.feature, -1).astype(np.int32),
                    _rounded_down(tree.threshold),
                    tree.children_right.astype(np.int32),
                    tree.apply(X).astype(np.int32),
                )
        self._report(self.trees, self.trees)

    def _sort_leaves(self) -> None:
        """Prepare the training rows of each leaf: `_rows_by_leaf[_starts[node]:_starts[node + 1]]`, and their share.

        Tree by tree, because sorting the leaves of all trees at once takes more memory than the trees do.
        """
        leaves, roots, nodes = self._arrays["leaves"], self._arrays["roots"], len(self._arrays["feature"])
        weights = self._weights.means()
        self._rows_by_leaf = np.empty(leaves.size, np.int32)
        self._starts = np.zeros(nodes + 1, np.int32)
        self._shares = np.zeros(nodes, np.float32)  # inner nodes have no rows
        for tree, (root, end) in enumerate(zip(roots, np.append(roots[1:], nodes), strict=True)):
            own, first = leaves[:, tree] - root, tree * len(leaves)
            self._rows_by_leaf[first : first + len(own)] = np.argsort(own, kind="stable")
            np.cumsum(np.bincount(own, minlength=end - root), out=self._starts[root + 1 : end + 1])
            self._starts[root + 1 : end + 1] += first
            totals = np.bincount(own, weights, end - root)
            np.divide(1, totals, out=self._shares[root:end], where=totals > 0, casting="same_kind")
        self._weighted = self._weights.times(self._labels)

    def _leaves_of(self, X: np.ndarray) -> np.ndarray:
        """Return the leaf of each row in each tree [shape=(n, trees)]."""
        roots, feature, threshold, right = (self._arrays[name] for name in _TREES)
        found = np.tile(roots, (len(X), 1)).ravel()
        rows, active = np.repeat(np.arange(len(X)), len(roots)), np.arange(found.size)
        while len(active):
            nodes = found[active]
            inner = feature[nodes] >= 0
            active, nodes = active[inner], nodes[inner]
            low = X[rows[active], feature[nodes]] <= threshold[nodes]
            found[active] = np.where(low, nodes + 1, right[nodes])  # depth first: the left child is the next node
        return found.reshape(len(X), len(roots))

    def _predict(self, X: np.ndarray) -> np.ndarray:
        leaves = self._leaves_of(X.reshape(len(X), math.prod(X.shape[1:]))).ravel()
        counts, trees = self._starts[leaves + 1] - self._starts[leaves], len(self._arrays["roots"])
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        members = self._rows_by_leaf[np.repeat(self._starts[leaves], counts) + within]
        shares = np.repeat(self._shares[leaves], counts)
        starts = np.append(0, ends)[::trees]
        votes = sparse.csr_array((shares, members, starts), (len(X), self._labels.shape[0]))
        base_rates, constant = self._arrays["base_rates"], self._arrays["constant"]
        probabilities = ((votes @ self._weighted).toarray() + base_rates) / (self._weights.votes(votes) + 1)
        probabilities[:, constant] = base_rates[constant]
        result: np.ndarray = probabilities.astype(np.float32)
        return result

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, self._arrays | labels_to_arrays(self._labels) | self._weights.to_arrays()

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        super()._restore(content, arrays)
        shape = len(arrays["weights"]), len(arrays["base_rates"])
        self._labels, self._weights = labels_from_arrays(arrays, shape), LabelWeights.from_arrays(arrays, shape)
        self._arrays = arrays
        self._sort_leaves()


def _targets(
    Y: sparse.csr_array, known: np.ndarray | None, rates: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return what trees split on [shape=(n, at most 64)]: the labels, or random sums of them, rare ones scaled up.

    The base rate stands for labels that are not known.
    """
    labels: Any = Y if known is None else np.where(known, Y.toarray(), rates.astype(np.float32))
    if Y.shape[1] <= _TARGETS:
        return np.asarray(Y.toarray() if known is None else labels)
    scales = 1 / np.sqrt(np.maximum(rates * (1 - rates), 1 / Y.shape[0]))
    signs = random.choice([-1.0, 1.0], (Y.shape[1], _TARGETS))
    combined: np.ndarray = labels @ (scales[:, np.newaxis] * signs)
    return combined


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """Return the largest float32 that are not above; comparisons with float32 values stay the same."""
    rounded = thresholds.astype(np.float32)
    above = rounded > thresholds
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded

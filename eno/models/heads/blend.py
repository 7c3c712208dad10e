"""A blend of heads: the weighted mean of their logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax

from eno.data.labels.values import present
from eno.errors import NotFitted
from eno.models.base import BaseHead, forward_hooks
from eno.models.calibration.scaling import logits_of
from eno.models.folds import OutOfFold
from eno.models.heads import create_head, load_head
from eno.models.label_weights import LabelWeights, SampleWeight
from eno.models.training_data import TrainingData, check_labelled, chunks, select
from eno.models.types import Head, Labels, Vectors
from eno.processes import give_back_memory
from eno.views import RowView

_TEMPERATURES = (0.02, 0.01, 0.005)  # a head whose mAP is lower by this much has a weight lower by a factor of e
_BANDS = 3
_NEGLIGIBLE = 0.02  # weight below which a head is left out
_ROWS_AT_ONCE = 1_024  # in a blend of predictions
_VALUES = 20_000_000  # rows times labels at most, on which weights are fitted


class BlendHead(BaseHead):
    """Weighted mean of the logits of several heads.

    Parameters
    ----------
    heads : sequence of str
        Names of different heads.
    options : mapping of str to mapping, optional
        Options of each head, by its name. ``eno train`` fills it from the heads' sections of ``eno.toml``.
    seed : int
        Seed of the folds; also of heads whose options have none.

    Attributes
    ----------
    members : list of Head
    weights : np.ndarray [shape=(len(members), k) or (len(members), 1), dtype=float32]
        Non-negative, with sum 1 over the members. All equal if no held-out row has a label.
    scores : dict of str to float
        Macro mAP on held-out rows of each member by its name, and of the blend; empty if it is undefined.

    Notes
    -----
    The weights are a softmax of the heads' macro mAP on rows on which they were not fitted: the mean of one over all
    labels and one over the labels of similar frequency, in three bands. They depend on the ranking of rows within a
    label only, and so little on the labels that they hardly overfit. If a single head has a higher mAP on these rows
    than the blend, by more than one standard error over the folds, the differences between the weights are increased;
    if that does not help, it is used alone.

    Examples
    --------
    Blend fitted heads::

        BlendHead.of([linear, mlp]).fit_weights(X_val, Y_val)
    """

    name = "blend"

    def __init__(
        self,
        *,
        heads: Sequence[str] = ("linear", "kernel", "mlp", "forest"),  # the largest last, as all are kept
        options: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.heads, self.options, self.seed, self.device = heads, options, seed, device
        self.checkpoint: Path | None = None
        self.members: list[Head] = []
        self.weights = np.zeros((0, 1), np.float32)
        self.scores: dict[str, float] = {}

    @classmethod
    def of(cls, members: Sequence[Head]) -> Self:
        """Blend heads fitted on the same vectors and labels, with equal weights until `fit_weights`."""
        if not members:
            raise ValueError("A blend needs at least one head.")
        blend = cls(heads=tuple(_name(member) for member in members))
        blend.members, blend.weights = list(members), _equal(len(members))
        blend._shape, blend._fitted_options = getattr(members[0], "_shape", ()), blend._saved_options()
        return blend

    @property
    def takes_windows(self) -> bool:
        """Whether any of the heads takes windows; the others use their means."""
        return any(member.takes_windows for member in self.members or self._create_members())

    def _fit(self, data: TrainingData) -> None:
        rows, rows_val = select(data.X, data.rows), data.validation()

        def fit(member: BaseHead) -> OutOfFold:
            member.fit(
                rows, data.Y, rows_val, data.Y_val, sample_weight=data.weights, sample_weight_val=data.weights_val
            )
            return _validated(member, rows_val, data.Y_val, data.weights_val)

        self._fit_members(fit)

    def _cross_fit(self, folds: Sequence[TrainingData]) -> None:
        def fit(member: BaseHead) -> OutOfFold:
            member._fit_folds(folds, cross=True)
            found, member.out_of_fold = member.out_of_fold, None  # only those of the blend are kept
            assert found is not None
            give_back_memory()
            return found

        self.out_of_fold = self._fit_members(fit)

    def _fit_members(self, fit: Callable[[BaseHead], OutOfFold]) -> OutOfFold:
        """Fit all heads and their weights, with a function that returns the predictions of held-out rows."""
        members, found = self._create_members(), []
        for number, member in enumerate(members):
            forward_hooks(self, member, number, len(members))
            found.append(fit(member))
        self.members = members
        return self._weigh(found)

    def _create_members(self) -> list[Any]:
        names = list(self.heads)
        if not names or len(set(names)) < len(names) or set(names) & {"blend", "auto"}:
            raise ValueError(f"heads = {names}: expected names of different heads, without 'blend' and 'auto'.")
        for name in self.options or {}:
            if name not in names:
                raise ValueError(f"There are options for {name!r}, which is not among the heads {', '.join(names)}.")
        return [self._create_member(name) for name in names]

    def _create_member(self, name: str) -> Any:
        options = {"seed": self.seed, "device": self.device} | dict((self.options or {}).get(name, {}))
        member: Any = create_head(name, **options)
        member._finds_exclusive = False
        return member

    def fit_weights(self, X: Vectors, Y: Labels, *, sample_weight: SampleWeight | None = None) -> Self:
        """Fit only the weights, on validation rows that no head was fitted on; labels of weight 0 do not count."""
        if not self.members:
            raise NotFitted(type(self).__name__)
        X, labels = check_labelled(X, Y)
        known = LabelWeights.of(sample_weight, labels.shape)
        self._weigh([_validated(member, X, labels, known) for member in self.members])
        return self

    def _weigh(self, found: Sequence[OutOfFold]) -> OutOfFold:
        """Fit the weights to predictions of all heads for the same rows, leave out heads without weight, and blend."""
        some = [one.sample(_VALUES, self.seed) for one in found]
        alone = [self._competing(one) for one in some]
        self.weights, self.scores = _equal(len(found)), {}
        scores = _scores(alone)
        if scores is not None:
            self.weights, blended = self._best_weights(some, alone, scores)
            self.scores = dict(zip(map(_name, self.members), scores.tolist(), strict=True)) | {self.name: blended}
        del some, alone
        kept = np.flatnonzero(self.weights.max(axis=1) >= _NEGLIGIBLE).tolist()
        self.weights = self.weights[kept] / self.weights[kept].sum(axis=0)
        self.members = [self.members[place] for place in kept]
        return self._blend([found[place] for place in kept], self.weights)

    def _best_weights(
        self, found: Sequence[OutOfFold], alone: Sequence[OutOfFold], scores: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return weights with which the blend is not worse than its best head, and the macro mAP of the blend.

        `alone` are the predictions in `found` after labels that exclude each other have competed.
        """
        best = int(scores.argmax())
        for temperature in _TEMPERATURES:
            weights = _weights(alone, scores, temperature)
            blended = self._blend(found, weights)
            if _mean_difference(alone[best], blended) <= 0:
                return weights, float(blended.macro_map() or 0)
        return np.eye(len(found), dtype=np.float32)[:, [best]], float(scores[best])

    def _blend(self, found: Sequence[OutOfFold], weights: np.ndarray) -> OutOfFold:
        blended = _mean_logit([one.probabilities for one in found], weights)
        return self._competing(replace(found[0], probabilities=blended))

    def _competing(self, found: OutOfFold) -> OutOfFold:
        if not self._exclusive:
            return found
        return replace(found, probabilities=self._exclusive.compete(np.asarray(found.probabilities)))

    def _check(self, X: Vectors) -> None:
        if not self.members:  # which check the vectors
            raise NotFitted(type(self).__name__)

    def _probabilities(self, X: Vectors) -> np.ndarray:
        return _mean_logit([head.predict_proba(X) for head in self.members], self.weights)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"members": [_name(one) for one in self.members], "scores": self.scores}, {"weights": self.weights}

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if "weights" in arrays:
            self.weights, self.scores = arrays["weights"], content["scores"]
        else:  # one weight per head, until format 2
            self.weights = np.array(content["weights"], np.float32)[:, np.newaxis]
        if self.weights.ndim != 2 or not len(self.weights) or not np.allclose(self.weights.sum(axis=0), 1, atol=1e-4):
            raise ValueError("weights whose sum is not 1")

    def _write_files(self, folder: Path) -> None:
        for number, member in enumerate(self.members):
            member.save(folder / str(number))

    def _read_files(self, folder: Path) -> None:
        self.members = [load_head(folder / str(number), device=self.device) for number in range(len(self.weights))]
        self._shape = getattr(self.members[0], "_shape", ())


def _name(head: Head) -> str:
    return str(getattr(head, "name", type(head).__name__))


def _equal(heads: int) -> np.ndarray:
    return np.full((heads, 1), 1 / heads, np.float32)


def _validated(head: Head, X: Vectors, Y: sparse.csr_array, weights: LabelWeights) -> OutOfFold:
    rows = np.arange(Y.shape[0])
    return OutOfFold(rows, np.zeros_like(rows), head.predict_proba(X), Y, weights)


def _mean_logit(probabilities: Sequence[np.ndarray | RowView], weights: np.ndarray) -> np.ndarray:
    result = np.empty(probabilities[0].shape, np.float32)
    for rows in chunks(len(result), _ROWS_AT_ONCE):
        logits = sum(weight * logits_of(one[rows]) for one, weight in zip(probabilities, weights, strict=True))
        result[rows] = expit(logits)
    return result


def _scores(found: Sequence[OutOfFold], labels: np.ndarray | None = None) -> np.ndarray | None:
    """Return the macro mAP of each head; None if it is undefined."""
    scores = [one.macro_map(labels) for one in found]
    return None if None in scores else np.array(scores, np.float64)


def _mean_difference(best: OutOfFold, blended: OutOfFold) -> float:
    """Return the mean over folds of how much the best head is better than the blend, less one standard error.

    The best of several heads owes part of its lead to chance, so a smaller lead does not count.
    """
    pairs = zip(best.fold_maps(), blended.fold_maps(), strict=True)
    leads = np.array([one - other for one, other in pairs if one is not None and other is not None])
    error = leads.std(ddof=1) / np.sqrt(len(leads)) if len(leads) > 1 else 0.0
    return float(leads.mean() - error)


def _weights(found: Sequence[OutOfFold], scores: np.ndarray, temperature: float) -> np.ndarray:
    """Return the weight of each head for each label [shape=(heads, k), dtype=float32]."""
    overall = softmax(scores / temperature)
    weights = np.tile(overall[:, np.newaxis], found[0].truth.shape[1])
    by_frequency = np.argsort(-np.bincount(present(found[0].truth).indices, minlength=weights.shape[1]), kind="stable")
    for band in np.array_split(by_frequency, _BANDS):
        in_band = _scores(found, band)
        if in_band is not None:
            weights[:, band] = ((overall + softmax(in_band / temperature)) / 2)[:, np.newaxis]
    return weights.astype(np.float32)

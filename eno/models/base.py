"""The base class of heads: estimators of scikit-learn that are cross-fitted, saved and loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin

from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models.calibration.scaling import logits_of
from eno.models.exclusive import ExclusiveLabels
from eno.models.folds import OutOfFold
from eno.models.heads import FORMAT, HEAD_FILE, read_head_file
from eno.models.label_weights import LabelWeights, SampleWeight
from eno.models.training_data import ROWS_AT_ONCE, TrainingData, as_vectors, check_finite, chunks, select, take
from eno.models.types import Labels, Vectors
from eno.processes import give_back_memory

if TYPE_CHECKING:
    from eno.models.epochs import Epoch  # which imports PyTorch

_ARRAYS = "head.safetensors"
TREES, NEIGHBOURS = "trees.txt", "neighbours.faiss"
_LABELS = ("indptr", "indices", "data")
_PARTS = 1000  # of progress, per step
_PREDICTION = 0.1  # of the step after the folds: the time to predict the held-out rows, roughly
_EVEN = 0.5
_FILES = (_ARRAYS, TREES, NEIGHBOURS)


class BaseHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Base class of heads.

    A subclass stores every parameter of its ``__init__`` in an attribute of the same name, and implements `_fit` and
    `_predict`, which depends only on what `_fit` learned, not on parameters that may have changed since. To be saved it
    implements `_state` and `_restore`, and, if JSON and arrays are not enough, `_write_files` and `_read_files`.
    """

    name: ClassVar[str]
    """Name in `eno.models.HEADS`."""

    on_progress: Callable[[int, int], None] | None = None
    """Called with the number of steps done and the maximum while the head is fitted."""

    on_epoch: Callable[[Epoch], None] | None = None
    """Called after each epoch by heads that are trained in epochs."""

    out_of_fold: OutOfFold | None = None
    """After `fit` without validation rows: predictions for training rows by heads that were not fitted on them."""

    seed: int = 0
    _min_rows: ClassVar[int] = 2
    _rows_at_once: ClassVar[int] = ROWS_AT_ONCE
    _shape: tuple[int, ...] | None = None  # of one vector; None until the head is fitted
    _is_cross_fitted: ClassVar[bool] = True
    _is_averaged: ClassVar[bool] = False  # the heads of the folds are kept; others are fitted again on all rows
    _members: Sequence[Self] = ()  # the heads of the folds
    _exclusive: ExclusiveLabels = ExclusiveLabels()
    _finds_exclusive: bool = True  # a blend does that for its members
    _fitted_options: dict[str, Any] | None = None  # in the form in which they are saved

    @property
    def takes_windows(self) -> bool:
        """See `eno.models.Head`; most heads take the mean of a track's windows."""
        return False

    @property
    def classes_(self) -> np.ndarray:
        """The indices of the labels [shape=(k,)], which scikit-learn expects of multi-label classifiers."""
        if self._shape is None:
            raise AttributeError("classes_")  # so that hasattr tells whether the head is fitted
        return np.arange(self.predict_proba(np.zeros((1, *self._shape), np.float32)).shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return self._shape is not None

    def fit(
        self,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None = None,
        Y_val: Labels | None = None,
        *,
        groups: np.ndarray | None = None,
        sample_weight: SampleWeight | None = None,
        sample_weight_val: SampleWeight | None = None,
    ) -> Self:
        """Fit the head; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            Shapes do not match, there are too few rows, a value is not finite, or an option is invalid.
        TrainingError
            Training diverges, or fails for all labels.
        """
        X = as_vectors(X)
        if X_val is None and len(X) < self._min_rows:
            raise ValueError(f"Fitting needs at least {self._min_rows} labelled rows; there are {len(X)}.")
        folds = TrainingData.of(
            X,
            Y,
            X_val,
            Y_val,
            groups=groups,
            sample_weight=sample_weight,
            sample_weight_val=sample_weight_val,
            seed=self.seed,
        )
        self._fit_folds(folds, cross=X_val is None)
        return self

    def _fit_folds(self, folds: Sequence[TrainingData], *, cross: bool) -> None:
        options = self._saved_options()
        self._members, self.out_of_fold = (), None
        self._exclusive = folds[0].exclusive_labels() if self._finds_exclusive else ExclusiveLabels()
        if not cross:
            self._fit(folds[0])
        elif self._is_cross_fitted:
            self._cross_fit(folds)
        else:
            self._fit(folds[0].with_held_out())
        self._shape, self._fitted_options = folds[0].shape, options

    def _cross_fit(self, folds: Sequence[TrainingData]) -> None:
        """Choose options in folds; then keep the heads of all folds, or refit on all rows with the best options."""
        steps = len(folds) + 1
        fitted = [self._fitted_on(fold, number, steps) for number, fold in enumerate(folds)]
        common = self._common_options(fitted)
        # Folds that chose other options are fitted again, so that all probabilities come from the same kind of head.
        fitted = [
            one if one._chosen_options() == common else self._fitted_on(fold, number, 0, common)
            for number, (fold, one) in enumerate(zip(folds, fitted, strict=True))
        ]
        self.out_of_fold = _predict_held_out(folds, fitted, part_of(self.on_progress, steps - 1, steps, _PREDICTION))
        if self._is_averaged and len(folds) > 1:
            self._members = fitted
        else:
            options = common | self._refit_options(fitted)
            for one in fitted:
                one._forget()
            give_back_memory()
            self._refit(folds[0].with_held_out(), options, steps)
        self._adopt(fitted)
        self._report(steps, steps)

    def _fitted_on(
        self, data: TrainingData, number: int, steps: int, options: Mapping[str, Any] = MappingProxyType({})
    ) -> Self:
        """Return a new head that is fitted on one fold; it reports its progress as one of `steps`, if there are any."""
        head = type(self)(**self.get_params() | options)
        head._finds_exclusive = self._finds_exclusive
        if steps:
            forward_hooks(self, head, number, steps)
        head._fit_folds([data], cross=False)
        return head

    def _refit(self, data: TrainingData, options: Mapping[str, Any], steps: int) -> None:
        given, report, on_epoch = self.get_params(), self.on_progress, self.on_epoch
        self.set_params(**options)
        self.on_epoch = None  # the first fold reports its epochs
        self.on_progress = part_of(report, steps - 1 + _PREDICTION, steps, 1 - _PREDICTION)
        try:
            self._fit(data)
        finally:
            self.set_params(**given)
            self.on_progress, self.on_epoch = report, on_epoch

    def _chosen_options(self) -> dict[str, Any]:
        """Return the options that were chosen on validation rows, in a form that allows no other choice."""
        return {}

    def _common_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        """Return the options that are best on average over the folds, in the form of `_chosen_options`."""
        return {}

    def _refit_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        """Return options that replace validation rows where the head is refitted on all rows."""
        return {}

    def _forget(self) -> None:
        """Free what was fitted in a fold, if it is large: it is not needed beside the head for all rows."""

    def _adopt(self, fitted: Sequence[Self]) -> None:
        """Take over public results of the heads of the folds."""

    def _fit(self, data: TrainingData) -> None:
        """Fit on the rows of `data`, whose validation rows may be none."""
        raise NotImplementedError

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """See `eno.models.Head.predict_proba`.

        Raises
        ------
        NotFitted
            The head is not fitted.
        ValueError
            The vectors have another shape than in training, or a value is not finite.
        """
        X = as_vectors(X)
        self._check(X)
        return self._exclusive.compete(self._probabilities(X))

    def _probabilities(self, X: Vectors) -> np.ndarray:
        """Return the probability of every label, regardless of the others [shape=(n, k), dtype=float32]."""
        if self._members:
            logits = np.mean([logits_of(one._probabilities(X)) for one in self._members], axis=0)
            return np.asarray(expit(logits))
        result = np.empty((0, 0), np.float32)
        for rows in chunks(len(X), self._rows_at_once):
            part = self._predict(self._read(X, rows))
            if rows.start == 0:
                result = np.empty((len(X), part.shape[1]), part.dtype)
            result[rows] = part
        return result

    def predict(self, X: Vectors) -> np.ndarray:
        """Return which labels have a probability above 0.5 [shape=(n, k), dtype=int64].

        `eno.models.calibration.calibrate.fit_calibration` finds a better threshold for every label.
        """
        return (self.predict_proba(X) > _EVEN).astype(np.int64)

    def _read(self, X: Vectors, rows: slice) -> Any:
        """Return what `_predict` takes: vectors, or windows where the head pools them itself."""
        vectors = take(X, rows)
        check_finite(vectors, rows.start)
        return vectors

    def _predict(self, X: Any) -> np.ndarray:
        """Return the probabilities [shape=(n, k), dtype=float32] of some rows."""
        raise NotImplementedError

    def save(self, folder: Path | str) -> None:
        """Write the fitted head into a folder: ``head.json``, ``head.safetensors``, and files of its library."""
        if self._shape is None:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove_head(folder)
        for number, member in enumerate(self._members):
            member.save(folder / str(number))
        state, arrays = ({"folds": len(self._members)}, {}) if self._members else self._state()
        if not self._members:
            self._write_files(folder)
        if arrays:
            with replace_file(folder / _ARRAYS) as temporary:
                save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary)
        options = self._saved_options() if self._fitted_options is None else self._fitted_options
        head = {"head": self.name, "format": FORMAT, "options": options, "shape": list(self._shape)}
        if self._exclusive:
            head["exclusive"] = self._exclusive.to_json()
        write_json(folder / HEAD_FILE, head | state)
        checkpoint = getattr(self, "checkpoint", None)
        if checkpoint is not None and Path(checkpoint).is_dir():
            from eno.models.heads.lgbm.checkpoint import remove_checkpoint

            remove_checkpoint(Path(checkpoint))

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Load a saved head onto `device` (see `eno.devices.resolve_device`); raises a ModelError if it is damaged."""
        folder = Path(folder)
        content = read_head_file(folder)
        try:
            arrays = load_file(folder / _ARRAYS) if (folder / _ARRAYS).exists() else {}
            head = cls._create(content, arrays, device)
            if folds := content.get("folds", 0):
                head._members = [cls.load(folder / str(number), device=device) for number in range(folds)]
                head._shape = tuple(content["shape"])
                head._adopt(head._members)
            else:
                head._restore(content, arrays)
                head._read_files(folder)
            head._fitted_options = head._saved_options()
            head._exclusive = ExclusiveLabels.from_json(content.get("exclusive", []))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        return head

    def _saved_options(self) -> dict[str, Any]:
        options = {name: value for name, value in self.get_params().items() if name != "device"}
        return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in options.items()}

    @classmethod
    def _create(cls, content: dict[str, Any], arrays: dict[str, np.ndarray], device: str) -> Self:
        del arrays
        options = content["options"] | {"device": device}
        if unknown := options.keys() - inspect.signature(cls).parameters.keys():
            raise ModelError(
                f"The saved head {cls.name!r} has the option {min(unknown)!r}, which this version of eno does not "
                "have. Another version wrote it: upgrade eno, or train the head again."
            )
        return cls(**options)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the fitted state: values for JSON, and arrays."""
        return {}, {}

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Restore what `_state` returned. Heads that eno 0.1 saved without ``shape`` override this."""
        self._shape = tuple(content["shape"])

    def _write_files(self, folder: Path) -> None:
        pass

    def _read_files(self, folder: Path) -> None:
        pass

    def _check(self, X: Vectors) -> None:
        """Raise NotFitted, or a ValueError if the shape of the vectors differs from that in training."""
        if self._shape is None:
            raise NotFitted(type(self).__name__)
        if tuple(X.shape[1:]) != self._shape:
            fitted = ", ".join(map(str, self._shape))
            raise ValueError(f"X has the shape {X.shape}; this head was fitted on (n, {fitted}).")

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)


def labels_to_arrays(labels: sparse.csr_array) -> dict[str, np.ndarray]:
    """Return the arrays of sparse labels, to be saved with a head."""
    return {name: getattr(labels, name) for name in _LABELS}


def labels_from_arrays(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> sparse.csr_array:
    """Take what `labels_to_arrays` returned out of the saved arrays; raises a ValueError if it is damaged."""
    indptr, indices, data = (arrays.pop(name) for name in _LABELS)
    labels = sparse.csr_array((data, indices, indptr), shape)
    labels.check_format()
    return labels


def _predict_held_out(
    folds: Sequence[TrainingData], fitted: Sequence[BaseHead], report: Callable[[int, int], None]
) -> OutOfFold:
    rows = np.concatenate([fold.rows_val for fold in folds])
    order = np.argsort(rows)
    fold_of = np.repeat(np.arange(len(folds)), [len(fold.rows_val) for fold in folds])
    truth = sparse.vstack([fold.Y_val for fold in folds], format="csr")
    weights = LabelWeights.joined([fold.weights_val for fold in folds])
    probabilities, first = np.empty(truth.shape, np.float32), 0
    for fold, one in zip(folds, fitted, strict=True):
        X = fold.validation()
        for part in chunks(len(X), one._rows_at_once):  # a head of many trees takes minutes for all rows
            end = first + part.stop - part.start
            probabilities[first:end] = one.predict_proba(select(X, np.arange(part.start, part.stop)))
            report(end, len(rows))
            first = end
    if len(folds) > 1:  # rows of a fold are in order
        probabilities = probabilities[order]
    return OutOfFold(rows[order], fold_of[order], probabilities, truth[order], weights[order])


def part_of(
    report: Callable[[int, int], None] | None, number: float, steps: int, share: float = 1.0
) -> Callable[[int, int], None]:
    """Return a callback of progress for one of several steps, or for a share of it that begins at `number`."""

    def report_part(done: int, of: int) -> None:
        if report is not None:
            report(int((number + share * done / max(of, 1)) * _PARTS), steps * _PARTS)

    return report_part


def forward_hooks(head: Any, part: Any, number: int, steps: int) -> None:
    """Let a head that is fitted as one of several parts report its progress, and keep its own checkpoint.

    Only the first part reports its epochs: the curves of the folds resemble each other.
    """
    part.on_progress = part_of(head.on_progress, number, steps)
    if number == 0 and head.on_epoch is not None and hasattr(part, "on_epoch"):
        part.on_epoch = head.on_epoch
    checkpoint = getattr(head, "checkpoint", None)
    if checkpoint is not None and hasattr(part, "checkpoint"):
        part.checkpoint = Path(checkpoint) / str(number)


def remove_head(folder: Path) -> None:
    """Remove the files of a saved head of any kind, and nothing else, from a folder.

    ``head.json`` goes first, so that an interruption cannot leave a mixture of two heads.
    """
    for name in (HEAD_FILE, *_FILES):
        (folder / name).unlink(missing_ok=True)
    for member in folder.iterdir():  # of a blend
        if member.name.isdecimal() and member.is_dir():
            remove_head(member)
            if not any(member.iterdir()):
                member.rmdir()

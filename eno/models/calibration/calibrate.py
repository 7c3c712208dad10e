"""Calibrated probabilities, and a threshold for every label."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from eno.data.labels.values import present
from eno.errors import ModelError, check_format
from eno.files import write_json
from eno.models.calibration.cross_fitting import Fitting, RuleEstimate, cross_fit, divide
from eno.models.calibration.scaling import METHODS, Method, scale
from eno.models.calibration.thresholds import AVERAGED, NEVER, RULES, Rule
from eno.models.types import Labels

logger = logging.getLogger(__name__)

_FORMAT = 1
_ESTIMATED_VALUES = 5_000_000  # rows times labels at most, on which the F1 of every rule is estimated


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of a head's probabilities, and thresholds for predictions.

    Attributes
    ----------
    slopes, offsets : np.ndarray [shape=(k,), dtype=float64]
        A calibrated logit is ``slope * logit + offset``. Slopes are above 0, which keeps the ranking within a label.
    thresholds : np.ndarray [shape=(k,), dtype=float64]
        A label is predicted if its calibrated probability is strictly above; 1 if it never is.
    pooled : np.ndarray [shape=(k,), dtype=bool]
        Labels with too few positives or negatives, which use the slope and offset of all labels.
    method, rule, precision_floor
        See `fit_calibration`.
    estimates : dict of str to RuleEstimate
        Out-of-fold F1 of every rule; empty if no rows could be held out.
    """

    slopes: np.ndarray
    offsets: np.ndarray
    thresholds: np.ndarray
    pooled: np.ndarray
    method: str
    rule: str
    precision_floor: float | None = None
    estimates: dict[str, RuleEstimate] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.thresholds)

    @property
    def never(self) -> np.ndarray:
        """Indices of the labels that are never predicted [dtype=int64]."""
        return np.flatnonzero(self.thresholds >= NEVER)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrate probabilities of a head [shape=(n, k), dtype=float32]."""
        return scale(self._checked(probabilities), self.slopes, self.offsets)

    def decide(self, calibrated: np.ndarray) -> np.ndarray:
        """Return which labels are predicted [shape=(n, k), dtype=bool], from probabilities that `apply` returned."""
        decisions: np.ndarray = self._checked(calibrated) > self.thresholds
        return decisions

    def _checked(self, probabilities: np.ndarray) -> np.ndarray:
        if np.ndim(probabilities) != 2 or np.shape(probabilities)[1] != len(self):
            raise ValueError(f"probabilities have the shape {np.shape(probabilities)}; expected (n, {len(self)}).")
        return probabilities

    def save(self, path: Path | str) -> None:
        """Write one JSON file."""
        content = {"format": _FORMAT, **asdict(self)}
        arrays = ("slopes", "offsets", "thresholds", "pooled")
        write_json(Path(path), content | {name: content[name].tolist() for name in arrays})

    @classmethod
    def load(cls, path: Path | str, *, labels: int | None = None) -> Self:
        """Read what `save` wrote; raises a ModelError if it is damaged, newer, or has another number of labels."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
            check_format(path, content.pop("format"), _FORMAT, ModelError)
            calibration = cls(**_read(content))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: the saved calibration is damaged ({error!r}). Train the head again.") from error
        if labels is not None and len(calibration) != labels:
            raise ModelError(f"{path}: has {len(calibration)} labels, expected {labels}. Train the head again.")
        return calibration


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"holds {constant}")


def _read(content: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: np.array(content[name], np.float64) for name in ("slopes", "offsets", "thresholds")}
    pooled = np.array(content["pooled"])
    if pooled.dtype != bool or pooled.ndim != 1 or {pooled.shape} != {values.shape for values in numbers.values()}:
        raise ValueError("arrays of different lengths")
    thresholds = numbers["thresholds"]
    if not all(np.isfinite(values).all() for values in numbers.values()) or not (numbers["slopes"] > 0).all():
        raise ValueError("numbers that are not finite, or slopes not above 0")
    if not ((thresholds >= 0) & (thresholds <= NEVER)).all():
        raise ValueError("a threshold outside 0 … 1")
    if content["method"] not in METHODS or content["rule"] not in RULES:
        raise ValueError(f"method {content['method']!r}, rule {content['rule']!r}")
    content["estimates"] = {rule: RuleEstimate(**values) for rule, values in content["estimates"].items()}
    return {**content, **numbers, "pooled": pooled}


def fit_calibration(
    probabilities: np.ndarray,
    Y: Labels,
    *,
    groups: np.ndarray | None = None,
    known: np.ndarray | None = None,
    method: Method = "platt",
    rule: Rule = "expected",
    precision_floor: Annotated[float, Field(gt=0, lt=1)] | None = None,
    folds: Annotated[int, Field(ge=2)] = 5,
    min_positives: Annotated[int, Field(ge=0)] = 1,
    seed: int = 0,
) -> Calibration:
    """Fit calibration and thresholds on validation rows.

    A label with the same probability for all rows keeps it, and is predicted if it is above 0.5: heads predict the base
    rate of a label that has only positives or only negatives in training.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, k)]
        Of a head, for rows that are used neither for fitting it nor for testing.
    Y : np.ndarray or sparse array of scipy [shape=(n, k)]
        Labels, positive above 0.
    groups : np.ndarray [shape=(n,)], optional
        Groups that are held out together, such as artists.
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which labels are known; the others, such as the descriptors of an album that nobody described, do not count.
    method : {"platt", "temperature", "none"}
        "platt" fits a slope and an offset of the logit for each label, shrunk towards those of all labels, more so for
        labels with fewer positives. "temperature" fits one slope for all labels.
    rule : {"expected", "expected_macro", "micromacro", "scut", "pcut", "global", "fixed"}
        Rule that chooses the thresholds. "expected": the highest sum of micro and macro F1 that is expected under the
        calibrated probabilities. It does not use the labels again, and so does not overfit to a few positives.
        "expected_macro": the same for macro F1 alone, which predicts hard labels more often. "micromacro": the highest
        sum on the labels themselves. "global": likewise, with one threshold for all labels. "scut": the highest F1 of
        each label. "pcut": each label is predicted as often as it occurs. "fixed": 0.5. Rules that need positives fall
        back to "global" for labels without any.
    precision_floor : float, optional
        Minimum precision of every label on held-out rows. Thresholds are raised to the lowest that has it, or to 1.
    folds : int
        Folds of the cross-fitting. Thresholds of "scut" and "micromacro" are means over them.
    min_positives : int
        Labels with fewer positives or negatives use the slope and offset of all labels.
    seed : int
        Seed of the division into folds.
    """
    _check_options(method, rule, precision_floor, folds)
    columns, truth = _check_rows(probabilities, Y, known)
    if truth.nnz == 0:
        logger.warning("none of the %d validation rows has a label: probabilities are not calibrated", columns.shape[1])
    fold_of = divide(columns.shape[1], groups, folds=folds, seed=seed)
    rows_known = None if known is None or known.all() else np.ascontiguousarray(known.T)
    fitting = Fitting(columns, truth, rows_known, method, min_positives, seed)
    rows = np.arange(columns.shape[1])
    if rule in AVERAGED or precision_floor is not None:
        estimates, means, held_out = cross_fit(fitting, fold_of, precision_floor)
    else:  # only the estimates are used, for which some of the rows do
        wanted = max(1, _ESTIMATED_VALUES // len(columns))
        some = np.sort(np.random.default_rng(seed).permutation(rows)[:wanted])
        estimates, means, _ = cross_fit(fitting.some(some), fold_of[some], None)
    slopes, offsets, pooled = fitting.scaling(rows)
    thresholds = means.get(rule)
    if thresholds is None:
        thresholds = fitting.thresholds(rule, fitting.scores(slopes, offsets, rows))
    if precision_floor is not None:
        thresholds = fitting.raised(held_out, rows, thresholds, precision_floor)
    return Calibration(slopes, offsets, thresholds, pooled, method, rule, precision_floor, estimates)


def _check_options(method: str, rule: str, precision_floor: float | None, folds: int) -> None:
    for name, value, choices in (("method", method, METHODS), ("rule", rule, tuple(RULES))):
        if value not in choices:
            raise ValueError(f"{name} = {value!r}: expected one of {', '.join(choices)}.")
    if precision_floor is not None and not 0 < precision_floor < 1:
        raise ValueError(f"precision_floor = {precision_floor}: expected a number between 0 and 1.")
    if folds < 2:
        raise ValueError(f"folds = {folds}: expected at least 2.")


def _check_rows(probabilities: np.ndarray, Y: Labels, known: np.ndarray | None) -> tuple[np.ndarray, sparse.csr_array]:
    """Check validation rows, and transpose them to one row per label; labels that are not known are removed."""
    labels = sparse.csr_array(Y, copy=True)
    labels.sum_duplicates()
    if np.isnan(labels.data).any():
        raise ValueError("Y has NaN values.")
    labels = sparse.csr_array(present(labels))
    if known is not None:
        if known.shape != labels.shape or known.dtype != bool:
            raise ValueError(f"known is {known.dtype} of the shape {known.shape}; expected bool of {labels.shape}.")
        labels = sparse.csr_array(labels.multiply(known))
    labels.eliminate_zeros()
    shape = np.shape(probabilities)
    if len(shape) != 2 or shape != labels.shape or 0 in shape:
        raise ValueError(f"probabilities have the shape {shape} and Y {labels.shape}; expected (n, k), not empty.")
    columns = np.ascontiguousarray(np.asarray(probabilities, np.float32).T)
    broken = ~((columns >= 0) & (columns <= 1)).all(axis=1)
    if broken.any():
        raise ValueError(f"Probabilities of label {int(broken.argmax())} are NaN or outside 0 … 1.")
    return columns, labels.T.tocsr()

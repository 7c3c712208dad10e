"""Probabilities that mean what they say, and the thresholds from which a label is named."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from scipy import sparse

from eno.errors import ModelError
from eno.files import write_json
from eno.models.calibration.cross_fitting import Fitting, RuleEstimate, cross_fit, divide
from eno.models.calibration.scaling import METHODS, logits_of, scale
from eno.models.calibration.thresholds import NEVER, RULES, Scores, choose_thresholds, raise_to_precision
from eno.models.types import Labels

logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Calibration:
    """What turns a head's probabilities into calibrated ones, and these into decisions.

    Attributes
    ----------
    slopes, offsets : np.ndarray [shape=(k,), dtype=float64]
        A calibrated logit is ``slope * logit + offset``. Slopes are above 0: the order of tracks within a label stays.
    thresholds : np.ndarray [shape=(k,), dtype=float64]
        A label is predicted where its calibrated probability is strictly above. One that is never predicted has 1.
    pooled : np.ndarray [shape=(k,), dtype=bool]
        Labels with too few positives or negatives, which are calibrated as all labels together.
    method, rule : str
        See `fit_calibration`.
    precision_floor : float or None
        See `fit_calibration`.
    estimates : dict of str to RuleEstimate
        What every rule would reach, by its name; empty where rows could not be held out.
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
        """Numbers of the labels that are never predicted [dtype=int64]."""
        return np.flatnonzero(self.thresholds >= NEVER)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrate probabilities.

        Parameters
        ----------
        probabilities : np.ndarray [shape=(n, k)]
            As the head gives them.

        Returns
        -------
        np.ndarray [shape=(n, k), dtype=float32]
            Calibrated.

        Raises
        ------
        ValueError
            There are more or fewer labels than this was fitted on.
        """
        return scale(self._checked(probabilities), self.slopes, self.offsets)

    def decide(self, calibrated: np.ndarray) -> np.ndarray:
        """Say which labels are predicted.

        Parameters
        ----------
        calibrated : np.ndarray [shape=(n, k)]
            What `apply` gave.

        Returns
        -------
        np.ndarray [shape=(n, k), dtype=bool]
            Where they are strictly above the thresholds.

        Raises
        ------
        ValueError
            There are more or fewer labels than this was fitted on.
        """
        decisions: np.ndarray = self._checked(calibrated) > self.thresholds
        return decisions

    def _checked(self, probabilities: np.ndarray) -> np.ndarray:
        if np.ndim(probabilities) != 2 or np.shape(probabilities)[1] != len(self):
            raise ValueError(f"probabilities have the shape {np.shape(probabilities)}; expected (n, {len(self)}).")
        return probabilities

    def save(self, path: Path | str) -> None:
        """Write it as one JSON file."""
        content = {"format": _FORMAT, **asdict(self)}
        arrays = ("slopes", "offsets", "thresholds", "pooled")
        write_json(Path(path), content | {name: content[name].tolist() for name in arrays})

    @classmethod
    def load(cls, path: Path | str, *, labels: int | None = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : Path or str
            The file.
        labels : int, optional
            How many labels it must have.

        Raises
        ------
        ModelError
            The file is missing or damaged, or has another number of labels.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
            calibration = cls(**_read(content))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: the saved calibration is damaged ({error!r}). Train the head again.") from error
        if labels is not None and len(calibration) != labels:
            raise ModelError(f"{path}: is for {len(calibration)} labels, not for {labels}. Train the head again.")
        return calibration


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"holds {constant}")


def _read(content: dict[str, Any]) -> dict[str, Any]:
    """Check what a saved calibration holds."""
    if content.pop("format") != _FORMAT:
        raise ValueError("of a format that this eno does not know")
    numbers = {name: np.array(content[name], np.float64) for name in ("slopes", "offsets", "thresholds")}
    pooled = np.array(content["pooled"])
    if pooled.dtype != bool or pooled.ndim != 1 or {pooled.shape} != {values.shape for values in numbers.values()}:
        raise ValueError("lists of different lengths")
    thresholds = numbers["thresholds"]
    if not all(np.isfinite(values).all() for values in numbers.values()) or not (numbers["slopes"] > 0).all():
        raise ValueError("a number that is not finite, or a slope that is not above 0")
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
    method: str = "platt",
    rule: str = "expected",
    precision_floor: float | None = None,
    folds: int = 5,
    min_positives: int = 1,
    seed: int = 0,
) -> Calibration:
    """Learn from validation rows what probabilities mean, and from which on a label is named.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, k)]
        What the head says about the validation rows. Rows that it was fitted on would look too good; test rows are for
        the evaluation alone.
    Y : np.ndarray or sparse array of scipy [shape=(n, k)]
        Their labels; what is above 0 counts.
    groups : np.ndarray [shape=(n,)], optional
        What rows belong together, such as artists: then whole groups are held out.
    method : {"platt", "temperature", "none"}
        ``"platt"``: a slope and an offset for each label, held back towards those of all labels together the more, the
        fewer positives it has. ``"temperature"``: one slope for all labels.
    rule : {"expected", "expected_macro", "micromacro", "scut", "pcut", "global", "fixed"}
        ``"expected"``: thresholds of the highest sum of micro and macro F1 that the calibrated probabilities promise.
        It does not look at single labels again, and so learns nothing by heart from a few positives.
        ``"expected_macro"``: the same for macro F1 alone, which has labels named freely that cannot be told.
        ``"micromacro"``: thresholds of the highest sum on the labels themselves. ``"global"``: the same, with one
        threshold for all labels. ``"scut"``: for each label the threshold of its highest F1. ``"pcut"``: each label is
        predicted as often as it is there. ``"fixed"``: 0.5. Labels without any positive take the threshold of
        ``"global"`` where theirs cannot be known.
    precision_floor : float, optional
        Share of right predictions that every label must reach: a threshold under which it does not is raised to the
        lowest at which it does, and to 1 where there is none.
    folds : int
        How often rows are held out to estimate what the rules reach. The thresholds of ``"scut"`` and ``"micromacro"``
        are means over the folds.
    min_positives : int
        Labels with fewer positives or negatives are calibrated as all labels together.
    seed : int
        Decides the folds.

    Returns
    -------
    Calibration
        Learned from all rows.

    Raises
    ------
    ValueError
        Shapes do not fit together, a probability is NaN or outside 0 … 1, or an option has a wrong value.
    """
    _check_options(method, rule, precision_floor, folds)
    columns, truth = _check_rows(probabilities, Y)
    if truth.nnz == 0:
        logger.warning("none of %d validation rows has a label: nothing is calibrated", columns.shape[1])
    fold_of = divide(columns.shape[1], groups, folds=folds, seed=seed)
    fitting = Fitting(columns, logits_of(columns), truth, method, min_positives, seed)
    estimates, means, held_out = cross_fit(fitting, fold_of, precision_floor)
    slopes, offsets, pooled = fitting.scaling(np.arange(columns.shape[1]))
    if rule in means:
        thresholds = means[rule]
    else:
        thresholds = choose_thresholds(rule, Scores(fitting.scaled(slopes, offsets), truth))
    if precision_floor is not None:
        thresholds = raise_to_precision(Scores(held_out, truth), thresholds, precision_floor)
    return Calibration(slopes, offsets, thresholds, pooled, method, rule, precision_floor, estimates)


def _check_options(method: str, rule: str, precision_floor: float | None, folds: int) -> None:
    for name, value, choices in (("method", method, METHODS), ("rule", rule, tuple(RULES))):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
    if precision_floor is not None and not 0 < precision_floor < 1:
        raise ValueError(f"precision_floor is {precision_floor}; it must be between 0 and 1.")
    if folds < 2:
        raise ValueError(f"folds is {folds}; at least 2 are needed.")


def _check_rows(probabilities: np.ndarray, Y: Labels) -> tuple[np.ndarray, sparse.csr_array]:
    """Turn validation rows into a row a label, and make sure that they can be learned from."""
    labels = sparse.csr_array(Y, copy=True)
    labels.sum_duplicates()
    labels = sparse.csr_array(labels > 0)
    labels.eliminate_zeros()
    shape = np.shape(probabilities)
    if len(shape) != 2 or shape != labels.shape or 0 in shape:
        raise ValueError(f"probabilities have the shape {shape} and Y {labels.shape}; expected (n, k) both, not empty.")
    columns = np.ascontiguousarray(np.asarray(probabilities, np.float32).T)
    broken = ~((columns >= 0) & (columns <= 1)).all(axis=1)
    if broken.any():
        raise ValueError(f"probabilities of label number {int(broken.argmax())} are NaN or outside 0 … 1.")
    return columns, labels.T.tocsr()

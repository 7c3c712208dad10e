"""Platt scaling: a slope and an offset of the logit for each label, shrunk towards those of all labels.

J. Platt, "Probabilistic outputs for support vector machines", 1999. C. Guo et al., "On calibration of modern neural
networks", ICML 2017.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from eno.cores import usable_cores
from eno.views import MappedView

Method: TypeAlias = Literal["platt", "temperature", "none"]
"""Isotonic regression is not among them: it needs a thousand rows per label and more to be better than two numbers."""

METHODS: tuple[str, ...] = get_args(Method)

DEVIATIONS = (0.5, 1.0)
"""Prior standard deviations of a label's slope and offset around those of all labels."""

_EDGE = 1e-7  # about the resolution of float32 near 1; 0 and 1 have no finite logit
_MIN_SLOPE = 0.01  # above 0, so that calibration never changes the ranking within a label
_FIXED = 1e12  # prior precision that keeps a parameter at its prior mean
_POOLED_VALUES = 1_000_000  # rows times labels, sampled for the pooled fit of two numbers
_VALUES_AT_ONCE = 1_000_000
_MAX_ITERATIONS = 100
_MAX_HALVINGS = 40


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Return logits [dtype=float32], which are finite even for 0 and 1."""
    edges = np.float32(_EDGE), np.float32(1 - _EDGE)
    result: np.ndarray = logit(np.clip(np.asarray(probabilities, np.float32), *edges))
    return result


def scale(probabilities: np.ndarray, slopes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return calibrated probabilities [dtype=float32]; slopes and offsets are broadcast."""
    if (slopes == 1).all() and not offsets.any():
        return np.asarray(probabilities, np.float32)
    result: np.ndarray = np.empty(probabilities.shape, np.float32)
    slopes, offsets = (np.broadcast_to(values.astype(np.float32), result.shape) for values in (slopes, offsets))
    step = max(1, _VALUES_AT_ONCE // max(1, result.shape[1]))
    for first in range(0, len(result), step):
        at = slice(first, first + step)
        logits = logits_of(probabilities[at])
        logits *= slopes[at]
        logits += offsets[at]
        expit(logits, out=result[at])
    return result


def fit_scaling(
    logits: np.ndarray | MappedView,
    truth: sparse.csr_array,
    *,
    method: Method,
    min_positives: int = 1,
    deviations: tuple[float, float] = DEVIATIONS,
    seed: int = 0,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the slope and offset of each label [shape=(k,), dtype=float64], and which labels use the pooled ones.

    Parameters
    ----------
    logits : np.ndarray or MappedView [shape=(k, n), dtype=float32]
        One row per label; those of a view are computed when they are needed.
    truth : scipy.sparse.csr_array [shape=(k, n)]
        The stored entries are the positives.
    method, min_positives
        See `eno.models.calibration.calibrate.fit_calibration`.
    deviations : tuple of float
        See `DEVIATIONS`; infinity turns shrinkage off.
    seed : int
        Seed of the sample for the pooled fit.
    known : np.ndarray [shape=(k, n), dtype=bool], optional
        Which labels are known; the others do not count.
    """
    labels, rows = logits.shape
    if method == "none" or truth.nnz == 0:
        return np.ones(labels), np.zeros(labels), np.zeros(labels, bool)
    common = _fit_pooled(logits, truth, known, method, np.random.default_rng(seed))
    fitted = np.tile(common, (labels, 1))
    if method == "temperature":
        return fitted[:, 0], np.zeros(labels), np.ones(labels, bool)
    positives = np.diff(truth.indptr)
    pooled = np.minimum(positives, (rows if known is None else known.sum(axis=1)) - positives) < min_positives
    precision = 1 / np.square(np.array(deviations))
    own = np.flatnonzero(~pooled)
    step = max(1, _VALUES_AT_ONCE // rows)

    def fit(block: np.ndarray) -> None:
        some = None if known is None else known[block]
        fitted[block] = _fit_labels(logits[block].astype(np.float64), truth[block], some, common, precision)

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(fit, (own[first : first + step] for first in range(0, len(own), step))))
    return fitted[:, 0], fitted[:, 1], pooled


def _fit_pooled(
    logits: np.ndarray | MappedView,
    truth: sparse.csr_array,
    known: np.ndarray | None,
    method: Method,
    random: np.random.Generator,
) -> np.ndarray:
    """Fit one slope and offset for all labels; a temperature has no offset."""
    labels, rows = logits.shape
    wanted, chosen = max(1, _POOLED_VALUES // labels), np.arange(rows)
    if rows > wanted:
        some = np.sort(random.choice(rows, wanted, replace=False))
        if truth[:, some].nnz:
            chosen, truth = some, truth[:, some]
            known = None if known is None else known[:, some]
    counted = slice(None) if known is None else known.ravel()
    one = truth.reshape(1, -1).tocsr()[:, counted]
    sampled = np.concatenate([logits[block : block + 1][0, chosen] for block in range(labels)])
    z = sampled[np.newaxis][:, counted].astype(np.float64)
    sums = _target_sums(z, one, z.shape[1], smoothed=method == "platt")
    # A weak prior at slope 1 and offset 0, for the case that all logits are equal.
    precision = np.array([1.0, _FIXED if method == "temperature" else 0.01])
    fitted: np.ndarray = _newton_above(z, None, sums, np.array([[1.0, 0.0]]), precision)[0]
    return fitted


def _fit_labels(
    z: np.ndarray, truth: sparse.csr_array, known: np.ndarray | None, common: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    # Centring at the mean logit decorrelates slope and offset, so that each can have its own prior.
    counts = np.full(len(z), z.shape[1]) if known is None else known.sum(axis=1)
    if known is not None:
        z *= known
    centres = z.sum(axis=1, keepdims=True) / np.maximum(counts, 1)[:, np.newaxis]
    z -= centres
    if known is not None:
        z *= known
    prior = np.stack([np.full(len(z), common[0]), common[1] + common[0] * centres[:, 0]], axis=1)
    fitted = _newton_above(z, known, _target_sums(z, truth, counts, smoothed=True), prior, precision)
    fitted[:, 1] -= fitted[:, 0] * centres[:, 0]
    return fitted


def _target_sums(z: np.ndarray, truth: sparse.csr_array, rows: np.ndarray | int, *, smoothed: bool) -> np.ndarray:
    """Return the sufficient statistics of each label [shape=(k, 2)]: the sums of target times logit, and of targets.

    `rows` is the number of rows in which each label is known; in the others, `z` is 0.
    """
    positives = np.diff(truth.indptr).astype(np.float64)
    negatives = rows - positives
    # Platt's smoothed targets: as if there were one more positive and one more negative.
    high = (positives + 1) / (positives + 2) if smoothed else np.ones(len(z))
    low = 1 / (negatives + 2) if smoothed else np.zeros(len(z))
    bounds = zip(truth.indptr[:-1], truth.indptr[1:], strict=True)
    found = np.array([row[truth.indices[first:last]].sum() for row, (first, last) in zip(z, bounds, strict=True)])
    return np.stack([high * found + low * (z.sum(axis=1) - found), high * positives + low * negatives], axis=1)


def _newton_above(
    z: np.ndarray, known: np.ndarray | None, sums: np.ndarray, prior: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    """Fit with Newton's method, and again with the slope fixed at the minimum for labels whose slope would be lower."""
    fitted = _newton(z, known, sums, prior, precision)
    low = fitted[:, 0] < _MIN_SLOPE
    if low.any():
        held = np.stack([np.full(low.sum(), _MIN_SLOPE), prior[low, 1]], axis=1)
        some = None if known is None else known[low]
        fitted[low] = _newton(z[low], some, sums[low], held, np.array([_FIXED, precision[1]]))
    return fitted


def _newton(
    z: np.ndarray, known: np.ndarray | None, sums: np.ndarray, prior: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    """Fit logistic regression on one variable with a normal prior, for many labels at once.

    Parameters
    ----------
    z : np.ndarray [shape=(k, n), dtype=float64]
    known : np.ndarray [shape=(k, n), dtype=bool], optional
        Which values count.
    sums : np.ndarray [shape=(k, 2)]
        See `_target_sums`.
    prior, precision : np.ndarray [shape=(k, 2), (2,)]
        Prior mean, where iteration starts, and prior precision of slope and offset.
    """
    found = prior.copy()
    loss = _loss(z, known, sums, prior, precision, found)
    moving = np.arange(len(z))
    for _ in range(_MAX_ITERATIONS):
        some, at = z[moving], found[moving]
        p = expit(at[:, :1] * some + at[:, 1:])
        if known is not None:
            p *= known[moving]
        gradient = np.stack([np.einsum("kn,kn->k", p, some), p.sum(axis=1)], axis=1)
        gradient += precision * (at - prior[moving]) - sums[moving]
        p *= 1 - p
        hessian = np.empty((len(moving), 2, 2))
        hessian[:, 1, 1] = p.sum(axis=1) + precision[1] + 1e-12
        p *= some
        hessian[:, 0, 1] = hessian[:, 1, 0] = p.sum(axis=1)
        hessian[:, 0, 0] = np.einsum("kn,kn->k", p, some) + precision[0] + 1e-12
        step = -np.linalg.solve(hessian, gradient[:, :, np.newaxis])[:, :, 0]
        falling = np.einsum("kp,kp->k", gradient, step)
        # Far from the minimum a full step may increase the loss: it is halved until the loss decreases enough.
        waiting = np.arange(len(moving))
        for _ in range(_MAX_HALVINGS):
            rows = moving[waiting]
            trial = at[waiting] + step[waiting]
            reached = _loss(z[rows], None if known is None else known[rows], sums[rows], prior[rows], precision, trial)
            lower = reached <= loss[rows] + 1e-4 * falling[waiting] + 1e-12 * np.abs(loss[rows])
            found[rows[lower]], loss[rows[lower]] = trial[lower], reached[lower]
            waiting = waiting[~lower]
            if len(waiting) == 0:
                break
            step[waiting] /= 2
            falling[waiting] /= 2
        step[waiting] = 0  # converged to machine precision
        moving = moving[np.abs(step).max(axis=1) > 1e-7]
        if len(moving) == 0:
            break
    return found


def _loss(
    z: np.ndarray,
    known: np.ndarray | None,
    sums: np.ndarray,
    prior: np.ndarray,
    precision: np.ndarray,
    at: np.ndarray,
) -> np.ndarray:
    """Log-loss plus the penalty of the prior [shape=(k,)]."""
    counted = True if known is None else known
    losses = np.logaddexp(0, at[:, :1] * z + at[:, 1:]).sum(axis=1, where=counted) - np.einsum("kp,kp->k", sums, at)
    result: np.ndarray = losses + 0.5 * (precision * np.square(at - prior)).sum(axis=1)
    return result

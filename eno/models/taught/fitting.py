"""Fit a tag to a few examples, with the collection as background.

Few tracks of a collection have a tag that somebody teaches, but which ones is unknown. As in C. Elkan and K. Noto,
"Learning classifiers from only positive and unlabeled data" (KDD 2008), the unlabelled tracks serve as negatives, and
the scale of the probabilities is fitted separately.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

_FOLDS = 10
_BASE_RATE = 0.1
# Prior of the mean distance of tracks with the tag from the background, in standard deviations, and its weight.
_DISTANCE, _PRIOR_EXAMPLES = 1.5, 2.0
_MIN_DISTANCE = 0.25  # with a negative one, tracks unlike the examples would get the tag


@dataclass(frozen=True)
class TagEstimate:
    """How well a taught tag does, measured on examples that it was not fitted to.

    Attributes
    ----------
    examples : int
        Number of examples that were held out in turn; 0 if there were fewer than two.
    found : int
        How many of them were given the tag.
    groups : int
        Number of groups (artists, or else albums) that they belong to. Whole groups are held out, unless there is one.
    share : float
        Share of the background that is given the tag.
    """

    examples: int
    found: int
    groups: int
    share: float


@dataclass(frozen=True, eq=False)
class FittedTag:
    """A tag whose logit is ``coefficients @ x + intercept``, and the probability above which a track has it.

    Attributes
    ----------
    coefficients : np.ndarray [shape=(d,), dtype=float64]
    """

    coefficients: np.ndarray
    intercept: float
    threshold: float
    estimate: TagEstimate


def fit_tag(
    examples: np.ndarray,
    background: np.ndarray,
    *,
    counter_examples: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    exponent: float = 1.0,
    base_rate: float = _BASE_RATE,
    seed: int = 0,
) -> FittedTag:
    """Fit a tag by logistic regression of the examples against the background.

    Parameters
    ----------
    examples : np.ndarray [shape=(n, d)]
        Vectors of tracks with the tag.
    background : np.ndarray [shape=(m, d)]
        Vectors of other tracks of the collection, most of which do not have the tag.
    counter_examples : np.ndarray [shape=(k, d)], optional
        Vectors of tracks without the tag. Each weighs as much as an example.
    groups : np.ndarray [shape=(n,)], optional
        Group of each example, such as its artist.
    exponent : float
        Of the standard deviations by which dimensions are divided; see `eno.models.taught.space.choose_exponent`.
    base_rate : float
        Expected share of tracks with the tag.

    Notes
    -----
    Vectors are standardised by the background, more or less so depending on `exponent`. Examples and background weigh
    the same in total. The L2 penalty is ``d / (2 * (n + 5))`` relative to a total weight of 1: strong, so that with one
    example the coefficients are close to its vector, and weaker with more examples. Each example is scored by a fit
    without its group; from their mean distance to the background follow the scale of the logit, and the threshold with
    the highest expected F1.
    """
    mean, scale = standardised_by(background, exponent)
    others = examples[:0] if counter_examples is None else counter_examples
    positives, negatives, z = (
        ((vectors - mean) / scale).astype(np.float32) for vectors in (examples, others, background)
    )
    groups = np.arange(len(positives)) if groups is None else np.unique(groups, return_inverse=True)[1]
    held_out = _held_out_scores(positives, negatives, z, groups, np.random.default_rng(seed))
    direction = tag_direction(positives, negatives, z)
    distance = (held_out.sum() + _PRIOR_EXAMPLES * _DISTANCE) / (len(held_out) + _PRIOR_EXAMPLES)
    distance = max(distance, _MIN_DISTANCE)
    scores = z @ direction
    cut = _best_cut(np.sort(scores), distance, base_rate)
    offset = np.log(base_rate / (1 - base_rate)) - distance**2 / 2
    coefficients = distance * direction / scale
    return FittedTag(
        coefficients,
        float(offset - coefficients @ mean),
        float(1 / (1 + np.exp(-(offset + distance * cut)))),
        TagEstimate(len(held_out), int((held_out > cut).sum()), len(np.unique(groups)), float((scores > cut).mean())),
    )


def standardised_by(background: np.ndarray, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each dimension, and what it is divided by [shape=(d,), dtype=float64].

    With an exponent of 1 this is the standard deviation, and with 0 the same for all dimensions.
    """
    mean, deviation = (values.astype(np.float64) for values in (background.mean(axis=0), background.std(axis=0)))
    constant = deviation < 1e-6 * np.maximum(1, np.abs(mean))
    typical = np.sqrt(np.mean(np.square(deviation[~constant]))) if not constant.all() else 1.0
    deviation[constant] = typical
    return mean, deviation**exponent * typical ** (1 - exponent)


def tag_direction(positives: np.ndarray, negatives: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return coefficients [shape=(d,)] whose scores have mean 0 and deviation 1 over the background."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import, which predictions need not wait for

    rows, n, d = np.concatenate([positives, negatives, background]), len(positives), background.shape[1]
    truth = np.arange(len(rows)) < n
    each = np.full(len(rows), 0.5 / len(background))
    each[: n + len(negatives)] = 0.5 / n
    # BLAS kernels that read beyond the last column of a narrow matrix may raise a warning about numbers that nobody
    # uses. scikit-learn rejects vectors that are not finite.
    with np.errstate(invalid="ignore", over="ignore"):
        model = LogisticRegression(C=2 * (n + 5) / d, max_iter=1000).fit(rows, truth, sample_weight=each)
    found: np.ndarray = model.coef_[0].astype(np.float64)
    return found / max(float((background @ found).std()), 1e-12)


def _held_out_scores(
    positives: np.ndarray,
    negatives: np.ndarray,
    background: np.ndarray,
    groups: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Return the score of each example by a fit without its group; none if there is one example."""
    if len(positives) < 2:
        return np.zeros(0)
    if len(np.unique(groups)) < 2:
        groups = np.arange(len(positives))
    folds = random.permutation(groups.max() + 1)[groups] % _FOLDS
    scores = np.zeros(len(positives))
    for fold in np.unique(folds):
        out = folds == fold
        scores[out] = positives[out] @ tag_direction(positives[~out], negatives, background)
    return scores


def _best_cut(ranked: np.ndarray, distance: float, base_rate: float) -> float:
    """Return the score with the highest expected F1, if scores of tracks with the tag are normal around `distance`.

    `ranked` are the scores of the background in ascending order; the cut is midway between two of them.
    """
    cuts = (ranked[:-1] + ranked[1:]) / 2
    share = 1 - np.arange(1, len(ranked)) / len(ranked)
    recall = ndtr(distance - cuts)
    return float(cuts[np.argmax(recall / (share + base_rate))])

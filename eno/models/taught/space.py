"""The space in which the tags of a collection are easiest to learn from few examples."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from eno.data.labels.values import present
from eno.models.average_precision import average_precision_and_auc
from eno.models.taught.fitting import standardised_by, tag_direction
from eno.models.training_data import as_vectors, take
from eno.models.types import Vectors

EXPONENTS = (1.0, 0.5, 0.0)
STANDARDISED = EXPONENTS[0]

_EXAMPLES, _DRAWS = 5, 3  # of a label
_LABELS, _LEAST_LABELS = 20, 4
_ROWS = 2_000  # half of them to learn from, half to compare on


def choose_exponent(X: Vectors, Y: sparse.csr_array, groups: np.ndarray, *, seed: int = 0) -> float:
    """Return the exponent of the standard deviations by which dimensions are divided when a tag is taught.

    With 1, vectors are standardised, and all dimensions matter alike. With 0 they are not, so that dimensions of large
    variance matter more, as they should if a dimension is the probability of a tag. Which is better depends on the
    encoder, and is measured on labels that the collection has: each is taught from 5 examples of half of the artists,
    and ranks the tracks of the others.

    Parameters
    ----------
    X : Vectors [shape=(n, d) or (n, layers, d)]
    Y : scipy.sparse.csr_array [shape=(n, k)]
    groups : np.ndarray [shape=(n,)]
        The artist of each track.

    Returns
    -------
    float
        One of `EXPONENTS`; 1 if there are fewer than 4 labels with enough tracks.
    """
    random = np.random.default_rng(seed)
    X = as_vectors(X)
    rows = np.sort(random.permutation(len(X))[:_ROWS])
    vectors, truth = take(X, rows).reshape(len(rows), -1), present(Y[rows].toarray())
    artists = np.unique(np.asarray(groups)[rows], return_inverse=True)[1]
    learned = (random.random(artists.max(initial=0) + 1) < 1 / 2)[artists]
    known, others = vectors[learned], vectors[~learned]
    counts, elsewhere = truth[learned].sum(axis=0), truth[~learned].sum(axis=0)
    usable = np.flatnonzero((counts >= 2 * _EXAMPLES) & (elsewhere > 0) & (elsewhere < len(others)))
    if len(usable) < _LEAST_LABELS:
        return STANDARDISED
    precisions = np.zeros(len(EXPONENTS))
    for label in random.permutation(usable)[:_LABELS].tolist():
        for _ in range(_DRAWS):
            examples = random.permutation(np.flatnonzero(truth[learned, label]))[:_EXAMPLES]
            background = np.delete(known, examples, axis=0)
            for number, exponent in enumerate(EXPONENTS):
                mean, scale = standardised_by(background, exponent)
                positives, z, compared = (
                    ((some - mean) / scale).astype(np.float32) for some in (known[examples], background, others)
                )
                scores = compared @ tag_direction(positives, positives[:0], z)
                precisions[number] += average_precision_and_auc(
                    truth[~learned, label, np.newaxis], scores[:, np.newaxis]
                )[0][0]
    return EXPONENTS[int(precisions.argmax())]

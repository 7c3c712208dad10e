"""The scaling of vectors for teaching follows the labels that a collection has."""

import numpy as np
import pytest
from scipy import sparse

from eno.models.taught.fitting import fit_tag
from eno.models.taught.space import choose_exponent


def collection(informative, labels=6, n=600, seed=0):
    """Vectors with 6 dimensions of large variance and 40 of small variance; labels depend on one kind."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 46)) * np.repeat([10.0, 1.0], [6, 40]) + 3
    places = np.arange(6) if informative == "large" else np.arange(6, 46)
    directions = np.zeros((46, labels))
    directions[places] = rng.standard_normal((len(places), labels))
    scores = (X - 3) / X.std(axis=0) @ directions
    return X.astype(np.float32), sparse.csr_array(scores > np.quantile(scores, 0.8, axis=0)), np.arange(n) // 3


@pytest.mark.parametrize("seed", range(3))
def test_dimensions_of_large_variance_matter_more_if_labels_depend_on_them(seed):
    assert choose_exponent(*collection("large", seed=seed)) < 1
    assert choose_exponent(*collection("small", seed=seed)) == 1


def test_few_labels_leave_vectors_standardised():
    assert choose_exponent(*collection("large", labels=3)) == 1
    X, Y, groups = collection("large")
    assert choose_exponent(X[:20], Y[:20], groups[:20]) == 1
    assert choose_exponent(X, Y, np.zeros(len(X))) == 1  # a single artist cannot be held out


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_tag_does_not_depend_on_the_unit_of_all_dimensions(exponent):
    X, Y, _ = collection("large")
    has = Y.toarray()[:, 0] > 0
    one, other = (fit_tag(X[has][:8] * unit, X[~has] * unit, exponent=exponent) for unit in (1, 8))
    np.testing.assert_allclose(other.coefficients * 8, one.coefficients, rtol=1e-3, atol=1e-4)

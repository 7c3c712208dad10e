import numpy as np
import pytest

from eno.models.aggregation import AGGREGATIONS, aggregate

TRACKS = np.array([[0.1, 0.5], [0.2, 0.5], [0.9, 0.8], [0.6, 0.1]])
ALBUMS = ["b", "a", "b", "b"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        # odds of the first label on b: 1/9, 9 and 3/2, whose geometric mean is the cube root of 3/2
        ("mean_logit", [[1.5 ** (1 / 3) / (1 + 1.5 ** (1 / 3)), (4 / 9) ** (1 / 3) / (1 + (4 / 9) ** (1 / 3))]]),
        ("mean", [[1.6 / 3, 1.4 / 3]]),
        ("max", [[0.9, 0.8]]),
        ("median_logit", [[0.6, 0.5]]),
    ],
)
def test_values_computed_by_hand(how, expected):
    names, albums = aggregate(TRACKS, ALBUMS, how)
    assert names == ["b", "a"]
    assert albums.dtype == np.float32
    np.testing.assert_allclose(albums, [*expected, [0.2, 0.5]], rtol=1e-6)


def test_median_of_two_is_the_mean_of_their_logits():
    _, albums = aggregate(np.array([[0.2], [0.5]]), ["a", "a"], "median_logit")
    np.testing.assert_allclose(albums, [[1 / 3]], rtol=1e-6)  # odds 1/4 and 1: their geometric mean is 1/2


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_equal_tracks_keep_their_probability_even_0_and_1(how):
    _, albums = aggregate(np.array([[0.0, 1.0, 0.3]] * 3), ["a"] * 3, how)
    np.testing.assert_allclose(albums, [[0, 1, 0.3]], atol=2e-7)


def test_one_certain_track_does_not_dominate():
    _, albums = aggregate(np.array([[1.0], [0.01], [0.01], [0.01], [0.01], [0.01]]), ["a"] * 6)
    assert albums[0, 0] < 0.5


def test_invalid_arguments():
    with pytest.raises(ValueError, match="expected one of mean_logit, mean, max, median_logit"):
        aggregate(TRACKS, ALBUMS, "sum")
    with pytest.raises(ValueError, match=r"\(4, 2\); expected 3 rows"):
        aggregate(TRACKS, ALBUMS[:3])
    with pytest.raises(ValueError, match="no tracks"):
        aggregate(np.zeros((0, 2)), [])

import numpy as np
import pytest

from eno.models.bags import Bags


@pytest.fixture
def bags():
    return Bags(np.arange(12, dtype=np.float32).reshape(6, 2), np.array([2, 1, 3]))


def test_means_per_track(bags):
    np.testing.assert_array_equal(bags.means(), [[1, 2], [4, 5], [8, 9]])


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([1, 1, 2]), slice(1, 3), np.array([], np.int64)])
def test_indexing_returns_the_windows_of_the_tracks(bags, rows):
    tracks = [[[0, 1], [2, 3]], [[4, 5]], [[6, 7], [8, 9], [10, 11]]]
    expected = [tracks[i] for i in np.arange(3)[rows]]
    chosen = bags[rows]
    assert len(chosen) == len(expected)
    assert chosen.windows.tolist() == [window for track in expected for window in track]
    assert chosen.counts.tolist() == [len(track) for track in expected]


def test_padding_is_masked(bags):
    values, real = bags.padded()
    assert values.shape == (3, 3, 2)
    np.testing.assert_array_equal(values[real], bags.windows)
    assert real.sum(axis=1).tolist() == [2, 1, 3]


@pytest.mark.parametrize(
    ("windows", "counts"), [(np.zeros((3, 2)), [1, 1]), (np.zeros((3, 2)), [3, 0]), (np.zeros(3), [3])]
)
def test_counts_must_match_the_windows(windows, counts):
    with pytest.raises(ValueError, match="windows"):
        Bags(windows, np.array(counts))

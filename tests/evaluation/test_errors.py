from itertools import permutations

import numpy as np
import pytest

from eno.evaluation.errors import ConfusedPair, confused_pairs, error_map, worst_errors

LABELS = ["opera", "rock", "calm", "dark"]


def test_confused_pairs_by_hand():
    truth = np.array([[1, 0, 0, 0]] * 3 + [[0, 0, 1, 0]] * 2 + [[0, 0, 0, 0]] * 3, bool)
    predicted = np.array(
        [[0, 1, 0, 0]] * 2 + [[1, 0, 0, 0]] + [[0, 0, 1, 1]] * 2 + [[0, 1, 0, 0]] + [[0] * 4] * 2, bool
    )
    # Of eight tracks rock is wrong on three, opera missed on two, and both on two; by chance it would be 3 · 2 / 8.
    assert confused_pairs(LABELS, truth, predicted) == [ConfusedPair("rock", "opera", 2, pytest.approx(2 * 8 / 6))]


def test_confused_pairs_equal_explicit_counts():
    random = np.random.default_rng(0)
    truth, predicted = random.random((2, 60, 4)) < 0.4
    expected = {}
    for i, j in permutations(range(4), 2):
        wrong, missed = predicted[:, i] & ~truth[:, i], truth[:, j] & ~predicted[:, j]
        both, chance = (wrong & missed).sum(), wrong.sum() * missed.sum() / 60
        if both >= 2 and both > chance:
            expected[LABELS[i], LABELS[j]] = (both, pytest.approx(both / chance), both - chance)
    found = confused_pairs(LABELS, truth, predicted)
    assert {(one.predicted, one.missed): (one.tracks, one.lift) for one in found} == {
        pair: values[:2] for pair, values in expected.items()
    }
    excess = [expected[one.predicted, one.missed][2] for one in found]
    assert excess == sorted(excess, reverse=True)
    assert confused_pairs(LABELS, truth, predicted, top=1) == found[:1]


def test_error_map():
    random = np.random.default_rng(0)
    truth = random.random((50, 4)) < 0.4
    predicted = truth ^ (random.random((50, 4)) < [0.3, 0.2, 0, 0.5])
    predicted[:, 1] = truth[:, 1] ^ (predicted != truth)[:, 0]  # errors of rock coincide with those of opera
    found = error_map(LABELS, truth, predicted)
    assert set(found.labels) == {"opera", "rock", "dark"}
    errors = dict(zip(LABELS, (predicted != truth).T, strict=True))
    for i, one in enumerate(found.labels):
        assert np.isnan(found.lift[i, i])
        for j, other in enumerate(found.labels):
            if i != j:
                both = (errors[one] & errors[other]).mean()
                assert found.lift[i, j] == pytest.approx(both / errors[one].mean() / errors[other].mean())
    assert abs(found.labels.index("opera") - found.labels.index("rock")) == 1
    assert len(error_map(LABELS, truth, predicted, top=2).labels) == 2
    assert error_map(LABELS, truth, truth).labels == []


def test_worst_errors_are_the_most_confident_of_different_albums():
    truth = np.array([[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
    p = np.array([[0.9, 0.8, 0.1, 0.1], [0.2, 0.95, 0.1, 0.9], [0.1, 0.6, 0.4, 0.1], [0.1, 0.7, 0.1, 0.1]])
    found = worst_errors(
        LABELS, ["t0", "t1", "t2", "t3"], ["a", "a", "b", "c"], truth, p, np.array([0.5, 0.5, 0.45, 0.5])
    )
    # rock: most confident on t1, whose album excludes t0, then on t3; no label has more than two errors.
    assert [(one.kind, one.track_id, one.label) for one in found] == [
        ("wrong", "t1", "rock"),
        ("wrong", "t3", "rock"),
        ("missed", "t1", "opera"),
        ("missed", "t2", "calm"),
    ]
    assert (found[3].probability, found[3].threshold) == (0.4, 0.45)
    assert (found[0].true, found[0].predicted) == (("dark", "opera"), ("rock", "dark"))
    assert len(worst_errors(LABELS, ["x"] * 4, ["a", "a", "b", "c"], truth, p, np.full(4, 0.5), top=1)) == 2

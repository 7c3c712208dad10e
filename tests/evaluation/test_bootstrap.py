import numpy as np
import pytest

from eno.evaluation.bootstrap import HEADLINE, Interval, _draws, _resampled, intervals, paired_difference
from eno.evaluation.metrics import evaluate


def clustered(random, artists, *, labels=12, tracks=4):
    # Tracks of one artist share labels and part of their noise.
    owner = np.repeat(np.arange(artists), tracks)
    prevalence = np.linspace(0.1, 0.4, labels)
    truth = (random.random((artists, labels)) < prevalence)[owner]
    logits = 1.5 * truth + random.normal(size=(artists, labels))[owner] + 0.5 * random.normal(size=truth.shape)
    return truth, (1 / (1 + np.exp(1 - logits))).astype(np.float32), owner


@pytest.fixture
def data():
    return clustered(np.random.default_rng(0), 15)


def test_resamples_equal_copies_of_their_rows(data):
    truth, probabilities, owner = data
    thresholds = np.linspace(0.2, 0.6, truth.shape[1])
    codes, weights = _draws(owner, 20, 1)
    found = _resampled(truth, probabilities, thresholds, codes, weights, HEADLINE)
    assert (weights[:, 0] == 1).all()
    assert (weights.sum(axis=0) == 15).all()
    for column in range(21):
        rows = np.repeat(np.arange(len(truth)), weights[codes, column].astype(int))
        expected = evaluate(truth[rows], probabilities[rows], thresholds=thresholds)
        for name in HEADLINE:
            assert found[name][column] == pytest.approx(getattr(expected, name), abs=1e-6), name


def test_intervals_contain_the_value_and_are_reproducible(data):
    found = intervals(*data[:2], 0.4, data[2], resamples=100, seed=3)
    assert list(found) == list(HEADLINE)
    for name, interval in found.items():
        assert interval.value == pytest.approx(getattr(evaluate(*data[:2], thresholds=0.4), name))
        assert 0 <= interval.low < interval.value < interval.high <= 1
    assert found == intervals(*data[:2], 0.4, data[2], resamples=100, seed=3)
    assert found != intervals(*data[:2], 0.4, data[2], resamples=100, seed=4)
    wide = intervals(*data[:2], 0.4, data[2], resamples=100, seed=3, level=0.99)
    assert all(wide[name].low < one.low and one.high < wide[name].high for name, one in found.items())


def test_resampling_rows_would_be_overconfident():
    truth, probabilities, owner = clustered(np.random.default_rng(0), 40, tracks=10)
    by_artist = intervals(truth, probabilities, 0.4, owner, resamples=200)
    by_row = intervals(truth, probabilities, 0.4, np.arange(len(owner)), resamples=200)
    for name in HEADLINE:
        widths = [one[name].high - one[name].low for one in (by_row, by_artist)]
        assert widths[0] < 0.6 * widths[1], name


def test_coverage_of_intervals():
    random = np.random.default_rng(0)
    samples = [clustered(random, 60) for _ in range(60)]
    expected = {name: np.mean([getattr(evaluate(*one[:2]), name) for one in samples]) for name in HEADLINE}
    found = [intervals(*one[:2], 0.5, one[2], resamples=100) for one in samples]
    for name, value in expected.items():
        share = np.mean([one[name].low <= value <= one[name].high for one in found])
        assert 0.84 <= share <= 1, (name, share)  # nominally 95 %; few artists, and 60 trials


def test_difference_to_itself_is_zero(data):
    truth, probabilities, owner = data
    for one in paired_difference(truth, probabilities, probabilities, owner, resamples=50).values():
        assert one == Interval(0.0, 0.0, 0.0)


def test_paired_difference_is_narrower_than_separate_intervals():
    truth, probabilities, owner = clustered(np.random.default_rng(0), 60)
    worse = np.clip(probabilities + 0.2 * np.random.default_rng(1).normal(size=truth.shape), 0, 1)
    difference = paired_difference(truth, probabilities, worse, owner, resamples=200)["map_macro"]
    alone = [intervals(truth, one, 0.5, owner, resamples=200)["map_macro"] for one in (probabilities, worse)]
    assert difference.value == pytest.approx(alone[0].value - alone[1].value)
    assert difference.low > 0
    assert difference.high - difference.low < alone[0].high - alone[0].low


def test_each_model_has_its_thresholds(data):
    truth, probabilities, owner = data
    found = paired_difference(
        truth,
        probabilities,
        probabilities,
        owner,
        thresholds_a=0.3,
        thresholds_b=0.6,
        metrics=["f1_micro"],
        resamples=9,
    )
    each = [evaluate(truth, probabilities, thresholds=limit).f1_micro for limit in (0.3, 0.6)]
    assert found["f1_micro"].value == pytest.approx(each[0] - each[1])


def test_one_artist_has_no_interval(data):
    found = intervals(*data[:2], 0.5, ["a"] * len(data[0]))["map_macro"]
    assert np.isnan([found.low, found.high]).all()
    assert str(found) == f"{found.value:.3f}"


def test_resamples_without_positives_are_excluded():
    truth, owner = np.array([[1], [0], [0], [0]]), np.arange(4)  # a third of the resamples lack the only positive
    found = intervals(truth, np.array([[0.9], [0.1], [0.2], [0.3]]), 0.5, owner, resamples=50)
    assert found["map_macro"] == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 0}, "resamples = 0"),
        ({"level": 1}, "level = 1"),
        ({"metrics": ["x"]}, "expected some of map_macro"),
        ({"groups": [1, 2]}, "groups has 2 values for 60 rows"),
    ],
)
def test_wrong_options(data, options, message):
    with pytest.raises(ValueError, match=message):
        intervals(*data[:2], 0.5, **{"groups": data[2]} | options)

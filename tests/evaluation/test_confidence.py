import numpy as np
import pytest
from scipy import stats

from eno.evaluation.confidence import FEWEST, HEADLINE, Interval, intervals, paired_difference
from eno.evaluation.metrics import evaluate
from eno.evaluation.weighted_metrics import METRICS


def clustered(random, artists, *, labels=12, tracks=4, models=1):
    # Tracks of one artist share labels and part of their noise; models are equally good.
    owner = np.repeat(np.arange(artists), tracks)
    prevalence = np.linspace(0.1, 0.4, labels)
    truth = (random.random((artists, labels)) < prevalence)[owner]
    logits = [
        1.5 * truth + random.normal(size=(artists, labels))[owner] + 0.5 * random.normal(size=truth.shape)
        for _ in range(models)
    ]
    return truth, *((1 / (1 + np.exp(1 - one))).astype(np.float32) for one in logits), owner


@pytest.fixture
def data():
    return clustered(np.random.default_rng(0), 15)


@pytest.mark.parametrize("tracks", [4, np.r_[40, np.arange(1, 25)]])
def test_intervals_are_those_of_a_jackknife_by_hand(tracks):
    truth, a, b, owner = clustered(np.random.default_rng(0), 25, tracks=tracks, models=2)
    limits = np.linspace(0.2, 0.6, truth.shape[1])
    found = paired_difference(truth, a, b, owner, thresholds_a=limits, metrics=METRICS)
    alone = intervals(truth, a, limits, owner, metrics=METRICS)
    assert list(found) == list(alone) == list(METRICS)
    for name in METRICS:
        scores = []
        for rows in (owner >= 0, *(owner != artist for artist in range(25))):
            first = getattr(evaluate(truth[rows], a[rows], thresholds=limits), name)
            scores.append((first, first - getattr(evaluate(truth[rows], b[rows]), name)))
        for interval, (value, *without) in zip((alone[name], found[name]), np.transpose(scores), strict=True):
            squares = (without - np.mean(without)) ** 2
            df = np.clip(3 * squares.sum() ** 2 / (squares**2).sum() - 3, 1, 24)
            reach = stats.t.ppf(0.975, df) * np.sqrt(24 / 25 * squares.sum())
            assert interval.value == pytest.approx(value, abs=1e-6)
            if interval is found[name]:
                assert [interval.low, interval.high] == pytest.approx([value - reach, value + reach], abs=1e-5), name
            else:
                odds = [end / (1 - end) for end in (interval.low, interval.high)]
                middle, step = np.log(value / (1 - value)), reach / (value * (1 - value))
                assert np.log(odds) == pytest.approx([middle - step, middle + step], abs=1e-4), name


def test_intervals_contain_the_value(data):
    found = intervals(*data[:2], 0.4, data[2])
    assert list(found) == list(HEADLINE)
    assert all(0 < one.low < one.value < one.high < 1 for one in found.values())
    wide = intervals(*data[:2], 0.4, data[2], level=0.99)
    assert all(wide[name].low < one.low and one.high < wide[name].high for name, one in found.items())


def test_tracks_as_units_would_be_overconfident():
    truth, probabilities, owner = clustered(np.random.default_rng(0), 40, tracks=10)
    by_artist = intervals(truth, probabilities, 0.4, owner)
    by_row = intervals(truth, probabilities, 0.4, np.arange(len(owner)))
    for name in HEADLINE:
        widths = [one[name].high - one[name].low for one in (by_row, by_artist)]
        assert widths[0] < 0.6 * widths[1], name


@pytest.mark.parametrize("largest", [4, 60])
def test_equal_models_are_rarely_called_different(largest):
    # Nominally in 5 % of cases; scripts/bench/intervals.py compares with the bootstrap.
    random, trials = np.random.default_rng(0), 150
    tracks = np.r_[largest, np.full(15, 4)]
    found = [paired_difference(*clustered(random, 16, tracks=tracks, models=2), metrics=METRICS) for _ in range(trials)]
    for name in METRICS:
        wrong = np.sum([one[name].low > 0 or one[name].high < 0 for one in found])
        assert wrong <= stats.binom.ppf(0.995, trials, 0.05), name
    assert np.mean([one[name].low > 0 or one[name].high < 0 for one in found for name in METRICS]) > 0.005


def test_coverage_of_scores():
    random = np.random.default_rng(0)
    samples = [clustered(random, 20) for _ in range(100)]
    expected = {name: np.mean([getattr(evaluate(*one[:2]), name) for one in samples]) for name in HEADLINE}
    found = [intervals(*one[:2], 0.5, one[2]) for one in samples]
    for name, value in expected.items():
        share = np.mean([one[name].low <= value <= one[name].high for one in found])
        assert 0.89 <= share <= 1, (name, share)


def test_difference_to_itself_is_zero_and_has_no_interval(data):
    truth, probabilities, owner = data
    for one in paired_difference(truth, probabilities, probabilities, owner).values():
        assert str(one) == "0.000"


def test_paired_difference_is_narrower_than_separate_intervals():
    truth, probabilities, owner = clustered(np.random.default_rng(0), 60)
    worse = np.clip(probabilities + 0.2 * np.random.default_rng(1).normal(size=truth.shape), 0, 1)
    difference = paired_difference(truth, probabilities, worse, owner)["map_macro"]
    alone = [intervals(truth, one, 0.5, owner)["map_macro"] for one in (probabilities, worse)]
    assert difference.value == pytest.approx(alone[0].value - alone[1].value)
    assert difference.low > 0
    assert difference.high - difference.low < alone[0].high - alone[0].low


def test_sets_of_many_artists_give_the_same_intervals():
    truth, probabilities, owner = clustered(np.random.default_rng(0), 800, tracks=2)
    one, each = (intervals(truth, probabilities, 0.4, groups) for groups in (owner, owner + 1000))
    assert one == each
    few = [intervals(*clustered(np.random.default_rng(seed), 200, tracks=2)[:2], 0.4, owner[:400]) for seed in range(4)]
    for name in HEADLINE:
        width = np.mean([found[name].high - found[name].low for found in few])  # of a fourth of the artists
        assert one[name].high - one[name].low == pytest.approx(width / 2, rel=0.2), name


@pytest.mark.parametrize("artists", range(1, FEWEST))
def test_few_artists_have_no_interval(data, artists):
    found = intervals(*data[:2], 0.5, data[2] % artists)["map_macro"]
    assert np.isnan([found.low, found.high]).all()
    assert str(found) == f"{found.value:.3f}"
    assert np.isfinite(intervals(*data[:2], 0.5, data[2] % FEWEST)["map_macro"].low)


def test_a_label_of_one_artist_is_left_out_with_that_artist(data):
    truth, probabilities, owner = data
    truth[:, 0] = owner == 3
    assert np.isfinite(intervals(truth, probabilities, 0.5, owner)["map_macro"].low)


@pytest.mark.parametrize("scores", [[0.9, 0.1, 0.2, 0.3], [0.2, 0.3, 0.1, 0.1]])
def test_no_interval_if_all_positives_are_by_one_artist(scores):
    found = intervals(np.array([[1], [0], [0], [0]]), np.array(scores)[:, np.newaxis], 0.5, np.arange(4))
    assert np.isnan([found["map_macro"].low, found["map_macro"].high]).all()


def test_a_perfect_score_has_no_interval(data):
    found = intervals(data[0], data[0].astype(np.float32), 0.5, data[2])["map_macro"]
    assert str(found) == str(Interval(1.0, np.nan, np.nan)) == "1.000"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1}, "level = 1"),
        ({"metrics": ["x"]}, "expected some of map_macro"),
        ({"groups": [1, 2]}, "groups has 2 values for 60 rows"),
    ],
)
def test_wrong_options(data, options, message):
    with pytest.raises(ValueError, match=message):
        intervals(*data[:2], 0.5, **{"groups": data[2]} | options)

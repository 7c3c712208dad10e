import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from eno.data.labels.encoder import LabelEncoder
from eno.errors import ModelError
from eno.models.bags import Bags
from eno.models.taught.fitting import fit_tag
from eno.models.taught.tags import Examples, TaughtTag, TaughtTags

DIM = 20


@pytest.fixture(scope="module")
def collection():
    """Vectors of a collection in which one track in ten has the tag, and which have it."""
    rng = np.random.default_rng(0)
    has = rng.random(1000) < 0.1
    X = rng.standard_normal((1000, DIM)) + has[:, None] * rng.standard_normal(DIM)
    return (X * rng.uniform(0.1, 10, DIM) + 5).astype(np.float32), has


def some(X, rows, prefix="track"):
    return Examples(tuple(f"{prefix} {row}" for row in rows), X[rows], tuple(f"artist {row // 2}" for row in rows))


def score(fitted, X):
    return X @ fitted.coefficients + fitted.intercept


class TestFitting:
    def test_coefficients_are_proportional_to_those_of_logistic_regression(self, collection):
        X, has = collection
        examples, background = X[has][:8], X[np.flatnonzero(~has)]
        fitted = fit_tag(examples, background)
        scaler = StandardScaler().fit(background)
        rows, truth = np.concatenate([examples, background]), np.arange(8 + len(background)) < 8
        penalty = DIM / (2 * (8 + 5))
        model = LogisticRegression(C=1 / (penalty * len(rows)), class_weight="balanced", tol=1e-8)
        expected = model.fit(scaler.transform(rows), truth).coef_[0] / scaler.scale_
        cosine = expected @ fitted.coefficients / np.linalg.norm(expected) / np.linalg.norm(fitted.coefficients)
        assert cosine == pytest.approx(1, abs=1e-4)

    def test_ten_examples_rank_tracks_better_than_their_mean_and_chance(self, collection):
        X, has = collection
        rows = np.flatnonzero(has)[:10]
        rest = np.setdiff1d(np.arange(len(X)), rows)
        found = average_precision_score(has[rest], score(fit_tag(X[rows], X[rest]), X[rest]))
        assert found > max(3 * has.mean(), average_precision_score(has[rest], X[rest] @ X[rows].mean(axis=0)))

    def test_scale_and_offset_of_the_values_do_not_matter(self, collection):
        X, has = collection
        one = fit_tag(X[has][:5], X[~has])
        other = fit_tag(X[has][:5] * 100 - 7, X[~has] * 100 - 7)
        np.testing.assert_allclose(score(one, X), score(other, X * 100 - 7), rtol=1e-3, atol=1e-3)
        assert one.threshold == pytest.approx(other.threshold, abs=1e-3)

    def test_constant_values_and_a_single_example_are_accepted(self, collection):
        X, has = collection
        X = np.concatenate([X, np.full((len(X), 1), 3.0, np.float32)], axis=1)
        fitted = fit_tag(X[has][:1], X[~has])
        assert np.isfinite(score(fitted, X)).all()
        assert fitted.estimate.examples == 0

    def test_whole_groups_are_held_out(self):
        rng = np.random.default_rng(0)
        background = rng.standard_normal((300, 200))
        pairs = np.repeat(2 * rng.standard_normal((10, 200)), 2, axis=0)  # ten artists with nothing in common
        together = fit_tag(pairs, background, groups=np.repeat(np.arange(10), 2)).estimate
        apart = fit_tag(pairs, background).estimate
        assert (together.examples, together.groups) == (20, 10)
        assert together.found < apart.found

    def test_examples_with_nothing_in_common_do_not_turn_the_tag_round(self):
        rng = np.random.default_rng(0)
        background = rng.standard_normal((200, 5))
        example = rng.standard_normal(5)
        fitted = fit_tag(np.stack([3 * example, -2 * example]), background)
        assert score(fitted, 3 * example) > score(fitted, background).mean()

    def test_estimate_counts_what_the_threshold_lets_through(self, collection):
        X, has = collection
        fitted = fit_tag(X[has][:10], X[~has])
        given = score(fitted, X[~has]) > np.log(fitted.threshold / (1 - fitted.threshold))
        assert fitted.estimate.share == pytest.approx(given.mean(), abs=1e-9)

    def test_counter_examples_lower_the_scores_of_similar_tracks(self, collection):
        X, has = collection
        wrong = np.flatnonzero(~has)[:40]
        examples, background = X[has][:8], X[np.flatnonzero(~has)[40:]]
        before = fit_tag(examples, background)
        order = wrong[np.argsort(score(before, X[wrong]))[::-1]]
        after = fit_tag(examples, background, counter_examples=X[order[:3]])
        assert (score(after, X[order[:3]]) < score(before, X[order[:3]])).all()


@pytest.fixture
def taught(collection):
    X, has = collection
    rows = np.flatnonzero(has)
    tags = TaughtTags()
    for name, family, some_rows in (("Zouk", "genre", rows[:6]), ("airy", "descriptor", rows[6:14])):
        tags = tags.with_tag(TaughtTag.fit(name, family, some(X, some_rows), some(X, []), X[~has]))
    return tags


class TestTaughtTags:
    def test_saved_and_loaded(self, taught, collection, tmp_path):
        taught.save(tmp_path / "taught")
        loaded = TaughtTags.load(tmp_path / "taught")
        np.testing.assert_array_equal(loaded.predict_proba(collection[0]), taught.predict_proba(collection[0]))
        assert [tag.fitted.estimate for tag in loaded.tags] == [tag.fitted.estimate for tag in taught.tags]
        assert loaded.tags[0].examples.names == taught.tags[0].examples.names

    def test_damaged_file_is_named(self, taught, tmp_path):
        path = tmp_path / "taught"
        taught.save(path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ModelError, match=r"taught.*damaged"):
            TaughtTags.load(path)

    def test_labels_are_sorted_into_the_vocabulary(self, taught):
        labels = taught.added_to(LabelEncoder(["rock"], ["calm", "sad"]))
        assert labels.all_labels == ["rock", "Zouk", "airy", "calm", "sad"] or labels.genres == ["Zouk", "rock"]
        assert taught.removed_from(labels) == LabelEncoder(["rock"], ["calm", "sad"])

    def test_joined_values_follow_the_vocabulary(self, taught):
        labels = taught.added_to(LabelEncoder(["rock"], ["calm", "sad"]))
        joined = taught.joined(labels, np.array([[1.0, 2, 3]]), np.array([[10.0, 20]]))
        found = dict(zip(labels.all_labels, joined[0], strict=True))
        assert found == {"rock": 1, "calm": 2, "sad": 3, "Zouk": 10, "airy": 20}
        trained, own = taught.separated(labels, joined)
        assert (trained.tolist(), own.tolist()) == ([[1, 2, 3]], [[10, 20]])

    def test_windows_are_averaged(self, taught, collection):
        X = collection[0][:6]
        bags = Bags(X, np.array([2, 4]))
        np.testing.assert_array_equal(taught.predict_proba(bags), taught.predict_proba(bags.means()))

    def test_examples_of_both_are_taken_from_the_new_ones(self, collection):
        X, _ = collection
        both = some(X, [1, 2]).joined(some(X + 1, [2, 3]))
        assert both.names == ("track 1", "track 2", "track 3")
        np.testing.assert_array_equal(both.vectors, np.stack([X[1], X[2] + 1, X[3] + 1]))

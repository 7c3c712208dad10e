"""Blends: weights of heads of known quality, members against heads fitted alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, logit

from eno.config import load_settings, option_defaults
from eno.errors import ConfigError, UnknownName
from eno.models import create_head, load_head
from eno.models.average_precision import macro_map
from eno.models.bags import Bags
from eno.models.base import BaseHead
from eno.models.folds import OutOfFold
from eno.models.heads.blend import BlendHead
from eno.models.label_weights import LabelWeights


class Fixed(BaseHead):
    # X contains indices of rows of the logits.

    def __init__(self, logits):
        self.logits = logits

    def predict_proba(self, X):
        return expit(self.logits[X[:, 0].astype(int)]).astype(np.float32)


def fixed_members(n: int = 400, k: int = 3):
    rng = np.random.default_rng(0)
    true = 2 * rng.standard_normal((n, k))
    Y = (rng.random((n, k)) < expit(true)).astype(np.float32)
    noisy = [true + deviation * rng.standard_normal((n, k)) for deviation in (1.0, 1.5)]
    members = [Fixed(logits) for logits in (*noisy, 3 * rng.standard_normal((n, k)))]
    return members, np.arange(n, dtype=np.float32)[:, np.newaxis], Y


class TestWeights:
    def test_a_sample_of_the_rows_is_scored_as_a_copy_of_them(self):
        (good, *_), X, Y = fixed_members()
        every = np.arange(len(Y))
        probabilities, weights = good.predict_proba(X), LabelWeights.of(None, Y.shape)
        found = OutOfFold(every, every // 200, probabilities, sparse.csr_array(Y), weights)
        some = found.sample(90, seed=0)
        rows = some.rows
        assert len(rows) == 30
        copied = replace(some, probabilities=probabilities[rows])
        for labels in (None, np.array([0, 2])):
            assert some.fold_maps(labels) == copied.fold_maps(labels)

    def test_better_heads_weigh_more_and_useless_ones_are_left_out(self):
        members, X, Y = fixed_members()
        alone = [macro_map(Y, one.predict_proba(X)) for one in members]
        blend = BlendHead.of(members).fit_weights(X, Y)
        assert blend.members == members[:2]
        assert (blend.weights[0] > blend.weights[1]).all()
        np.testing.assert_allclose(blend.weights.sum(axis=0), 1, atol=1e-6)
        assert macro_map(Y, blend.predict_proba(X)) > max(alone)

    def test_are_equal_before_fitting_and_without_positives(self):
        members, X, Y = fixed_members()
        blend = BlendHead.of(members)
        logits = np.mean([one.logits for one in members], axis=0)
        np.testing.assert_allclose(blend.predict_proba(X), expit(logits), atol=1e-5)
        assert blend.fit_weights(X, Y * 0).weights.ravel().tolist() == [np.float32(1 / 3)] * 3

    def test_the_blend_is_never_worse_than_its_best_member(self):
        # Two heads with errors in common: their mean has a lower mAP than the better one alone.
        rng = np.random.default_rng(1)
        true, Y = fixed_members()[0][0].logits, fixed_members()[2]
        better = Fixed(true)
        worse = Fixed(0.5 * true + 20 * (rng.random(true.shape) < 0.25))
        blend = BlendHead.of([better, worse]).fit_weights(np.arange(len(Y), dtype=np.float32)[:, np.newaxis], Y)
        X = np.arange(len(Y), dtype=np.float32)[:, np.newaxis]
        assert macro_map(Y, blend.predict_proba(X)) >= macro_map(Y, better.predict_proba(X)) - 1e-12

    def test_labels_of_different_frequency_can_have_different_weights(self):
        rng = np.random.default_rng(2)
        rates = np.repeat([0.5, 0.2, 0.05], 8)
        logits = 2 * rng.standard_normal((2000, 24)) + logit(rates)
        Y = (rng.random(logits.shape) < expit(logits)).astype(np.float32)
        noise = 4 * rng.standard_normal((2, *logits.shape))
        common, rare = (
            Fixed(logits + noise[number] * where) for number, where in enumerate((rates < 0.1, rates > 0.1))
        )
        X = np.arange(2000, dtype=np.float32)[:, np.newaxis]
        blend = BlendHead.of([common, rare]).fit_weights(X, Y)
        assert (blend.weights[0, rates == 0.5] > 0.5).all()
        assert (blend.weights[1, rates == 0.05] > 0.5).all()


def rows(seed: int, n: int = 300):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)).astype(np.float32)
    return X, (X[:, :3] + rng.standard_normal((n, 3)) > 0.5).astype(np.float32)


def test_members_equal_heads_fitted_alone():
    (X, Y), (X_val, Y_val) = rows(0), rows(1)
    options = {"linear": {"l2": (0.1,)}, "knn": {"k": (3, 9)}}
    blend = BlendHead(heads=("linear", "knn"), options=options, seed=3, device="cpu").fit(X, Y, X_val, Y_val)
    alone = [create_head(name, **options[name], seed=3, device="cpu").fit(X, Y, X_val, Y_val) for name in options]
    known = {head.name: head for head in alone}
    for member in blend.members:
        np.testing.assert_array_equal(member.predict_proba(X), known[member.name].predict_proba(X))
    again = BlendHead.of(alone).fit_weights(X_val, Y_val)
    np.testing.assert_array_equal(blend.predict_proba(X), again.predict_proba(X))
    assert again.heads == ("linear", "knn")


def test_members_share_the_folds():
    X, Y = rows(0)
    groups = np.arange(len(X)) // 5
    blend = BlendHead(heads=("knn", "forest"), options={"forest": {"trees": 20}}).fit(X, Y, groups=groups)
    alone = [create_head("knn"), create_head("forest", trees=20)]
    found = [head.fit(X, Y, groups=groups).out_of_fold for head in alone]
    np.testing.assert_array_equal(found[0].fold_of, blend.out_of_fold.fold_of)
    assert blend.scores["knn"] == found[0].macro_map()
    assert blend.scores["forest"] == found[1].macro_map()
    assert blend.out_of_fold.macro_map() == pytest.approx(blend.scores["blend"])


def test_only_members_that_take_windows_get_them():
    X, Y = rows(0, 60)
    spread = np.random.default_rng(0).standard_normal((60, 1, 6)).astype(np.float32)
    bags = Bags(
        np.concatenate([X[:, np.newaxis] + spread, X[:, np.newaxis] - spread], axis=1).reshape(120, 6), np.full(60, 2)
    )
    options = {"mlp": {"pooling": "max", "max_epochs": 2, "hidden": (4,)}}
    blend = BlendHead(heads=("linear", "mlp"), options=options, device="cpu")
    assert blend.takes_windows
    assert not BlendHead(heads=("linear", "knn")).takes_windows
    blend.fit(bags, Y)
    alone = create_head("linear", device="cpu").fit(X, Y)
    assert blend.members[0].name == "linear"
    np.testing.assert_allclose(blend.members[0].predict_proba(X), alone.predict_proba(X), atol=1e-3)


def test_saved_and_loaded(tmp_path):
    X, Y = rows(0)
    blend = BlendHead(heads=("linear", "mlp"), options={"mlp": {"max_epochs": 40}}, device="cpu").fit(X, Y)
    blend.save(tmp_path)
    loaded = load_head(tmp_path, device="cpu")
    np.testing.assert_array_equal(loaded.weights, blend.weights)
    np.testing.assert_allclose(loaded.predict_proba(X), blend.predict_proba(X), atol=1e-6)
    assert loaded.scores == blend.scores
    assert [one.name for one in loaded.members] == [one.name for one in blend.members]


def test_blend_of_fitted_heads_is_saved_as_it_is(tmp_path):
    X, Y = rows(0)
    blend = BlendHead.of([create_head(name).fit(X, Y) for name in ("linear", "knn")])
    blend.set_params(heads=("mlp",), options={"mlp": {"max_epochs": 1}}).save(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).predict_proba(X), blend.predict_proba(X))


def test_progress_covers_all_members():
    seen = []
    blend = BlendHead(heads=("linear", "mlp"), options={"mlp": {"max_epochs": 3}}, device="cpu")
    blend.on_progress = lambda done, total: seen.append(done / total)
    blend.fit(*rows(0, 50))
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"heads": ()}, ValueError, "expected names of different heads"),
        ({"heads": ("knn", "knn")}, ValueError, "different heads"),
        ({"heads": ("knn", "blend")}, ValueError, "without 'blend'"),
        ({"heads": ("knn",), "options": {"mlp": {}}}, ValueError, "'mlp', which is not among the heads knn"),
        ({"heads": ("knnn",)}, UnknownName, "Did you mean 'knn'"),
        ({"heads": ("knn",), "options": {"knn": {"colour": 1}}}, ConfigError, "no option 'colour'"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        BlendHead(**options).fit(*rows(0, 20))


def test_blend_without_heads_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        BlendHead.of([])


def test_options_of_members_come_from_their_sections(tmp_path):
    file = tmp_path / "eno.toml"
    file.write_text("[blend]\nheads = ['knn', 'linear']\nseed = 5\n[knn]\nk = [3]\n[mlp]\ndropout = 0.1\n")
    options = load_settings(file).options_of("blend")
    assert options == {"heads": ("knn", "linear"), "seed": 5, "options": {"knn": {"k": (3,)}, "linear": {}}}
    create_head("blend", **options).fit(*rows(0, 40))
    assert option_defaults("blend")["heads"] == BlendHead().heads

"""The zero-shot head against known parameters, and against scikit-learn."""

import json

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from eno.errors import ModelError
from eno.models import create_head, load_head
from eno.models.heads.zero_shot import ZeroShotHead


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture
def space():
    # Five tags, and 4,000 tracks whose labels are drawn with a known slope and offsets.
    random = np.random.default_rng(0)
    prompts, neutral = unit(random.standard_normal((5, 32))), unit(random.standard_normal(32))
    X = unit(random.standard_normal((4000, 32)) + 2 * prompts[random.integers(0, 5, 4000)])
    logits = 20 * (X @ (prompts - neutral).T)
    slope, offsets = 0.4, np.array([-3.0, -2.0, -1.0, 0.0, 1.0])
    Y = (random.random(logits.shape) < expit(slope * logits + offsets)).astype(np.float32)
    return ZeroShotHead(prompts=prompts, neutral=neutral, logit_scale=20.0), X.astype(np.float32), Y, slope, offsets


def test_probability_is_a_softmax_over_prompts_with_and_without_the_tag(space):
    head, X, *_ = space
    for k in range(5):
        both = 20 * X @ np.stack([head.prompts[k], head.neutral]).T
        expected = np.exp(both[:, 0]) / np.exp(both).sum(axis=1)
        np.testing.assert_allclose(head.predict_proba(X)[:, k], expected, atol=1e-5)


def test_vectors_are_normalised(space):
    head, X, *_ = space
    np.testing.assert_allclose(head.predict_proba(7 * X), head.predict_proba(X), atol=1e-5)


def test_calibration_recovers_known_parameters(space):
    head, X, Y, slope, offsets = space
    assert not head.calibrated
    head.fit(X, sparse.csr_array(Y))
    assert head.calibrated
    assert head.slopes == pytest.approx(slope, rel=0.05)
    np.testing.assert_allclose(head.offsets, offsets, atol=0.15)
    np.testing.assert_allclose(head.predict_proba(X).mean(axis=0), Y.mean(axis=0), atol=0.01)


def test_calibration_of_one_tag_is_platt_scaling(space):
    head, X, Y, *_ = space
    one = ZeroShotHead(prompts=head.prompts[:1], neutral=head.neutral, logit_scale=20.0)
    logits = one._logits(X)
    expected = LogisticRegression(C=1e6).fit(logits, Y[:, 0])
    one.fit(X, Y[:, :1])
    np.testing.assert_allclose(one.predict_proba(X)[:, 0], expected.predict_proba(logits)[:, 1], atol=0.002)


def test_few_tracks_improve_and_tags_without_positives_stay_finite(space):
    head, X, Y, *_ = space

    def brier(some):
        return float(np.square(some.predict_proba(X[200:]) - Y[200:]).mean())

    before = brier(head)
    few = Y[:12].copy()
    few[:, 0] = 0  # a tag that is on none of them
    head.fit(X[:12], few)
    assert brier(head) < before
    assert -8 < head.offsets[0] < head.offsets[1:].min() + 1
    assert np.isfinite(head.offsets).all()


def test_calibration_keeps_the_ranking_within_a_tag(space):
    head, X, Y, *_ = space
    before = head.predict_proba(X[:100]).argsort(axis=0)
    np.testing.assert_array_equal(head.fit(X[:20], Y[:20]).predict_proba(X[:100]).argsort(axis=0), before)


def test_saved_and_loaded(space, tmp_path):
    head, X, Y, *_ = space
    head.fit(X[:50], Y[:50]).save(tmp_path)
    again = load_head(tmp_path)
    assert isinstance(again, ZeroShotHead)
    assert again.calibrated
    np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
    (tmp_path / "head.json").write_text(json.dumps({"head": "zero_shot"}))
    with pytest.raises(ModelError, match="is damaged"):
        load_head(tmp_path)


def test_invalid_arguments(space):
    head, X, Y, *_ = space
    with pytest.raises(ValueError, match=r"fitted on \(n, 32\)"):
        head.predict_proba(X[:, :30])
    with pytest.raises(ValueError, match="at least 4 labelled rows"):
        head.fit(X[:3], Y[:3])
    with pytest.raises(ValueError, match="Y has 4 labels; expected 5, one per prompt"):
        head.fit(X[:10], Y[:10, :4])
    with pytest.raises(Exception, match="Head 'zero_shot' needs the option 'prompts'"):
        create_head("zero_shot")

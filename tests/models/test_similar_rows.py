"""Groups of similar rows in place of artists that are not known."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from eno.models.heads.linear import LinearHead
from eno.models.training_data import TrainingData, similar_rows


def by_artists(artists, tracks, dim=32, seed=0):
    """Return tracks that scatter around their artist's sound, and labels of artists that depend on it faintly."""
    random = np.random.default_rng(seed)
    sounds = random.standard_normal((artists, dim))
    owner = np.repeat(np.arange(artists), tracks)
    X = sounds[owner] + 0.3 * random.standard_normal((len(owner), dim))
    Y = (sounds[:, :1] + 1.5 * random.standard_normal((artists, 4)) > 0)[owner]
    return X.astype(np.float32), Y.astype(np.float32), owner


def test_finds_artists():
    X, _, owner = by_artists(30, 10)
    assert adjusted_rand_score(owner, similar_rows(X, 0)) > 0.95


def test_rows_beyond_the_sample_join_similar_ones(monkeypatch):
    monkeypatch.setattr("eno.models.training_data._CLUSTERED", 300)
    X, _, owner = by_artists(30, 40)
    assert adjusted_rand_score(owner, similar_rows(X, 0)) > 0.95


def test_penalty_is_that_for_unknown_artists():
    X, Y, owner = by_artists(40, 10)
    alone = np.arange(len(X))
    hidden, known, random = (LinearHead(device="cpu").fit(X, Y, groups=one).chosen_l2 for one in (None, owner, alone))
    assert random < known / 10
    assert known / 4 < hidden < known * 4


def test_layers_and_offsets_do_not_matter():
    X, _, _ = by_artists(30, 10)
    layers = (X * np.geomspace(1, 100, 32, dtype=np.float32) + 7).reshape(300, 2, 16)
    assert adjusted_rand_score(similar_rows(X, 0), similar_rows(layers, 0)) > 0.99


@pytest.mark.parametrize(
    "X", [np.ones((50, 3)), np.eye(2)[np.arange(50) % 2], np.ones((1, 3))], ids=["same", "two", "one"]
)
def test_every_row_is_a_group_where_rows_are_identical(X):
    assert len(np.unique(similar_rows(X.astype(np.float32), 0))) == len(X)


def test_each_row_is_held_out_once():
    X, Y, _ = by_artists(30, 10)
    folds = TrainingData.of(X, Y, None, None, groups=None, sample_weight=None, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.rows_val for fold in folds])), np.arange(300))
    for fold in folds:
        groups = similar_rows(X, 0)
        assert not set(groups[fold.rows]) & set(groups[fold.rows_val])

"""Familiarity: which tracks are like those of training."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize

from eno.errors import ModelError
from eno.models.bags import Bags
from eno.models.familiarity import Familiarity, is_unfamiliar, of_album


def tracks(artists, each, *, seed, dim=30):
    """Tracks whose artists differ, with correlated dimensions of different scales."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((artists, dim)).repeat(each, axis=0)
    rotation = np.linalg.qr(np.random.default_rng(99).standard_normal((dim, dim)))[0]
    found = (middles + rng.standard_normal(middles.shape)) * np.geomspace(1, 0.1, dim) @ rotation + 5
    return found.astype(np.float32), np.arange(artists).repeat(each)


X, GROUPS = tracks(100, 5, seed=0)


@pytest.fixture(scope="module")
def fitted():
    return Familiarity.fit(X, GROUPS)


def independent(known, X):
    """Return distances computed with scikit-learn."""
    scaled = [StandardScaler(with_mean=False).fit(known).transform(rows) for rows in (known, X)]
    distances = [
        NearestNeighbors(n_neighbors=5).fit(some).kneighbors(others)[0].mean(axis=1)
        for some, others in (scaled, map(normalize, scaled))
    ]
    return np.sqrt(np.prod(distances, axis=0))


def test_values_are_those_of_scikit_learn(fitted):
    held_out = np.empty(len(X))
    for known, others in GroupKFold(10).split(X, groups=GROUPS):
        held_out[others] = independent(X[known], X[others])
    new, _ = tracks(30, 1, seed=1)
    expected = (1 + (held_out >= independent(X, new)[:, None]).sum(axis=1)) / (len(X) + 1)
    np.testing.assert_allclose(fitted.of(new), expected, atol=0.02)  # half precision


def test_tracks_of_new_artists_are_familiar_and_others_are_not(fitted):
    new, _ = tracks(400, 1, seed=2)
    values = fitted.of(new)
    assert np.mean([is_unfamiliar(value) for value in values]) < 0.08
    assert 0.4 < values.mean() < 0.6
    others, _ = tracks(100, 1, seed=3)
    others += 2 * X.std(axis=0)
    assert np.mean([is_unfamiliar(value) for value in fitted.of(others)]) > 0.9


def test_a_training_track_is_familiar(fitted):
    values = fitted.of(X)
    assert values.min() > 0.2
    assert values.mean() > 0.9


def test_values_do_not_depend_on_the_scales_of_dimensions(fitted):
    scales = 10.0 ** np.random.default_rng(0).uniform(-2, 2, X.shape[1]).astype(np.float32)
    new, _ = tracks(50, 1, seed=4)
    other = Familiarity.fit(X * scales, GROUPS)
    np.testing.assert_allclose(other.of(new * scales), fitted.of(new), atol=0.02)


def test_a_mean_far_from_zero_costs_no_precision():
    new, _ = tracks(50, 1, seed=11)
    far = 500 * X.std(axis=0)  # there, directions hardly differ
    some, rows = (np.asarray(one + far, np.float64) for one in (X, new))
    held_out = np.empty(len(X))
    for known, others in GroupKFold(10).split(X, groups=GROUPS):
        held_out[others] = independent(some[known], some[others])
    expected = (1 + (held_out >= independent(some, rows)[:, None]).sum(axis=1)) / (len(X) + 1)
    np.testing.assert_allclose(Familiarity.fit(some, GROUPS).of(rows), expected, atol=0.02)


def test_silence_has_no_direction(fitted):
    distances = fitted._distances(np.concatenate([np.zeros((1, 30)), X[:1]]))
    assert distances[0] > distances[1] > 0


def test_layers_and_windows(fitted):
    new, _ = tracks(20, 1, seed=5)
    layered = Familiarity.fit(X.reshape(-1, 3, 10), GROUPS)
    np.testing.assert_allclose(layered.of(new.reshape(-1, 3, 10)), fitted.of(new), atol=0.01)
    bags = Bags(new.repeat(2, axis=0) + np.tile([[0.5], [-0.5]], (20, 1)).astype(np.float32), np.full(20, 2))
    np.testing.assert_allclose(fitted.of(bags), fitted.of(new), atol=0.01)


def test_constant_dimensions_are_ignored(fitted):
    def padded(rows):
        return np.column_stack([rows, np.full(len(rows), 0.1), np.zeros(len(rows))]).astype(np.float16)

    new, _ = tracks(20, 1, seed=6)
    wider = Familiarity.fit(padded(X), GROUPS)
    np.testing.assert_allclose(wider.of(padded(new)), fitted.of(new), atol=0.03)
    constant = Familiarity.fit(np.ones((60, 4)), np.arange(60))
    np.testing.assert_array_equal(constant.of(np.ones((3, 4))), 1)


def test_copies_in_training_do_not_count_as_near_each_other():
    copied = Familiarity.fit(np.concatenate([X, X]), np.concatenate([GROUPS, GROUPS]))
    new, _ = tracks(200, 1, seed=7)
    assert np.mean([is_unfamiliar(value) for value in copied.of(new)]) < 0.08


@pytest.mark.parametrize("groups", [np.zeros(len(X)), np.arange(len(X)), np.arange(len(X)) == 0], ids=["1", "n", "1+n"])
def test_any_number_of_artists(groups):
    new, _ = tracks(50, 1, seed=8)
    values = Familiarity.fit(X, groups).of(new)
    assert ((values > 0) & (values <= 1)).all()


def test_few_tracks_are_not_enough():
    assert Familiarity.fit(X[:19], GROUPS[:19]) is None
    assert is_unfamiliar(Familiarity.fit(X[:20], GROUPS[:20]).of(1000 * X[:1])[0])


def test_a_sample_is_enough(monkeypatch):
    monkeypatch.setattr("eno.models.familiarity._MOST_TRACKS", 250)
    sample = Familiarity.fit(X, GROUPS)
    assert len(sample.tracks) == len(sample.distances) == 250
    new, _ = tracks(200, 1, seed=9)
    assert np.mean([is_unfamiliar(value) for value in sample.of(new)]) < 0.12


def test_save_and_load(fitted, tmp_path):
    path = tmp_path / "familiarity.safetensors"
    fitted.save(path)
    new, _ = tracks(20, 1, seed=10)
    np.testing.assert_array_equal(Familiarity.load(path).of(new), fitted.of(new))
    arrays = load_file(path)
    save_file(arrays, path, metadata={"format": "3"})
    with pytest.raises(ModelError, match="newer version"):
        Familiarity.load(path)
    for name in ("origin", "tracks"):
        save_file({one: array for one, array in arrays.items() if one != name}, path, metadata={"format": "2"})
        with pytest.raises(ModelError, match="damaged"):
            Familiarity.load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="damaged"):
        Familiarity.load(path)


def test_files_of_version_0_2_measure_directions_from_the_mean(fitted, tmp_path):
    path = tmp_path / "familiarity.safetensors"
    fitted.save(path)
    arrays = load_file(path)
    del arrays["origin"]
    save_file(arrays, path, metadata={"format": "1"})
    new, _ = tracks(20, 1, seed=10)
    scaler = StandardScaler().fit(X)
    known, rows = scaler.transform(X), scaler.transform(new)
    distances = [
        NearestNeighbors(n_neighbors=5).fit(some).kneighbors(others)[0].mean(axis=1)
        for some, others in ((known, rows), (normalize(known), normalize(rows)))
    ]
    np.testing.assert_allclose(Familiarity.load(path)._distances(new), np.sqrt(np.prod(distances, axis=0)), rtol=2e-3)


def test_other_vectors_are_refused(fitted):
    with pytest.raises(ValueError, match=r"learned from \(n, 30\)"):
        fitted.of(X[:, :29])
    with pytest.raises(ValueError, match="NaN or infinite"):
        fitted.of(np.full((1, 30), np.nan))
    assert fitted.of(X[:0]).shape == (0,)


def test_an_album_is_as_familiar_as_its_median_track():
    assert of_album([0.5, 0.01, 0.0]) == 0.01
    assert of_album([None, 0.3]) == 0.3
    assert of_album([None]) is None and not is_unfamiliar(None)

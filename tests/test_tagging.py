"""Vectors of a store → probabilities, whichever vectors the head takes."""

import json
import shutil

import numpy as np
import pytest

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import FingerprintMismatch, StoreError
from eno.inference.predictor_folder import PredictorParts
from eno.models import IdentityHead, LinearHead, MLPHead
from eno.models.bags import Bags
from eno.models.calibration.calibrate import Calibration
from eno.tagging import vectors_for
from tests.fakes import ProjectionEncoder

LABELS = LabelEncoder(["jazz", "rock"], ["calm"])
IDS = ["d.mp3", "a.mp3", "c.mp3"]
WINDOWS = MLPHead(pooling="max", hidden=(), max_epochs=1, device="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    spec = ProjectionEncoder().spec
    store = EmbeddingStore.create(tmp_path_factory.mktemp("s") / "store", spec, policy=WindowPolicy(), dtype="float32")
    rng = np.random.default_rng(0)
    for tracks in (["d.mp3"] * 3 + ["b.mp3"] * 2, ["c.mp3", "a.mp3", "a.mp3"]):  # two parts
        starts = rng.permutation(len(tracks)).astype(float)
        store.append(tracks, starts, rng.random((len(tracks), len(spec.layers), spec.dim), np.float32))
    return store


def parts(store, head):
    rng = np.random.default_rng(1)
    X, Y = rng.random((40, store.spec.dim), np.float32), (rng.random((40, 3)) < 0.5).astype(np.float32)
    if head.takes_windows:
        head.fit(Bags(X, np.full(20, 2)), Y[:20])
    else:
        head.fit(X, Y)
    return PredictorParts(specs=(store.spec,), labels=LABELS, head=head, policies=(store.policy,))


def test_vectors_in_the_form_that_the_head_takes(store):
    names, starts, windows = store.windows()
    bags = vectors_for(WINDOWS, store, IDS)
    assert bags.counts.tolist() == [3, 2, 1]
    expected = [windows[names == name][np.argsort(starts[names == name])] for name in IDS]
    np.testing.assert_array_equal(bags.windows, np.concatenate(expected)[:, 0])
    means = vectors_for(LinearHead(), store, IDS)
    np.testing.assert_allclose(means[:], bags.means(), atol=1e-6)
    assert len(vectors_for(WINDOWS, store, [])) == 0


@pytest.mark.parametrize("head", [LinearHead(device="cpu"), WINDOWS], ids=["means", "windows"])
def test_probabilities_of_tracks_are_those_of_their_vectors(store, head):
    predictor = parts(store, head)
    expected = predictor.predict_vectors(vectors_for(head, store, IDS))
    np.testing.assert_allclose(predictor.predict_tracks(store, IDS), expected, atol=1e-6)
    names, _, windows = store.windows()
    of_windows = predictor.predict_windows([[windows[names == name]] for name in IDS])
    np.testing.assert_allclose(of_windows, expected, atol=1e-6)
    with pytest.raises(StoreError, match=r"1 tracks are not in this store, for example z\.mp3"):
        predictor.predict_tracks(store, ["a.mp3", "z.mp3"])


def test_vectors_of_another_encoder_are_refused(store, tmp_path):
    predictor = parts(store, LinearHead(device="cpu"))
    spec = type(store.spec).from_dict(store.spec.to_dict() | {"revision": "other"})
    other = EmbeddingStore.create(tmp_path / "other", spec, policy=WindowPolicy())
    with pytest.raises(FingerprintMismatch):
        predictor.predict_tracks(other, [])


def test_predictors_saved_without_a_head_have_vectors_that_are_probabilities(store, tmp_path):
    PredictorParts(specs=(store.spec,), labels=LABELS, head=IdentityHead(), policies=(store.policy,)).save(tmp_path)
    assert isinstance(PredictorParts.load(tmp_path).head, IdentityHead)
    shutil.rmtree(tmp_path / "head")
    description = json.loads((tmp_path / "predictor.json").read_text())
    (tmp_path / "predictor.json").write_text(json.dumps(description | {"head": False}))
    assert isinstance(PredictorParts.load(tmp_path).head, IdentityHead)


def test_predictions_of_tracks_and_albums_agree_with_the_hierarchy(store, tmp_path):
    rng = np.random.default_rng(5)
    labels = LabelEncoder(["jazz", "free jazz", "bebop"], ["calm"], implied={"bebop": ["jazz"], "free jazz": ["jazz"]})
    places = {name: place for place, name in enumerate(labels.all_labels)}
    limits = np.array([0.2, 0.4, 0.7, 0.5])
    calibration = Calibration(np.ones(4), np.zeros(4), limits, np.zeros(4, bool), "platt", "scut")
    PredictorParts(
        specs=(store.spec,), labels=labels, head=IdentityHead(), policies=(store.policy,), calibration=calibration,
        album_calibration=calibration,
    ).save(tmp_path)  # fmt: skip
    predictor = PredictorParts.load(tmp_path)
    probabilities = predictor.calibrated(rng.random((30, 4)).astype(np.float32))
    _, of_albums = predictor.combine_tracks(probabilities, [f"album {row // 3}" for row in range(30)])
    for found, thresholds in ((probabilities, predictor.thresholds), (of_albums, predictor.album_thresholds)):
        for child in ("bebop", "free jazz"):
            assert (found[:, places["jazz"]] >= found[:, places[child]]).all()
            named = found > thresholds
            assert named[named[:, places[child]], places["jazz"]].all()
    for row in probabilities:
        order = [tag.tag for tag in predictor.name_tags(row)]
        assert order.index("jazz") < min(order.index("bebop"), order.index("free jazz"))

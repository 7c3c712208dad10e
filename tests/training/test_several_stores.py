"""Heads on the joined vectors of several stores."""

import numpy as np
import pytest

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import JoinedStores
from eno.errors import ConfigError, FingerprintMismatch
from eno.training.collection import Collection
from eno.training.evaluate import evaluate_predictor
from eno.training.heads import train_head
from eno.training.record import HeadPlan, TrainingRecord, changes, stores_for
from tests.fakes import ProjectionEncoder

LAYERED = ProjectionEncoder(dim=2, layers=3, seed=8)
PLAN = HeadPlan("linear", {"l2": [0.1, 0.01]})


@pytest.fixture
def joined(collection, tmp_path):
    """The collection, and a store of noise in layers that lacks the last ten test tracks."""
    ids = collection.store.track_ids()
    test = collection.tracks("test").ids
    ids = [track_id for track_id in ids if track_id not in test[-10:]]
    place = tmp_path / LAYERED.spec.label
    store = EmbeddingStore.create(place, LAYERED.spec, policy=WindowPolicy(count=1), dtype="float32")
    store.append(ids, np.zeros(len(ids)), np.random.default_rng(1).standard_normal((len(ids), 3, 2)).astype(np.float32))
    return Collection(JoinedStores([collection.store, store]), collection.splits, collection.labels)


def test_a_head_is_trained_and_evaluated_on_the_tracks_of_all_stores(collection, joined, tmp_path):
    trained = train_head(joined, PLAN, device="cpu")
    trained.save(tmp_path / "model")
    record = TrainingRecord.load(tmp_path / "model")
    assert record.stores == record.store == [str(store.path) for store in joined.store.stores]
    assert trained.parts.specs == (collection.store.spec, LAYERED.spec)
    assert [policy.count for policy in trained.parts.policies] == [2, 1]
    found = evaluate_predictor(tmp_path / "model", joined, device="cpu")
    assert len(joined.tracks("test").ids) == 30
    assert found.tracks.metrics.map_macro > 0.7
    with pytest.raises(FingerprintMismatch, match="Specify one store of each encoder"):
        evaluate_predictor(tmp_path / "model", collection, device="cpu")
    train_head(collection, PLAN, device="cpu").save(tmp_path / "alone")
    lines = list(changes(tmp_path / "alone", tmp_path / "model"))
    assert f"store: {collection.store.path} → {joined.store.path}" in lines


@pytest.mark.parametrize("head", ["mlp", "forest", "kernel", "knn"])
def test_heads_take_joined_vectors(joined, head):
    options = {"mlp": {"max_epochs": 2}, "forest": {"trees": 20}}.get(head, {})
    trained = train_head(joined, HeadPlan(head, options), device="cpu")
    tracks = joined.tracks("test")
    assert tracks.X.shape == (30, sum(np.prod((len(one.layers), one.dim)) for one in joined.store.specs))
    assert trained.parts.predict_vectors(tracks.X).shape == (30, len(joined.labels))


def test_stores_of_the_other_encoders(collection, joined, tmp_path):
    train_head(joined, PLAN, device="cpu").save(tmp_path / "model")
    searched = collection.store
    assert stores_for(tmp_path / "model", searched).places == joined.store.places
    record = tmp_path / "model" / "training.json"
    record.write_text(record.read_text().replace(str(joined.store.stores[1].path), "moved away"))
    with pytest.raises(ConfigError, match=f"needs vectors of {LAYERED.spec.label} as well as those in"):
        stores_for(tmp_path / "model", searched)
    beside = searched.path.parent / LAYERED.spec.label
    beside.symlink_to(joined.store.stores[1].path)
    try:
        assert stores_for(tmp_path / "model", searched).places == [str(searched.path), str(beside)]
    finally:
        beside.unlink()

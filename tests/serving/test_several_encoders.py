"""A service whose predictor needs two encoders, of which the first is that of the searched store."""

import asyncio
from dataclasses import replace
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from eno.audio.windows import WindowPolicy
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import open_stores
from eno.inference.predictor import EnoPredictor
from eno.models import create_head
from eno.serving.service import Service
from eno.serving.snapshot import Sources
from tests.serving.conftest import LABELS, LIMITS, running, save_predictor
from tests.similarity.small_collection import OwnEncoder

TRACK = "Grouper/Ruins/01.wav"


class OtherEncoder(OwnEncoder):
    """Shorter windows, which are more."""

    def __init__(self) -> None:
        super().__init__(seed=5)
        self.projection = self.projection[:1500]
        self.spec = replace(self.spec, name="other", window_samples=1500)


@pytest.fixture(scope="module")
def sources(collection, tmp_path_factory):
    data, store = collection
    root = tmp_path_factory.mktemp("two encoders")
    other = EmbeddingStore.create(root / "other", OtherEncoder().spec, policy=WindowPolicy(count=9), dtype="float32")
    embed_folder(data.audio, OtherEncoder(), other)
    places = (other.path, store.path)
    joined = open_stores(places)
    ids = joined.track_ids()
    truth = np.array([[name.startswith(one) for one in ("SR", "Low", "Grouper")] for name in ids], np.float32)
    head = create_head("knn", k=(3,)).fit(joined.view(ids), truth, joined.view(ids), truth)
    EnoPredictor([OtherEncoder(), OwnEncoder()], head, LABELS, policy=joined.policies).save(root / "model")
    return Sources(
        model=root / "model", store=store.path, joined=places, index=store.path / "index" / "tracks",
        data_root=data.root, map_method="pca",
    )  # fmt: skip


def test_files_and_tracks_are_tagged_with_both_and_searched_with_one(sources, collection, tmp_path):
    encoders = OwnEncoder(), OtherEncoder()
    service = Service(sources, *encoders, feedback=tmp_path / "feedback.jsonl", limits=LIMITS)
    predictor = EnoPredictor.load(sources.model, encoder=encoders)
    audio = collection[0].audio / TRACK
    expected = {tag.tag: pytest.approx(tag.probability, abs=1e-3) for tag in predictor.predict_tags(audio)}
    with running(service) as address, httpx.Client(base_url=address, timeout=30) as ask:
        answer = ask.post("/v1/tag", files={"file": (TRACK, audio.read_bytes())}).json()
        assert answer["encoder"] == " + ".join(spec.label for spec in predictor.specs)
        assert {tag["tag"]: tag["probability"] for tag in answer["files"][0]["tags"]} == expected
        found = ask.post("/v1/similar?k=3&per_artist=0", files={"file": audio.read_bytes()}).json()
        assert found["neighbours"][0]["track_id"] == TRACK
        assert found["neighbours"][0]["score"] == pytest.approx(1, abs=1e-3)
        assert {tag["tag"]: tag["probability"] for tag in found["file"]["tags"]} == expected
        of_track = ask.get(f"/v1/tracks/{quote(TRACK)}").json()
        assert {tag["tag"]: tag["probability"] for tag in of_track["tags"]} == expected


def test_a_predictor_of_one_of_the_encoders_can_replace_it(sources, collection, tmp_path, caplog):
    model = tmp_path / "model"
    EnoPredictor.load(sources.model, encoder=[OwnEncoder(), OtherEncoder()]).save(model)
    changing = replace(sources, model=model)
    service = Service(changing, OwnEncoder(), OtherEncoder(), feedback=tmp_path / "feedback.jsonl", limits=LIMITS)
    save_predictor(collection[1], model)
    assert asyncio.run(service.reload())
    assert service.snapshot.predictor.specs == (OwnEncoder().spec,)
    save_predictor(collection[1], model, encoder=OwnEncoder(seed=9))
    assert not asyncio.run(service.reload())
    assert "Encoders do not match" in caplog.text

"""A predictor on the joined vectors of two encoders, whose windows differ in length, rate and number."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import open_stores
from eno.errors import AudioError, ConfigError, FingerprintMismatch, ModelError
from eno.inference import file_tagger
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.models import MLPHead, create_head
from eno.tagging import vectors_for
from eno.tracking.clearml_serving import Preprocess
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

LABELS = LabelEncoder(["shoegaze"], ["melancholic", "noisy"])


class LongEncoder(ProjectionEncoder):
    """Two layers of windows of three quarters of a second at 16 kHz."""

    def __init__(self) -> None:
        super().__init__(dim=3, layers=2, seed=7)
        self.projection = np.random.default_rng(7).standard_normal((12_000, 6)).astype(np.float32)
        self.spec = replace(self.spec, name="long", sample_rate=16_000, window_samples=12_000, normalized=True)


SHORT, LONG = ProjectionEncoder(), LongEncoder()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collection")
    (folder / "audio").mkdir()
    for seed in range(12):
        soundfile.write(folder / "audio" / f"{seed:02d}.flac", music(1.5 + seed / 4, 22_050, seed=seed), 22_050)
    for encoder, name, policy in ((SHORT, "short", WindowPolicy(count=5)), (LONG, "long", WindowPolicy(hop_s=0.5))):
        store = EmbeddingStore.create(folder / name, encoder.spec, policy=policy, dtype="float32")
        embed_folder(folder / "audio", encoder, store)
    (folder / "audio" / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return folder


@pytest.fixture(scope="module")
def joined(folder):
    return open_stores([folder / "short", folder / "long"])


@pytest.fixture(scope="module")
def predictor(joined):
    head = create_head("linear", l2=(0.1,), device="cpu")
    truth = (np.random.default_rng(0).random((12, 3)) < 0.5).astype(np.float32)
    truth[0], truth[1] = 0, 1
    head.fit(joined.view(joined.track_ids()), truth)
    return EnoPredictor([SHORT, LONG], head, LABELS, policy=joined.policies)


def test_files_are_tagged_as_the_tracks_of_the_stores(predictor, joined, folder):
    ids = joined.track_ids()
    expected = predictor.predict_tracks(joined, ids)
    assert np.ptp(expected, axis=0).min() > 0.01
    paths = [folder / "audio" / name for name in ids]
    np.testing.assert_allclose([predictor.predict_proba(path) for path in paths], expected, atol=1e-4)
    *found, failed = predictor.predict_many([*paths, folder / "audio" / "broken.flac"], batch_windows=20, threads=2)
    np.testing.assert_allclose([one.probabilities for one in found], expected, atol=1e-4)
    assert isinstance(failed.error, AudioError)
    np.testing.assert_allclose(predictor.embed(paths[3]), joined.view([ids[3]])[0], atol=1e-3)
    np.testing.assert_allclose(predictor.predict_album_proba(paths[:2]).shape, (3,))


def test_stores_in_any_order_but_all_of_them(predictor, joined, folder):
    ids = joined.track_ids()
    turned = open_stores([folder / "long", folder / "short"])
    np.testing.assert_array_equal(predictor.predict_tracks(turned, ids), predictor.predict_tracks(joined, ids))
    with pytest.raises(FingerprintMismatch, match="Specify one store of each encoder"):
        predictor.predict_tracks(EmbeddingStore.open(folder / "short"), ids)


def test_a_file_is_opened_once_and_shared_windows_are_decoded_once(predictor, folder, monkeypatch):
    opened, decoded = [], []
    open_audio, sounding = file_tagger.open_audio, file_tagger.sounding_blocks

    def blocks(windows, most):
        decoded.append(windows)
        return sounding(windows, most)

    monkeypatch.setattr(
        file_tagger, "open_audio", lambda path, **options: opened.append(path) or open_audio(path, **options)
    )
    monkeypatch.setattr(file_tagger, "sounding_blocks", blocks)
    path = folder / "audio" / "05.flac"
    predictor.predict_proba(path)
    assert (len(opened), len(decoded)) == (1, 2)
    both = EnoPredictor([SHORT, ProjectionEncoder(seed=3)], predictor.head, predictor.labels)
    read = both._read(path)
    assert (len(opened), len(decoded)) == (2, 3)
    assert read[0] is read[1]


def test_saved_and_loaded(predictor, folder, tmp_path):
    predictor.save(tmp_path / "model")
    content = json.loads((tmp_path / "model" / "predictor.json").read_text())
    assert content["format"] == 2
    assert [one["encoder"]["name"] for one in content["encoders"]] == ["projection", "long"]
    parts = PredictorParts.load(tmp_path / "model", device="cpu")
    assert (parts.specs, parts.policies) == (predictor.specs, predictor.policies)
    loaded = EnoPredictor.load(tmp_path / "model", device="cpu", encoder=[LONG, SHORT])
    path = folder / "audio" / "07.flac"
    np.testing.assert_array_equal(loaded.predict_proba(path), predictor.predict_proba(path))
    with pytest.raises(FingerprintMismatch, match=r"projection-.* \+ long-"):
        EnoPredictor.load(tmp_path / "model", device="cpu", encoder=[SHORT, ProjectionEncoder(seed=3)])
    one = EnoPredictor(SHORT, predictor.head, LABELS, policy=WindowPolicy(count=2))
    one.save(tmp_path / "model")
    content = json.loads((tmp_path / "model" / "predictor.json").read_text())
    assert (content["format"], content["encoder"]["name"]) == (1, "projection")  # which earlier versions read
    (tmp_path / "model" / "predictor.json").write_text(json.dumps(content | {"format": 2, "encoders": []}))
    with pytest.raises(ModelError, match="damaged"):
        PredictorParts.load(tmp_path / "model", device="cpu")


def test_windows_of_several_encoders_are_refused(joined):
    with pytest.raises(ConfigError, match=r"mlp\.pooling = 'none'"):
        vectors_for(MLPHead(pooling="attention"), joined, joined.track_ids())
    with pytest.raises(ValueError, match="1 window policies for 2 encoders"):
        EnoPredictor([SHORT, LONG], MLPHead(), LABELS, policy=[WindowPolicy()])


def test_tags_are_taught_on_the_joined_vectors(predictor, joined, folder, tmp_path):
    predictor.save(tmp_path / "model")
    taught = EnoPredictor.load(tmp_path / "model", device="cpu", encoder=[SHORT, LONG])
    ids = joined.track_ids()
    taught.teach("lo fi", ids[:2], background=joined)
    taught.save(tmp_path / "model")
    again = PredictorParts.load(tmp_path / "model", device="cpu")
    found = again.predict_tracks(joined, ids)
    assert found.shape == (12, 4)
    np.testing.assert_allclose(taught.predict_proba(folder / "audio" / ids[5]), found[5], atol=1e-4)


def test_joined_vectors_are_accepted_by_clearml_serving(predictor, joined):
    preprocess, state = Preprocess(), {}
    preprocess._predictor = predictor
    ids = joined.track_ids()
    vectors = preprocess.preprocess({"embeddings": joined.view(ids)[:3].tolist()}, state)
    probabilities = preprocess.process(vectors, state)
    np.testing.assert_allclose(probabilities, predictor.predict_tracks(joined, ids)[:3], atol=1e-6)
    assert preprocess.postprocess(probabilities, state)["encoder"] == " + ".join(spec.label for spec in predictor.specs)
    with pytest.raises(ValueError, match=r"shape \(tracks, 12\), from projection-\w+ \+ long-"):
        preprocess.preprocess({"embeddings": [[0.0] * 6]}, state)

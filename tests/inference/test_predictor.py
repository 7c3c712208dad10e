import json

import numpy as np
import pytest
import soundfile

from eno.data.audio import read_windows
from eno.data.labels import LabelEncoder
from eno.data.windows import WindowPolicy
from eno.encoders.musicnn import MusiCNN, tag_labels
from eno.errors import AudioError, FingerprintMismatch, ModelError
from eno.inference.predictor import EnoPredictor
from eno.models import create_head
from tests.audio_files import music


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "song.flac"
    soundfile.write(path, music(12, 22_050), 22_050)
    return path


@pytest.fixture(params=["mtt", "msd"])
def predictor(request):
    return EnoPredictor.musicnn(request.param)


class TestMusicnnVocabulary:
    def test_probability_is_the_mean_over_windows(self, predictor, song):
        (name,) = {predictor.encoder.spec.options["checkpoint"]}
        windows = read_windows(song, sample_rate=16_000, window_samples=48_128, policy=WindowPolicy())
        each = MusiCNN(checkpoint=name, output="tags").encode(windows.samples)[:, 0]
        expected = dict(zip(tag_labels(name).all_labels, each.mean(axis=0), strict=True))
        tags = predictor.predict_tags(song)
        assert len(tags) == 50
        for tag in tags:
            assert tag.probability == pytest.approx(expected[tag.tag], abs=1e-6)

    def test_tags_are_sorted_and_agree_with_predict(self, predictor, song):
        tags = predictor.predict_tags(song)
        probabilities = [tag.probability for tag in tags]
        assert probabilities == sorted(probabilities, reverse=True)
        threshold = probabilities[7]
        named = predictor.predict(song, threshold=threshold)
        assert set(named["genres"]) == {tag.tag for tag in tags[:7] if tag.family == "genre"}
        assert set(named["descriptors"]) == {tag.tag for tag in tags[:7] if tag.family == "descriptor"}

    def test_saved_without_head_it_comes_back(self, predictor, song, tmp_path):
        predictor.save(tmp_path / "p")
        loaded = EnoPredictor.load(tmp_path / "p")
        np.testing.assert_array_equal(loaded.predict_proba(song), predictor.predict_proba(song))


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 200)).astype(np.float32)
    head = create_head("mlp", hidden=(8,), max_epochs=3).fit(X, (X[:, :3] > 0).astype(np.float32))
    labels = LabelEncoder(["shoegaze"], ["melancholic", "noisy"])
    return EnoPredictor(MusiCNN(checkpoint="mtt"), head, labels, policy=WindowPolicy(count=3))


class TestOwnHead:
    def test_predicts_from_the_mean_vector(self, trained, song):
        windows = read_windows(song, sample_rate=16_000, window_samples=48_128, policy=WindowPolicy(count=3))
        mean = MusiCNN(checkpoint="mtt").encode(windows.samples)[:, 0].mean(axis=0)
        np.testing.assert_allclose(trained.predict_proba(song), trained.head.predict_proba(mean[None])[0], atol=1e-6)

    def test_default_threshold_is_one_half(self, trained, song):
        probabilities = trained.predict_proba(song)
        named = trained.predict(song)
        assert sum(map(len, named.values())) == (probabilities > 0.5).sum()
        assert trained.predict(str(song), threshold=0) == {
            "genres": ["shoegaze"],
            "descriptors": ["melancholic", "noisy"],
        }

    def test_saved_it_comes_back_without_pickle(self, trained, song, tmp_path):
        trained.save(tmp_path / "p")
        loaded = EnoPredictor.load(tmp_path / "p")
        np.testing.assert_allclose(loaded.predict_proba(song), trained.predict_proba(song), atol=1e-6)
        assert loaded.labels == trained.labels
        assert loaded.policy == trained.policy
        names = sorted(path.relative_to(tmp_path / "p").as_posix() for path in (tmp_path / "p").rglob("*.*"))
        assert names == ["head/head.json", "head/head.safetensors", "label_encoder.json", "predictor.json"]

    def test_encoder_that_changed_is_refused(self, trained, tmp_path):
        trained.save(tmp_path / "p")
        file = tmp_path / "p" / "predictor.json"
        content = json.loads(file.read_text())
        content["encoder"]["revision"] = "0.0.9"
        file.write_text(json.dumps(content))
        with pytest.raises(FingerprintMismatch, match="Train it again"):
            EnoPredictor.load(tmp_path / "p")

    @pytest.mark.parametrize(
        ("content", "message"), [("{", "is damaged"), ('{"format": 7}', "format 7"), ("{}", "damaged")]
    )
    def test_damaged_description(self, tmp_path, content, message):
        (tmp_path / "predictor.json").write_text(content)
        with pytest.raises(ModelError, match=message):
            EnoPredictor.load(tmp_path)

    def test_folder_without_predictor(self, tmp_path):
        with pytest.raises(ModelError, match="holds no predictor"):
            EnoPredictor.load(tmp_path)

    def test_bad_file(self, trained, tmp_path):
        with pytest.raises(AudioError, match="no such file"):
            trained.predict(tmp_path / "missing.mp3")

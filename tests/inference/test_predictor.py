import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from scipy.special import expit, logit

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.cnn.network import SimpleCNN
from eno.data.labels.encoder import LabelEncoder
from eno.encoders.musicnn.encoder import MusiCNN, tag_labels
from eno.errors import AudioError, FingerprintMismatch, ModelError
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.models import MLPHead, create_head, load_head
from eno.models.bags import Bags
from eno.models.calibration.calibrate import Calibration
from eno.models.familiarity import Familiarity
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
        (name,) = {predictor.encoders[0].spec.options["checkpoint"]}
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

    def test_save_and_load_with_an_identity_head(self, predictor, song, tmp_path):
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

    def test_save_and_load_without_pickle(self, trained, song, tmp_path):
        trained.save(tmp_path / "p")
        loaded = EnoPredictor.load(tmp_path / "p")
        np.testing.assert_allclose(loaded.predict_proba(song), trained.predict_proba(song), atol=1e-6)
        assert loaded.labels == trained.labels
        assert loaded.policies == trained.policies
        names = {path.relative_to(tmp_path / "p").as_posix() for path in (tmp_path / "p").rglob("*.*")}
        of_folds = {f"head/{fold}/head.{suffix}" for fold in range(5) for suffix in ("json", "safetensors")}
        assert names == of_folds | {"README.md", "head/head.json", "label_encoder.json", "predictor.json"}

    def test_changed_encoder_is_refused(self, trained, tmp_path):
        trained.save(tmp_path / "p")
        file = tmp_path / "p" / "predictor.json"
        content = json.loads(file.read_text())
        content["encoder"]["revision"] = "0.0.9"
        file.write_text(json.dumps(content))
        with pytest.raises(FingerprintMismatch, match="Retrain it"):
            EnoPredictor.load(tmp_path / "p")

    @pytest.mark.parametrize(
        ("content", "message"), [("{", "damaged"), ('{"format": 7}', "format 7"), ("{}", "damaged")]
    )
    def test_damaged_description(self, tmp_path, content, message):
        (tmp_path / "predictor.json").write_text(content)
        with pytest.raises(ModelError, match=message):
            EnoPredictor.load(tmp_path)

    def test_a_predictor_that_is_replaced_while_it_is_loaded_is_not_mixed_with_the_new_one(
        self, trained, tmp_path, monkeypatch
    ):
        trained.save(tmp_path)
        labels = LabelEncoder([name.upper() for name in trained.labels.genres], trained.labels.descriptors)
        pending = [replace(PredictorParts.load(tmp_path), labels=labels)]

        def load(folder, **options):
            if pending:
                pending.pop().save(tmp_path)
            return load_head(folder, **options)

        monkeypatch.setattr("eno.inference.predictor_folder.load_head", load)
        assert PredictorParts.load(tmp_path).labels == labels

    def test_folder_without_predictor(self, tmp_path):
        with pytest.raises(ModelError, match="not a predictor"):
            EnoPredictor.load(tmp_path)

    def test_bad_file(self, trained, tmp_path):
        with pytest.raises(AudioError, match="no such file"):
            trained.predict(tmp_path / "missing.mp3")


def familiar(predictor):
    """The same predictor, as if trained on noise around the vector of silence."""
    vectors = np.random.default_rng(0).standard_normal((80, 200)).astype(np.float32)
    parts = {name: getattr(predictor, name) for name in ("calibration", "album_calibration", "album")}
    parts |= {"policy": predictor.policies, "familiarity": Familiarity.fit(vectors, np.arange(80))}
    return EnoPredictor(predictor.encoders, predictor.head, predictor.labels, **parts)


class TestFamiliarity:
    def test_predictions_say_how_familiar_the_vector_of_a_file_is(self, trained, song, tmp_path):
        predictor = familiar(trained)
        one = predictor.prediction(song)
        assert [one.familiarity] == predictor.familiarity.of(predictor.embed(song)[None]).tolist()
        assert one.named == trained.predict(song)
        many = list(predictor.predict_many([song, tmp_path / "missing.flac"]))
        assert [many[0].familiarity, many[1].familiarity] == [one.familiarity, None]
        assert [many[0].unfamiliar, many[1].unfamiliar] == [one.familiarity < 0.05, False]

    def test_it_is_saved_and_removed_with_the_predictor(self, trained, song, tmp_path):
        predictor = familiar(trained)
        predictor.save(tmp_path)
        assert EnoPredictor.load(tmp_path).prediction(song).familiarity == predictor.prediction(song).familiarity
        trained.save(tmp_path)
        assert EnoPredictor.load(tmp_path).prediction(song).familiarity is None
        assert not EnoPredictor.load(tmp_path).prediction(song).unfamiliar


@pytest.fixture(scope="module")
def calibrated(trained):
    k = len(trained.labels)
    of_tracks = Calibration(
        np.full(k, 2.0), np.full(k, -0.5), np.array([0.2, 0.9, 1.0]), np.zeros(k, bool), "platt", "scut"
    )
    of_albums = Calibration(np.ones(k), np.ones(k), np.array([0.0, 0.5, 0.3]), np.zeros(k, bool), "platt", "scut")
    return EnoPredictor(
        trained.encoders,
        trained.head,
        trained.labels,
        policy=trained.policies,
        calibration=of_tracks,
        album_calibration=of_albums,
    )


class TestCalibrated:
    def test_probabilities_are_calibrated_and_thresholds_are_those_of_the_labels(self, trained, calibrated, song):
        raw = trained.predict_proba(song)
        expected = expit(2 * logit(raw.astype(np.float64)) - 0.5)
        np.testing.assert_allclose(calibrated.predict_proba(song), expected, atol=1e-5)
        names = trained.labels.all_labels
        above = {name for name, p, t in zip(names, expected, [0.2, 0.9, 1.0], strict=True) if p > t}
        assert {name for one in calibrated.predict(song).values() for name in one} == above
        at_half = {name for name, p in zip(names, expected, strict=True) if p > 0.5}
        assert {name for one in calibrated.predict(song, threshold=0.5).values() for name in one} == at_half
        limits = {tag.tag: tag.threshold for tag in calibrated.predict_tags(song)}
        assert [limits[name] for name in names] == [0.2, 0.9, 1.0]

    def test_albums_are_means_of_logits_with_album_thresholds(self, calibrated, song, tmp_path, caplog):
        other = tmp_path / "other.flac"
        soundfile.write(other, music(5, 22_050, seed=9), 22_050)
        broken = tmp_path / "broken.flac"
        broken.write_text("no music")
        probabilities = np.stack([calibrated.predict_proba(path) for path in (song, other)]).astype(np.float64)
        expected = expit(logit(probabilities).mean(axis=0) + 1)
        with caplog.at_level("WARNING"):
            found = calibrated.predict_album_proba([song, broken, other])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert "broken.flac" in caplog.text
        named = calibrated.predict_album([song, other])
        names = calibrated.labels.all_labels
        assert {name for one in named.values() for name in one} == {
            name for name, p, t in zip(names, expected, [0.0, 0.5, 0.3], strict=True) if p > t
        }
        assert calibrated.predict_album([song], threshold=1.0) == {"genres": [], "descriptors": []}
        with pytest.raises(AudioError, match=r"broken\.flac"):
            calibrated.predict_album([broken])
        with pytest.raises(ValueError, match="at least one file"):
            calibrated.predict_album([])

    def test_albums_are_as_familiar_as_their_median_track(self, calibrated, song, tmp_path):
        others = [tmp_path / f"{seed}.flac" for seed in (1, 2)]
        for seed, path in enumerate(others):
            soundfile.write(path, music(5, 22_050, seed=seed), 22_050)
        album = familiar(calibrated).album_prediction([song, *others])
        values = [one.familiarity for one in familiar(calibrated).predict_many([song, *others])]
        assert album.familiarity == np.median(values)
        assert album.named == calibrated.predict_album([song, *others])
        assert calibrated.album_prediction([song]).familiarity is None

    def test_save_and_load_with_calibration(self, calibrated, song, tmp_path):
        calibrated.save(tmp_path)
        loaded = EnoPredictor.load(tmp_path)
        np.testing.assert_allclose(loaded.predict_proba(song), calibrated.predict_proba(song), atol=1e-6)
        np.testing.assert_array_equal(loaded.thresholds, [0.2, 0.9, 1.0])
        np.testing.assert_array_equal(loaded.album_thresholds, [0.0, 0.5, 0.3])
        EnoPredictor(loaded.encoders, loaded.head, loaded.labels).save(tmp_path)
        np.testing.assert_array_equal(
            EnoPredictor.load(tmp_path).thresholds, [0.5] * 3
        )  # the old calibration is removed

    def test_heads_that_take_windows(self, trained, song):
        rng = np.random.default_rng(0)
        bags = Bags(rng.standard_normal((120, 200)).astype(np.float32), np.full(40, 3))
        head = MLPHead(pooling="attention", hidden=(8,), max_epochs=2).fit(bags, rng.integers(0, 2, (40, 3)))
        predictor = EnoPredictor(trained.encoders, head, trained.labels, policy=WindowPolicy(count=3))
        windows = read_windows(song, sample_rate=16_000, window_samples=48_128, policy=WindowPolicy(count=3))
        vectors = trained.encoders[0].encode(windows.samples)[:, 0]
        np.testing.assert_allclose(predictor.predict_proba(song), head.predict_proba(Bags(vectors, [3]))[0], atol=1e-6)


def test_network_and_vocabulary_must_have_the_same_number_of_labels(tmp_path):
    torch.save(SimpleCNN(128, 4).state_dict(), tmp_path / "best_model.pt")
    LabelEncoder(["jazz"], ["calm"]).save(tmp_path / "label_encoder.json")
    with pytest.raises(ModelError, match=r"best_model\.pt: has 4 outputs, but .* has 2 labels"):
        EnoPredictor(tmp_path / "best_model.pt", tmp_path / "label_encoder.json")
    with pytest.raises(TypeError, match="needs labels"):
        EnoPredictor(MusiCNN(checkpoint="mtt"), None)

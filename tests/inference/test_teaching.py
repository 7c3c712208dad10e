"""Tags taught to a predictor: in Python, on the command line, and after another training."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import AudioError, FingerprintMismatch, LabelError
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.models import create_head
from eno.models.calibration.calibrate import fit_calibration
from eno.similarity.tag_table import table_key
from eno.tagging import vectors_for
from tests.command import eno
from tests.fakes import ProjectionEncoder
from tests.similarity.small_collection import POLICY, RATE, OwnEncoder, build

LOW = [f"Low/2001 - Things We Lost/{number:02d}.wav" for number in range(1, 9)]
ENCODER = f"{OwnEncoder.__module__}:OwnEncoder"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A collection, and a predictor of two tags whose album calibration is not that of tracks."""
    root = tmp_path_factory.mktemp("teaching")
    encoder = OwnEncoder()
    data, store = build(root, encoder)
    ids, X = store.matrix()
    Y = (np.random.default_rng(0).random((len(ids), 2)) < 0.4).astype(np.float32)
    head = create_head("linear", l2=[1.0]).fit(X, Y)
    probabilities = head.predict_proba(X)
    predictor = EnoPredictor(
        encoder,
        head,
        LabelEncoder(["rock"], ["calm"]),
        policy=POLICY,
        calibration=fit_calibration(probabilities, Y),
        album_calibration=fit_calibration(probabilities, 1 - Y),
    )
    predictor.save(root / "model")
    return SimpleNamespace(root=root, data=data, store=store, encoder=encoder, X=X, ids=ids)


@pytest.fixture
def predictor(made):
    return EnoPredictor.load(made.root / "model", encoder=made.encoder)


def taught(predictor, made, tag="Lo Fi", examples=LOW[:5], **options):
    return predictor.teach(tag, examples, background=made.store, **options)


class TestTeach:
    def test_other_tags_keep_their_probabilities_and_thresholds(self, predictor, made):
        before, thresholds = predictor.predict_vectors(made.X), predictor.thresholds
        albums = predictor.combine_tracks(before, made.ids)[1]
        taught(predictor, made)
        assert predictor.labels.all_labels == ["rock", "Lo Fi", "calm"]
        after = predictor.predict_vectors(made.X)
        np.testing.assert_array_equal(after[:, [0, 2]], before)
        np.testing.assert_array_equal(predictor.thresholds[[0, 2]], thresholds)
        np.testing.assert_array_equal(predictor.combine_tracks(after, made.ids)[1][:, [0, 2]], albums)
        assert len(predictor.album_thresholds) == 3

    def test_tag_is_found_on_the_tracks_of_the_album(self, predictor, made):
        taught(predictor, made)
        truth = [track in LOW for track in made.ids]
        assert roc_auc_score(truth, predictor.predict_vectors(made.X)[:, 1]) > 0.7

    def test_files_and_track_ids_are_the_same_examples(self, predictor, made):
        ids = taught(predictor, made)
        probabilities = predictor.predict_vectors(made.X)
        other = EnoPredictor.load(made.root / "model", encoder=made.encoder)
        files = taught(other, made, examples=[made.data.audio / name for name in LOW[:5]])
        # Files outside the audio folders that are known are encoded, and the same tracks stay in the background.
        assert ids.examples == files.examples == 5
        found = np.corrcoef(probabilities[:, 1], other.predict_vectors(made.X)[:, 1])[0, 1]
        assert found > 0.95

    def test_more_examples_are_added_to_earlier_ones(self, predictor, made):
        taught(predictor, made, examples=LOW[:3])
        taught(predictor, made, "lo  fi", examples=LOW[2:6], counter_examples=["heap/01.wav"])
        (tag,) = predictor.taught.tags
        assert tag.name == "Lo Fi"
        assert tag.examples.names == tuple(LOW[:6])
        once = EnoPredictor.load(made.root / "model", encoder=made.encoder)
        taught(once, made, examples=LOW[:6], counter_examples=["heap/01.wav"])
        np.testing.assert_array_equal(once.predict_vectors(made.X), predictor.predict_vectors(made.X))

    def test_counter_example_that_was_an_example_before(self, predictor, made):
        taught(predictor, made, examples=[*LOW[:3], "heap/01.wav"])
        taught(predictor, made, examples=[], counter_examples=["heap/01.wav"])
        (tag,) = predictor.taught.tags
        assert (tag.examples.names, tag.counter_examples.names) == (tuple(LOW[:3]), ("heap/01.wav",))

    def test_saved_and_loaded(self, predictor, made, tmp_path):
        taught(predictor, made, family="genre")
        predictor.save(tmp_path)
        loaded = EnoPredictor.load(tmp_path, encoder=made.encoder)
        assert loaded.labels.genres == ["Lo Fi", "rock"]
        np.testing.assert_array_equal(loaded.predict_vectors(made.X), predictor.predict_vectors(made.X))
        file = made.data.audio / LOW[0]
        np.testing.assert_array_equal(loaded.predict_proba(file), predictor.predict_proba(file))
        assert LabelEncoder.load(tmp_path / "label_encoder.json").all_labels == ["rock", "calm"]
        np.testing.assert_array_equal(
            PredictorParts.load(tmp_path, taught=False).predict_vectors(made.X), loaded.predict_vectors(made.X)[:, 1:]
        )

    def test_tag_of_another_family(self, predictor, made, tmp_path):
        taught(predictor, made, family="Instruments")
        assert predictor.labels.others == {"instruments": ["Lo Fi"]}
        predictor.save(tmp_path)
        loaded = EnoPredictor.load(tmp_path, encoder=made.encoder)
        assert loaded.labels.families == ["genre", "descriptor", "instruments"]
        np.testing.assert_array_equal(loaded.predict_vectors(made.X), predictor.predict_vectors(made.X))
        with pytest.raises(LabelError, match="cannot be the name of a family"):
            taught(predictor, made, family="tags")

    def test_head_of_windows(self, made):
        Y = (np.arange(len(made.ids)) % 2)[:, None].astype(np.float32)
        head = create_head("mlp", hidden=(4,), max_epochs=1, pooling="attention")
        head.fit(vectors_for(head, made.store, made.ids), Y)
        predictor = EnoPredictor(made.encoder, head, LabelEncoder([], ["calm"]), policy=POLICY)
        taught(predictor, made)
        assert predictor.predict_tracks(made.store, made.ids).shape == (24, 2)

    @pytest.mark.parametrize(
        ("tag", "examples", "message"),
        [
            ("Calm", LOW[:5], r"trained on the tag 'calm'.*[Cc]hoose another name"),
            ("new", [], "no examples of 'new'"),
        ],
    )
    def test_errors_name_the_tag(self, predictor, made, tag, examples, message):
        with pytest.raises(LabelError, match=message):
            taught(predictor, made, tag, examples)
        assert predictor.labels.all_labels == ["rock", "calm"]

    def test_example_that_is_also_a_counter_example(self, predictor, made):
        with pytest.raises(LabelError, match=r"02\.wav: is both"):
            taught(predictor, made, counter_examples=[LOW[1]])

    def test_unreadable_file(self, predictor, made, tmp_path):
        (tmp_path / "text.wav").write_text("not music")
        with pytest.raises(AudioError, match=r"text\.wav"):
            taught(predictor, made, examples=[tmp_path / "text.wav"])

    def test_store_of_another_encoder_is_refused(self, predictor, tmp_path):
        spec = ProjectionEncoder(seed=5).spec
        with pytest.raises(FingerprintMismatch):
            predictor.teach("new", [], background=EmbeddingStore.create(tmp_path / "s", spec, policy=WindowPolicy()))


@pytest.fixture
def run(made, tmp_path):
    """Run a command on a copy of the predictor."""
    PredictorParts.load(made.root / "model").save(tmp_path / "model")

    def run(*arguments, store=made.store.path):
        where = ["--data-root", made.root, "--audio-root", made.data.audio, "--model", "model"]
        return eno("teach", *arguments, *where, "--store", store, cwd=tmp_path)

    return run


class TestCommand:
    def test_reports_an_estimate(self, run, made, tmp_path):
        before = table_key(tmp_path / "model", made.store)
        done = run("lo fi", *LOW[:4], made.data.audio / LOW[4], "--not", made.data.audio / "heap")
        assert done.returncode == 0, done.stderr
        assert "lo fi (descriptor): 5 examples, 2 counter-examples" in done.stdout
        assert "of 5 held-out examples; of 1,000 library tracks it would be given to" in done.stdout
        assert "All examples are by one artist" in done.stderr
        assert table_key(tmp_path / "model", made.store) != before  # cached tags are predicted again

    def test_serving_notices_the_change_but_the_time_of_training_stays(self, run, tmp_path):
        from eno.serving.snapshot import Sources

        def trained():
            return (tmp_path / "model" / "predictor.json").stat().st_mtime_ns

        before, then = Sources(model=tmp_path / "model").stamp(), trained()
        run("lo fi", *LOW[:4])
        assert Sources(model=tmp_path / "model").stamp() != before
        assert trained() == then

    def test_list_and_remove(self, run, tmp_path):
        run("lo fi", *LOW[:4])
        (line,) = run("--list", "--json").stdout.splitlines()
        assert (json.loads(line)["tag"], json.loads(line)["examples"]) == ("lo fi", 4)
        assert "Choose from: lo fi" in run("--remove", "hi fi").stderr
        assert run("--remove", "Lo Fi").returncode == 0
        assert run("--list").stdout == ""
        assert PredictorParts.load(tmp_path / "model").labels.all_labels == ["rock", "calm"]

    def test_replace_forgets_earlier_examples(self, run, tmp_path):
        run("lo fi", *LOW[:4])
        run("lo fi", *LOW[4:7], "--replace")
        assert PredictorParts.load(tmp_path / "model").taught.tags[0].examples.names == tuple(LOW[4:7])

    def test_bad_file_does_not_stop_the_others(self, run, made, tmp_path):
        rng = np.random.default_rng(0)
        (tmp_path / "new").mkdir()
        soundfile.write(tmp_path / "new" / "a.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
        (tmp_path / "new" / "b.wav").write_text("not music")
        done = run("lo fi", *LOW[:4], tmp_path / "new", "--encoder", ENCODER)
        assert done.returncode == 1
        assert "b.wav" in done.stdout
        assert "1 files could not be read" in done.stderr
        assert len(PredictorParts.load(tmp_path / "model").taught.tags[0].examples) == 5

    def test_unknown_track_is_named(self, run):
        assert "No track is called 'nothing.wav'" in run("lo fi", "nothing.wav").stderr.replace("\n", " ")


class TestTrainingAgain:
    def test_tags_are_kept_on_the_same_encoder(self, predictor, made, tmp_path):
        taught(predictor, made)
        predictor.save(tmp_path)
        head = create_head("linear", l2=[1.0]).fit(made.X, np.eye(2, dtype=np.float32)[np.arange(24) % 2])
        parts = PredictorParts(
            specs=(made.encoder.spec,), labels=LabelEncoder(["pop"], ["sad"]), head=head, policies=(POLICY,)
        )
        parts.save(tmp_path)
        again = PredictorParts.load(tmp_path)
        assert again.labels.all_labels == ["pop", "Lo Fi", "sad"]
        np.testing.assert_array_equal(again.predict_vectors(made.X)[:, 1], predictor.predict_vectors(made.X)[:, 1])

    def test_tag_that_is_now_trained(self, predictor, made, tmp_path, caplog):
        taught(predictor, made)
        predictor.save(tmp_path)
        head = create_head("linear", l2=[1.0]).fit(made.X, np.eye(2, dtype=np.float32)[np.arange(24) % 2])
        parts = PredictorParts(
            specs=(made.encoder.spec,), labels=LabelEncoder(["lo fi"], ["sad"]), head=head, policies=(POLICY,)
        )
        parts.save(tmp_path)
        assert PredictorParts.load(tmp_path).labels.all_labels == ["lo fi", "sad"]
        assert "trained on Lo Fi" in caplog.text

    def test_tags_of_another_encoder_wait_for_it(self, predictor, made, tmp_path):
        taught(predictor, made)
        predictor.save(tmp_path)
        head = create_head("linear", l2=[1.0]).fit(made.X, np.eye(2, dtype=np.float32)[np.arange(24) % 2])
        other = PredictorParts(
            specs=(ProjectionEncoder(seed=9).spec,),
            labels=LabelEncoder(["pop"], ["sad"]),
            head=head,
            policies=(POLICY,),
        )
        other.save(tmp_path)
        assert PredictorParts.load(tmp_path).labels.all_labels == ["pop", "sad"]
        EnoPredictor(made.encoder, head, LabelEncoder(["pop"], ["sad"])).save(tmp_path / "x")
        PredictorParts(
            specs=(made.encoder.spec,), labels=LabelEncoder(["pop"], ["sad"]), head=head, policies=(POLICY,)
        ).save(tmp_path)
        assert PredictorParts.load(tmp_path).labels.all_labels == ["pop", "Lo Fi", "sad"]

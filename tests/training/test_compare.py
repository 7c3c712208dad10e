import csv
import json
import re

import numpy as np
import pytest
import soundfile

from eno.cnn.feature_files import prepare_features
from eno.cnn.predictor import CNN, FeatureCollection, cnn_candidate, save_cnn_predictor
from eno.cnn.settings import CNNSettings
from eno.cnn.training import train_cnn
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import read_split
from eno.errors import ConfigError
from eno.evaluation.confidence import intervals, paired_difference
from eno.evaluation.metrics import evaluate
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.training.collection import Collection
from eno.training.compare import PREVALENCE, compare_candidates, head_candidate
from eno.training.comparison_table import comparison_table, conclusion, write_comparison
from eno.training.evaluate import evaluate_predictor
from eno.training.record import HeadPlan, TrainingRecord
from tests.training.conftest import DESCRIPTORS, GENRES, make_splits, make_store

SETTINGS = CNNSettings(epochs=1, crop_s=1.0, device="cpu", batch_size=32, val_windows=1)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A data root with one second of noise per track, and a store of its vectors."""
    root = DataRoot(tmp_path_factory.mktemp("music"))
    vectors = make_splits(root.splits)
    rng = np.random.default_rng(0)
    for track_id in vectors:
        path = root.audio / track_id
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(16_000), 16_000)
    prepare_features(root, num_workers=1)
    labels = LabelEncoder(GENRES, DESCRIPTORS)
    labels.save(root.label_encoder)
    return root, Collection(make_store(root.root / "store", vectors), root.splits, labels)


@pytest.fixture(scope="module")
def compared(music, tmp_path_factory):
    root, collection = music
    out = tmp_path_factory.mktemp("compare")
    plans = [HeadPlan("linear"), HeadPlan("mlp", {"hidden": [8], "max_epochs": 1, "learning_rate": 1e-6})]
    candidates = [head_candidate("vectors", collection, plan) for plan in plans]
    cnn = cnn_candidate(root.root, collection.labels, SETTINGS, HeadPlan(CNN))
    seen = []
    rows = compare_candidates(
        [*candidates, cnn],
        out,
        reference=cnn,
        device="cpu",
        on_progress=lambda *at: seen.append(at),
    )
    return rows, out, seen


class TestCompare:
    def test_rows_are_results_on_the_test_split(self, music, compared):
        _, collection = music
        rows, out, seen = compared
        assert seen == [(0, 3, "vectors linear"), (1, 3, "vectors mlp"), (2, 3, "CNN from scratch"), (3, 3, "")]
        by_name = {(row.encoder, row.head): row for row in rows}
        assert set(by_name) == {("vectors", "linear"), ("vectors", "mlp"), ("CNN", "from scratch"), (PREVALENCE, "")}
        test = collection.tracks("test")
        parts = PredictorParts.load(out / "vectors-linear", device="cpu")
        probabilities, known = parts.calibration.apply(parts.head.predict_proba(test.X)), test.known
        row = by_name["vectors", "linear"]
        expected = intervals(test.truth, probabilities, parts.calibration.thresholds, test.groups, known=known)
        assert row.metrics == expected
        cnn = PredictorParts.load(out / "cnn")
        scratch = predict_files(out / "cnn", music[0], "test")
        difference = paired_difference(
            test.truth, probabilities, cnn.calibration.apply(scratch), test.groups, metrics=("map_macro",), known=known
        )
        assert row.difference.value == pytest.approx(difference["map_macro"].value, abs=1e-3)
        assert row.difference.low == pytest.approx(difference["map_macro"].low, abs=1e-2)
        assert row.size_bytes == sum(path.stat().st_size for path in (out / "vectors-linear").rglob("*.*"))
        assert [row.metrics["map_macro"].value for row in rows] == sorted(
            (row.metrics["map_macro"].value for row in rows), reverse=True
        )

    def test_the_winner_is_selected_on_validation(self, compared):
        rows, _, _ = compared
        (winner,) = [row for row in rows if row.winner]
        assert winner.head == "linear"  # the MLP is hardly trained
        for row in rows:
            if row.folder is not None:
                # The CNN is validated on the validation split, so the heads are judged on it as well.
                assert row.val_map == TrainingRecord.load(row.folder).validation["map_validation_split"]
                assert row.val_map <= winner.val_map
        text = conclusion(rows)
        assert text.startswith("Best on held-out tracks: vectors linear")
        verdict = r"(better than|not significantly different from) the CNN baseline \(difference -?0\.\d+, 95 % CI"
        assert re.search(verdict, text)

    def test_heads_alone_are_judged_on_all_folds(self, music, tmp_path):
        _, collection = music
        rows = compare_candidates([head_candidate("vectors", collection, HeadPlan("linear"))], tmp_path, device="cpu")
        row = next(row for row in rows if row.winner)
        assert row.val_map == TrainingRecord.load(row.folder).validation["map_macro"]

    def test_tables(self, compared, tmp_path):
        rows, _, _ = compared
        markdown, table, page = write_comparison(rows, tmp_path)
        lines = markdown.read_text().splitlines()
        assert len([line for line in lines if line.startswith("|")]) == 2 + len(rows)
        parsed = list(csv.DictReader(table.read_text().splitlines()))
        for row, line in zip(rows, parsed, strict=True):
            assert float(line["map_macro"]) == row.metrics["map_macro"].value
            assert (line["difference"] == "") == (row.difference is None)
        text = page.read_text()
        assert "http" not in text
        assert all(f"{row.metrics['map_macro'].value:.3f}" in text for row in rows)
        assert comparison_table(rows).row_count == len(rows)

    def test_the_prevalence_baseline_is_the_default_reference(self, music, tmp_path):
        rows = compare_candidates([head_candidate("vectors", music[1], HeadPlan("linear"))], tmp_path, device="cpu")
        assert [row.difference is None for row in rows] == [False, True]
        assert rows[1].encoder == PREVALENCE
        assert rows[1].metrics["roc_auc_macro"].value == 0.5
        assert "; better than the prevalence baseline (difference 0." in conclusion(rows)

    def test_bad_input(self, music, tmp_path):
        _, collection = music
        one = head_candidate("a", collection, HeadPlan("linear"))
        with pytest.raises(ConfigError, match="called 'a linear'"):
            compare_candidates([one, one], tmp_path)
        other = Collection(collection.store, collection.splits, LabelEncoder(GENRES, []))
        with pytest.raises(ConfigError, match="a linear and b linear cannot be compared"):
            compare_candidates([one, head_candidate("b", other, HeadPlan("linear"))], tmp_path)
        cnn = cnn_candidate(tmp_path, collection.labels, SETTINGS, HeadPlan(CNN))
        with pytest.raises(ConfigError, match="a linear and CNN from scratch cannot be compared because they have"):
            compare_candidates([one, cnn], tmp_path)
        with pytest.raises(ConfigError, match="nothing to compare"):
            compare_candidates([], tmp_path)


def predict_files(folder, root, split):
    predictor = EnoPredictor(folder / "best_model.pt", folder / "label_encoder.json")
    ids = sorted(path.relative_to(root.audio).as_posix() for path in root.audio.rglob("*.flac"))
    wanted = set(read_split(root.splits, split)["track_id"].to_pylist())
    return np.stack([predictor.predict_proba(root.audio / track_id) for track_id in ids if track_id in wanted])


@pytest.fixture(scope="module")
def trained(music, tmp_path_factory):
    root, collection = music
    folder = tmp_path_factory.mktemp("cnn")
    result = train_cnn(root.root, collection.labels, folder, SETTINGS)
    predictor = save_cnn_predictor(result, root.root, HeadPlan(CNN, {}, {"rule": "global"}))
    return folder, result, predictor.parts, predictor.record


class TestCNNPredictor:
    def test_predictions_from_files_and_features_agree_and_are_calibrated(self, music, trained):
        root, _ = music
        folder, _, parts, record = trained
        test = FeatureCollection(root.root, "cpu").predict(parts, "test")
        predictor = EnoPredictor.load(folder, device="cpu")
        found = predictor.predict_proba(root.audio / test.ids[0])
        np.testing.assert_allclose(found, parts.calibration.apply(test.probabilities[:1])[0], atol=2e-3)
        assert parts.calibration.rule == "global"
        assert record.head == CNN
        assert json.loads((folder / "training.json").read_text())["options"]["crop_s"] == 1.0
        assert len(predictor.thresholds) == 5

    def test_is_evaluated_on_features(self, music, trained):
        root, collection = music
        folder, _, parts, _ = trained
        source = FeatureCollection(root.root, "cpu")
        found = evaluate_predictor(folder, source, device="cpu")
        test = source.predict(parts, "test")
        truth, calibrated = test.truth, parts.calibration.apply(test.probabilities)
        thresholds = parts.calibration.thresholds
        assert found.tracks.metrics == evaluate(truth, calibrated, thresholds=thresholds, known=test.known)
        assert found.artists == 5
        assert truth.sum() == collection.tracks("test").truth.sum()

    def test_a_predictor_from_checkpoint_and_vocabulary_as_in_the_guide(self, music, trained):
        root, _ = music
        folder, *_ = trained
        predictor = EnoPredictor(str(folder / "best_model.pt"), str(folder / "label_encoder.json"))
        track = root.audio / "album-00/0.flac"
        named = predictor.predict(track)
        assert set(named) == {"genres", "descriptors"}
        probabilities = dict(zip(predictor.labels.all_labels, predictor.predict_proba(track), strict=True))
        assert {name for names in named.values() for name in names} == {
            name for name, value in probabilities.items() if value > 0.5
        }
        assert predictor.predict(track, threshold=1.0) == {"genres": [], "descriptors": []}

    def test_a_moved_folder_can_be_loaded(self, trained, tmp_path):
        folder, *_ = trained
        folder.rename(tmp_path / "moved")
        try:
            assert EnoPredictor.load(tmp_path / "moved", device="cpu").labels.num_labels == 5
        finally:
            (tmp_path / "moved").rename(folder)

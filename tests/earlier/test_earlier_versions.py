"""What earlier versions wrote can still be read, and says what it said then.

Each folder beside this file is named after the commit that wrote it; its README says how.
"""

import csv
import importlib.metadata
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import mutagen
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from eno.cnn.dataset import EnoDataset
from eno.cnn.feature_files import feature_path, read_failures, read_settings
from eno.config import load_settings
from eno.data.labels import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.library.scanning import read_tracks
from eno.data.lute.albums import read_albums
from eno.data.matching import match, read_matches
from eno.data.splits.artist_split import read_split
from eno.embeddings.store import EmbeddingStore
from eno.embeddings.store.maintenance import compact_store, export_store, verify_store
from eno.encoders import load_encoder
from eno.errors import AudioError
from eno.evaluation.report import as_json
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PredictorParts
from eno.models import create_head
from eno.similarity.index.build import update_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.metadata import TrackMetadata
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.tag_table import find_tag_table
from eno.tagfiles.edits import undo
from eno.tagfiles.selection import read_tagged
from eno.tagging import vectors_for
from eno.training.collection import Collection, split_hash, split_ids
from eno.training.evaluate import evaluate_predictor
from eno.training.feedback import Feedback
from eno.training.record import TrainingRecord, changes, trained_tracks, unseen_tracks
from eno.training.tune import tune

WRITTEN = Path(__file__).parent / "a632fda"
EXPECTED = json.loads((WRITTEN / "expected.json").read_text(encoding="utf-8"))
STORES, INDEXES, PREDICTORS = sorted(EXPECTED["stores"]), sorted(EXPECTED["indexes"]), sorted(EXPECTED["predictors"])
OF_STORES = [name for name in PREDICTORS if EXPECTED["predictors"][name]["store"]]
TRAINED = [name for name in PREDICTORS if "trained_tracks" in EXPECTED["predictors"][name]]
CLOSE = 1e-5


@pytest.fixture(scope="module")
def arrays():
    with np.load(WRITTEN / "expected.npz") as file:
        return dict(file)


def copy_to(folder):
    """Copy what was written, with the times of change that Git has not kept."""
    shutil.copytree(WRITTEN, folder, dirs_exist_ok=True)
    for name, time in EXPECTED["mtimes_ns"].items():
        os.utime(folder / name, ns=(time, time))
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A copy that tests only read."""
    return copy_to(tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def own(tmp_path):
    """A copy that a test may change."""
    return copy_to(tmp_path / "music")


def open_store(folder, name):
    return EmbeddingStore.open(folder / "embeddings" / name)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE)


def leaves(value, name=""):
    """Every number and text of nested lists and dictionaries, by its place."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, f"{name}/{key}")
    else:
        yield name, value


def assert_says_the_same(found, expected):
    """Compare values of JSON; what `found` has besides does no harm."""
    there = dict(leaves(found))
    for name, value in leaves(expected):
        if isinstance(value, float):
            assert there[name] == pytest.approx(value, rel=CLOSE, abs=CLOSE), name
        else:
            assert there[name] == value, name


# Tables


def table_of(name, data):
    readers = {
        "albums": lambda: read_albums(data.albums),
        "tracks": lambda: read_tracks(data.tracks),
        "matches": lambda: read_matches(data.matches),
        "labels": lambda: pq.read_table(data.label_counts),
    }
    return readers[name]() if name in readers else read_split(data.splits, name)


@pytest.mark.parametrize("name", sorted(EXPECTED["tables"]))
def test_tables_have_their_rows_and_columns(name, shared):
    table, expected = table_of(name, DataRoot(shared / "data")), EXPECTED["tables"][name]
    assert len(table) == len(expected["rows"])
    if name == "tracks":
        table = table.rename_columns(["audio_hash" if one == "packet_hash" else one for one in table.column_names])
    assert {field.name: str(field.type) for field in table.schema}.items() >= expected["columns"].items()
    for found, row in zip(table.select(list(expected["columns"])).to_pylist(), expected["rows"], strict=True):
        assert {key: value for key, value in found.items() if value is not None} == row


def test_splits_have_their_hash(shared):
    assert split_hash(split_ids(DataRoot(shared / "data").splits)) == EXPECTED["split_hash"]


def test_vocabulary_encodes_and_decodes_as_it_did(shared):
    labels, expected = LabelEncoder.load(DataRoot(shared / "data").label_encoder), EXPECTED["vocabulary"]
    assert (labels.genres, labels.descriptors) == (expected["genres"], expected["descriptors"])
    assert labels.secondary_weight == expected["secondary_weight"]
    vector = labels.encode(*expected["encoded"]["names"])
    assert vector.tolist() == expected["encoded"]["vector"]
    assert labels.decode(vector, 0.4) == expected["decoded"]


def test_vocabulary_is_written_as_it_was(shared, tmp_path):
    for name in ("label_encoder.json", "three_labels.json"):
        path = shared / "data" / "processed" / name
        LabelEncoder.load(path).save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == path.read_bytes()


def test_decisions_in_the_review_file_count(own):
    data = DataRoot(own / "data")
    before, review = read_matches(data.matches), data.match_review.read_text(encoding="utf-8-sig")
    match(read_tracks(data.tracks), read_albums(data.albums), data.matches, data.match_review)
    after = read_matches(data.matches)
    decided = [row for row in after.to_pylist() if row["method"] == "review"]
    assert decided == [row for row in before.to_pylist() if row["method"] == "review"]
    assert len(decided) == 2
    assert review.startswith("decision,")
    written = data.match_review.read_text("utf-8-sig")
    rows, kept = (list(csv.DictReader(text.splitlines())) for text in (review, written))
    assert [row for row in rows if row["decision"]] == [
        {name: row[name] for name in rows[0]} for row in kept if row["decision"]
    ]


def test_corrections_are_read_and_can_be_added_to(own):
    feedback = Feedback(DataRoot(own / "data").feedback)
    assert [asdict(one) for one in feedback.latest()] == EXPECTED["feedback"]
    feedback.append([replace(feedback.latest()[0], verdict="withdraw")])
    assert [asdict(one) for one in Feedback(feedback.path).latest()] == EXPECTED["feedback"][1:]


def test_features_feed_the_cnn(own):
    data = DataRoot(own / "data")
    assert read_settings(data) == EXPECTED["features"]["settings"]
    assert [asdict(one) for one in read_failures(data)] == EXPECTED["features"]["failures"]
    # Only those of two tracks are kept; both count as test tracks here.
    rows = pa.concat_tables([read_split(data.splits, part) for part in ("train", "val", "test")])
    rows = rows.filter(pc.is_in(rows["track_id"], pa.array(EXPECTED["audio"])))
    pq.write_table(rows, data.splits / "test.parquet")
    dataset = EnoDataset("test", data.root, LabelEncoder.load(data.label_encoder))
    assert sorted(dataset.ids) == sorted(EXPECTED["audio"])
    for place, track_id in enumerate(dataset.ids):
        features, labels = dataset[place]
        np.testing.assert_array_equal(features.numpy(), np.load(feature_path(data, track_id)))
        assert labels.sum() > 0


# Stores


@pytest.mark.parametrize("name", STORES)
def test_stores_hold_their_vectors(name, shared, arrays):
    store, expected = open_store(shared, name), EXPECTED["stores"][name]
    assert store.spec.fingerprint == expected["fingerprint"]
    assert store.spec.label == expected["label"]
    assert_says_the_same(store.spec.to_dict(), expected["spec"])
    assert_says_the_same(asdict(store.policy), expected["policy"])
    assert store.dtype == expected["dtype"]
    assert_says_the_same(store.summary(), expected["summary"])
    tracks = store.tracks()
    assert tracks["track_id"].to_pylist() == store.track_ids() == expected["track_ids"]
    assert tracks["windows"].to_pylist() == expected["windows"]
    assert tracks["samples_hash"].to_pylist() == expected["hashes"]
    owners, starts_s, vectors = store.windows()
    assert owners.tolist() == np.repeat(expected["track_ids"], expected["windows"]).tolist()
    assert_close(starts_s, arrays[f"{name}_starts_s"])
    np.testing.assert_array_equal(vectors, arrays[f"{name}_windows"].astype(np.float32))


@pytest.mark.parametrize("name", STORES)
def test_stores_tell_what_failed_and_what_vanished(name, shared):
    store, expected = open_store(shared, name), EXPECTED["stores"][name]
    assert_says_the_same([asdict(one) for one in store.ledger.failures()], expected["failures"])
    amendments = store.ledger.amendments().to_pylist()
    assert [row["track_id"] for row in amendments if row["gone"]] == expected["gone"] == [EXPECTED["vanished"]]
    assert [row["track_id"] for row in amendments if not row["gone"]] == [EXPECTED["touched"]]


@pytest.mark.parametrize("name", STORES)
def test_stores_are_whole(name, shared):
    check, expected = verify_store(open_store(shared, name)), EXPECTED["stores"][name]
    assert check.problems == []
    assert (check.parts, check.tracks, check.windows) == (2, len(expected["track_ids"]), sum(expected["windows"]))
    assert (check.failures, check.dead) == (len(expected["failures"]), 4)


@pytest.mark.parametrize("name", STORES)
def test_means_of_tracks_are_taken_from_the_cache(name, own, arrays):
    store = open_store(own, name)
    kept = {path.name: path.stat().st_mtime_ns for path in (store.path / "cache").iterdir()}
    ids, matrix = store.matrix()
    assert ids == EXPECTED["stores"][name]["track_ids"]
    assert_close(matrix, arrays[f"{name}_matrix"])
    assert {path.name: path.stat().st_mtime_ns for path in (store.path / "cache").iterdir()} == kept


@pytest.mark.parametrize("name", STORES)
def test_means_of_tracks_do_not_need_the_cache(name, own, arrays):
    store = open_store(own, name)
    shutil.rmtree(store.path / "cache")
    ids, matrix = store.matrix()
    assert ids == EXPECTED["stores"][name]["track_ids"]
    assert_close(matrix, arrays[f"{name}_matrix"])


@pytest.mark.parametrize("name", STORES)
def test_stores_can_be_added_to_merged_and_exported(name, own, arrays):
    store, windows = open_store(own, name), arrays[f"{name}_windows"]
    with store.writing():
        store.append(["new.flac"], np.zeros(1), windows[:1].astype(np.float32))
    assert compact_store(store).removed == 4
    store = EmbeddingStore.open(store.path)
    assert verify_store(store).problems == []
    ids, matrix = store.matrix(EXPECTED["stores"][name]["track_ids"])
    assert_close(matrix, arrays[f"{name}_matrix"])
    assert export_store(store, own / "exported") == len(ids) + 1
    assert_close(np.load(own / "exported" / "vectors.npy")[store.track_ids().index(ids[0])], matrix[0])


def test_the_encoder_stats_still_has_its_fingerprint():
    written = EXPECTED["libraries"]["librosa"].split(".")[:2]
    if importlib.metadata.version("librosa").split(".")[:2] != written:
        pytest.skip("librosa has changed, and the fingerprint with it")
    spec = EXPECTED["stores"]["stats"]["spec"]
    assert load_encoder("stats", **spec["options"]).spec.fingerprint == EXPECTED["stores"]["stats"]["fingerprint"]


# Indexes


@pytest.mark.parametrize("folder", INDEXES)
def test_indexes_find_what_they_found(folder, shared):
    index, expected = SimilarityIndex.open(shared / folder), EXPECTED["indexes"][folder]
    assert (index.level, index.manifest.kind, index.space.method) == (
        expected["level"], expected["kind"], expected["space"],
    )  # fmt: skip
    assert (index.manifest.rows, len(index), index.ann.lists) == (
        expected["rows"], expected["live"], expected["lists"],
    )  # fmt: skip
    assert index.track_ids() == EXPECTED["stores"][expected["store"]]["track_ids"]
    assert_says_the_same(index.manifest.measured, expected["measured"])
    index.require(open_store(shared, expected["store"]).spec)
    for seed, ways in expected["nearest"].items():
        query = index.vectors(index.rows_of(seed)[:1])
        for way, nearest in ways.items():
            scores, rows = index.search(query, len(nearest["scores"]), exact=way == "exact")
            assert_close(scores[0], nearest["scores"])
            # What is as near as the last one, or about as near as the next, may change places.
            certain = np.array(nearest["scores"]) > nearest["scores"][-1] + 2 * CLOSE
            wanted = set(zip(nearest["track_ids"], nearest["starts_s"], strict=True))
            assert len(wanted) == len(certain)
            found = list(zip(index.ids[rows[0]].tolist(), index.starts_s[rows[0]].tolist(), strict=True))
            assert {one for one, sure in zip(found, certain, strict=True) if sure} <= wanted


@pytest.mark.parametrize("folder", INDEXES)
def test_indexes_have_nothing_to_catch_up_on(folder, own):
    store = open_store(own, EXPECTED["indexes"][folder]["store"])
    assert not SimilarityIndex.open(own / folder).is_older_than(store)
    kept = files_in(own / folder)
    done = update_index(store, own / folder)
    assert (done.added, done.changed, done.removed, done.rebuilt) == (0, 0, 0, None)
    assert [name for name in files_in(own / folder) if "lock" not in name] == kept


@pytest.mark.parametrize("folder", INDEXES)
def test_tracks_can_be_added_to_indexes(folder, own, arrays):
    name = EXPECTED["indexes"][folder]["store"]
    store = open_store(own, name)
    with store.writing():
        store.append(["new.flac"], np.zeros(1), arrays[f"{name}_windows"][:1].astype(np.float32))
    done = update_index(store, own / folder)
    assert (done.added, done.changed, done.removed) == (1, 0, 0)
    assert "new.flac" in SimilarityIndex.open(own / folder).track_ids()


def sounds_like(folder, store="stats", level="tracks", **options):
    index = SimilarityIndex.open(folder / "embeddings" / store / "index" / level)
    metadata = TrackMetadata.read(index.track_ids(), DataRoot(folder / "data"))
    return SoundsLike(index, open_store(folder, store), metadata=metadata, **options)


def table_of_tags(folder):
    """The table that `eno similar --model` kept."""
    tags = folder / "embeddings" / "stats" / "index" / "tracks" / "tags"
    return find_tag_table(tags, folder / "models" / "linear", open_store(folder, "stats"))


def assert_found(found, expected):
    """Compare neighbours as JSON has them; scores are rounded to four digits there."""
    assert len(found) == len(expected)
    for one, wanted in zip((one.to_dict() for one in found), expected, strict=True):
        assert one["score"] == pytest.approx(wanted["score"], abs=2e-4)
        assert set(one["shared"]) == set(wanted["shared"])
        for name in wanted.keys() - {"score", "shared"}:
            assert one[name] == wanted[name]


def test_the_table_of_tags_is_found(shared, arrays):
    table, expected = table_of_tags(shared), EXPECTED["tag_table"]
    assert table is not None
    assert table.track_ids.to_pylist() == expected["track_ids"]
    assert list(table.names) == expected["names"]
    assert_close(table.thresholds, expected["thresholds"])
    np.testing.assert_array_equal(table.probabilities, arrays["tag_table"])


def test_what_sounds_like_a_track(shared):
    sounds = sounds_like(shared, tags=table_of_tags(shared))
    assert sounds.notes == ()
    for seed, expected in EXPECTED["sounds_like"].items():
        assert_found(sounds.like(seed, k=len(expected), same_album=True), expected)
    lines = (WRITTEN / "similar.jsonl").read_text(encoding="utf-8").splitlines()
    assert_found(sounds.like(EXPECTED["audio"][0], k=5), [json.loads(line) for line in lines])


def test_what_has_some_tags(shared):
    sounds = sounds_like(shared, tags=table_of_tags(shared))
    assert_found(sounds.nearest(sounds.tags(["Folk", "warm"]), k=4), EXPECTED["with_tags"])


def test_passages_that_sound_like_a_track(shared):
    sounds = sounds_like(shared, "layers", "windows")
    for seed, expected in EXPECTED["passages"].items():
        assert_found(sounds.like(seed, k=len(expected)), expected)


# Predictors


def load_parts(folder, name):
    return PredictorParts.load(folder / "models" / name, device="cpu")


def predict(parts, store):
    """Probabilities of a store's tracks, before calibration and after it."""
    ids = store.track_ids()
    raw = parts.head.predict_proba(vectors_for(parts.head, store, ids))
    return raw, raw if parts.calibration is None else parts.calibration.apply(raw)


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictors_say_of_themselves_what_they_did(name, shared):
    parts, expected = load_parts(shared, name), EXPECTED["predictors"][name]
    assert parts.specs[0].fingerprint == expected["fingerprint"]
    assert parts.labels.all_labels == expected["labels"]
    assert parts.album == expected["album"]
    assert_says_the_same(asdict(parts.policies[0]), expected["policy"])
    assert_close(parts.thresholds, expected["thresholds"])
    assert_close(parts.album_thresholds, expected["album_thresholds"])


@pytest.mark.parametrize("name", OF_STORES)
def test_predictors_predict_what_they_did(name, shared, arrays):
    parts, expected = load_parts(shared, name), EXPECTED["predictors"][name]
    assert parts.head.takes_windows == expected["takes_windows"]
    store = open_store(shared, expected["store"])
    raw, probabilities = predict(parts, store)
    assert_close(raw, arrays[f"{name}_raw"])
    assert_close(probabilities, arrays[f"{name}_probabilities"])
    thresholds = parts.thresholds
    assert [parts.labels.decode(row, thresholds) for row in probabilities] == expected["named"]
    folders = [track_id.rpartition("/")[0] for track_id in store.track_ids()]
    albums, combined = parts.combine_tracks(probabilities, folders)
    assert list(albums) == expected["albums"]
    assert_close(combined, arrays[f"{name}_albums"])


@pytest.mark.parametrize("name", OF_STORES)
def test_predictors_can_be_saved_again(name, shared, arrays, tmp_path):
    load_parts(shared, name).save(tmp_path)
    store = open_store(shared, EXPECTED["predictors"][name]["store"])
    assert_close(predict(PredictorParts.load(tmp_path, device="cpu"), store)[1], arrays[f"{name}_probabilities"])


@pytest.mark.parametrize("name", sorted(EXPECTED["files"]))
def test_predictors_tag_files_as_they_did(name, shared):
    if name != "cnn" and importlib.metadata.version("librosa") != EXPECTED["libraries"]["librosa"]:
        pytest.skip("librosa has changed, and what the encoder stats says with it")
    predictor = EnoPredictor.load(shared / "models" / name, device="cpu")
    assert predictor.encoders[0].spec.fingerprint == EXPECTED["predictors"][name]["fingerprint"]
    for track_id, expected in EXPECTED["files"][name].items():
        path = shared / "data" / "raw" / "audio" / track_id
        np.testing.assert_allclose(predictor.predict_proba(path), expected["probabilities"], atol=1e-4)
        assert predictor.predict(path) == expected["named"]


def test_the_cnn_is_found_by_its_two_files(shared):
    folder = shared / "models" / "cnn"
    predictor = EnoPredictor(folder / "best_model.pt", folder / "label_encoder.json")
    assert predictor.encoders[0].spec.fingerprint == EXPECTED["predictors"]["cnn"]["fingerprint"]


@pytest.mark.parametrize("name", TRAINED)
def test_records_of_trainings_are_read(name, shared):
    folder, expected = shared / "models" / name, EXPECTED["predictors"][name]
    record = TrainingRecord.load(folder)
    written = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert_says_the_same(asdict(record), {key: value for key, value in written.items() if key != "format"})
    assert record.split_hash == EXPECTED["split_hash"]
    assert len(trained_tracks(folder)) == expected["trained_tracks"]
    assert list(changes(folder, folder)) == []
    test = read_split(DataRoot(shared / "data").splits, "test")["track_id"].to_pylist()
    assert unseen_tracks(folder, test) == test
    if expected["head"]:
        create_head(record.plan.head, **record.plan.options)  # the options are still options


def test_an_evaluation_gives_the_same_figures_again(shared):
    folder, data = shared / "models" / "linear", DataRoot(shared / "data")
    written = json.loads((folder / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    collection = Collection(open_store(shared, "stats"), data.splits, LabelEncoder.load(folder / "label_encoder.json"))
    found = evaluate_predictor(folder, collection, device="cpu")
    content = as_json(found)
    # Intervals have been computed in another way since; the values in them have not.
    assert written.pop("resamples") == 20
    for part in (written["tracks"]["intervals"], written["albums"]["intervals"], written["gain_of_calibration"]):
        for interval in part.values():
            del interval["low"], interval["high"]
    del written["findings"]  # other checks are made since
    assert_says_the_same(content, written)
    labels = pq.read_table(folder / "evaluation" / "per_label.parquet")
    assert_says_the_same(found.per_label.to_pylist(), labels.to_pylist())


def test_a_search_for_options_goes_on(own):
    pytest.importorskip("optuna")
    data, chosen = DataRoot(own / "data"), load_settings(own / "models" / "tuned.toml")
    assert chosen.head == "mlp"
    assert chosen.options_of("mlp")["hidden"] == (512,)
    collection = Collection(open_store(own, "stats"), data.splits, LabelEncoder.load(data.label_encoder))
    options = {"hidden": (4,), "max_epochs": 5}  # those that the search began with
    journal = own / "models" / "tuned.journal"
    found = tune(collection, "mlp", options, journal=journal, minutes=1, trials=1, device="cpu")
    assert (found.resumed, found.trials) == (2, 3)


# Tags for files


def test_printed_tags_are_read(shared):
    rows = list(read_tagged(shared / "tags.jsonl"))
    assert [Path(name).name for name, *_ in rows] == [Path(one).name for one in (*EXPECTED["audio"], EXPECTED["odd"])]
    assert isinstance(rows[-1][1], AudioError)
    for name, found, unfamiliar in rows[:-1]:
        said = EXPECTED["files"]["linear"][name.removeprefix("data/raw/audio/")]["named"]
        assert {tag.tag for tag in found} == {*said["genres"], *said["descriptors"]} and not unfamiliar
    of_store = {track_id: found for track_id, found, _ in read_tagged(shared / "tags_of_store.jsonl")}
    assert sorted(of_store) == EXPECTED["stores"]["stats"]["track_ids"]
    for track_id, said in zip(sorted(of_store), EXPECTED["predictors"]["linear"]["named"], strict=True):
        assert sorted(tag.tag for tag in of_store[track_id]) == sorted(said["genres"] + said["descriptors"])


def test_written_tags_can_be_taken_back(own):
    log = own / "write-tags-undo.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["path"] = str(own / "data" / row["path"].partition("/data/")[2])  # the collection has moved
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for row in rows:
        assert mutagen.File(row["path"])["mood"] == row["after"]["mood"]
    taken_back = list(undo(log))
    assert sorted(str(path) for path, error in taken_back if error is None) == sorted(row["path"] for row in rows)
    for track_id, tags in EXPECTED["before"].items():
        found = mutagen.File(own / "data" / "raw" / "audio" / track_id).tags
        assert {name.lower(): values for name, values in dict(found).items()} == tags

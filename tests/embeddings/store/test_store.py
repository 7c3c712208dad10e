import dataclasses
import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eno.audio.track_decoding import FileStamp
from eno.audio.windows import WindowPolicy
from eno.embeddings.job.plan import Amendment, write_amendments
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.ledger import Failure
from eno.embeddings.store.maintenance import compact_store, verify_store
from eno.errors import FingerprintMismatch, StoreError
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)


def fill(store: EmbeddingStore, tracks: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Append random vectors, so many windows a track, as one part; what was appended."""
    rng = np.random.default_rng(seed)
    shape = (len(store.spec.layers), store.spec.dim)
    vectors = {name: rng.standard_normal((count, *shape)).astype(np.float32) for name, count in tracks.items()}
    ids = [name for name, count in tracks.items() for _ in range(count)]
    starts = np.concatenate([np.arange(count) for count in tracks.values()])
    store.append(ids, starts, np.concatenate(list(vectors.values())))
    return vectors


@pytest.fixture(params=[1, 3], ids=["one layer", "three layers"])
def spec(request):
    return ProjectionEncoder(layers=request.param).spec


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("float32", 0)])
def test_vectors_come_back_with_their_ids(tmp_path, spec, dtype, tolerance):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY, dtype=dtype)
    written = fill(store, {"b": 3, "a": 2}) | fill(store, {"d": 1, "c": 3}, seed=1)
    store = EmbeddingStore.open(tmp_path / "s")
    ids, starts, vectors = store.windows()
    assert ids.tolist() == ["a"] * 2 + ["b"] * 3 + ["c"] * 3 + ["d"]
    assert starts.tolist() == [0, 1, 0, 1, 2, 0, 1, 2, 0]
    assert vectors.dtype == np.float32
    expected = np.concatenate([written[name] for name in "abcd"])
    np.testing.assert_allclose(vectors, expected, rtol=tolerance, atol=tolerance)


def test_matrix_is_the_mean_over_windows_in_the_order_asked_for(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY, dtype="float32")
    written = fill(store, {"b": 3, "a": 2}) | fill(store, {"c": 1}, seed=1)
    means = {name: rows.mean(axis=0).squeeze() for name, rows in written.items()}
    ids, matrix = store.matrix()
    assert ids == ["a", "b", "c"]
    np.testing.assert_allclose(matrix, np.stack([means[name] for name in "abc"]), rtol=1e-5, atol=1e-6)
    ids, matrix = store.matrix(["c", "a", "c"])
    assert ids == ["c", "a", "c"]
    np.testing.assert_allclose(matrix, np.stack([means[name] for name in "cac"]), rtol=1e-5, atol=1e-6)


def test_empty_store(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    ids, matrix = store.matrix()
    assert ids == []
    assert matrix.shape == (0, 6) if len(spec.layers) == 1 else (0, 3, 6)
    assert store.summary()["tracks"] == 0


def test_missing_tracks_are_named(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    fill(store, {"a": 1})
    with pytest.raises(StoreError, match="2 tracks are not in this store, for example x"):
        store.matrix(["a", "x", "y"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_that_half_precision_cannot_hold_are_refused_and_nothing_is_written(tmp_path, spec, value):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    vectors = np.zeros((2, len(spec.layers), spec.dim), np.float32)
    vectors[1, 0, 2] = value
    with pytest.raises(StoreError, match="vectors of second are not finite as float16"):
        store.append(["first", "second"], np.zeros(2), vectors)
    assert store.track_ids() == []


def test_store_of_another_encoder_is_refused_naming_both(tmp_path):
    one, other = ProjectionEncoder(seed=0).spec, ProjectionEncoder(seed=1).spec
    EmbeddingStore.create(tmp_path / "s", one, policy=POLICY)
    with pytest.raises(FingerprintMismatch) as caught:
        EmbeddingStore.open_or_create(tmp_path / "s", other, policy=POLICY)
    assert one.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)


def test_store_of_other_windows_is_refused(tmp_path, spec):
    EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    with pytest.raises(StoreError, match="found windows 3 per track, expected 4 per track"):
        EmbeddingStore.open_or_create(tmp_path / "s", spec, policy=WindowPolicy(count=4))


def test_folder_with_something_else_is_left_alone(tmp_path, spec):
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(StoreError, match="is not empty"):
        EmbeddingStore.create(tmp_path, spec, policy=POLICY)
    with pytest.raises(StoreError, match="is not an embedding store"):
        EmbeddingStore.open(tmp_path)


def test_damaged_manifest(tmp_path, spec):
    EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    manifest = tmp_path / "s" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"encoder": content["encoder"] | {"dim": 7}}))
    with pytest.raises(FingerprintMismatch, match="edited"):
        EmbeddingStore.open(tmp_path / "s")
    manifest.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        EmbeddingStore.open(tmp_path / "s")
    manifest.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        EmbeddingStore.open(tmp_path / "s")


def test_damaged_part_is_named(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    fill(store, {"a": 1})
    part = next((tmp_path / "s" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"000000\.parquet: is damaged"):
        store.matrix()


def test_part_that_was_being_written_at_a_crash_is_not_read(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    fill(store, {"a": 1})
    (tmp_path / "s" / "parts" / ".000001.parquet.4711.tmp").write_bytes(b"PAR1 half a par")
    assert store.track_ids() == ["a"]
    fill(store, {"b": 1})
    assert store.track_ids() == ["a", "b"]


def test_failure_while_writing_leaves_no_part(tmp_path, spec, monkeypatch):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    fsync = os.fsync

    def disk_full(descriptor):
        fsync(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left"):
        fill(store, {"a": 1})
    assert list((tmp_path / "s" / "parts").iterdir()) == []


def test_ledger_of_failures(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    rows = [Failure("z", "/music/z\udcff.mp3", "is empty"), Failure("a", "/música/a.mp3", "no such file")]
    store.ledger.write_failures(rows)
    assert EmbeddingStore.open(tmp_path / "s").ledger.failures() == rows[::-1]


class TestKeptMatrix:
    def test_is_read_back_without_the_parts(self, tmp_path, spec, monkeypatch):
        store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
        fill(store, {"b": 3, "a": 2})
        ids, matrix = store.matrix()
        monkeypatch.setattr("eno.embeddings.store.parts.Parts._read", None)
        again_ids, again = EmbeddingStore.open(tmp_path / "s").matrix()
        assert again_ids == ids
        np.testing.assert_array_equal(again, matrix)

    def test_new_parts_replace_it(self, tmp_path, spec):
        store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
        fill(store, {"b": 3})
        store.matrix()
        fill(store, {"a": 2}, seed=1)
        assert store.matrix()[0] == ["a", "b"]
        assert len(list((tmp_path / "s" / "cache").glob("*.npy"))) == 1

    def test_changes_to_it_are_not_kept(self, tmp_path, spec):
        store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
        fill(store, {"a": 2})
        expected = store.matrix()[1].copy()
        store.matrix()[1][:] = 7
        np.testing.assert_array_equal(store.matrix()[1], expected)

    def test_store_that_may_only_be_read(self, tmp_path, spec, monkeypatch):
        store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
        fill(store, {"b": 3, "a": 2})
        expected = store.matrix()[1].copy()
        shutil.rmtree(tmp_path / "s" / "cache")

        def refuse(*_args, **_options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.mkdir", refuse)
        np.testing.assert_array_equal(store.matrix()[1], expected)
        assert not (tmp_path / "s" / "cache").exists()

    def test_windows_of_a_track_in_any_order(self, tmp_path, spec):
        store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY, dtype="float32")
        rng = np.random.default_rng(3)
        rows = rng.standard_normal((12, len(spec.layers), spec.dim)).astype(np.float32)
        names = np.array([f"t{i % 4}" for i in rng.permutation(12)])
        store.append(names.tolist(), np.arange(12.0), rows)
        ids, matrix = store.matrix()
        assert ids == ["t0", "t1", "t2", "t3"]
        for name, found in zip(ids, matrix, strict=True):
            np.testing.assert_allclose(found, rows[names == name].mean(axis=0).squeeze(), rtol=1e-5, atol=1e-6)

    def test_means_of_unit_vectors_have_length_1(self, tmp_path, spec):
        spec = dataclasses.replace(spec, normalized=True)
        store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY, dtype="float32")
        written = fill(store, {"b": 3, "a": 2})
        for name, found in zip(*store.matrix(), strict=True):
            mean = written[name].mean(axis=0)
            expected = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
            np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)


def test_of_a_track_in_several_parts_the_last_counts(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY, dtype="float32")
    fill(store, {"a": 3, "b": 2, "c": 1})
    newer = fill(store, {"b": 3, "d": 1}, seed=1)
    ids, starts, vectors = store.windows()
    assert ids.tolist() == ["a"] * 3 + ["b"] * 3 + ["c", "d"]
    assert starts.tolist() == [0, 1, 2, 0, 1, 2, 0, 0]
    np.testing.assert_array_equal(vectors[3:6], newer["b"])
    np.testing.assert_allclose(store.matrix(["b"])[1][0], newer["b"].mean(axis=0).squeeze(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(store.windows(["b"])[2], newer["b"])


def test_vectors_can_be_read_with_pyarrow_alone(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    fill(store, {"b": 3, "a": 2})
    table = pq.read_table(tmp_path / "s" / "parts")
    described = {k.decode(): v.decode() for k, v in table.schema.field("vector").metadata.items()}
    shape = [int(size) for size in described["shape"].split(",")]
    vectors = np.array([np.frombuffer(row, described["dtype"]) for row in table["vector"].to_pylist()])
    for name in ("a", "b"):
        rows = vectors[np.array(table["track_id"]) == name].reshape(-1, *shape)
        np.testing.assert_array_equal(rows, store.windows([name])[2])


def first_format(store, tmp_path, dtype="float16"):
    """Write what `store` holds as eno 0.1 did before there was a second format."""
    ids, starts, vectors = store.windows()
    folder = tmp_path / "old"
    (folder / "parts").mkdir(parents=True)
    manifest = json.loads((store.path / "manifest.json").read_text()) | {"format": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    width = vectors[0].size
    values = pa.array(vectors.astype(dtype).reshape(-1))
    columns = {
        "track_id": pa.array(ids.tolist()),
        "start_s": starts,
        "vector": pa.FixedSizeListArray.from_arrays(values, width),
    }
    for number, rows in enumerate((slice(0, 4), slice(4, None))):
        part = pa.table({name: column[rows] for name, column in columns.items()})
        pq.write_table(part, folder / "parts" / f"{number:06d}.parquet", compression="zstd", write_page_checksum=True)
    return EmbeddingStore.open(folder)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_stores_of_the_first_format_are_read_added_to_and_compacted(tmp_path, spec, dtype):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY, dtype=dtype)
    fill(store, {"a": 3, "b": 1, "c": 3})
    old = first_format(store, tmp_path, dtype)

    def same():
        for one, other in zip(old.windows(), store.windows(), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(old.matrix()[1], store.matrix()[1])

    same()
    with old.writing():
        fill(old, {"d": 2}, seed=5)
    fill(store, {"d": 2}, seed=5)
    assert json.loads((old.path / "manifest.json").read_text())["format"] == 2
    same()
    assert verify_store(old).problems == []
    compact_store(old)
    assert len(old.parts.all()) == 1
    same()


def test_column_of_an_earlier_name_is_read_and_kept_when_parts_are_merged(tmp_path, spec):
    store = EmbeddingStore.create(tmp_path / "s", spec, policy=POLICY)
    vectors = np.zeros((1, len(spec.layers), spec.dim), np.float32)
    for name in "ab":
        store.append([name], np.zeros(1), vectors, files={name: FileStamp(1, 2, f"hash of {name}")})
    path = tmp_path / "s" / store.parts.all()[0].entry.name
    table = pq.read_table(path)
    names = ["audio_hash" if name == "samples_hash" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), path)
    assert store.tracks()["samples_hash"].to_pylist() == ["hash of a", "hash of b"]
    compact_store(store)
    assert len(store.parts.all()) == 1
    assert store.tracks()["samples_hash"].to_pylist() == ["hash of a", "hash of b"]


def test_a_copy_has_the_same_state_whatever_the_times_of_its_files(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder().spec, policy=POLICY)
    rng = np.random.default_rng(0)

    def append(target, number):
        shape = (4, *store._shape(1)[1:])
        stamp = {"a": FileStamp(1, number, "same")}
        target.append(["a", "a", "b", "b"], np.array([0.0, 3, 0, 3]), rng.random(shape, np.float32), files=stamp)

    for number in range(2):
        append(store, number)
    shutil.copytree(store.path, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = EmbeddingStore.open(tmp_path / "copy")
    assert copy.state() == store.state() and copy.states()[1] != store.states()[1]
    for one in (store, copy):  # the same tracks, sizes and times, but other vectors
        append(one, 2)
    assert copy.state() != store.state()


def test_new_times_of_audio_files_do_not_change_the_state_but_deleted_files_do(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder().spec, policy=POLICY)
    store.append(["a", "b"], np.zeros(2), np.zeros(store._shape(2), np.float32))
    before = store.state()
    write_amendments(store.ledger, {"a": Amendment(gone=False, size=1, mtime_ns=5)})
    assert store.state() == before
    write_amendments(store.ledger, {"a": Amendment(gone=True)})
    assert store.state() != before


def test_damaged_bookkeeping_names_the_line(tmp_path, caplog):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder().spec, policy=POLICY)
    failures = [Failure(name, name, "broken", 1, 2) for name in "abc"]
    store.ledger.write_failures(failures)
    path = tmp_path / "s" / "failures.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # a crash while writing
    assert store.ledger.failures() == failures[:2]
    assert "the last line is incomplete" in caplog.text
    lines = whole.splitlines(keepends=True)
    for damaged in (b'{"track_id": "b", "pa\n', b"\xff\n", b'["b"]\n', b'{"track": "b"}\n'):
        path.write_bytes(lines[0] + damaged + lines[2])
        with pytest.raises(StoreError, match=r"failures\.jsonl: line 2 is .* Remove"):
            store.ledger.failures()
    (tmp_path / "s" / "parts.json").write_bytes(b'{"000000": 1')
    with pytest.raises(StoreError, match=r"parts\.json: is damaged .* Remove it"):
        store.ledger.counts()


def test_windows_are_compared_rather_than_options(tmp_path):
    spec = ProjectionEncoder().spec
    EmbeddingStore.create(tmp_path / "s", spec, policy=WindowPolicy(hop_s=3, count=8))
    for same in (WindowPolicy(hop_s=3, count=16), WindowPolicy(hop_s=3.0000001)):
        assert EmbeddingStore.open_or_create(tmp_path / "s", spec, policy=same).policy.hop_s == 3
    for other in (WindowPolicy(hop_s=3.1), WindowPolicy(count=8)):
        with pytest.raises(StoreError, match="found windows every 3 s"):
            EmbeddingStore.open_or_create(tmp_path / "s", spec, policy=other)

"""Damage of every kind is found; what is exported is what is there."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.embeddings.maintenance import export_store, verify_store
from eno.embeddings.ledger import Failure
from eno.embeddings.store import EmbeddingStore
from eno.errors import StoreError
from tests.embeddings.test_store import POLICY, fill
from tests.fakes import ProjectionEncoder


@pytest.fixture
def store(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder(dim=64, layers=2).spec, policy=POLICY)
    for part in range(3):
        fill(store, {f"{part}-{i}": 1 + i % 3 for i in range(40)}, seed=part)
    store.ledger.write_failures([Failure("bad", "/music/bad", "is empty")])
    return store


def test_whole(store):
    check = verify_store(store)
    assert check.problems == []
    assert (check.parts, check.tracks, check.windows, check.failures) == (3, 120, 237, 1)


def test_any_flipped_byte_is_found_and_never_read(store):
    part = store.part_paths()[1]
    content = part.read_bytes()
    expected = store.windows()[2]
    found = 0
    places = np.random.default_rng(0).integers(4, len(content) - 4, size=60)
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0x40
        part.write_bytes(changed)
        if verify_store(store).problems:
            found += 1
            continue
        # A byte that decides nothing, such as a statistic or the name of the writer: values are what they were.
        np.testing.assert_array_equal(store.windows()[2], expected)
    assert found > 0.9 * len(places)
    part.write_bytes(content[:-100])
    assert "is damaged" in verify_store(store).problems[0]
    with pytest.raises(StoreError, match=r"000001\.parquet: is damaged"):
        store.windows()


def test_missing_part(store):
    store.part_paths()[1].unlink()
    check = verify_store(store)
    assert check.problems == ["part 000001 is missing; 'eno embed' does its tracks again"]
    assert check.parts == 2


def test_windows_that_are_there_twice(store):
    (store.path / "parts" / "000003.parquet").write_bytes(store.part_paths()[0].read_bytes())
    assert "windows of 40 tracks are there twice, first of 0-0" in verify_store(store).problems[0]


def test_values_that_are_not_finite(store):
    part = store.part_paths()[2]
    table = pq.read_table(part)
    values = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).copy()
    values[130] = np.nan  # the second window
    vectors = type(table["vector"].combine_chunks()).from_arrays(values, type=table["vector"].type)
    pq.write_table(table.set_column(2, table.schema.field("vector"), vectors), part)
    assert "1 vectors are not finite, first of 2-1" in verify_store(store).problems[0]


def test_track_that_is_embedded_and_failed(store):
    store.ledger.write_failures([Failure("0-3", "/music/x", "is empty")])
    assert verify_store(store).problems == ["1 tracks are both embedded and among the failures, first 0-3"]


def read_ids(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_export(store, tmp_path):
    assert export_store(store, tmp_path / "out") == 120
    ids, matrix = store.matrix()
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "vectors.npy"), matrix)
    assert [row["track_id"] for row in read_ids(tmp_path / "out" / "ids.csv")] == ids


def test_export_of_windows(store, tmp_path):
    assert export_store(store, tmp_path / "out", windows=True) == 237
    vectors = np.load(tmp_path / "out" / "vectors.npy")
    rows = read_ids(tmp_path / "out" / "ids.csv")
    names, starts, expected = store.windows()
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["track_id"], float(rows[i]["start_s"])))
    assert [rows[i]["track_id"] for i in order] == names.tolist()
    assert [float(rows[i]["start_s"]) for i in order] == starts.tolist()
    np.testing.assert_array_equal(vectors[order], expected)


def test_export_of_nothing(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder(dim=4).spec, policy=POLICY)
    for windows, shape in ((False, (0, 4)), (True, (0, 1, 4))):
        assert export_store(store, tmp_path / "out", windows=windows) == 0
        assert np.load(tmp_path / "out" / "vectors.npy").shape == shape
    assert verify_store(store).problems == []


def test_commands(store, tmp_path):
    run = CliRunner().invoke
    assert "240 windows" not in run(app, ["store", "info", str(store.path)]).output
    assert "120 tracks, 237 windows" in run(app, ["store", "info", str(store.path)]).output
    assert run(app, ["store", "verify", str(store.path)]).output.splitlines()[-1] == "whole"
    assert "120 rows" in run(app, ["store", "export", str(store.path), str(tmp_path / "out")]).output
    store.part_paths()[0].write_bytes(b"nothing")
    result = run(app, ["store", "verify", str(store.path)])
    assert result.exit_code == 1
    assert "problem" in result.output
    assert isinstance(result.exception, StoreError)

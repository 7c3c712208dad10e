"""Damage of every kind is found; what is exported is what is there."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.ledger import AMENDMENT_SCHEMA, Failure
from eno.embeddings.store.maintenance import compact_store, export_store, verify_store
from eno.errors import StoreError
from tests.embeddings.store.test_store import POLICY, fill
from tests.fakes import ProjectionEncoder


def path_of(store, number):
    return store.path / store.parts.all()[number].entry.name


@pytest.fixture
def store(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder(dim=64, layers=2).spec, policy=POLICY)
    for part in range(3):
        fill(store, {f"{part}-{i}": 1 + i % 3 for i in range(40)}, seed=part)
    store.ledger.write_failures([Failure("bad", "/music/bad", "is empty")])
    return store


def test_whole(store):
    seen = []
    check = verify_store(store, on_progress=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert check.problems == []
    assert (check.parts, check.tracks, check.windows, check.failures) == (3, 120, 237, 1)


def test_any_flipped_byte_is_found_and_never_read(store):
    part = path_of(store, 1)
    content = part.read_bytes()
    expected, tracks = store.windows()[2], store.tracks()
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
        assert store.tracks().equals(tracks)
    assert found > 0.8 * len(places)
    part.write_bytes(content[:-100])
    assert "is damaged" in verify_store(store).problems[0]
    with pytest.raises(StoreError, match=r"000001\.parquet: is damaged"):
        store.windows()


def test_missing_part(store):
    path_of(store, 1).unlink()
    check = verify_store(store)
    assert check.problems == ["part 000001 is missing; 'eno embed' will embed its tracks again"]
    assert check.parts == 2


def test_part_that_is_cut_short(store):
    part = path_of(store, 1)
    pq.write_table(pq.read_table(part).slice(0, 30), part, write_page_checksum=True)
    assert verify_store(store).problems == [f"{part}: has 30 windows, was written with 79"]


def test_windows_that_are_there_twice(store):
    store.append(["x", "y", "x", "x"], np.array([0.0, 0, 1, 1]), np.zeros((4, 2, 64), np.float32))
    assert verify_store(store).problems == [f"{path_of(store, 3)}: windows of 1 tracks are there twice, first of x"]


def test_values_that_are_not_finite(store):
    part = path_of(store, 2)
    table = pq.read_table(part)
    vectors = np.stack([np.frombuffer(row, np.float16) for row in table["vector"].to_pylist()])
    vectors[1, 2] = np.nan  # the second window
    column = pa.array([row.tobytes() for row in vectors], table.schema.field("vector").type)
    pq.write_table(table.set_column(2, table.schema.field("vector"), column), part)
    assert "1 vectors are not finite, first of 2-1" in verify_store(store).problems[0]


def test_track_that_is_embedded_and_failed(store):
    store.ledger.write_failures([Failure("0-3", "/music/x", "is empty")])
    assert verify_store(store).problems == ["1 tracks are both embedded and among the failures, first 0-3"]


def amend(store, rows):
    store.ledger.write_amendments(
        pa.Table.from_pylist([dict(zip(AMENDMENT_SCHEMA.names, row, strict=True)) for row in rows], AMENDMENT_SCHEMA)
    )


class TestCompact:
    @pytest.fixture
    def changed(self, store):
        """Part 1 has tracks that part 3 replaces, part 2 some whose files are gone."""
        fill(store, {f"1-{i}": 2 for i in range(5)}, seed=9)
        amend(store, [("2-0", True, None, None), ("2-7", True, None, None), ("0-3", False, 77, 88)])
        return store

    def test_keeps_what_counts_and_nothing_else(self, changed):
        before = changed.windows()
        stamps = changed.tracks().drop_columns("part")
        assert verify_store(changed).dead == 12  # 1 + 2 + 3 + 1 + 2 windows replaced, 1 + 2 gone
        seen = []
        done = compact_store(changed, on_progress=lambda *numbers: seen.append(numbers))
        assert seen[-1] == (4, 4)
        assert (done.parts_before, done.parts_after, done.removed) == (4, 1, 12)
        assert done.bytes_after < done.bytes_before
        for one, other in zip(changed.windows(), before, strict=True):
            np.testing.assert_array_equal(one, other)
        assert changed.tracks().drop_columns("part").equals(stamps)
        assert len(changed.ledger.amendments()) == 0
        check = verify_store(changed)
        assert (check.problems, check.dead) == ([], 0)

    @pytest.mark.parametrize("removals", [0, 1, 2, 3])
    def test_crash_between_any_two_steps_loses_and_doubles_nothing(self, changed, monkeypatch, removals):
        before = changed.windows()
        remove, done = Folder.remove, []

        def crash(folder, name):
            if len(done) == removals and name.startswith("parts/"):
                raise KeyboardInterrupt
            done.append(name)
            remove(folder, name)

        monkeypatch.setattr(Folder, "remove", crash)
        with pytest.raises(KeyboardInterrupt):
            compact_store(changed)
        monkeypatch.undo()
        (changed.path / "writer.lock").unlink(missing_ok=True)
        for _ in range(2):
            for one, other in zip(changed.windows(), before, strict=True):
                np.testing.assert_array_equal(one, other)
            check = verify_store(changed)
            assert check.problems == []
            compact_store(changed)
        assert check.dead == 0

    def test_parts_of_the_wanted_size_stay(self, changed):
        names = [part.entry.name for part in changed.parts.all()]
        size = changed.parts.all()[0].entry.size + 1
        compact_store(changed, part_bytes=size)
        now = [part.entry.name for part in changed.parts.all()]
        assert names[0] in now
        assert names[1] not in now
        assert changed.tracks().filter(pc.equal(changed.tracks()["track_id"], "0-3"))["size"].to_pylist() == [77]

    def test_nothing_to_do(self, store):
        compact_store(store)
        before = store.parts.all()
        assert compact_store(store).removed == 0
        assert store.parts.all() == before


def read_ids(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_export(store, tmp_path):
    assert export_store(store, tmp_path / "out") == 120
    ids, matrix = store.matrix()
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "vectors.npy"), matrix)
    assert [row["track_id"] for row in read_ids(tmp_path / "out" / "ids.csv")] == ids


def test_export_of_windows(store, tmp_path):
    seen = []
    assert export_store(store, tmp_path / "out", windows=True, on_progress=lambda *one: seen.append(one)) == 237
    assert (seen[-1], len(seen)) == ((237, 237), 3)
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
    assert run(app, ["store", "verify", str(store.path)]).output.splitlines()[-1] == "no problems"
    assert "120 rows" in run(app, ["store", "export", str(store.path), str(tmp_path / "out")]).output
    path_of(store, 0).write_bytes(b"nothing")
    result = run(app, ["store", "verify", str(store.path)])
    assert result.exit_code == 1
    assert "problem" in result.output
    assert isinstance(result.exception, StoreError)

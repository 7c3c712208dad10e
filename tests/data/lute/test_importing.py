import gzip
import json
import sqlite3
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from eno.data.lute import json_source as lute_json
from eno.data.lute import sqlite_source as lute_sqlite
from eno.data.lute.albums import ALBUM_SCHEMA, read_albums
from eno.data.lute.importing import import_lute
from eno.errors import CatalogueError, MissingExtra
from scripts.bench.catalogue.lute_database import write_database
from tests.data.lute.lute_sources import ALBUMS, write_lines


def album(name: str, **fields) -> dict:
    return {"name": name, "file_name": f"release/album/x/{name}", "rating": 3.0, **fields}


def imported(source, **options):
    destination = source.parent / "out" / "albums.parquet"
    report = import_lute(source, destination, **options)
    assert report.read == report.albums + report.malformed + report.repeated + report.duplicates
    return report, read_albums(destination)


def names(table: pa.Table) -> list[str]:
    return table["name"].to_pylist()


WRITERS = {
    "lines": write_lines,
    "lines with gzip": lambda path, albums: _compressed(write_lines(path, albums), gzip.compress),
    "lines with zstd": lambda path, albums: _compressed(write_lines(path, albums), zstandard.compress),
    "array": lambda path, albums: _text(path, json.dumps(albums, indent=1)),
    "array with gzip": lambda path, albums: _compressed(_text(path, json.dumps(albums)), gzip.compress),
    "database": write_database,
    "parquet": lambda path, albums: pq.write_table(pa.Table.from_pylist(albums, schema=ALBUM_SCHEMA), path) or path,
}


def _compressed(path, compress):
    path.write_bytes(compress(path.read_bytes()))
    return path


def _text(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_yields_the_same_table(tmp_path, form):
    report, table = imported(WRITERS[form](tmp_path / "albums", ALBUMS))
    assert table.schema.equals(ALBUM_SCHEMA)
    expected = [
        {**one, "rating": one["rating"] or None, "musicbrainz_release_id": None, "musicbrainz_release_group_id": None}
        for one in ALBUMS[:2]
    ]
    assert table.to_pylist() == expected
    assert (report.albums, report.duplicates, report.malformed) == (2, 1, 0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["albums.parquet"]


class TestMalformed:
    def test_malformed_lines_are_reported_and_skipped(self, tmp_path):
        lines = [
            album("a"),
            '{"name": "cut off"',
            "",
            "null",
            "[1, 2]",
            album("b", rating=["four"]),
            album("c", tracks=[{"name": "x", "duration_seconds": True}]),
            b'{"file_name": "x", "name": "caf\xe9"}',
            {"name": "no file name"},
            album("d", artists=[["x"]]),
            album("e") | {"file_name": " "},
            '{"file_name": "x", "rating_count": {}}',
            json.dumps(album("f")) * 2,
            '{"file_name": "half a pair \\ud800"}',
            album("g"),
        ]
        report, table = imported(write_lines(tmp_path / "a.jsonl", lines))
        assert names(table) == ["a", "g"]
        reasons = {one.place: one.reason for one in report.examples}
        assert reasons == {
            "line 2": "is not valid JSON at character 19: Expecting ',' delimiter",
            "line 4": "expected an album object, found None",
            "line 5": "expected an album object, found [1, 2]",
            "line 6": "rating is ['four'], expected a number",
            "line 7": "tracks[0].duration_seconds is True, expected a whole number",
            "line 8": "is not UTF-8 at byte 32",
            "line 9": "lacks file_name",
            "line 10": "artists[0] is ['x'], expected an object with name and file_name",
            "line 11": "lacks file_name",
            "line 12": "rating_count is {}, expected a whole number",
            "line 13": f"is not valid JSON at character {len(json.dumps(album('f'))) + 1}: Extra data",
            "line 14": "file_name contains an unpaired surrogate, which is not a character",
        }
        ledger = [json.loads(line) for line in report.ledger.read_text("utf-8").splitlines()]
        assert {one["place"]: one["reason"] for one in ledger} == reasons

    def test_a_later_clean_import_removes_the_ledger(self, tmp_path):
        report, _ = imported(write_lines(tmp_path / "a.jsonl", [album("a"), "{"]))
        assert report.ledger.is_file()
        imported(write_lines(tmp_path / "a.jsonl", [album("a")]))
        assert not report.ledger.exists()

    def test_strict_stops_and_keeps_the_existing_table(self, tmp_path):
        imported(write_lines(tmp_path / "a.jsonl", [album("former")]))
        source = write_lines(tmp_path / "a.jsonl", [album("a"), "{", album("b")])
        with pytest.raises(CatalogueError, match=r"a\.jsonl: line 2: is not valid JSON"):
            imported(source, strict=True)
        assert names(read_albums(tmp_path / "out" / "albums.parquet")) == ["former"]
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["albums.parquet"]

    def test_numbers_are_accepted_as_text_and_integral_floats_as_integers(self, tmp_path):
        track = {"name": "x", "position": 3, "duration_seconds": 100.0}
        _, table = imported(write_lines(tmp_path / "a.jsonl", [album("a", tracks=[track], rating=4)]))
        (row,) = table.to_pylist()
        assert row["tracks"] == [{"name": "x", "position": "3", "duration_seconds": 100, "rating": None}]

    def test_arrays_need_ijson_and_lines_do_not(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "ijson", None)
        assert names(imported(write_lines(tmp_path / "a.jsonl", [album("a")]))[1]) == ["a"]
        with pytest.raises(MissingExtra, match="ijson") as raised:
            imported(_text(tmp_path / "a.json", json.dumps([album("a")])))
        assert raised.value.extra == "lute"

    def test_malformed_elements_of_an_array_are_reported(self, tmp_path):
        elements = [album("a"), 7, album("b", artists="Slowdive"), album("c")]
        report, table = imported(_text(tmp_path / "a.json", json.dumps(elements)))
        assert names(table) == ["a", "c"]
        assert [(one.place, one.reason) for one in report.examples] == [
            ("album number 2", "expected an album object, found 7"),
            ("album number 3", "artists is 'Slowdive', expected a list"),
        ]

    @given(st.lists(st.sampled_from(["good", "bad", "blank", "null", "repeated"]), max_size=60), st.integers(1, 400))
    def test_blocks_and_halves_lose_nothing(self, tmp_path_factory, kinds, block_bytes):
        tmp_path = tmp_path_factory.mktemp("lines")
        content = {"bad": '{"rating": []}', "blank": " ", "null": "null", "repeated": album("again")}
        lines = [content.get(kind, album(str(i))) for i, kind in enumerate(kinds)]
        source = write_lines(tmp_path / "a.jsonl", [album("first"), *lines])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lute_json, "_BLOCK_BYTES", block_bytes)
            patch.setattr(lute_json, "_READ_BY_PYTHON", 2)
            report, table = imported(source)
        count = Counter(kinds)
        expected = ["first"] + [str(i) for i, kind in enumerate(kinds) if kind == "good"]
        assert sorted(names(table)) == sorted(expected + ["again"] * (count["repeated"] > 0))
        assert report.repeated == max(0, count["repeated"] - 1)
        bad = [f"line {i}" for i, kind in enumerate(kinds, 2) if kind in ("bad", "null")]
        assert [one.place for one in report.examples] == bad


def _with_float_durations(path, albums):
    track = pa.struct([("name", pa.string()), ("duration_seconds", pa.float64()), ("rating", pa.float64())])
    schema = pa.schema([("tracks", pa.list_(track)) if one.name == "tracks" else one for one in ALBUM_SCHEMA])
    pq.write_table(pa.Table.from_pylist(albums, schema=schema), path)
    return path


class TestNumbers:
    @pytest.mark.parametrize(
        "write",
        [WRITERS["lines"], WRITERS["array with gzip"], WRITERS["database"], _with_float_durations],
        ids=["lines", "array", "database", "parquet"],
    )
    def test_fractions_are_rounded_and_unknown_durations_stay_empty(self, tmp_path, write):
        durations = [224.6, None, 180, 0]
        tracks = [{"name": None, "duration_seconds": one, "rating": None, "position": None} for one in durations]
        _, table = imported(write(tmp_path / "albums", [ALBUMS[0] | {"tracks": tracks}, ALBUMS[1]]))
        assert [track["duration_seconds"] for track in table["tracks"][0].as_py()] == [225, None, 180, 0]
        assert table["primary_genres"][0].as_py() == ["Shoegaze", "Dream Pop"]

    def test_an_albums_table_written_by_hand_may_have_them_too(self, tmp_path, caplog):
        tracks = [{"name": "x", "duration_seconds": one} for one in (224.6, float("nan"), 1e12)]
        _with_float_durations(tmp_path / "albums.parquet", [ALBUMS[0] | {"tracks": tracks}])
        table = read_albums(tmp_path / "albums.parquet")
        assert [track["duration_seconds"] for track in table["tracks"][0].as_py()] == [225, None, None]
        assert "numbers that cannot be read stay empty: 1, for example tracks[2].duration_seconds is 1" in caplog.text

    def test_numbers_and_times_may_be_text_and_nan_means_null(self, tmp_path):
        durations = ["225", "224.5", "3:45", "1:02:03", float("nan"), "nan", float("inf")]
        tracks = [{"name": 1999, "duration_seconds": one, "position": 1.0} for one in durations]
        one = album(
            "a", tracks=tracks, rating="3.85", rating_count="1200", release_date=1993.0, spotify_id=float("nan")
        )
        (row,) = imported(write_lines(tmp_path / "a.jsonl", [one]))[1].to_pylist()
        assert [track["duration_seconds"] for track in row["tracks"]] == [225, 224, 225, 3723, None, None, None]
        assert {(track["name"], track["position"]) for track in row["tracks"]} == {("1999", "1")}
        assert (row["rating"], row["rating_count"]) == (pytest.approx(3.85), 1200)
        assert (row["release_date"], row["spotify_id"]) == ("1993", None)

    def test_a_number_that_cannot_be_read_does_not_cost_the_album(self, tmp_path, caplog):
        albums = [
            album("a", tracks=[{"duration_seconds": "long"}, {"duration_seconds": 100}]),
            album("b", rating="four", rating_count=2**40),
        ]
        report, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        assert (names(table), report.malformed) == (["a", "b"], 0)
        assert [track["duration_seconds"] for track in table["tracks"][0].as_py()] == [None, 100]
        assert caplog.messages == [
            f"{tmp_path / 'a.jsonl'}: numbers that cannot be read stay empty: 3, for example line 1: "
            "tracks[0].duration_seconds is 'long', expected a whole number."
        ]

    def test_missing_names_and_artists_are_null(self, tmp_path):
        one = album("a", artists=[None, {"name": None, "file_name": None}], tracks=[None, {}], primary_genres=[None])
        (row,) = imported(write_lines(tmp_path / "a.jsonl", [one | {"name": None}]))[1].to_pylist()
        assert (row["name"], row["artists"][0], row["primary_genres"]) == (None, None, [])


class TestSpelling:
    def test_variants_of_case_width_and_spaces_become_the_most_frequent(self, tmp_path):
        genres = [
            ["Dream Pop"],
            ["dream pop", "Shoegaze"],
            ["Dream  Pop", "DREAM POP"],
            ["Ｄｒｅａｍ Pop", " "],
            ["dream pop"],
        ]
        albums = [album(str(i), primary_genres=g, descriptors=["Lo-Fi"]) for i, g in enumerate(genres)]
        albums.append(album("x", secondary_genres=["dream pop"], descriptors=["lo-fi", None, ""]))
        report, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        assert table["primary_genres"].to_pylist() == [
            ["dream pop"], ["dream pop", "Shoegaze"], ["dream pop"], ["dream pop"], ["dream pop"], [],
        ]  # fmt: skip
        assert table["secondary_genres"].to_pylist()[-1] == ["dream pop"]
        assert table["descriptors"].to_pylist() == [["Lo-Fi"]] * 6
        # "Dream Pop", "DREAM POP" and the wide one gave way, and "lo-fi".
        assert report.merged_spellings == 4

    def test_composed_and_decomposed_letters_are_one(self, tmp_path):
        albums = [album("a", primary_genres=["Música"]), album("b", primary_genres=["Mu\u0301sica"])]
        _, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        assert table["primary_genres"].to_pylist() == [["M\u00fasica"]] * 2

    def test_invisible_characters_and_html_entities_are_removed(self, tmp_path):
        genres = [["Shoegaze\u200b", "R&amp;amp;B"], ["Shoegaze", "R&B"], ["\ufeffshoegaze"], ["\u2060"]]
        albums = [album(str(i), primary_genres=one) for i, one in enumerate(genres)]
        _, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        assert table["primary_genres"].to_pylist() == [["Shoegaze", "R&B"]] * 2 + [["Shoegaze"], []]

    def test_a_genre_and_a_descriptor_do_not_mix(self, tmp_path):
        albums = [album("a", primary_genres=["Ambient"], descriptors=["ambient"])]
        _, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        (row,) = table.to_pylist()
        assert (row["primary_genres"], row["descriptors"]) == (["Ambient"], ["ambient"])


class TestDuplicates:
    def test_a_duplicate_without_its_original_is_kept(self, tmp_path):
        report, table = imported(write_lines(tmp_path / "a.jsonl", [album("a", duplicate_of="elsewhere")]))
        assert names(table) == ["a"]
        assert report.duplicates == 0

    def test_chains_of_duplicates_keep_the_original_and_cycles_keep_one(self, tmp_path):
        def path(name):
            return f"release/album/x/{name}"

        albums = [
            album("c", duplicate_of=path("b")),
            album("a"),
            album("b", duplicate_of=path("a")),
            album("p", duplicate_of=path("q")),
            album("q", duplicate_of=path("p")),
            album("self", duplicate_of=path("self")),
        ]
        report, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        assert names(table) == ["a", "p", "self"]
        assert report.duplicates == 3
        assert sorted(table["duplicates"].to_pylist()[0]) == [path("b"), path("c")]
        assert table["duplicates"].to_pylist()[1] == [path("q")]

    @pytest.mark.parametrize("entry", ["a", "b", "c"])
    def test_a_chain_into_a_cycle_keeps_an_album_of_the_cycle(self, tmp_path, entry):
        others = sorted({"a", "b", "c"} - {entry})
        following = {entry: others[0], others[0]: others[1], others[1]: others[0]}
        albums = [album(one, duplicate_of=f"release/album/x/{other}") for one, other in following.items()]
        report, table = imported(write_lines(tmp_path / "a.jsonl", albums))
        assert (names(table), report.duplicates) == ([others[0]], 2)


class TestUnusableFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "the file is empty"),
            (b"\n\n", "contains no albums"),
            (b"[]", "contains no albums"),
            (b"name,genres\nx,y\n", "all 2 records are malformed, for example line 1: is not valid JSON"),
            ('{"file_name": "a"}'.encode("utf-16"), "is UTF-16, expected UTF-8"),
            (b'[{"file_name": "a"}, {"file_name"', "is not valid JSON after album number 1"),
            (b'[{"file_name": "caf\xe9"}]', "is not valid JSON after album number 0"),
            (gzip.compress(json.dumps(album("a")).encode() * 100, mtime=0)[:-20], "is damaged or truncated"),
            (zstandard.compress(bytes(range(256)) * 100)[:-20], "is damaged or truncated"),
            (b"SQLite format 3\0" + b"\1" * 200, "cannot be read as Lute's SQLite database"),
            (b"PAR1" + b"\1" * 200, "cannot be read as Parquet"),
        ],
    )
    def test_message(self, tmp_path, content, message):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CatalogueError, match=f"file: .*{message}"):
            imported(tmp_path / "file")
        assert not list((tmp_path / "out").iterdir())

    def test_missing(self, tmp_path):
        with pytest.raises(CatalogueError, match=r"nowhere: cannot be read \(No such file or directory\)"):
            imported(tmp_path / "nowhere")

    def test_a_byte_order_mark_is_skipped(self, tmp_path):
        _, table = imported(_text(tmp_path / "a.jsonl", json.dumps(album("a")), "utf-8-sig"))
        assert names(table) == ["a"]

    def test_parquet_with_a_column_twice(self, tmp_path):
        table = pa.Table.from_pylist([ALBUMS[0]], schema=ALBUM_SCHEMA)
        pq.write_table(table.append_column("name", table["name"]), tmp_path / "a.parquet")
        with pytest.raises(CatalogueError, match="several columns of the same name: name"):
            imported(tmp_path / "a.parquet")

    @pytest.mark.parametrize("rating", ["1e999", "-1", "0"])
    def test_ratings_that_are_no_ratings_become_null(self, tmp_path, rating):
        lines = [json.dumps(album("a")).replace("3.0", rating), album("b")]
        assert imported(write_lines(tmp_path / "a.jsonl", lines))[1]["rating"].to_pylist() == [None, 3.0]

    def test_parquet_without_a_column_or_with_another_type(self, tmp_path):
        pq.write_table(pa.table({"file_name": ["a"], "descriptors": [["x"]]}), tmp_path / "a.parquet")
        with pytest.raises(CatalogueError, match="missing columns: primary_genres, secondary_genres; found file_name"):
            imported(tmp_path / "a.parquet")
        table = pa.table({"file_name": ["a"], **{name: ["x"] for name in lute_parquet_labels()}})
        pq.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(CatalogueError, match="the column primary_genres has the type string, expected list<"):
            imported(tmp_path / "a.parquet")


def lute_parquet_labels():
    return ("primary_genres", "secondary_genres", "descriptors")


class TestDatabase:
    def test_the_write_ahead_log_of_a_running_lute_is_read(self, tmp_path):
        path = write_database(tmp_path / "lute.db", ALBUMS)
        writer = sqlite3.connect(path)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE albums SET name = 'in the log' WHERE name = 'Souvlaki'")
        writer.commit()
        writer.execute("UPDATE albums SET name = 'not committed'")
        _, table = imported(path)
        assert names(table) == ["in the log", "空洞です"]
        writer.close()

    def test_a_locked_database_is_reported(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lute_sqlite, "_LOCK_WAIT_S", 0.1)
        path = write_database(tmp_path / "lute.db", ALBUMS)
        holder = sqlite3.connect(path)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CatalogueError, match=r"lute\.db: another program has locked the database"):
            imported(path)
        holder.close()

    def test_a_read_only_folder_works_after_a_clean_shutdown(self, tmp_path, monkeypatch):
        path = write_database(tmp_path / "lute.db", ALBUMS)
        connect = sqlite3.connect

        def refuse(address, **options):
            if "immutable" not in address:
                raise sqlite3.OperationalError("unable to open database file")
            return connect(address, **options)

        monkeypatch.setattr(sqlite3, "connect", refuse)
        assert imported(path)[0].albums == 2
        (tmp_path / "lute.db-wal").write_bytes(b"x")
        with pytest.raises(CatalogueError, match="Copy the database and its -wal file"):
            imported(path)

    def test_other_databases(self, tmp_path):
        sqlite3.connect(tmp_path / "other.db").executescript("CREATE TABLE songs (id INTEGER)").connection.close()
        with pytest.raises(CatalogueError, match=r"Missing tables: albums, .*; found songs"):
            imported(tmp_path / "other.db")
        write_database(tmp_path / "empty.db", [])
        with pytest.raises(CatalogueError, match="contains no albums"):
            imported(tmp_path / "empty.db")

    def test_older_databases_lack_columns_and_tables(self, tmp_path):
        path = write_database(tmp_path / "lute.db", ALBUMS)
        database = sqlite3.connect(path)
        database.executescript(
            "ALTER TABLE albums DROP COLUMN spotify_id; DROP TABLE credits; DROP TABLE album_duplicates"
        )
        database.close()
        _, table = imported(path)
        assert names(table) == ["Souvlaki", "空洞です", "Kūdō desu"]
        assert table["credits"].null_count == 3

    def test_rows_without_an_album_are_ignored(self, tmp_path):
        path = write_database(tmp_path / "lute.db", ALBUMS)
        database = sqlite3.connect(path)
        for table in ("album_artists", "album_descriptors", "album_languages"):
            database.execute(f"INSERT INTO {table} VALUES (NULL, 1)")
        database.execute("INSERT INTO tracks VALUES (NULL, NULL, 'lost', 1, 1, '1')")
        database.execute("INSERT INTO tracks VALUES (NULL, 'text', 'lost', 1, 1, '1')")
        database.execute("INSERT INTO credits VALUES (NULL, NULL, 1)")
        database.execute("INSERT INTO album_duplicates VALUES (NULL, 1), (1, NULL)")
        database.execute("UPDATE album_genres SET is_primary = NULL WHERE NOT is_primary")
        database.commit()
        database.close()
        _, table = imported(path)
        assert names(table) == ["Souvlaki", "空洞です"]
        assert [track["name"] for track in table["tracks"][0].as_py()] == ["Alison", "Machine Gun"]
        assert table["secondary_genres"][0].as_py() == ["Noise Pop"]

    def test_invalid_utf8_rejects_one_album(self, tmp_path):
        path = write_database(tmp_path / "lute.db", ALBUMS)
        database = sqlite3.connect(path)
        database.execute("UPDATE albums SET name = CAST(x'636166e9' AS TEXT) WHERE id = 2")
        database.commit()
        database.close()
        report, table = imported(path)
        assert names(table) == ["Souvlaki", "Kūdō desu"]
        assert [(one.place, one.reason[:12]) for one in report.examples] == [("albums.id 2", "is not UTF-8")]

import csv
import math

import pyarrow as pa
import pytest

from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.alignment import duration_agreement
from eno.data.matching.evidence import Model
from eno.data.matching.explaining import explain
from eno.data.matching.ids import read_mbids
from eno.data.matching.matcher import MATCH_SCHEMA, match, read_matches
from eno.data.matching.review import ReviewFile
from eno.errors import CatalogueError


def album(path, name, artist, date=None, lengths=(), **fields):
    tracks = [{"duration_seconds": length} for length in lengths]
    artists = [{"name": artist, "file_name": None}]
    return {
        "file_name": f"release/{path}",
        "name": name,
        "artists": artists,
        "release_date": date,
        "tracks": tracks,
    } | fields


ALBUMS = pa.Table.from_pylist(
    [
        album("album/slowdive/souvlaki", "Souvlaki", "Slowdive", "1993-05-17", (226, 232, 263),
              spotify_id="spotify:album:S"),
        album("album/weezer/weezer-f1", "Weezer", "Weezer", "1994-05-10", (205, 186, 159),
              duplicates=["release/album/w/w"]),
        album("album/weezer/weezer-f2", "Weezer", "Weezer", "2001-05-15", (179, 200, 139)),
        album("album/low/low", "Low", "Low", musicbrainz_release_group_id="mb-low"),
        album("comp/various-artists/nuggets", "Nuggets From the First Era", "Various Artists", "1972-01-01"),
    ],
    schema=ALBUM_SCHEMA,
)  # fmt: skip


def files(folder, artist, title, *, lengths=(None, None, None), year=None, **tags):
    return [
        {
            "track_id": f"{folder}/{n:02}.flac", "album": title, "album_artist": artist, "year": year,
            "track_number": n, "duration_s": length, "size": 1, "mtime_ns": 1, **tags,
        }
        for n, length in enumerate(lengths, 1)
    ]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    def run(*albums):
        tracks = pa.Table.from_pylist([row for rows in albums for row in rows], schema=TRACK_SCHEMA)
        report = match(tracks, ALBUMS, tmp_path / "out" / "matches.parquet", tmp_path / "out" / "review.csv")
        table = read_matches(tmp_path / "out" / "matches.parquet")
        assert table.schema.equals(MATCH_SCHEMA)
        assert report.tracks == report.matched + report.ambiguous + report.unmatched == len(table)
        return report, {row["track_id"].rpartition("/")[0]: row for row in table.to_pylist()}

    return run


def review_rows(tmp_path):
    with (tmp_path / "out" / "review.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_review(tmp_path, *rows):
    with (tmp_path / "out" / "review.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("decision", "folder", "album", "candidate"), *rows])


def edit_review(tmp_path, edit, encoding="utf-8-sig", separator=","):
    rows = review_rows(tmp_path)
    edited = edit(rows) or rows
    with (tmp_path / "out" / "review.csv").open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=separator)
        writer.writeheader()
        writer.writerows(edited)


def test_each_method_states_its_reason(run):
    report, found = run(
        files("release/album/slowdive/souvlaki/CD1", "nonsense", "nonsense"),
        files("release/album/w/w", None, None),
        files("ids/spotify", "x", "y", spotify_album_id="S"),
        files("ids/musicbrainz", "x", "y", musicbrainz_release_group_id="mb-low"),
        files("names", "slowdive", "Souvlaki (Remastered)"),
        files("nobody", "Nobody", "Nothing"),
    )
    assert {folder: (row["file_name"], row["method"]) for folder, row in found.items()} == {
        "release/album/slowdive/souvlaki/CD1": ("release/album/slowdive/souvlaki", "layout"),
        "release/album/w/w": ("release/album/weezer/weezer-f1", "layout"),
        "ids/spotify": ("release/album/slowdive/souvlaki", "spotify"),
        "ids/musicbrainz": ("release/album/low/low", "musicbrainz"),
        "names": ("release/album/slowdive/souvlaki", "names"),
        "nobody": (None, None),
    }
    assert all(row["reason"] for row in found.values())
    assert (report.matched, report.unmatched, report.albums) == (15, 3, 3)
    assert report.by_method == {"layout": 6, "spotify": 3, "musicbrainz": 3, "names": 3}


def test_unreadable_files_are_skipped(run):
    report, _ = run(files("a", "Slowdive", "Souvlaki", problem="is empty"), files("b", "Slowdive", "Souvlaki"))
    assert report.tracks == 3


def test_discs_of_one_folder_are_one_album_and_loose_files_are_not(run):
    _, found = run(
        files("x/CD1", "Weezer", "Weezer", lengths=(179, 200)),
        files("x/Disc 2", "Weezer", "Weezer", lengths=(139,), disc_number=2),
    )  # fmt: skip
    assert {row["file_name"] for row in found.values()} == {"release/album/weezer/weezer-f2"}


@pytest.mark.parametrize(
    "folder",
    ["Slowdive - 1993 - Souvlaki", "Slowdive - Souvlaki (1993)", "Slowdive/Souvlaki", "Slowdive/1993 - Souvlaki"],
)
def test_folders_replace_missing_tags(run, folder):
    _, found = run(files(folder, None, None))
    decision = found[folder]["decision"], found[folder]["file_name"]
    assert decision == ("matched", "release/album/slowdive/souvlaki")


def test_a_folder_of_tracks_by_many_artists_is_a_compilation(run):
    rows = files("x", None, "Nuggets from the first era", lengths=(1, 2, 3, 4))
    for number, row in enumerate(rows):
        row["artist"] = f"Band {number} feat. Somebody"
    _, found = run(rows)
    assert found["x"]["file_name"] == "release/comp/various-artists/nuggets"


class TestCompilations:
    @pytest.mark.parametrize("album_artist", ["Verschiedene Interpreten", "Un mélange d'artistes inconnus"])
    def test_tracks_by_many_artists_are_a_compilation_whoever_the_album_artist_is(self, run, album_artist):
        rows = files("x", album_artist, "Nuggets from the first era", lengths=(1, 2, 3, 4))
        for number, row in enumerate(rows):
            row["artist"] = f"Band {number}"
        assert run(rows)[1]["x"]["file_name"] == "release/comp/various-artists/nuggets"

    def test_the_album_artist_remains_a_candidate(self, run):
        rows = files("x", "Low", "Low")
        for number, row in enumerate(rows):
            row["artist"] = f"Remixer {number}"
        assert run(rows)[1]["x"]["file_name"] == "release/album/low/low"

    def test_an_album_by_its_own_artist_with_guests_is_no_compilation(self, run):
        rows = files("x", "Somebody", "Nuggets from the first era", lengths=(1, 2, 3, 4))
        for number, row in enumerate(rows):
            row["artist"] = f"Somebody & Guest {number}"
        assert run(rows)[1]["x"]["decision"] != "matched"


def test_ids_from_a_file_of_musicbrainz_ids(tmp_path):
    mbids = tmp_path / "mbids.csv"
    mbids.write_text("mbid;file_name\nREL-1;release/album/low/low\nrel-2;release/unknown\n")
    out = tmp_path / "matches.parquet"
    tracks = files("a", "x", "y", musicbrainz_release_id="rel-1") + files("b", "x", "y", musicbrainz_release_id="rel-2")
    table = pa.Table.from_pylist(tracks, schema=TRACK_SCHEMA)
    match(table, ALBUMS, out, tmp_path / "review.csv", album_of_mbid=read_mbids(mbids))
    found = {row["track_id"][0]: (row["file_name"], row["method"]) for row in read_matches(out).to_pylist()}
    assert found == {"a": ("release/album/low/low", "musicbrainz"), "b": (None, None)}
    mbids.write_text("id,file_name\n")
    with pytest.raises(CatalogueError, match=r"mbids\.csv: missing columns: mbid; found 'id, file_name'"):
        read_mbids(mbids)


def test_an_explanation_has_the_evidence_and_its_weights_add_up(tmp_path):
    tracks = files("Slowdive/Souvlaki (CD)", "Slow Dive", "Souvlaki", lengths=(226, 232, 263), year=1993)
    tracks += files("other", "Low", "Low")
    table = pa.Table.from_pylist(tracks, schema=TRACK_SCHEMA)
    (one,) = explain(table, ALBUMS, "Slowdive", tmp_path / "review.csv")
    assert (one.folder, one.decision.file_name) == ("Slowdive/Souvlaki (CD)", "release/album/slowdive/souvlaki")
    assert one.facts["first tracks"] == "01 3:46, 02 3:52, 03 4:23"
    best, *others = one.candidates
    model = Model.load()
    odds = [math.exp(model.prior + sum(weight for _, _, weight in found.evidence)) for found in one.candidates]
    assert best.probability == pytest.approx(odds[0] / (1 + sum(odds)), abs=1e-3)
    assert dict((kind, level) for kind, level, _ in best.evidence)["lengths"] == "all of few"
    assert all(best.probability > found.probability for found in others)
    with pytest.raises(CatalogueError, match="nowhere: no scanned file has this path"):
        explain(table, ALBUMS, "nowhere", tmp_path / "review.csv")


class TestReview:
    def test_ambiguous_albums_are_reviewed_and_decisions_followed_and_kept(self, run, tmp_path):
        weezer = files("w", "Weezer", "Weezer")
        report, found = run(weezer)
        assert (report.ambiguous, report.to_review) == (3, 1)
        assert "several albums match equally well" in found["w"]["reason"]
        rows = review_rows(tmp_path)
        assert [row["candidate"] for row in rows] == [
            "release/album/weezer/weezer-f1",
            "release/album/weezer/weezer-f2",
        ]
        assert rows[1]["candidate_date"] == "2001-05-15"

        def second(rows):
            rows[1]["decision"] = " YES "

        edit_review(tmp_path, second)
        for _ in range(2):  # the answer is still there the next time
            report, found = run(weezer)
            assert (found["w"]["file_name"], found["w"]["method"]) == ("release/album/weezer/weezer-f2", "review")
            assert report.to_review == 0
        assert [row["decision"] for row in review_rows(tmp_path)] == ["yes"]

    def test_the_decision_no_rejects_a_candidate(self, run, tmp_path):
        weezer = files("w", "Weezer", "Weezer")
        run(weezer)
        edit_review(tmp_path, lambda rows: rows[0].update(decision="no"))
        assert run(weezer)[1]["w"]["file_name"] == "release/album/weezer/weezer-f2"
        edit_review(tmp_path, lambda rows: [rows[0], rows[0] | {"candidate": "release/album/weezer/weezer-f2"}])
        assert run(weezer)[1]["w"]["decision"] == "unmatched"

    @pytest.mark.parametrize(
        ("folder", "artist", "title", "ids"),
        [
            ("release/album/slowdive/souvlaki", "Nobody", "x", {}),
            ("release/album/w/w", "Nobody", "x", {}),  # the folder of a duplicate
            ("ids", "Nobody", "x", {"spotify_album_id": "S"}),
            ("ids", "Nobody", "x", {"musicbrainz_release_group_id": "mb-low"}),
            ("names", "Slowdive", "Souvlaki", {}),
            # The next evidence would be the folder, or artist and title.
            ("release/album/slowdive/souvlaki", "Slowdive", "Souvlaki", {"spotify_album_id": "S"}),
        ],
    )
    def test_a_rejected_album_is_not_matched_by_any_evidence(self, run, tmp_path, folder, artist, title, ids):
        tracks = files(folder, artist, title, **ids)
        album = run(tracks)[1][folder]["file_name"]
        assert album
        write_review(tmp_path, ("no", folder, title, album))
        row = run(tracks)[1][folder]
        assert (row["decision"], row["file_name"]) == ("unmatched", None)
        assert row["reason"] == "you rejected the albums that it could be"
        assert review_rows(tmp_path)[0]["decision"] == "no"

    def test_a_rejected_duplicate_rejects_its_original_and_other_evidence_remains(self, run, tmp_path):
        tracks = files("release/album/w/w", "Low", "Low", spotify_album_id="S")
        place = "release/album/w/w", "Low"
        (tmp_path / "out").mkdir()
        write_review(tmp_path, ("no", *place, "release/album/slowdive/souvlaki"))
        assert run(tracks)[1]["release/album/w/w"]["file_name"] == "release/album/weezer/weezer-f1"
        write_review(tmp_path, *(("no", *place, f"release/album/{one}") for one in ("slowdive/souvlaki", "w/w")))
        assert run(tracks)[1]["release/album/w/w"]["file_name"] == "release/album/low/low"
        write_review(tmp_path, ("yes", *place, "release/album/w/w"))
        assert run(tracks)[1]["release/album/w/w"]["file_name"] == "release/album/weezer/weezer-f1"

    @pytest.mark.parametrize(
        "odd", ["Wait\x85What", "a\nb", "a\rb\r\nc", "a\u2028b", "\x1ca\xa0", "=1+1", "'=1", "-5", 'a;"b']
    )
    def test_unusual_names_keep_their_decisions(self, run, tmp_path, odd):
        weezer = files(f"{odd}/x", "Weezer", "Weezer")
        run(weezer)
        edit_review(tmp_path, lambda rows: rows[1].update(decision="yes"))
        for _ in range(2):
            assert run(weezer)[1][f"{odd}/x"]["file_name"] == "release/album/weezer/weezer-f2"

    def test_a_rejected_album_that_is_not_in_the_catalogue_is_reported(self, run, tmp_path, caplog):
        tracks = files("ids", "x", "y", spotify_album_id="S")
        tracks[0]["spotify_album_id"] = "unknown"  # so that the ids are ambiguous
        (tmp_path / "out").mkdir()
        write_review(tmp_path, ("no", "ids", "y", "release/typo"))
        assert run(tracks)[1]["ids"]["decision"] == "unmatched"
        assert "line 2: the rejected album 'release/typo' is not in the catalogue" in caplog.text

    def test_decisions_about_albums_without_files_are_kept_and_reported(self, run, tmp_path, caplog):
        (tmp_path / "out").mkdir()
        write_review(tmp_path, ("no", "gone", "007", "release/album/low/low"))
        run(files("w", "Low", "Low"))
        assert "1 of the albums that you decided about have no files here, for example album '007'" in caplog.text
        assert review_rows(tmp_path)[0]["album"] == "007"

    def test_decisions_override_folders_and_names(self, run, tmp_path):
        tracks = files("release/album/low/low", "Low", "Low")
        run(tracks, files("w", "Weezer", "Weezer"))
        place = {"folder": "release/album/low/low", "album": "Low"}
        choice = {"decision": "x", "candidate": "release/album/slowdive/souvlaki"}
        edit_review(tmp_path, lambda rows: [*rows, rows[0] | place | choice], separator=";")
        assert run(tracks)[1]["release/album/low/low"]["file_name"] == "release/album/slowdive/souvlaki"

    def test_decisions_survive_other_folders_and_tags(self, run, tmp_path):
        lengths = (400.5,)
        run(files("w", "Weezer", "Weezer", lengths=lengths))
        edit_review(tmp_path, lambda rows: [row | {"decision": "no"} for row in rows])
        for folder, title in (("Music/Weezer (green)", "Weezer"), ("Music/Weezer (green)", "The Green Album")):
            _, found = run(files(folder, "Weezer", title, lengths=lengths))
            assert found[folder]["reason"] == "you rejected the albums that it could be"
            assert {(row["folder"], row["album"]) for row in review_rows(tmp_path)} == {(folder, title)}
        assert run(files("other", "Weezer", "Weezer", lengths=(401.5,)))[0].to_review == 1

    def test_the_other_candidates_of_an_album_are_still_asked_about(self, run, tmp_path):
        weezer = files("w", "Weezer", "Weezer", lengths=(None,) * 8)
        run(weezer)
        edit_review(tmp_path, lambda rows: rows[0].update(decision="no"))
        report, _ = run(weezer)
        decided = {row["candidate"][-2:]: row["decision"] for row in review_rows(tmp_path)}
        assert decided == ({"f1": "no", "f2": ""} if report.to_review else {"f1": "no"})

    def test_questions_about_more_tracks_come_first(self, run, tmp_path):
        run(files("few", "Weezer", "Weezer"), files("many", "Weezer", "Weezer", lengths=(None,) * 12))
        folders = [row["folder"] for row in review_rows(tmp_path)]
        assert folders == ["many", "many", "few", "few"]

    def test_answers_during_a_match_are_kept(self, tmp_path):
        path, out = tmp_path / "out" / "review.csv", tmp_path / "out" / "matches.parquet"
        tracks = pa.Table.from_pylist(files("w", "Weezer", "Weezer"), schema=TRACK_SCHEMA)
        match(tracks, ALBUMS, out, path)
        answered = []

        def answer(done, total):
            answered.append(ReviewFile(path).answer("w", "Weezer", "release/album/weezer/weezer-f2"))

        match(tracks, ALBUMS, out, path, on_progress=answer)
        assert answered == [True]
        assert [row["decision"] for row in review_rows(tmp_path)] == ["yes"]
        match(tracks, ALBUMS, out, path)
        assert read_matches(out)["file_name"].to_pylist() == ["release/album/weezer/weezer-f2"] * 3

    @pytest.mark.parametrize(
        ("change", "encoding", "message"),
        [
            ({"decision": "maybe"}, "utf-8", "line 2: decision 'maybe', expected yes or no"),
            ({"decision": "yes", "candidate": "release/x"}, "utf-8", "line 2: unknown album 'release/x'"),
            ({"folder": "caf\xe9"}, "latin-1", r"review\.csv: line 2 is not UTF-8; save the file as UTF-8"),
        ],
    )
    def test_errors_in_the_review_file_are_reported_and_the_file_is_kept(
        self, run, tmp_path, change, encoding, message
    ):
        weezer = files("w", "Weezer", "Weezer")
        run(weezer)
        edit_review(tmp_path, lambda rows: rows[0].update(change), encoding)
        content = (tmp_path / "out" / "review.csv").read_bytes()
        with pytest.raises(CatalogueError, match=message):
            run(weezer)
        assert (tmp_path / "out" / "review.csv").read_bytes() == content

    def test_a_file_without_the_columns(self, run, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "review.csv").write_text("a,b\n1,2\n")
        with pytest.raises(CatalogueError, match="missing columns: decision, folder, album, candidate"):
            run(files("w", "Weezer", "Weezer"))


def test_a_folder_in_an_album_folder_belongs_to_it_but_a_common_beginning_does_not(run):
    place = "release/album/slowdive/souvlaki"
    folders = f"{place}/CD1/Extras", f"{place} demos"
    _, found = run(*(files(folder, "x", "y") for folder in folders))
    assert [found[folder]["file_name"] for folder in folders] == [place, None]


@pytest.mark.parametrize(
    ("local", "listed", "expected"),
    [
        ([200, 210, 220], [201, 212, 223], 1.0),
        ([200, 210, 220, 500, 600], [200, 210, 220], 1.0),
        ([200, 220, 210], [200, 210, 220], 2 / 3),
        ([200, 210], [200, 210, 220], None),
        ([200, 210, 220], [200, 0, 220], None),
        ([200, 0, 220, -1, 240], [200, 210, 220, 240], 1.0),
        ([200, 210, 220, 230], [100, 300, 400, 500], 0.0),
    ],
)
def test_lengths_agree_in_order_and_within_three_seconds(local, listed, expected):
    assert duration_agreement(local, listed) == expected

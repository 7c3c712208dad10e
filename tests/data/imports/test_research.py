"""The library of beets and the annotations of research data sets, in small files of the published formats."""

import os
import sqlite3

import pytest

from eno.data.imports import write_import
from eno.data.imports.beets import read_beets
from eno.data.imports.paths import TrackPaths
from eno.data.imports.research import read_fma, read_jamendo, read_magnatagatune
from eno.errors import CatalogueError
from tests.data.imports.conftest import track

# The tables that beets 2 creates, with the columns that matter here.
BEETS = """
CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB, album_id INTEGER, title TEXT, artist TEXT, albumartist TEXT,
                    album TEXT, genre TEXT, style TEXT, grouping TEXT);
CREATE TABLE albums (id INTEGER PRIMARY KEY, artpath BLOB, album TEXT, albumartist TEXT, genre TEXT, style TEXT);
CREATE TABLE item_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT, UNIQUE(entity_id, key));
CREATE TABLE album_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT, UNIQUE(entity_id, key));
"""


class TestBeets:
    @pytest.fixture
    def library(self, tmp_path):
        path = tmp_path / "library.db"
        with sqlite3.connect(path) as database:
            database.executescript(BEETS)
            insert = "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            root = os.fsencode(tmp_path / "music")
            database.execute(insert, (1, root + b"/a/1.ogg", 1, "One", "Low", "Low", "Post", "Slowcore, Rock", "", ""))
            database.execute(insert, (2, root + b"/a/2.ogg", 1, "Two", "Low", "Low", "Post", "", "", ""))
            database.execute(insert, (3, b"/elsewhere/1.ogg", None, "", "", "", "", "Pop", "", ""))
            database.execute("INSERT INTO albums VALUES (1, NULL, 'Post', 'Low', 'Folk', 'Sadcore')")
            database.execute("INSERT INTO item_attributes VALUES (1, 2, 'mood', 'calm\\␀cold')")
            database.execute("INSERT INTO album_attributes VALUES (1, 1, 'language', 'English')")
        database.close()
        return path

    def test_items_have_their_fields_or_those_of_their_album(self, library, tmp_path):
        before = library.read_bytes()
        tracks = TrackPaths(["a/1.ogg", "a/2.ogg"], [tmp_path / "music"])
        items, skipped = read_beets(library, tracks)
        assert [(item.track_ids, item.artist, item.album, item.labels) for item in items] == [
            (["a/1.ogg"], "Low", "Post", [("genre", "Slowcore"), ("genre", "Rock"), ("genre", "Sadcore")]),
            (
                ["a/2.ogg"], "Low", "Post",
                [("genre", "Folk"), ("genre", "Sadcore"), ("descriptor", "calm"), ("descriptor", "cold")],
            ),
        ]  # fmt: skip
        assert skipped == ["/elsewhere/1.ogg: is not a track of this collection"]
        assert library.read_bytes() == before
        items, _ = read_beets(library, tracks, {"language": "descriptor"})
        assert [item.labels for item in items] == [[("descriptor", "English")]] * 2

    def test_other_files_are_refused(self, tmp_path):
        (tmp_path / "other.db").write_text("no database")
        for name, message in (("other.db", "cannot be read as a library of beets"), ("gone.db", "no such file")):
            with pytest.raises(CatalogueError, match=message):
                read_beets(tmp_path / name, TrackPaths([]))


JAMENDO = """TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS
track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punkrock\tmood/theme---happy
track_0000215\tartist_000014\talbum_000031\t15/215.mp3\t151.4\tgenre---metal\tinstrument---piano
track_0000216\tartist_000015\talbum_000032\t16/216.mp3\t234.9\tgenre---metal
"""


class TestJamendo:
    def test_tags_artists_and_albums_are_read(self, tmp_path):
        (tmp_path / "autotagging.tsv").write_text(JAMENDO)
        items, skipped, _ = read_jamendo(tmp_path / "autotagging.tsv", TrackPaths(["14/214.low.mp3", "15/215.mp3"]))
        assert [(item.track_ids, item.artist, item.album, item.labels) for item in items] == [
            (["14/214.low.mp3"], "artist_000014", "album_000031", [("genre", "punkrock"), ("descriptor", "happy")]),
            (["15/215.mp3"], "artist_000014", "album_000031", [("genre", "metal"), ("instrument", "piano")]),
        ]
        assert skipped == ["line 4: '16/216.mp3' is no track here, or several"]

    def test_published_splits_that_share_artists_need_to_be_allowed(self, collection, tmp_path, caplog):
        (tmp_path / "autotagging.tsv").write_text(JAMENDO)
        rows = [track(f"{one}.low.mp3") for one in ("14/214", "15/215", "16/216")]
        collection.scanned(rows)
        tracks = TrackPaths([row["track_id"] for row in rows])
        write_import(collection.data, "jamendo", read_jamendo(tmp_path / "autotagging.tsv", tracks)[0])
        collection.match()
        collection.labels()
        header, *lines = JAMENDO.splitlines()
        folder = tmp_path / "split-0"
        folder.mkdir()
        for name, line in zip(("train", "validation", "test"), lines, strict=True):
            (folder / f"autotagging-{name}.tsv").write_text(f"{header}\n{line}\n")
        with pytest.raises(CatalogueError, match="artist artist 000014 is in train and val"):
            collection.split(official=folder)
        splits = collection.split(official=folder, allow_leaks=True)
        assert {name: [row["track_id"] for row in own] for name, own in splits.items()} == {
            "train": ["14/214.low.mp3"], "val": ["15/215.low.mp3"], "test": ["16/216.low.mp3"],
        }  # fmt: skip
        assert "artist artist 000014 is in train and val" in caplog.text

    def test_other_tables_are_refused(self, tmp_path):
        (tmp_path / "x.tsv").write_text("path\tlabel\n")
        with pytest.raises(CatalogueError, match="expected the columns TRACK_ID"):
            read_jamendo(tmp_path / "x.tsv", TrackPaths([]))


def test_magnatagatune_with_its_usual_split(tmp_path):
    (tmp_path / "annotations_final.csv").write_text(
        '"clip_id"\t"guitar"\t"slow"\t"mp3_path"\n'
        '"2"\t"1"\t"0"\t"f/band-album-01-song-0-29.mp3"\n"6"\t"0"\t"1"\t"0/band-album-01-song-29-58.mp3"\n'
    )
    (tmp_path / "clip_info_final.csv").write_text(
        "clip_id\ttrack_number\ttitle\tartist\talbum\tmp3_path\n2\t1\tSong\tBand\tAlbum\tf/band-album-01-song-0-29.mp3\n"
    )
    tracks = TrackPaths(["f/band-album-01-song-0-29.mp3", "0/band-album-01-song-29-58.mp3"])
    items, skipped, splits = read_magnatagatune(
        tmp_path / "annotations_final.csv", tracks, tmp_path / "clip_info_final.csv"
    )
    assert [(item.labels, item.artist, item.album) for item in items] == [
        ([("descriptor", "guitar")], "Band", "Album"), ([("descriptor", "slow")], None, None),
    ]  # fmt: skip
    assert skipped == []
    assert splits == {"test": ["f/band-album-01-song-0-29.mp3"], "train": ["0/band-album-01-song-29-58.mp3"]}


def test_fma_with_its_split(tmp_path):
    (tmp_path / "genres.csv").write_text(
        "genre_id,#tracks,parent,title,top_level\n21,8,0,Hip-Hop,21\n100,2,21,Alternative Hip-Hop,21\n"
    )
    (tmp_path / "tracks.csv").write_text(
        ",album,artist,set,track,track,track\n,title,name,split,genre_top,genres_all,title\ntrack_id,,,,,,\n"
        '2,AWOL,AWOL,training,Hip-Hop,"[21, 100]",Food\n5,AWOL,AWOL,test,Hip-Hop,[21],This World\n'
    )
    items, skipped, splits = read_fma(tmp_path, TrackPaths(["000/000002.mp3"]))
    (item,) = items
    assert (item.artist, item.album, item.title) == ("AWOL", "AWOL", "Food")
    assert item.labels == [("genre", "Hip-Hop"), ("genre", "Alternative Hip-Hop")]
    assert skipped == ["track 5: no file 000/000005.mp3 here"]
    assert splits == {"train": ["000/000002.mp3"]}


def test_gtzan_is_folders_with_lists_of_an_artist_filtered_split(collection, tmp_path):
    from eno.data.imports.folders import labels_of_folders

    ids = [f"{genre}/{genre}.{n:05}.wav" for genre in ("blues", "jazz") for n in range(3)]
    collection.scanned([track(one) for one in ids])
    write_import(collection.data, "folders", *labels_of_folders(ids))
    collection.match()
    collection.labels()
    for place, name in enumerate(("train", "valid", "test")):
        (tmp_path / f"{name}_filtered.txt").write_text("".join(f"{one}\n" for one in ids[place::3]))
    splits = collection.split(official=tmp_path)
    assert {name: [row["track_id"] for row in own] for name, own in splits.items()} == {
        "train": ids[0::3], "val": ids[1::3], "test": ids[2::3],
    }  # fmt: skip

"""Labels from tags, CSV files and folders."""

import json
from pathlib import Path

import pytest

from eno.data.imports import write_import
from eno.data.imports.csv_file import read_label_csv
from eno.data.imports.folders import labels_of_folders
from eno.data.imports.paths import TrackPaths
from eno.data.imports.tags import labels_of_tags
from eno.errors import CatalogueError
from tests.command import eno
from tests.data.imports.conftest import track

IDS = ["Rock/Low/Secret Name/01 Starfire.flac", "Rock/Low/Secret Name/02.flac", "Folk/Nick Drake/Pink Moon/01.flac"]


class TestTags:
    def test_fields_belong_to_families_and_lists_are_split(self, collection):
        tracks = collection.scanned([
            track("a.ogg", genres=["Rock|Pop", "Noise Pop"], styles=["Shoegaze"], moods=["calm"], groupings=["night"]),
            track("b.ogg", genres=[], styles=[], moods=[], groupings=[]),
            track("c.ogg"),
        ])  # fmt: skip
        (item,), _ = labels_of_tags(tracks)
        assert item.track_ids == ["a.ogg"]
        assert item.labels == [
            ("genre", "Rock"), ("genre", "Pop"), ("genre", "Noise Pop"), ("genre", "Shoegaze"),
            ("descriptor", "calm"), ("descriptor", "night"),
        ]  # fmt: skip
        (item,), _ = labels_of_tags(tracks, {"mood": "genre"}, separators="")
        assert item.labels == [("genre", "calm")]

    def test_an_unknown_tag_is_an_error(self, collection):
        with pytest.raises(CatalogueError, match="'artist' is not a tag with labels; expected one of genre"):
            labels_of_tags(collection.scanned([]), {"artist": "genre"})


class TestFolders:
    def test_the_first_folder_is_the_genre(self):
        items, skipped = labels_of_folders([*IDS, "loose.flac"])
        assert [item.labels for item in items] == [[("genre", "Rock")]] * 2 + [[("genre", "Folk")]]
        assert skipped == ["loose.flac: its folders do not fit {genre}"]

    def test_the_command_shows_what_it_took_for_labels(self, collection):
        tags = [("Low", "Secret Name"), ("Low", "Secret Name"), ("Nick Drake", "Pink Moon")]
        names = ["rock/Low/Secret Name/1.flac", "rock/Low/Secret Name/2.flac", "folk/Nick Drake/Pink Moon/1.flac"]
        collection.scanned([track(one, *tags[place]) for place, one in enumerate(names)])
        where = ["--data-root", collection.data.root]
        right = eno("import", "folders", *where, cwd=collection.data.root)
        assert (right.returncode, right.stderr) == (0, "")
        assert "genre: 2 labels: rock 2, folk 1" in right.stdout
        assert f"example {names[0]}: genre rock" in right.stdout
        wrong = eno("import", "folders", "{}/{genre}", "--json", *where, cwd=collection.data.root)
        assert json.loads(wrong.stdout)["labels"] == {"genre": {"Low": 2, "Nick Drake": 1}}
        assert "3 of 3 tracks have the name of their artist as a label" in " ".join(wrong.stderr.split())

    def test_a_pattern_names_artists_and_albums_too(self):
        items, _ = labels_of_folders(
            ["x/Rock/Low - Secret Name [calm]/1.flac"], "{}/{genre}/{artist} - {album} [{mood}]"
        )
        (item,) = items
        assert (item.artist, item.album) == ("Low", "Secret Name")
        assert item.labels == [("genre", "Rock"), ("descriptor", "calm")]

    @pytest.mark.parametrize("pattern", ["{artist}/{album}", "genre", "{genre}{genre}"])
    def test_patterns_without_labels_are_errors(self, pattern):
        with pytest.raises(CatalogueError, match="pattern"):
            labels_of_folders(IDS, pattern)


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            (IDS[0], [0]), ("/music/" + IDS[0], [0]), ("./" + IDS[0], [0]), (IDS[0].replace("/", "\\"), [0]),
            ("01 Starfire.flac", [0]), ("01 Starfire", [0]), ("Pink Moon/01.mp3", [2]), ("Pink Moon/01", [2]),
            ("Rock", [0, 1]), ("Rock/Low/", [0, 1]), ("/music/Folk", [2]),
            ("", []), ("01", [2]), ("Starfire.flac", []), ("/elsewhere/" + IDS[0], []), ("Roc", []),
        ],
    )  # fmt: skip
    def test_a_path_means_one_track_or_a_folder(self, path, expected):
        assert TrackPaths(IDS, [Path("/music")]).find(path) == [IDS[place] for place in expected]

    def test_an_end_that_fits_several_tracks_means_none(self):
        assert TrackPaths(["a/1.ogg", "b/1.ogg"]).find("1.ogg") == []

    def test_a_file_means_all_of_its_sections(self):
        ids = ["a/mix.flac#01", "a/mix.flac#02", "a/song.flac"]
        paths = TrackPaths(ids, [Path("/music")])
        assert paths.find("/music/a/mix.flac") == paths.find("a/mix.flac") == ids[:2]
        assert paths.find("a/mix.flac#02") == ids[1:2]


class TestCsv:
    def read(self, tmp_path, text, **options):
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return read_label_csv(path, TrackPaths(IDS), **options)

    def test_one_label_per_row_with_its_family(self, tmp_path):
        items, skipped = self.read(
            tmp_path,
            f"path,label,family\n{IDS[0]},Slowcore,genre\n{IDS[0]},calm,mood\n{IDS[2]},Folk,\ngone.flac,Rock,genre\n",
        )
        assert [(item.track_ids, item.labels) for item in items] == [
            ([IDS[0]], [("genre", "Slowcore")]), ([IDS[0]], [("descriptor", "calm")]), ([IDS[2]], [("genre", "Folk")]),
        ]  # fmt: skip
        assert skipped == ["line 5: 'gone.flac' is no track here, or several"]

    def test_one_column_per_label_with_values(self, tmp_path):
        items, _ = self.read(
            tmp_path,
            f"path;happy;sad;by;year\n{IDS[0]};0.9;0.1;x;1999\n{IDS[2]};0;1;y;1972\n",
            family="descriptor",
        )
        happy, sad = ("descriptor", "happy"), ("descriptor", "sad")
        assert [(item.labels, item.values) for item in items] == [([happy, sad], {happy: 0.9, sad: 0.1}), ([sad], {})]

    def test_a_row_of_zeros_is_about_none_of_the_labels_and_an_empty_one_about_nothing(self, tmp_path):
        text = f"path,happy,sad,instruments\n{IDS[0]},0,0,organ\n{IDS[1]},,,\n{IDS[2]},0,,\n"
        columns = {"instruments": "instruments"}
        items, skipped = self.read(tmp_path, text, family="descriptor", columns=columns)
        happy, sad, organ = ("descriptor", "happy"), ("descriptor", "sad"), ("instruments", "organ")
        assert [(item.track_ids, item.labels, item.values) for item in items] == [
            ([IDS[0]], [organ, happy, sad], {happy: 0, sad: 0}), ([IDS[2]], [happy], {happy: 0}),
        ]  # fmt: skip
        assert skipped == []

    @pytest.mark.parametrize("wrong", ["1.5", "-0.1", "nan", "yes"])
    def test_a_value_outside_0_to_1_is_an_error(self, tmp_path, wrong):
        text = f"path,happy,sad\n{IDS[0]},0.9,0\n{IDS[1]},0.5,1\n{IDS[2]},{wrong},1\n"
        message = rf"labels.csv: line 4: the value of happy is '{wrong}'; .* --ignore happy"
        with pytest.raises(CatalogueError, match=message):
            self.read(tmp_path, text)
        items, _ = self.read(tmp_path, text, ignored=["happy"])
        sad = ("genre", "sad")
        assert [(item.labels, item.values) for item in items] == [([sad], {sad: 0}), ([sad], {}), ([sad], {})]

    def test_lists_in_columns_named_after_families(self, tmp_path):
        items, _ = self.read(
            tmp_path,
            f'Path\tGenres\tMood\tLand\n{IDS[0]}\t"Slowcore; Rock"\tcalm|quiet\tUSA\n',
            columns={"Land": "descriptor"},
        )
        assert items[0].labels == [
            ("genre", "Slowcore"), ("genre", "Rock"), ("descriptor", "calm"), ("descriptor", "quiet"),
            ("descriptor", "USA"),
        ]  # fmt: skip

    def test_a_folder_means_its_tracks(self, tmp_path):
        items, _ = self.read(tmp_path, "path,tag\nRock/Low/Secret Name,Slowcore\n")
        assert items[0].track_ids == IDS[:2]

    def test_albums_are_matched_by_their_names(self, collection, tmp_path):
        collection.scanned([track(IDS[0], "Low", "Secret Name"), track(IDS[2], "Nick Drake", "Pink Moon")])
        items, skipped = self.read(
            tmp_path, "artist,album,genre\nLow,Secret Name,Slowcore\nNick Drake,Pink Moon,Folk\n,Nothing,Pop\n"
        )
        assert skipped == ["line 4: lacks an artist or an album"]
        write_import(collection.data, "csv", items, skipped)
        assert collection.match().by_method == {"names": 2}
        assert collection.labels()[0].genres == ["Folk", "Slowcore"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name,label\nx,y\n", "expected a column path, or artist and album; found name, label"),
            ("path,text\nx,y\n", "no column has labels"),
        ],
    )
    def test_unusable_files_are_errors(self, tmp_path, text, message):
        with pytest.raises(CatalogueError, match=message):
            self.read(tmp_path, text)

    def test_a_value_that_is_no_number_skips_its_row(self, tmp_path):
        items, skipped = self.read(tmp_path, f"path,label,value\n{IDS[0]},a,0.7\n{IDS[0]},b,0.2\n{IDS[0]},c,7\n")
        a, b = ("genre", "a"), ("genre", "b")
        assert [(item.labels, item.values) for item in items] == [([a], {a: 0.7}), ([b], {b: 0.2})]
        assert skipped == ["line 4: the value '7' is not a number from 0 to 1"]

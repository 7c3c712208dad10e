"""Metadata of tracks, and filters over it."""

import shutil
import sys
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eno.data.imports.items import TRACK_LABELS_SCHEMA
from eno.data.layout import DataRoot
from eno.data.lute.albums import FAMILY_LABELS
from eno.errors import ConfigError, MissingExtra, SimilarityError
from eno.similarity.groups import Groups
from eno.similarity.metadata import TrackMetadata
from eno.similarity.where import Where
from tests.fakes import ProjectionEncoder
from tests.similarity.small_collection import ALBUMS, build


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return build(tmp_path_factory.mktemp("collection"), ProjectionEncoder())


@pytest.fixture(scope="module")
def metadata(collection):
    data, store = collection
    return TrackMetadata.read(store.track_ids(), data)


def _row(metadata, track_id):
    return metadata.row(int(metadata.rows_of([track_id])[0]))


class TestTrackMetadata:
    def test_catalogue_then_tags_then_folders(self, metadata):
        matched = _row(metadata, "Low/2018 - Double/02.wav")
        assert (matched["artist"], matched["artists"], matched["album"]) == ("Low", ["Low"], "Double")
        assert (matched["album_id"], matched["year"], matched["title"]) == ("release/album/double", 2018, "02")
        assert (matched["genres"], matched["descriptors"]) == (["Slowcore", "Noise"], ["cold"])
        assert (matched["codec"], matched["shelf"], matched["path"]) == ("FLOAT", "blue", "Low/2018 - Double/02.wav")
        tagged = _row(metadata, "SR/Takk/01.wav")
        assert (tagged["artist"], tagged["album"], tagged["year"]) == ("Sigur Rós", "Takk…", 2005)
        assert (tagged["genres"], tagged["descriptors"]) == (["Post-Rock"], None)
        # The album's artist takes precedence over the track's, except for "Various Artists".
        assert _row(metadata, "Grouper/Ruins/01.wav")["artist"] == "Grouper"
        assert _row(metadata, "V/Slow Songs/01.wav")["artist"] == "Low"
        unknown = _row(metadata, "heap/01.wav")
        assert (unknown["artist"], unknown["artists"], unknown["album"]) == (None, None, "heap")

    def test_labels_of_a_track_are_added_to_those_of_its_album(self, collection, tmp_path):
        data, store = collection
        shutil.copytree(data.root / "raw" / "metadata", tmp_path / "raw" / "metadata")
        shutil.copytree(data.root / "processed", tmp_path / "processed")
        own = {"track_id": "Low/2018 - Double/02.wav", "source": "csv", "file_name": "import/csv/1",
               "primary_genres": ["Drone"], "descriptors": ["warm"],
               "family_labels": [{"family": "instruments", "label": "organ"}]}  # fmt: skip
        root = DataRoot(tmp_path)
        pq.write_table(pa.Table.from_pylist([own], schema=TRACK_LABELS_SCHEMA), root.track_labels)
        metadata = TrackMetadata.read(store.track_ids(), root)
        row = _row(metadata, own["track_id"])
        assert (row["genres"], row["descriptors"]) == (["Slowcore", "Noise", "Drone"], ["cold", "warm"])
        assert row["family_labels"] == own["family_labels"]
        place = metadata.table["track_id"].to_pylist().index(own["track_id"])
        for labels in ([("Instruments", "ORGAN")], [("genre", "drone"), ("instruments", "organ")]):
            mask = Where(labels=tuple(labels)).mask(metadata)
            assert np.flatnonzero(mask).tolist() == [place]
        assert Where(labels=(("genre", "drone"), ("genres", "slowcore"))).mask(metadata).sum() > 1
        assert not Where(labels=(("instruments", "organ"), ("descriptor", "rain"))).mask(metadata).any()
        with pytest.raises(SimilarityError, match=r"No track has the instruments label 'orgn'\. Similar names: organ"):
            Where(labels=(("instruments", "orgn"),)).mask(metadata)
        with pytest.raises(SimilarityError, match="The languages label of the tracks is unknown"):
            Where(labels=(("languages", "Dutch"),)).mask(metadata)
        other = _row(metadata, "Low/2018 - Double/01.wav")
        assert (other["genres"], other["descriptors"]) == (["Slowcore", "Noise"], ["cold"])

    def test_without_tables_a_folder_is_an_album(self):
        names = ["a.ogg", "b.ogg", "X/Y/CD 1/1.ogg", "X/Y/CD2/1.ogg", "X/Z/.ogg", "X/Z/no suffix"]
        names += [f"heap/{i}.ogg" for i in range(101)]
        metadata = TrackMetadata.read(names)
        assert metadata.table["album_id"].to_pylist() == [None, None, "X/Y", "X/Y", "X/Z", "X/Z"] + [None] * 101
        assert metadata.table["album"].to_pylist()[:6] == [None, None, "Y", "Y", "Z", "Z"]
        assert metadata.table["title"].to_pylist()[:6] == ["a", "b", "1", "1", ".ogg", "no suffix"]
        assert metadata.table["artist"].null_count == metadata.table["genres"].null_count == len(names)
        with pytest.raises(SimilarityError, match=r"The genre of the tracks is unknown.*--data-root"):
            metadata.spellings("genres", "Rock")

    def test_order_and_unknown_tracks(self, collection, metadata):
        names = ["heap/02.wav", "new.wav", "Grouper/Ruins/01.wav"]
        assert TrackMetadata.read(names, collection[0]).table["album"].to_pylist() == ["heap", None, "Ruins"]
        assert metadata.rows_of(names)[1] == -1
        assert len(TrackMetadata.read([], collection[0])) == 0

    def test_names_match_regardless_of_spelling(self, metadata):
        assert metadata.spellings("artists", "sigur ros") == ["Sigur Rós"]
        assert metadata.spellings("genres", "DREAM-POP") == ["Dream Pop"]
        with pytest.raises(SimilarityError, match=r"No track has the genre 'slowcroe'\. Similar names: Slowcore"):
            metadata.spellings("genres", "slowcroe")

    def test_groups(self, metadata):
        groups = metadata.artists
        names = metadata.table["artists"].to_pylist()
        low = [row for row, artists in enumerate(names) if artists == ["Low"]]
        assert len(low) == 16
        codes, places = groups.of(np.array([low[0], -1, low[3]]))
        assert codes[0] == codes[1]
        assert places.tolist() == [0, 2]
        assert np.flatnonzero(groups.members(codes)).tolist() == low
        spread = groups.spread(np.array([low[0], -1, 0, low[1]]))
        assert spread.members(codes).tolist() == [True, False, names[0] == ["Low"], True]

    def test_several_artists(self):
        groups = Groups.of_lists(pa.array([["a", "b"], None, ["b"], [], ["c", "a"]]))
        assert groups.members(groups.of(np.array([2]))[0]).tolist() == [True, False, True, False, False]
        assert groups.members(groups.of(np.array([0]))[0]).tolist() == [True, False, True, False, True]


class TestWhere:
    def test_each_condition(self, metadata):
        rows = metadata.table.to_pylist()

        def expect(where, holds):
            expected = [bool(holds(row)) for row in rows]
            assert where.mask(metadata).tolist() == expected
            assert 0 < sum(expected) < len(rows)

        expect(Where(genres=("noise", "ambient")), lambda row: {"Noise", "Ambient"} & set(row["genres"] or ()))
        expect(Where(descriptors=("Rain",)), lambda row: "rain" in (row["descriptors"] or ()))
        expect(Where(artists=("LOW", "sigur rós")), lambda row: row["artist"] in ("Low", "Sigur Rós"))
        expect(Where(albums=("takk",)), lambda row: row["album"] == "Takk…")
        expect(Where(years=(2005, 2014)), lambda row: row["year"] and 2005 <= row["year"] <= 2014)
        expect(Where(years=(2011, None)), lambda row: row["year"] and row["year"] >= 2011)
        expect(Where(duration_s=(None, 3.1)), lambda row: row["duration_s"] <= 3.1)
        expect(Where(path="Low/"), lambda row: row["path"].startswith("Low/"))
        expect(Where(path="*/0[12].w?v"), lambda row: fnmatchcase(row["path"], "*/0[12].w?v"))
        expect(
            Where(expression="year > 2002 and shelf = 'blue' -- why"), lambda row: row["shelf"] and row["year"] > 2002
        )
        expect(Where(expression="list_contains(genres, 'Noise')"), lambda row: "Noise" in (row["genres"] or ()))
        both = Where(genres=("slowcore",), years=(None, 2010), expression="title = '01' or title = '02'")
        expect(
            both,
            lambda row: row["genres"] and "Slowcore" in row["genres"] and row["year"] <= 2010 and row["title"] < "03",
        )
        assert not Where()
        assert Where().mask(metadata).all()

    def test_a_label_of_another_family_in_sql(self):
        named = [[{"family": "instruments", "label": "organ"}], None, [{"family": "language", "label": "organ"}]]
        labels = pa.array(named, FAMILY_LABELS.type)
        table = pa.table({"track_id": ["a", "b", "c"], FAMILY_LABELS.name: labels})
        expression = "list_contains(family_labels, {'family': 'instruments', 'label': 'organ'})"
        assert Where(expression=expression).mask(TrackMetadata(table)).tolist() == [True, False, False]

    def test_values_are_not_interpreted(self, metadata):
        with pytest.raises(SimilarityError, match="No track has the genre"):
            Where(genres=("x') OR true --",)).mask(metadata)
        assert not Where(path="') OR true --").mask(metadata).any()

    @pytest.mark.parametrize(
        ("expression", "reason"),
        [
            ("yaer > 1990", "yaer.* Columns: track_id, path"),
            ("year", "has the type INTEGER, expected a condition"),
            ("year >", "syntax error"),
            ("", "without selection|expression"),
            ("true; DROP TABLE tracks", "one statement|more than one|syntax"),
            ("true) OR (true", "syntax error"),
            ("year = $1", "parameters"),
            ("true UNION SELECT 1", "set operation|syntax"),
            ("(SELECT content FROM read_text('{file}')) = 'secret'", "subquery"),
            ("EXISTS (FROM '{file}')", "subquery"),
            ("path IN (SELECT path FROM tracks)", "subquery"),
            ("len(range(99999999999)) > 0", "larger|memory|limit"),
            ("error('x' || path) = 1", "type|x|error"),
        ],
    )
    def test_expressions_that_are_refused(self, metadata, tmp_path, expression, reason):
        file = tmp_path / "secret.txt"
        file.write_text("secret")
        expression = expression.replace("{file}", str(file))
        with pytest.raises(ConfigError, match=reason) as caught:
            Where(expression=expression).mask(metadata)
        assert repr(expression) in str(caught.value)

    def test_only_expressions_need_duckdb(self, metadata, monkeypatch):
        monkeypatch.setitem(sys.modules, "duckdb", None)
        assert Where(genres=("noise",), years=(2000, None), path="Low/*").mask(metadata).any()
        with pytest.raises(MissingExtra, match="duckdb"):
            Where(expression="year > 2000").mask(metadata)

    def test_empty_ranges(self, metadata):
        with pytest.raises(ConfigError, match="the first value must not exceed the last"):
            Where(years=(2000, 1990)).mask(metadata)


def test_the_collection_has_the_expected_size(collection):
    assert len(collection[1].track_ids()) == sum(count for count, _, _ in ALBUMS.values()) == 24

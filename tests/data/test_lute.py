import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eno.data.lute import ALBUM_SCHEMA, read_albums, write_albums
from eno.data.matching import match_by_folder
from eno.errors import LabelError

ALBUM = {
    "name": "Souvlaki",
    "file_name": "release/album/slowdive/souvlaki",
    "rating": 4.0,
    "rating_count": 3,
    "artists": [{"name": "Slowdive", "file_name": "artist/slowdive"}],
    "primary_genres": ["Shoegaze", "Dream Pop"],
    "descriptors": ["ethereal"],
    "tracks": [{"name": "Alison", "duration_seconds": 231, "position": "1"}],
}


def test_albums_come_back_as_written(tmp_path):
    write_albums(tmp_path / "meta" / "albums.parquet", [ALBUM])
    table = read_albums(tmp_path / "meta" / "albums.parquet")
    assert table.schema.equals(ALBUM_SCHEMA)
    (row,) = table.to_pylist()
    assert {key: row[key] for key in ALBUM if key != "tracks"} == {key: ALBUM[key] for key in ALBUM if key != "tracks"}
    assert row["tracks"][0] == ALBUM["tracks"][0] | {"rating": None}
    assert row["secondary_genres"] is None


def test_missing_file(tmp_path):
    with pytest.raises(LabelError, match=r"albums\.parquet: no such file"):
        read_albums(tmp_path / "albums.parquet")


def test_file_that_is_no_parquet(tmp_path):
    (tmp_path / "albums.parquet").write_text("name,genres\n")
    with pytest.raises(LabelError, match="cannot be read as Parquet"):
        read_albums(tmp_path / "albums.parquet")


def test_missing_columns_are_named(tmp_path):
    pq.write_table(pa.table({"file_name": ["a"], "descriptors": [["x"]]}), tmp_path / "albums.parquet")
    with pytest.raises(LabelError, match="lacks the columns primary_genres, secondary_genres; it has file_name"):
        read_albums(tmp_path / "albums.parquet")


class TestMatchByFolder:
    def test_album_of_the_nearest_folder(self):
        ids = ["r/a/x/1.mp3", "r/a/x/CD2/1.mp3", "r/a/xy/1.mp3", "loose.mp3", "r/a/1.mp3"]
        assert match_by_folder(ids, ["r/a/x", "r/a"]) == {
            "r/a/x/1.mp3": "r/a/x",
            "r/a/x/CD2/1.mp3": "r/a/x",
            "r/a/xy/1.mp3": "r/a",
            "r/a/1.mp3": "r/a",
        }

    def test_a_name_that_only_begins_alike_is_no_match(self):
        assert match_by_folder(["r/souvlaki demos/1.mp3"], ["r/souvlaki"]) == {}

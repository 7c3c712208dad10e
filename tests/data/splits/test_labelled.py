"""Splits with the labels that their tracks have now."""

import numpy as np
import pyarrow as pa
import pytest

from eno.data.imports.items import TRACK_LABELS_SCHEMA
from eno.data.layout import DataRoot
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS, LABEL_VALUES, read_albums
from eno.data.matching.matcher import MATCH_SCHEMA
from eno.data.splits.artist_split import label_tracks, read_split, write_splits
from eno.data.splits.labelled import read_labelled
from eno.data.splits.stratify import SPLITS
from eno.data.tables import write_table

NAMES = ["a", "b", "c"]
MATCHES = pa.Table.from_pylist(
    [{"track_id": f"{name}/{n}", "file_name": name, "decision": "matched"} for name in NAMES for n in range(3)],
    schema=MATCH_SCHEMA,
)


def write_albums(data, names=NAMES, **changed):
    rows = [
        {"file_name": name, "primary_genres": ["rock"], "secondary_genres": ["pop"], "descriptors": None}
        for name in names
    ]
    schema = ALBUM_SCHEMA.append(FAMILY_LABELS).append(LABEL_VALUES)
    write_table(data.albums, pa.Table.from_pylist([row | changed.get(row["file_name"], {}) for row in rows], schema))


def labelled(data, own=None):
    return label_tracks(MATCHES, read_albums(data.albums), own)


@pytest.fixture
def data(tmp_path):
    data = DataRoot(tmp_path)
    write_albums(data)
    write_splits(data.splits, labelled(data), np.array(SPLITS * 3))
    return data


def test_changed_labels_are_those_that_a_new_split_would_have(data):
    changed = {
        "a": {"primary_genres": None, "descriptors": ["calm"]},
        "c": {
            "family_labels": [{"family": "instruments", "label": "organ"}],
            "label_values": [{"family": "genre", "label": "rock", "value": 0.7}],
        },
    }
    write_albums(data, **changed)
    own = [{"track_id": "b/1", "file_name": "b", "primary_genres": ["jazz"]},
           {"track_id": "c/2", "file_name": "other", "descriptors": ["loud"]}]  # fmt: skip
    own = pa.Table.from_pylist(own, schema=TRACK_LABELS_SCHEMA)
    write_table(data.track_labels, own)
    expected = labelled(data, own).sort_by("track_id").to_pylist()
    found = read_labelled(data.splits, SPLITS, data)
    assert found.schema.equals(read_split(data.splits, "val").schema)
    assert found.drop_columns(["group"]).sort_by("track_id").to_pylist() == expected
    assert expected[0]["primary_genres"] is None and expected[4]["primary_genres"] == ["jazz"]
    one = read_labelled(data.splits, ["val"], data)
    assert one["track_id"].to_pylist() == read_split(data.splits, "val")["track_id"].to_pylist()


def test_labels_at_the_time_of_the_split_stay_where_nothing_newer_is_known(data, tmp_path):
    write_albums(data, ["a", "b"], b={"primary_genres": ["jazz"]})
    rows = {row["track_id"]: row["primary_genres"] for row in read_labelled(data.splits, SPLITS, data).to_pylist()}
    assert (rows["a/0"], rows["b/0"], rows["c/0"]) == (["rock"], ["jazz"], ["rock"])
    before = pa.concat_tables([read_split(data.splits, name) for name in SPLITS])
    for elsewhere in (None, DataRoot(tmp_path / "elsewhere")):
        assert read_labelled(data.splits, SPLITS, elsewhere) == before

"""Labels of other families than genres and descriptors."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eno.data.families import families_of, family_name
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.hierarchy import Hierarchy
from eno.data.labels.vocabulary import build_vocabulary
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS
from eno.errors import LabelError

OTHERS = {"language": ["Welsh", "French"], "instruments": ["organ", "cello", "strings"]}


@pytest.fixture
def encoder():
    return LabelEncoder(["jazz"], ["calm", "cello"], others=OTHERS, implied={"cello": ["strings"]})


def test_other_families_follow_genres_and_descriptors_by_name(encoder):
    assert encoder.all_labels == ["jazz", "calm", "cello", "cello", "organ", "strings", "French", "Welsh"]
    assert encoder.families == ["genre", "descriptor", "descriptor", *["instruments"] * 3, *["language"] * 2]
    assert (encoder.num_genres, encoder.num_descriptors, len(encoder)) == (1, 2, 8)
    assert encoder.describe() == "1 genres, 2 descriptors, 3 instruments, 2 language labels"


def test_the_same_word_in_two_families_is_two_labels_and_ancestors_are_of_their_family(encoder):
    assert encoder.encode([], [], ["cello"]).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    vector = encoder.encode(["Jazz"], [], [], {"instruments": ["CELLO"], "unheard of": ["cello"]})
    assert vector.tolist() == [1, 0, 0, 1, 0, 1, 0, 0]
    assert encoder.ancestors.tolist() == [[3, 5]]
    assert encoder.decode(vector) == {
        "genres": ["jazz"], "descriptors": [], "instruments": ["cello", "strings"], "language": []
    }  # fmt: skip


entries = st.tuples(
    st.sampled_from(["instruments", "language", "genre", "unheard of"]),
    st.sampled_from(["cello", "organ", "Welsh", "jazz", "unknown"]),
)


@given(st.lists(st.none() | st.lists(entries, max_size=6), max_size=15), st.booleans())
def test_a_column_is_encoded_as_its_rows_are(rows, arrow):
    encoder = LabelEncoder(["jazz"], ["calm", "cello"], others=OTHERS, implied={"cello": ["strings"]})
    column = [None if row is None else [{"family": f, "label": name} for f, name in row] for row in rows]
    nothing = [[]] * len(rows)
    named = pa.chunked_array([pa.array(column, FAMILY_LABELS.type)]) if arrow else column
    matrix = encoder.encode_many(nothing, nothing, nothing, named)
    known = encoder.known_families(nothing, nothing, nothing, named)
    assert matrix.has_canonical_format
    assert known.shape == (len(rows), 4)
    for row, vector, families in zip(rows, matrix.toarray(), known, strict=True):
        own = {family: [name for other, name in row or () if other == family] for family, _ in row or ()}
        np.testing.assert_array_equal(vector, encoder.encode(own.pop("genre", []), [], [], own))
        assert families.tolist() == [
            any(other == family for other, _ in row or ())
            for family in ("genre", "descriptor", "instruments", "language")
        ]


def test_a_vocabulary_is_saved_in_a_format_that_earlier_versions_refuse(encoder, tmp_path):
    encoder.save(tmp_path / "labels.json")
    assert LabelEncoder.load(tmp_path / "labels.json") == encoder != LabelEncoder(["jazz"], ["calm", "cello"])
    content = json.loads((tmp_path / "labels.json").read_text())
    assert content["format"] == 2  # a version that reads format 1 would silently lose the other families
    content["format"] = 3
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(LabelError, match="upgrade eno"):
        LabelEncoder.load(tmp_path / "labels.json")


@pytest.mark.parametrize("name", ["", "  ", "tags", "Track_ID", "head", "x" * 51])
def test_names_with_another_meaning_are_refused(name):
    with pytest.raises(LabelError, match="cannot be the name of a family"):
        LabelEncoder([], [], others={name: ["a"]})


def test_names_of_families_ignore_case_and_spaces():
    assert family_name("  Musical  Keys ") == "musical keys"
    assert [family_name(one) for one in ("Genres", "descriptors", "mood")] == ["genre", "descriptor", "mood"]
    with pytest.raises(LabelError, match="genres are no other family"):
        LabelEncoder([], [], others={"Genres": ["a"]})


def test_frequent_labels_of_every_family_are_chosen():
    def album(number, *labels):
        named = [{"family": family, "label": label} for family, label in labels]
        artists = [{"name": f"artist {number}", "file_name": None}]
        row = {"file_name": str(number), "artists": artists, "primary_genres": ["jazz"]}
        return row | {"secondary_genres": [], "descriptors": [], "family_labels": named}

    albums = pa.Table.from_pylist(
        [
            album(0, ("instruments", "Cello"), ("language", "Welsh")),
            album(1, ("instruments", "cello"), ("instruments", "kazoo")),
            album(2, ("instruments", "viola")),
        ],
        schema=ALBUM_SCHEMA.append(FAMILY_LABELS),
    )
    assert families_of(albums) == ["genre", "descriptor", "instruments", "language"]
    hierarchy = Hierarchy([("cello", "strings"), ("viola", "strings")])
    encoder, counts = build_vocabulary(albums, min_albums=2, min_artists=2, hierarchy=hierarchy)
    assert encoder.by_family == {"genre": ["jazz"], "descriptor": [], "instruments": ["Cello"]}
    found = {row["label"]: row for row in counts.to_pylist()}
    assert (found["strings"]["albums"], found["strings"]["reason"]) == (
        3, "no album has this label itself, only its descendants"
    )  # fmt: skip
    assert {row["family"] for row in found.values()} == {"genre", "instruments", "language"}
    assert found["kazoo"]["reason"] == "1 album, needs 2; 1 artist, needs 2"

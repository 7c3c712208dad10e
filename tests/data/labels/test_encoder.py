import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eno.data.labels.encoder import LabelEncoder
from eno.errors import LabelError

GENRES = ["shoegaze", "dream pop", "noise pop", "jazz"]
DESCRIPTORS = ["melancholic", "atmospheric", "aggressive"]


@pytest.fixture
def encoder():
    return LabelEncoder([*GENRES, "jazz"], DESCRIPTORS)


def test_order_is_sorted_genres_then_sorted_descriptors(encoder):
    assert encoder.all_labels == [
        "dream pop", "jazz", "noise pop", "shoegaze", "aggressive", "atmospheric", "melancholic",
    ]  # fmt: skip
    assert (encoder.num_genres, encoder.num_descriptors, encoder.num_labels, len(encoder)) == (4, 3, 7, 7)


def test_primary_and_secondary_genres_share_one_vocabulary(encoder):
    vector = encoder.encode(["shoegaze"], ["noise pop", "shoegaze", "unknown"], ["melancholic", "unknown"])
    assert vector.dtype == np.float32
    assert vector.tolist() == [0, 0, 1, 1, 0, 0, 1]


def test_same_word_as_genre_and_descriptor_is_two_labels():
    encoder = LabelEncoder(["ambient"], ["ambient"])
    assert encoder.encode(["ambient"], [], []).tolist() == [1, 0]
    assert encoder.encode([], [], ["ambient"]).tolist() == [0, 1]


def test_spellings_of_one_label_in_an_earlier_vocabulary_keep_their_names_and_are_set_together():
    encoder = LabelEncoder(["Shoegaze", "Shoegaze\u200b"], [], implied={"Blackgaze": ["Shoegaze"]})
    assert encoder.all_labels == ["Shoegaze", "Shoegaze\u200b"]
    for name in ("shoegaze", "Shoegaze\u200b", "Blackgaze"):
        assert encoder.encode([name], [], []).tolist() == [1, 1]
    assert encoder.encode_many([["shoegaze"]], [[]], [[]]).toarray().tolist() == [[1, 1]]


def test_decode_is_strictly_above_the_threshold(encoder):
    vector = np.array([0.9, 0.5, 0.1, 0.6, 0.7, 0.2, 0.5])
    assert encoder.decode(vector) == {"genres": ["dream pop", "shoegaze"], "descriptors": ["aggressive"]}
    assert encoder.decode(vector, threshold=0.05)["genres"] == encoder.genres


def test_decode_refuses_a_vector_of_another_length(encoder):
    with pytest.raises(ValueError, match=r"\(3,\), expected \(7,\)"):
        encoder.decode(np.zeros(3))


albums = st.lists(
    st.tuples(
        *(st.none() | st.lists(st.sampled_from([*GENRES, *DESCRIPTORS, "unknown"]), max_size=5) for _ in range(3))
    ),
    max_size=20,
)


@given(albums, st.sampled_from([0.6, 1.0]), st.booleans())
def test_encode_many_is_encode_row_by_row(rows, weight, arrow):
    implied = {"shoegaze": ["noise pop", "dream pop"], "unknown": ["jazz"], "calm": ["atmospheric"]}
    aliases = {"Aggressive": "melancholic"}
    encoder = LabelEncoder(GENRES, DESCRIPTORS, secondary_weight=weight, implied=implied, aliases=aliases)
    fields = [[row[i] for row in rows] for i in range(3)]
    if arrow:
        fields = [pa.chunked_array([pa.array(field, pa.list_(pa.string()))]) for field in fields]
    matrix = encoder.encode_many(*fields)
    assert matrix.shape == (len(rows), 7)
    assert matrix.has_canonical_format
    for row, vector in zip(rows, matrix.toarray(), strict=True):
        np.testing.assert_array_equal(vector, encoder.encode(*row))


def test_names_are_found_in_any_spelling(encoder):
    assert encoder.encode(["  SHOEGAZE", "Dream\u3000Pop"], [], ["Ａtmospheric"]).tolist() == [1, 0, 0, 1, 0, 1, 0]


def test_a_primary_genre_outweighs_the_same_one_as_secondary():
    encoder = LabelEncoder(["a", "b", "c"], [], secondary_weight=0.5, implied={"c": ["a"]})
    assert encoder.encode(["a"], ["a", "b"], []).tolist() == [1, 0.5, 0]
    assert encoder.encode([], ["c"], []).tolist() == [0.5, 0, 0.5]
    with pytest.raises(LabelError, match=r"it must be from 0\.5 to 1"):
        LabelEncoder([], [], secondary_weight=0.3)


def test_options_are_saved(tmp_path):
    encoder = LabelEncoder(["a", "b"], [], secondary_weight=0.5, aliases={"x": "a"}, implied={"b": ["a"]})
    encoder.save(tmp_path / "labels.json")
    assert LabelEncoder.load(tmp_path / "labels.json") == encoder != LabelEncoder(["a", "b"], [])


@given(albums)
def test_decode_inverts_encode(rows):
    encoder = LabelEncoder(GENRES, DESCRIPTORS)
    for row in rows:
        decoded = encoder.decode(encoder.encode(*row))
        assert set(decoded["genres"]) == {*(row[0] or ()), *(row[1] or ())} & set(GENRES)
        assert set(decoded["descriptors"]) == set(row[2] or ()) & set(DESCRIPTORS)


def test_save_and_load(encoder, tmp_path):
    encoder.save(tmp_path / "labels.json")
    assert LabelEncoder.load(tmp_path / "labels.json") == encoder
    # The guide's own format, so that its code reads ours.
    assert json.loads((tmp_path / "labels.json").read_text()) == {
        "genres": encoder.genres,
        "descriptors": encoder.descriptors,
    }


@pytest.mark.parametrize("content", ["", "[]", '{"genres": []}', '{"genres": 1, "descriptors": 2}'])
def test_load_refuses_other_files(tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(LabelError, match=r"labels\.json: is not a label vocabulary"):
        LabelEncoder.load(tmp_path / "labels.json")


def test_ancestors_are_reached_over_several_steps():
    implied = {"Shoegaze": ["dream pop"], "dream pop": ["pop"], "pop": ["unknown"], "loud": ["pop"]}
    labels = LabelEncoder(["shoegaze", "dream pop", "pop", "rock"], ["loud"], implied=implied)
    names = labels.all_labels
    pairs = {(names[label], names[ancestor]) for label, ancestor in labels.ancestors.tolist()}
    assert pairs == {("shoegaze", "dream pop"), ("shoegaze", "pop"), ("dream pop", "pop")}


def test_ancestors_of_a_vocabulary_with_a_cycle_or_without_a_hierarchy():
    cycle = LabelEncoder(["a", "b", "A "], [], implied={"a": ["b"], "b": ["a"]})
    names = cycle.all_labels
    assert {(names[one], names[other]) for one, other in cycle.ancestors.tolist()} == {
        ("a", "b"), ("A ", "b"), ("b", "a"), ("b", "A "), ("a", "A "), ("A ", "a"),
    }  # fmt: skip
    assert LabelEncoder(["a", "b"], ["a"]).ancestors.shape == (0, 2)


def test_families_of_which_an_album_has_a_name(encoder):
    primary, secondary = [["Polka"], None, [], ["  "]], [[], ["Shoegaze"], None, [None]]
    found = encoder.known_families(primary, secondary, [["calm"], [], None, ["x"]])
    assert found.tolist() == [[True, True], [True, False], [False, False], [False, True]]
    assert encoder.known_families(*[pa.array([], pa.list_(pa.string()))] * 3).shape == (0, 2)

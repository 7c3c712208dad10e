from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eno.data.labels.hierarchy import Hierarchy
from eno.data.labels.vocabulary import LABEL_COUNTS_SCHEMA, build_vocabulary, roll_up
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.errors import LabelError

HIERARCHY = Hierarchy([
    ("Shoegaze", "Rock"), ("Shoegaze", "Dream Pop"), ("Dream Pop", "Pop"), ("Rock", "Genres"), ("Pop", "Genres"),
])  # fmt: skip


def table(*albums) -> pa.Table:
    rows = [
        {
            "file_name": str(i), "artists": [{"name": a, "file_name": f"artist/{a}"} for a in artists],
            "primary_genres": primary, "secondary_genres": secondary, "descriptors": descriptors,
        }
        for i, (artists, primary, secondary, descriptors) in enumerate(albums)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ALBUM_SCHEMA)


ALBUMS = table(
    (["a"], ["Shoegaze"], ["Pop"], ["calm"]),
    (["a"], ["shoegaze"], [], ["calm", "rare"]),
    (["b"], ["Shoegaze", "Rock"], [], []),
    ([], ["Dream Pop"], None, ["calm"]),
    (["b", "c"], ["DnB"], ["Drum and Bass"], ["calm"]),
)


def rows(counts) -> dict[str, dict]:
    assert counts.schema.equals(LABEL_COUNTS_SCHEMA)
    return {row["label"]: row for row in counts.to_pylist()}


def test_counts_and_reasons():
    encoder, counts = build_vocabulary(ALBUMS, min_albums=2, min_artists=2, aliases={"dnb": "Drum and Bass"})
    found = {name: (row["albums"], row["artists"], row["kept"], row["reason"]) for name, row in rows(counts).items()}
    assert found == {
        "Shoegaze": (3, 2, True, None),
        "calm": (4, 4, True, None),
        "Pop": (1, 1, False, "1 album, needs 2; 1 artist, needs 2"),
        "Rock": (1, 1, False, "1 album, needs 2; 1 artist, needs 2"),
        "Dream Pop": (1, 1, False, "1 album, needs 2; 1 artist, needs 2"),
        "rare": (1, 1, False, "1 album, needs 2; 1 artist, needs 2"),
        "Drum and Bass": (1, 2, False, "1 album, needs 2"),
        "DnB": (0, 0, False, "alias of Drum and Bass"),
    }
    assert (encoder.genres, encoder.descriptors) == (["Shoegaze"], ["calm"])


def test_invisible_characters_and_entities_do_not_make_a_second_label():
    odd = ["Shoegaze\u200b", "Shoegaze\u200b", "\ufeffSHOEGAZE", "Drum &amp; Bass", "Drum & Bass", "\u2060", "", None]
    encoder, counts = build_vocabulary(table(*(([str(i)], [name], [], []) for i, name in enumerate(odd))), min_albums=2,
                                       min_artists=2)  # fmt: skip
    assert {name: row["albums"] for name, row in rows(counts).items()} == {"Shoegaze": 3, "Drum & Bass": 2}
    assert encoder.genres == ["Drum & Bass", "Shoegaze"]
    assert encoder.encode(["shoegaze\u00ad"], ["drum &amp;amp; bass"], []).tolist() == [1, 1]


def test_children_count_for_their_ancestors_and_headings_are_no_labels():
    encoder, counts = build_vocabulary(ALBUMS, min_albums=2, min_artists=1, hierarchy=HIERARCHY)
    found = rows(counts)
    counted = ("Rock", "Dream Pop", "Pop", "Genres")
    assert {name: (found[name]["albums"], found[name]["direct_albums"]) for name in counted} == {
        "Rock": (3, 1), "Dream Pop": (4, 1), "Pop": (4, 1), "Genres": (4, 0),
    }  # fmt: skip
    assert found["Genres"]["reason"] == "no album has this label itself, only its descendants"
    assert found["Shoegaze"]["parents"] == ["Rock", "Dream Pop"]
    assert encoder.genres == ["Dream Pop", "Pop", "Rock", "Shoegaze"]
    assert encoder.decode(encoder.encode(["shoegaze"], [], []))["genres"] == encoder.genres
    assert roll_up(counts, HIERARCHY) == [("Genres", 4, 4)]


def test_an_error_reports_the_most_frequent_label_if_none_is_kept():
    with pytest.raises(LabelError, match=r"No label has 5 albums by 3 artists.* the most frequent label, calm, has 4"):
        build_vocabulary(ALBUMS)


@pytest.mark.parametrize("albums, kept", [(100, 5), (1000, 20), (20_000, 100)])
def test_rare_labels_of_a_small_collection_are_rarer(albums, kept):
    # One label on just enough albums by enough artists, one on an album less, one by artists too few.
    artists = min(max(kept // 10, 3), 10)
    rows = [([f"artist {i % artists}"], ["enough"], [], []) for i in range(kept)]
    rows += [([f"artist {i % artists}"], ["rare"], [], []) for i in range(kept - 1)]
    rows += [([f"artist {i % (artists - 1)}"], ["of few artists"], [], []) for i in range(kept)]
    rows += [([f"other artist {i}"], ["everywhere"], [], []) for i in range(albums - len(rows))]
    encoder, _ = build_vocabulary(table(*rows))
    assert set(encoder.genres) == {"enough", "everywhere"}


def test_ten_thousand_labels():
    albums = table(*((["a"], [f"genre {i}", f"genre {i // 2}"], [], []) for i in range(10_000)))
    encoder, counts = build_vocabulary(albums, min_albums=3, min_artists=1)
    assert len(counts) == 10_000
    # "genre k" is on the albums k, 2 k and 2 k + 1; for k = 0 the first two are one.
    assert encoder.num_genres == 4_999


names = st.lists(st.sampled_from(["A", "a", "B", "C", "D", "E"]), max_size=3)
DAG = Hierarchy([("A", "B"), ("B", "C"), ("D", "C"), ("D", "E")])
IMPLIED = {"a": "ABC", "b": "BC", "c": "C", "d": "DCE", "e": "E"}


@given(st.lists(st.tuples(st.lists(st.sampled_from("xyz"), max_size=2), names, st.none() | names, names), min_size=1))
def test_counts_are_those_of_plain_loops(albums):
    direct, implied, artists = Counter(), Counter(), defaultdict(set)
    for number, (makers, primary, secondary, _) in enumerate(albums):
        own = {name.lower() for name in [*primary, *(secondary or ())]}
        everything = {label for name in own for label in IMPLIED[name]}
        direct.update(own)
        implied.update(everything)
        for label in everything:
            artists[label] |= set(makers) or {number}
    try:
        _, counts = build_vocabulary(table(*albums), min_albums=1, min_artists=1, hierarchy=DAG)
    except LabelError:
        assert not any(primary or secondary or descriptors for _, primary, secondary, descriptors in albums)
        return
    found = {row["label"].upper(): row for row in counts.to_pylist() if row["family"] == "genre"}
    assert {name: row["albums"] for name, row in found.items()} == implied
    assert {name: row["artists"] for name, row in found.items()} == {name: len(who) for name, who in artists.items()}
    assert {name.lower(): n for name, row in found.items() if (n := row["direct_albums"])} == direct


def test_weights_reach_ancestors():
    encoder, _ = build_vocabulary(ALBUMS, min_albums=1, min_artists=1, hierarchy=HIERARCHY, secondary_weight=0.5)
    weights = dict(zip(encoder.all_labels, encoder.encode(["Rock"], ["Dream Pop"], []), strict=True))
    assert {name: weight for name, weight in weights.items() if weight} == {"Rock": 1, "Dream Pop": 0.5, "Pop": 0.5}
    matrix = encoder.encode_many(*(ALBUMS[name] for name in ("primary_genres", "secondary_genres", "descriptors")))
    row = np.zeros(encoder.num_labels)
    row[[encoder.genre_to_idx[name] for name in ("Shoegaze", "Rock", "Dream Pop", "Pop")]] = 1
    row[encoder.num_genres + encoder.desc_to_idx["calm"]] = 1
    np.testing.assert_array_equal(matrix.toarray()[0], row)

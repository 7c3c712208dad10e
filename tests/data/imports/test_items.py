"""From imported labels to labelled splits."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from eno.data.imports import Item, items, read_track_labels, write_import
from eno.data.imports.items import imported_albums, keep_imported
from eno.data.lute.albums import read_albums
from eno.data.lute.importing import import_lute
from eno.data.splits.artist_split import SPLIT_SCHEMA
from eno.errors import CatalogueError
from eno.files import write_json_lines
from eno.similarity.metadata import TrackMetadata
from tests.data.imports.conftest import track

ROCK, FOLK, CALM = ("genre", "Rock"), ("genre", "Folk"), ("descriptor", "calm")


def test_tracks_keep_their_own_labels_and_artists_stay_in_one_split(collection):
    rows = [track(f"{a}/{b}/{n}.ogg", f"artist {a}", f"album {b}") for a in range(6) for b in "xy" for n in range(2)]
    collection.scanned(rows)
    write_import(
        collection.data,
        "tags",
        [Item([row["track_id"]], [FOLK if "0.ogg" in row["track_id"] else ROCK]) for row in rows],
    )
    report = collection.match()
    assert (report.matched, report.albums, report.by_method) == (24, 12, {"import": 24})
    encoder, counts = collection.labels()
    assert encoder.genres == ["Folk", "Rock"]
    assert {row["label"]: (row["albums"], row["artists"]) for row in counts.to_pylist()} == {
        "Folk": (12, 6), "Rock": (12, 6),
    }  # fmt: skip
    splits = collection.split()
    assert {row["track_id"] for rows in splits.values() for row in rows} == {row["track_id"] for row in rows}
    for own in splits.values():
        for row in own:
            assert row["primary_genres"] == (["Folk"] if "0.ogg" in row["track_id"] else ["Rock"])
    artists = [{row["track_id"][0] for row in own} for own in splits.values()]
    assert sum(map(len, artists)) == 6


def test_files_without_tags_are_albums_of_their_own(collection):
    ids = [f"blues/blues.{n:05}.wav" for n in range(8)]
    collection.scanned([track(one) for one in ids])
    write_import(collection.data, "folders", [Item([one], [("genre", "Blues")]) for one in ids])
    assert collection.match().albums == 8
    collection.labels()
    assert all(collection.split().values())


def test_folders_of_files_without_tags_stay_in_one_split(collection):
    ids = [f"{folder}/{n}.ogg" for folder in ("Live 1999", "b", "c/cd 1", "c/cd 2", "e") for n in range(4)]
    collection.scanned([track(one) for one in ids])
    write_import(collection.data, "csv", [Item([one], [FOLK if "0.ogg" in one else ROCK]) for one in ids])
    assert collection.match().albums == 5
    collection.labels()
    of_folder = [{row["track_id"].rpartition("/")[0] for row in rows} for rows in collection.split().values()]
    assert sum(map(len, of_folder)) == 5


def test_a_folder_of_everything_is_no_album(collection, monkeypatch):
    monkeypatch.setattr(items, "_MOST_OF_ALBUM", 6)
    ids = [f"downloads/{n}.ogg" for n in range(7)]
    collection.scanned([track(one) for one in ids])
    write_import(collection.data, "tags", [Item([one], [FOLK]) for one in ids])
    assert collection.match().albums == 7


def test_a_compilation_has_no_artists_and_an_album_by_one_artist_with_guests_has_one(collection):
    rows = [track(f"va/{n}.ogg", f"artist {n}", "Sampler") for n in range(4)]
    rows += [track(f"a/{n}.ogg", "Björk" if n else "Björk feat. Tricky", "Post") for n in range(3)]
    collection.scanned(rows)
    write_import(collection.data, "tags", [Item([row["track_id"]], [ROCK]) for row in rows])
    found = {row["name"]: row for row in read_albums(collection.data.albums).to_pylist()}
    assert found["Sampler"]["artists"] == []
    assert [one["name"] for one in found["Post"]["artists"]] == ["Björk"]


def test_an_album_of_lute_is_preferred_and_its_labels_are_joined_with_those_of_the_track(collection, tmp_path):
    lute = tmp_path / "lute.jsonl"
    album = {
        "name": "Post", "file_name": "release/album/bjork/post",
        "artists": [{"name": "Björk", "file_name": "artist/bjork"}],
        "primary_genres": ["Art Pop"], "secondary_genres": [], "descriptors": [],
    }  # fmt: skip
    write_json_lines(lute, [album])
    collection.scanned([
        track("release/album/bjork/post/1.ogg", "Björk", "Post"), track("other/1.ogg", "Low", "Secret Name"),
    ])  # fmt: skip
    items = [Item(["release/album/bjork/post/1.ogg"], [CALM]), Item(["other/1.ogg"], [FOLK])]
    write_import(collection.data, "tags", items)
    others = imported_albums(collection.data.albums)
    import_lute(lute, collection.data.albums)
    keep_imported(collection.data.albums, others)
    assert collection.match().by_method == {"layout": 1, "import": 1}
    encoder, _ = collection.labels()
    assert (encoder.genres, encoder.descriptors) == (["Art Pop", "Folk"], ["calm"])
    rows = [row for own in collection.split(val=0.0, test=0.5).values() for row in own]
    assert {row["track_id"]: (row["primary_genres"], row["descriptors"]) for row in rows} == {
        "release/album/bjork/post/1.ogg": (["Art Pop"], ["calm"]),
        "other/1.ogg": (["Folk"], []),
    }


def test_an_import_replaces_the_earlier_one_of_its_kind_only(collection):
    collection.scanned([track("a.ogg", "Low", "Secret Name"), track("b.ogg", "Codeine", "Frigid Stars")])
    write_import(collection.data, "tags", [Item(["a.ogg"], [ROCK]), Item(["b.ogg"], [ROCK])])
    write_import(collection.data, "csv", [Item(["a.ogg"], [CALM])])
    write_import(collection.data, "tags", [Item(["a.ogg"], [FOLK])])
    rows = read_track_labels(collection.data.track_labels).to_pylist()
    assert [(row["source"], row["track_id"], row["primary_genres"], row["descriptors"]) for row in rows] == [
        ("csv", "a.ogg", [], ["calm"]), ("tags", "a.ogg", ["Folk"], []),
    ]  # fmt: skip
    assert sorted(row["source"] for row in read_albums(collection.data.albums).to_pylist()) == ["csv", "tags"]
    collection.match()
    encoder, _ = collection.labels()
    assert (encoder.genres, encoder.descriptors) == (["Folk"], ["calm"])


def test_values_of_labels_reach_the_splits(collection):
    ids = [f"{number}/1.ogg" for number in range(4)]
    collection.scanned([track(one, f"Artist {one}", "Album") for one in ids])
    values = [{ROCK: 0.75}, {ROCK: 0.25}, {}, {}]
    report = write_import(
        collection.data, "csv",
        [Item([one], [ROCK], values=own) for one, own in zip(ids, values, strict=True)],
    )  # fmt: skip
    assert (report.labels, report.values) == ({"genre": {"Rock": 3}}, 2)
    write_import(collection.data, "tags", [Item([ids[0]], [FOLK]), Item([ids[3]], [ROCK, FOLK])])
    collection.match()
    encoder, counts = collection.labels()
    albums = {row["label"]: row["albums"] for row in counts.to_pylist()}
    assert albums == {"Rock": 3, "Folk": 2}
    rows = {row["track_id"]: row for split in collection.split().values() for row in split}
    table = pa.Table.from_pylist([rows[one] for one in ids], schema=SPLIT_SCHEMA)
    assert encoder.encode_targets(table).toarray().tolist() == [[1, 0.75], [0, 0.25], [0, 1], [1, 1]]
    assert encoder.encode_table(table).toarray().tolist() == [[1, 1], [0, 0], [0, 1], [1, 1]]
    album = read_albums(collection.data.albums).filter(pc.field("file_name") == rows[ids[1]]["file_name"]).to_pylist()
    assert (album[0]["primary_genres"], album[0]["label_values"][0]["value"]) == ([], 0.25)


def test_tracks_with_a_row_of_zeros_are_known_to_have_none_of_the_labels(collection):
    ids = [f"{artist}/1.ogg" for artist in ("Low", "Codeine", "Bedhead", "Seam", "Rex")]
    collection.scanned([track(one, one.partition("/")[0], f"Songs {number}") for number, one in enumerate(ids)])
    zeros = {ROCK: 0.0, CALM: 0.0}
    rows = [Item([ids[0]], [ROCK]), Item([ids[1]], [CALM]), *(Item([one], [*zeros], values=zeros) for one in ids[2:4])]
    report = write_import(collection.data, "csv", rows)
    assert (report.labels, report.values, report.negatives) == ({"descriptor": {"calm": 1}, "genre": {"Rock": 1}}, 0, 2)
    write_import(collection.data, "tags", [Item([ids[3]], [ROCK]), Item([ids[4]], [FOLK])])
    collection.match()
    encoder, _ = collection.labels()
    assert (encoder.genres, encoder.descriptors) == (["Folk", "Rock"], ["calm"])
    found = {row["track_id"]: row for split in collection.split().values() for row in split}
    table = pa.Table.from_pylist([found[one] for one in ids], schema=SPLIT_SCHEMA)
    assert encoder.encode_table(table).toarray().tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert encoder.encode_targets(table).toarray().tolist() == encoder.encode_table(table).toarray().tolist()
    known = [[True, False], [False, True], [True, True], [True, True], [True, False]]
    assert encoder.known_in(table).tolist() == known


def test_nothing_is_replaced_by_an_import_without_labels(collection):
    collection.scanned([track("a.ogg")])
    write_import(collection.data, "tags", [Item(["a.ogg"], [ROCK])])
    with pytest.raises(CatalogueError, match="no labels were found; for example line 2: 'x' is no track"):
        write_import(collection.data, "tags", [], ["line 2: 'x' is no track"])
    assert len(read_track_labels(collection.data.track_labels)) == 1


def test_spellings_of_a_label_are_one(collection):
    collection.scanned([track("a.ogg"), track("b.ogg")])
    report = write_import(
        collection.data, "csv", [Item(["a.ogg"], [("genre", "Hip Hop")]), Item(["b.ogg"], [("genre", "hip  hop")])]
    )
    assert report.labels == {"genre": {"Hip Hop": 2}}


def test_labels_of_any_family_reach_the_splits_and_the_catalogue(collection, tmp_path):
    rows = [track(f"{a}/x/{n}.ogg", f"artist {a}", f"album {a}") for a in range(4) for n in range(2)]
    collection.scanned(rows)
    first, *others = [row["track_id"] for row in rows]
    report = write_import(
        collection.data, "csv",
        [Item([first], [ROCK, ("Instruments", "Hurdy Gurdy"), ("language", "Breton")])]
        + [Item([one], [ROCK, ("instruments", "hurdy gurdy")]) for one in others],
    )  # fmt: skip
    assert report.labels == {"genre": {"Rock": 8}, "instruments": {"Hurdy Gurdy": 8}, "language": {"Breton": 1}}
    imported = imported_albums(collection.data.albums)
    write_json_lines(tmp_path / "lute.jsonl", [{"name": "Post", "file_name": "release/album/bjork/post"}])
    import_lute(tmp_path / "lute.jsonl", collection.data.albums)
    keep_imported(collection.data.albums, imported)
    write_import(collection.data, "tags", [Item([first], [("instruments", "voice")])])
    collection.match()
    encoder, _ = collection.labels()
    assert encoder.by_family == {
        "genre": ["Rock"], "descriptor": [], "instruments": ["Hurdy Gurdy", "voice"], "language": ["Breton"],
    }  # fmt: skip
    found = {row["track_id"]: row for own in collection.split().values() for row in own}
    assert [(one["family"], one["label"]) for one in found[first]["family_labels"]] == [
        ("instruments", "Hurdy Gurdy"), ("language", "Breton"), ("instruments", "voice"),
    ]  # fmt: skip
    metadata = TrackMetadata.read([others[-1]], collection.data)
    assert metadata.tags(0) == ["Rock", "Hurdy Gurdy"]


def test_a_family_whose_name_has_another_meaning_is_refused(collection):
    collection.scanned([track("a.ogg")])
    with pytest.raises(CatalogueError, match="'error' cannot be the name of a family"):
        write_import(collection.data, "csv", [Item(["a.ogg"], [("error", "x")])])

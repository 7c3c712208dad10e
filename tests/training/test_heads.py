import pyarrow as pa
import pytest

from eno.data.albums import ALBUM_SCHEMA
from eno.data.splits import SPLITS, read_split
from eno.data.windows import WindowPolicy
from eno.embeddings.store import EmbeddingStore
from eno.errors import LabelError, StoreError
from eno.training.heads import build_labels, label_tracks, load_tracks, make_splits
from tests.fakes import ProjectionEncoder


def album(number: int, artists: list[str], primary: list[str], secondary: list[str] = (), descriptors=()) -> dict:
    return {
        "file_name": f"release/album/{number}",
        "artists": [{"name": name, "file_name": f"artist/{name}"} for name in artists],
        "primary_genres": primary,
        "secondary_genres": list(secondary),
        "descriptors": list(descriptors),
    }


@pytest.fixture
def albums():
    rows = [
        album(0, ["a"], ["shoegaze"], ["dream pop"], ["noisy"]),
        album(1, ["a", "b"], ["shoegaze"], ["shoegaze"], ["noisy", "calm"]),
        album(2, ["b"], ["jazz"], [], ["calm"]),
        album(3, ["c"], ["jazz"], ["shoegaze"]),
        album(4, ["d"], ["dream pop"], [], ["noisy"]),
        album(5, [], [], [], []),
        album(6, ["e"], ["jazz"], [], ["rare"]),
    ]
    return pa.Table.from_pylist(rows, schema=ALBUM_SCHEMA)


@pytest.fixture
def tracks(albums):
    return label_tracks([f"release/album/{n}/{t}.mp3" for n in range(7) for t in range(n + 1)] + ["loose.mp3"], albums)


def test_tracks_get_the_labels_of_their_album(tracks, albums):
    by_name = {row["file_name"]: row for row in albums.to_pylist()}
    assert tracks.num_rows == sum(range(1, 8))
    for row in tracks.to_pylist():
        assert row["track_id"].startswith(row["file_name"] + "/")
        for column in ("primary_genres", "secondary_genres", "descriptors"):
            assert row[column] == by_name[row["file_name"]][column]


def test_no_track_in_any_album(albums):
    with pytest.raises(LabelError, match=r"No track lies in the folder of an album.*release/album/0/01\.flac"):
        label_tracks(["x/1.mp3"], albums)


def test_artists_stay_on_one_side_also_through_collaborations(tracks, albums, tmp_path):
    sizes = make_splits(tracks, albums, tmp_path, val=0.2, test=0.2, seed=0)
    assert sum(sizes.values()) == tracks.num_rows
    part_of = {row["file_name"]: name for name in SPLITS for row in read_split(tmp_path, name).to_pylist()}
    assert len(part_of) == 7
    assert part_of["release/album/0"] == part_of["release/album/1"] == part_of["release/album/2"]


def test_without_artists_every_album_stands_alone(tracks, albums, tmp_path):
    make_splits(tracks, albums.drop_columns("artists"), tmp_path, val=0.3, test=0.3, seed=0)
    names = [{row["file_name"] for row in read_split(tmp_path, name).to_pylist()} for name in SPLITS]
    assert all(names)
    assert sum(map(len, names)) == 7


def test_labels_are_counted_by_album_not_by_track(tracks):
    labels = build_labels(tracks, min_albums=2)
    # "rare" is on one album of seven tracks; "shoegaze" counts once where it is both primary and secondary.
    assert labels.genres == ["dream pop", "jazz", "shoegaze"]
    assert labels.descriptors == ["calm", "noisy"]
    assert build_labels(tracks, min_albums=3).all_labels == ["jazz", "shoegaze", "noisy"]
    with pytest.raises(LabelError, match="No label has 4 albums in the training part, which holds 7 albums"):
        build_labels(tracks, min_albums=4)


def test_vectors_and_labels_stand_in_the_same_row(tracks, albums, tmp_path):
    encoder = ProjectionEncoder()
    store = EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=WindowPolicy(), dtype="float32")
    ids = tracks["track_id"].to_pylist()
    codes = {name: i for i, name in enumerate(ids)}
    store.append(ids[::-1], [0.0] * len(ids), encoder.projection[[codes[name] for name in ids[::-1]]][:, None])
    make_splits(tracks, albums, tmp_path / "splits", val=0.2, test=0.2, seed=0)
    labels = build_labels(tracks, min_albums=1)
    truth = {row["track_id"]: row for row in tracks.to_pylist()}
    for part in SPLITS:
        loaded = load_tracks(store, tmp_path / "splits", part, labels)
        for name, x, y in zip(loaded.ids, loaded.X, loaded.Y, strict=True):
            assert (x == encoder.projection[codes[name]]).all()
            row = truth[name]
            expected = labels.encode(row["primary_genres"], row["secondary_genres"], row["descriptors"])
            assert (y == expected).all()


def test_tracks_that_the_store_lacks_are_named(tracks, albums, tmp_path):
    store = EmbeddingStore.create(tmp_path / "store", ProjectionEncoder().spec, policy=WindowPolicy())
    make_splits(tracks, albums, tmp_path / "splits", val=0.2, test=0.2, seed=0)
    with pytest.raises(StoreError, match=r"lacks \d+ tracks, for instance release/album"):
        load_tracks(store, tmp_path / "splits", "train", build_labels(tracks, min_albums=1))

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from eno.data.labels.encoder import LabelEncoder
from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.alignment import duration_agreement
from eno.data.matching.matcher import MATCH_SCHEMA
from eno.data.splits import leaks
from eno.data.splits.artist_split import (
    LEFT_OUT,
    SPLIT_SCHEMA,
    artists_of_albums,
    describe_splits,
    label_tracks,
    make_splits,
    read_split,
    track_groups,
    write_splits,
)
from eno.data.splits.leaks import check_leaks, find_leaks, leave_out_repeats
from eno.data.splits.official import read_official_splits
from eno.data.splits.stratify import SPLITS
from eno.errors import CatalogueError

LABELS = LabelEncoder(["jazz", "rock"], ["calm"])


def album(name, *artists, genre="rock", title=None, lengths=()):
    return {
        "file_name": name, "name": title or name, "artists": [{"name": one, "file_name": None} for one in artists],
        "primary_genres": [genre], "secondary_genres": [], "descriptors": ["calm"],
        "tracks": [{"duration_seconds": length} for length in lengths],
    }  # fmt: skip


def collection(*albums, tracks_each=2, tags=None):
    table = pa.Table.from_pylist(list(albums), schema=ALBUM_SCHEMA)
    ids = [(f"{one['file_name']}/{n}", one["file_name"]) for one in albums for n in range(tracks_each)]
    matches = [{"track_id": i, "file_name": name, "decision": "matched"} for i, name in ids]
    tracks = label_tracks(pa.Table.from_pylist(matches, schema=MATCH_SCHEMA), table)
    rows = [{"track_id": i, **(tags or {}).get(i, {})} for i, _ in ids]
    return table, tracks, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)


def place(tracks, **split_of):
    return np.array([split_of.get(name, LEFT_OUT) for name in tracks["file_name"].to_pylist()], dtype="<U5")


def test_tracks_get_the_labels_of_their_album():
    albums, tracks, _ = collection(album("x", "A"), album("y", "B", genre="jazz"))
    assert tracks.schema.equals(SPLIT_SCHEMA)
    assert [(row["track_id"], row["primary_genres"]) for row in tracks.to_pylist()] == [
        ("x/0", ["rock"]), ("x/1", ["rock"]), ("y/0", ["jazz"]), ("y/1", ["jazz"]),
    ]  # fmt: skip
    nothing = pa.Table.from_pylist([{"track_id": "a", "decision": "unmatched"}], schema=MATCH_SCHEMA)
    with pytest.raises(CatalogueError, match="No track is matched to an album"):
        label_tracks(nothing, albums)
    other = pa.Table.from_pylist([{"track_id": "a", "decision": "matched", "file_name": "gone"}], schema=MATCH_SCHEMA)
    with pytest.raises(CatalogueError, match="matched to the album gone, which is not in the albums table"):
        label_tracks(other, albums)


class TestGroups:
    def test_spellings_and_collaborations_join_groups(self):
        albums, tracks, tags = collection(
            album("1", "Sigur Rós"), album("2", "SIGUR ROS", "Steindór"), album("3", "Steindór"), album("4", "Low")
        )
        first, second, third, fourth = track_groups(tracks, albums, tags)[::2]
        assert first == second == third != fourth

    def test_compilations_count_for_their_artists_and_never_join_groups(self):
        compilations = [album(name, "Various Artists") for name in ("c1", "c2", "c3", "c4")]
        tags = {
            "c1/0": {"artist": "A feat. B"}, "c1/1": {"artist": "Guest"},
            "c2/0": {"artist": "A"}, "c2/1": {"artist": "B"},
            "c3/0": {"artist": "Guest"}, "c3/1": {"artist": "Various"},
        }  # fmt: skip
        albums, tracks, table = collection(album("a", "A"), album("b", "B"), *compilations, tags=tags)
        a, b, c1, c2, c3, c4 = track_groups(tracks, albums, table)[::2]
        assert a == c1 == c3  # c3 by way of the guest
        assert c2 is None  # would tie A to B
        assert len({a, b, c4}) == 3
        splits = make_splits(tracks, albums, LABELS, val=0.3, test=0.3, seed=0, tags=table)
        assert set(splits[tracks["file_name"].to_numpy() == "c2"]) == {LEFT_OUT}
        report = describe_splits(tracks, albums, LABELS, splits, table)
        assert report.left_out == 2
        assert find_leaks(tracks, splits, albums, table) == []

    def test_various_artists_are_known_by_any_of_their_names(self):
        names = ("Verschiedene Interpreten", "Artistes divers", "Diverse Artister", "VA")
        albums, tracks, _ = collection(*(album(f"c{i}", name) for i, name in enumerate([*names, *names])))
        assert len(set(track_groups(tracks, albums, None))) == 8
        one = album("c", "Sammlung") | {"artists": [{"name": "Sammlung", "file_name": "artist/various-artists"}]}
        two = album("d") | {"artists": [{"name": None, "file_name": "artist/various-artists"}]}
        albums, tracks, _ = collection(one, two)
        assert artists_of_albums(albums, ["c", "d"]) == {"c": [], "d": []}

    def test_albums_and_songs_by_unknown_artists_are_not_by_the_same_artist(self):
        names = ("Unknown Artist", "[unknown]", "Unbekannter Künstler", "不明なアーティスト")
        tags = {f"a{i}/0": {"artist": name, "title": "Track 01"} for i, name in enumerate(names)}
        albums, tracks, table = collection(*(album(f"a{i}", name) for i, name in enumerate(names)), tags=tags)
        assert len(set(track_groups(tracks, albums, table))) == 4
        splits = make_splits(tracks, albums, LABELS, val=0.25, test=0.25, seed=0, tags=table)
        assert find_leaks(tracks, splits, albums, table) == []

    def artists_in(self, albums, tracks, splits, tags):
        """Return the splits of every artist, by the credits of albums or else the tags of tracks."""
        owners = artists_of_albums(albums, tracks["file_name"].unique().to_pylist())
        tagged = {row["track_id"]: row["artist"] for row in tags.to_pylist()}
        found = defaultdict(set)
        for track_id, name, split in zip(
            *(tracks[c].to_pylist() for c in ("track_id", "file_name")), splits, strict=True
        ):
            for artist in (owners[name] or [tagged[track_id]]) if split != LEFT_OUT else ():
                found[artist].add(split)
        return found

    def test_guests_of_compilations_do_not_chain_artists_together(self):
        regular = [album(f"a{i}", f"artist{i}") for i in range(50)]
        mixed = [album(f"c{i}", "Various Artists") for i in range(50)]
        tags = {f"c{i}/0": {"artist": f"artist{i}"} for i in range(50)}
        tags |= {f"c{i}/{n}": {"artist": f"guest{(i + n) % 50}"} for i in range(50) for n in (1, 2)}
        albums, tracks, table = collection(*regular, *mixed, tracks_each=3, tags=tags)
        groups = track_groups(tracks, albums, table)
        assert len({group for group in groups if group}) == 50
        splits = make_splits(tracks, albums, LABELS, val=0.2, test=0.2, seed=0, tags=table)
        assert all(len(found) == 1 for found in self.artists_in(albums, tracks, splits, table).values())
        left = [track for track, split in zip(tracks["track_id"].to_pylist(), splits, strict=True) if split == LEFT_OUT]
        assert len(left) == 50  # one of the two tracks of each guest

    def test_a_collection_of_compilations_can_be_split(self):
        mixed = [album(f"c{i}", "Various Artists") for i in range(20)]
        tags = {f"c{i}/{n}": {"artist": f"guest{i + n}"} for i in range(20) for n in range(4)}
        albums, tracks, table = collection(*mixed, tracks_each=4, tags=tags)
        splits = make_splits(tracks, albums, LABELS, val=0.2, test=0.2, seed=0, tags=table)
        assert {*SPLITS} <= set(splits)
        assert all(len(found) == 1 for found in self.artists_in(albums, tracks, splits, table).values())
        assert (splits != LEFT_OUT).mean() > 0.5

    def test_an_album_credited_to_many_does_not_join_them(self):
        regular = [album(f"a{i}", f"artist{i}") for i in range(8)]
        albums, tracks, table = collection(*regular, album("all", *(f"artist{i}" for i in range(8))))
        groups = dict(zip(tracks["file_name"].to_pylist(), track_groups(tracks, albums, table), strict=True))
        assert groups.pop("all") is None
        assert len(set(groups.values())) == 8

    def test_two_artists_in_the_tag_of_a_track(self):
        tags = {"c1/0": {"artist": "A & B"}, "c1/1": {"artist": "Guest"}, "c2/0": {"artist": "B & Somebody"}}
        compilations = album("c1", "Various Artists"), album("c2", "Various Artists")
        albums, tracks, table = collection(album("a", "A"), album("b", "B"), *compilations, tags=tags)
        _, b, c1, c2 = track_groups(tracks, albums, table)[::2]
        assert (c1, c2) == (None, b)

    def test_without_tags_each_compilation_stands_alone(self):
        albums, tracks, _ = collection(album("c1", "Various Artists"), album("c2", "VA"), album("a", "A"))
        assert len(set(track_groups(tracks, albums, None))) == 3


class TestLaterSplits:
    """A collection that was split before."""

    def many(self, count, start=0, genre="rock"):
        return [album(f"a{i}", f"Artist {i}", genre=genre if i % 2 else "jazz") for i in range(start, start + count)]

    def split(self, *albums, before=None, val=0.2, **options):
        table, tracks, tags = collection(*albums)
        splits = make_splits(tracks, table, LABELS, val=val, test=0.2, seed=0, tags=tags, before=before, **options)
        return dict(zip(tracks["track_id"].to_pylist(), splits.tolist(), strict=True))

    def test_other_labels_move_no_track(self):
        first = self.split(*self.many(30))
        assert self.split(*self.many(30, genre="jazz")) != first  # without the splits before
        assert self.split(*self.many(30, genre="jazz"), before=first) == first

    def test_new_artists_balance_the_splits_and_known_ones_stay(self):
        first = self.split(*self.many(30))
        uneven = {track: "train" for track in first}
        later = self.split(*self.many(60), album("more", "Artist 3"), before=uneven)
        assert {track: later[track] for track in uneven} == uneven
        assert later["more/0"] == "train"
        counts = {name: sum(split == name for split in later.values()) for name in SPLITS}
        assert counts["test"] >= 20
        assert counts["val"] >= 20

    def test_of_artists_who_are_connected_now_the_fewest_tracks_move(self):
        first = self.split(*self.many(30))
        one = next(track for track, split in first.items() if split == "test").split("/")[0]
        others = sorted({track.split("/")[0] for track, split in first.items() if split == "train"})[:2]
        names = [f"Artist {name[1:]}" for name in (one, *others)]
        later = self.split(*self.many(30), album("both", *names), before=first)
        assert {track for track in first if later[track] != first[track]} == {f"{one}/0", f"{one}/1"}
        assert later["both/0"] == later[f"{one}/0"] == "train"

    def test_a_validation_split_is_kept_if_the_settings_no_longer_have_one(self):
        first = self.split(*self.many(30))
        assert self.split(*self.many(30), before=first, val=0) == first


def test_the_report_matches_plain_counting():
    albums, tracks, tags = collection(
        album("1", "A"), album("2", "A", "B"), album("3", "C", genre="jazz"), album("4", "D", genre="jazz")
    )
    splits = place(tracks, **{"1": "train", "2": "train", "3": "val", "4": "test"})
    report = describe_splits(tracks, albums, LABELS, splits, tags)
    assert report.tracks == {"train": 4, "val": 2, "test": 2}
    assert report.albums == {"train": 2, "val": 1, "test": 1}
    assert report.artists == {"train": 2, "val": 1, "test": 1}
    # Half of all tracks are in train, but no jazz and all of the rock.
    assert (report.worst_gap, report.worst_label, report.worst_split) == (0.5, "jazz", "train")
    assert report.mean_gap == pytest.approx((0.5 + 0.25 + 0.25 + 0.5 + 0.25 + 0.25 + 0) / 9)
    assert report.largest_group == 0.5


def test_write_and_read(tmp_path):
    _, tracks, _ = collection(album("x", "A"), album("y", "B"))
    write_splits(tmp_path, tracks, place(tracks, x="train", y="test"))
    first = read_split(tmp_path, "train")
    assert first.select(SPLIT_SCHEMA.names).equals(tracks.slice(0, 2))
    assert first["group"].equals(first["file_name"])  # where no groups are known, albums are
    assert read_split(tmp_path, "val").num_rows == 0
    (tmp_path / "val.parquet").unlink()
    with pytest.raises(CatalogueError, match=r"val\.parquet: no such file. Create it with: eno split"):
        read_split(tmp_path, "val")


class TestOfficial:
    @pytest.fixture
    def tracks(self):
        return collection(album("x", "A"), album("y", "B"), album("z", "C"))[1]

    def write(self, folder, **files):
        for name, content in files.items():
            stem, _, suffix = name.partition("_")
            (folder / f"{stem}.{suffix}").write_bytes(content if isinstance(content, bytes) else content.encode())

    def test_text_tables_tracks_and_albums(self, tracks, tmp_path):
        self.write(tmp_path, train_txt="x\n\ngone\n", valid_csv="file_name,n\ny,1\n", test_tsv="n\tpath\n1\tz/0\n")
        splits, unknown = read_official_splits(tmp_path, tracks)
        assert splits.tolist() == ["train", "train", "val", "val", "test", LEFT_OUT]
        assert unknown == ["gone"]

    def test_unusual_line_separators_belong_to_the_name(self, tmp_path):
        odd = [f"a{separator}b" for separator in ("\u2028", "\x85", "\x0b")]
        table = pa.table({"track_id": odd, "file_name": ["x", "y", "z"]})
        self.write(tmp_path, train_txt=odd[0], val_csv=f"track_id\n{odd[1]}\n", test_tsv=f"n\tpath\n1\t{odd[2]}\n")
        splits, unknown = read_official_splits(tmp_path, table)
        assert splits.tolist() == ["train", "val", "test"]
        assert unknown == []

    def test_line_breaks_and_spaces_at_the_end_belong_to_the_name(self, tmp_path):
        odd = ["a\nb", "c\r\nd\re", "f\x85\xa0"]
        table = pa.table({"track_id": odd, "file_name": ["x", "y", "z"]})
        self.write(tmp_path, train_csv=f'track_id\r\n"{odd[0]}"\r\n', test_txt=f"{odd[2]}\n")
        (tmp_path / "val.tsv").write_bytes(f'track_id\n"{odd[1]}"\n'.encode())
        splits, unknown = read_official_splits(tmp_path, table)
        assert splits.tolist() == ["train", "val", "test"]
        assert unknown == []

    def test_validation_may_be_missing(self, tracks, tmp_path):
        self.write(tmp_path, train_txt="x", test_txt="z")
        splits, unknown = read_official_splits(tmp_path, tracks)
        assert set(splits) == {"train", "test", ""}
        assert unknown == []

    def test_spaces_around_a_name_are_no_part_of_it_if_no_track_has_them(self, tracks, tmp_path):
        self.write(tmp_path, train_txt=" x \r\n", val_txt="y\t\n", test_txt="z")
        assert read_official_splits(tmp_path, tracks)[1] == []

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"train_txt": "x", "val_txt": "y"}, r"expected one file test\{.*, found none"),
            ({"train_txt": "x", "val_txt": "x/1", "test_txt": ""}, r"val\.txt: lists x/1, which is already in train"),
            ({"train_txt": b"caf\xe9", "val_txt": "", "test_txt": ""}, r"train\.txt: line 1 is not UTF-8"),
            (
                {"train_csv": "a,b\n", "val_txt": "", "test_txt": ""},
                "expected a column track_id, path or file_name, found",
            ),
            ({"train_parquet": "x", "val_txt": "", "test_txt": ""}, "cannot be read as Parquet"),
            (
                {"train_txt": "p", "val_txt": "", "test_txt": ""},
                "lists no track or album of this collection; found, for example, 'p'",
            ),
        ],
    )
    def test_errors_are_reported(self, tracks, tmp_path, files, message):
        self.write(tmp_path, **files)
        with pytest.raises(CatalogueError, match=message):
            read_official_splits(tmp_path, tracks)


class TestLeaks:
    def kinds(self, *albums, splits, tags=None):
        table, tracks, tagged = collection(*albums, tags=tags)
        return {(leak.kind, leak.splits) for leak in find_leaks(tracks, place(tracks, **splits), table, tagged)}

    def test_separate_splits_have_no_leaks(self):
        assert self.kinds(album("1", "A"), album("2", "B"), splits={"1": "train", "2": "test"}) == set()

    def test_an_artist_under_another_spelling(self):
        found = self.kinds(album("1", "The Beatles"), album("2", "Beatles"), splits={"1": "train", "2": "test"})
        assert found == {("artist", ("test", "train"))}

    def test_omitted_tracks_and_various_artists_are_no_leaks(self):
        albums = album("1", "A"), album("2", "A"), album("3", "Various Artists"), album("4", "Various Artists")
        assert self.kinds(*albums, splits={"1": "train", "3": "val", "4": "test"}) == set()

    def test_an_album_in_two_splits(self):
        table, tracks, tags = collection(album("1", "Various Artists"))
        leaks = find_leaks(tracks, np.array(["train", "test"]), table, tags)
        assert [(leak.kind, leak.name) for leak in leaks] == [("album", "1")]

    def test_the_same_recording_under_another_name(self):
        one = album("1", "Prince", title="Purple Rain", lengths=(279, 236, 223, 213))
        other = album("2", "The Revolution", title="Purple rain!", lengths=(280, 236, 223, 213))
        cover = album("3", "Somebody", title="Purple Rain", lengths=(200, 210, 190, 180))
        splits = {"1": "train", "2": "test", "3": "val"}
        assert self.kinds(one, other, cover, splits=splits) == {("recording", ("test", "train"))}

    def test_recordings_of_common_titles_are_found_with_few_comparisons(self, monkeypatch):
        compared = []

        def counted(*lengths):
            compared.append(lengths)
            return duration_agreement(*lengths)

        monkeypatch.setattr(leaks, "duration_agreement", counted)
        random = np.random.default_rng(0)
        originals = random.integers(120, 400, (200, 12)).tolist()
        hits = [album(f"h{i}", f"artist{i}", title="Greatest Hits", lengths=each) for i, each in enumerate(originals)]
        copies = [[length + 2 for length in originals[7][: 12 - i]] for i in range(3)]
        again = [album(f"r{i}", f"label{i}", title="Greatest Hits!", lengths=each) for i, each in enumerate(copies)]
        table, tracks, _ = collection(*hits, *again, tracks_each=1)
        splits = np.array([("train", "val", "test")[i % 3] for i in range(len(tracks))], "<U5")
        found = [leak for leak in find_leaks(tracks, splits, table) if leak.kind == "recording"]
        assert [leak.name for leak in found] == ["h7 = r0 = r1 = …"]
        assert len(compared) < 200  # of 20,503 pairs

    def test_the_same_song_and_the_same_audio(self):
        tags = {
            "1/0": {"artist": "A", "title": "Song"}, "2/0": {"artist": "a feat. B", "title": "SONG!"},
            "1/1": {"packet_hash": "f00"}, "2/1": {"packet_hash": "f00"},
        }  # fmt: skip
        compilations = album("1", "Various Artists"), album("2", "Various Artists")
        found = self.kinds(*compilations, splits={"1": "val", "2": "test"}, tags=tags)
        assert found == {("song", ("test", "val")), ("audio", ("test", "val"))}

    def test_repeats_stay_in_test_or_else_validation(self):
        tags = {"1/0": {"artist": "A", "title": "Song"}, "2/1": {"artist": "A", "title": "song"},
                "3/0": {"artist": "A", "title": "Song"}, "3/1": {"artist": "A", "title": "Another"}}  # fmt: skip
        table, tracks, tagged = collection(album("1", "X"), album("2", "Y"), album("3", "Z"), tags=tags)
        splits = place(tracks, **{"1": "train", "2": "test", "3": "val"})
        assert [leak.kind for leak in find_leaks(tracks, splits, table, tagged)] == ["song"]
        cleaned = leave_out_repeats(tracks, splits, table, tagged)
        assert cleaned.tolist() == [LEFT_OUT, "train", "test", "test", LEFT_OUT, "val"]
        check_leaks(tracks, cleaned, table, tagged)

    def test_the_check_names_ten_leaks(self):
        names = [str(i) for i in range(24)]
        table, tracks, tags = collection(*(album(name, f"artist {i // 2}") for i, name in enumerate(names)))
        splits = place(tracks, **{name: SPLITS[i % 2] for i, name in enumerate(names)})
        with pytest.raises(CatalogueError, match=r"splits overlap(?s:.*)artist 0 is in train and val(?s:.*)and 2 more"):
            check_leaks(tracks, splits, table, tags)

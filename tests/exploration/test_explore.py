import os
from collections import Counter
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA, scan
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS, read_albums
from eno.data.matching.matcher import MATCH_SCHEMA
from eno.data.tables import write_table
from eno.errors import CatalogueError
from eno.exploration import track_picture
from eno.exploration.collect import co_occurrence, explore, label_statistics
from eno.exploration.html import write_html
from eno.exploration.statistics import LIMITS
from eno.exploration.terminal import sections
from eno.exploration.track_picture import picture_track
from tests.audio_files import music

labels = st.lists(st.sampled_from([*"abcdef", " ", None]), max_size=4)


def column(lists):
    return pa.chunked_array([pa.array(lists, pa.list_(pa.string()))])


@given(st.lists(st.tuples(labels, st.none() | labels), max_size=40))
def test_label_statistics_match_plain_counting(rows):
    figures = label_statistics(column([row[0] for row in rows]), column([row[1] for row in rows]))
    sets = [{*primary, *(secondary or ())} - {None, " "} for primary, secondary in rows]
    counts = Counter(label for one in sets for label in one)
    assert dict(figures.counts) == counts
    assert [count for _, count in figures.counts] == sorted(counts.values(), reverse=True)
    assert figures.per_album == Counter(map(len, sets))
    for (limit, kept, share), expected in zip(figures.kept, LIMITS, strict=True):
        frequent = {label for label, count in counts.items() if count >= limit}
        assert (limit, kept) == (expected, len(frequent))
        assert share == pytest.approx(sum(bool(one & frequent) for one in sets) / max(1, len(sets)))


def test_lift_is_observed_over_expected():
    rng = np.random.default_rng(0)
    sets = [sorted(rng.choice(list("abcdef"), rng.integers(0, 4), replace=False)) for _ in range(60)]
    albums = pa.Table.from_pylist(
        [{"file_name": str(i), "primary_genres": one, "descriptors": []} for i, one in enumerate(sets)],
        schema=ALBUM_SCHEMA,
    )
    figures = label_statistics(albums["primary_genres"])
    found = co_occurrence(albums, figures, label_statistics(albums["descriptors"]))
    single = Counter(label for one in sets for label in one)
    both = Counter(pair for one in sets for pair in combinations(one, 2))
    frequent = {pair: count for pair, count in both.items() if count >= 5}
    expected = {(a, b): (n, n / 60 / (single[a] / 60 * single[b] / 60)) for (a, b), n in frequent.items()}
    assert {(p.one, p.other): (p.albums, pytest.approx(p.lift)) for p in found.pairs} == expected
    assert [p.lift for p in found.pairs] == sorted((p.lift for p in found.pairs), reverse=True)
    for i, one in enumerate(found.labels):
        for j, other in enumerate(found.labels):
            if one != other:
                observed = both[min(one, other), max(one, other)]
                assert found.lift[i, j] == pytest.approx(observed * 60 / (single[one] * single[other]))


@pytest.fixture
def root(tmp_path):
    data = DataRoot(tmp_path)
    albums = [
        {
            "name": str(i), "file_name": f"album-{i}", "artists": [{"name": "A", "file_name": None}],
            "primary_genres": ["<script>", "空洞"], "secondary_genres": [], "descriptors": ["calm"] * (i > 0),
            "tracks": [{"name": "x"}] * i, "release_date": f"{1988 + i}-01-01",
        }
        for i in range(6)
    ]  # fmt: skip
    write_table(data.albums, pa.Table.from_pylist(albums, schema=ALBUM_SCHEMA))
    return data


def with_audio(data):
    (data.audio / "album-1").mkdir(parents=True)
    for n in range(2):
        soundfile.write(data.audio / "album-1" / f"{n}.flac", music(2 + n, 16_000), 16_000)
    (data.audio / "empty.mp3").touch()
    scan(data.audio, data.tracks)
    match = {"file_name": "album-1", "decision": "matched", "method": "layout"}
    rows = [{"track_id": f"album-1/{n}.flac", **match} for n in range(2)]
    write_table(data.matches, pa.Table.from_pylist(rows, schema=MATCH_SCHEMA))


def test_missing_tables_are_hints(root):
    found = explore(root)
    assert [hint.rpartition("with: ")[2] for hint in found.hints] == ["eno scan", "eno match", "eno split"]
    assert (found.audio, found.track, found.splits) == (None, None, [])
    assert dict(found.overview)["albums without descriptors"] == "1"
    assert dict(found.overview)["albums without a track list"] == "1"
    assert found.years == {1980: 2, 1990: 4}
    with pytest.raises(CatalogueError, match="before the audio files are scanned"):
        explore(root, track="x")


def test_labels_of_other_families_are_counted(root, tmp_path):
    albums = read_albums(root.albums)
    named = [[], [("instruments", "organ")], None, [("instruments", "harp"), ("instruments", "organ")], [], []]
    column = [
        None if one is None else [dict(zip(("family", "label"), pair, strict=True)) for pair in one] for one in named
    ]
    write_table(root.albums, albums.append_column(FAMILY_LABELS, pa.array(column, FAMILY_LABELS.type)))
    found = explore(root)
    assert found.others["instruments"].counts == [("organ", 2), ("harp", 1)]
    assert found.others["instruments"].per_album == {0: 4, 1: 1, 2: 1}
    assert "labels of the family instruments: 2" in [title for title, _, _ in sections(found)]
    write_html(found, tmp_path / "report.html")
    assert "Most frequent instruments, by albums" in (tmp_path / "report.html").read_text()


def test_audio_is_described(root):
    with_audio(root)
    found = explore(root)
    assert found.hints == ["No splits yet. Create them with: eno split"]
    assert found.audio.durations_s.tolist() == [2.0, 3.0]
    assert found.audio.shortest[0] == ("album-1/0.flac", 2.0)
    assert found.audio.longest[0] == ("album-1/1.flac", 3.0)
    assert found.audio.formats == [("FLAC", "PCM_16", 16_000, 2, 2)]
    assert [(count, example) for _, count, example in found.audio.problems] == [(1, "empty.mp3")]
    assert found.incomplete == [("album-1", 2, 1)]
    assert (found.track.track_id, found.track.duration_s) == ("album-1/0.flac", 2.0)
    assert found.track.labels == ["<script>", "空洞", "calm"]
    assert explore(root, track="album-1/1.flac").track.duration_s == 3.0
    with pytest.raises(CatalogueError, match="'gone' is not in the tracks table"):
        explore(root, track="gone")


def test_the_picture_shows_the_audio():
    rate = 22_050
    t = np.arange(6 * rate) / rate
    samples = np.where(t < 3, 0.5 * np.sin(2 * np.pi * 440 * t), 0).astype(np.float32)
    picture = picture_track("x", samples, rate, [])
    assert len(picture.start) == 5 * rate
    half = picture.envelope.shape[1] // 2
    np.testing.assert_allclose(picture.envelope[1, : half - 1], 0.5, atol=0.01)
    np.testing.assert_array_equal(picture.envelope[:, half + 1 :], 0)
    # The loudest band is the one around 440 Hz: bands are evenly spread over HTK's mel scale.
    mels = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), 130)[1:-1]
    centres = 700 * (10 ** (mels / 2595) - 1)
    loudest = centres[picture.mel_db[:, 20].argmax()]
    assert loudest == pytest.approx(440, rel=0.06)
    assert picture.mel_db.max() - picture.mel_db.min() == pytest.approx(80, abs=1)


def with_tracks(data, rows):
    write_table(data.tracks, pa.Table.from_pylist([{"size": 1, "mtime_ns": 1, **row} for row in rows], TRACK_SCHEMA))
    return explore(data)


def test_reasons_that_differ_only_in_numbers_are_merged(root):
    reasons = ["ends before 1.5 s of 20", "ends before 7 s of 30.25", "is empty (0 bytes)", "is empty (0 bytes)", "x"]
    found = with_tracks(root, [{"track_id": str(i), "problem": why} for i, why in enumerate(reasons)])
    assert found.audio.problems == [("ends before … s of …", 2, "0"), ("is empty (0 bytes)", 2, "2"), ("x", 1, "4")]


def test_files_with_the_same_packet_hash_are_counted(root):
    rows = [{"track_id": str(i), "packet_hash": digest} for i, digest in enumerate(["p", "q", "p", "p", None])]
    name = "files with the same audio as another"
    assert dict(with_tracks(root, rows).overview)[name] == "2"
    assert name not in dict(with_tracks(root, [row | {"packet_hash": None} for row in rows]).overview)


def test_matched_tracks_are_counted_by_method(root):
    rows = [
        ("a", "matched", "layout"),
        ("b", "matched", "names"),
        (None, "ambiguous", "names"),
        ("c", "matched", "names"),
    ]
    matches = [{"track_id": str(i), "file_name": f, "decision": d, "method": m} for i, (f, d, m) in enumerate(rows)]
    write_table(root.matches, pa.Table.from_pylist(matches, schema=MATCH_SCHEMA))
    overview = dict(explore(root).overview)
    assert (overview["tracks matched by names"], overview["tracks matched by layout"]) == ("2", "1")


def test_invalid_dates_are_ignored(root):
    rows = [{"file_name": str(i), "release_date": date} for i, date in enumerate(["²²²²-01", "", None, "1999-12-31"])]
    write_table(root.albums, pa.Table.from_pylist(rows, schema=ALBUM_SCHEMA))
    assert explore(root).years == {1990: 1}


def test_a_deleted_track_is_replaced_by_the_next_one(root):
    with_audio(root)
    (root.audio / "album-1" / "0.flac").unlink()
    found = explore(root)
    assert found.track.track_id == "album-1/1.flac"
    assert found.hints == ["No splits yet. Create them with: eno split"]
    wanted = explore(root, track="album-1/0.flac")
    assert wanted.track is None
    assert "no such file" in wanted.hints[-1]


def test_only_the_start_of_a_long_track_is_decoded(root, monkeypatch):
    with_audio(root)
    monkeypatch.setattr(track_picture, "PICTURE_S", 1)
    assert explore(root).track.duration_s == 1.0


def test_a_track_whose_name_is_not_utf8_is_found(root):
    folder = os.fsencode(root.audio)
    root.audio.mkdir(parents=True)
    soundfile.write(root.audio / "x.flac", music(1, 16_000), 16_000)
    try:
        os.rename(folder + b"/x.flac", folder + b"/caf\xe9.flac")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    scan(root.audio, root.tracks)
    assert explore(root).track.track_id == "caf\\xe9.flac"

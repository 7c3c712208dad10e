"""Long files whose tracks a CUE sheet or chapters name."""

import logging
import os
import shutil
from fractions import Fraction

import av
import mutagen.flac
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from mutagen.apev2 import APEv2

from eno.data.library import scanning
from eno.data.library.files import find_tracks
from eno.data.library.outlines import read_sections
from eno.data.library.scanning import TRACK_SCHEMA, read_tracks
from eno.files import AudioRoots, Section
from tests.audio_files import music, write

RATE = 16_000


def cue(*starts: str, file: str = "album.wav", first: int = 1) -> str:
    lines = ['PERFORMER "Various"', 'TITLE "The Mix"', f'FILE "{file}" WAVE']
    for number, start in enumerate(starts, first):
        lines += [f"TRACK {number:02d} AUDIO", f'TITLE "Song {number}"', f'PERFORMER "Artist {number}"']
        lines += [f"INDEX 01 {start}"]
    return "\n".join(lines)


@pytest.fixture
def root(tmp_path):
    """An album of 12 seconds in one file, and another file."""
    folder = tmp_path / "audio"
    (folder / "mix").mkdir(parents=True)
    soundfile.write(folder / "mix" / "album.flac", music(12, RATE, 1), RATE)
    soundfile.write(folder / "other.flac", music(2, RATE, 1), RATE)
    return folder


def scan(root, tmp_path, **options):
    report = scanning.scan(root, tmp_path / "tracks.parquet", **{"workers": 0, **options})
    return report, {row["track_id"]: row for row in read_tracks(tmp_path / "tracks.parquet").to_pylist()}


def limits(rows):
    return {name: (row["start_s"], row["end_s"]) for name, row in rows.items()}


WHOLE = {"mix/album.flac": (None, None), "other.flac": (None, None)}
DIVIDED = {"mix/album.flac#01": (0, 4), "mix/album.flac#02": (4, 12), "other.flac": (None, None)}


def test_a_sheet_beside_a_file_divides_it(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00"))
    report, rows = scan(root, tmp_path)
    assert limits(rows) == DIVIDED
    assert (report.found, report.added, report.sections, report.divided) == (2, 2, 2, 1)
    row, size = rows["mix/album.flac#02"], (root / "mix" / "album.flac").stat().st_size
    assert (row["title"], row["artist"], row["album"], row["track_number"]) == ("Song 2", "Artist 2", "The Mix", 2)
    assert (row["album_artist"], row["duration_s"], row["size"]) == ("Various", 8, size)
    assert (row["sample_rate"], row["problem"]) == (RATE, None)
    again, _ = scan(root, tmp_path)
    assert (again.unchanged, again.removed) == (2, 0)


@pytest.mark.parametrize(
    ("sheet", "file"),
    [
        ("album.cue", "album.flac"),
        ("album.cue", "C:\\Rips\\ALBUM.WAV"),
        ("album.flac.cue", "something else.wav"),
        ("Album.CUE", "cdimage.ape"),
        ("sheet.cue", "Album.ape"),
    ],
)
def test_the_name_in_the_sheet_need_not_be_that_on_disk(root, tmp_path, sheet, file):
    (root / "mix" / sheet).write_text(cue("00:00:00", "00:04:00", file=file))
    assert limits(scan(root, tmp_path)[1]) == DIVIDED


def test_a_sheet_may_be_about_several_files(root, tmp_path):
    shutil.copy(root / "mix" / "album.flac", root / "mix" / "side b.flac")
    text = cue("00:00:00", "00:04:00") + "\n" + cue("00:00:00", "00:06:00", file="side b.wav", first=3)
    (root / "mix" / "all.cue").write_text(text)
    _, rows = scan(root, tmp_path)
    assert list(rows) == [*list(DIVIDED)[:2], "mix/side b.flac#03", "mix/side b.flac#04", "other.flac"]


def test_files_of_one_track_stay_whole(root, tmp_path):
    text = cue("00:00:00") + '\nTRACK 02 AUDIO\nINDEX 00 00:11:00\nFILE "2.wav" WAVE\nINDEX 01 00:00:00'
    (root / "mix" / "album.cue").write_text(text)
    assert limits(scan(root, tmp_path)[1]) == WHOLE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (cue("00:00:00", "00:04:99"), "mix/album.cue: cannot be used (line 11: INDEX 01 00:04:99"),
        (
            cue("00:00:00", "00:12:01"),
            "because mix/album.cue does not fit (track 2 begins at 12.01 s, but the file ends",
        ),
    ],
)
def test_a_broken_sheet_is_named_and_the_file_stays_whole(root, tmp_path, caplog, text, problem):
    (root / "mix" / "album.cue").write_text(text)
    with caplog.at_level(logging.WARNING):
        report, rows = scan(root, tmp_path)
    assert limits(rows) == WHOLE and not report.problems
    assert problem in caplog.text
    assert scan(root, tmp_path)[0].unchanged == 2


def test_a_track_that_is_too_short_has_a_problem(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00", "00:04:20"))
    report, rows = scan(root, tmp_path)
    assert report.problems == [("mix/album.flac#02", rows["mix/album.flac#02"]["problem"])]
    assert "lasts 0.267 s according to mix/album.cue" in report.problems[0][1]


def test_only_files_whose_sheet_changed_are_read_again(root, tmp_path, monkeypatch):
    opened = []
    read = scanning.read_rows
    monkeypatch.setattr(scanning, "read_rows", lambda request: opened.append(request.track.id) or read(request))
    sheet = root / "mix" / "album.cue"
    assert limits(scan(root, tmp_path)[1]) == WHOLE
    opened.clear()
    sheet.write_text(cue("00:00:00", "00:04:00"))
    assert limits(scan(root, tmp_path)[1]) == DIVIDED
    times = sheet.stat()
    sheet.write_text(cue("00:00:00", "00:05:00"))
    os.utime(sheet, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert scan(root, tmp_path)[1]["mix/album.flac#02"]["start_s"] == 5
    sheet.unlink()
    assert limits(scan(root, tmp_path)[1]) == WHOLE
    assert opened == ["mix/album.flac"] * 3


def test_deleted_files_take_their_sections_with_them(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00"))
    scan(root, tmp_path)
    (root / "mix" / "album.flac").unlink()
    report, rows = scan(root, tmp_path)
    assert list(rows) == ["other.flac"] and report.removed == 1


@pytest.mark.parametrize("kind", ["flac-tag", "flac-block", "wavpack"])
def test_a_sheet_inside_a_file(root, tmp_path, kind):
    path = root / "mix" / "album.flac"
    if kind == "flac-tag":
        file = mutagen.flac.FLAC(path)
        file["CUESHEET"] = cue("00:00:00", "00:04:00")
        file.save()
    elif kind == "flac-block":
        file = mutagen.flac.FLAC(path)
        sheet = mutagen.flac.CueSheet(None)
        starts = [(1, 0), (2, 4 * RATE - 100), (170, 12 * RATE)]
        for number, start in starts:
            track = mutagen.flac.CueSheetTrack(number, start)
            if number == 2:  # whose pause of 100 samples is its index 0
                track.indexes = [mutagen.flac.CueSheetTrackIndex(0, 0), mutagen.flac.CueSheetTrackIndex(1, 100)]
            elif number == 1:
                track.indexes = [mutagen.flac.CueSheetTrackIndex(1, 0)]
            sheet.tracks.append(track)
        file.cuesheet = sheet
        file.metadata_blocks.append(sheet)
        file.save()
    else:
        path.unlink()
        write(root / "mix", "wavpack", music(12, 44_100), 44_100).rename(root / "mix" / "album.wv")
        tags = APEv2()
        tags["Cuesheet"] = cue("00:00:00", "00:04:00", file="album.wv")
        tags.save(root / "mix" / "album.wv")
    _, rows = scan(root, tmp_path)
    found = {name.replace(".wv", ".flac"): value for name, value in limits(rows).items()}
    assert found == {name: pytest.approx(value) if value[1] else value for name, value in DIVIDED.items()}
    titles = [None, None] if kind == "flac-block" else ["Song 1", "Song 2"]
    assert [row["title"] for row in rows.values() if row["start_s"] is not None] == titles


def test_a_broken_sheet_inside_a_file_is_named(root, tmp_path, caplog):
    file = mutagen.flac.FLAC(root / "mix" / "album.flac")
    file["CUESHEET"] = cue("00:00:00", "four seconds")
    file.save()
    with caplog.at_level(logging.WARNING):
        assert limits(scan(root, tmp_path)[1]) == WHOLE
    assert "mix/album.flac: its CUE sheet cannot be used (line 11: INDEX 01 four seconds" in caplog.text


def with_chapters(path, kind, chapters):
    """Write 12 seconds with chapters."""
    codec = {".m4b": "aac", ".mka": "flac", ".ogg": "libopus"}[path.suffix]
    with av.open(str(path), "w", format={".m4b": "ipod", ".mka": "matroska", ".ogg": "ogg"}[path.suffix]) as container:
        container.metadata["title"] = "Late Night"
        stream = container.add_stream(codec, rate=48_000)
        stream.layout = "mono"
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": 1000 * start,
                    "end": 1000 * end,
                    "time_base": Fraction(1, 1000),
                    "metadata": one,
                }
                for number, (start, end, one) in enumerate(chapters, 1)
            ]
        )
        samples = (music(12, 48_000, 1)[:, 0] * 20_000).astype(np.int16)
        for start in range(0, len(samples), 960):
            layout = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="s16", layout="mono")
            layout.sample_rate, layout.pts = 48_000, start
            for frame in av.AudioResampler(stream.format.name, "mono", 48_000).resample(layout):
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".m4b", ".mka", ".ogg"])
@pytest.mark.parametrize("count", [1, 3])
def test_two_or_more_chapters_divide_a_file(tmp_path, suffix, count):
    folder = tmp_path / "audio"
    folder.mkdir()
    chapters = [(0, 3, {"title": "Intro"}), (3, 7, {"title": "Middle"}), (7, 12, {})][:count]
    with_chapters(folder / f"set{suffix}", suffix, chapters)
    _, rows = scan(folder, tmp_path)
    if count == 1:
        assert list(rows) == [f"set{suffix}"]
        return
    assert list(rows) == [f"set{suffix}#0{number}" for number in (1, 2, 3)]
    assert [row["title"] for row in rows.values()][:2] == ["Intro", "Middle"]
    assert [row["start_s"] for row in rows.values()] == pytest.approx([0, 3, 7], abs=0.01)
    assert {row["album"] for row in rows.values()} == {"Late Night"}
    assert rows[f"set{suffix}#03"]["end_s"] == pytest.approx(12, abs=0.1)


def test_sections_of_one_file_are_no_duplicates_of_each_other(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00"))
    scan(root, tmp_path)
    assert scan(root, tmp_path, hash_audio=True)[0].duplicates == []
    shutil.copytree(root / "mix", root / "copy")
    expected = [[f"copy/album.flac#0{number}", f"mix/album.flac#0{number}"] for number in (1, 2)]
    assert sorted(scan(root, tmp_path, hash_audio=True)[0].duplicates) == expected


def test_tables_of_earlier_versions_are_read_and_completed(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00"))
    file = mutagen.flac.FLAC(root / "other.flac")
    file["CUESHEET"] = cue("00:00:00", "00:01:00")
    file.save()
    table = tmp_path / "tracks.parquet"
    scan(AudioRoots((root,), files=(root / "other.flac", root / "mix" / "album.flac")), tmp_path)
    whole = [row | {"track_id": row["track_id"].partition("#")[0]} for row in read_tracks(table).to_pylist()]
    once = list({row["track_id"]: row for row in whole}.values())
    earlier = [name for name in TRACK_SCHEMA.names if name not in ("start_s", "end_s", "cue_hash")]
    pq.write_table(scanning.pa.Table.from_pylist(once, schema=TRACK_SCHEMA).select(earlier), table)
    assert read_sections(table) == {}
    assert read_tracks(table)["start_s"].null_count == 2
    _, rows = scan(root, tmp_path)
    assert list(rows) == ["mix/album.flac#01", "mix/album.flac#02", "other.flac#01", "other.flac#02"]


def test_sections_take_the_place_of_their_files(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00"))
    scan(root, tmp_path)
    sections = read_sections(tmp_path / "tracks.parquet")
    assert sections == {"mix/album.flac#01": Section(0, 4), "mix/album.flac#02": Section(4, 12)}
    roots = AudioRoots((root,), sections=sections)
    tracks = find_tracks(roots)
    assert [(track.id, track.section) for track in tracks] == [*sections.items(), ("other.flac", None)]
    assert {track.path for track in tracks[:2]} == {root / "mix" / "album.flac"}
    assert tracks[0].size == (root / "mix" / "album.flac").stat().st_size
    assert roots.file("mix/album.flac#02") == root / "mix" / "album.flac"
    assert roots.file("other.flac#02") == root / "other.flac#02"


def test_of_two_folders_with_the_same_file_one_is_used(root, tmp_path, caplog):
    shutil.copytree(root, tmp_path / "second")
    sections = {"mix/album.flac#01": Section(0, 4), "mix/album.flac#02": Section(4, 12)}
    tracks = find_tracks(AudioRoots((root, tmp_path / "second"), sections=sections))
    assert [track.id for track in tracks] == [*sections, "other.flac"]
    assert {track.root for track in tracks} == {str(root)}
    assert "2 files have the same path in several audio folders, for example" in caplog.text


def test_a_link_in_place_of_a_sheet_is_reported(root, tmp_path, caplog):
    (root / "mix" / "album.cue").symlink_to("gone.cue")
    assert limits(scan(root, tmp_path)[1]) == WHOLE
    assert "mix/album.cue: cannot be read" in caplog.text


def test_an_unreadable_file_with_a_sheet_has_its_reason(root, tmp_path):
    (root / "mix" / "album.cue").write_text(cue("00:00:00", "00:04:00"))
    (root / "mix" / "album.flac").write_bytes(b"fLaC" + bytes(100))
    report, rows = scan(root, tmp_path)
    assert [name for name, _ in report.problems] == ["mix/album.flac"]
    assert rows["mix/album.flac"]["start_s"] is None

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import mutagen
import pyarrow.parquet as pq
import pytest
from mutagen.id3 import APIC, TALB, TPE1

from eno.data.library import rows as rows_module
from eno.data.library import scanning
from eno.data.library.packets import packet_hash
from eno.data.library.scanning import read_tracks
from eno.errors import AudioError, CatalogueError
from tests.audio_files import music, write

KINDS = ["wav-16", "flac", "mp3", "ogg", "m4a", "wma", "wavpack"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    return {kind: write(folder, kind, music(1, 44_100), 44_100) for kind in KINDS}


@pytest.fixture
def library(tmp_path, sounds):
    root = tmp_path / "audio"
    for kind, path in sounds.items():
        (root / kind).mkdir(parents=True)
        shutil.copy(path, root / kind)
    return root


def scan(roots, destination, **options):
    """Scan in this process, which tests can patch, and which spares them the start of workers."""
    return scanning.scan(roots, destination, **{"workers": 0, **options})


def counts(report):
    assert report.found == report.added + report.changed + report.unchanged
    return report.added, report.changed, report.unchanged, report.removed


def rows(path) -> dict[str, dict]:
    return {row["track_id"]: row for row in read_tracks(path).to_pylist()}


def test_files_are_described(library, tmp_path):
    report = scan(library, tmp_path / "out" / "tracks.parquet")
    assert counts(report) == (7, 0, 0, 0)
    assert report.problems == []
    table = rows(tmp_path / "out" / "tracks.parquet")
    assert list(table) == sorted(table)
    for name, row in table.items():
        assert (row["sample_rate"], row["channels"]) == (44_100, 2)
        assert row["duration_s"] == pytest.approx(1, abs=0.06), name
        status = (library / name).stat()
        assert (row["size"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
    assert table["flac/flac.flac"]["codec"] == "PCM_24"


def test_a_rescan_opens_only_what_changed(library, tmp_path, monkeypatch):
    destination = tmp_path / "tracks.parquet"
    scan(library, destination)
    before = rows(destination)
    opened = []
    probe = rows_module.probe
    monkeypatch.setattr(
        rows_module, "probe", lambda path, **options: opened.append(path.name) or probe(path, **options)
    )
    assert counts(scan(library, destination)) == (0, 0, 7, 0)
    assert opened == []
    assert rows(destination) == before
    os.utime(library / "mp3" / "mp3.mp3", ns=(0, 10**18))
    shutil.copy(library / "flac" / "flac.flac", library / "new.flac")
    (library / "ogg" / "ogg.ogg").unlink()
    assert counts(scan(library, destination)) == (1, 1, 5, 1)
    assert sorted(opened) == ["mp3.mp3", "new.flac"]
    after = rows(destination)
    assert after.keys() == before.keys() - {"ogg/ogg.ogg"} | {"new.flac"}
    same = after.keys() & before.keys() - {"mp3/mp3.mp3"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_unreadable_files_are_rows_with_a_reason(library, tmp_path):
    (library / "empty.mp3").touch()
    (library / "text.flac").write_text("not music")
    (library / "dangling.ogg").symlink_to("gone")
    (library / "loop").symlink_to(library)
    (library / "circle.ogg").symlink_to("circle.ogg")
    (library / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"RIFF")
    destination = tmp_path / "tracks.parquet"
    report = scan(library, destination)
    problems = dict(report.problems)
    assert set(problems) == {"empty.mp3", "text.flac", "dangling.ogg", "circle.ogg", r"caf\xe9.wav"}
    assert problems["empty.mp3"].startswith("is empty (0 bytes)")
    assert problems["dangling.ogg"].startswith("is a link to gone, which does not exist")
    assert "links" in problems["circle.ogg"] and "does not exist" not in problems["circle.ogg"]
    assert {name: row["problem"] for name, row in rows(destination).items() if row["problem"]} == problems
    again = scan(library, destination)
    assert again.problems == report.problems
    assert counts(again) == (0, 2, 10, 0)  # what cannot even be looked at cannot be known to be the same
    shutil.copy(library / "mp3" / "mp3.mp3", library / "empty.mp3")
    assert "empty.mp3" not in dict(scan(library, destination).problems)


def test_unreadable_files_are_tried_again(library, tmp_path, monkeypatch):
    def fail(path, **options):
        raise AudioError(path, "cannot be opened (Input/output error)")

    with monkeypatch.context() as patch:
        patch.setattr(rows_module, "probe", fail)
        assert len(scan(library, tmp_path / "tracks.parquet").problems) == 7
    report = scan(library, tmp_path / "tracks.parquet")
    assert (report.problems, counts(report)) == ([], (0, 0, 7, 0))


def test_a_missing_root_keeps_the_existing_table(library, tmp_path):
    destination = tmp_path / "tracks.parquet"
    scan(library, destination)
    content = destination.read_bytes()
    with pytest.raises(AudioError, match="gone: is not a folder"):
        scan(tmp_path / "gone", destination)
    assert destination.read_bytes() == content


def test_an_interrupted_scan_is_resumed(library, tmp_path, monkeypatch):
    destination = tmp_path / "tracks.parquet"

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(library, destination, on_progress=interrupt)
    assert not destination.exists()
    read = len(read_tracks(tmp_path / "tracks.partial.parquet"))
    assert read == 4
    opened = []
    probe = rows_module.probe
    monkeypatch.setattr(rows_module, "probe", lambda path, **options: opened.append(path) or probe(path, **options))
    assert counts(scan(library, destination)) == (7, 0, 0, 0)
    assert len(opened) == 7 - read
    assert len(rows(destination)) == 7
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["tracks.parquet"]


def test_a_damaged_table_is_an_error_and_is_not_replaced(library, tmp_path):
    (tmp_path / "tracks.parquet").write_text("x")
    with pytest.raises(CatalogueError, match=r"tracks\.parquet: cannot be read as Parquet"):
        scan(library, tmp_path / "tracks.parquet")


class TestHash:
    @pytest.mark.parametrize("kind", KINDS)
    def test_tags_and_pictures_do_not_count_but_audio_does(self, kind, sounds, tmp_path):
        tagged = Path(shutil.copy(sounds[kind], tmp_path))
        file = mutagen.File(tagged)
        if file.tags is None:
            file.add_tags()
        if type(file).__name__ in ("MP3", "WAVE"):
            file.tags.add(TPE1(text=["Slowdive"]))
            file.tags.add(TALB(text=["Souvlaki"]))
            file.tags.add(APIC(mime="image/png", data=bytes(range(256)) * 200))
        else:
            file["©ART" if kind == "m4a" else "artist"] = ["Slowdive" * 1000]
        file.save()
        assert tagged.read_bytes() != sounds[kind].read_bytes()
        assert packet_hash(tagged) == packet_hash(sounds[kind])
        tagged.unlink()
        other = write(tmp_path, kind, music(1, 44_100, seed=1), 44_100)
        assert packet_hash(other) != packet_hash(sounds[kind])

    def test_duplicates_are_found_on_request_even_among_known_files(self, library, tmp_path):
        destination = tmp_path / "tracks.parquet"
        shutil.copy(library / "mp3" / "mp3.mp3", library / "copy.mp3")
        assert scan(library, destination).duplicates == []
        report = scan(library, destination, hash_audio=True)
        assert counts(report) == (0, 0, 8, 0)
        assert report.duplicates == [["copy.mp3", "mp3/mp3.mp3"]]
        # A scan that does not ask for hashes keeps those that are there.
        assert scan(library, destination).duplicates == [["copy.mp3", "mp3/mp3.mp3"]]


def test_hashes_of_an_earlier_version_are_read_and_kept(library, tmp_path):
    destination = tmp_path / "tracks.parquet"
    scan(library, destination, hash_audio=True)
    table = read_tracks(destination)
    earlier = ["audio_hash" if name == "packet_hash" else name for name in table.column_names]
    pq.write_table(table.rename_columns(earlier), destination)
    assert read_tracks(destination).equals(table)
    scan(library, destination)
    assert read_tracks(destination).equals(table)


def test_any_failure_of_one_file_does_not_stop_the_scan(library, tmp_path, monkeypatch):
    probe = rows_module.probe

    def fail(path, **options):
        if path.suffix == ".mp3":
            raise RuntimeError("nobody thought of this")
        return probe(path, **options)

    monkeypatch.setattr(rows_module, "probe", fail)
    report = scan(library, tmp_path / "tracks.parquet")
    assert report.problems == [("mp3/mp3.mp3", "cannot be read (RuntimeError: nobody thought of this)")]
    assert len(rows(tmp_path / "tracks.parquet")) == 7


def test_a_damaged_partial_table_is_ignored(library, tmp_path):
    (tmp_path / "tracks.partial.parquet").write_text("x")
    assert counts(scan(library, tmp_path / "tracks.parquet")) == (7, 0, 0, 0)


def test_the_table_does_not_depend_on_the_number_of_threads(library, tmp_path):
    scan(library, tmp_path / "one.parquet", workers=1)
    scan(library, tmp_path / "many.parquet", workers=8)
    assert rows(tmp_path / "one.parquet") == rows(tmp_path / "many.parquet")


def test_an_empty_audio_folder_removes_no_tracks(library, tmp_path, caplog):
    destination, other = tmp_path / "tracks.parquet", tmp_path / "usb"
    other.mkdir()
    shutil.copy(library / "mp3" / "mp3.mp3", other / "more.mp3")
    assert counts(scan([library, str(other)], destination)) == (8, 0, 0, 0)
    before = rows(destination)
    (other / "more.mp3").unlink()
    assert counts(scan([library, other], destination)) == (0, 0, 7, 0)
    assert rows(destination) == before
    assert f"{other} contains no audio files and may not be mounted. 1 tracks that may be there are not" in caplog.text
    assert counts(scan(library, destination)) == (0, 0, 7, 1)


def test_an_interrupted_scan_is_resumed_while_a_folder_is_not_mounted(library, tmp_path):
    destination, other = tmp_path / "tracks.parquet", tmp_path / "usb"
    other.mkdir()
    shutil.copy(library / "mp3" / "mp3.mp3", other / "a first.mp3")

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([library, other], destination, on_progress=interrupt)
    (other / "a first.mp3").rename(tmp_path / "a first.mp3")
    assert scan([library, other], destination).found == 7
    assert len(rows(destination)) == 8
    (tmp_path / "a first.mp3").rename(other / "a first.mp3")
    assert counts(scan([library, other], destination)) == (0, 0, 8, 0)
    with pytest.raises(AudioError, match="gone: is not a folder"):
        scan([library, tmp_path / "gone"], destination)
    assert len(rows(destination)) == 8


def test_files_that_crash_or_hang_the_decoder_fail_alone(library, tmp_path, monkeypatch):
    shutil.copy(library / "mp3" / "mp3.mp3", library / "crashes.mp3")
    shutil.copy(library / "mp3" / "mp3.mp3", library / "hangs.mp3")
    monkeypatch.setattr(scanning, "read_rows", read_or_die)
    report = scan(library, tmp_path / "tracks.parquet", workers=2, file_timeout_s=2)
    problems = dict(report.problems)
    assert set(problems) == {"crashes.mp3", "hangs.mp3"}
    assert "crashed the process that decoded it 2 times (killed by SIGSEGV)" in problems["crashes.mp3"]
    assert "no progress for 2 s" in problems["hangs.mp3"]
    assert counts(report) == (9, 0, 0, 0)
    assert counts(scanning.scan(library, tmp_path / "tracks.parquet", workers=1, file_timeout_s=2)) == (0, 0, 9, 0)


def read_or_die(request):
    if request.track.id == "crashes.mp3":
        os.kill(os.getpid(), signal.SIGSEGV)
    while request.track.id == "hangs.mp3":
        time.sleep(0.02)
    return rows_module.read_rows(request)


def test_pipes_sockets_and_devices_are_rows_with_a_reason(library, tmp_path):
    os.mkfifo(library / "pipe.mp3")
    (library / "link.flac").symlink_to("pipe.mp3")
    (library / "null.wav").symlink_to("/dev/null")
    (library / "fd").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(library / "socket.ogg"))
        report = scan(library, tmp_path / "tracks.parquet")
    assert dict(report.problems) == {
        "pipe.mp3": "is a named pipe, not an audio file",
        "link.flac": "is a named pipe, not an audio file",
        "null.wav": "is a device, not an audio file",
        "socket.ogg": "is a socket, not an audio file",
    }


def test_the_table_of_another_folder_is_not_replaced(library, tmp_path):
    destination, other = tmp_path / "tracks.parquet", tmp_path / "other"
    scan(library, destination)
    content = destination.read_bytes()
    (other / "mp3").mkdir(parents=True)
    shutil.copy(library / "mp3" / "mp3.mp3", other / "mp3" / "new.mp3")
    for name in ("new.mp3", "mp3.mp3"):  # even if a track has the same path
        (other / "mp3" / "new.mp3").rename(other / "mp3" / name)
        with pytest.raises(CatalogueError, match=f"lists 7 tracks of {library}, .* are not in {other}. To add"):
            scan(other, destination)
        assert destination.read_bytes() == content
        (other / "mp3" / name).rename(other / "mp3" / "new.mp3")
    assert counts(scan([library, other], destination)) == (1, 0, 7, 0)
    shutil.rmtree(library / "wav-16")
    assert counts(scan(library, destination)) == (0, 0, 6, 2)
    library.rename(tmp_path / "moved")
    assert counts(scan(tmp_path / "moved", destination)) == (0, 0, 6, 0)
    for folder in ("flac", "ogg", "m4a", "wma"):  # of the same folder, any number may be deleted
        shutil.rmtree(tmp_path / "moved" / folder)
    assert counts(scan(tmp_path / "moved", destination)) == (0, 0, 2, 4)


def test_nothing_below_a_folder_that_cannot_be_listed_is_removed(library, tmp_path, monkeypatch):
    destination = tmp_path / "tracks.parquet"
    scan(library, destination)
    before = rows(destination)
    (library / "ogg" / "ogg.ogg").unlink()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "flac":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        report = scan(library, destination)
    assert counts(report) == (0, 0, 5, 1)
    assert report.unread == {str(library / "flac"): "cannot be listed (Permission denied)"}
    assert rows(destination) == {name: row for name, row in before.items() if name != "ogg/ogg.ogg"}
    (library / "flac").rename(tmp_path / "elsewhere")
    (library / "flac").mkdir()  # where a disk with albums was mounted
    assert counts(scan(library, destination)) == (0, 0, 5, 1)

import os
from pathlib import Path

import pytest

from eno.data.library.files import expand_audio, find_tracks
from eno.errors import AudioError
from eno.files import AudioRoots


def test_finds_audio_in_order_of_ids_and_nothing_else(tmp_path):
    for name in ("b/02.FLAC", "b/01.mp3", "a.ogg", "cover.jpg", ".hidden.mp3", ".trash/x.mp3", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "folder.wav" / "inside.wav").touch()
    (tmp_path / "dangling.flac").symlink_to("gone")
    assert [track.id for track in find_tracks(tmp_path)] == [
        "a.ogg", "b/01.mp3", "b/02.FLAC", "dangling.flac", "folder.wav/inside.wav",
    ]  # fmt: skip


def test_ids_do_not_depend_on_where_the_folder_is(tmp_path):
    (tmp_path / "x" / "album").mkdir(parents=True)
    (tmp_path / "x" / "album" / "1.wav").touch()
    before = [track.id for track in find_tracks(tmp_path / "x")]
    (tmp_path / "x").rename(tmp_path / "y")
    assert [track.id for track in find_tracks(str(tmp_path / "y"))] == before


def test_names_that_are_not_utf8_have_ids_that_fit_in_a_table(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp3")
    path.touch()
    (track,) = find_tracks(tmp_path)
    assert track.id == r"caf\xe9.mp3"
    assert track.path == path


@pytest.mark.parametrize("name", ["missing", "file.mp3"])
def test_root_must_be_a_folder(tmp_path, name):
    (tmp_path / "file.mp3").touch()
    with pytest.raises(AudioError, match=f"{name}: is not a folder"):
        find_tracks(tmp_path / name)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AudioError, match=r"locked: cannot be listed \(Permission denied\)"):
        find_tracks(tmp_path)


def test_expand_keeps_files_as_named_and_walks_folders(tmp_path):
    (tmp_path / "album").mkdir()
    for name in ("2.mp3", "1.mp3"):
        (tmp_path / "album" / name).touch()
    named = tmp_path / "no-ending"
    assert expand_audio([named, tmp_path / "album"]) == [named, tmp_path / "album/1.mp3", tmp_path / "album/2.mp3"]


def test_a_link_to_itself_is_found_and_reported(tmp_path):
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    (tmp_path / "good.mp3").touch()
    assert [track.id for track in find_tracks(tmp_path)] == ["good.mp3", "loop.mp3"]


@pytest.fixture
def two_roots(tmp_path):
    for name in ("one/a/1.mp3", "one/c.mp3", "two/a/1.mp3", "two/a/2.mp3", "two/b.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path / "one", tmp_path / "two"


def test_a_second_root_changes_no_id_and_the_first_of_two_files_counts(two_roots, caplog):
    alone = [track.id for track in find_tracks(two_roots[0])]
    tracks = find_tracks(two_roots)
    assert [track.id for track in tracks] == ["a/1.mp3", "a/2.mp3", "b.mp3", "c.mp3"]
    assert set(alone) < {track.id for track in tracks}
    assert [track.path.read_text() for track in tracks] == ["one/a/1.mp3", "two/a/2.mp3", "two/b.mp3", "one/c.mp3"]
    assert [track.size for track in tracks] == [11, 11, 9, 9]
    roots = AudioRoots.of(two_roots)
    assert [roots.file(track.id) for track in tracks] == [track.path for track in tracks]
    (message,) = caplog.messages
    assert message.startswith("1 files have the same path in several audio folders, for example a/1.mp3; the one in ")
    assert message.endswith("one is used.")


def test_roots_must_exist_and_not_be_nested(two_roots, caplog):
    with pytest.raises(AudioError, match="missing: is not a folder"):
        find_tracks([*two_roots, two_roots[0] / "missing"])
    with pytest.raises(AudioError, match=r"a: is inside the audio folder .*one; use only one"):
        find_tracks([*two_roots, two_roots[0] / "a"])
    (two_roots[0].parent / "empty").mkdir()
    tracks = find_tracks([*two_roots, two_roots[0].parent / "empty"])
    assert tracks.empty_roots == [str(two_roots[0].parent / "empty")]
    assert len(tracks) == 4

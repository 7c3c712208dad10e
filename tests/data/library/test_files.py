import os
from pathlib import Path

import pytest

from eno.data.library.files import expand_audio, find_tracks
from eno.errors import AudioError


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


def test_names_that_are_not_utf8_have_an_id_that_a_table_takes(tmp_path):
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


def test_a_link_to_itself_is_found_so_that_it_is_reported(tmp_path):
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    (tmp_path / "good.mp3").touch()
    assert [track.id for track in find_tracks(tmp_path)] == ["good.mp3", "loop.mp3"]

import contextlib
import os
from pathlib import Path

import pytest

from eno.audio.formats import AUDIO_SUFFIXES, FFMPEG_CONTAINERS
from eno.data.library.files import expand_audio, find_tracks
from eno.errors import AudioError
from eno.files import AudioRoots
from eno.tagfiles.selection import album_files


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def ids(folder, *exclude):
    return [track.id for track in find_tracks(AudioRoots((folder,), exclude))]


def test_finds_audio_in_order_of_ids_and_nothing_else(tmp_path):
    touch(tmp_path, "b/02.FLAC", "b/01.mp3", "a.ogg", "cover.jpg", ".Trash-1000/x.mp3", "b/notes.txt")
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


def test_names_may_begin_with_a_dot(tmp_path):
    found = ["...And Then/1.flac", ".5- The Gray Chapter/1.mp3", ".hack/a.ogg", "B/.59.mp3"]
    touch(tmp_path, *found, "B/._1.mp3", ".AppleDouble/B.mp3")
    assert ids(tmp_path) == sorted(found)


def test_recycle_bins_and_snapshots_are_not_music(tmp_path):
    system = ["lost+found", "$RECYCLE.BIN/S-1-5", ".Trash-1000/files", "#recycle", "System Volume Information"]
    system += ["@eaDir", "@Recycle", "#snapshot", ".stversions", ".snapshots/7", ".local/share/Trash/files"]
    touch(tmp_path, "Recycled/1.mp3", *(f"{folder}/x.mp3" for folder in system), "a/@eaDir/x.mp3")
    tracks = find_tracks(tmp_path)
    assert [track.id for track in tracks] == ["Recycled/1.mp3"]  # an album by Nektar
    assert tracks.left_out == {**dict.fromkeys([f"{name.split('/')[0]}/" for name in system], 1), "@eaDir/": 2}


def test_files_left_out_are_counted_by_suffix(tmp_path):
    touch(tmp_path, "1.mp3", "a/cover.jpg", "a/back.JPG", "a/x.sid", "README", "._1.mp3")
    (tmp_path / "link").symlink_to("a")
    assert find_tracks(tmp_path).left_out == {
        ".jpg": 2, ".sid": 1, "without suffix": 1, "._*": 1, "links to folders": 1,
    }  # fmt: skip


def test_what_the_decoders_read_is_found(tmp_path):
    """The suffixes that FFmpeg itself knows for the containers that are opened, without subtitles and pictures."""
    import av

    known = set()
    for name in set(FFMPEG_CONTAINERS) & av.formats_available:
        with contextlib.suppress(ValueError):
            known |= {f".{suffix}" for suffix in av.format.ContainerFormat(name, "r").extensions}
    assert known - AUDIO_SUFFIXES == {".mks", ".avif", ".heic", ".heif"}
    others = "dsf dff spx tak shn ac3 dts voc oma amr mkv mpga aif wav wv w64 aiff au ra rm snd caf wma opus".split()
    assert {f".{suffix}" for suffix in others} <= AUDIO_SUFFIXES
    touch(tmp_path, *(f"x{suffix.upper()}" for suffix in AUDIO_SUFFIXES))
    assert len(find_tracks(tmp_path)) == len(AUDIO_SUFFIXES)
    assert album_files(tmp_path) == sorted(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        ("*.mp4", ["Live/2.mp3", "a/Live/1.mp3", "a/b/3.mp3"]),
        ("Live", ["a/b/3.mp3", "clip.mp4"]),
        ("Live/", ["a/b/3.mp3", "clip.mp4"]),
        ("a/*", ["Live/2.mp3", "clip.mp4"]),
        ("a/b", ["Live/2.mp3", "a/Live/1.mp3", "clip.mp4"]),
        ("/Live", ["a/Live/1.mp3", "a/b/3.mp3", "clip.mp4"]),
        ("**/Live", ["a/b/3.mp3", "clip.mp4"]),
        ("{}/a/Live", ["Live/2.mp3", "a/b/3.mp3", "clip.mp4"]),
        ("[a]", ["Live/2.mp3", "clip.mp4"]),
    ],
)
def test_files_and_folders_can_be_excluded(tmp_path, glob, left):
    touch(tmp_path, "Live/2.mp3", "a/Live/1.mp3", "a/b/3.mp3", "clip.mp4")
    assert ids(tmp_path, glob.format(tmp_path)) == left


def refuse(monkeypatch, *folders):
    scandir = os.scandir

    def refusing(path):
        if Path(path).name in folders:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_folders_that_cannot_be_listed_are_reported_and_the_others_found(tmp_path, monkeypatch):
    touch(tmp_path, "1.mp3", "locked/2.mp3", "z/locked/3.mp3", "z/4.mp3")
    refuse(monkeypatch, "locked")
    tracks = find_tracks(tmp_path)
    assert [track.id for track in tracks] == ["1.mp3", "z/4.mp3"]
    reason = "cannot be listed (Permission denied)"
    assert tracks.unread == {tmp_path / "locked": reason, tmp_path / "z/locked": reason}
    assert tracks.deleted(["0.mp3", "locked/2.mp3", "z/3.mp3", "z/locked/3.mp3"]) == {"0.mp3", "z/3.mp3"}
    assert expand_audio([tmp_path]) == ([tmp_path / "1.mp3", tmp_path / "z/4.mp3"], tracks.unread)


def test_tracks_below_an_empty_folder_may_be_on_a_disk_that_is_not_mounted(tmp_path, caplog):
    touch(tmp_path, "1.mp3")
    (tmp_path / "disk").mkdir()
    (tmp_path / "album").mkdir()
    missing = ["album/1.mp3", "disk/a/1.mp3", "disk/a/2.mp3"]
    assert find_tracks(tmp_path).deleted(missing) == {"album/1.mp3"}
    assert caplog.messages == [
        "disk is empty and may not be mounted; remove the folder if it is no longer needed. 2 tracks that may be there "
        "are not treated as deleted."
    ]


def test_expand_keeps_files_as_named_and_walks_folders(tmp_path):
    (tmp_path / "album").mkdir()
    for name in ("2.mp3", "1.mp3"):
        (tmp_path / "album" / name).touch()
    named = tmp_path / "no-ending"
    found = [named, tmp_path / "album/1.mp3", tmp_path / "album/2.mp3"]
    assert expand_audio([named, tmp_path / "album"]) == (found, {})
    assert expand_audio([named, tmp_path / "album"], ["2*"]) == (found[:2], {})


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


def test_a_list_of_files_is_the_collection(tmp_path):
    for name in ("a/1.ogg", "a/2.ogg", "b/3.ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 3)
    roots = (tmp_path / "a", tmp_path / "b")
    files = tuple(tmp_path / name for name in ("a/2.ogg", "b/3.ogg", "a/2.ogg", "a/gone.ogg"))
    tracks = find_tracks(AudioRoots(roots, (), files))
    assert [(track.id, track.size) for track in tracks] == [("2.ogg", 3), ("3.ogg", 3), ("gone.ogg", None)]
    assert [track.id for track in find_tracks(AudioRoots(roots, ("3.*",), files))] == ["2.ogg", "gone.ogg"]
    with pytest.raises(AudioError, match="is listed, but not in an audio folder"):
        find_tracks(AudioRoots(roots[:1], (), files))

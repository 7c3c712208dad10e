"""Writing and undoing tags in every format, with the audio decoded before and after."""

import json
import os
import stat

import av
import mutagen
import numpy as np
import pytest
from mutagen.apev2 import APEv2
from mutagen.id3 import APIC, ID3, TCON, TDAT, TIT2, TMOO, TPE1, TXXX, TYER
from mutagen.mp3 import MP3

from eno.data.library.packets import packet_hash
from eno.data.library.tags import read_tags
from eno.errors import AudioError, CatalogueError, LabelError
from eno.tagfiles.edits import UndoLog, plan_edit, undo, write_edit
from eno.tagfiles.fields import TagFile
from tests.audio_files import music, write
from tests.data.library.test_tags import WRITERS

KINDS = [*WRITERS, "opus"]
WANTED = {"genre": ["Shoegaze", "Noise Pop"], "mood": ["melancholic", "träumerisch 夢"], "style": ["lo-fi"]}
# Where MusicBrainz Picard, beets and music servers look.
PLACES = {
    "ID3": ("TCON", "TMOO", "TXXX:STYLE"),
    "Vorbis": ("GENRE", "MOOD", "STYLE"),
    "APEv2": ("Genre", "Mood", "Style"),
    "MP4": ("©gen", "----:com.apple.iTunes:MOOD", "----:com.apple.iTunes:STYLE"),
    "ASF": ("WM/Genre", "WM/Mood", "WM/Style"),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return {kind: write(folder, kind, music(1, 48_000), 48_000) for kind in KINDS}


@pytest.fixture
def song(originals, tmp_path):
    def copy(kind):
        path = tmp_path / originals[kind].name
        path.write_bytes(originals[kind].read_bytes())
        return path

    return copy


def decoded(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def add_ape(path, **values):
    block = APEv2()
    block.update(values)
    block.save(path)


def everything(path):
    file = mutagen.File(path)
    if isinstance(file.tags, ID3):
        file = type(file)(path, translate=False)
        return {key: (int(getattr(frame, "encoding", 0)), repr(frame)) for key, frame in file.tags.items()}
    return None if file.tags is None else sorted((key, repr(file.tags[key])) for key in file.tags.keys())  # noqa: SIM118


def texts(value):
    values = getattr(value, "text", None) or (list(value) if not isinstance(value, str) else [value])
    return [one.decode() if isinstance(one, bytes) else str(one) for one in values]


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_written_read_back_and_undone_without_touching_the_audio(kind, tagged, song, tmp_path):
    path = song(kind)
    if tagged:
        file = mutagen.File(path)
        WRITERS.get(kind, WRITERS["ogg"])(file)
        file.save()
    before, samples, tags = everything(path), decoded(path), read_tags(path)
    log = UndoLog(tmp_path / "undo.jsonl")
    write_edit(plan_edit(path, WANTED, existing="replace"), log)
    np.testing.assert_array_equal(decoded(path), samples)
    file = mutagen.File(path)
    for field, place in zip(WANTED, PLACES[TagFile(path).kind], strict=True):
        assert texts(file.tags[place]) == WANTED[field]
    after = read_tags(path)
    written = {"genres": tuple(WANTED["genre"]), "moods": tuple(WANTED["mood"]), "styles": tuple(WANTED["style"])}
    assert vars(after) == vars(tags) | written  # nothing else has changed
    assert plan_edit(path, WANTED, existing="replace").after == {}
    assert list(undo(log.path)) == [(path, None)]
    assert everything(path) == before or (not tagged and not everything(path))
    np.testing.assert_array_equal(decoded(path), samples)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("kind", "places"),
    {
        "mp3": ("TIT1", "TXXX:INSTRUMENTS"),
        "flac": ("GROUPING", "INSTRUMENTS"),
        "m4a": ("©grp", "----:com.apple.iTunes:INSTRUMENTS"),
    }.items(),
)
def test_fields_for_other_families(kind, places, song, tmp_path):
    path, wanted = song(kind), {"grouping": ["flute", "harp"], "instruments": ["organ"]}
    log = UndoLog(tmp_path / "undo.jsonl")
    write_edit(plan_edit(path, wanted), log)
    tags = mutagen.File(path).tags
    assert [texts(tags[place]) for place in places] == list(wanted.values())
    assert read_tags(path).groupings == ("flute", "harp")
    assert TagFile(path).read(wanted) == wanted
    assert plan_edit(path, {"instruments": ["drums"]}, existing="merge").after == {"instruments": ("organ", "drums")}
    assert list(undo(log.path)) == [(path, None)]
    assert TagFile(path).read(wanted) == {"grouping": [], "instruments": []}


class TestExisting:
    @pytest.mark.parametrize("kind", ["mp3", "flac", "m4a"])
    def test_keep_merge_replace(self, kind, song, tmp_path):
        path, log = song(kind), UndoLog(tmp_path / "log")
        write_edit(plan_edit(path, {"genre": ["noise  pop", "Rock"]}), log)
        kept = plan_edit(path, WANTED, existing="keep")
        assert kept.kept == {"genre": ("noise  pop", "Rock")}
        assert kept.after == {"mood": tuple(WANTED["mood"]), "style": ("lo-fi",)}
        merged = plan_edit(path, WANTED, existing="merge")
        assert merged.before["genre"] == ("noise  pop", "Rock")
        assert merged.after["genre"] == ("noise  pop", "Rock", "Shoegaze")
        assert plan_edit(path, WANTED, existing="replace").after["genre"] == ("Shoegaze", "Noise Pop")
        assert plan_edit(path, {"genre": []}, existing="replace").after == {}
        with pytest.raises(LabelError, match="no field for tags: it has another meaning"):
            plan_edit(path, {"title": ["x"]})

    def test_undo_restores_several_edits_in_reverse_order(self, song, tmp_path):
        path, log = song("flac"), UndoLog(tmp_path / "log")
        before = everything(path)
        write_edit(plan_edit(path, {"mood": ["calm"]}), log)
        write_edit(plan_edit(path, {"mood": ["sad"]}, existing="merge"), log)
        assert TagFile(path).read()["mood"] == ["calm", "sad"]
        assert [error for _, error in undo(log.path)] == [None, None]
        assert everything(path) == before

    def test_tags_changed_since_are_kept(self, song, tmp_path):
        path, log = song("ogg"), UndoLog(tmp_path / "log")
        edit = plan_edit(path, {"mood": ["calm"]})
        write_edit(edit, log)
        with pytest.raises(AudioError, match="since the edit was planned"):
            write_edit(edit, log)
        file = mutagen.File(path)
        file["MOOD"] = ["mine"]
        file.save()
        ((_, error),) = undo(log.path)
        assert "mood is mine" in error.reason
        assert mutagen.File(path)["MOOD"] == ["mine"]


class TestID3:
    def test_id3v2_3_is_kept_with_its_own_mood_frame(self, song, tmp_path):
        path, log = song("mp3"), UndoLog(tmp_path / "log")
        tags = ID3()
        for frame in (TYER(encoding=0, text=["1993"]), TDAT(encoding=0, text=["1705"]), TCON(encoding=1, text=["(17)"]),
                      TPE1(encoding=1, text=["a", "b"]), TMOO(encoding=1, text=["old"]), TIT2(encoding=0, text=["x"]),
                      TXXX(encoding=1, desc="Mood", text=["older"]),
                      APIC(encoding=0, mime="image/png", type=3, desc="", data=b"\x89PNG" * 50)):  # fmt: skip
            tags.add(frame)
        tags.save(path, v2_version=3, v23_sep=None)
        before = everything(path)
        assert TagFile(path).read() == {"genre": ["Rock"], "mood": ["old", "older"], "style": []}
        write_edit(plan_edit(path, WANTED, existing="replace"), log)
        after = MP3(path, translate=False).tags
        assert after.version == (2, 3, 0)
        assert (
            after["TXXX:MOOD"].text == ["; ".join(WANTED["mood"])] and "TMOO" not in after and "TXXX:Mood" not in after
        )
        assert after["TCON"].text == ["; ".join(WANTED["genre"])] and read_tags(path).genres == tuple(WANTED["genre"])
        assert after["TYER"].text == ["1993"] and after["TPE1"].text == ["a", "b"] and len(after["APIC:"].data) == 200
        list(undo(log.path))
        assert everything(path) == before

    def test_version_1_and_2_2_become_readable_ones(self, song, tmp_path):
        path, log = song("mp3"), UndoLog(tmp_path / "log")
        samples = decoded(path)
        path.write_bytes(path.read_bytes() + b"TAG" + b"Song".ljust(30, b"\0") + bytes(94) + b"\x11")
        write_edit(plan_edit(path, {"mood": ["calm"]}), log)
        assert texts(MP3(path).tags["TMOO"]) == ["calm"] and texts(MP3(path).tags["TIT2"]) == ["Song"]
        old = song("mp3")
        frame = b"TT2" + (6).to_bytes(3, "big") + b"\0Title"
        old.write_bytes(b"ID3\x02\0\0" + bytes([0, 0, 0, len(frame)]) + frame + old.read_bytes())
        write_edit(plan_edit(old, {"mood": ["calm"]}), log)
        assert MP3(old, translate=False).tags.version == (2, 3, 0) and texts(MP3(old).tags["TIT2"]) == ["Title"]
        np.testing.assert_array_equal(decoded(old), samples)


class TestSeveralValues:
    def test_merge_compares_the_values_within_one_text(self, song):
        for text in ("Dream Pop; shoegaze", "Dream Pop/Shoegaze", "Shoegaze, Noise", "Pop\\\\SHOEGAZE"):
            path = song("mp3")
            ID3().save(path)
            tags = ID3(path)
            tags.add(TCON(encoding=3, text=[text]))
            tags.save(path)
            assert plan_edit(path, {"genre": ["Shoegaze"]}, existing="merge").after == {}

    @pytest.mark.parametrize("label", ["2", "(17)", "(4)Eurodisco"])
    def test_labels_that_id3_takes_for_numbers(self, label, song, tmp_path):
        with pytest.raises(AudioError, match=r"takes? it for a number in the list of ID3v1"):
            plan_edit(song("mp3"), {"genre": [label]})
        assert plan_edit(song("flac"), {"genre": [label]}).after == {"genre": (label,)}


class TestOtherBlocks:
    def test_riff_info_and_apev2_are_kept(self, song, tmp_path):
        wav, mp3 = song("wav-16"), song("mp3")
        info = b"INFOIGNR" + (10).to_bytes(4, "little") + b"Chanson\xe9\0\0"
        content = wav.read_bytes() + b"LIST" + len(info).to_bytes(4, "little") + info
        wav.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
        add_ape(mp3, Genre=["Chansoné"])
        id3 = ID3()
        id3.add(TPE1(encoding=3, text=["Someone"]))
        id3.save(mp3)
        for path in (wav, mp3):
            assert read_tags(path).genres == ("Chansoné",)
            assert plan_edit(path, {"genre": ["Rock"]}).kept == {"genre": ("Chansoné",)}
            merged = plan_edit(path, {"genre": ["Rock", "chansoné"]}, existing="merge")
            assert merged.after == {"genre": ("Chansoné", "Rock")} and merged.before == {"genre": ()}
            assert merged.remaining == {"genre": ("Chansoné",)}
            write_edit(merged, UndoLog(tmp_path / "log"))
            assert read_tags(path).genres == ("Chansoné", "Rock")
            assert next(error for _, error in undo(tmp_path / "log")) is None

    @pytest.mark.parametrize("id3v1", [b"", b"TAG" + b"A title that was cut".ljust(30) + bytes(94) + b"\x11"])
    def test_mp3_without_id3v2_keeps_its_apev2_block_only(self, song, tmp_path, id3v1):
        path = song("mp3")
        add_ape(path, genre="Drone", Artist="Someone", Mood=["calm", "sad"])
        path.write_bytes(path.read_bytes() + id3v1)
        edit = plan_edit(path, {"genre": ["Rock"], "mood": ["Calm", "warm"]}, existing="merge")
        assert edit.after == {"genre": ("Drone", "Rock"), "mood": ("calm", "sad", "warm")} and not edit.remaining
        write_edit(edit, UndoLog(tmp_path / "log"))
        assert path.read_bytes()[:3] != b"ID3" and path.read_bytes().endswith(id3v1)
        assert read_tags(path).artist == "Someone" and list(APEv2(path)["genre"]) == ["Drone", "Rock"]
        assert [error for _, error in undo(tmp_path / "log")] == [None]
        assert list(APEv2(path)["Mood"]) == ["calm", "sad"] and str(APEv2(path)["Genre"]) == "Drone"

    @pytest.mark.parametrize(("kind", "suffix"), [("flac", ".mp3"), ("mp3", ".flac"), ("wav-16", ".ogg")])
    def test_files_with_another_suffix(self, song, tmp_path, kind, suffix):
        path = song(kind)
        write_edit(plan_edit(path, {"style": ["lo-fi"]}), UndoLog(tmp_path / "log0"))  # mutagen looks at ID3 first
        path = path.rename(path.with_suffix(suffix))
        write_edit(plan_edit(path, {"mood": ["calm"]}), UndoLog(tmp_path / "log"))
        assert TagFile(path).read() == {"genre": [], "mood": ["calm"], "style": ["lo-fi"]}
        assert [error for _, error in undo(tmp_path / "log")] == [None]
        assert TagFile(path).read()["mood"] == []

    @pytest.mark.parametrize(
        ("kind", "size", "cut"),
        [("wav-16", b"\xff\xff\xff\xff", 0), ("wav-16", None, 500), ("aiff", bytes(4), 0), ("aiff", None, 500)],
    )
    def test_wrong_sizes_are_named_and_leave_the_file(self, song, tmp_path, kind, size, cut):
        path = song(kind)
        content = path.read_bytes()
        content = content[:4] + (size or content[4:8]) + content[8 : len(content) - cut]
        path.write_bytes(content)
        with pytest.raises(AudioError, match=r"header says that it has \d+ bytes, but it has \d+: .* ffmpeg"):
            write_edit(plan_edit(path, {"mood": ["calm"]}), UndoLog(tmp_path / "log"))
        assert path.read_bytes() == content

    def test_line_of_an_undo_log_that_a_crash_cut_off(self, song, tmp_path):
        path, log = song("flac"), tmp_path / "log"
        write_edit(plan_edit(path, {"mood": ["calm"]}), UndoLog(log))
        with log.open("a") as file:
            file.write('{"format": 1, "pa')
        assert [error for _, error in undo(log)] == [None]
        write_edit(plan_edit(path, {"mood": ["sad"]}), UndoLog(log))
        log.write_bytes(log.read_bytes()[:-1])  # cut off right before the line end
        write_edit(plan_edit(path, {"style": ["lo-fi"]}), UndoLog(log))
        assert len(log.read_text().splitlines()) == 3
        assert [error for _, error in undo(log)][:2] == [None, None]
        assert TagFile(path).read()["mood"] == TagFile(path).read()["style"] == []


class TestFiles:
    def test_mode_time_and_links(self, song, tmp_path):
        path, log = song("flac"), UndoLog(tmp_path / "log")
        path.chmod(0o640)
        os.utime(path, ns=(1_000_000_000, 2_000_000_000))
        (tmp_path / "link.flac").symlink_to(path)
        write_edit(plan_edit(tmp_path / "link.flac", {"mood": ["calm"]}), log, keep_mtime=True)
        assert (tmp_path / "link.flac").is_symlink() and TagFile(path).read()["mood"] == ["calm"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640 and path.stat().st_mtime_ns == 2_000_000_000
        write_edit(plan_edit(path, {"style": ["x"]}), log)
        assert path.stat().st_mtime_ns > 2_000_000_000 and stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_names_that_are_not_utf8(self, song, tmp_path):
        path, log = song("mp3"), UndoLog(tmp_path / "log")
        odd = path.rename(tmp_path / os.fsdecode(b"\xff [x].mp3"))
        write_edit(plan_edit(odd, {"mood": ["calm"]}), log)
        assert list(undo(log.path)) == [(odd, None)]

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("gone.mp3", None, "no such file"),
            ("text.txt", b"no music", "has a format that eno cannot write tags to"),
            ("x.flac", b"fLaC\x04\xff\xff\xff", "cannot be read"),
        ],
    )
    def test_files_that_cannot_be_tagged(self, tmp_path, name, content, reason):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError, match=reason):
            plan_edit(tmp_path / name, WANTED)

    def test_kinds_without_tags(self, tmp_path):
        for kind in ("aac", "webm"):
            with pytest.raises(AudioError, match="format"):
                plan_edit(write(tmp_path, kind, music(1, 48_000), 48_000), WANTED)

    def test_audio_that_would_change_is_not_written(self, song, tmp_path, monkeypatch):
        path = song("mp3")
        content = path.read_bytes()

        def damage(self, save=TagFile.save):
            save(self)
            self.path.write_bytes(self.path.read_bytes()[:-400] + bytes(400))

        edit = plan_edit(path, {"mood": ["calm"]})
        monkeypatch.setattr(TagFile, "save", damage)
        with pytest.raises(AudioError, match="audio would change"):
            write_edit(edit, UndoLog(tmp_path / "log"))
        assert path.read_bytes() == content
        assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]  # no log, nothing left over

    def test_changes_of_another_program_meanwhile_are_kept(self, song, tmp_path, monkeypatch):
        path = song("flac")
        edit, other = plan_edit(path, {"mood": ["calm"]}), plan_edit(path, {"genre": ["Dub"]})

        def interfere(self, save=TagFile.save):
            monkeypatch.undo()
            write_edit(other, UndoLog(tmp_path / "other"))
            save(self)

        monkeypatch.setattr(TagFile, "save", interfere)
        with pytest.raises(AudioError, match="another program has changed it in the meantime"):
            write_edit(edit, UndoLog(tmp_path / "log"))
        assert TagFile(path).read() == {"genre": ["Dub"], "mood": [], "style": []}
        assert not (tmp_path / "log").exists()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    def test_pipes_are_named_as_such(self, tmp_path):
        os.mkfifo(tmp_path / "x.mp3")
        with pytest.raises(AudioError, match="is a named pipe"):
            plan_edit(tmp_path / "x.mp3", WANTED)

    def test_another_file_is_not_an_undo_log(self, tmp_path):
        (tmp_path / "log").write_text(json.dumps({"path": "x"}))
        with pytest.raises(CatalogueError, match="is not an undo log"):
            list(undo(tmp_path / "log"))
        with pytest.raises(CatalogueError, match="cannot be read"):
            list(undo(tmp_path / "gone"))


@pytest.mark.parametrize("kind", KINDS)
def test_hash_of_everything_differs_for_other_audio(kind, originals, tmp_path):
    one = originals[kind]
    other = write(tmp_path, kind, music(1, 48_000, seed=1), 48_000)
    assert packet_hash(one, everything=True) == packet_hash(one, everything=True) != packet_hash(other, everything=True)

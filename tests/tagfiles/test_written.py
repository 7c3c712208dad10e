"""Tags that eno wrote are not taken for labels of the user."""

import mutagen
import pytest
import soundfile

from eno.data.imports.tags import labels_of_tags
from eno.data.library.scanning import read_tracks
from eno.errors import CatalogueError
from eno.files import AudioRoots
from eno.tagfiles.edits import UndoLog, plan_edit, undo, write_edit
from eno.tagfiles.written import WrittenTags
from tests.audio_files import music
from tests.command import eno


def tone(path):
    soundfile.write(path, music(1.0, 16_000), 16_000)


@pytest.fixture
def library(tmp_path):
    """Two files of which the first has a genre, and the record of what eno wrote."""
    for name in ("Own/1.flac", "Own/2.flac"):
        (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        tone(tmp_path / "audio" / name)
    file = mutagen.File(tmp_path / "audio" / "Own" / "1.flac")
    file["genre"] = ["Shoegaze"]
    file.save()
    return tmp_path, WrittenTags(tmp_path / "processed" / "written_tags.jsonl", AudioRoots.of(tmp_path / "audio"))


def _write(library, name, values, existing="keep"):
    root, written = library
    edit = plan_edit(root / "audio" / name, values, existing=existing)
    write_edit(edit, UndoLog(root / "undo.jsonl"))
    written.add(edit)


def _labels(library):
    root, written = library
    scanned = eno("scan", root / "audio", "--data-root", root, cwd=root)
    assert scanned.returncode == 0, scanned.stderr
    items, skipped = labels_of_tags(read_tracks(root / "processed" / "tracks.parquet"), written=written.read())
    return {item.track_ids[0]: [name for _, name in item.labels] for item in items}, skipped


def test_only_the_labels_that_were_there_before_are_imported(library):
    _write(library, "Own/1.flac", {"genre": ["Dream Pop", "shoegaze"]}, existing="merge")
    _write(library, "Own/2.flac", {"genre": ["Techno"], "mood": ["dark"]})
    labels, skipped = _labels(library)
    assert labels == {"Own/1.flac": ["Shoegaze"]}
    assert "Own/2.flac: the genre Techno, which eno predicted" in skipped and len(skipped) == 3


def test_a_label_that_the_user_adds_later_is_imported(library):
    root, _ = library
    _write(library, "Own/2.flac", {"genre": ["Techno"]})
    file = mutagen.File(root / "audio" / "Own" / "2.flac")
    file["genre"] = ["Techno", "House"]
    file.save()
    assert _labels(library)[0]["Own/2.flac"] == ["House"]


def test_after_undo_the_tags_are_the_users_again(library):
    root, written = library
    _write(library, "Own/2.flac", {"genre": ["Techno"]})
    for path, error in undo(root / "undo.jsonl"):
        assert error is None
        written.forget([path])
    file = mutagen.File(root / "audio" / "Own" / "2.flac")
    file["genre"] = ["Techno"]
    file.save()
    assert _labels(library)[0]["Own/2.flac"] == ["Techno"]


def test_renamed_files_are_followed(library):
    root, written = library
    _write(library, "Own/2.flac", {"genre": ["Techno"]})
    (root / "audio" / "Own" / "2.flac").rename(root / "audio" / "Own" / "02.flac")
    assert _labels(library)[0]["Own/02.flac"] == ["Techno"]
    written.follow({"Own/02.flac": "Own/2.flac"})
    assert "Own/02.flac" not in _labels(library)[0]


def test_files_elsewhere_are_not_recorded_and_damaged_lines_are_named(library, tmp_path):
    _, written = library
    tone(tmp_path / "elsewhere.flac")
    _write(library, "../elsewhere.flac", {"genre": ["Techno"]})
    assert not written.path.exists()
    _write(library, "Own/2.flac", {"genre": ["Techno"]})
    with written.path.open("a") as file:
        file.write('{"track_id": "x"}\n')
    with pytest.raises(CatalogueError, match=r"written_tags.jsonl: line 2 is damaged"):
        written.read()


def test_a_line_that_was_cut_off_does_not_swallow_the_next(library):
    _, written = library
    written.path.parent.mkdir()
    written.path.write_text('{"track_id": "Own/1.f')
    _write(library, "Own/2.flac", {"genre": ["Techno"]})
    lines = written.path.read_text().splitlines()
    assert len(lines) == 2 and "Techno" in lines[1]

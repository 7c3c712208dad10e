"""``eno write-tags``, and the formats of ``eno tag`` for other programs."""

import csv
import io
import json
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout

import mutagen
import numpy as np
import pytest

from eno import EmbeddingStore, EnoPredictor, WindowPolicy, embed_folder
from eno.cli import main
from eno.data.library.tags import read_tags
from eno.errors import LabelError
from eno.inference.export import beets_line, csv_header, csv_lines, picard_line
from eno.inference.predictions import TagProbability
from eno.library import Library
from eno.models.calibration.calibrate import Calibration
from eno.models.familiarity import Familiarity
from eno.tagfiles.selection import TagChoice, read_tagged
from tests.audio_files import music, write

TAGS = [
    TagProbability("calm", "descriptor", 0.9, 0.95),
    TagProbability("Dub", "genre", 0.6, 0.5),
    TagProbability("sad", "descriptor", 0.5, 0.2),
    TagProbability("Rock, Pop", "genre", 0.4, 0.1),
    TagProbability("loud", "descriptor", 0.1, 0.05),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"genre": ["Dub", "Rock, Pop"], "mood": ["sad", "loud"]}),
        ({"limit": 1}, {"genre": ["Dub"], "mood": ["sad"]}),
        ({"min_probability": 0.5}, {"genre": ["Dub"], "mood": ["calm", "sad"]}),
        ({"genres_only": True}, {"genre": ["Dub", "Rock, Pop"]}),
        ({"min_probability": 0.85, "descriptors_as": "both"}, {"mood": ["calm"], "style": ["calm"]}),
    ],
)
def test_choice(options, expected):
    assert TagChoice(**options).fields(reversed(TAGS)) == expected


def test_exports_can_be_read_back(tmp_path):
    path = 'it\'s, a "song"\x85\r.mp3'
    text = f"{csv_header()}\n{csv_lines(path, TAGS)}\n"
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["path"], row["tag"], row["family"]) for row in rows] == [(path, tag.tag, tag.family) for tag in TAGS]
    assert [(float(row["probability"]), float(row["threshold"])) for row in rows] == [
        (tag.probability, tag.threshold) for tag in TAGS
    ]
    words = shlex.split(beets_line(str(tmp_path / path), TAGS))
    assert words[:5] == ["beet", "modify", "-y", "-W", "-M"]
    assert words[5:] == [f"path:{tmp_path / path}", "genres=Dub; Rock, Pop", "mood=calm; sad; loud"]
    assert beets_line(path, []) == ""
    assert json.loads(picard_line(path, TAGS)) == {
        "path": path, "genre": ["Dub", "Rock, Pop"], "mood": ["calm", "sad", "loud"]
    }  # fmt: skip


def test_names_may_contain_unusual_line_separators(tmp_path):
    file = tmp_path / "tags.jsonl"
    name, tag = "a\u2028b\x85.mp3", "Dub\u2028Techno"
    file.write_text(json.dumps({"path": name, "genres": {tag: 0.5}}, ensure_ascii=False), encoding="utf-8")
    assert list(read_tagged(file)) == [(name, [TagProbability(tag, "genre", 0.5, -1.0)], False)]


def test_lines_in_another_format_are_an_error(tmp_path):
    file = tmp_path / "tags.jsonl"
    for line in (
        "{",
        "[]",
        '{"genres": {}}',
        '{"path": "x", "genres": ["Dub"]}',
        '{"path": "x", "tags": {"a": "?"}}',
        '{"path": "x", "unfamiliar": "no"}',
    ):
        file.write_text('{"path": "x.mp3", "genres": {"Dub": 0.5}}\n\n' + line)
        found = read_tagged(file)
        assert next(found) == ("x.mp3", [TagProbability("Dub", "genre", 0.5, -1.0)], False)
        with pytest.raises(LabelError, match="line 3 is not output of"):
            next(found)
    with pytest.raises(LabelError, match="cannot be read"):
        next(read_tagged(tmp_path / "gone"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    for album, kinds in (("one", ("mp3", "flac", "m4a")), ("two", ("ogg", "wav-16"))):
        (root / "music" / album).mkdir(parents=True)
        for seed, kind in enumerate(kinds):
            write(root / "music" / album, kind, music(4, 48_000, seed=seed + 10 * len(kinds)), 48_000)
    policy = WindowPolicy(count=1)
    plain = EnoPredictor.musicnn("mtt", policy=policy)
    mean = np.mean([plain.predict_proba(path) for path in sorted((root / "music").rglob("*.*"))], axis=0)
    limits = np.where(np.argsort(np.argsort(-mean)) < 12, mean * 0.9, 1.0)
    learned = Calibration(np.ones(50), np.zeros(50), limits, np.zeros(50, bool), "platt", "scut")
    predictor = EnoPredictor(
        plain.encoders, plain.head, plain.labels, policy=policy, calibration=learned, album_calibration=learned
    )
    predictor.save(root / "model")
    store = EmbeddingStore.create(root / "store", plain.encoders[0].spec, policy=policy)
    embed_folder(root / "music", plain.encoders[0], store)
    (root / "music" / "two" / "broken.mp3").write_bytes(b"no music")
    return root, predictor


@pytest.fixture
def eno(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        stdout, stderr = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.argv", ["eno", *map(str, arguments)])
        with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code, stdout.getvalue(), " ".join(stderr.getvalue().split())

    return run


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def moods(path):
    file = mutagen.File(path)
    found = file.tags.get("TMOO") or file.tags.get("MOOD") or file.tags.get("----:com.apple.iTunes:MOOD") or []
    return [one.decode() if isinstance(one, bytes) else str(one) for one in getattr(found, "text", found)]


def test_nothing_is_written_without_write(eno, tmp_path):
    before = contents(tmp_path)
    code, shown, problem = eno("write-tags", "music/one", "--model", "model")
    assert code == 0, problem
    assert "3 files: 3 would change, 0 unchanged, 0 failed." in shown and "Add --write to write the tags" in shown
    assert contents(tmp_path) == before


def test_write_and_undo_continue_after_files_that_fail(eno, prepared, tmp_path):
    before, predictor = contents(tmp_path / "music"), prepared[1]
    code, shown, problem = eno("write-tags", "music", "--model", "model", "--write", "--undo-file", "old.jsonl")
    assert code == 1 and "1 of 6 files could not be tagged" in problem
    assert "broken.mp3" in shown and "6 files: 5 changed" in shown and "--undo old.jsonl" in shown
    for path, content in before.items():
        if path.name == "broken.mp3":
            assert path.read_bytes() == content
            continue
        named = predictor.predict(path)
        assert sorted(read_tags(path).genres) == named["genres"]
        assert sorted(moods(path)) == named["descriptors"]
        assert named["descriptors"]
    again = eno("write-tags", "music/one", "--model", "model", "--write", "--existing", "replace")[1]
    assert "0 changed, 3 unchanged" in again
    assert not list(tmp_path.glob("write-tags-undo-*"))  # nothing was written, so nothing has to be kept
    assert eno("write-tags", "--undo", "old.jsonl")[:2] == (0, "5 of 5 files have their previous tags again.\n")
    assert [read_tags(path).genres + tuple(moods(path)) for path in (tmp_path / "music").rglob("*.flac")] == [()]


def test_albums_and_lines_of_eno_tag(eno, prepared, tmp_path):
    code, lines, _ = eno("tag", "music/two", "--model", "model", "--album", "--json")
    assert code == 0
    (tmp_path / "tags.jsonl").write_text(lines)
    named = prepared[1].predict_album(sorted((tmp_path / "music" / "two").glob("*[gv]")))
    assert named["genres"]
    _, planned, _ = eno("write-tags", "music/two", "--model", "model", "--album", "--json", "--genres-only")
    _, from_lines, _ = eno("write-tags", "--from", "tags.jsonl", "--json", "--genres-only")
    assert planned == from_lines
    rows = [json.loads(line) for line in planned.splitlines()]
    assert ["error" in row for row in rows] == [True, False, False]
    for row in rows[1:]:
        assert sorted(row["after"].get("genre", [])) == named["genres"] and "mood" not in row["after"]


def test_tracks_of_a_store(eno, tmp_path):
    arguments = ("write-tags", "--store", "store", "--model", "model", "--audio-root", "music", "--json")
    code, from_store, problem = eno(*arguments, "--top", 2)
    assert code == 0, problem
    _, from_files, _ = eno("write-tags", "music", "--model", "model", "--json", "--top", 2)
    rows = [json.loads(line) for line in from_store.splitlines()]
    assert rows == [row for row in map(json.loads, from_files.splitlines()) if "error" not in row]
    assert eno(*arguments[:-2], "gone")[2].startswith("error: gone: is not a folder")


def test_the_tags_of_a_section_are_never_written_to_the_whole_file(eno, prepared, tmp_path):
    """A file of two songs, which a CUE sheet names."""
    first, second = (music(4, 48_000, seed=seed) for seed in (30, 31))
    (tmp_path / "music" / "mix").mkdir()
    path = write(tmp_path / "music" / "mix", "flac", np.concatenate([first, second]), 48_000)
    lines = ["TRACK 01 AUDIO", "INDEX 01 00:00:00", "TRACK 02 AUDIO", "INDEX 01 00:04:00"]
    path.with_suffix(".cue").write_text("\n".join(['FILE "flac.flac" WAVE', *lines]))
    assert eno("scan", "music", "--data-root", "data", "--min-coverage", "0")[0] == 0
    store = EmbeddingStore.open(tmp_path / "store")
    roots = Library.open(audio_roots=["music"], data_root="data").audio_roots
    embed_folder(roots, prepared[1].encoders[0], store)
    assert [name for name in store.track_ids() if "mix" in name] == ["mix/flac.flac#01", "mix/flac.flac#02"]
    before = path.read_bytes()
    library = ("--audio-root", "music", "--data-root", "data")
    arguments = ("write-tags", "--store", "store", "--model", "model", *library, "--write", "--undo-file", "old")
    code, shown, problem = eno(*arguments)
    assert code == 0, problem
    assert "7 files: 5 changed, 0 unchanged, 2 sections of files, 0 failed." in shown
    assert "the tags of one track do not describe the whole file" in shown and path.read_bytes() == before
    code, tagged, _ = eno("tag", "--store", "store", "--model", "model", "--json")
    (tmp_path / "tags.jsonl").write_text(tagged)
    assert '"mix/flac.flac#02"' in tagged
    for options in (library, library[:2], ("--data-root", "data"), ()):
        _, shown, _ = eno("write-tags", "--from", "tags.jsonl", *options, "--write", "--undo-file", "more", "--json")
        found = {row["track_id"]: row for row in map(json.loads, shown.splitlines())}
        assert [found[f"mix/flac.flac#0{number}"]["section"] for number in (1, 2)] == [True, True]
        assert path.read_bytes() == before


@pytest.fixture
def unfamiliar(eno, prepared, tmp_path):
    """A predictor to which only one file is familiar, flac.flac; and the tags that it would write to the others."""
    plain = prepared[1]
    song = plain.embed(tmp_path / "music" / "one" / "flac.flac")
    vectors = song + 0.002 * np.random.default_rng(0).standard_normal((80, 50)).astype(np.float32)
    parts = {name: getattr(plain, name) for name in ("calibration", "album_calibration")}
    parts |= {"policy": plain.policies, "familiarity": Familiarity.fit(vectors, np.arange(80))}
    EnoPredictor(plain.encoders, plain.head, plain.labels, **parts).save(tmp_path / "model")


@pytest.mark.usefixtures("unfamiliar")
def test_tags_of_unfamiliar_files_are_not_written(eno, tmp_path):
    before = contents(tmp_path / "music")
    code, shown, problem = eno("write-tags", "music/one", "--model", "model", "--write", "--undo-file", "old.jsonl")
    assert code == 0, problem
    assert "3 files: 1 changed, 0 unchanged, 2 unfamiliar, 0 failed." in shown and "--include-unfamiliar" in shown
    changed = [path.name for path, content in contents(tmp_path / "music").items() if content != before[path]]
    assert changed == ["flac.flac"]
    _, shown, _ = eno("write-tags", "music/one", "--model", "model", "--include-unfamiliar", "--existing", "replace")
    assert "2 would change, 1 unchanged, 0 failed" in shown


@pytest.mark.usefixtures("unfamiliar")
def test_all_outputs_agree_on_what_is_unfamiliar(eno, tmp_path):
    files, options = ("music/one",), ("--model", "model")
    lines = eno("tag", *files, *options, "--json")[1]
    rows = {row["track_id"].rpartition("/")[2]: row for row in map(json.loads, lines.splitlines())}
    assert {name: row["unfamiliar"] for name, row in rows.items()} == {
        "flac.flac": False, "m4a.m4a": True, "mp3.mp3": True
    }  # fmt: skip
    assert all(row["unfamiliar"] == (row["familiarity"] < 0.05) and row["genres"] for row in rows.values())
    (tmp_path / "tags.jsonl").write_text(lines)
    assert eno("write-tags", "--from", "tags.jsonl", "--json") == eno("write-tags", *files, *options, "--json")
    planned = eno("write-tags", "--from", "tags.jsonl", "--json")[1]
    assert [row.get("unfamiliar", False) for row in map(json.loads, planned.splitlines())] == [False, True, True]

    shown = eno("tag", *files, *options)[1]
    assert shown.count("unfamiliar: unlike the tracks that the predictor was trained on") == 2
    table = list(csv.DictReader(eno("tag", *files, *options, "--format", "csv")[1].splitlines()))
    assert {row["path"].rpartition("/")[2] for row in table if float(row["familiarity"]) < 0.05} == {
        "m4a.m4a",
        "mp3.mp3",
    }
    for form in ("beets", "picard"):
        _, shown, problem = eno("tag", *files, *options, "--format", form)
        assert len(shown.splitlines()) == 1 and "flac.flac" in shown and "mp3.mp3: left out" in problem
        assert len(eno("tag", *files, *options, "--format", form, "--include-unfamiliar")[1].splitlines()) == 3

    store = eno("tag", "--store", "store", *options, "--json")[1]
    assert [row["track_id"] for row in map(json.loads, store.splitlines()) if not row["unfamiliar"]] == [
        "one/flac.flac"
    ]
    for source in (files, ("--store", "store")):
        first = json.loads(eno("tag", *source, *options, "--album", "--json")[1].splitlines()[0])
        assert first["folder"].endswith("one") and first["unfamiliar"]
        assert first["familiarity"] == sorted(row["familiarity"] for row in rows.values())[1]


def test_formats_of_tag(eno):
    code, shown, problem = eno("tag", "music/two", "--model", "model", "--format", "csv")
    rows = list(csv.DictReader(shown.splitlines()))
    assert code == 1 and "broken.mp3: error" in problem
    assert {row["path"] for row in rows} == {"music/two/ogg.ogg", "music/two/wav-16.wav"}
    assert all(float(row["probability"]) > float(row["threshold"]) for row in rows)
    assert all(line.startswith("beet modify") for line in eno("tag", "music/one", "--format", "beets")[1].splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Specify exactly one source"),
        (("music", "--store", "store"), "files or folders, --store, or --from"),
        (("--from", "tags.jsonl", "--album"), "already contains the tags"),
        (("--undo", "old.jsonl", "music"), "--undo cannot be combined"),
        (("--undo", "gone.jsonl"), "gone.jsonl: cannot be read"),
        (("music/one", "--write", "--undo-file", "gone/old.jsonl"), "gone/old.jsonl: the old tags cannot be saved"),
    ],
)
def test_errors_are_one_clear_line(eno, arguments, message, tmp_path):
    before = contents(tmp_path)
    code, _, problem = eno("write-tags", *arguments, "--threshold", 0)
    assert code == 1 and message in problem and "Traceback" not in problem
    assert contents(tmp_path) == before

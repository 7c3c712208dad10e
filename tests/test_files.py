"""Files that are whole or not there, and that others may read."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from eno.errors import CatalogueError, LabelError
from eno.files import (
    AudioRoots,
    csv_records,
    finite,
    read_lines,
    replace_file,
    temporary_name,
    write_json,
    write_json_lines,
)
from eno.processes import machine_key


def test_replaces_in_one_step(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replace_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), replace_file(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["x" * 250 + ".flac", "夢" * 83 + ".mp3", os.fsdecode(b"\xff" * 200)])
def test_names_as_long_as_file_systems_allow(name, tmp_path):
    for _ in range(2):
        with replace_file(tmp_path / name) as temporary, replace_file(tmp_path / name[:-1]) as another:
            assert temporary != another and len(os.fsencode(temporary.name)) <= 100
            temporary.write_text("new")
    assert sorted(os.listdir(tmp_path)) == sorted([name, name[:-1]])


def test_unfinished_files_of_killed_processes_are_removed(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from eno.files import replace_file
with replace_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    (killed,) = os.listdir(tmp_path)
    other_machine = killed.replace(machine_key(), "01234567")
    long_ago = ".b.01234567-1-89abcdef.tmp"
    for name in (other_machine, long_ago, temporary_name("living"), ".rsync.tmp"):
        (tmp_path / name).touch()
    for name in (long_ago, ".rsync.tmp"):
        os.utime(tmp_path / name, (1, 1))
    with replace_file(tmp_path / "a"):
        pass
    assert {killed, long_ago} & set(os.listdir(tmp_path)) == set()
    assert {other_machine, ".rsync.tmp"} < set(os.listdir(tmp_path)) and len(os.listdir(tmp_path)) == 4


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        with replace_file(tmp_path / "w.safetensors") as temporary:
            save_file({"a": torch.ones(2)}, temporary)  # of which only the owner could read
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640


def test_lines_end_only_where_editors_end_them(tmp_path):
    path = tmp_path / "tags.txt"
    path.write_bytes("\ufefffirst\u2028still first\r\nsecond\x85\x0b\x0c\x1e\n\nlast\rend".encode())
    assert read_lines(path, LabelError) == [
        "first\u2028still first\r\n",
        "second\x85\x0b\x0c\x1e\n",
        "\n",
        "last\r",
        "end",
    ]


def test_the_caller_chooses_the_error_of_unreadable_text(tmp_path):
    path = tmp_path / "tags.txt"
    with pytest.raises(CatalogueError, match=r"tags\.txt: cannot be read \(No such file"):
        read_lines(path, CatalogueError)
    path.write_bytes("a".encode("utf-16"))
    with pytest.raises(LabelError, match=r"tags\.txt: is UTF-16; save it as UTF-8"):
        read_lines(path, LabelError)
    path.write_bytes(b"a\n\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"tags\.txt: line 3 is not UTF-8"):
        read_lines(path, ValueError)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('yes,"Abba,Gold\r\n', 2),
        ('yes,"Abba,Gold' + "\r\nno,Low,Hey What" * 20_000, 2),
        ('no,x,y\r\nyes,"A"bba,z\r\n', 3),
    ],
    ids=["at the end", "before many rows", "within a value"],
)
def test_a_csv_file_with_a_stray_quotation_mark_is_refused(tmp_path, rows, line):
    path = tmp_path / "review.csv"
    path.write_bytes(f"decision,artist,album\r\n{rows}".encode())
    with pytest.raises(
        CatalogueError, match=r"review\.csv: line \d+ is not valid CSV \(.*Check the quotation marks"
    ) as error:
        csv_records(path, CatalogueError)
    assert int(str(error.value).split("line ")[1].split()[0]) >= line


def test_csv_with_another_separator_and_short_rows(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_bytes('\ufefftrack;tag\r\n"a;b.mp3";"two\r\nlines"\r\n\r\nc,d.mp3\r\n'.encode())
    rows = [(3, {"track": "a;b.mp3", "tag": "two\r\nlines"}), (5, {"track": "c,d.mp3", "tag": ""})]
    assert csv_records(path, LabelError, separators=",;") == (["track", "tag"], rows)
    path.write_bytes(b"")
    assert csv_records(path, LabelError) == ([], [])


def test_a_track_is_found_in_whichever_root_holds_it(tmp_path):
    first, second = tmp_path / "nas", tmp_path / "usb"
    for folder, name in ((first, "a.flac"), (first, "both.flac"), (second, "both.flac"), (second, "b.flac")):
        folder.mkdir(exist_ok=True)
        (folder / name).touch()
    roots = AudioRoots.of([first, str(second)])
    assert roots.file("a.flac") == first / "a.flac"
    assert roots.file("b.flac") == second / "b.flac"
    assert roots.file("both.flac") == first / "both.flac"
    assert roots.file("missing.flac") == first / "missing.flac"
    assert AudioRoots.of(roots) is roots
    assert AudioRoots.of(first).folders == AudioRoots.of(str(first)).folders == (first,)


def test_json_of_names_that_are_not_unicode_can_be_read_back(tmp_path):
    value = {"name": os.fsdecode(b"\xff.mp3"), "title": "\ud800 für \U0001f3b5"}
    write_json(tmp_path / "one.json", value)
    write_json_lines(tmp_path / "lines.jsonl", [value, value])
    assert json.loads((tmp_path / "one.json").read_text("utf-8")) == value
    assert [json.loads(line) for line in read_lines(tmp_path / "lines.jsonl", LabelError)] == [value, value]


def test_values_that_json_does_not_have_become_null():
    nan = float("nan")
    value = {"a": [1, 0.5, (nan, float("inf"))], "b": {"c": -float("inf"), "d": "NaN", "e": None, "f": True}}
    expected = {"a": [1, 0.5, [None, None]], "b": {"c": None, "d": "NaN", "e": None, "f": True}}
    assert json.loads(json.dumps(finite(value), allow_nan=False)) == expected

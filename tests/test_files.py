"""Files that are whole or not there, and that others may read."""

import os

import pytest
import torch
from safetensors.torch import save_file

from eno.errors import CatalogueError, LabelError
from eno.files import AudioRoots, read_lines, replace_file


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

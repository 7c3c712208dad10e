"""Names of files neither control the terminal nor stop a command."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from eno.cli.options import shown
from eno.console import SafeConsole, errors, progress
from eno.files import visible

HOSTILE = {
    "a\x1b[31mred.wav": "a\\x1b[31mred.wav",
    "b\x1b]0;title\x07.wav": "b\\x1b]0;title\\x07.wav",
    "c\nerror: none.wav": "c\\nerror: none.wav",
    "d\u202egpj.wav": "d\\u202egpj.wav",
    "e\x9b2J.wav": "e\\x9b2J.wav",
    "f\rhidden\x08.wav": "f\\rhidden\\x08.wav",
    "g\u2028\u2066\ufeff.wav": "g\\u2028\\u2066\\ufeff.wav",
    "h\udce9.wav": "h\\xe9.wav",
    "i :fire: [bold].wav": "i :fire: [bold].wav",
    "j\ud800.wav": "j\\ud800.wav",
}


def printed(text, *, encoding="utf-8", **options):
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding, newline="")
    SafeConsole(file=file, highlight=False, soft_wrap=True, emoji=False, **options).print(text)
    file.flush()
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "expected"), HOSTILE.items())
def test_names_are_shown_with_escapes(name, expected):
    assert visible(name) == expected
    assert printed(f"[bold]{shown(name)}[/]", force_terminal=True).decode() == f"\x1b[1m{expected}\x1b[0m\n"


@pytest.mark.parametrize("name", [name for name in HOSTILE if "\n" not in name and "\r" not in name])
def test_names_that_a_command_forgot_to_escape_are_harmless(name):
    text = printed(name.replace("[", "\\["), force_terminal=True).decode()
    assert not any(character in text for character in "\x1b\x07\x08\x9b\u202e\u2028\u2066")


def test_ordinary_names_are_not_changed():
    for name in ("Sigur Rós – Ágætis byrjun", "夜に駆ける", "שלום", "👩‍🎤", "a\\b", "x   y"):
        assert visible(name) == name
        assert printed(shown(name)).decode() == name + "\n"


def test_messages_keep_the_lines_of_their_lists():
    assert visible("several:\n  a\n  b\nc", lines=True) == "several:\n  a\n  b\\nc"


def test_a_terminal_without_unicode_shows_escapes():
    assert printed("Ágætis – 夜", encoding="ascii") == rb"\xc1g\xe6tis \u2013 \u591c" + b"\n"
    assert printed("Ágætis – 夜", encoding="latin-1") == "Ágætis \\u2013 \\u591c\n".encode("latin-1")


def test_notes_of_progress_are_names_too(monkeypatch):
    monkeypatch.setattr(errors, "_file", io.StringIO())  # the property would not be restored
    with progress("reading") as show:
        show(1, 1, "x\x1b[2J[/red]")
    assert errors.file.getvalue() == "reading: 1 of 1, x\\x1b[2J[/red]\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_commands_show_hostile_names_and_keep_them_in_data(tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    names = [name for name in HOSTILE if "\ud800" not in name]
    for name in names:
        soundfile.write(tmp_path / "tone.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
        os.rename(tmp_path / "tone.wav", music / name)
    (music / "broken\x1b[5m.mp3").write_bytes(b"no audio" * 50)

    def run(*arguments):
        code = "import sys; from eno.cli import main; sys.argv[0] = 'eno'; main()"
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)

    scan = run("scan", str(music))
    assert scan.returncode == 1
    assert f"1 of {len(names) + 1} files could not be read." in scan.stderr.decode()
    assert run("scan", str(music), "--min-coverage", "0.1").returncode == 0
    match = run("similar", "--store", "nowhere\x1b[2J\u202e")
    for done in (scan, match):
        output = (done.stdout + done.stderr).decode()
        assert "Traceback" not in output
        assert not any(character in output for character in "\x1b\x9b\u202e\x07\r")
    assert "broken\\x1b[5m.mp3" in (scan.stdout + scan.stderr).decode()
    assert "nowhere\\x1b[2J\\u202e" in match.stderr.decode()
    data = run("scan", str(music), "--json")
    for line in data.stdout.decode().splitlines():
        json.loads(line)

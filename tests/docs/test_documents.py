"""The documents show commands, options, links, Python and settings that exist."""

import ast
import itertools
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from eno.cli import app
from eno.config import make_settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "embeddings")
    for path in (ROOT / folder).glob("*.md" if folder != "docs" else "**/*.md")
    if path.name != "CHANGELOG.md"
)
documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
ENO = typer.main.get_command(app)


def _blocks(path, *languages):
    found = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language in languages]


def _shell_lines(path):
    return [
        line
        for block in _blocks(path, "console")
        for whole in block.replace("\\\n", " ").splitlines()
        if whole.startswith("$ ")
        for line in whole.removeprefix("$ ").split(" && ")
    ]


def _inline(path):
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [code for code in re.findall(r"`([^`]+)`", text) if code.startswith("eno ")]


def _check(line):
    """Find the command that a line runs, and raise an AssertionError for an option that it lacks."""
    words = shlex.split(line, comments=True)
    words = list(itertools.takewhile(lambda word: word not in ("|", ">"), words))
    group, names = ENO, words[1:]
    while names and hasattr(group, "commands"):
        if names[0].startswith("-") or names[0].isupper() or names[0] == "…":
            break
        assert names[0] in group.commands, f"{line}: there is no command {names[0]}"
        group, names = group.commands[names[0]], names[1:]
    known = {name for one in group.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    if group is ENO:
        known |= {"--install-completion", "--version"}
    for word in names:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, f"{line}: 'eno' has no such option: {word}"


@documents
def test_commands_and_options_exist(path):
    for line in [line for line in _shell_lines(path) if line.startswith("eno ")] + _inline(path):
        _check(line)


def test_a_wrong_command_or_option_is_noticed():
    for line in ("eno embedd", "eno import lutt", "eno tag --tresholds 3"):
        with pytest.raises(AssertionError):
            _check(line)


@documents
def test_relative_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        place = link.partition("#")[0]
        if place and "://" not in link and "mailto:" not in link:
            assert (path.parent / place).exists(), f"{path.name} links to {link}"


@documents
def test_python_is_valid(path):
    for block in _blocks(path, "python"):
        ast.parse(block)


@documents
def test_settings_are_known(path):
    for block in _blocks(path, "toml"):
        make_settings(tomllib.loads(block), source=path.name)


def _texts():
    """Yield the strings in the code; what is filled in is an ellipsis."""
    for path in (ROOT / "eno").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values)


def test_messages_in_the_questions_are_those_of_the_code():
    page = (ROOT / "docs" / "faq.md").read_text("utf-8")
    table = page.partition("## Messages")[2].partition("## Questions")[0]
    code = "\n".join(_texts())
    for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[1:]:
        for part in re.split(r"…|'\w+'|\d+(?:\.\d+)*|~/Music", row):
            if len(part.strip(" :.")) > 8:
                assert part.strip(" :.") in code, f"no message says: {part}"

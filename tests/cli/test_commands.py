"""What all commands share: groups of options, former spellings, and no option twice."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from eno.cli import app
from eno.cli.commands import command


@dataclass(frozen=True)
class Numbers:
    first: Annotated[int, typer.Option(help="The first")] = 1
    second: Annotated[list[int] | None, typer.Option(help="The second")] = None


@pytest.fixture
def small():
    made = typer.Typer()
    seen = []

    @command(made, former={"--one": "--first"}, former_argument="--store")
    def work(
        numbers: Numbers, store: Annotated[str | None, typer.Option("--store")] = None, quick: bool = False
    ) -> None:
        seen.append((numbers, store, quick))

    @command(made)
    def other() -> None:
        pass

    def run(*arguments):
        seen.clear()
        result = CliRunner().invoke(made, ["work", *arguments])
        return result, seen[0] if seen else None

    return run


def test_fields_of_a_dataclass_are_options(small):
    result, seen = small("--first", "3", "--second", "4", "--second", "5", "--quick")
    assert result.exit_code == 0, result.output
    assert seen == (Numbers(3, [4, 5]), None, True)
    assert small()[1] == (Numbers(), None, False)


@pytest.mark.parametrize("arguments", [("--one", "3"), ("--one=3",)])
def test_a_former_spelling_works_with_a_warning(small, arguments):
    result, seen = small(*arguments)
    assert seen[0].first == 3
    assert "--one is deprecated and will be removed; use --first" in result.stderr


def test_a_former_argument_works_with_a_warning(small):
    result, seen = small("my-store", "--first", "2")
    assert seen == (Numbers(2), "my-store", False)
    assert "use --store my-store" in result.stderr


def test_an_option_with_one_value_cannot_be_given_twice(small):
    result, seen = small("--first", "1", "--first", "2")
    assert seen is None
    assert result.exit_code == 2
    assert "--first is given 2 times; it takes one value" in result.output
    assert small("--store", "a", "--store=b")[1] is None


def _commands():
    found = {}

    def walk(group, path):
        for name in group.commands:
            one = group.commands[name]
            if hasattr(one, "commands"):
                walk(one, (*path, name))
            else:
                found[" ".join((*path, name))] = one

    walk(typer.main.get_command(app), ())
    return found


def test_options_have_the_names_of_the_table_in_contributing():
    table = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`(--[a-z-]+)", table[table.index("## Option names") :].partition("\n## ")[0]))
    assert {"--store", "--model", "--audio-root", "--json", "--out", "--threshold", "--top", "--clearml-name"} <= known
    former = {"--output", "--min-probability", "--limit", "--method", "--map", "--name", "--queue", "--project"}
    for name, one in _commands().items():
        options = {option for parameter in one.params for option in parameter.opts if option.startswith("--")}
        assert not options & former, name


def test_every_command_that_prints_results_has_json():
    without = {"init", "serve", "explore", "tracking import", "weights convert-laion"}
    for name, one in _commands().items():
        options = {option for parameter in one.params for option in parameter.opts}
        assert ("--json" in options) == (name not in without), name


def test_paragraphs_of_a_help_text_are_filled(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["import", "csv", "--help"]).output
    paragraph = shown.partition("Labels are in")[2].partition("\n \n")[0].rstrip()
    lines = [line.strip() for line in f"Labels are in{paragraph}".splitlines()]
    for line, after in itertools.pairwise(filter(None, lines[: lines.index("")])):
        assert len(line) + len(after.split()[0]) >= 77, line  # two columns of margin and a space


def test_commands_are_listed_in_the_order_of_the_work():
    listed = re.findall(r"^│ ([a-z-]+) ", CliRunner().invoke(app, ["--help"]).output, re.MULTILINE)
    order = [name for name in listed if name in ("init", "scan", "embed", "train", "tag", "similar", "serve")]
    assert order == ["init", "scan", "embed", "train", "tag", "similar", "serve"]


def test_a_full_disk_or_a_missing_folder_is_an_error_without_a_traceback(tmp_path, monkeypatch, capsys):
    from eno import cli

    def fail():
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path / "gone" / "x.csv"))

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "gone/x.csv: No such file or directory" in capsys.readouterr().err.replace("\n", "")

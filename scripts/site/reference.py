"""Reference pages from the code: commands, settings, Python."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import griffe
import typer

import eno
from eno.cli import app
from eno.config import Settings, options_model
from eno.registry import ENCODERS, HEADS, TRAINED_HEADS, import_class

_CALIBRATION = "eno.models.calibration.calibrate:fit_calibration"
_ENCODERS = {name: place for name, place in ENCODERS.items() if name != "simple_cnn"}
_HEADS = {name: HEADS[name] for name in TRAINED_HEADS}


def commands_page() -> str:
    """Return the reference of all commands, in the order of ``eno --help``."""
    lines = [
        "# Commands: reference", "",
        "Made from the commands' own help. [Commands in detail](../commands.md) explains what needs more words.", "",
    ]  # fmt: skip
    for name, command in _commands(typer.main.get_command(app), ("eno",)):
        help_text = inspect.cleandoc(command.help or "").partition("\f")[0]
        context = typer.Context(command, info_name=name)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines += [f"## {name}", "", _escaped(help_text), "", "```text", usage, "```", ""]
        rows = list(_rows(command))
        if rows:
            lines += ["| option or argument | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.commands[name]
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def _rows(command: Any) -> Iterator[str]:
    for one in command.params:
        if getattr(one, "hidden", False):
            continue
        kind = one.name.upper() if one.param_type_name == "argument" else ", ".join(one.opts)
        default = one.default
        plain = default is None or callable(default) or isinstance(default, bool) or default in ("", ())
        shown = "" if plain else f"`{default}`"
        yield f"| `{_cell(kind)}` | {_cell(_escaped(getattr(one, 'help', None) or ''))} | {shown} |"


def settings_page() -> str:
    """Return the reference of ``eno.toml``, from the types and signatures behind it."""
    lines = ["# Settings: reference", "", "Keys of `eno.toml`, from the signatures behind them.", ""]
    simple, sections = [], []
    texts = _parameter_texts(Settings)
    for name, field in Settings.model_fields.items():
        if hasattr(field.default, "model_fields"):
            rows = [(key, one.annotation, one.default, "") for key, one in type(field.default).model_fields.items()]
            sections.append((name, inspect.getdoc(type(field.default)) or "", rows))
        elif name != "options":
            simple.append((name, field.annotation, field.default, texts.get(name, "")))
    lines += _table(simple)
    for name, text, rows in sections:
        lines += [f"## `[{name}]`", "", _escaped(text), "", *_table(rows)]
    for name, place in {**_ENCODERS, **_HEADS, "calibration": _CALIBRATION}.items():
        target = import_class(place)
        texts = _parameter_texts(target)
        rows = [
            (key, one.annotation, one.default, texts.get(key, ""))
            for key, one in options_model(name).model_fields.items()
        ]
        first = (inspect.getdoc(target) or "").partition("\n\n")[0].replace("\n", " ")
        lines += [f"## `[{name}]`", "", f"{_escaped(first)} (`{place.replace(':', '.')}`)", "", *_table(rows)]
    return "\n".join(lines)


def _parameter_texts(target: Any) -> dict[str, str]:
    sections = griffe.Docstring(inspect.getdoc(target) or "", parser="numpy").parse(warnings=False)
    kinds = (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes)
    found = [section for section in sections if section.kind in kinds]
    texts = {}
    for one in (parameter for section in found for parameter in section.value):
        for name in one.name.split(","):
            texts[name.strip()] = one.description.replace("\n", " ")
    return texts


def _table(rows: list[tuple[str, Any, Any, str]]) -> list[str]:
    if not rows:
        return ["No options.", ""]
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for name, kind, default, text in rows:
        unset = default is None or repr(default) == "PydanticUndefined"
        shown = "" if unset else f"`{_cell(_plain(default))}`"
        lines.append(f"| `{name}` | `{_cell(_type_name(kind))}` | {shown} | {_cell(_escaped(text))} |")
    return [*lines, ""]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _type_name(kind: Any) -> str:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type_name(parts[0])
    if origin is typing.Literal:
        return " or ".join(map(json.dumps, parts))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_name, parts))
    name = "None" if kind is type(None) else getattr(kind, "__name__", str(kind))
    inner = ", ".join("…" if part is ... else _type_name(part) for part in parts)
    return f"{name}[{inner}]" if inner else name


def python_page() -> str:
    """Return the reference of the public names of eno, for mkdocstrings."""
    names = [f"{eno._HOME[name]}.{name}" for name in eno.__all__]
    names += [
        "eno.similarity.sounds_like.SoundsLike",
        "eno.models.calibration.calibrate.fit_calibration",
        "eno.models.calibration.calibrate.Calibration",
        *(place.replace(":", ".") for place in (*_HEADS.values(), *_ENCODERS.values())),
        "eno.testing.encoders.check_encoder",
        "eno.testing.heads.check_head",
    ]
    intro = "# Python: reference\n\nMade from the docstrings. [eno in Python](../python.md) shows how they are used.\n"
    return intro + "".join(f"\n::: {name}\n" for name in names)


def _escaped(text: str) -> str:
    return re.sub(r"(?<!`)<(?!!)", "&lt;", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Options that several commands share, and how results reach the terminal. CONTRIBUTING.md has the table of names."""

from __future__ import annotations

import errno
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from rich.markup import escape

from eno.console import console
from eno.errors import ConfigError
from eno.files import printable
from eno.library import Library

LIBRARY, TRACKING, FILTERS, RESULT = "Library", "Experiment tracking", "Filters", "Result"

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Embedding store: a folder, or a URI such as s3://bucket/folder (default: the store of the library)",
        rich_help_panel=LIBRARY,
    ),
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of the predictor (default: models/eno)", rich_help_panel=LIBRARY)
]
AudioRootOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--audio-root",
        help="Folder of the audio; repeat it for several (default: those of the library, or DATA_ROOT/raw/audio)",
        rich_help_panel=LIBRARY,
    ),
]
IndexOption = Annotated[
    Path | None, typer.Option("--index", help="Folder of the index (default: in the store)", rich_help_panel=LIBRARY)
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", help="Encoder: a name ('eno encoders' lists them), hf:<id or folder>, or <module>:<class>"
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
SplitsOption = Annotated[
    Path | None,
    typer.Option("--splits", help="Folder of the splits (default: of 'eno split')", rich_help_panel=LIBRARY),
]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="Vocabulary file (default: of 'eno labels')", rich_help_panel=LIBRARY)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line", rich_help_panel=RESULT)]


@dataclass(frozen=True)
class LibraryOptions:
    """Which library a command works on."""

    panel: ClassVar[str] = LIBRARY

    data_root: Annotated[Path | None, typer.Option("--data-root", help="Folder of raw/ and processed/")] = None
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file (default: $ENO_CONFIG, or the nearest eno.toml)")
    ] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example windows.count=16; repeatable"),
    ] = None

    def open(self, *, audio_root: list[Path] | None = None, **settings: Any) -> Library:
        """Open the library; settings that are None are left as the file has them."""
        if "" not in sys.path:
            sys.path.insert(0, "")  # an encoder of the user's own is imported from the current folder
        return Library.open(
            self.config,
            overrides=self.overrides or (),
            data_root=self.data_root,
            audio_roots=audio_root or None,
            **settings,
        )


def shown(value: Any) -> str:
    """Escape text for the console: brackets, and bytes of file names that are not valid UTF-8."""
    return escape(printable(str(value)))


def prepare_output(path: Path) -> None:
    """Create the folder of an output file and make sure that it can be written, before the work is done.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written ({error.strerror}). Choose another file.") from error


def print_rows(rows: Mapping[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, rows))
    for name, value in rows.items():
        console.print(f"{name:<{width}}  {shown(value)}")


def print_lines(lines: list[str]) -> None:
    """Print lines of text as they are."""
    for line in lines:
        console.print(shown(line))


def print_json(value: Mapping[str, Any]) -> None:
    """Print an object as one line of ASCII, so that bytes of names that are not valid UTF-8 survive as escapes."""
    typer.echo(json.dumps(value, default=str))

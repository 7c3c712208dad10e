"""Options and output that several commands share. CONTRIBUTING.md has the table of option names."""

from __future__ import annotations

import errno
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.markup import escape

from eno.console import console, errors
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import finite, visible
from eno.library import Library

if TYPE_CHECKING:
    from eno.training.feedback import Corrections

LIBRARY, TRACKING, FILTERS, RESULT = "Library", "Experiment tracking", "Filters", "Result"
_KINDS_SHOWN = 12
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Embedding store: a folder, or a URI such as s3://bucket/folder (default: the store of the library)",
        rich_help_panel=LIBRARY,
    ),
]
StoresOption = Annotated[
    list[str] | None,
    typer.Option(
        "--store",
        help="Embedding store, a folder or URI; repeat it to join the vectors of several encoders (default: the store "
        "of the library)",
        rich_help_panel=LIBRARY,
    ),
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of the predictor (default: models/eno)", rich_help_panel=LIBRARY)
]
PredictorOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Predictor: a folder, user/name on the Hugging Face hub, or the id of a ClearML model "
        "(default: models/eno)",
        rich_help_panel=LIBRARY,
    ),
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
    typer.Option("--splits", help="Folder of the splits (default: those of 'eno split')", rich_help_panel=LIBRARY),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", help="Vocabulary file (default: that of 'eno labels')", rich_help_panel=LIBRARY),
]
FeedbackOption = Annotated[
    Path | None, typer.Option("--feedback", help="File of users' corrections, written by 'eno serve'")
]
WeightOption = Annotated[
    float | None, typer.Option("--feedback-weight", help="Weight of corrected tags, relative to others (default: 4)")
]
FilesOption = Annotated[
    Path | None,
    typer.Option("--files", help="Text file that lists the audio files, one path per line (default: all files)"),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        help="Leave out files and folders by name (*.mp4), or by path if it contains / (Podcasts/*); repeatable "
        "(default: 'exclude' in eno.toml)",
    ),
]
FileTimeoutOption = Annotated[
    float, typer.Option(min=0.1, help="Give up a file if decoding makes no progress for this many seconds")
]
MinCoverageOption = Annotated[
    float, typer.Option(min=0, max=1, help="Minimum fraction of files that succeed; below it, the exit status is 1")
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
        """Open the library. These settings take precedence over the file, unless they are None."""
        if "" not in sys.path:
            sys.path.insert(0, "")  # so that --encoder module:Class finds modules in the current folder
        return Library.open(
            self.config,
            overrides=self.overrides or (),
            data_root=self.data_root,
            audio_roots=audio_root or None,
            **settings,
        )


def shown(value: Any, *, lines: bool = False) -> str:
    """Escape text for the console: brackets, and what `eno.files.visible` escapes."""
    return escape(visible(value, lines=lines))


def pairs(option: str, texts: Iterable[str] | None, example: str) -> dict[str, str]:
    """Return the values of an option that are given as NAME=VALUE, such as `example`."""
    found = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}: expected two names, such as {option} {example}.")
        found[name] = value
    return found


def prepare_output(path: Path) -> None:
    """Create the folder of an output file; raise a ConfigError if the file cannot be written.

    Called before long work, which would be lost otherwise.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written ({error.strerror}). Choose another file.") from error


def clock(seconds: float) -> str:
    """Format a time as m:ss, or h:mm:ss.

    Examples
    --------
    >>> clock(65.2), clock(3723)
    ('1:05', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def parse_time(text: str) -> float:
    """Parse a time in seconds, ``m:ss`` or ``h:mm:ss``, with or without a fraction.

    Examples
    --------
    >>> [parse_time(text) for text in ("65", "1:05", "1:02:03.5")]
    [65.0, 65.0, 3723.5]
    """
    found = _TIME.fullmatch(text.strip())
    hours, minutes, seconds = found.groups() if found else (None, None, None)
    if not found or (minutes and float(seconds or 0) >= 60) or (hours and int(minutes or 0) >= 60):
        raise ConfigError(f"{text!r} is not a time. Write seconds, m:ss or h:mm:ss, for instance 65 or 1:05.")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds or 0)


def warn(text: str) -> None:
    """Print a warning."""
    errors.print(f"[yellow]{shown(text, lines=True)}[/]")


def print_failure(name: str, reason: str) -> None:
    """Print why something failed."""
    console.print(f"[red]failed[/]  {shown(name)}: {shown(reason)}")


def print_lines(lines: list[str]) -> None:
    """Print lines of text as they are."""
    for line in lines:
        console.print(shown(line, lines=True))


def print_rows(rows: Mapping[str, Any], *, as_json: bool) -> None:
    """Print names and values in two columns, or as JSON."""
    if as_json:
        print_json(rows)
        return
    width = max(map(len, rows))
    print_lines([f"{name:<{width}}  {value}" for name, value in rows.items()])


def report_walk(unread: Mapping[str, str], left_out: Mapping[str, int]) -> None:
    """Print what a walk over the audio folders could not list, and what it left out."""
    for folder, reason in unread.items():
        print_failure(folder, reason)
    if left_out:
        kinds = [f"{count:,} {kind}" for kind, count in left_out.items()]
        more = f" and {len(kinds) - _KINDS_SHOWN} more kinds" if len(kinds) > _KINDS_SHOWN else ""
        console.print(f"not audio: {shown(', '.join(kinds[:_KINDS_SHOWN]))}{more}")


def check_walk(library: Library, found: int, unread: Mapping[str, str]) -> None:
    """Raise an error if no audio was found, or not all folders could be listed."""
    if unread:
        some = next(iter(unread))
        raise EnoError(
            f"{len(unread)} folders could not be listed, for example {some}; the others were done. Change their "
            "permissions, or leave them out with --exclude."
        )
    if found == 0:
        raise AudioError(str(library.audio_roots), "contains no audio files. If it is a disk or share, mount it")


def check_coverage(failed: int, found: int, min_coverage: float, message: str) -> None:
    """If files failed, print a warning with the message, or raise it as an error if too many of all files failed."""
    coverage = 1 - failed / max(1, found)
    if failed and coverage < min_coverage:
        raise EnoError(f"{message} Coverage is {coverage:.1%}, below --min-coverage {min_coverage:.1%}.")
    if failed:
        warn(message)


def print_json(value: Mapping[str, Any]) -> None:
    """Print an object as one line of JSON in ASCII: bytes of file names that are not UTF-8 become escapes."""
    typer.echo(json.dumps(finite(value), default=str))


def read_corrections(path: Path | None, weight: float | None) -> Corrections | None:
    """Read the file of `FeedbackOption`, if there is one; see `eno.training.feedback.Corrections`."""
    from eno.training.feedback import WEIGHT, Corrections

    return None if path is None else Corrections.read(path, weight=WEIGHT if weight is None else weight)

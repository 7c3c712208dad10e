"""CUE sheets: text files, or tags, that list the tracks of one or several audio files.

The commands are those of the appendix "CDRWIN CUE-sheet commands" of CDRWIN's user guide, which all rippers follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from eno.errors import CatalogueError

_COMMAND = re.compile(r'\s*(\w+)\s*(?:"(.*)"|(\S+))?\s*(.*?)\s*$')
_TIME = re.compile(r"(\d{1,5}):([0-5]?\d):(\d\d?)$")
_FRAMES = 75  # CD frames in a second
_YEAR = re.compile(r"\b(1[5-9]|20)\d\d\b")
# In Shift-JIS: kana, or two kanji of level 1 in a row. In Windows-1252 these bytes are rare marks such as ƒ and ‰, or
# quotation marks that are never so close together.
_JAPANESE = re.compile(rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]|(?:[\x88-\x98][\x40-\x7e\x80-\xfc]){2}")


class CueError(CatalogueError):
    """A CUE sheet is damaged."""


@dataclass(frozen=True)
class CueTrack:
    """A track of a CUE sheet. It begins at its ``INDEX 01``: the pause before counts as the end of the track before."""

    number: int
    start_s: float
    title: str | None = None
    performer: str | None = None
    is_audio: bool = True


@dataclass
class CueFile:
    """The tracks that begin in one audio file, in their order; `name` is the file as the sheet calls it."""

    name: str
    tracks: list[CueTrack] = field(default_factory=list)


@dataclass
class CueSheet:
    """The content of a CUE sheet; title and performer are those of the album."""

    title: str | None = None
    performer: str | None = None
    genre: str | None = None
    year: int | None = None
    disc_number: int | None = None
    files: list[CueFile] = field(default_factory=list)


def decode_cue(content: bytes) -> str:
    r"""Decode the text of a CUE sheet, which does not say how it is encoded.

    It is UTF-8 or UTF-16 if it has a byte order mark, UTF-8 if it is valid as such, Shift-JIS if that makes it Japanese
    text, and else Windows-1252.

    Examples
    --------
    >>> decode_cue("TITLE Café".encode("cp1252")), decode_cue("TITLE さくら".encode("cp932"))
    ('TITLE Café', 'TITLE さくら')
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    if _JAPANESE.search(content):
        try:
            return content.decode("cp932")
        except UnicodeDecodeError:
            pass
    return content.decode("cp1252", "replace")


def parse_cue(text: str) -> CueSheet:
    """Parse a CUE sheet; raise a `CueError` with the line if it is damaged."""
    parser = _Parser()
    for number, line in enumerate(text.replace("\0", "").splitlines(), 1):
        found = _COMMAND.match(line)
        if not found:
            continue
        value = found[2] if found[2] is not None else found[3] or ""
        try:
            parser.take(found[1].upper(), value.strip(), found[4])
        except CueError as error:
            raise CueError(f"line {number}: {error}") from None
    return parser.end()


class _Parser:
    def __init__(self) -> None:
        self._sheet = CueSheet()
        self._number: int | None = None  # of the track that is being read
        self._seen: set[int] = set()
        self._texts: dict[str, str] = {}
        self._is_audio, self._start_s = True, -1.0
        self._file: CueFile | None = None  # in which the track begins

    def take(self, command: str, value: str, rest: str) -> None:
        if command == "FILE":
            self._sheet.files.append(CueFile(value))
        elif command == "TRACK":
            self._finish()
            self._begin(value, rest)
        elif command == "INDEX":
            self._index(value, rest)
        elif command in ("TITLE", "PERFORMER") and self._number is not None:
            self._texts.setdefault(command, f"{value} {rest}".strip())
        elif command in ("TITLE", "PERFORMER"):
            name = command.lower()
            setattr(self._sheet, name, getattr(self._sheet, name) or f"{value} {rest}".strip() or None)
        elif command == "REM" and self._number is None:
            self._remark(value.upper(), rest.strip('" '))

    def _begin(self, value: str, kind: str) -> None:
        if not self._sheet.files:
            raise CueError("TRACK before the first FILE")
        if not value.isdecimal() or not 1 <= int(value) <= 999:
            raise CueError(f"TRACK {value}: expected a number from 1 to 99")
        if int(value) in self._seen:
            raise CueError(f"TRACK {value} is there twice")
        self._number, self._is_audio = int(value), kind.upper() in ("", "AUDIO")
        self._seen.add(self._number)

    def _index(self, value: str, rest: str) -> None:
        if self._number is None:
            raise CueError("INDEX before the first TRACK")
        time = _TIME.match(rest.strip('" '))
        if not value.isdecimal() or time is None or int(time[3]) >= _FRAMES:
            raise CueError(f"INDEX {value} {rest}: expected a number and mm:ss:ff, with up to 74 frames")
        if int(value) != 1:  # 0 is the start of the pause before the track, others divide it
            return
        self._file, self._start_s = self._sheet.files[-1], int(time[1]) * 60 + int(time[2]) + int(time[3]) / _FRAMES
        if self._file.tracks and self._start_s <= self._file.tracks[-1].start_s:
            raise CueError(f"INDEX 01 {rest} of TRACK {self._number} is not after the track before")

    def _remark(self, name: str, value: str) -> None:
        if name == "GENRE" and value:
            self._sheet.genre = value
        elif name == "DATE" and (year := _YEAR.search(value)):
            self._sheet.year = int(year[0])
        elif name == "DISCNUMBER" and value.isdecimal():
            self._sheet.disc_number = int(value) or None

    def _finish(self) -> None:
        if self._number is None:
            return
        if self._file is None:
            raise CueError(f"TRACK {self._number} above has no INDEX 01")
        title, performer = (self._texts.get(name) or None for name in ("TITLE", "PERFORMER"))
        self._file.tracks.append(CueTrack(self._number, self._start_s, title, performer, self._is_audio))
        self._number, self._file, self._texts = None, None, {}

    def end(self) -> CueSheet:
        """Return what was read."""
        self._finish()
        if not any(file.tracks for file in self._sheet.files):
            raise CueError("it lists no tracks")
        return self._sheet

"""Read the headers of scores as text: fourteen thousand take seconds, and would take hours with music21's parser."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Header:
    """The header of a score.

    Attributes
    ----------
    index : int
        Position of the tune in its file.
    metres : tuple of str
        Time signatures such as ``"6/8"``, in order of appearance.
    modes : frozenset of str
        All written modes: ``"major"``, ``"minor"`` or ``"other"``.
    fields : mapping of str to str
        ABC's ``R`` (rhythm), ``O`` (origin) and ``X`` (number).
    plain : bool
        Whether an ABC tune has a single voice without chords.
    """

    index: int
    title: str
    metres: tuple[str, ...]
    modes: frozenset[str]
    fields: Mapping[str, str] = field(default_factory=dict)
    plain: bool = True


def read_headers(path: Path) -> Iterator[Header]:
    """Read the header of every tune in an ABC, Humdrum or MusicXML file."""
    if path.suffix == ".abc":
        for index, text in enumerate(abc_tunes(path.read_text("utf-8"))):
            yield _abc_header(index, text)
    elif path.suffix == ".krn":
        yield _kern_header(path.read_text("latin-1"))
    else:
        yield _xml_header(path)


def abc_tunes(text: str) -> list[str]:
    """Split an ABC file into its tunes, each starting with its ``X:`` line."""
    return [part for part in re.split(r"(?m)^(?=X:\s*\d)", text) if part.startswith("X:")]


def _abc_header(index: int, text: str) -> Header:
    fields = {key: value.strip(" ]") for key, value in reversed(re.findall(r"(?m)^([TROX]):(.*)$", text))}
    metres = [value.strip().split(" ")[0] for value in re.findall(r"(?m)(?:^|\[)M:([^\]\n]*)", text)]
    keys = re.findall(r"(?m)(?:^|\[)K: *([A-Ga-g]?[b#]?) *([A-Za-z]*)", text)
    chords_or_voices = re.search(r"(?m)^V:|\[[_^=]*[A-Ga-g]|&", text)
    return Header(
        index=index,
        title=fields.get("T", ""),
        metres=tuple({"C": "4/4", "C|": "2/2"}.get(metre, metre) for metre in metres),
        modes=frozenset(_abc_mode(tonic, mode) for tonic, mode in keys),
        fields=fields,
        plain=chords_or_voices is None,
    )


def _abc_mode(tonic: str, mode: str) -> str:
    mode = mode.lower()
    if not tonic:
        return "other"
    if mode == "m" or mode.startswith("min"):
        return "minor"
    return "major" if not mode or mode.startswith("maj") else "other"


def _kern_header(text: str) -> Header:
    record = dict(re.findall(r"(?m)^!!!(OPR|OMD|OTL): *(.*?)\s*$", text))
    parts = [record[key] for key in ("OMD", "OTL") if key in record]
    metres = tuple(re.findall(r"\*M(\d+/\d+)", text))
    return Header(0, f"{record.get('OPR', '')}: {', '.join(parts)}", metres, frozenset())


def _xml_header(path: Path) -> Header:
    data = path.read_bytes()
    if path.suffix == ".mxl":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("xml") and "META-INF" not in name]
            data = archive.read(names[0])
    # Old versions of Sibelius and Finale wrote UTF-16.
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    metres = re.findall(r"<beats>(\d+)</beats>\s*<beat-type>(\d+)</beat-type>", text)
    modes = re.findall(r"<mode>(\w+)</mode>", text)
    return Header(0, _xml_title(path), tuple("/".join(metre) for metre in metres), frozenset(modes))


def _xml_title(path: Path) -> str:
    if path.parent.name == "bach":
        return f"Chorale {path.stem.upper().replace('BWV', 'BWV ')}"
    if path.parent.name == "monteverdi":
        book, number = path.stem.split(".")[1:3]
        return f"Madrigal, Book {book} No. {number}"
    if path.parent.name == "trecento":
        volume, _, title = path.stem.partition("-")
        return f"{title} ({volume})"
    return path.stem

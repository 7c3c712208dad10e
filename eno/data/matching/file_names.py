"""What the names of folders and files say about an album, where tags do not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

_DISC = r"(?:cd|dis[ck]|disque|digital media|vinyl|(?:bonus )(?:cd|dis[ck]))[\s_.#-]*(?P<disc>\d{1,2})"
_DISC_FOLDER = re.compile(rf"^{_DISC}\b.*$", re.IGNORECASE)
# "CD 2", "(Disc 2 of 3)", "[Disc 2: The Lost Demos]", but not "[Warp CD43]", which is a catalogue number.
_DISC_AT_END = re.compile(
    rf"[\s_,:;.–—-]*(?P<open>[(\[])?\b{_DISC}(?:\s*(?:of|/)\s*\d+)?(?(open)(?:\s*[:–—-]\s[^()\[\]]*)?\s*[)\]]?)\s*$",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_LEADING_YEAR = re.compile(r"^[(\[]?(?P<year>(?:19|20)\d\d)[)\]]?(?:\s*[-–.]\s*|\s+)(?=\S)")
_TECHNICAL = re.compile(r"\s*(?:\[[^\]]*\]|\{[^}]*\})|\s+\d+\s?k(?:bps|Hz)\b|\s+(?:FLAC|MP3|V0)$", re.IGNORECASE)
_YEAR_IN_BRACKETS = re.compile(r"\s*[(\[](?P<year>(?:19|20)\d\d)[)\]]")
_TRACK_NUMBER = re.compile(r"^(?:\(?\d{1,2}[-.]\d{1,2}|\(?[a-d]?\d{1,3})\)?(?:\s*[-–._]\s*|\s+)")
_FOLDERS_OF_NOBODY = frozenset(
    "music incoming new downloads download torrents unsorted audio flac mp3 albums misc temp tmp inbox complete library"
    .split()
)  # fmt: skip


@dataclass(frozen=True)
class Names:
    """Artist, title and year of an album, and titles of its tracks; empty if unknown."""

    artist: str = ""
    title: str = ""
    year: int | None = None
    tracks: tuple[str, ...] = ()


def album_folder(folder: str) -> str:
    """Return the parent of a folder that contains a single disc; return other folders unchanged.

    Examples
    --------
    >>> album_folder("Low/Double Negative/CD 2")
    'Low/Double Negative'
    """
    parent, _, name = folder.rpartition("/")
    return parent or "." if _DISC_FOLDER.match(name) else folder


def disc_of_folder(folder: str) -> int:
    """Return the number of the disc that a folder contains; 0 if its name does not say so."""
    name = folder.rpartition("/")[2]
    found = _DISC_FOLDER.match(name) or _DISC_AT_END.search(name)
    return int(found["disc"]) if found else 0


@lru_cache(maxsize=1 << 12)
def without_disc(title: str) -> str:
    """Return a title or folder without the number of a disc at the end.

    Examples
    --------
    >>> without_disc("Mellon Collie (Disc 2)")
    'Mellon Collie'
    """
    found = _DISC_AT_END.search(title)
    return title[: found.start()] if found and found.start() and title[: found.start()][-1] != "/" else title


def read_folder_name(name: str, parent: str) -> Names:
    """Read the name of the folder of an album, and of the folder above, which may be the artist.

    Examples
    --------
    >>> names = read_folder_name("Yo La Tengo - [2000] And Then Nothing {OLE 371-2}", "Music")
    >>> names.artist, names.title, names.year
    ('Yo La Tengo', 'And Then Nothing', 2000)
    >>> names = read_folder_name("The.White.Stripes-Elephant-CD-FLAC-2003-EMG", "Music")
    >>> names.artist, names.title, names.year
    ('The White Stripes', 'Elephant', 2003)
    """
    if " " not in name and name.count("-") >= 3 and _YEAR.search(name):
        fields = re.sub("[._]+", " ", name).split("-")
        year = next((int(field) for field in reversed(fields) if _YEAR.fullmatch(field)), None)
        return Names(fields[0], fields[1], year)
    years = [int(found["year"]) for found in _YEAR_IN_BRACKETS.finditer(name)]
    rest = _TECHNICAL.sub("", _YEAR_IN_BRACKETS.sub("", name)).strip() or name
    parts = [part.strip() for part in re.split(r"\s+[-–]\s+", rest)]
    parts = [part for part in parts if part] or [rest]
    years += [int(part) for part in parts if _YEAR.fullmatch(part)]
    kept = [part for part in parts if not _YEAR.fullmatch(part)] or parts
    if (leading := _LEADING_YEAR.match(kept[0])) and kept == parts:
        years.append(int(leading["year"]))
        kept[0] = kept[0][leading.end() :]
    artist = kept.pop(0) if len(kept) > 1 else "" if parent.lower() in _FOLDERS_OF_NOBODY else parent
    return Names(artist, " - ".join(kept), years[0] if years else None)


def read_file_names(names: Sequence[str]) -> Names:
    """Read the names of an album's files, such as "Mitski - Be the Cowboy - 01 - Geyser.flac"."""
    stems = [os.path.splitext(name)[0] for name in names]
    shared = _common_beginning(min(stems), max(stems)) if len(stems) > 2 else ""
    prefix = shared[: shared.rfind(" - ") + 3] if " - " in shared else ""
    tracks = tuple(_TRACK_NUMBER.sub("", stem[len(prefix) :]) for stem in stems)
    parts = [part for part in prefix.split(" - ") if part.strip()]
    return Names(parts[0], parts[1], None, tracks) if len(parts) == 2 else Names(tracks=tracks)


def _common_beginning(first: str, last: str) -> str:
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def repaired(text: str) -> str:
    """Return a text that was decoded with the wrong character set, such as "ÐšÐ¸Ð½Ð¾", as it was meant.

    A text of mostly accented Latin letters is taken for Windows-1251 if it is Cyrillic then.
    """
    letters = [char for char in text if char.isalpha()]
    if not letters or text.isascii():
        return text
    for source in ("cp1252", "latin-1"):
        try:
            return text.encode(source).decode("utf-8")
        except UnicodeError:
            continue
    accented = sum("\xc0" <= char <= "\xff" for char in letters)
    if accented >= 3 and accented * 5 >= len(letters) * 4:
        return text.encode("latin-1", "replace").decode("cp1251")
    return text

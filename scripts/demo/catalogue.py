"""The scores bundled with music21 that the demo corpus uses, and their known genres."""

from __future__ import annotations

import functools
import importlib.util
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eno.errors import MissingExtra
from scripts.demo.headers import Header, read_headers

Mode = Literal["major", "minor"]
Texture = Literal["monophonic", "polyphonic"]

METRES: Mapping[str, tuple[str, float]] = {
    "2/4": ("duple", 1.0),
    "4/4": ("duple", 1.0),
    "2/2": ("duple", 2.0),
    "4/2": ("duple", 2.0),
    "3/4": ("triple", 1.0),
    "3/2": ("triple", 2.0),
    "6/8": ("compound", 1.5),
    "9/8": ("compound", 1.5),
    "12/8": ("compound", 1.5),
    "6/4": ("compound", 3.0),
}
"""Written metre → class and beat in quarter notes; tunes in other metres are skipped."""

CREDITS: Mapping[str, tuple[str, str]] = {
    "airdsAirs": ("Aird's Airs", "Collection"),
    "bach": ("Johann Sebastian Bach", "Composer"),
    "essenFolksong": ("Essen Folksong Collection", "Collection"),
    "miscFolk": ("Northumbrian Minstrelsy", "Collection"),
    "monteverdi": ("Claudio Monteverdi", "Composer"),
    "oneills1850": ("O'Neill's Music of Ireland", "Collection"),
    "palestrina": ("Giovanni Pierluigi da Palestrina", "Composer"),
    "ryansMammoth": ("Ryan's Mammoth Collection", "Collection"),
    "trecento": ("Polyphonic Music of the Fourteenth Century", "Collection"),
}
"""Folder of music21's corpus → name and role of the credit for its tunes."""


@dataclass(frozen=True)
class Source:
    """Scores from one edition.

    Attributes
    ----------
    files : str
        Pattern relative to music21's corpus folder.
    modes : bool
        Whether the written mode is reliable; other sources contain a default value.
    """

    files: str
    texture: Texture = "monophonic"
    modes: bool = False


@dataclass(frozen=True)
class Style:
    """A style of music, whose tunes share the same genres.

    Attributes
    ----------
    name : str
        Start of the album titles.
    primary, secondary : tuple of str
        Genres, spelled as on RateYourMusic where it has them.
    weight : int
        Albums of this style per hundred.
    where : mapping of str to str
        Regular expressions that the header's title (``T``) and fields must match.
    """

    name: str
    source: Source
    primary: tuple[str, ...]
    secondary: tuple[str, ...]
    weight: int
    where: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Tune:
    """A score that can be rendered.

    Attributes
    ----------
    id : str
        Path in music21's corpus folder and position in the file, ``"ryansMammoth/X.abc#0"``.
    metre : {"duple", "triple", "compound"}
    beat_q : float
        The written beat in quarter notes.
    mode : {"major", "minor"} or None
        None if the written mode is not reliable.
    """

    id: str
    title: str
    style: Style
    metre: str
    beat_q: float
    mode: Mode | None

    @property
    def credit(self) -> tuple[str, str]:
        """Credited name and role."""
        return CREDITS[self.id.split("/")[0]]


AIRD = Source("airdsAirs/*.abc", modes=True)
BACH = Source("bach/*.mxl", "polyphonic", modes=True)
ESSEN = Source("essenFolksong/*.abc")
LUXEMBOURG = Source("essenFolksong/lux.abc")
MONTEVERDI = Source("monteverdi/madrigal.[34].*.mxl", "polyphonic")
NORTHUMBRIA = Source("miscFolk/northumbrian*.abc")
ONEILL = Source("oneills1850/*.abc", modes=True)
PALESTRINA = Source("palestrina/*.krn", "polyphonic")
RYAN = Source("ryansMammoth/*.abc", modes=True)
TRECENTO = Source("trecento/PMFC_*.xml", "polyphonic")

AMERICAN = ("American Folk Music",)
GERMAN = ("German Folk Music",)
HAN = ("Han Folk Music",)
IRISH = ("Irish Folk Music",)
MEDIEVAL = ("Medieval Classical Music",)
RENAISSANCE = ("Renaissance Music",)
SCOTTISH = ("Scottish Folk Music",)

CHINA = r"^China"
GERMANY = r"^(Europa, )?Mitteleuropa, Deutschland(?!.*([;/]|Niederlande))"
# Aird's airs were printed in Glasgow; tunes with another country in their title are excluded.
SCOTS = r"^(?!.*\b(Irish|English|French|German|Italian|Turk|Indian|American|Russian|Dutch|Negro|Welch))"
AIRS = r"^([1-5]?\d?\d|6[01]\d|62[0-5])$"  # O'Neill's first section, numbers 1 to 625
MASS = r"(Kyrie|Gloria|Credo|Sanctus|Agnus).*PMFC.(12|13|23)"

STYLES: tuple[Style, ...] = (
    Style("Jigs from O'Neill's", ONEILL, IRISH, ("Jig",), 3, {"R": r"^(double )?jig$"}),
    Style("Bach Chorales", BACH, ("Baroque Music",), ("Chorale",), 9),
    Style("Shan'ge", ESSEN, HAN, ("Shan'ge",), 4, {"O": CHINA, "R": r"^shange"}),
    Style("Palestrina Masses", PALESTRINA, RENAISSANCE, ("Mass", "Roman School"), 7),
    Style("Reels from Ryan's", RYAN, AMERICAN, ("Reel",), 4, {"R": r"^reel$"}),
    Style("German Ballads", ESSEN, GERMAN, ("Ballad",), 4, {"O": GERMANY, "R": r"\bballade\b"}),
    Style("Strathspeys from Ryan's", RYAN, SCOTTISH, ("Strathspey",), 3, {"R": r"^strathspey$"}),
    Style("Trecento Masses", TRECENTO, MEDIEVAL, ("Mass", "Ars nova"), 3, {"T": MASS}),
    Style("Airs from O'Neill's", ONEILL, IRISH, ("Air",), 5, {"X": AIRS, "R": r"^(air)?$"}),
    Style("Haozi", ESSEN, HAN, ("Haozi",), 3, {"O": CHINA, "R": r"^haozi"}),
    Style("Monteverdi Madrigals", MONTEVERDI, RENAISSANCE, ("Madrigal",), 3),
    Style("Jigs from Ryan's", RYAN, AMERICAN, ("Jig",), 4, {"R": r"^jig$"}),
    Style("Airs from Aird's", AIRD, SCOTTISH, (), 8, {"T": SCOTS}),
    Style("Kinderlieder", ESSEN, GERMAN, ("Children's Music",), 4, {"O": GERMANY, "R": r"^kinder"}),
    Style("Reels from O'Neill's", ONEILL, IRISH, ("Reel",), 4, {"R": r"^reel$"}),
    Style("Songs of Luxembourg", LUXEMBOURG, ("Luxembourgish Folk Music",), (), 6),
    Style("Hornpipes from Ryan's", RYAN, AMERICAN, ("Hornpipe",), 3, {"R": r"^hornpipe$"}),
    Style("Northumbrian Minstrelsy", NORTHUMBRIA, ("Northumbrian Folk Music",), (), 6),
    Style("Slip Jigs from O'Neill's", ONEILL, IRISH, ("Slip Jig",), 3, {"R": r"^slip ?jig$"}),
    Style("Xiaodiao", ESSEN, HAN, ("Xiaodiao",), 4, {"O": CHINA, "R": r"^xiaodiao"}),
    Style("Clogs from Ryan's", RYAN, AMERICAN, ("Clog",), 3, {"R": r"^clog$"}),
    Style("German Dance Songs", ESSEN, GERMAN, ("Dance Song",), 3, {"O": GERMANY, "R": r"\btanz - lied"}),
    Style("Hornpipes from O'Neill's", ONEILL, IRISH, ("Hornpipe",), 3, {"R": r"^hornpipe$"}),
    Style("Trecento Songs", TRECENTO, MEDIEVAL, ("Ars nova",), 1, {"T": r"PMFC.0"}),
)
"""The styles in the order in which albums are allocated to them."""

ALLA_BREVE = frozenset({"Reel", "Hornpipe", "Clog"})
"""Dances in 2/2, even if a collection writes 4/4."""


def corpus_folder() -> Path:
    """Return the folder of scores in the installed music21, without importing it."""
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise MissingExtra("demo", "music21")
    return Path(spec.origin).parent / "corpus"


@functools.cache  # the demo plans two corpora, and reading fourteen thousand headers takes seconds
def list_tunes() -> Mapping[Style, Sequence[Tune]]:
    """List the tunes of every style according to their headers, in the order of their files."""
    folder = corpus_folder()
    headers: dict[Path, list[Header]] = {}
    tunes: dict[Style, list[Tune]] = {}
    for style in STYLES:
        tunes[style] = []
        for path in sorted(folder.glob(style.source.files)):
            if path not in headers:
                headers[path] = list(read_headers(path))
            name = path.relative_to(folder).as_posix()
            found = (_tune(name, header, style) for header in headers[path])
            tunes[style] += [tune for tune in found if tune is not None]
    return tunes


def _tune(path: str, header: Header, style: Style) -> Tune | None:
    """Return the tune if its header fits the style and its metre, mode and texture are unambiguous."""
    values = {"T": header.title, **header.fields}
    if not all(re.search(want, values.get(key, ""), re.IGNORECASE) for key, want in style.where.items()):
        return None
    if style.source.texture == "monophonic" and not (header.plain and len(set(header.metres)) == 1):
        return None
    title = _clean_title(header.title)
    metre, beat_q = METRES.get(header.metres[0] if header.metres else "", ("", 0.0))
    if not title or not metre or (style.source.modes and header.modes not in ({"major"}, {"minor"})):
        return None
    mode: Mode | None = None
    if style.source.modes:
        mode = "major" if "major" in header.modes else "minor"
    if ALLA_BREVE & set(style.secondary) and header.metres[0] == "4/4":
        beat_q = 2.0
    return Tune(f"{path}#{header.index}", title, style, metre, beat_q, mode)


def _clean_title(title: str) -> str:
    title = "".join(letter for letter in title.replace("_", " ") if letter.isprintable()).strip(' ".,')
    title = re.sub(r",? S\. ?\d.*$", "", title)  # Essen adds the page of the source: "Trulala, S. 116"
    title = re.sub(r"^(.*), (the|a|an)$", r"\2 \1", title, flags=re.IGNORECASE)
    title = re.sub(r"[\s-]*-[\s-]*(jig|reel|hornpipe|clog|strathspey)s?\.?$", "", title, flags=re.IGNORECASE)
    return " ".join((string.capwords(title) if title.isupper() else title).strip(" .,-").split())

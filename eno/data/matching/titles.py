"""Parsing of album titles, regardless of editions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from eno.data.names import name_key

_PIECES = re.compile(r"([(\[{][^()\[\]{}]*[)\]}])|\s[-–—/]\s|[:;]\s|\s/|/\s")
_SLASH = re.compile(r"\s/\s|\s/|/\s")
_BRACKETS = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]")
_FEATURING = re.compile(r"[\s(\[]+(?:feat|ft|featuring)\b\.?\s[^)\]]*[)\]]?", re.IGNORECASE)
_DISC = re.compile(
    r"(?:^|[\s,:;–—-]+)(?:dis[ck]|cd|digital media)\s*(?P<number>\d+|one|two|three|four)(?:\s*(?:of|/)\s*\d+)?"
    r"(?:$|\s*[:–—-]\s)",
    re.IGNORECASE,
)
_KIND = re.compile(r"(?:^|[\s,–—-]+)(e\.?p\.?|l\.?p\.?|single|mixtape)\s*$", re.IGNORECASE)

# Words that name an edition of the same album …
EDITION = frozenset(
    """deluxe super remaster remastered remasters remastering expanded anniversary bonus edition editions reissue
    reissued special limited collector collectors legacy disc discs disk cd cds dvd lp vinyl sacd shm hdcd mfsl mofi
    mono stereo explicit clean edited parental advisory japan japanese uk us usa european import international digital
    digitally hi res hires hd bit khz 24bit 16bit flac mp3 320 320kbps v0 web ep single mixtape soundtrack ost score
    standard complete dolby atmos repress promo oknotok archive box set boxset rip unmixed""".split()
)
# … and words that may accompany them, but do not name an edition alone.
_BESIDE = frozenset(
    """the a an of with and for by from version versions original album box set box year years mix track tracks music
    motion picture film movie series tv official full plus content extra new release press pressing 24 16 44 48 96 192
    1 2 3 4 5 hq audio gold platinum diamond 45 180 collection archive""".split()
)
_ORDINAL_OR_YEAR = re.compile(r"(?:(?:19|20)\d\d|\d+(?:st|nd|rd|th))")
_CATALOGUE_NUMBER = re.compile(r"\s*(?:(?P<label>[A-Za-z]+) )?[A-Z]{2,}[ -]?\d{2,6}[A-Z]{0,3}\s*")
_COUNTED_DISCS = re.compile(r"\d+(?:cd|lp|dvd|x)s?")
_GLUED_NUMBER = re.compile(r"([^\W\d_]{2,}|v)(\d{1,3})")  # "White2", "V2"

# Words that name another recording of the same songs …
OTHER_RECORDING = frozenset(
    """live unplugged concert demo demos remix remixes remixed remodel remodels rework reworks reworked acoustic
    tribute sessions session outtakes rarities orchestral symphonic dub chopped screwed slowed alternate
    rerecorded reimagined revisited redux cover covers lullaby lullabies mashup bootleg alive tour""".split()
)
# … and those whose recordings are as long as the originals.
OTHER_MIX = frozenset("instrumental instrumentals karaoke acapella acappella commentary backing beats".split())
_NUMBER_WORDS = {word: str(n) for n, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
_ORDINALS = {word: str(n) for n, word in enumerate("first second third fourth fifth sixth seventh".split(), 1)}
_COUNTED = frozenset(
    "vol vols volume volumes v part parts pt pts chapter book act no nr number phase episode season issue".split()
)
_ROMAN = {
    numeral: str(n)
    for n, numeral in enumerate("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx".split(), 1)
}
_NUMERALS_THAT_ARE_WORDS = frozenset("ivx")
_PLAIN = re.compile(r"[^\W\d_]+(?: [^\W\d_]+)*")  # nothing but words: most titles
_ANY_EDITION = EDITION | {"feat", "ft", "featuring"}


@dataclass(frozen=True, slots=True)
class Title:
    """A parsed title."""

    words: tuple[str, ...]  # without those of an edition; numbers as digits
    pieces: frozenset[str]  # title, subtitles and bracketed parts, as `compact` spells them
    kind: str | None = None  # "ep", "lp", "single" or "mixtape" if the title contains it
    disc: int | None = None  # number of a disc that the title names
    edition: bool = False  # names an edition, which may have more songs than the album
    compact: str = ""  # the words without spaces, for lookups
    joined: frozenset[str] = frozenset()  # titles on both sides of a slash, as `compact` spells them


@lru_cache(maxsize=1 << 15)
def parse_title(text: str) -> Title:
    """Parse a title.

    Examples
    --------
    >>> title = parse_title("Use Your Illusion II (2022 Remaster) [Disc 2]")
    >>> title.words, title.disc, title.edition
    (('use', 'your', 'illusion', '2'), 2, True)
    >>> parse_title("Blue Room EP").kind
    'ep'
    """
    if _PLAIN.fullmatch(text) and (plain := _tokens(name_key(text))) and not _ANY_EDITION.intersection(plain):
        return Title(tuple(plain), frozenset({"".join(plain)}), compact="".join(plain))
    raw = [piece.strip() for piece in _PIECES.split(_FEATURING.sub(" ", text.replace("_", " "))) if piece]
    kept: list[str] = []
    kind = disc = None
    edition = False
    for piece in raw:
        inner = piece[1:-1] if piece[:1] in ("(", "[", "{") and len(piece) > 2 else piece
        if not _is_labels_number(inner) and (found := _DISC.search(inner)) and (kept or found.start()):
            disc = int(_NUMBER_WORDS.get(found["number"].lower(), found["number"]))
            inner = inner[: found.start()]
        if (named := _KIND.search(inner)) and (kept or name_key(inner[: named.start()])):
            kind = kind or named[1].replace(".", "").lower()
            inner = inner[: named.start()]
        if kept and _names_an_edition(inner):
            edition = True
            continue
        shorter = _without_edition_at_the_end(inner)
        edition |= shorter != inner
        if name_key(shorter):
            kept.append(shorter)
    kept = kept or [text]
    each = [_tokens(name_key(piece)) for piece in kept]
    words = tuple(token for tokens in each for token in tokens) or tuple(name_key(text).split())
    pieces = {"".join(tokens) for tokens in each} | {"".join(words)}
    sides = _SLASH.split(_BRACKETS.sub("", text)) if "/" in text else ()
    joined = frozenset("".join(_tokens(name_key(side))) for side in sides) if len(sides) > 1 else frozenset()
    return Title(words, frozenset(pieces - {""}), kind, disc, edition, "".join(words), joined)


def _is_labels_number(text: str) -> bool:
    """Whether a text is a number in a label's catalogue, after the name of the label, such as "Warp CD43"."""
    found = _CATALOGUE_NUMBER.fullmatch(text)
    return found is not None and found["label"] is not None and not _is_edition(name_key(found["label"]))


def _names_an_edition(text: str) -> bool:
    words = name_key(text).split()
    if any(word in OTHER_RECORDING or word in OTHER_MIX for word in words):
        return False
    if _CATALOGUE_NUMBER.fullmatch(text) or (words and all(map(_ORDINAL_OR_YEAR.fullmatch, words))):
        return True
    known = [word in _BESIDE or _is_edition(word) for word in words]
    # "Collector's Edition", "Rough Trade Edition"
    named = bool(words) and words[-1] in ("edition", "remaster", "reissue", "remastered", "soundtrack", "bonus")
    return (all(known) or named) and any(word in EDITION or _COUNTED_DISCS.fullmatch(word) for word in words)


def _is_edition(word: str) -> bool:
    return word in EDITION or bool(_ORDINAL_OR_YEAR.fullmatch(word) or _COUNTED_DISCS.fullmatch(word))


def _without_edition_at_the_end(text: str) -> str:
    words = text.split()
    end = len(words)
    while end > 1 and _is_edition_word(words[end - 1]):
        end -= 1
    tail = {name_key(word) for word in words[end:]}
    return " ".join(words[:end]) if tail & (EDITION - {"us", "uk", "single", "score"}) and end < len(words) else text


def _is_edition_word(word: str) -> bool:
    key = name_key(word)
    return key in ("version", "original", "and") or _is_edition(key)


def _tokens(key: str) -> list[str]:
    """Split a key into words, with all numbers as digits and without "volume" or "part" before them."""
    split = [part for token in key.split() for part in _unglue(token)]
    words: list[str] = []
    counted = False
    for i, token in enumerate(split):
        following = split[i + 1] if i + 1 < len(split) else ""
        if token in _COUNTED and (following.isdecimal() or following in _ROMAN or following in _NUMBER_WORDS):
            counted = True
            continue
        last = i == len(split) - 1 and (i == 0 or len(split[i - 1]) > 1) and len(split) > 1
        if token.isdecimal() and token.isascii():
            words.append(str(int(token)))
        elif token in _ROMAN and (counted or last or token not in _NUMERALS_THAT_ARE_WORDS):
            words.append(_ROMAN[token])
        else:
            words.append(_NUMBER_WORDS.get(token) or _ORDINALS.get(token) or token)
        counted = False
    return words


def _unglue(token: str) -> tuple[str, ...]:
    glued = _GLUED_NUMBER.fullmatch(token)
    return (glued[1], glued[2]) if glued else (token,)

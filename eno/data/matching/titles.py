"""Parsing and comparison of album titles, regardless of editions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from eno.data.names import name_key

_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
_TAIL = re.compile(r"(?:\s+[-–—]|[:;,])\s+([^-–—:;,]+)$")
_FEATURING = re.compile(r"[\s(\[]+(?:feat|ft|featuring)\b\.?\s[^)\]]*[)\]]?", re.IGNORECASE)
_DISC = re.compile(
    r"\s*[(\[]\s*(?:dis[ck]|cd)\s*(?P<in>\d+|one|two|three|four)\b[^)\]]*[)\]]\s*$"
    r"|[\s,:;–—-]+(?:dis[ck]|cd)\s*(?P<out>\d+|one|two|three|four)\b[^)\]]*$",
    re.IGNORECASE,
)
_KIND = re.compile(r"[\s,:(\[–—-]+(e\.?p\.?|l\.?p\.?|single|mixtape)[)\]]?\s*$", re.IGNORECASE)
_SUBTITLE = re.compile(r"\s*(?::|\s[-–—]\s|/|\()\s*")

# Words that name an edition of the same album …
_EDITION = frozenset(
    """deluxe super remaster remastered remasters remastering expanded anniversary bonus edition editions reissue
    reissued special limited collector collectors legacy disc discs disk cd cds dvd lp vinyl sacd shm hdcd mfsl mofi
    mono stereo explicit clean edited parental advisory japan japanese uk us usa european import international digital
    digitally hi res hires hd bit khz 24bit 16bit flac mp3 320 320kbps v0 web ep single mixtape soundtrack ost score
    standard complete dolby atmos repress promo oknotok""".split()
)
# … and words that may accompany them, but do not name an edition alone.
_BESIDE = frozenset(
    """the a an of with and for by from version versions original album set box year years mix track tracks music
    motion picture film movie series tv official full plus content extra new release press pressing 24 16 44 48 96 192
    1 2 3 4 5 hq audio gold platinum diamond""".split()
)
_DIGITS = re.compile(r"\d")
_ORDINAL_OR_YEAR = re.compile(r"(?:(?:19|20)\d\d|\d+(?:st|nd|rd|th))")
_CATALOGUE_NUMBER = re.compile(r"\s*(?:[A-Za-z]+ )?[A-Z]{2,}[ -]?\d{2,6}[A-Z]{0,3}\s*")
_COUNTED_DISCS = re.compile(r"\d+(?:cd|lp|dvd)s?")

# Words that name another recording of the same songs.
_VERSIONS = {
    "live": "live", "unplugged": "live", "concert": "live", "demo": "demo", "demos": "demo", "remix": "remix",
    "remixes": "remix", "remixed": "remix", "instrumental": "instrumental", "instrumentals": "instrumental",
    "acoustic": "acoustic", "karaoke": "karaoke", "tribute": "tribute", "sessions": "sessions", "session": "sessions",
    "outtakes": "outtakes", "rarities": "rarities", "acapella": "a cappella", "acappella": "a cappella",
    "orchestral": "orchestral", "symphonic": "orchestral", "dub": "dub", "chopped": "chopped", "screwed": "chopped",
    "slowed": "chopped", "alternate": "alternate", "commentary": "commentary", "rerecorded": "recorded again",
    "reimagined": "recorded again", "revisited": "recorded again", "redux": "recorded again", "cover": "cover",
    "covers": "cover", "lullaby": "cover", "lullabies": "cover", "mashup": "remix", "bootleg": "live",
}  # fmt: skip
_IMPLIED = _VERSIONS | {"alive": "live", "tour": "live"}

_NUMBER_WORDS = {word: str(n) for n, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
_COUNTED = frozenset("vol volume volumes part parts pt pts chapter book act no nr number phase episode season".split())
_ROMAN = {
    numeral: str(n)
    for n, numeral in enumerate("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx".split(), 1)
}
_NUMERALS_THAT_ARE_WORDS = frozenset("ivx")


@dataclass(frozen=True)
class Title:
    """A parsed title."""

    words: str  # the title without numbers, as `eno.data.names.name_key` spells it
    numbers: tuple[str, ...]  # volumes, parts, years and all other numbers, in order
    versions: frozenset[str]  # other recordings, such as "live" or "remix"
    kind: str | None  # "ep", "lp", "single" or "mixtape" if the title contains it
    main: str  # `words` without a subtitle
    further_disc: bool = False  # names a disc after the first, whose songs may not be on the album
    edition: bool = False  # names an edition, which may have more songs than the album

    @property
    def compact(self) -> str:
        """`words` and `numbers` without spaces, for lookups."""
        return self.words.replace(" ", "") + "#".join(("", *self.numbers))


def parse_title(text: str) -> Title:
    """Parse a title.

    Examples
    --------
    >>> title = parse_title("Use Your Illusion II (2022 Remaster) [Disc 1]")
    >>> title.words, title.numbers, title.further_disc
    ('use your illusion', ('2',), False)
    >>> sorted(parse_title("Adore (Live)").versions), parse_title("Blue Room EP").kind
    (['live'], 'ep')
    """
    rest = _FEATURING.sub(" ", text.replace("_", " "))
    disc = _DISC.search(rest)
    rest = _DISC.sub("", rest) or text
    versions: set[str] = set()

    def without_edition(match: re.Match[str]) -> str:
        inside, elsewhere = match[1], rest[: match.start()] + rest[match.end() :]
        if not name_key(elsewhere):
            return match[0]
        if version := _version(inside):
            versions.add(version)
            return " "
        return " " if _names_an_edition(inside) else match[0]

    rest = _BRACKETS.sub(without_edition, rest)
    kind, rest = _take_kind(rest)
    rest = _TAIL.sub(without_edition, rest)
    if kind is None:
        kind, rest = _take_kind(rest)
    rest = _without_edition_at_the_end(rest)
    words, numbers = _separate_numbers(name_key(rest))
    main, _ = _separate_numbers(name_key(_SUBTITLE.split(rest.strip(), maxsplit=1)[0]))
    further_disc = disc is not None and (disc["in"] or disc["out"]).lower() not in ("1", "01", "one")
    edition = any(map(_is_edition, name_key(text).split()))
    return Title(words, numbers, frozenset(versions), kind, main or words, further_disc, edition)


def title_similarity(one: Title, other: Title) -> float:
    """Compare two titles by the same artist.

    The result is 1 if they are the same, at least 0.9 for misspellings, 0.8 if one contains the other, 0.75 for another
    recording such as a live album, and 0 for another album. Titles with different numbers are different albums.
    """
    if sorted(one.numbers) != sorted(other.numbers):
        return 0.0
    similarity = spelling_similarity(one.words, other.words)
    if similarity == 0.0:
        shorter, longer = sorted((one.words.split(), other.words.split()), key=len)
        within = len(shorter) >= 2 and set(shorter) <= set(longer)
        if not (within or one.main == other.words or one.words == other.main):
            return 0.0
        similarity = 0.8
    differing = one.versions ^ other.versions
    implied = {_IMPLIED.get(word) for word in (*one.words.split(), *other.words.split())}
    return min(similarity, 0.75) if differing - implied else similarity


def spelling_similarity(one: str, other: str) -> float:
    """Compare two keys, allowing for misspellings in long ones.

    The result is 1 if they are the same, 0.99 for the same words in another order, 0.92 to 0.96 for one to three
    misspelt letters, else 0.
    """
    if one == other or one.replace(" ", "") == other.replace(" ", ""):
        return 1.0
    if sorted(one.split()) == sorted(other.split()):
        return 0.99
    if _DIGITS.findall(one) != _DIGITS.findall(other):
        return 0.0
    length = min(len(one), len(other))
    allowed = 0 if length < 5 else 1 if length < 9 else 2 if length < 16 else 3
    errors = OSA.distance(one, other, score_cutoff=allowed)
    return 0.98 - 0.02 * errors if errors <= allowed else 0.0


def _version(text: str) -> str | None:
    return next((_VERSIONS[word] for word in name_key(text).split() if word in _VERSIONS), None)


def _names_an_edition(text: str) -> bool:
    words = name_key(text).split()
    if _CATALOGUE_NUMBER.fullmatch(text) or all(map(_ORDINAL_OR_YEAR.fullmatch, words)):
        return True
    known = [word in _BESIDE or _is_edition(word) for word in words]
    # "Collector's Edition", "Rough Trade Edition"
    named = bool(words) and words[-1] in ("edition", "remaster", "reissue", "remastered", "soundtrack", "bonus")
    return (all(known) or named) and any(word in _EDITION or _COUNTED_DISCS.fullmatch(word) for word in words)


def _is_edition(word: str) -> bool:
    return word in _EDITION or bool(_ORDINAL_OR_YEAR.fullmatch(word) or _COUNTED_DISCS.fullmatch(word))


def _take_kind(text: str) -> tuple[str | None, str]:
    match = _KIND.search(text)
    if not match or not name_key(text[: match.start()]):
        return None, text
    return match[1].replace(".", "").lower(), text[: match.start()]


def _without_edition_at_the_end(text: str) -> str:
    words = text.split()
    end = len(words)
    while end > 1 and _is_edition_word(words[end - 1]):
        end -= 1
    tail = {name_key(word) for word in words[end:]}
    return " ".join(words[:end]) if tail & (_EDITION - {"us", "uk", "single", "score"}) and end < len(words) else text


def _is_edition_word(word: str) -> bool:
    key = name_key(word)
    return key in ("version", "original", "and") or _is_edition(key)


def _separate_numbers(key: str) -> tuple[str, tuple[str, ...]]:
    tokens = key.split()
    words, numbers = [], []
    counted = False
    for i, token in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else ""
        if token in _COUNTED and (following.isdecimal() or following in _ROMAN or following in _NUMBER_WORDS):
            counted = True
            continue
        last = i == len(tokens) - 1 and i > 0 and len(tokens[i - 1]) > 1
        if token.isdecimal():
            numbers.append(str(int(token)))
        elif token in _ROMAN and (counted or last or token not in _NUMERALS_THAT_ARE_WORDS):
            numbers.append(_ROMAN[token])
        elif counted and token in _NUMBER_WORDS:
            numbers.append(_NUMBER_WORDS[token])
        else:
            words.append(token)
        counted = False
    return " ".join(words), tuple(numbers)

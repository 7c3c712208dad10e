"""Parsing and comparison of album titles, regardless of editions."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from eno.data.names import name_key

_PIECES = re.compile(r"([(\[{][^()\[\]{}]*[)\]}])|\s[-–—/]\s|[:;]\s|\s/|/\s")
_SLASH = re.compile(r"\s/\s|\s/|/\s")
_BRACKETS = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]")
_FEATURING = re.compile(r"[\s(\[]+(?:feat|ft|featuring)\b\.?\s[^)\]]*[)\]]?", re.IGNORECASE)
_DISC = re.compile(
    r"(?:^|[\s,:;–—-]+)(?:dis[ck]|cd|digital media)\s*(?P<number>\d+|one|two|three|four)(?:\s*(?:of|/)\s*\d+)?$",
    re.IGNORECASE,
)
_KIND = re.compile(r"(?:^|[\s,–—-]+)(e\.?p\.?|l\.?p\.?|single|mixtape)\s*$", re.IGNORECASE)

# Words that name an edition of the same album …
_EDITION = frozenset(
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
# Words whose presence in only one of two titles means nothing, even outside brackets.
_NEUTRAL = (_EDITION - {"us", "uk", "single", "set"}) | frozenset(
    """the a an of and in on at to for by from with de la le el der die das und et y tha n original motion picture film
    movie music album version game official recording sound track volume issue no nr""".split()
)
_DIGITS = re.compile(r"\d")
_ORDINAL_OR_YEAR = re.compile(r"(?:(?:19|20)\d\d|\d+(?:st|nd|rd|th))")
_CATALOGUE_NUMBER = re.compile(r"\s*(?:[A-Za-z]+ )?[A-Z]{2,}[ -]?\d{2,6}[A-Z]{0,3}\s*")
_COUNTED_DISCS = re.compile(r"\d+(?:cd|lp|dvd|x)s?")
_GLUED_NUMBER = re.compile(r"([^\W\d_]{2,})(\d{1,3})")

# Words that name another recording of the same songs …
_OTHER_RECORDING = frozenset(
    """live unplugged concert demo demos remix remixes remixed remodel remodels rework reworks reworked acoustic
    tribute sessions session outtakes rarities orchestral symphonic dub chopped screwed slowed alternate
    rerecorded reimagined revisited redux cover covers lullaby lullabies mashup bootleg alive tour""".split()
)
# … and those whose recordings are as long as the originals.
_OTHER_MIX = frozenset("instrumental instrumentals karaoke acapella acappella commentary backing beats".split())
_COMPARED_APART = _NEUTRAL | _OTHER_RECORDING | _OTHER_MIX
_COLLECTION = frozenset("best hits singles greatest anthology essential essentials collection".split())

_NUMBER_WORDS = {word: str(n) for n, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
_ORDINALS = {word: str(n) for n, word in enumerate("first second third fourth fifth sixth seventh".split(), 1)}
_COUNTED = frozenset(
    "vol vols volume volumes part parts pt pts chapter book act no nr number phase episode season issue".split()
)
_ROMAN = {
    numeral: str(n)
    for n, numeral in enumerate("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx".split(), 1)
}
_NUMERALS_THAT_ARE_WORDS = frozenset("ivx")
_PLAIN = re.compile(r"[^\W\d_]+(?: [^\W\d_]+)*")  # nothing but words: most titles
_ANY_EDITION = _EDITION | {"feat", "ft", "featuring"}
_LONG = 8  # letters of a beginning that two titles do not share by chance
_CUT_AT = 24  # characters; shorter titles are not cut off by old tags


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


@dataclass(frozen=True, slots=True)
class TitleComparison:
    """How two titles agree: levels of evidence, as `eno.data.matching.evidence` lists them."""

    title: str
    numbers: str = "none"
    version: str = "same"


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
        if (found := _DISC.search(inner)) and (kept or found.start()):
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


def compare_titles(local: Title, listed: Title, names: AbstractSet[str] = frozenset()) -> TitleComparison:
    """Compare the title of a local album with a listed one; `names` are the words of their artists' names.

    Words of editions and of the artists count for nothing; numbers, and words that name another recording, are reported
    separately if only one title has them.
    """
    if not local.words:
        return TitleComparison("missing")
    if local.compact == listed.compact:
        return TitleComparison("same", "same" if any(map(str.isdecimal, local.words)) else "none")
    lacking = list(listed.words)
    extra, shared = [], []
    for word in local.words:
        if word in lacking:
            lacking.remove(word)
            shared.append(word)
        else:
            extra.append(word)
    misspelt = _pair_misspelt(extra, lacking, shared)
    numbers = _compare_numbers(
        [word for word in extra if word.isdecimal()], [word for word in lacking if word.isdecimal()], shared
    )
    version = _compare_versions(extra, lacking, shared)
    more, fewer = (
        [word for word in words if word not in _COMPARED_APART and word not in names and not word.isdecimal()]
        for words in (extra, lacking)
    )
    level = _title_level(local, listed, (shared, more, fewer), misspelt, names)
    return TitleComparison(level, "none" if level == "cut" else numbers, version)


def _title_level(
    local: Title, listed: Title, words: tuple[list[str], list[str], list[str]], misspelt: bool, names: AbstractSet[str]
) -> str:
    shared, more, fewer = words
    telling = [word for word in shared if word not in _NEUTRAL and word not in names]
    if listed.compact in local.joined or local.compact in listed.joined:
        return "local has two titles" if local.joined else "listed has two titles"
    if not more and not fewer:
        if not shared:  # nothing but neutral words, numbers and names differ
            return "edition" if local.words and listed.words and _only_names(local, listed, names) else "different"
        return "misspelt" if misspelt else "edition"
    if (
        spelling_similarity(" ".join(local.words), " ".join(listed.words)) > 0
        and fuzz.ratio(*map("".join, (more, fewer))) >= 70
    ):
        return "misspelt"
    if len(local.compact) >= _CUT_AT - 4 and listed.compact.startswith(local.compact):
        return "cut"
    if (more and fewer) or not shared:
        if local.pieces & listed.pieces and (telling or not names):
            return "piece of both"
        if _begins(local.pieces, listed) or _begins(listed.pieces, local):
            return "similar"
        weight = sum(map(len, telling))
        larger = max(sum(map(len, more)), sum(map(len, fewer)))
        return "similar" if weight >= 2 * larger else "slight" if weight >= larger and weight >= 4 else "different"
    longer, shorter, side = (local, listed, "local") if more else (listed, local, "listed")
    if shorter.compact in longer.pieces and telling:
        return f"{side} has a subtitle"
    weight, left = sum(map(len, telling)), sum(map(len, more or fewer))
    return f"{side} is longer" if weight * 2 >= left and weight >= 4 else "slight" if telling else "different"


def _begins(pieces: AbstractSet[str], other: Title) -> bool:
    """Whether a title begins like a piece of another, as those of discs do: "Mellon Collie: Dawn to Dusk"."""
    return any(len(piece) >= _LONG and other.compact.startswith(piece) for piece in pieces)


def _only_names(local: Title, listed: Title, names: AbstractSet[str]) -> bool:
    """Whether both titles consist of names of the artist, such as "Chicago" and "Chicago 2"."""
    return all(any(word in names for word in title.words) for title in (local, listed))


def _pair_misspelt(extra: list[str], lacking: list[str], shared: list[str]) -> bool:
    """Move words that differ by few letters from both lists to the shared ones, and report whether there were any."""
    found = False
    for word in list(extra):
        if len(word) < 4 or word.isdecimal():
            continue
        near = next((other for other in lacking if _is_misspelt(word, other)), None)
        if near is not None:
            extra.remove(word)
            lacking.remove(near)
            shared.append(word)
            found = True
    return found


def _is_misspelt(word: str, other: str) -> bool:
    """Whether two different words differ by few letters, or by a plural."""
    if abs(len(word) - len(other)) > 3 or other.isdecimal():
        return False
    plural = len(word) >= 5 and word.rstrip("s") == other.rstrip("s")
    return plural or _errors(word, other) > 0


def _compare_numbers(extra: list[str], lacking: list[str], shared: list[str]) -> str:
    if extra and lacking:
        short = [{number[-2:] for number in side if len(number) in (2, 4)} for side in (extra, lacking)]
        return "same" if short[0] and short[0] == short[1] else "other"
    if not extra and not lacking:
        return "same" if any(map(str.isdecimal, shared)) else "none"
    only = extra or lacking
    if all(number == "1" for number in only):
        return "first"
    if all(len(number) == 4 and number[:2] in ("19", "20") for number in only):
        return "year"
    return "only local" if extra else "only listed"


def _compare_versions(extra: list[str], lacking: list[str], shared: list[str]) -> str:
    if any(word in _OTHER_MIX for word in (*extra, *lacking)):
        return "other mix"
    if any(word in _OTHER_RECORDING for word in shared):
        return "same"
    if any(word in _OTHER_RECORDING for word in extra):
        return "only local"
    if any(word in _OTHER_RECORDING for word in lacking):
        return "only listed"
    return "collection" if any(word in _COLLECTION for word in (*extra, *lacking)) else "same"


@lru_cache(maxsize=1 << 16)
def spelling_similarity(one: str, other: str) -> float:
    """Compare two keys, allowing for misspellings in long ones.

    The result is 1 if they are the same, 0.99 for the same words in another order, 0.92 to 0.96 for one to three
    misspelt letters, else 0.
    """
    if one == other or one.replace(" ", "") == other.replace(" ", ""):
        return 1.0
    if sorted(one.split()) == sorted(other.split()):
        return 0.99
    errors = _errors(one, other)
    return 0.98 - 0.02 * errors if errors else 0.0


def _errors(one: str, other: str) -> int:
    """Return by how many letters two different texts differ; 0 if by too many, or if their digits differ."""
    length = min(len(one), len(other))
    allowed = 0 if length < 5 else 1 if length < 9 else 2 if length < 16 else 3
    errors = OSA.distance(one, other, score_cutoff=allowed)
    return errors if errors <= allowed and _DIGITS.findall(one) == _DIGITS.findall(other) else 0


def _names_an_edition(text: str) -> bool:
    words = name_key(text).split()
    if any(word in _OTHER_RECORDING or word in _OTHER_MIX for word in words):
        return False
    if _CATALOGUE_NUMBER.fullmatch(text) or (words and all(map(_ORDINAL_OR_YEAR.fullmatch, words))):
        return True
    known = [word in _BESIDE or _is_edition(word) for word in words]
    # "Collector's Edition", "Rough Trade Edition"
    named = bool(words) and words[-1] in ("edition", "remaster", "reissue", "remastered", "soundtrack", "bonus")
    return (all(known) or named) and any(word in _EDITION or _COUNTED_DISCS.fullmatch(word) for word in words)


def _is_edition(word: str) -> bool:
    return word in _EDITION or bool(_ORDINAL_OR_YEAR.fullmatch(word) or _COUNTED_DISCS.fullmatch(word))


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

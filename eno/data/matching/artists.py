"""Artist credits of albums, in tags and in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rapidfuzz import fuzz

from eno.data.matching.spelling import spelling_similarity
from eno.data.names import name_key

VARIOUS_ARTISTS = "Various Artists"

# What players, stores and rippers write instead of an artist. Single words that are also artists (Diverse, Divers) are
# left out; `eno.data.matching.grouping` recognises other compilations by the artists of their tracks.
_VARIOUS_ARTISTS = frozenset(
    map(
        name_key,
        (
            VARIOUS_ARTISTS, "Various", "Various Artist", "Soundtrack", "OST", "Original Soundtrack", "Compilation",
            "Various Performers", "Various Composers", "Multiple Artists",
            "Mixed Artists", "VA", "V/A", "V.V.A.A.", "VV.AA.", "AA.VV.", "AAVV", "Varios",
            "Varios Artistas", "Varios Intérpretes", "Artistas Varios", "Diversos Artistas", "Artistas Diversos",
            "Vários", "Vários Artistas", "Vários Intérpretes", "Artistas Variados", "Diversos Intérpretes",
            "Diversos Artistes", "Diversos Intèrprets", "Hainbat Artista", "Artistes Divers", "Divers Artistes",
            "Artistes Variés", "Interprètes Divers", "Divers Interprètes", "Multi-interprètes", "Artistes Multiples",
            "Artisti Vari", "Vari Artisti", "Autori Vari", "Interpreti Vari", "Artisti Diversi", "Diverși Artiști",
            "Verschiedene", "Verschiedene Interpreten", "Verschiedene Künstler", "Diverse Interpreten",
            "Diverse Künstler", "Unterschiedliche Interpreten", "Diverse Artiesten", "Verschillende Artiesten",
            "Diverse Uitvoerenden", "Diverse Artister", "Blandade Artister", "Olika Artister", "Ulike Artister",
            "Forskjellige Artister", "Diverse Kunstnere", "Forskellige Kunstnere", "Blandede Kunstnere",
            "Ýmsir Flytjendur", "Ýmsir Listamenn", "Eri Esittäjiä", "Eri Artisteja", "Erinevad Esitajad",
            "Erinevad Artistid", "Dažādi Izpildītāji", "Įvairūs Atlikėjai", "Różni Wykonawcy", "Różni Artyści",
            "Wykonawcy Różni", "Různí Interpreti", "Různí Umělci", "Rôzni Interpreti", "Rôzni Umelci",
            "Razni Izvođači", "Različni Izvajalci", "Különböző Előadók", "Válogatás", "Çeşitli Sanatçılar",
            "Karışık Sanatçılar", "Разные исполнители", "Различные исполнители", "Разные артисты",
            "Різні виконавці", "Розныя выканаўцы", "Разни изпълнители", "Разни извођачи", "Διάφοροι Καλλιτέχνες",
            "Διάφοροι", "אמנים שונים", "فنانون متنوعون", "فنانون مختلفون", "هنرمندان مختلف", "विभिन्न कलाकार",
            "ศิลปินหลายคน", "รวมศิลปิน", "Nhiều Nghệ Sĩ", "Berbagai Artis", "Pelbagai Artis", "ヴァリアス・アーティスト",
            "ヴァリアス", "ヴァリアス・アーティスツ", "バリアス・アーティスト", "オムニバス", "様々なアーティスト",
            "群星", "华语群星", "合輯", "合辑", "多位艺人", "多位藝人", "여러 아티스트", "다양한 아티스트", "여러 가수",
        ),
    )
)  # fmt: skip
# What players and rippers write if they do not know the artist, and MusicBrainz's artists for special purposes.
_UNKNOWN_ARTISTS = frozenset(
    map(
        name_key,
        (
            "Unknown Artist", "Artist Unknown", "[unknown]", "[no artist]", "[anonymous]", "[traditional]",
            "Unbekannter Künstler", "Unbekannter Interpret", "Artiste inconnu", "Artista desconocido",
            "Artista desconhecido", "Artista sconosciuto", "Onbekende artiest", "Ukendt kunstner", "Ukjent artist",
            "Okänd artist", "Tuntematon esittäjä", "Nieznany wykonawca", "Neznámý interpret", "Ismeretlen előadó",
            "Bilinmeyen Sanatçı", "Неизвестный исполнитель", "Невідомий виконавець", "Άγνωστος καλλιτέχνης",
            "不明なアーティスト", "未知艺术家", "未知藝人", "알 수 없는 아티스트",
        ),
    )
)  # fmt: skip
_FEATURING = re.compile(r"[\s(\[]+(?:feat|ft|featuring)\b\.?\s.*$", re.IGNORECASE)
_JOINTS = re.compile(
    r"\s*(?:;|/|,|&|\+|\||×|\band\b|\bwith\b|\bvs\b\.?|\s[xX]\s|\bfeat\b\.?|\bft\b\.?)\s*", re.IGNORECASE
)
_BRACKETED = re.compile(r"^(.*\S)\s*[\[(]([^\[\]()]+)[\])]$")
_MANY = 0.3  # share of the tracks by the artists of an album
_DISAMBIGUATION = re.compile(r"[-_]f?\d+$")


def main_artist(text: str) -> str:
    """Return a credit without its guests ("feat.").

    Examples
    --------
    >>> main_artist("Massive Attack feat. Hope Sandoval")
    'Massive Attack'
    """
    return _FEATURING.sub("", text) or text


def is_various(key: str) -> bool:
    """Whether a key means "Various Artists", in any language."""
    return key in _VARIOUS_ARTISTS


def is_nobody(key: str) -> bool:
    """Whether a key stands for no artist in particular: "Various Artists" or "Unknown Artist", in any language."""
    return is_various(key) or key in _UNKNOWN_ARTISTS


def artist_key(name: str | None, file_name: str | None) -> str | None:
    """Return the key of an artist in the catalogue; None if it names nobody; see `is_nobody`."""
    slug = name_key((file_name or "").rpartition("/")[2])
    key = name_key(name or "") or slug
    return None if not key or is_nobody(key) or is_nobody(slug) else key


@dataclass(frozen=True)
class Credit:
    """An artist credit in all its spellings, as keys from `eno.data.names.name_key`."""

    wholes: frozenset[str]  # of the whole credit
    artists: tuple[frozenset[str], ...]  # of each artist, including transliterations
    parts: frozenset[str]  # names joined in the credit, such as "Nick Cave" and "The Bad Seeds"

    @property
    def various(self) -> bool:
        """Whether the credit is to "Various Artists"."""
        return not _VARIOUS_ARTISTS.isdisjoint(self.wholes)

    @cached_property
    def words(self) -> frozenset[str]:
        """All words of the names."""
        return frozenset(word for key in (*self.wholes, *self.parts) for word in key.split())

    @cached_property
    def keys(self) -> frozenset[str]:
        """All spellings without spaces and regardless of the order of their words, for lookups."""
        spellings = {key for keys in (self.wholes, self.parts, *self.artists) for key in keys}
        return frozenset(key for one in spellings if not is_nobody(key := "".join(sorted(one.split()))))

    @cached_property
    def last_words(self) -> frozenset[str]:
        """The last words of the names, such as surnames, unless they are short."""
        last = {key.split()[-1] for key in self.parts if key and not is_various(key)}
        return frozenset(word for word in last if len(word) > 3)


def credit_of_album(artists: Iterable[tuple[str | None, str | None]]) -> Credit:
    """Build the credit of an album in the catalogue from name and ``file_name`` of each artist.

    RateYourMusic shows names in their original script, often with a transliteration in brackets; the ``file_name`` is
    another transliteration.
    """
    artists = list(artists)
    each = []
    for name, file_name in artists:
        slug = _DISAMBIGUATION.sub("", (file_name or "").rpartition("/")[2])
        each.append(frozenset(_spellings(name or "") | {name_key(slug.replace("-", " "))} - {""}))
    names = [name or "" for name, _ in artists]
    wholes = {" and ".join(map(name_key, names))} | (each[0] if len(each) == 1 else set())
    return Credit(frozenset(wholes - {""}), tuple(each), frozenset(_parts(" & ".join(names))))


@lru_cache(maxsize=1 << 15)
def credit_of_tag(text: str) -> Credit:
    """Build the credit of a tag, such as ``"Beatles, The"`` or ``"Iron & Wine; Calexico"``."""
    text = main_artist(text)
    parts = _parts(text)
    return Credit(frozenset(_spellings(text)), tuple(frozenset({part}) for part in parts), frozenset(parts))


def credit_similarity(tagged: Credit, album: Credit) -> float:
    """Compare the credits of a tag and an album.

    The result is 1 if they are the same, 0.99 for the same artists in another order, 0.95 if one side has only some of
    the artists, 0.92 to 0.96 for misspellings, else 0.
    """
    if not tagged.parts or not album.parts:
        return 0.0
    if tagged.wholes & album.wholes or (tagged.various and album.various):
        return 1.0
    if tagged.various or album.various:
        return 0.0
    if any(spelling_similarity(a, b) == 1.0 for a in tagged.wholes for b in album.wholes):
        return 1.0
    shared = [bool(artist & (tagged.parts | tagged.wholes)) for artist in album.artists]
    known = [any(part in artist for artist in album.artists) for part in tagged.parts]
    if tagged.parts == album.parts or (all(shared) and all(known) and known):
        return 0.99
    named = any(tagged.wholes & artist for artist in album.artists)
    if named or all(shared) or (known and all(known)) or tagged.parts & album.parts in (tagged.parts, album.parts):
        return 0.95
    return max((spelling_similarity(a, b) for a in tagged.wholes for b in album.wholes), default=0.0)


def compare_artists(
    tagged: Credit, performers: Sequence[tuple[Credit, float]], compilation: bool, listed: Credit
) -> str:
    """Compare the artists of a local album with those of a listed one, as a level of evidence.

    `performers` are the artists of the local tracks, each with its share of the tracks.
    """
    similarity = credit_similarity(tagged, listed)
    if similarity > 0:
        if listed.various:
            return "various"
        return "same" if similarity >= 0.99 else "some" if similarity == 0.95 else "misspelt"
    if not listed.wholes or (not tagged.wholes and not performers):
        return "unknown"
    if listed.various:
        return "various" if compilation else "various, listed"
    shares = [share for credit, share in performers if credit_similarity(credit, listed) > 0]
    if shares:
        return "performer" if sum(shares) >= _MANY else "one performer"
    level = _likeness(tagged, listed)
    if level != "different":
        return level
    return "various, local" if tagged.various else "different"


@lru_cache(maxsize=1 << 15)
def _likeness(tagged: Credit, listed: Credit) -> str:
    """Compare names that are not the same: parts of a name, initials, some of the words, another script."""
    ours, theirs = ({_words(key) for key in (*one.wholes, *one.parts)} for one in (tagged, listed))
    ours, theirs = ours - {()}, theirs - {()}
    if tagged.various or not ours or not theirs:
        return "different"
    level = "different"
    for mine in ours:
        for other in theirs:
            shorter, longer = sorted((mine, other), key=len)
            if _is_within(shorter, longer) and sum(map(len, shorter)) >= 3:
                return "part of the name"
            if len(shorter) == 1 and len(longer) > 1 and shorter[0] == "".join(word[0] for word in longer):
                return "initials"
            shared = sum(map(len, set(mine) & set(other)))
            ratio = fuzz.ratio("".join(mine), "".join(other))
            if ratio >= 75 or (shared >= 4 and shared * 2 >= sum(map(len, mine))):
                level = "similar"
    if level == "different" and all(_is_latin(key) for key in tagged.wholes) != any(map(_is_latin, listed.wholes)):
        return "other script"
    return level


def _words(key: str) -> tuple[str, ...]:
    return tuple(word for word in key.split() if word not in ("the", "and", "a", "of", "his", "her", "feat"))


def _is_within(shorter: tuple[str, ...], longer: tuple[str, ...]) -> bool:
    """Whether all words are in the other name, in order, or their beginnings are."""
    rest = iter(longer)
    return all(any(other == word or (len(word) >= 4 and other.startswith(word)) for other in rest) for word in shorter)


def _is_latin(key: str) -> bool:
    return any(char.isascii() and char.isalpha() for char in key) or not any(map(str.isalpha, key))


def _parts(text: str) -> list[str]:
    return [key for part in _JOINTS.split(text) if (key := name_key(part))]


def _spellings(text: str) -> set[str]:
    forms = {name_key(text)}
    bracketed = _BRACKETED.match(text.strip())
    if bracketed:
        forms |= {name_key(bracketed[1]), name_key(bracketed[2])}
    last, comma, first = text.partition(", ")
    if comma and "," not in first and len(first.split()) == 1:  # "Bowie, David"
        forms.add(name_key(f"{first} {last}"))
    return forms - {""}

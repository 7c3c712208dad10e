"""A made-up catalogue and damaged local albums, to fit and check the weights of evidence of `eno match`.

Artists have albums, EPs and singles, and what is easily taken for them: concerts, remixes, instrumentals, demos, new
recordings, best-ofs, volumes, tributes and karaoke. Works of composers are recorded by several performers. Not all
releases are in the catalogue. Local albums are releases with damaged tags, tracks and lengths, in the ways that users
of taggers report.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from eno.data.matching.candidates import LocalAlbum

WORDS = """night river stone garden summer winter heart light silver golden broken lonely crooked paper iron velvet
electric hollow burning distant hidden sacred northern southern empty quiet wild common plastic glass second last early
midnight morning shadow thunder lantern mirror engine harbour carousel railway kingdom orchard animal letter daughter
sister brother stranger ghost honey machine window station promise season horizon voltage chapel ladder arrow feather
island needle border theatre weather fever static circle signal parade hotel furnace desert ocean mountain forest city
street dream dance fire water blood bone dust sleep memory future history science love soul body mind colour blue red
green black white house home road train ship moon sun star sky rain snow wind
storm day year time world war peace""".split()
FIRST = (
    "John Mary Peter Anna David Kate Nick Laura Paul Emma Tom Julia Jack Nina Brian Carla Miles Ella Neil Joni".split()
)
SYLLABLES = "ka lo mi ra to ne shi va dor el quin bar tes um or lys fen gra pol ix mo ste ber wal han".split()
ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
PLACES = "Budokan Montreux Wembley Leeds Paris Tokyo Berlin Harlem Pompeii Glastonbury".split()
WORKS = (
    "Symphony No. {}|String Quartets|Piano Sonatas|Requiem|Violin Concerto|The Four Seasons|Nocturnes|Preludes".split(
        "|"
    )
)
EDITIONS = """(Remastered)|(Deluxe Edition)|[2011 Remaster]|(Expanded Edition)|(20th Anniversary Edition)|
[Bonus Tracks]|(Special Edition)|[FLAC]|(Japanese Edition)|[Explicit]|(Super Deluxe)|- Deluxe|
(Remastered 2009)""".replace("\n", "").split("|")
STRANGE_EDITIONS = (
    "({} Edition)|- XX|: Reloaded|(45 Box)|(The {} Issue)|: {} Edition|: The Complete {}|({} Sessions Box)".split("|")
)
CYRILLIC = dict(zip("abvgdezijklmnoprstufh", "абвгдезийклмнопрстуфх", strict=True))


@dataclass(frozen=True)
class Track:
    """A recording of a song."""

    name: str
    length_s: float
    artist: str = ""  # only if it is not the artist of the release


@dataclass(frozen=True)
class Release:
    """A release as it is, before anybody catalogues or tags it."""

    artists: tuple[str, ...]
    name: str
    kind: str
    year: int
    tracks: tuple[Track, ...]
    composer: str = ""
    discs: int = 1
    live: bool = False
    listed: bool = True
    variant: bool = False  # of an album: a concert, remixes, an EP of that name
    path: str = field(default="")


class World:
    """Generator of releases, their listing and local copies."""

    def __init__(self, seed: int, artists: int) -> None:
        self.random = random.Random(seed)
        self.releases: list[Release] = []
        self._names: list[str] = []  # of the artists so far
        composers = [self.surname() for _ in range(max(2, artists // 30))]
        for number in range(artists):
            if number % 12 == 0:
                self._works(self.random.choice(composers))
            elif number % 12 == 1:
                self._compilations()
            else:
                self._discography()
        self.releases = [replace(one, path=f"release/{one.kind}/{number}") for number, one in enumerate(self.releases)]

    def word(self) -> str:
        """Make a word, in a third of the cases a rare one."""
        pick = self.random
        return pick.choice(WORDS).title() if pick.random() < 0.65 else self.surname()

    def surname(self) -> str:
        """Make a rare word."""
        return "".join(self.random.choices(SYLLABLES, k=self.random.choice((2, 3, 3)))).title()

    def artist(self) -> str:
        """Make the name of an artist."""
        pick, word = self.random, self.word
        return pick.choice([
            lambda: f"The {word()}s", lambda: f"{word()} {word()}", lambda: word(),
            lambda: f"{word()} {word()} {word()}",
            lambda: f"{pick.choice(FIRST)} {self.surname()}", lambda: f"{pick.choice(FIRST)} {self.surname()}",
            lambda: f"{pick.choice(FIRST)} {self.surname()} & The {word()}s",
            lambda: f"{self.surname()} & {self.surname()}",
            lambda: f"{self.surname()}, {self.surname()} & {self.surname()}",
        ])()  # fmt: skip

    def title(self) -> str:
        """Make a title; short ones are shared by several releases."""
        pick, word = self.random, self.word
        return pick.choice([
            lambda: word(), lambda: f"{word()} {word()}", lambda: f"The {word()} of {word()}",
            lambda: f"{word()} in the {word()}",
            lambda: f"{word()} {word()} {word()}", lambda: f"{word()} and {word()}",
            lambda: f"A {word()} for the {word()} {word()}",
            lambda: f"{word()}: {word()} {word()}", lambda: f"{word()} {word()}: The {word()} of {word()}",
            lambda: f"{word()} {pick.randint(2, 9)}: {word()} {word()}",
            lambda: f"The {word()} and the {word()} That {word()} Left Behind",
            lambda: f"{word()} {pick.randint(2, 9)}",
            lambda: str(pick.randint(1960, 2020)) if pick.random() < 0.2 else word(),
        ])()  # fmt: skip

    def songs(self, count: int) -> tuple[Track, ...]:
        """Make songs."""
        pick = self.random
        mean = pick.gauss(235, 45)
        return tuple(Track(self._song_name(), max(40.0, pick.gauss(mean, 65))) for _ in range(count))

    def _album_tracks(self) -> tuple[Track, ...]:
        pick = self.random
        tracks = self.songs(pick.randint(4, 7) if pick.random() < 0.08 else pick.randint(7, 16))
        if pick.random() < 0.04:  # works that fill a side or a whole album
            tracks = tuple(replace(one, length_s=one.length_s * 7) for one in tracks[: pick.choice((1, 1, 2))])
        return tracks

    def _song_name(self) -> str:
        return " ".join(self.word() for _ in range(self.random.choice((1, 2, 2, 3))))

    def again(self, tracks: tuple[Track, ...], spread_s: float, shift_s: float = 0.0) -> tuple[Track, ...]:
        """Record the same songs again."""
        pick = self.random
        return tuple(
            replace(one, length_s=max(30.0, one.length_s + pick.gauss(shift_s, spread_s) * max(1, one.length_s / 300)))
            for one in tracks
        )

    def _add(
        self, artists: tuple[str, ...], name: str, kind: str, year: int, tracks: tuple[Track, ...], **more: Any
    ) -> None:
        listed = self.random.random() < more.pop("share", 0.87)
        self.releases.append(Release(artists, name, kind, year, tracks, listed=listed, **more))

    def _discography(self) -> None:
        pick = self.random
        name = self._name()
        by, year = (name,), pick.randint(1958, 2018)
        songs: list[Track] = []
        if pick.random() < 0.12:  # a first EP that is named after the artist
            self._add(by, name.split(" [")[0], "ep", year, self.songs(pick.randint(3, 6)), share=0.55)
        previous, counted = "", 1
        for number in range(pick.choice((1, 2, 3, 5, 8))):
            year += pick.randint(0, 3)
            title, previous, counted = self._next_title(name, previous, counted, first=number == 0)
            tracks = self._album_tracks()
            if pick.random() < 0.1:
                tracks += self.songs(pick.randint(8, 12))
            self._add(by, title, "album", year, tracks, discs=2 if len(tracks) > 17 else 1)
            songs += tracks
            self._variants(by, title, year, tracks)
        if pick.random() < 0.3 and len(songs) > 12:
            self._best_of(by, name, songs, year)
        if pick.random() < 0.25 and songs:
            tracks = self.again(tuple(pick.sample(songs, min(len(songs), 13))), 25, 15)
            place = pick.choice(PLACES)
            title = pick.choice((f"Live at {place}", f"At {place}", f"{self.title()}", f"Live {year}"))
            self._add(by, title, "album", year, tracks, live=True)

    def _name(self) -> str:
        """Name an artist, now and then like another one, or in Cyrillic with a transliteration."""
        pick, name = self.random, self.artist()
        if self._names and pick.random() < 0.03:
            name = pick.choice(self._names)
        elif pick.random() < 0.05:
            name = self._native(name)
        self._names.append(name)
        return name

    def _next_title(self, name: str, previous: str, counted: int, *, first: bool) -> tuple[str, str, int]:
        """Return the title of the next album of an artist, the title that is counted, and the number so far."""
        pick, title, roll = self.random, self.title(), self.random.random()
        if roll < 0.06 or (first and roll < 0.15):
            title = name.split(" [")[0]
        elif roll < 0.24 and previous:
            counted += 1
            title = (
                f"{previous} {pick.choice((ROMAN[counted], str(counted), f'Vol. {counted}', f'Part {ROMAN[counted]}'))}"
            )
            if pick.random() < 0.25:  # a series of albums with titles of their own
                title = f"{title}: {self.title()}"
        elif roll < 0.27:
            previous, counted = self.word(), pick.choice((1, 2, 3))
            title = f"{previous}, Volume {counted}"
        else:
            previous, counted = title, 1
        return self._native(title) if pick.random() < 0.05 else title, previous, counted

    def _variants(self, by: tuple[str, ...], title: str, year: int, tracks: tuple[Track, ...]) -> None:
        pick = self.random

        def chance(probability: float) -> bool:
            return pick.random() < probability

        def add(name: str, kind: str, these: tuple[Track, ...], later: int = 1, artists: tuple[str, ...] = by) -> None:
            self._add(artists, name, kind, year + later, these, share=0.55, variant=True)

        if chance(0.12):
            place = f"{title}: Live at {pick.choice(PLACES)}"
            add(pick.choice((f"{title} Live", f"{title} (Live)", place, f"{title} Live")),
                "album", self.again(tracks, 25, 12), pick.randint(1, 20))  # fmt: skip
        if chance(0.06):
            mixed = tuple(replace(one, artist=self.artist()) for one in self.again(tracks, 60, 60))
            add(pick.choice((f"{title} Remixes", f"{title} Remixed", f"{title}: The Remixes")), "album", mixed)
        if chance(0.06):
            add(pick.choice((f"{title} Instrumentals", f"{title} (Instrumental)")), "album", self.again(tracks, 1.5))
        if chance(0.05):
            add(pick.choice((f"{title} Demos", f"{title}: The Demos")), "album", self.again(tracks, 20))
        if chance(0.05):
            add(pick.choice((title, f"{title} {year + 20}", f"{title} (Re-Recorded)", f"{title} Revisited")), "album",
                self.again(tracks, 18), pick.randint(5, 30))  # fmt: skip
        self._namesakes(chance, add, by, title, tracks)

    def _namesakes(
        self,
        chance: Callable[[float], bool],
        add: Callable[..., None],
        by: tuple[str, ...],
        title: str,
        tracks: tuple[Track, ...],
    ) -> None:
        """Add other releases of the same or a similar name: an EP, a tribute, another artist's album, a box."""
        pick = self.random
        if chance(0.12):
            more = self.songs(pick.randint(1, 4))
            if chance(0.5):
                add(title, "ep", tracks[:1] + more, 0)
            else:  # singles are often listed with the titles of both sides
                add(pick.choice((title, f"{title} / {more[0].name}")), "single", tracks[:1] + more, 0)
        if chance(0.04):
            add(pick.choice((title, f"{title} (Karaoke)", f"A Tribute to {by[0]}: {title}")), "album",
                self.again(tracks, pick.choice((1.0, 12.0))), 5, (self.artist(),))  # fmt: skip
        if chance(0.3):
            add(title, "album", self.songs(len(tracks)), round(pick.gauss(0, 6)), (self.artist(),))
        if chance(0.2):  # songs left over, sessions, films, and other releases that are named after the album
            more = self.songs(pick.randint(4, 12)) if chance(0.6) else self.again(tracks, 30)
            name = pick.choice((
                f"{title}: {self.title()}", f"{title} ({self.word()})", f"{title} - {self.word()}s",
                f"The {title} Sessions", f"{title}: The Film", f"{self.word()} {title}", f"{title} {self.word()}",
            ))  # fmt: skip
            add(name, pick.choice(("album", "ep")), more, pick.choice((0, 0, 1, 2, 5)))
        if chance(0.08):  # this and another release on one disc
            more = self.songs(pick.randint(4, 12))
            name = pick.choice((f"{title} / {self.title()}", f"{title} / {self.title()}", f"{title} + {len(more)}"))
            add(name, "comp", tracks + more)

    def _best_of(self, by: tuple[str, ...], name: str, songs: list[Track], year: int) -> None:
        pick = self.random
        for _ in range(pick.choice((1, 2))):
            title = pick.choice((
                f"The Best of {name}", "Greatest Hits", f"The Very Best of {name}", "The Singles", f"Essential {name}",
                f"The Best of {year - 9}-{year}", f"{self.word()}: The Best of {name}",
                "Greatest Hits, Volume 1", "Greatest Hits II",
            ))  # fmt: skip
            self._add(
                by, title, "comp", year, tuple(pick.sample(songs, min(len(songs), pick.randint(10, 18)))), share=0.6
            )

    def _works(self, composer: str) -> None:
        pick = self.random
        for work in pick.sample(WORKS, 3):
            work = work.format(pick.randint(1, 9))
            score = tuple(
                replace(one, name=f"{work}: {i}. {one.name}", length_s=one.length_s * pick.uniform(0.8, 3))
                for i, one in enumerate(self.songs(pick.choice((3, 4, 4, 8, 12))), 1)
            )
            for _ in range(pick.randint(1, 4)):
                conductor = f"{pick.choice(FIRST)} {self.surname()}"
                by = pick.choice(
                    ((conductor,), (conductor, f"{self.surname()} Orchestra"), (f"{self.surname()} Quartet",))
                )
                for _ in range(pick.choice((1, 1, 1, 2))):
                    pace = pick.gauss(0, 0.07)
                    tracks = tuple(
                        replace(one, length_s=one.length_s * (1 + pace + pick.gauss(0, 0.03))) for one in score
                    )
                    name = pick.choice(
                        (f"{composer}: {work}", f"{composer}: {work}", f"{work}", f"{composer}: {work} / {self.word()}")
                    )
                    self._add(by, name, "album", pick.randint(1955, 2015), tracks, composer=composer)

    def _compilations(self) -> None:
        pick = self.random
        series = self.title()
        for number in sorted(pick.sample(range(1, 90), pick.randint(1, 5))):
            tracks = tuple(replace(one, artist=self.artist()) for one in self.songs(pick.randint(10, 22)))
            name = pick.choice((f"{series} {number}", f"{series}, Vol. {number}", f"{series}"))
            roll = pick.random()
            if roll < 0.5:
                self._add(("Various Artists",), name, "comp", pick.randint(1970, 2020), tracks)
            elif roll < 0.75:  # a DJ's mix
                self._add((self.artist(),), name, "djmix", pick.randint(1990, 2020), tracks)
            else:  # a score or a cast
                by = self.artist()
                some = tuple(replace(one, artist=by if pick.random() < 0.5 else one.artist) for one in tracks)
                self._add((by,), self.title(), "album", pick.randint(1970, 2020), some)

    def _native(self, text: str) -> str:
        return f"{''.join(CYRILLIC.get(char, char) for char in text.lower()).title()} [{text}]"

    def catalogue(self) -> list[dict[str, Any]]:
        """List the releases, some of them without tracks or lengths."""
        return [self._listing(one) for one in self.releases if one.listed]

    def _listing(self, one: Release) -> dict[str, Any]:
        pick = self.random
        roll = pick.random()
        tracks = [] if roll < 0.07 else one.tracks
        half = len(tracks) / one.discs
        return {
            "name": one.name, "file_name": one.path,
            "release_date": f"{one.year}-01-01" if pick.random() < 0.97 else None,
            "artists": [
                {"name": name, "file_name": f"artist/{name.lower().split(' [')[-1].strip(']').replace(' ', '-')}"}
                for name in one.artists
            ],
            "tracks": [
                {
                    "name": track.name if roll > 0.12 else None,
                    "duration_seconds": None if 0.07 < roll < 0.2 or pick.random() < 0.02 else round(track.length_s),
                    "position": f"{int(i // half) + 1}-{i % half + 1:.0f}" if one.discs > 1 else str(i + 1),
                }
                for i, track in enumerate(tracks)
            ],
        }  # fmt: skip

    def copies(self, count: int) -> list[tuple[LocalAlbum, str | None]]:
        """Make local albums, each with the path of its listing if it has one."""
        weights = [0.7 if one.variant else 1.0 for one in self.releases]
        return [self._copy(one) for one in self.random.choices(self.releases, weights, k=count)]

    def _copy(self, one: Release) -> tuple[LocalAlbum, str | None]:
        pick = self.random
        artist, title = self._tagged(one)
        if ": " in title and not one.composer and not one.variant and pick.random() < 0.2:
            title = title.split(": ")[pick.choice((0, 0, 1))]
        edition = pick.random() < (0.06 if one.variant else 0.35)
        path = one.path if one.listed else None
        if edition:
            title += f" {pick.choice(EDITIONS)}"
        tracks = self._kept(one.tracks, edition)
        if pick.random() < (0.15 if one.discs > 1 else 0.02):  # only one disc of two, or a disc of other songs
            number = pick.choice((1, 2))
            tracks = tracks[(number - 1) * len(tracks) // 2 :][: max(1, len(tracks) // 2)]
            if one.discs == 1 and number == 2:
                tracks, path = self.songs(10), None
            named = f": {self.title()}"
            title += pick.choice(
                (f" (Disc {number})", f" CD{number}", f" (Disc {number}{named})", named)[: one.discs * 2]
            )
        for _ in range(pick.choice((0, 0, 1, 2))):
            artist, title = self._damaged(one, artist, title)
        pressing = self._pressing()
        artists = [track.artist or (one.artists[0] if one.composer else artist) for track in tracks]
        share = {name: artists.count(name) / len(artists) for name in dict.fromkeys(artists)}
        performers = tuple(sorted(share.items(), key=lambda item: -item[1])[:6]) if pick.random() < 0.85 else ()
        year: int | None = one.year
        if pick.random() < (0.7 if edition else 0.12):
            year = max(one.year, min(2024, one.year + pick.randint(1, 40)))
        elif (roll := pick.random()) < 0.25:
            year = None if roll < 0.15 else one.year + pick.choice((-1, 1))
        known, titled = pick.random() < 0.7, pick.random() < 0.75
        lengths = tuple(round(pressing(track.length_s), 1) for track in tracks) if known else ()
        titles: tuple[str | None, ...] = tuple(self._song(track.name) for track in tracks) if titled else ()
        if pick.random() < 0.05:  # all titles translated, or from another source
            titles = tuple(self._song_name() for _ in titles)
        count = len(tracks)
        if known and pick.random() < 0.04:  # one file, or one for each side
            tracks = one.tracks
            lengths = tuple(round(pressing(track.length_s), 1) for track in tracks)
            ends = [len(tracks)] if pick.random() < 0.5 else [len(tracks) // 2, len(tracks)]
            lengths = tuple(sum(lengths[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True))
            titles, count = (), len(ends)
        distinct = len(share) >= 3 and max(share.values()) <= 0.5
        local = LocalAlbum(artist, title, year, lengths, count, compilation=distinct, titles=titles,
                           performers=performers, discs=one.discs if pick.random() < 0.7 else 0)  # fmt: skip
        return local, path

    def _tagged(self, one: Release) -> tuple[str, str]:
        pick = self.random
        native = pick.random() < 0.5
        artist, title = " & ".join(one.artists), one.name
        if " [" in artist:
            artist = artist.split(" [")[0] if native else artist.split(" [")[1].rstrip("]")
        if " [" in title:
            title = title.split(" [")[0] if native else title.split(" [")[1].rstrip("]")
        if one.kind == "single" and pick.random() < 0.7:
            title = title.split(" / ")[0]
        if one.live and "Live" not in title and pick.random() < 0.3:
            title += " (Live)"
        if one.kind in ("ep", "single") and pick.random() < 0.4:
            title += pick.choice((" EP", " (EP)") if one.kind == "ep" else (" (Single)", " - Single"))
        if one.composer and pick.random() < 0.5:
            artist = pick.choice((one.composer, f"{pick.choice(FIRST)} {one.composer}"))
            title = title.removeprefix(f"{one.composer}: ")
        return artist, title

    def _kept(self, tracks: tuple[Track, ...], edition: bool) -> tuple[Track, ...]:
        """Add bonus tracks, most often to an `edition`, or leave out tracks."""
        pick = self.random
        roll = pick.random() * (0.5 if edition else 1.2)
        if roll < 0.18:
            tracks += self.songs(pick.choice((1, 2, 3, 5, 8, 14)))
        elif roll < 0.23:
            tracks += self.again(tracks, 15)[: pick.randint(3, 14)]
        elif roll < 0.3 and len(tracks) > 5:
            dropped = set(pick.sample(range(len(tracks)), pick.randint(1, min(4, len(tracks) // 3))))
            tracks = tuple(track for i, track in enumerate(tracks) if i not in dropped)
        elif roll < 0.32:
            tracks = tracks[: max(1, len(tracks) // 2)]
        return tracks

    def _pressing(self) -> Callable[[float], float]:
        pick = self.random
        roll = pick.random()
        if roll < 0.82:
            return lambda length: max(5.0, length + pick.gauss(0, 0.8))
        if roll < 0.92:
            return lambda length: max(5.0, length + pick.gauss(0, 2.5))
        speed = pick.gauss(1, 0.012)
        return lambda length: max(5.0, length * speed + pick.gauss(1, 4))

    def _song(self, name: str) -> str:
        roll = self.random.random()
        return (
            name.upper()
            if roll < 0.05
            else f"{name} (Remastered)"
            if roll < 0.1
            else self._misspelt(name)
            if roll < 0.15
            else name
        )

    def _misspelt(self, text: str) -> str:
        pick = self.random
        at = pick.randrange(1, len(text)) if len(text) > 4 else 0
        if at == 0 or text[at] == " ":
            return text
        return text[:at] + pick.choice(("", text[at] * 2, pick.choice("aeiourst"))) + text[at + 1 :]

    def _damaged(self, one: Release, artist: str, title: str) -> tuple[str, str]:
        """Damage the artist or the title in one way."""
        pick = self.random
        words = artist.split()
        ways: list[Callable[[], tuple[str, str]]] = [
            lambda: (self._misspelt(artist), title), lambda: (artist, self._misspelt(title)),
            lambda: (self._misspelt(artist), self._misspelt(title)), lambda: (self.artist(), title),
            lambda: ("".join(word[0] for word in words if word[0].isalnum()) if len(words) > 2 else artist, title),
            lambda: (words[-1] if len(words) == 2 else " ".join(words[1:]) or artist, title),
            lambda: (f"{self.word()} {artist}", title), lambda: (f"{artist} feat. {self.artist()}", title),
            lambda: (f"{artist} & {self.artist()}", title), lambda: (artist.split(" & ")[0], title),
            lambda: ("Various Artists", title), lambda: ("", title), lambda: ("Unknown Artist", title),
            lambda: (artist, f"{title} {pick.choice(STRANGE_EDITIONS).format(self.word())}"),
            lambda: (artist, f"{title} {pick.choice(STRANGE_EDITIONS).format(self.word())}"),
            lambda: (artist, title[:30]),
            lambda: (artist, title if one.variant else title.split(": ")[pick.choice((0, -1))]),
            lambda: (artist, f"{title}: {self.title()}"),
            lambda: (artist, f"{artist} - {title}"), lambda: (artist, f"{artist}'s {title}"),
            lambda: (artist, title if one.variant else _without_last_word(title)),
            lambda: (artist, f"{title} {self.word()}"),
            lambda: (artist, f"{title} ({self.title()})"), lambda: (artist, f"The {title}"),
            lambda: (artist, pick.choice((self.title(), ""))), lambda: (title, artist),
            lambda: (artist, title.replace(", Volume 1", "").replace(" II", " 2").replace("Vol. 2", "II")),
            lambda: (artist, artist),
            lambda: (artist, " / ".join(reversed(title.split(" / ")))),
            lambda: (artist, f"{title} EP" if one.kind == "ep" or len(one.tracks) < 8 else title),
            lambda: (artist, f"{title} (Single)" if one.kind == "single" else title),
            lambda: (artist, title.replace("The ", "")),
            lambda: (artist, f"{title} ({self._native(title).split(' [')[0]})"),
        ]  # fmt: skip
        return pick.choice(ways)()


def _without_last_word(title: str) -> str:
    """Leave out the last word, unless it is the only one or the number that tells volumes apart."""
    words = title.split()
    return title if len(words) < 2 or words[-1].isdecimal() or words[-1] in ROMAN else " ".join(words[:-1])

"""Options of ``similar``: what to search for, among which tracks, and how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from eno.cli.options import FILTERS, RESULT, parse_time
from eno.errors import ConfigError

if TYPE_CHECKING:
    from eno.similarity.query import Query
    from eno.similarity.search_result import SearchResult
    from eno.similarity.sounds_like import SoundsLike
    from eno.similarity.where import Where

_PER_ARTIST = 2


@dataclass(frozen=True)
class QueryOptions:
    """What the results should sound like, besides the tracks and files on the command line."""

    panel: ClassVar[str] = "Query"

    minus: Annotated[list[str] | None, typer.Option(help="Less like this track or file")] = None
    from_time: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Start of a passage: 65 or 1:05")] = (
        None
    )
    to_time: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End of the passage")] = None
    text: Annotated[str | None, typer.Option(help="A description: 'sad piano with rain' (encoders clap and laion)")] = (
        None
    )
    tags: Annotated[str | None, typer.Option(help="Tags, separated by commas; needs a predictor")] = None
    like_album: Annotated[list[str] | None, typer.Option(help="An album, by its title or id")] = None
    like_artist: Annotated[list[str] | None, typer.Option(help="An artist")] = None

    def passage(self, seeds: list[str]) -> tuple[float | None, float | None]:
        """Return the start and end of the passage in seconds."""
        if (self.from_time is not None or self.to_time is not None) and (len(seeds) != 1 or self.minus):
            raise ConfigError("--from and --to need exactly one track or file, and cannot be combined with --minus.")
        start, end = (None if time is None else parse_time(time) for time in (self.from_time, self.to_time))
        return start, end

    def names(self) -> dict[str, Any]:
        """Return what to search for besides tracks and passages, as fields of `eno.serving.schemas.SearchIn`."""
        return {
            "albums": self.like_album or [],
            "artists": self.like_artist or [],
            "text": self.text,
            "tags": _listed(self.tags or ""),
        }

    def query(self, sounds: SoundsLike, seeds: list[str]) -> Query:
        """Combine everything into one query."""
        from eno.similarity.query import combine

        start, end = self.passage(seeds)
        plus = [sounds.seed(one, from_s=start, to_s=end) for one in seeds]
        plus += [sounds.album(one) for one in self.like_album or ()]
        plus += [sounds.artist(one) for one in self.like_artist or ()]
        plus += [] if self.text is None else [sounds.text(self.text)]
        plus += [] if self.tags is None else [sounds.tags(_listed(self.tags))]
        return combine(plus, [sounds.seed(one) for one in self.minus or ()])


@dataclass(frozen=True)
class FilterOptions:
    """Which tracks may be found."""

    panel: ClassVar[str] = FILTERS

    genre: Annotated[list[str] | None, typer.Option(help="Genre; repeat it for alternatives")] = None
    descriptor: Annotated[list[str] | None, typer.Option(help="Descriptor; repeat it for alternatives")] = None
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="FAMILY=NAME", help="Label of any family, such as instruments=organ; likewise"),
    ] = None
    artist: Annotated[list[str] | None, typer.Option(help="Artist; repeat it for alternatives")] = None
    album: Annotated[list[str] | None, typer.Option(help="Album title; repeat it for alternatives")] = None
    year: Annotated[str | None, typer.Option(help="Years: 1994, 1990-1999, 1990- or -1999")] = None
    duration: Annotated[str | None, typer.Option(help="Duration: 2:00-5:00, 2:00- or -5:00")] = None
    path: Annotated[str | None, typer.Option(help="Start of the track id, or a pattern: '*/live/*'")] = None
    where: Annotated[str | None, typer.Option(help="Any SQL condition: \"rating > 3.5 and container = 'FLAC'\"")] = None

    def conditions(self) -> dict[str, Any]:
        """Return these options as fields of `eno.similarity.where.Where`."""
        from eno.similarity.where import family_and_label

        return {
            "genres": tuple(self.genre or ()),
            "descriptors": tuple(self.descriptor or ()),
            "labels": tuple(map(family_and_label, self.label or ())),
            "artists": tuple(self.artist or ()),
            "albums": tuple(self.album or ()),
            "years": _range("--year", self.year, _year),
            "duration_s": _range("--duration", self.duration, parse_time),
            "path": self.path,
            "expression": self.where,
        }


@dataclass(frozen=True)
class ResultOptions:
    """How many tracks are found, and in which form."""

    panel: ClassVar[str] = RESULT

    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of tracks")] = 10
    per_artist: Annotated[
        int | None,
        typer.Option(
            min=0, help="Maximum number of tracks per artist; 0 for no limit (default: 2; playlists: no limit)"
        ),
    ] = None
    per_album: Annotated[int, typer.Option(min=0, help="Maximum number of tracks per album; 0 for no limit")] = 0
    same_album: Annotated[bool, typer.Option("--same-album", help="Include the query's own albums")] = False
    diversity: Annotated[float, typer.Option(min=0, max=1, help="Trade similarity for variety, from 0 to 1")] = 0.0
    playlist: Annotated[float | None, typer.Option(metavar="MINUTES", help="Create a playlist of this length")] = None
    seed: Annotated[int, typer.Option(help="Random seed of the playlist")] = 0
    m3u: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an M3U8 playlist file")] = None
    absolute: Annotated[bool, typer.Option("--absolute", help="Write absolute paths to the M3U8 file")] = False

    def limits(self) -> dict[str, Any]:
        """Return these options as parameters of `SoundsLike.nearest`, or for a playlist of `SoundsLike.playlist`."""
        default = _PER_ARTIST if self.playlist is None else 0
        most = default if self.per_artist is None else self.per_artist
        common = {"per_artist": most or None, "per_album": self.per_album or None, "same_album": self.same_album}
        if self.playlist is None:
            return {"k": self.top, "diversity": self.diversity, **common}
        return {"minutes": self.playlist, "seed": self.seed, **common}

    def find(self, sounds: SoundsLike, query: Query, where: Where) -> SearchResult:
        """Search, or create a playlist."""
        search = sounds.nearest if self.playlist is None else sounds.playlist
        return search(query, where=where, **self.limits())


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _range(option: str, text: str | None, read: Callable[[str], Any]) -> tuple[Any, Any] | None:
    """Read "first-last", either of which may be missing, or one value for both."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not dash:
        return read(first), read(first)
    if not first.strip() and not last.strip():
        raise ConfigError(f"{option} {text!r}: expected a range such as 1990-1999, 1990- or -1999.")
    return read(first) if first.strip() else None, read(last) if last.strip() else None


def _year(text: str) -> int:
    if not text.strip().isdecimal():
        raise ConfigError(f"--year {text!r}: expected a year, as in 1994, 1990-1999, 1990- or -1999.")
    return int(text)

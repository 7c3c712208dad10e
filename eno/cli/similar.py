"""Search by similarity: ``similar``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from eno.cli.commands import SEARCH, command
from eno.cli.options import (
    FILTERS,
    RESULT,
    AudioRootOption,
    DeviceOption,
    EncoderOption,
    IndexOption,
    JsonOption,
    LibraryOptions,
    PredictorOption,
    StoreOption,
    clock,
    parse_time,
    prepare_output,
    print_json,
    shown,
    warn,
)
from eno.console import console, errors, progress
from eno.errors import ConfigError
from eno.library import Library

if TYPE_CHECKING:
    from eno.similarity.query import Query
    from eno.similarity.search_result import Neighbour, SearchResult
    from eno.similarity.sounds_like import SoundsLike
    from eno.similarity.tag_table import TagTable
    from eno.similarity.where import Where

app = typer.Typer()

_PER_ARTIST = 2
_REMEDIES = {"per_artist": "--per-artist 0", "per_album": "--per-album 0", "same_album": "--same-album"}


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
    artist: Annotated[list[str] | None, typer.Option(help="Artist; repeat it for alternatives")] = None
    album: Annotated[list[str] | None, typer.Option(help="Album title; repeat it for alternatives")] = None
    year: Annotated[str | None, typer.Option(help="Years: 1994, 1990-1999, 1990- or -1999")] = None
    duration: Annotated[str | None, typer.Option(help="Duration: 2:00-5:00, 2:00- or -5:00")] = None
    path: Annotated[str | None, typer.Option(help="Start of the track id, or a pattern: '*/live/*'")] = None
    where: Annotated[str | None, typer.Option(help="Any SQL condition: \"rating > 3.5 and container = 'FLAC'\"")] = None

    def filter(self) -> Where:
        """Return these options as one filter."""
        from eno.similarity.where import Where

        return Where(
            genres=tuple(self.genre or ()),
            descriptors=tuple(self.descriptor or ()),
            artists=tuple(self.artist or ()),
            albums=tuple(self.album or ()),
            years=_range("--year", self.year, _year),
            duration_s=_range("--duration", self.duration, parse_time),
            path=self.path,
            expression=self.where,
        )


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

    def find(self, sounds: SoundsLike, query: Query, where: Where) -> SearchResult:
        """Search, or create a playlist."""
        default = _PER_ARTIST if self.playlist is None else 0
        most = default if self.per_artist is None else self.per_artist
        limits: dict[str, Any] = {
            "where": where, "per_artist": most or None, "per_album": self.per_album or None,
            "same_album": self.same_album,
        }  # fmt: skip
        if self.playlist is None:
            return sounds.nearest(query, k=self.top, diversity=self.diversity, **limits)
        return sounds.playlist(query, minutes=self.playlist, seed=self.seed, **limits)


@command(app, panel=SEARCH, former={"--k": "--top"})
def similar(
    library_options: LibraryOptions,
    query: QueryOptions,
    filters: FilterOptions,
    result: ResultOptions,
    seeds: Annotated[
        list[str] | None,
        typer.Argument(metavar="TRACK…", help="Tracks (path, end of the path, or title) or audio files"),
    ] = None,
    store: StoreOption = None,
    model: PredictorOption = None,
    index: IndexOption = None,
    windows: Annotated[bool, typer.Option("--windows", help="Find passages, using an index of windows")] = False,
    audio_root: AudioRootOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find tracks that sound like a track, file, passage, text, album or artist."""
    library = library_options.open(store=store, model=model, audio_root=audio_root, encoder=encoder, device=device)
    where = filters.filter()
    if result.m3u is not None:
        prepare_output(result.m3u)
    tagged = model is not None or (query.tags is not None and library.has_predictor)
    sounds = _open(library, index, windows, encoder, tagged=tagged, named_audio=audio_root is not None)
    found = result.find(sounds, query.query(sounds, seeds or []), where)
    _show(found, sounds, as_json=as_json, playlist=result.playlist is not None)
    if result.m3u is not None:
        _write(result.m3u, found, sounds, result.absolute)


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


def _open(
    library: Library, folder: Path | None, windows: bool, encoder: str | None, *, tagged: bool, named_audio: bool
) -> SoundsLike:
    with progress("indexing") as show:
        index = library.index(folder=folder, windows=windows, on_progress=show)
    tags = _tags(library, index.folder / "tags") if tagged else None
    roots = library.audio_roots if named_audio else library.present_audio_roots
    return library.search(index, encoder=encoder, tags=tags, audio_roots=roots)


def _tags(library: Library, folder: Path) -> TagTable:
    from eno.inference.predictor_folder import PredictorParts
    from eno.similarity.tag_table import open_tag_table
    from eno.training.record import stores_for

    model = library.predictor_folder()
    parts = PredictorParts.load(model, device=library.settings.device)
    store = stores_for(model, library.store())
    message = f"predicting the tags of {shown(store.path)}, once per predictor"
    return open_tag_table(folder, model, store, parts, on_predict=lambda: errors.print(message))


def _show(found: SearchResult, sounds: SoundsLike, *, as_json: bool, playlist: bool) -> None:
    remedies = [_REMEDIES[name] for name in found.excluded_by if name in _REMEDIES]
    hints = [f"Try {' or '.join(remedies)}."] if remedies else []
    for note in (*sounds.notes, *found.notes, *hints):
        warn(note)
    if as_json:
        for one in found:
            print_json(one.to_dict())
        return
    errors.print(f"like {shown(found.query)}")
    for one in found:
        console.print(_line(one))
        if one.shared:
            console.print(f"       [dim]{shown(', '.join(one.shared))}[/]")
    if playlist:
        errors.print(f"{len(found)} tracks, {clock(found.duration_s)}")


def _line(one: Neighbour) -> str:
    at = "" if one.start_s is None else f" at {clock(one.start_s)}, like {clock(one.query_s or 0)}"
    about = " · ".join(str(part) for part in (one.artist, one.album, one.year) if part)
    return f"[bold]{one.score:6.3f}[/] {shown(one.track_id)}{at}" + (f" [dim]{shown(about)}[/]" if about else "")


def _write(path: Path, found: SearchResult, sounds: SoundsLike, absolute: bool) -> None:
    from eno.similarity.playlist import write_m3u

    if sounds.audio_roots is None:
        raise ConfigError("A playlist file needs the paths of the audio files. Specify their folder with --audio-root.")
    missing = write_m3u(path, found, sounds.audio_roots, absolute=absolute)
    if missing:
        warn(
            f"{len(missing)} of {len(found)} files are not in {sounds.audio_roots}, for example {missing[0]}. Specify "
            "their folder with --audio-root."
        )
    errors.print(f"{len(found)} tracks in {shown(path)}")

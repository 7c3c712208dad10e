"""What sounds like what: ``similar``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from eno.cli.options import (
    ConfigOption,
    DataRootOption,
    DeviceOption,
    EncoderOption,
    SetOption,
    StoreOption,
    encoder_of_spec,
    settings,
    shown,
)
from eno.config import Settings
from eno.console import console, errors, progress
from eno.errors import ConfigError

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.encoders import Encoder
    from eno.similarity.search_result import Neighbour, SearchResult
    from eno.similarity.sounds_like import SoundsLike
    from eno.similarity.tag_table import TagTable
    from eno.similarity.where import Where

app = typer.Typer()


@app.command()
def similar(
    store: StoreOption,
    seeds: Annotated[
        list[str] | None,
        typer.Argument(metavar="TRACK…", help="Track ids (or how one ends), or audio files; of several, the mean"),
    ] = None,
    index: Annotated[Path | None, typer.Option(help="The index (default: the one in the store)")] = None,
    minus: Annotated[list[str] | None, typer.Option(help="Less like this track or file")] = None,
    from_time: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Where a passage begins: 65, 1:05")
    ] = None,
    to_time: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Where it ends")] = None,
    text: Annotated[str | None, typer.Option(help="Like a description: 'sad piano with rain' (clap, laion)")] = None,
    tags: Annotated[str | None, typer.Option(help="With all of these tags, commas between; needs --model")] = None,
    like_album: Annotated[list[str] | None, typer.Option(help="Like an album: its title or id")] = None,
    like_artist: Annotated[list[str] | None, typer.Option(help="Like an artist")] = None,
    windows: Annotated[bool, typer.Option("--windows", help="Find passages, by an index of windows")] = False,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="So many tracks")] = 10,
    genre: Annotated[list[str] | None, typer.Option(help="Only with this genre, or any of several")] = None,
    descriptor: Annotated[list[str] | None, typer.Option(help="Only with this descriptor, or any of several")] = None,
    artist: Annotated[list[str] | None, typer.Option(help="Only by this artist, or any of several")] = None,
    album: Annotated[list[str] | None, typer.Option(help="Only of albums of this title, or any of several")] = None,
    year: Annotated[str | None, typer.Option(help="Only of these years: 1994, 1990-1999, 1990-, -1999")] = None,
    duration: Annotated[str | None, typer.Option(help="Only so long: 2:00-5:00, 2:00-, -5:00")] = None,
    path: Annotated[
        str | None, typer.Option(help="Only track ids that begin so, or match a pattern: '*/live/*'")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Any condition: \"rating > 3.5 and codec = 'FLAC'\"")] = None,
    per_artist: Annotated[
        int | None, typer.Option(min=0, help="At most so many by an artist; 0: any number (2; playlists: any)")
    ] = None,
    per_album: Annotated[int, typer.Option(min=0, help="At most so many of an album; 0: any number")] = 0,
    same_album: Annotated[bool, typer.Option("--same-album", help="Also from the query's own albums")] = False,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="How much results shall differ")] = 0.0,
    playlist: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="A playlist: a walk from track to track, so long")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same playlist")] = 0,
    m3u: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was found as an M3U8 playlist")] = None,
    absolute: Annotated[bool, typer.Option("--absolute", help="Full paths in the M3U8 file")] = False,
    model: Annotated[
        Path | None, typer.Option(help="Predictor whose tags are compared (default: those of the catalogue)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line")] = False,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that track ids are relative to (default: DATA_ROOT/raw/audio)")
    ] = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Find what sounds like a track, a file, a passage, a text, an album or an artist."""
    from eno.similarity.query import combine

    chosen = settings(config, overrides, device=device, data_root=data_root)
    named = {"genres": genre, "descriptors": descriptor, "artists": artist, "albums": album}
    conditions = _where(named, year, duration, path, where)
    sounds = _open(chosen, store, index, windows, model, audio_root)
    passage = _passage(from_time, to_time, seeds or [], minus or [])
    _load_encoder(
        sounds,
        [*(seeds or ()), *(minus or ())],
        passage,
        text,
        lambda: encoder_of_spec(chosen, sounds.store.spec, encoder),
    )
    plus = [sounds.seed(one, from_s=passage[0], to_s=passage[1]) for one in seeds or ()]
    plus += [sounds.album(one) for one in like_album or ()] + [sounds.artist(one) for one in like_artist or ()]
    plus += [] if text is None else [sounds.text(text)]
    plus += [] if tags is None else [sounds.tags([tag.strip() for tag in tags.split(",") if tag.strip()])]
    query = combine(plus, [sounds.seed(one) for one in minus or ()])
    most = (2 if playlist is None else 0) if per_artist is None else per_artist
    limits = _Limits(where=conditions, per_artist=most or None, per_album=per_album or None, same_album=same_album)
    if playlist is None:
        found = sounds.nearest(query, k=k, diversity=diversity, **limits)
    else:
        found = sounds.playlist(query, minutes=playlist, seed=seed, **limits)
    _show(found, sounds, as_json=as_json, playlist=playlist is not None)
    if m3u is not None:
        _write(m3u, found, sounds, absolute)


class _Limits(TypedDict):
    where: Where
    per_artist: int | None
    per_album: int | None
    same_album: bool


def _where(
    named: dict[str, list[str] | None], year: str | None, duration: str | None, path: str | None, expression: str | None
) -> Where:
    from eno.similarity.query_audio import parse_time
    from eno.similarity.where import Where

    years, durations = _span("--year", year, _whole), _span("--duration", duration, parse_time)
    names = {column: tuple(values or ()) for column, values in named.items()}
    return Where(**names, years=years, duration_s=durations, path=path, expression=expression)


def _span(option: str, text: str | None, read: Callable[[str], Any]) -> tuple[Any, Any] | None:
    """Read "from-to", either of which may be left out; or one value for both."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not dash:
        return read(first), read(first)
    if not first.strip() and not last.strip():
        raise ConfigError(f"{option} {text!r}: expected a span such as 1990-1999, 1990- or -1999.")
    return read(first) if first.strip() else None, read(last) if last.strip() else None


def _whole(text: str) -> int:
    if not text.strip().isdecimal():
        raise ConfigError(f"--year {text!r}: expected a year, as in 1994, 1990-1999, 1990- or -1999.")
    return int(text)


def _passage(
    from_time: str | None, to_time: str | None, seeds: list[str], minus: list[str]
) -> tuple[float | None, float | None]:
    from eno.similarity.query_audio import parse_time

    if (from_time is not None or to_time is not None) and (len(seeds) != 1 or minus):
        raise ConfigError("--from and --to are of one track or file: name one, and no --minus.")
    first, last = (None if time is None else parse_time(time) for time in (from_time, to_time))
    return first, last


def _open(
    chosen: Settings, place: str, folder: Path | None, windows: bool, model: Path | None, audio_root: Path | None
) -> SoundsLike:
    from eno.data.layout import DataRoot
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.similarity.index.build import open_or_build
    from eno.similarity.metadata import TrackMetadata
    from eno.similarity.sounds_like import SoundsLike

    store, root = EmbeddingStore.open(place), DataRoot(chosen.data_root)
    with progress("indexing") as show:
        level, options = "windows" if windows else "tracks", chosen.index.model_dump(exclude_none=True)
        index = open_or_build(store, folder, level=level, on_progress=show, **options)
    tags = None if model is None else _tags(model, store, index.folder / "tags", chosen.device)
    if audio_root is None and root.audio.is_dir():
        audio_root = root.audio
    metadata = TrackMetadata.read(index.track_ids(), root)
    return SoundsLike(index, store, metadata=metadata, tags=tags, audio_roots=audio_root)


def _tags(model: Path, store: EmbeddingStore, folder: Path, device: str) -> TagTable:
    """Give what a predictor says of the tracks; its encoder is not needed for that."""
    from eno.inference.predictor_folder import PredictorParts, read_description
    from eno.similarity.tag_table import make_tag_table, read_tag_table, table_key, with_predictor

    store.require(read_description(model).spec)
    key = table_key(model, store)
    parts = PredictorParts.load(model, device=device)
    table = read_tag_table(folder, key)
    if table is None:
        errors.print(f"predicting the tags of {shown(store.path)}, once for this predictor")
        table = make_tag_table(folder, key, store, parts)
    return with_predictor(table, parts)


def _load_encoder(
    sounds: SoundsLike,
    names: list[str],
    passage: tuple[float | None, float | None],
    text: str | None,
    load: Callable[[], Encoder],
) -> None:
    """Load the encoder only where something has to be heard or read: it takes seconds."""
    heard = passage != (None, None) or any(sounds.find(one) is None and Path(one).is_file() for one in names)
    if heard or text is not None:
        sounds.encoder = load()


def _show(found: SearchResult, sounds: SoundsLike, *, as_json: bool, playlist: bool) -> None:
    for note in (*sounds.notes, *found.notes):
        errors.print(f"[yellow]{shown(note)}[/]")
    if as_json:
        for one in found:
            typer.echo(json.dumps(one.to_dict()))  # ASCII, so that odd bytes come through as JSON escapes
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


def clock(seconds: float) -> str:
    """Write a time as m:ss, or h:mm:ss.

    Examples
    --------
    >>> clock(65.2), clock(3723)
    ('1:05', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _write(path: Path, found: SearchResult, sounds: SoundsLike, absolute: bool) -> None:
    from eno.similarity.playlist import write_m3u

    if sounds.audio_roots is None:
        raise ConfigError("A playlist file names audio files: say where they are with --audio-root.")
    missing = write_m3u(path, found, sounds.audio_roots, absolute=absolute)
    if missing:
        errors.print(
            f"[yellow]{len(missing)} of {len(found)} files are not in {shown(str(sounds.audio_roots))}, for instance "
            f"{shown(missing[0])}. --audio-root names the folder.[/]"
        )
    errors.print(f"{len(found)} tracks in {shown(path)}")

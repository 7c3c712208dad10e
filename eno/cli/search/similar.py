"""Search by similarity: ``similar``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eno.cli.commands import SEARCH, command
from eno.cli.options import (
    LIBRARY,
    AudioRootOption,
    DeviceOption,
    EncoderOption,
    IndexOption,
    JsonOption,
    LibraryOptions,
    PredictorOption,
    StoreOption,
    clock,
    prepare_output,
    print_json,
    shown,
    warn,
)
from eno.cli.search.similar_options import FilterOptions, QueryOptions, ResultOptions
from eno.console import console, errors, progress
from eno.errors import ConfigError
from eno.files import AudioRoots
from eno.library import Library

if TYPE_CHECKING:
    from eno.similarity.search_result import Neighbour, SearchResult
    from eno.similarity.sounds_like import SoundsLike
    from eno.similarity.tag_table import TagTable

app = typer.Typer()

_REMEDIES = {"per_artist": "--per-artist 0", "per_album": "--per-album 0", "same_album": "--same-album"}


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
    serve_url: Annotated[
        str | None,
        typer.Option(
            "--serve-url",
            metavar="URL",
            help="Ask a running 'eno serve', which has everything open; its token is read from $ENO_TOKEN",
            rich_help_panel=LIBRARY,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find tracks that sound like a track, file, passage, text, album or artist."""
    library = library_options.open(store=store, model=model, audio_root=audio_root, encoder=encoder, device=device)
    conditions = filters.conditions()
    if result.m3u is not None:
        prepare_output(result.m3u)
    roots = library.audio_roots if audio_root else library.present_audio_roots
    if serve_url is None:
        tagged = model is not None or (query.tags is not None and library.has_predictor)
        found = _find(_open(library, index, windows, encoder, roots, tagged=tagged), query, conditions, result, seeds)
    else:
        _check_asked({"--store": store, "--model": model, "--index": index, "--encoder": encoder, "--device": device,
                      "--windows": windows, "--from": query.from_time, "--to": query.to_time})  # fmt: skip
        found = _ask(serve_url, query, conditions, result, seeds or [], roots)
    _show(found, as_json=as_json, playlist=result.playlist is not None)
    if result.m3u is not None:
        _write(result.m3u, found, roots, result.absolute)


def _open(
    library: Library,
    folder: Path | None,
    windows: bool,
    encoder: str | None,
    roots: AudioRoots | None,
    *,
    tagged: bool,
) -> SoundsLike:
    with progress("indexing") as show:
        index = library.index(folder=folder, windows=windows, on_progress=show)
    tags = _tags(library, index.folder / "tags") if tagged else None
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


def _find(
    sounds: SoundsLike,
    query: QueryOptions,
    conditions: dict[str, Any],
    result: ResultOptions,
    seeds: list[str] | None,
) -> SearchResult:
    from eno.similarity.where import Where

    found = result.find(sounds, query.query(sounds, seeds or []), Where(**conditions))
    return replace(found, notes=(*sounds.notes, *found.notes))


def _check_asked(given: dict[str, Any]) -> None:
    """Raise a ConfigError if there are options that only make sense for a search in this process."""
    if refused := [option for option, value in given.items() if value]:
        raise ConfigError(
            f"{refused[0]} cannot be combined with --serve-url: the service searches the tracks of the store that it "
            "was started with."
        )


def _ask(
    url: str,
    query: QueryOptions,
    conditions: dict[str, Any],
    result: ResultOptions,
    seeds: list[str],
    roots: AudioRoots | None,
) -> SearchResult:
    """Search by means of a service; see `eno.serving.schemas.SearchIn`."""
    from eno.cli.search.remote_search import ask, name_of

    tracks, minus = ([name_of(one, roots) for one in names] for names in (seeds, query.minus or ()))
    return ask(url, {"tracks": tracks, "minus": minus, "where": conditions, **query.names(), **result.limits()})


def _show(found: SearchResult, *, as_json: bool, playlist: bool) -> None:
    remedies = [_REMEDIES[name] for name in found.excluded_by if name in _REMEDIES]
    hints = [f"Try {' or '.join(remedies)}."] if remedies else []
    for note in (*found.notes, *hints):
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


def _write(path: Path, found: SearchResult, roots: AudioRoots | None, absolute: bool) -> None:
    from eno.similarity.playlist import write_m3u

    if roots is None:
        raise ConfigError("A playlist file needs the paths of the audio files. Specify their folder with --audio-root.")
    missing = write_m3u(path, found, roots, absolute=absolute)
    if missing:
        warn(
            f"{len(missing)} of {len(found)} files are not in {roots}, for example {missing[0]}. Specify "
            "their folder with --audio-root."
        )
    errors.print(f"{len(found)} tracks in {shown(path)}")

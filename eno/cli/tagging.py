"""Naming the tags of files: ``tag``, with a trained predictor, with musicnn's own tags, or with any words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eno.cli.options import ConfigOption, DeviceOption, EncoderOption, SetOption, settings, shown
from eno.cli.predicting import Tagged, Vocabulary, from_files, from_store, open_store, predictor_of
from eno.console import console, errors
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import printable

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.inference.predictions import TagProbability
    from eno.inference.predictor import EnoPredictor

    Chooser = Callable[[int, TagProbability], bool]

app = typer.Typer()

_TOP = 5


class Format(StrEnum):
    """What tags are printed as."""

    text = "text"
    jsonl = "jsonl"
    csv = "csv"
    beets = "beets"
    picard = "picard"


@app.command()
def tag(
    paths: Annotated[list[Path] | None, typer.Argument(help="Audio files and folders of them")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Predictor that 'eno train' made (default: musicnn's own tags)")
    ] = None,
    tags: Annotated[str | None, typer.Option(help="Any words, with commas between: no training needed")] = None,
    tags_file: Annotated[
        Path | None, typer.Option(help="The same from a file: one a line, or what 'eno labels' wrote")
    ] = None,
    encoder: EncoderOption = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="What is said of a tag, with {} for it; several make an ensemble")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="CSV track,tag of some labelled tracks, by which probabilities are set right")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Tag the tracks of a store, by their vectors")] = None,
    vocabulary: Annotated[
        Vocabulary, typer.Option(help="musicnn's tags: MagnaTagATune or Million Song Dataset")
    ] = Vocabulary.mtt,
    save: Annotated[Path | None, typer.Option(help="Keep the predictor in this folder, for --model")] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="So many of the likeliest genres and descriptors each (default: 5, or all above the "
            "thresholds that a predictor learned)",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="All tags above this probability instead")
    ] = None,
    album: Annotated[bool, typer.Option("--album", help="Tag each folder as one album, by all of its tracks")] = False,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="For people; a JSON object a line; a CSV row a tag; 'beet modify' commands for beets' library; JSON "
            "lines with MusicBrainz Picard's names of tags",
        ),
    ] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl")] = False,
    device: DeviceOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Name the tags of audio files, or of the tracks of a store."""
    chosen = settings(config, overrides, device=device)
    _check_combination(paths, model, tags, tags_file, prompt, calibrate, store)
    form = Format.jsonl if as_json else form
    predictor = predictor_of(chosen, model, encoder, tags, tags_file, prompt, vocabulary)
    opened = None if store is None else open_store(store, predictor)
    if calibrate is not None:
        _calibrate(predictor, calibrate, opened)
    if save is not None:
        predictor.save(save)
    count = failed = 0
    kept = _chooser(predictor, top, threshold)
    tagged = from_files(predictor, paths or [], album) if opened is None else from_store(predictor, opened, album)
    for one in tagged:
        if count == 0 and form is Format.csv:
            _print_header()
        count += 1
        failed += isinstance(one.found, AudioError)
        _show(one, kept, form, families=predictor.labels.num_genres > 0)
    if form is Format.text and not getattr(predictor.head, "calibrated", True):
        console.print("[dim]Not calibrated: compare tracks by these numbers, not tags. --calibrate sets them right.[/]")
    if count == 0:
        places = ", ".join(printable(path) for path in paths or ())
        raise EnoError(f"No audio files in {places}." if opened is None else f"{store}: holds no tracks yet.")
    if failed:
        raise EnoError(f"{failed} of {count} {'albums' if album else 'files'} could not be tagged.")


def _check_combination(
    paths: list[Path] | None,
    model: Path | None,
    tags: str | None,
    tags_file: Path | None,
    prompt: list[str] | None,
    calibrate: Path | None,
    store: str | None,
) -> None:
    words = tags is not None or tags_file is not None
    if (not paths) == (store is None):
        raise ConfigError("Name audio files, or a store with --store; not both.")
    if (model is not None) + (tags is not None) + (tags_file is not None) > 1:
        raise ConfigError("Name one of --model, --tags and --tags-file.")
    if (prompt or calibrate) and not words:
        raise ConfigError("--prompt and --calibrate go with --tags or --tags-file.")


def _calibrate(predictor: EnoPredictor, path: Path, store: EmbeddingStore | None) -> None:
    import numpy as np

    from eno.inference.zero_shot import read_labelled

    tracks, labels = read_labelled(path, predictor.labels)
    vectors = np.stack([predictor.embed(track) for track in tracks]) if store is None else store.matrix(tracks)[1]
    try:
        predictor.head.fit(vectors, labels)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _chooser(predictor: EnoPredictor, top: int | None, threshold: float | None) -> Chooser:
    """Give what decides, by its rank in its family, whether a tag is shown."""
    if threshold is not None:
        return lambda rank, tag: tag.probability > threshold
    if top is not None or predictor.calibration is None:
        return lambda rank, tag: rank < (top or _TOP)
    return lambda rank, tag: tag.probability > tag.threshold


def _show(one: Tagged, kept: Chooser, form: Format, *, families: bool) -> None:
    """Print the tags of one track, or why there are none."""
    if isinstance(one.found, AudioError):
        if form is Format.jsonl:
            _print_json({"path": one.name, "error": one.found.reason})
        elif form is Format.text:
            console.print(f"[bold]{shown(one.name)}[/]\n  [red]error[/] {shown(one.found.reason)}")
        else:  # the output is for a program that knows no errors
            errors.print(f"{shown(one.name)}: [red]error[/] {shown(one.found.reason)}")
        return
    # Plain words have no family of their own.
    headings = {"genre": "genres", "descriptor": "descriptors"} if families else {"descriptor": "tags"}
    chosen = {
        heading: [tag for rank, tag in enumerate(tag for tag in one.found if tag.family == family) if kept(rank, tag)]
        for family, heading in headings.items()
    }
    if form is Format.jsonl:
        _print_json({"path": one.name, **{heading: _probabilities(ones) for heading, ones in chosen.items()}})
    elif form is Format.text:
        console.print(f"[bold]{shown(one.name)}[/]")
        for heading, ones in chosen.items():
            named = ", ".join(f"{shown(tag.tag)} [dim]{tag.probability:.2f}[/]" for tag in ones)
            console.print(f"  {heading:<12} {named or '[dim]none[/]'}")
    else:
        _print_export(one.name, [tag for ones in chosen.values() for tag in ones], form)


def _print_header() -> None:
    from eno.inference.export import csv_header

    typer.echo(csv_header())


def _print_export(name: str, tags: list[TagProbability], form: Format) -> None:
    from eno.inference.export import beets_line, csv_lines, picard_line

    made = {Format.csv: csv_lines, Format.beets: beets_line, Format.picard: picard_line}[form](name, tags)
    if made:
        # Where a name is no UTF-8, its bytes as they are.
        typer.echo(made if _is_utf8(made) else os.fsencode(made))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _probabilities(tags: list[TagProbability]) -> dict[str, float]:
    return {one.tag: round(one.probability, 4) for one in tags}


def _print_json(value: dict[str, Any]) -> None:
    # ASCII, so that a name whose bytes are no UTF-8 comes through as JSON escapes.
    typer.echo(json.dumps(value))

"""Predict tags: ``tag``, with a trained predictor, with musicnn's own tags, or with any words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from eno.cli.commands import TAGS, command
from eno.cli.options import (
    RESULT,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LibraryOptions,
    PredictorOption,
    StoresOption,
    print_json,
    shown,
)
from eno.cli.tags.tagged_items import Selection, Tagged, from_files, from_store, is_section, open_for, written
from eno.console import console, errors
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import printable

if TYPE_CHECKING:
    from eno.data.labels.encoder import LabelEncoder
    from eno.embeddings.store.joined_stores import Stores
    from eno.inference.predictions import TagProbability
    from eno.inference.predictor import EnoPredictor
    from eno.library import Library

app = typer.Typer()

_TEXT_ENCODERS = ("clap", "laion")
_FOR_WRITING = ("beets", "picard")  # formats for programs that write tags

SECTIONS_REMARK = "the tags of one track do not describe the whole file"
UNFAMILIAR_REMARK = "unfamiliar: unlike the tracks that the predictor was trained on"

Format = Literal["text", "jsonl", "csv", "parquet", "beets", "picard"]
IncludeUnfamiliarOption = Annotated[
    bool,
    typer.Option(
        "--include-unfamiliar",
        help="Also write the tags of files that are unlike the tracks that the predictor was trained on",
    ),
]


@dataclass(frozen=True)
class Words:
    """Tags to predict instead of those of a trained predictor."""

    tags: Annotated[str | None, typer.Option(help="Any words, separated by commas; needs no training")] = None
    tags_file: Annotated[
        Path | None, typer.Option(help="File of words: one per line, or the vocabulary of 'eno labels'")
    ] = None
    prompt: Annotated[
        list[str] | None, typer.Option(help="Text prompt with {} for the word; repeat it to average several")
    ] = None
    calibrate: Annotated[Path | None, typer.Option(help="CSV file (track,tag) of labelled tracks, to calibrate on")] = (
        None
    )
    vocabulary: Annotated[
        Literal["mtt", "msd"] | None,
        typer.Option(help="musicnn's own tags: MagnaTagATune or Million Song Dataset (default: mtt)"),
    ] = None

    @property
    def given(self) -> bool:
        """Whether there are any words."""
        return self.tags is not None or self.tags_file is not None


@dataclass(frozen=True)
class ResultOptions:
    """Which tags are shown, and how."""

    panel: ClassVar[str] = RESULT

    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of genres, of descriptors, and so on (default: those above the predictor's thresholds, or 5)",
        ),
    ] = None
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Show all tags above this probability")] = None
    include_unfamiliar: IncludeUnfamiliarOption = False
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="Text; JSON Lines; CSV with one row per tag; Parquet with the same columns (--out); 'beet modify' "
            "commands for beets; JSON Lines with the tag names of MusicBrainz Picard",
        ),
    ] = "text"


@command(app, panel=TAGS)
def tag(
    where: LibraryOptions,
    words: Words,
    result: ResultOptions,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Audio files, sections such as mix.flac#07, and folders")
    ] = None,
    model: PredictorOption = None,
    store: StoresOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    save: Annotated[Path | None, typer.Option(help="Save the predictor to this folder, for --model")] = None,
    album: Annotated[bool, typer.Option("--album", help="Tag each folder as one album")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write with --format parquet")] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the tags of audio files, or of the tracks in a store.

    Without a trained predictor, musicnn's own tags are used.
    """
    library = where.open(model=model, device=device)
    form = "jsonl" if as_json else result.form
    _check_combination(paths, model, words, store, is_file=form == "parquet", out=out)
    predictor = predictor_of(library, encoder, words, trained=model is not None)
    opened = None if store is None else open_for(predictor, store)
    if words.calibrate is not None:
        _calibrate(predictor, words.calibrate, opened)
    if save is not None:
        predictor.save(save)
    count = failed = sections = 0
    selection = Selection.for_predictor(predictor, result.top, result.threshold)
    headings = _headings(predictor.labels)
    if opened is None:
        tagged = from_files(predictor, paths or [], album, library)
    else:
        tagged = from_store(predictor, opened, album, selection)
    if out is not None:
        tagged = written(tagged, selection, out)
    for one in tagged:
        if count == 0 and form == "csv":
            _print_header()
        count += 1
        failed += isinstance(one.found, AudioError)
        if form in _FOR_WRITING and is_section(one.name):
            sections += 1
        elif form in _FOR_WRITING and one.unfamiliar and not result.include_unfamiliar:
            errors.print(f"{shown(one.name)}: left out as {UNFAMILIAR_REMARK} (--include-unfamiliar)")
        else:
            _show(one, selection, form, headings, key="folder" if album else "track_id")
    _remark(predictor, form, sections)
    _check_result(count, failed, "albums" if album else "files", paths or [], opened)


def _check_result(count: int, failed: int, what: str, paths: list[Path], store: Stores | None) -> None:
    if count == 0:
        places = ", ".join(map(printable, paths))
        raise EnoError(f"No audio files in {places}." if store is None else f"{store.path}: contains no tracks yet.")
    if failed:
        raise EnoError(f"{failed} of {count} {what} could not be tagged.")


def _remark(predictor: EnoPredictor, form: Format, sections: int) -> None:
    """Say what was left out of a format for other programs, and what the numbers do not mean."""
    if sections:
        errors.print(f"Left out {sections} section{'s' * (sections > 1)} of files: {SECTIONS_REMARK}.")
    if form in _FOR_WRITING and predictor.labels.others:
        errors.print(
            f"Left out {shown(', '.join(predictor.labels.others))}: --format {form} has genres and moods only."
        )
    if form == "text" and not getattr(predictor.head, "calibrated", True):
        errors.print(
            "[dim]These scores are not calibrated: use them to compare tracks, not tags. --calibrate turns them into "
            "probabilities.[/]"
        )


def predictor_of(library: Library, encoder: str | None, words: Words | None = None, *, trained: bool) -> EnoPredictor:
    """Load the predictor of the library, or create one from words or musicnn's own tags.

    `trained` is true if the command line names a predictor. Otherwise that of the library is used if it exists.
    """
    from eno.data.labels.encoder import LabelEncoder
    from eno.encoders import is_own
    from eno.inference.predictor import EnoPredictor

    words = words or Words()
    if words.given:
        from eno.inference.zero_shot import read_tags

        name = library.settings.encoder
        known = name in _TEXT_ENCODERS or is_own(name)
        loaded = library.encoder(encoder or (name if known else _TEXT_ENCODERS[0]))
        named = [word.strip() for word in (words.tags or "").split(",") if word.strip()]
        labels = LabelEncoder([], named) if words.tags_file is None else read_tags(words.tags_file)
        return EnoPredictor.zero_shot(loaded, labels, templates=words.prompt, policy=library.window_policy)
    if trained or (library.has_predictor and words.vocabulary is None and encoder is None):
        return library.predictor(encoder)
    if encoder not in (None, "musicnn"):
        raise ConfigError(f"The encoder {encoder!r} has no tags of its own. Specify some with --tags, or use --model.")
    vocabulary = words.vocabulary or "mtt"
    return EnoPredictor.musicnn(vocabulary, device=library.settings.device, policy=library.window_policy)


def _check_combination(
    paths: list[Path] | None,
    model: Path | None,
    words: Words,
    store: list[str] | None,
    *,
    is_file: bool,
    out: Path | None,
) -> None:
    if is_file != (out is not None):
        raise ConfigError("--format parquet and --out FILE belong together.")
    if (not paths) == (store is None):
        raise ConfigError("Specify audio files or folders, or a store with --store, but not both.")
    if (model is not None) + (words.tags is not None) + (words.tags_file is not None) > 1:
        raise ConfigError("--model, --tags and --tags-file cannot be combined.")
    if (words.prompt or words.calibrate) and not words.given:
        raise ConfigError("--prompt and --calibrate need --tags or --tags-file.")


def _calibrate(predictor: EnoPredictor, path: Path, store: Stores | None) -> None:
    import numpy as np

    from eno.inference.zero_shot import read_labelled

    tracks, labels = read_labelled(path, predictor.labels)
    vectors = np.stack([predictor.embed(track) for track in tracks]) if store is None else store.view(tracks)
    try:
        predictor.head.fit(vectors, labels)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _headings(labels: LabelEncoder) -> dict[str, str]:
    """Return the families to show, each with its heading."""
    from eno.data.families import heading

    if not labels.genres and not labels.others:  # words of the user's own are neither genres nor descriptors
        return {"descriptor": "tags"}
    # Programs that read the output find genres and descriptors in it, even if there are none.
    families = labels.by_family if labels.genres or labels.descriptors else labels.others
    return {family: heading(family) for family in families}


def _show(one: Tagged, selection: Selection, form: Format, headings: dict[str, str], *, key: str) -> None:
    if isinstance(one.found, AudioError):
        if form == "jsonl":
            print_json({key: one.name, "error": one.found.reason})
        elif form == "text":
            console.print(f"[bold]{shown(one.name)}[/]\n  [red]error[/] {shown(one.found.reason)}")
        else:  # these formats are read by programs that expect tags only
            errors.print(f"{shown(one.name)}: [red]error[/] {shown(one.found.reason)}")
        return
    if form == "parquet":  # written to a file
        return
    chosen = {heading: selection.of_family(one.found, family) for family, heading in headings.items()}
    if form == "jsonl":
        values = {heading: {tag.tag: round(tag.probability, 4) for tag in tags} for heading, tags in chosen.items()}
        print_json({key: one.name, **values, **familiarity_json(one)})
    elif form == "text":
        console.print(f"[bold]{shown(one.name)}[/]")
        for heading, tags in chosen.items():
            named = ", ".join(f"{shown(tag.tag)} [dim]{tag.probability:.2f}[/]" for tag in tags)
            console.print(f"  {shown(heading):<12} {named or '[dim]none[/]'}")
        if one.familiarity is not None:
            remark = f" [yellow]{UNFAMILIAR_REMARK}[/]" if one.unfamiliar else ""
            console.print(f"  {'familiarity':<12} [dim]{one.familiarity:.2f}[/]{remark}")
    else:
        _print_export(one, [tag for tags in chosen.values() for tag in tags], form)


def _print_header() -> None:
    from eno.inference.export import csv_header

    typer.echo(csv_header())


def familiarity_json(one: Tagged) -> dict[str, Any]:
    """Return what JSON output says about familiarity: nothing if the predictor does not know."""
    known = one.familiarity
    return {} if known is None else {"familiarity": round(known, 4), "unfamiliar": one.unfamiliar}


def _print_export(one: Tagged, tags: list[TagProbability], form: Format) -> None:
    from eno.inference.export import beets_line, csv_lines, picard_line

    if form == "csv":
        made = csv_lines(one.name, tags, one.familiarity)
    else:
        made = (beets_line if form == "beets" else picard_line)(one.name, tags)
    if made:
        is_utf8 = not any("\ud800" <= sign <= "\udfff" for sign in made)
        typer.echo(made if is_utf8 else os.fsencode(made))  # names that are not valid UTF-8 keep their bytes

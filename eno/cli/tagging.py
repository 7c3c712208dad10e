"""Naming the tags of files: ``tag``, with a trained predictor, with musicnn's own tags, or with any words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eno.cli.options import (
    ConfigOption,
    DeviceOption,
    EncoderOption,
    SetOption,
    encoder_of,
    policy_of,
    settings,
    shown,
)
from eno.config import Settings
from eno.console import console
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import printable

if TYPE_CHECKING:
    from eno.embeddings.store import EmbeddingStore
    from eno.inference.predictor import EnoPredictor, TagProbability

    Named = tuple[str, list[TagProbability] | AudioError]
    Chooser = Callable[[int, TagProbability], bool]

app = typer.Typer()

_TEXT_ENCODERS = ("clap", "laion")
_TOP = 5


class Vocabulary(StrEnum):
    """Tag sets that musicnn brings along."""

    mtt = "mtt"
    msd = "msd"


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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line")] = False,
    device: DeviceOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Name the tags of audio files, or of the tracks of a store."""
    chosen = settings(config, overrides, device=device)
    _check_combination(paths, model, tags, tags_file, prompt, calibrate, store)
    predictor = _predictor(chosen, model, encoder, tags, tags_file, prompt, vocabulary)
    opened = None if store is None else _open_store(store, predictor)
    if calibrate is not None:
        _calibrate(predictor, calibrate, opened)
    if save is not None:
        predictor.save(save)
    count = failed = 0
    kept = _chooser(predictor, top, threshold)
    tagged = _from_files(predictor, paths or [], album) if opened is None else _from_store(predictor, opened, album)
    for name, found in tagged:
        count += 1
        failed += isinstance(found, AudioError)
        _show(name, found, kept, as_json, families=predictor.labels.num_genres > 0)
    if not as_json and not getattr(predictor.head, "calibrated", True):
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


def _predictor(
    chosen: Settings,
    model: Path | None,
    encoder: str | None,
    tags: str | None,
    tags_file: Path | None,
    prompt: list[str] | None,
    vocabulary: Vocabulary,
) -> EnoPredictor:
    from eno.data.labels import LabelEncoder
    from eno.encoders import is_own
    from eno.inference.predictor import EnoPredictor
    from eno.inference.saved import read_description
    from eno.inference.zero_shot import read_tags

    if tags is not None or tags_file is not None:
        known = chosen.encoder in _TEXT_ENCODERS or is_own(chosen.encoder)
        loaded = encoder_of(chosen, encoder or (chosen.encoder if known else _TEXT_ENCODERS[0]))
        words = [word.strip() for word in (tags or "").split(",") if word.strip()]
        labels = LabelEncoder([], words) if tags_file is None else read_tags(tags_file)
        return EnoPredictor.zero_shot(loaded, labels, templates=prompt, policy=policy_of(chosen))
    if model is not None:
        if encoder is not None:
            return EnoPredictor.load(model, device=chosen.device, encoder=encoder_of(chosen, encoder))
        options = chosen.options_of(read_description(model).spec.name)
        location = {key: value for key, value in options.items() if key in ("model", "revision")}
        return EnoPredictor.load(model, device=chosen.device, dtype=chosen.dtype, **location)
    if encoder not in (None, "musicnn"):
        raise ConfigError(f"The encoder {encoder!r} has no tags of its own: name some with --tags, or a --model.")
    return EnoPredictor.musicnn(vocabulary.value, device=chosen.device, policy=policy_of(chosen))


def _open_store(path: str, predictor: EnoPredictor) -> EmbeddingStore:
    from eno.embeddings.store import EmbeddingStore

    opened = EmbeddingStore.open(path)
    opened.require(predictor.encoder.spec)
    predictor.policy = opened.policy  # what is calibrated on these vectors and saved listens to the same windows
    return opened


def _calibrate(predictor: EnoPredictor, path: Path, store: EmbeddingStore | None) -> None:
    import numpy as np

    from eno.inference.zero_shot import read_labelled

    tracks, labels = read_labelled(path, predictor.labels)
    vectors = np.stack([predictor.embed(track) for track in tracks]) if store is None else store.matrix(tracks)[1]
    assert predictor.head is not None
    try:
        predictor.head.fit(vectors, labels)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _from_files(predictor: EnoPredictor, paths: list[Path], album: bool) -> Iterator[Named]:
    from eno.data.library import expand_audio

    files = expand_audio(paths)
    if album:
        for folder, tracks in groupby(files, key=lambda path: path.parent):
            try:
                yield str(folder), predictor.name_tags(predictor.predict_album_proba(tracks), album=True)
            except AudioError as error:
                yield str(folder), error
        return
    for path in files:
        try:
            yield str(path), predictor.predict_tags(path)
        except AudioError as error:
            yield str(path), error


def _from_store(predictor: EnoPredictor, store: EmbeddingStore, album: bool) -> Iterator[Named]:
    from eno.training.tracks import windows_of

    ids = store.track_ids()
    if not ids:
        return
    windows = predictor.head is not None and predictor.head.takes_windows
    probabilities = predictor.predict_vectors(windows_of(store, ids) if windows else store.view(ids))
    if album:
        ids, probabilities = predictor.combine_tracks(probabilities, [str(PurePosixPath(name).parent) for name in ids])
    for name, row in zip(ids, probabilities, strict=True):
        yield name, predictor.name_tags(row, album=album)


def _chooser(predictor: EnoPredictor, top: int | None, threshold: float | None) -> Chooser:
    """Give what decides, by its rank in its family, whether a tag is shown."""
    if threshold is not None:
        return lambda rank, tag: tag.probability > threshold
    if top is not None or predictor.calibration is None:
        return lambda rank, tag: rank < (top or _TOP)
    return lambda rank, tag: tag.probability > tag.threshold


def _show(
    name: str,
    found: list[TagProbability] | AudioError,
    kept: Chooser,
    as_json: bool,
    *,
    families: bool,
) -> None:
    """Print the tags of one track, or why there are none."""
    if isinstance(found, AudioError):
        if as_json:
            _print_json({"path": name, "error": found.reason})
        else:
            console.print(f"[bold]{shown(name)}[/]\n  [red]error[/] {shown(found.reason)}")
        return
    # Plain words have no family of their own.
    headings = {"genre": "genres", "descriptor": "descriptors"} if families else {"descriptor": "tags"}
    chosen = {
        heading: [one for rank, one in enumerate(one for one in found if one.family == family) if kept(rank, one)]
        for family, heading in headings.items()
    }
    if as_json:
        _print_json({"path": name, **{heading: _probabilities(ones) for heading, ones in chosen.items()}})
        return
    console.print(f"[bold]{shown(name)}[/]")
    for heading, ones in chosen.items():
        named = ", ".join(f"{shown(one.tag)} [dim]{one.probability:.2f}[/]" for one in ones)
        console.print(f"  {heading:<12} {named or '[dim]none[/]'}")


def _probabilities(tags: list[TagProbability]) -> dict[str, float]:
    return {one.tag: round(one.probability, 4) for one in tags}


def _print_json(value: dict[str, Any]) -> None:
    # ASCII, so that a name whose bytes are no UTF-8 comes through as JSON escapes.
    typer.echo(json.dumps(value))

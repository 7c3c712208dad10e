"""Predict tags: ``tag``, with a trained predictor, with musicnn's own tags, or with any words."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

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
from eno.console import console, errors, progress
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import printable

if TYPE_CHECKING:
    import numpy as np

    from eno.embeddings.store.joined_stores import Stores
    from eno.inference.predictions import TagProbability
    from eno.inference.predictor import EnoPredictor
    from eno.library import Library

app = typer.Typer()

_TOP = 5
_TEXT_ENCODERS = ("clap", "laion")
_FOR_WRITING = ("beets", "picard")  # formats for programs that write tags

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
            help="Number of genres, and of descriptors (default: those above the predictor's thresholds, or 5)",
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


@dataclass(frozen=True)
class Tagged:
    """Tags of a track or album by descending probability, or why there are none.

    `name` is a file, track id or album folder; `members` are the files or track ids that these tags belong to. For
    `familiarity` see `eno.inference.predictions.Prediction`.
    """

    name: str
    members: tuple[str, ...]
    found: list[TagProbability] | AudioError
    familiarity: float | None = None

    @property
    def unfamiliar(self) -> bool:
        """Whether the track or album is unlike the tracks that the predictor was trained on."""
        from eno.models.familiarity import is_unfamiliar

        return is_unfamiliar(self.familiarity)


@command(app, panel=TAGS)
def tag(
    where: LibraryOptions,
    words: Words,
    result: ResultOptions,
    paths: Annotated[list[Path] | None, typer.Argument(help="Audio files and folders")] = None,
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
    count = failed = 0
    selection = Selection.for_predictor(predictor, result.top, result.threshold)
    if opened is None:
        tagged = from_files(predictor, paths or [], album, library.settings.exclude)
    else:
        tagged = from_store(predictor, opened, album, selection)
    if out is not None:
        tagged = _written(tagged, selection, out)
    for one in tagged:
        if count == 0 and form == "csv":
            _print_header()
        count += 1
        failed += isinstance(one.found, AudioError)
        if one.unfamiliar and form in _FOR_WRITING and not result.include_unfamiliar:
            errors.print(f"{shown(one.name)}: left out as {UNFAMILIAR_REMARK} (--include-unfamiliar)")
            continue
        _show(one, selection, form, key="folder" if album else "track_id", families=predictor.labels.num_genres > 0)
    if form == "text":
        _remark_on_scores(predictor)
    _check_result(count, failed, "albums" if album else "files", paths or [], opened)


def _check_result(count: int, failed: int, what: str, paths: list[Path], store: Stores | None) -> None:
    if count == 0:
        places = ", ".join(map(printable, paths))
        raise EnoError(f"No audio files in {places}." if store is None else f"{store.path}: contains no tracks yet.")
    if failed:
        raise EnoError(f"{failed} of {count} {what} could not be tagged.")


def _remark_on_scores(predictor: EnoPredictor) -> None:
    if not getattr(predictor.head, "calibrated", True):
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


def open_for(predictor: EnoPredictor, stores: list[str]) -> Stores:
    """Open the stores of a predictor's encoders, and check that they are."""
    from eno.embeddings.store.joined_stores import open_stores

    opened = open_stores(stores).require(*predictor.specs)
    predictor.policies = opened.policies  # so that a saved predictor uses the windows that it was calibrated on
    return opened


def from_files(
    predictor: EnoPredictor, paths: list[Path], album: bool, exclude: tuple[str, ...] = ()
) -> Iterator[Tagged]:
    """Tag files, including those in folders; or each folder as one album."""
    from eno.data.library.files import expand_audio

    files, unread = expand_audio(paths, exclude)
    for unlisted, reason in unread.items():
        yield Tagged(str(unlisted), (str(unlisted),), AudioError(unlisted, reason))
    if not album:
        for one in predictor.predict_many(files):
            yield Tagged(str(one.path), (str(one.path),), one.error or one.tags, one.familiarity)
        return
    for folder, group in groupby(files, key=lambda path: path.parent):
        tracks = tuple(map(str, group))
        try:
            whole = predictor.album_prediction(tracks)
            yield Tagged(str(folder), tracks, whole.tags, whole.familiarity)
        except AudioError as error:
            yield Tagged(str(folder), tracks, error)


def from_store(
    predictor: EnoPredictor, store: Stores, album: bool, selection: Selection | None = None
) -> Iterator[Tagged]:
    """Tag the tracks of a store from their vectors, or each of its folders as one album; name the selected tags only.

    Tracks are predicted in batches, and albums as soon as all of their tracks are predicted.
    """
    ids = store.track_ids()
    if not ids:
        return
    bar: AbstractContextManager[Callable[..., None]] = (
        nullcontext(_silent) if console.is_terminal else progress("tagging")
    )
    with bar as show:
        done = 0
        for names, probabilities, familiarity in (_albums if album else _tracks)(predictor, store, ids):
            chosen = None if selection is None else selection.of(predictor, probabilities, album=album)
            tags = predictor.name_rows(probabilities, album=album, chosen=chosen)
            for (name, members), found, one in zip(names, tags, familiarity, strict=True):
                yield Tagged(name, members, found, one)
            done += sum(len(members) for _, members in names)
            show(done, len(ids))


def _silent(done: int, total: int) -> None:
    """Show no progress where the results themselves are shown."""


_Batch: TypeAlias = tuple[list[tuple[str, tuple[str, ...]]], "np.ndarray", "Sequence[float | None]"]


def _tracks(predictor: EnoPredictor, store: Stores, ids: list[str]) -> Iterator[_Batch]:
    for rows, X in predictor.vector_batches(store, ids):
        names = [ids[row] for row in rows.tolist()]
        yield [(name, (name,)) for name in names], predictor.predict_vectors(X), predictor.familiarity_of(X)


def _albums(predictor: EnoPredictor, store: Stores, ids: list[str]) -> Iterator[_Batch]:
    import numpy as np

    from eno.models.familiarity import of_album

    folder_of = {name: str(PurePosixPath(name).parent) for name in ids}
    expected = Counter(folder_of.values())
    waiting: dict[str, list[tuple[str, np.ndarray, float | None]]] = defaultdict(list)
    for names, probabilities, familiarity in _tracks(predictor, store, sorted(ids, key=folder_of.__getitem__)):
        for (name, _), row, known in zip(names, probabilities, familiarity, strict=True):
            waiting[folder_of[name]].append((name, row, known))
        complete = [folder for folder, tracks in waiting.items() if len(tracks) == expected[folder]]
        if not complete:
            continue
        tracks = {folder: sorted(waiting.pop(folder), key=lambda track: track[0]) for folder in complete}
        rows = np.stack([row for folder in complete for _, row, _ in tracks[folder]])
        folders, combined = predictor.combine_tracks(rows, [folder for folder in complete for _ in tracks[folder]])
        yield (
            [(folder, tuple(name for name, _, _ in tracks[folder])) for folder in folders],
            combined,
            [of_album([known for _, _, known in tracks[folder]]) for folder in folders],
        )


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


@dataclass(frozen=True)
class Selection:
    """Which tags are shown: all above a threshold, the `top` of each family, or those above their own thresholds."""

    top: int | None = None
    threshold: float | None = None

    @classmethod
    def for_predictor(cls, predictor: EnoPredictor, top: int | None, threshold: float | None) -> Selection:
        """Select what the user asked for; by default the top five, if thresholds of tags were not chosen."""
        return cls(top or (_TOP if predictor.calibration is None and threshold is None else None), threshold)

    def keeps(self, rank: int, tag: TagProbability) -> bool:
        """Return whether a tag is shown, from its rank in its family."""
        if self.threshold is not None:
            return tag.probability > self.threshold
        return rank < self.top if self.top is not None else tag.probability > tag.threshold

    def of_family(self, tags: Sequence[TagProbability], family: str) -> list[TagProbability]:
        """Return the tags of a family that are shown."""
        return [tag for rank, tag in enumerate(tag for tag in tags if tag.family == family) if self.keeps(rank, tag)]

    def of(self, predictor: EnoPredictor, probabilities: np.ndarray, *, album: bool) -> np.ndarray:
        """Return the tags of each row that `keeps` may keep [shape=(n, num_labels), dtype=bool], and tied ones."""
        import numpy as np

        if self.threshold is not None:
            return probabilities >= np.float32(self.threshold)
        if self.top is None:
            return probabilities >= (predictor.album_thresholds if album else predictor.thresholds).astype(np.float32)
        chosen = np.zeros(probabilities.shape, bool)
        families = np.array(predictor.labels.families)
        for family in np.unique(families):
            columns = np.flatnonzero(families == family)
            some, last = probabilities[:, columns], max(len(columns) - self.top, 0)
            chosen[:, columns] = some >= np.partition(some, last, axis=1)[:, last, np.newaxis]
        return chosen


def _show(one: Tagged, selection: Selection, form: Format, *, key: str, families: bool) -> None:
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
    # Words of the user's own are neither genres nor descriptors.
    headings = {"genre": "genres", "descriptor": "descriptors"} if families else {"descriptor": "tags"}
    chosen = {heading: selection.of_family(one.found, family) for family, heading in headings.items()}
    if form == "jsonl":
        values = {heading: {tag.tag: round(tag.probability, 4) for tag in tags} for heading, tags in chosen.items()}
        print_json({key: one.name, **values, **familiarity_json(one)})
    elif form == "text":
        console.print(f"[bold]{shown(one.name)}[/]")
        for heading, tags in chosen.items():
            named = ", ".join(f"{shown(tag.tag)} [dim]{tag.probability:.2f}[/]" for tag in tags)
            console.print(f"  {heading:<12} {named or '[dim]none[/]'}")
        if one.familiarity is not None:
            remark = f" [yellow]{UNFAMILIAR_REMARK}[/]" if one.unfamiliar else ""
            console.print(f"  {'familiarity':<12} [dim]{one.familiarity:.2f}[/]{remark}")
    else:
        _print_export(one, [tag for tags in chosen.values() for tag in tags], form)


def _written(tagged: Iterator[Tagged], selection: Selection, out: Path) -> Iterator[Tagged]:
    """Write the tags that are shown to a Parquet file on the way."""
    from eno.inference.export import TagFile

    with TagFile(out) as file:
        for one in tagged:
            if not isinstance(one.found, AudioError):
                kept = [tag for family in ("genre", "descriptor") for tag in selection.of_family(one.found, family)]
                file.add(one.name, kept, one.familiarity)
            yield one


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

"""Write predicted tags to audio files, and undo it: ``write-tags``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from eno.cli.commands import TAGS, command
from eno.cli.options import (
    RESULT,
    AudioRootOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LibraryOptions,
    PredictorOption,
    StoresOption,
    pairs,
    shown,
)
from eno.cli.tags.shown_edits import show_edit, show_error, show_left_out
from eno.cli.tags.tagged_items import Selection, from_files, from_store, is_section, open_for
from eno.cli.tags.tagging import SECTIONS_REMARK, UNFAMILIAR_REMARK, IncludeUnfamiliarOption, predictor_of
from eno.console import console, errors
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import AudioRoots
from eno.library import Library

if TYPE_CHECKING:
    from eno.inference.predictions import TagProbability
    from eno.tagfiles.edits import TagEdit, UndoLog
    from eno.tagfiles.selection import TagChoice
    from eno.tagfiles.written import WrittenTags

    # The tags or error, None for a section of a file, and whether the file is unfamiliar
    Wanted = tuple[Path, list[TagProbability] | AudioError | None, bool]

app = typer.Typer()

Existing = Literal["keep", "merge", "replace"]


@dataclass(frozen=True)
class ChoiceOptions:
    """Which tags are written, and to which fields of a file."""

    panel: ClassVar[str] = RESULT

    existing: Annotated[
        Existing, typer.Option(help="Fields that already have values: keep them, add to them, or replace them")
    ] = "keep"
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Minimum probability of a tag (default: the predictor's thresholds)"),
    ] = None
    top: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of genres, of descriptors, and of each other family")
    ] = None
    genres_only: Annotated[bool, typer.Option("--genres-only", help="Write genres only")] = False
    descriptors_as: Annotated[Literal["mood", "style", "both"], typer.Option(help="Field for descriptors")] = "mood"
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="FAMILY=FIELD",
            help="Field for the tags of another family, such as instruments=grouping or a name of your own; without "
            "one, they are not written; repeatable",
        ),
    ] = None
    include_unfamiliar: IncludeUnfamiliarOption = False

    def choice(self) -> TagChoice:
        """Return these options for the tag writer."""
        from eno.tagfiles.selection import TagChoice, other_fields

        return TagChoice(
            min_probability=self.threshold,
            limit=self.top,
            genres_only=self.genres_only,
            descriptors_as=self.descriptors_as,
            others=other_fields(pairs("--field", self.fields, "instruments=grouping")),
        )


@command(app, "write-tags", panel=TAGS, former={"--min-probability": "--threshold", "--limit": "--top"})
def write_tags(
    where: LibraryOptions,
    options: ChoiceOptions,
    paths: Annotated[list[Path] | None, typer.Argument(help="Audio files and folders")] = None,
    model: PredictorOption = None,
    encoder: EncoderOption = None,
    store: StoresOption = None,
    audio_root: AudioRootOption = None,
    tagged: Annotated[
        Path | None, typer.Option("--from", help="Write this output of 'eno tag --json' instead of predicting")
    ] = None,
    album: Annotated[bool, typer.Option("--album", help="Tag each folder as one album")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the tags; by default, only show what would change")
    ] = False,
    keep_mtime: Annotated[
        bool, typer.Option("--keep-mtime", help="Keep the modification times, by which music servers detect changes")
    ] = False,
    undo_file: Annotated[Path | None, typer.Option(help="File for the previous tags (default: a new one here)")] = None,
    undo: Annotated[Path | None, typer.Option(help="Restore the previous tags from such a file")] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write predicted tags to audio files. Without --write, only show what would change."""
    from eno.tagfiles.written import WrittenTags

    if undo is not None:
        if paths or store or tagged or write:
            raise ConfigError("--undo cannot be combined with files, --store, --from or --write.")
        library = where.open(audio_root=audio_root)
        _undo(undo, WrittenTags(library.data.written_tags, library.present_audio_roots), keep_mtime=keep_mtime)
        return
    if (bool(paths), store is not None, tagged is not None).count(True) != 1:
        raise ConfigError("Specify exactly one source: audio files or folders, --store, or --from.")
    if tagged is not None and (model or encoder or album):
        raise ConfigError("--from already contains the tags; use --model, --encoder and --album with 'eno tag'.")
    library = where.open(model=model, audio_root=audio_root, device=device)
    log = undo_file or Path(f"write-tags-undo-{datetime.now():%Y%m%d-%H%M%S}.jsonl")
    written = WrittenTags(library.data.written_tags, library.present_audio_roots)
    run = _Run(options.choice(), options, log if write else None, written, keep_mtime=keep_mtime, as_json=as_json)
    if tagged is not None:
        wanted = _from_lines(tagged, library.audio_roots, are_ids=bool(audio_root))
    else:
        selection = Selection(threshold=options.threshold)
        wanted = _predicted(library, paths or [], encoder, store, album, selection, trained=model is not None)
    run.work(wanted)


def _predicted(
    library: Library,
    paths: list[Path],
    encoder: str | None,
    store: list[str] | None,
    album: bool,
    selection: Selection,
    *,
    trained: bool,
) -> Iterator[Wanted]:
    predictor = predictor_of(library, encoder, trained=trained)
    if store is None:
        for one in from_files(predictor, paths, album, library):
            yield from ((Path(name), None if is_section(name) else one.found, one.unfamiliar) for name in one.members)
        return
    roots = library.present_audio_roots
    if roots is None:
        raise AudioError(str(library.audio_roots), "is not a folder; specify the folder of the audio with --audio-root")
    for one in from_store(predictor, open_for(predictor, store), album, selection):
        yield from (
            (Path(name), None, False) if name in roots.sections else (roots.file(name), one.found, one.unfamiliar)
            for name in one.members
        )


def _from_lines(path: Path, roots: AudioRoots, *, are_ids: bool) -> Iterator[Wanted]:
    from eno.tagfiles.selection import album_files, read_tagged

    for name, found, unfamiliar in read_tagged(path):
        file = roots.file(name) if are_ids else Path(name)
        if name in roots.sections or is_section(str(file)):
            yield Path(name), None, False
            continue
        for one in album_files(file) if file.is_dir() else [file]:
            yield one, found, unfamiliar


_OUTCOMES = ("changed", "unchanged", "unfamiliar", "sections", "failed")


@dataclass
class _Run:
    """Writes the tags of files one by one, and counts the results."""

    choice: TagChoice
    options: ChoiceOptions
    log: Path | None
    written: WrittenTags
    keep_mtime: bool = field(kw_only=True)
    as_json: bool = field(kw_only=True)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_OUTCOMES, 0))
    left_out: dict[str, None] = field(default_factory=dict)  # families without a field

    def work(self, wanted: Iterator[Wanted]) -> None:
        from eno.tagfiles.edits import UndoLog

        log = None if self.log is None else UndoLog(self.log)
        try:
            self._each(wanted, log)
        except BaseException:  # also Ctrl-C
            if self.log is not None and self.log.is_file():
                errors.print(_how_to_undo(self.log))
            raise
        self._sum_up()

    def _each(self, wanted: Iterator[Wanted], log: UndoLog | None) -> None:
        for path, found, unfamiliar in wanted:
            try:
                if isinstance(found, AudioError):
                    raise found
                if found is None:
                    self.counts["sections"] += 1
                    show_left_out(path, "section", as_json=self.as_json)
                    continue
                if unfamiliar and not self.options.include_unfamiliar:
                    self.counts["unfamiliar"] += 1
                    show_left_out(path, "unfamiliar", as_json=self.as_json)
                    continue
                edit = self._one(path, found, log)
                self.counts["changed" if edit.after else "unchanged"] += 1
                show_edit(edit, written=log is not None, as_json=self.as_json)
            except AudioError as error:
                self.counts["failed"] += 1
                show_error(path, error, as_json=self.as_json)

    def _one(self, path: Path, found: list[TagProbability], log: UndoLog | None) -> TagEdit:
        from eno.tagfiles.edits import plan_edit, write_edit

        try:
            edit = plan_edit(path, self.choice.fields(found), existing=self.options.existing)
            self.left_out |= dict.fromkeys(self.choice.left_out(found))
            if edit.after and log is not None:
                write_edit(edit, log, keep_mtime=self.keep_mtime)
                self.written.add(edit)
        except EnoError:
            raise
        except Exception as error:  # one file does not stop the others
            raise AudioError(path, f"cannot be tagged ({type(error).__name__}: {error}); it is unchanged") from error
        return edit

    def _sum_up(self) -> None:
        total, failed, changed = sum(self.counts.values()), self.counts["failed"], self.counts["changed"]
        if not total:
            raise EnoError("There are no audio files to tag.")
        if not self.as_json:
            verb = "would change" if self.log is None else "changed"
            unfamiliar = f"{self.counts['unfamiliar']} unfamiliar, " if self.counts["unfamiliar"] else ""
            sections = f"{self.counts['sections']} sections of files, " if self.counts["sections"] else ""
            others = f"{self.counts['unchanged']} unchanged, {unfamiliar}{sections}{failed} failed"
            console.print(f"{total} files: {changed} {verb}, {others}.")
            if sections:
                console.print(f"Left out sections of files: {SECTIONS_REMARK}.")
            if unfamiliar:
                console.print(f"Left out as {UNFAMILIAR_REMARK}. --include-unfamiliar writes their tags as well.")
            if changed and self.log is None:
                console.print("Nothing was written. Add --write to write the tags.")
            elif changed:
                console.print(_how_to_undo(self.log))
        for family in self.left_out:
            errors.print(
                f"Left out the family {shown(family)}, which has no field. Choose one: --field "
                f"{shown(shlex.quote(f'{family}=grouping'))}"
            )
        if failed:
            raise EnoError(f"{failed} of {total} files could not be tagged.")


def _how_to_undo(log: Path | None) -> str:
    return f"To restore the previous tags: eno write-tags --undo {shown(log)}"


def _undo(log: Path, written: WrittenTags, *, keep_mtime: bool) -> None:
    from eno.tagfiles.edits import undo

    count = failed = 0
    restored = []
    try:
        for path, error in undo(log, keep_mtime=keep_mtime):
            count += 1
            if error is not None:
                failed += 1
                show_error(path, error, as_json=False)
            else:
                restored.append(path)
    finally:  # also after Ctrl-C
        written.forget(restored)
    console.print(f"{count - failed} of {count} files have their previous tags again.")
    if failed:
        raise EnoError(f"{failed} of {count} files could not be restored.")

"""Predicted tags in the files themselves: ``write-tags``, and taking them back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import ConfigOption, DataRootOption, DeviceOption, EncoderOption, SetOption, settings, shown
from eno.cli.predicting import from_files, from_store, open_store, predictor_of
from eno.console import console
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import printed_file

if TYPE_CHECKING:
    from eno.config import Settings
    from eno.inference.predictions import TagProbability
    from eno.tagfiles.edits import TagEdit, UndoLog
    from eno.tagfiles.selection import TagChoice

    Wanted = tuple[Path, list[TagProbability] | AudioError]

app = typer.Typer()


class Existing(StrEnum):
    """What happens to values that a file has."""

    KEEP = "keep"
    MERGE = "merge"
    REPLACE = "replace"


class Field(StrEnum):
    """Where descriptors go."""

    MOOD = "mood"
    STYLE = "style"
    BOTH = "both"


@app.command("write-tags")
def write_tags(
    paths: Annotated[list[Path] | None, typer.Argument(help="Audio files and folders of them")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Predictor that 'eno train' made (default: musicnn's own tags)")
    ] = None,
    encoder: EncoderOption = None,
    store: Annotated[str | None, typer.Option(help="Tag the files of a store, by their vectors")] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that the store was made of (default: raw/audio of the data root)")
    ] = None,
    tagged: Annotated[
        Path | None, typer.Option("--from", help="What 'eno tag --json' printed, instead of a predictor")
    ] = None,
    album: Annotated[
        bool, typer.Option("--album", help="Give all tracks of a folder the tags of the album that they make")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write them (default: only show what would change)")] = False,
    existing: Annotated[
        Existing, typer.Option(help="Leave a field that has values alone, add to it, or overwrite it")
    ] = Existing.KEEP,
    min_probability: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Tags from this probability on (default: the thresholds that were learned)"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many genres, and so many descriptors")] = None,
    genres_only: Annotated[bool, typer.Option("--genres-only", help="Leave descriptors out")] = False,
    descriptors_as: Annotated[Field, typer.Option(help="The field of descriptors")] = Field.MOOD,
    keep_mtime: Annotated[
        bool, typer.Option("--keep-mtime", help="Leave the time of change, by which music servers notice it")
    ] = False,
    undo_file: Annotated[
        Path | None, typer.Option(help="Where old tags are kept (default: a new file in this folder)")
    ] = None,
    undo: Annotated[Path | None, typer.Option(help="Put back the old tags that such a file holds")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line")] = False,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Write predicted genres and descriptors into audio files; shows what would change, until --write."""
    from eno.tagfiles.selection import TagChoice

    if undo is not None:
        if paths or store or tagged or write:
            raise ConfigError("--undo goes alone: it puts back all that its file holds.")
        _undo(undo, keep_mtime=keep_mtime)
        return
    if (bool(paths), store is not None, tagged is not None).count(True) != 1:
        raise ConfigError("Name audio files, or a store with --store, or tags with --from; one of them.")
    if tagged is not None and (model or encoder or album):
        raise ConfigError("--from has the tags already: --model, --encoder and --album go with 'eno tag'.")
    chosen = settings(config, overrides, device=device, data_root=data_root)
    choice = TagChoice(
        min_probability=min_probability,
        limit=limit,
        genres_only=genres_only,
        descriptors_as=descriptors_as.value,
    )
    log = undo_file or Path(f"write-tags-undo-{datetime.now():%Y%m%d-%H%M%S}.jsonl")
    run = _Run(choice, existing.value, log if write else None, keep_mtime=keep_mtime, as_json=as_json)
    if tagged is not None:
        wanted = _from_lines(tagged, audio_root)
    else:
        wanted = _predicted(chosen, paths or [], model, encoder, store, audio_root, album)
    run.work(wanted)


def _predicted(
    chosen: Settings,
    paths: list[Path],
    model: Path | None,
    encoder: str | None,
    store: str | None,
    audio_root: Path | None,
    album: bool,
) -> Iterator[Wanted]:
    from eno.data.layout import DataRoot

    predictor = predictor_of(chosen, model, encoder)
    if store is None:
        for one in from_files(predictor, paths, album):
            yield from ((Path(name), one.found) for name in one.members)
        return
    root = audio_root or DataRoot(chosen.data_root).audio
    if not root.is_dir():
        raise AudioError(root, "is not a folder; name the one that the store was made of with --audio-root")
    for one in from_store(predictor, open_store(store, predictor), album):
        yield from ((printed_file(root, name), one.found) for name in one.members)


def _from_lines(path: Path, audio_root: Path | None) -> Iterator[Wanted]:
    from eno.tagfiles.selection import album_files, read_tagged

    for name, found in read_tagged(path):
        file = Path(name) if audio_root is None else printed_file(audio_root, name)
        for one in album_files(file) if file.is_dir() else [file]:
            yield one, found


@dataclass
class _Run:
    """Files that are gone through, and what came of them."""

    choice: TagChoice
    existing: str
    log: Path | None
    keep_mtime: bool = field(kw_only=True)
    as_json: bool = field(kw_only=True)
    counts: dict[str, int] = field(default_factory=lambda: {"changed": 0, "as they are": 0, "failed": 0})

    def work(self, wanted: Iterator[Wanted]) -> None:
        from eno.tagfiles.edits import UndoLog

        log = None if self.log is None else UndoLog(self.log)
        for path, found in wanted:
            try:
                if isinstance(found, AudioError):
                    raise found
                edit = self._one(path, found, log)
                self.counts["changed" if edit.after else "as they are"] += 1
                _show(edit, written=log is not None, as_json=self.as_json)
            except AudioError as error:
                self.counts["failed"] += 1
                _show_error(path, error, as_json=self.as_json)
        self._sum_up()

    def _one(self, path: Path, found: list[TagProbability], log: UndoLog | None) -> TagEdit:
        from eno.tagfiles.edits import plan_edit, write_edit

        edit = plan_edit(path, self.choice.fields(found), existing=self.existing)
        if edit.after and log is not None:
            write_edit(edit, log, keep_mtime=self.keep_mtime)
        return edit

    def _sum_up(self) -> None:
        total, failed = sum(self.counts.values()), self.counts["failed"]
        if not total:
            raise EnoError("There are no audio files to tag.")
        if not self.as_json:
            changed = self.counts["changed"]
            verb = "would change" if self.log is None else "changed"
            same = self.counts["as they are"]
            console.print(f"{total} files: {changed} {verb}, {same} stay as they are, {failed} failed.")
            if changed and self.log is None:
                console.print("Nothing is written yet: --write does that.")
            elif changed:
                console.print(
                    f"Their old tags: {shown(self.log)}. Back to them: eno write-tags --undo {shown(self.log)}"
                )
        if failed:
            raise EnoError(f"{failed} of {total} files could not be tagged.")


def _show(edit: TagEdit, *, written: bool, as_json: bool) -> None:
    if as_json:
        values = {"before": edit.before, "after": edit.after, "kept": edit.kept}
        typer.echo(json.dumps({"path": str(edit.path), **values, "written": written and bool(edit.after)}))
        return
    console.print(f"[bold]{shown(edit.path)}[/]")
    for name, after in edit.after.items():
        before = edit.before[name]
        signs = [f"[red]- {shown(one)}[/]" for one in before if one not in after]
        signs += [shown(one) if one in before else f"[green]+ {shown(one)}[/]" for one in after]
        console.print(f"  {name:<6} {', '.join(signs)}")
    for name, kept in edit.kept.items():
        console.print(f"  [dim]{name:<6} {shown(', '.join(kept))} (kept: --existing merge or replace writes here)[/]")
    if not edit.after and not edit.kept:
        console.print("  [dim]nothing to write[/]")


def _show_error(path: Path, error: AudioError, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"path": str(path), "error": error.reason}))
    else:
        console.print(f"[bold]{shown(path)}[/]\n  [red]error[/] {shown(error.reason)}")


def _undo(log: Path, *, keep_mtime: bool) -> None:
    from eno.tagfiles.edits import undo

    count = failed = 0
    for path, error in undo(log, keep_mtime=keep_mtime):
        count += 1
        if error is not None:
            failed += 1
            _show_error(path, error, as_json=False)
    console.print(f"{count - failed} of {count} changes were taken back.")
    if failed:
        raise EnoError(f"{failed} of {count} changes could not be taken back.")

"""Teach a predictor a tag from a few examples: ``teach``."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.commands import TAGS, command
from eno.cli.options import (
    AudioRootOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LibraryOptions,
    ModelOption,
    StoreOption,
    print_failure,
    print_json,
    shown,
    warn,
)
from eno.console import console
from eno.errors import ConfigError, EnoError, UnknownName

if TYPE_CHECKING:
    import numpy as np

    from eno.inference.predictor import EnoPredictor
    from eno.inference.predictor_folder import PredictorParts
    from eno.library import Library
    from eno.models.taught.tags import TaughtTag, TaughtTags

app = typer.Typer()

_FEW = 5


@command(app, panel=TAGS)
def teach(
    where: LibraryOptions,
    tag: Annotated[str | None, typer.Argument(help="Name of the tag")] = None,
    examples: Annotated[
        list[str] | None, typer.Argument(help="Tracks that have it: files, folders, or names of tracks in the store")
    ] = None,
    counter_examples: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="TRACK", help="Track, file or folder that does not have it; repeatable"),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Forget the examples that were given before")] = False,
    family: Annotated[
        str | None, typer.Option(help="Family of the tag: genre, descriptor or any other (default: descriptor)")
    ] = None,
    remove: Annotated[str | None, typer.Option(metavar="TAG", help="Remove a taught tag")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the taught tags")] = False,
    model: ModelOption = None,
    store: StoreOption = None,
    audio_root: AudioRootOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a tag to a predictor from about 5 to 20 examples; other tags do not change.

    Give more examples of the same tag at any time, and tracks that were given the tag by mistake with --not.
    """
    from eno.inference.predictor_folder import PredictorParts, save_taught

    library = where.open(model=model, store=store, device=device, audio_root=audio_root)
    folder = library.settings.model
    parts = PredictorParts.load(folder, device=library.settings.device)
    assert parts.taught is not None
    if sum((tag is not None, remove is not None, show)) != 1:
        raise ConfigError("Specify a tag with examples, or --remove TAG, or --list.")
    if show:
        for one in parts.taught.tags:
            _report(one, as_json=as_json)
    elif remove is not None:
        found = parts.taught.find(remove)
        if found is None:
            raise UnknownName("taught tag", remove, [one.name for one in parts.taught.tags])
        save_taught(folder, parts.taught.without(found.name))
        if not as_json:
            console.print(f"removed {shown(found.name)}")
    elif tag is not None:
        taught, failed = _teach(library, parts, tag, examples or [], counter_examples or [], encoder, family, replace)
        save_taught(folder, taught)
        _report(taught.tags[-1], as_json=as_json)
        if failed:
            raise EnoError(f"{failed} files could not be read. The tag was taught with the others.")


def _teach(
    library: Library,
    parts: PredictorParts,
    tag: str,
    examples: list[str],
    counter_examples: list[str],
    encoder: str | None,
    family: str | None,
    replace: bool,
) -> tuple[TaughtTags, int]:
    """Return all taught tags, this one last, and the number of files that could not be read."""
    from eno.data.library.files import expand_audio
    from eno.inference.teaching import Teaching
    from eno.training.record import stores_for

    @cache
    def predictor() -> EnoPredictor:
        return library.predictor(encoder)

    def embed(path: Path) -> np.ndarray:
        return predictor().embed(path)

    teaching = Teaching(
        stores_for(library.settings.model, library.store()),
        *parts.specs,
        embed=embed,
        audio_roots=library.audio_roots,
        data_root=library.data,
    )
    found, failed = [], 0
    for names in (examples, counter_examples):
        files, unread = expand_audio(map(Path, names), library.settings.exclude)
        some, unreadable = teaching.examples(files)
        for name, reason in [*unread.items(), *((name, error.reason) for name, error in unreadable.items())]:
            print_failure(str(name), reason)
        found.append(some)
        failed += len(unread) + len(unreadable)
    return teaching.teach(parts, tag, *found, family=family, replace=replace), failed


def _report(tag: TaughtTag, *, as_json: bool) -> None:
    estimate = tag.fitted.estimate
    counts = {"examples": len(tag.examples), "counter_examples": len(tag.counter_examples)}
    if as_json:
        print_json({"tag": tag.name, "family": tag.family, **counts, "threshold": tag.fitted.threshold,
                    "estimate": asdict(estimate)})  # fmt: skip
        return
    against = f", {counts['counter_examples']} counter-examples" if counts["counter_examples"] else ""
    console.print(f"[bold]{shown(tag.name)}[/] ({tag.family}): {counts['examples']} examples{against}")
    held_out = f"found {estimate.found} of {estimate.examples} held-out examples; " if estimate.examples else ""
    console.print(f"  {held_out}of 1,000 library tracks it would be given to {1000 * estimate.share:.0f}")
    if len(tag.examples) < _FEW:
        warn(f"{len(tag.examples)} examples are few; 5 to 20 are better.")
    elif estimate.groups == 1:
        warn("All examples are by one artist or of one album, so the tag may mean these. Add others.")

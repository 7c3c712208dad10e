"""Compute embeddings of the collection: ``embed``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eno.cli.commands import EMBEDDINGS, command
from eno.cli.options import (
    EncoderOption,
    ExcludeOption,
    FilesOption,
    FileTimeoutOption,
    JsonOption,
    LibraryOptions,
    MinCoverageOption,
    StoreOption,
    check_coverage,
    check_walk,
    clock,
    print_failure,
    print_json,
    report_walk,
    shown,
    warn,
)
from eno.cli.tracked import FORMER_TRACKING, Run, TrackingOptions, tracked
from eno.console import console, progress
from eno.errors import ConfigError, Interrupted
from eno.library import Library

if TYPE_CHECKING:
    from eno.embeddings.job.embed import EmbedProgress, EmbedReport
    from eno.embeddings.job.executor import Executor
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.encoders import Encoder

app = typer.Typer()

_LOG_S = 10.0


@command(app, panel=EMBEDDINGS, former=FORMER_TRACKING)
def embed(
    where: LibraryOptions,
    tracking: TrackingOptions,
    folder: Annotated[list[Path] | None, typer.Argument(help="Audio folders (default: those of the library)")] = None,
    store: StoreOption = None,
    encoder: EncoderOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry files that failed before")] = False,
    min_coverage: MinCoverageOption = 0.99,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda; several separated by commas: cuda:0,cuda:1")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Decoding processes (default: one per core)")] = None,
    exclude: ExcludeOption = None,
    files: FilesOption = None,
    file_timeout: FileTimeoutOption = 120,
    dtype: Annotated[
        Literal["float16", "float32"] | None,
        typer.Option("--store-dtype", help="Precision of a new store (default: float16)"),
    ] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="Run on this machine or a Ray cluster")] = "local",
    json_log: Annotated[bool, typer.Option("--json-log", help="Log progress as JSON Lines to stderr")] = False,
    as_json: JsonOption = False,
) -> None:
    """Embed the collection. Later runs embed new and changed files; an interrupted run resumes where it stopped."""
    library = where.open(audio_root=folder, store=store, encoder=encoder, device=device, exclude=exclude, files=files)
    roots = list(library.audio_roots.folders)
    arguments = {"folder": list(library.settings.audio_roots) or roots, "exclude": list(library.settings.exclude),
                 "files": library.settings.files, "store": store,
                 "retry_failed": retry_failed, "min_coverage": min_coverage, "workers": workers,
                 "file_timeout": file_timeout, "dtype": dtype, "executor": executor}  # fmt: skip
    chosen = library.settings.encoder
    with tracked(
        embed, "embeddings", library, arguments, tracking,
        name=f"embed {roots[0].name} with {chosen}", used=(chosen.partition(":")[0],),
    ) as run:  # fmt: skip
        _embed(run, json_log=json_log, as_json=as_json)


def _embed(run: Run, *, json_log: bool, as_json: bool) -> None:
    from eno.devices import resolve_device
    from eno.embeddings.job.embed import embed_folder
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.training.tracker_reports import progress_reporter, report_embedding

    given = run.arguments
    walked = {"audio_roots": tuple(given["folder"]), "exclude": tuple(given["exclude"])}
    library = Library(run.library.settings.model_copy(update=walked))
    chosen, executor, dtype = library.settings, given["executor"], given["dtype"]
    devices = [name.strip() for name in chosen.device.split(",")]
    several = len(devices) > 1 or executor == "ray"
    if executor == "local":
        for name in devices:
            resolve_device(name)  # fails early, even if the encoder does not use it
    encoder = library.encoder(device="cpu" if several else None)  # several devices load it in their own processes
    place = given["store"] or library.new_store_place(encoder.spec)
    store = EmbeddingStore.open_or_create(place, encoder.spec, policy=library.window_policy, dtype=dtype)
    track = progress_reporter(run.experiment)
    with _shown_progress(f"embedding with {chosen.encoder}", json_log) as show:

        def report_progress(at: EmbedProgress) -> None:
            show(at)
            track(at)

        report = embed_folder(
            library.audio_roots,
            encoder,
            store,
            executor=_executor(executor, library, devices, encoder, given["workers"], given["file_timeout"]),
            retry_failed=given["retry_failed"],
            on_progress=report_progress,
        )
    if report.moved and library.data.feedback.exists():
        from eno.training.feedback import Feedback

        Feedback(library.data.feedback).follow(report.moved)
    if report.moved and library.data.written_tags.exists():
        from eno.tagfiles.written import WrittenTags

        WrittenTags(library.data.written_tags, library.audio_roots).follow(report.moved)
    report_embedding(run.experiment, report, store)
    if json_log:
        _log("end", {**asdict(report), "coverage": report.coverage})
    if as_json:
        print_json({**asdict(report), "coverage": report.coverage, "store": str(store.path)})
    else:
        _print_report(report, store)
    if ".cue" in report.left_out and not library.data.tracks.is_file():
        warn("There are CUE sheets, which only a scan reads: until you run 'eno scan', a long file is one track.")
    _check(report, library, given["min_coverage"])


def _executor(
    name: str,
    library: Library,
    devices: list[str],
    encoder: Encoder,
    workers: int | None,
    file_timeout_s: float,
) -> Executor:
    options: dict[str, Any] = {"workers": workers, "file_timeout_s": file_timeout_s}
    policy, dtype = library.window_policy, library.settings.dtype
    if name == "ray":
        from eno.embeddings.job.ray_job import RayExecutor

        if len(devices) > 1:
            raise ConfigError("--executor ray assigns devices itself; use --device auto, cpu or cuda with it.")
        return RayExecutor(encoder.spec, policy, device=devices[0], dtype=dtype, **options)
    if len(devices) > 1:
        from eno.embeddings.job.device_processes import DevicesExecutor

        return DevicesExecutor(encoder.spec, policy, devices, dtype=dtype, **options)
    from eno.embeddings.job.pipeline import LocalExecutor

    return LocalExecutor(encoder, policy, **options)


@contextmanager
def _shown_progress(label: str, as_json: bool) -> Iterator[Callable[[EmbedProgress], None]]:
    if as_json:
        yield _json_progress()
        return
    with progress(label) as show:
        yield lambda at: show(
            at.done,
            at.total,
            f"{at.tracks_per_s:.1f} tracks/s, {at.audio_hours_per_hour:.0f} h of audio per hour, "
            f"{'?' if at.eta_s is None else clock(at.eta_s)} left, {at.failed} failed",
        )


def _json_progress() -> Callable[[EmbedProgress], None]:
    last = 0.0

    def show(at: EmbedProgress) -> None:
        nonlocal last
        if at.done == at.total or time.monotonic() - last > _LOG_S:
            last = time.monotonic()
            rates = {"tracks_per_s": at.tracks_per_s, "audio_hours_per_hour": at.audio_hours_per_hour}
            _log("progress", {**asdict(at), **rates, "eta_s": at.eta_s})

    return show


def _log(event: str, values: dict[str, Any]) -> None:
    typer.echo(json.dumps({"event": event, "time": time.time(), **values}), err=True)


def _print_report(report: EmbedReport, store: EmbeddingStore) -> None:
    for failure in report.failures:
        print_failure(failure.path, failure.reason)
    speed = f"{report.audio_s / report.seconds:.0f} s of audio per second" if report.embedded else ""
    console.print(
        f"found {report.found} = embedded {report.embedded} + skipped {report.skipped} + failed {report.failed}"
        + f" + left {report.left}" * bool(report.left)
        + f" in {report.seconds:.0f} s, {speed}" * bool(speed)
    )
    if report.changed or report.vanished:
        console.print(f"{report.changed} files had changed and were embedded again; {report.vanished} no longer exist")
    if report.moved:
        console.print(f"{len(report.moved)} files were renamed or moved; their vectors and corrections are kept")
    report_walk(report.unread, report.left_out)
    console.print(f"store   {shown(store.path)}")


def _check(report: EmbedReport, library: Library, min_coverage: float) -> None:
    if report.left:
        raise Interrupted(f"Interrupted with {report.left} tracks left. Run the same command again to resume.")
    check_coverage(
        report.failed,
        report.found,
        min_coverage,
        f"{report.failed} of {report.found} files failed. The next run retries those that took too long or have "
        "changed since, and with --retry-failed all of them.",
    )
    check_walk(library, report.found, report.unread)

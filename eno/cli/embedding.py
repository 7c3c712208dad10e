"""Audio to vectors: ``embed``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eno.cli.options import ConfigOption, EncoderOption, SetOption, encoder_of, policy_of, settings, shown
from eno.cli.tracked import NameOption, ProjectOption, QueueOption, Run, TrackingOption, tracked
from eno.config import Settings
from eno.console import console, progress
from eno.errors import AudioError, ConfigError, EnoError

if TYPE_CHECKING:
    from eno.audio.windows import WindowPolicy
    from eno.embeddings.job.embed import EmbedProgress, EmbedReport
    from eno.embeddings.job.executor import Executor
    from eno.encoders import Encoder

app = typer.Typer()

_LOG_S = 10.0


class ExecutorName(StrEnum):
    """Where tracks are embedded."""

    LOCAL = "local"
    RAY = "ray"


class DType(StrEnum):
    """How a new store keeps values."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


@app.command()
def embed(
    audio_root: Annotated[Path, typer.Argument(help="Folder with audio files")],
    store: Annotated[
        str | None,
        typer.Option(help="The store: a folder, or a URI such as s3://… (default: EMBEDDINGS/<folder>/<encoder>)"),
    ] = None,
    encoder: EncoderOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try files again that failed before")] = False,
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="The exit code says so if a smaller share of the files is embedded")
    ] = 0.99,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda; several with commas: cuda:0,cuda:1")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Decoding processes (default: one a core)")] = None,
    file_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a file may give nothing while it is decoded")
    ] = 120,
    dtype: Annotated[
        DType | None, typer.Option("--store-dtype", help="How the store keeps values (new ones: float16)")
    ] = None,
    executor: Annotated[ExecutorName, typer.Option(help="This machine, or a Ray cluster")] = ExecutorName.LOCAL,
    json_log: Annotated[bool, typer.Option("--json-log", help="Progress as lines of JSON")] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    tracking: TrackingOption = None,
    queue: QueueOption = None,
    project: ProjectOption = None,
    name: NameOption = None,
) -> None:
    """Bring a store of vectors up to date with a folder of audio; an interrupted run goes on where it was."""
    chosen = settings(config, overrides, encoder=encoder, device=device)
    arguments = {"audio_root": audio_root, "store": store, "retry_failed": retry_failed, "min_coverage": min_coverage,
                 "workers": workers, "file_timeout": file_timeout, "dtype": dtype, "executor": executor}  # fmt: skip
    with tracked(
        embed, "embeddings", chosen, arguments, name=f"embed {audio_root.name} with {chosen.encoder}",
        used=(chosen.encoder.partition(":")[0],), options=(tracking, queue, project, name),
    ) as run:  # fmt: skip
        _embed(run, json_log)


def _embed(run: Run, json_log: bool) -> None:
    from eno.devices import resolve_device
    from eno.embeddings.job.embed import embed_folder
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.training.reports import progress_reporter, report_embedding

    chosen, given = run.settings, run.arguments
    audio_root, executor, dtype = given["audio_root"], given["executor"], given["dtype"]
    devices = [name.strip() for name in chosen.device.split(",")]
    several = len(devices) > 1 or executor == ExecutorName.RAY
    if executor == ExecutorName.LOCAL:
        for name in devices:
            resolve_device(name)  # also for an encoder that would not use it
    loaded = encoder_of(chosen.model_copy(update={"device": "cpu"}) if several else chosen)  # there for its spec alone
    policy = policy_of(chosen)
    place = given["store"] or f"{chosen.embeddings}/{audio_root.resolve().name}/{loaded.spec.label}"
    opened = EmbeddingStore.open_or_create(place, loaded.spec, policy=policy, dtype=dtype and dtype.value)
    tell = progress_reporter(run.experiment)
    with _shown_progress(f"embedding with {chosen.encoder}", json_log) as show:

        def told(at: EmbedProgress) -> None:
            show(at)
            tell(at)

        report = embed_folder(
            audio_root,
            loaded,
            opened,
            executor=_executor(executor, chosen, devices, loaded, policy, given["workers"], given["file_timeout"]),
            retry_failed=given["retry_failed"],
            on_progress=told,
        )
    report_embedding(run.experiment, report, opened)
    if json_log:
        _log("end", {**asdict(report), "coverage": report.coverage})
    _print_report(report, opened)
    _check(report, audio_root, given["min_coverage"])


def _executor(
    name: ExecutorName,
    chosen: Settings,
    devices: list[str],
    encoder: Encoder,
    policy: WindowPolicy,
    workers: int | None,
    file_timeout_s: float,
) -> Executor:
    options: dict[str, Any] = {"workers": workers, "file_timeout_s": file_timeout_s}
    if name == ExecutorName.RAY:
        from eno.embeddings.job.ray_job import RayExecutor

        if len(devices) > 1:
            raise ConfigError("--executor ray places its actors itself; --device takes auto, cpu or cuda with it.")
        return RayExecutor(encoder.spec, policy, device=devices[0], dtype=chosen.dtype, **options)
    if len(devices) > 1:
        from eno.embeddings.job.device_processes import DevicesExecutor

        return DevicesExecutor(encoder.spec, policy, devices, dtype=chosen.dtype, **options)
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
            f"{at.tracks_per_s:.1f} tracks/s, {at.audio_hours_per_hour:.0f} h of audio an hour, "
            f"{_duration(at.eta_s)} to go, {at.failed} failed",
        )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


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


def _print_report(report: EmbedReport, store: Any) -> None:
    for failure in report.failures:
        console.print(f"[red]failed[/]  {shown(failure.path)}: {shown(failure.reason)}")
    console.print(
        f"found {report.found} = embedded {report.embedded} + skipped {report.skipped} + failed {report.failed}"
        + f" + left {report.left}" * bool(report.left)
        + f" in {report.seconds:.0f} s, {report.audio_s / report.seconds:.0f} s of audio per second"
        * bool(report.embedded)
    )
    if report.changed or report.vanished:
        console.print(f"changed {report.changed} of the embedded; vanished {report.vanished} that the store had")
    console.print(f"store   {shown(store.folder)}")


def _check(report: EmbedReport, audio_root: Path, min_coverage: float) -> None:
    if report.left:
        raise EnoError(f"Interrupted with {report.left} tracks left. The same command goes on from here.")
    if report.found == 0:
        raise AudioError(audio_root, "holds no audio files; nothing was embedded")
    if report.failed:
        message = (
            f"{report.failed} of {report.found} files failed. The same command takes those that are mended, and with "
            "--retry-failed all of them."
        )
        if report.coverage < min_coverage:
            raise EnoError(
                f"{message} {report.coverage:.1%} are embedded, less than --min-coverage {min_coverage:.1%}."
            )
        console.print(f"[yellow]{message}[/]")

"""The command line: verbs that call the library and show what comes back."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from eno import __version__
from eno.config import Settings, load_settings
from eno.console import console, errors, progress
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import printable

if TYPE_CHECKING:
    from eno.data.windows import WindowPolicy
    from eno.inference.predictor import EnoPredictor, TagProbability

app = typer.Typer(
    help="Tag your music with your own words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file (default: $ENO_CONFIG, or eno.toml if there is one)")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting that goes over the file, e.g. windows.count=16"),
]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 …")]


class Vocabulary(StrEnum):
    """Tag sets that musicnn brings along."""

    mtt = "mtt"
    msd = "msd"


def main() -> None:
    """Run the command line; an error of eno's own is shown without a traceback."""
    try:
        app()
    except EnoError as error:
        errors.print(f"[bold red]error:[/] {_escape(error)}")
        sys.exit(1)


@app.command()
def embed(
    audio_root: Annotated[Path, typer.Argument(help="Folder with audio files")],
    store: Annotated[
        Path | None, typer.Option(help="Folder of the store (default: EMBEDDINGS/<folder>/<encoder>)")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder by name")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try files again that failed before")] = False,
    device: DeviceOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Turn a folder of audio into vectors; an interrupted run goes on where it was."""
    settings = _settings(config, overrides, encoder=encoder, device=device)

    from eno.embeddings.job import embed_folder
    from eno.embeddings.store import EmbeddingStore
    from eno.encoders import load_encoder

    loaded = load_encoder(settings.encoder, device=settings.device, **settings.options_of(settings.encoder))
    path = store or settings.embeddings / audio_root.resolve().name / loaded.spec.label
    opened = EmbeddingStore.open_or_create(path, loaded.spec, policy=_policy(settings))
    with progress(f"embedding with {settings.encoder}") as show:

        def on_progress(done: int, failed: int, total: int) -> None:
            show(done, total, f"{failed} failed" if failed else "")

        report = embed_folder(audio_root, loaded, opened, retry_failed=retry_failed, on_progress=on_progress)
    for failure in report.failures:
        console.print(f"[red]failed[/]  {_escape(failure.path)}: {_escape(failure.reason)}")
    rate = f" in {report.seconds:.0f} s, {report.audio_s / report.seconds:.0f} s of audio per second" * bool(
        report.embedded
    )
    console.print(
        f"found {report.found} = embedded {report.embedded} + skipped {report.skipped} + failed {report.failed}"
        + f" + left {report.left}" * bool(report.left)
        + rate
    )
    console.print(f"store   {_escape(path)}")
    if report.left:
        raise EnoError(f"Interrupted with {report.left} tracks left. The same command goes on from here.")
    if report.found == 0:
        raise AudioError(audio_root, "holds no audio files; nothing was embedded")
    if report.failed:
        raise EnoError(f"{report.failed} of {report.found} files failed. Once they are mended: --retry-failed.")


@app.command()
def train(
    store: Annotated[Path, typer.Argument(help="Store that 'eno embed' made")],
    albums: Annotated[Path | None, typer.Option(help="Albums as Parquet; tracks are divided by artist")] = None,
    splits: Annotated[Path | None, typer.Option(help="Folder of train/val/test.parquet to use instead")] = None,
    model: Annotated[Path, typer.Option(help="Folder that receives the predictor")] = Path("models/eno"),
    head: Annotated[str | None, typer.Option(help="Head by name")] = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Learn tags from a store and album metadata, and show how good they are on held-out artists."""
    settings = _settings(config, overrides, head=head, device=device)
    if (albums is None) == (splits is None):
        raise ConfigError("Name either --albums (to divide the tracks now) or --splits (to use a division).")

    from eno.data.albums import read_albums
    from eno.data.splits import SPLITS, read_split
    from eno.embeddings.store import EmbeddingStore
    from eno.evaluation.report import evaluate_head, metrics_table
    from eno.files import write_json
    from eno.inference.predictor import save_predictor
    from eno.models import create_head
    from eno.training.heads import build_labels, label_tracks, load_tracks, make_splits

    opened = EmbeddingStore.open(store)
    if albums is not None:
        splits = settings.data_root / "processed" / "splits"
        table = read_albums(albums)
        track_ids = opened.track_ids()
        tracks = label_tracks(track_ids, table)
        sizes = make_splits(tracks, table, splits, **settings.split.model_dump())
        console.print(f"tracks  {len(tracks)} of {len(track_ids)} lie in an album's folder; {_counts(sizes)}")
    assert splits is not None  # one of the two was named
    labels = build_labels(read_split(splits, "train"), min_albums=settings.labels.min_albums)
    console.print(f"labels  {labels.num_genres} genres, {labels.num_descriptors} descriptors")
    train, val, test = (load_tracks(opened, splits, part, labels) for part in SPLITS)
    fitted = create_head(settings.head, device=settings.device, **settings.options_of(settings.head))
    fitted.fit(train.X, train.Y, val.X, val.Y)
    save_predictor(model, opened.spec, fitted, labels, policy=opened.policy)
    results = evaluate_head(
        fitted, settings.head, train_truth=train.Y, X=test.X, truth=test.Y, genres=labels.num_genres
    )
    write_json(model / "metrics.json", {name: asdict(metrics) for name, metrics in results.items()})
    console.print(metrics_table(results))
    console.print(f"model   {_escape(model)}")


@app.command()
def tag(
    paths: Annotated[list[Path], typer.Argument(help="Audio files and folders of them")],
    model: Annotated[
        Path | None, typer.Option(help="Predictor that 'eno train' made (default: musicnn's own tags)")
    ] = None,
    vocabulary: Annotated[
        Vocabulary, typer.Option(help="musicnn's tags: MagnaTagATune or Million Song Dataset")
    ] = Vocabulary.mtt,
    top: Annotated[int, typer.Option(min=1, help="So many of the likeliest genres and descriptors each")] = 5,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="All tags above this probability instead")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line")] = False,
    device: DeviceOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Name the tags of audio files."""
    settings = _settings(config, overrides, device=device)

    from eno.data.library import expand_audio
    from eno.inference.predictor import EnoPredictor

    if model is not None:
        predictor = EnoPredictor.load(model, device=settings.device)
    else:
        predictor = EnoPredictor.musicnn(vocabulary.value, device=settings.device, policy=_policy(settings))
    files = expand_audio(paths)
    failed = sum(not _tag_one(predictor, path, top, threshold, as_json) for path in files)
    if not files:
        raise EnoError(f"No audio files in {', '.join(printable(path) for path in paths)}.")
    if failed:
        raise EnoError(f"{failed} of {len(files)} files could not be tagged.")


@app.command()
def info(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Audio files, stores, predictors (default: this eno)")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show what is in a file, a store or a predictor, or how this eno is set up."""
    from eno.describe import describe, describe_installation

    settings = _settings(config, overrides)
    if not paths:
        _print_rows(describe_installation(settings))
    failed = 0
    for path in paths or ():
        try:
            _print_rows(describe(path))
        except EnoError as error:
            failed += 1
            console.print(f"[red]error[/]  {_escape(error)}")
    if failed:
        raise EnoError(f"{failed} of {len(paths or ())} could not be shown.")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit")] = False) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit


def _settings(config: Path | None, overrides: list[str] | None, **options: str | None) -> Settings:
    """Settings of the file, then --set, then the options that have a name of their own."""
    named = [f"{name}={json.dumps(value)}" for name, value in options.items() if value is not None]
    return load_settings(config, [*(overrides or ()), *named])


def _policy(settings: Settings) -> WindowPolicy:
    from eno.data.windows import WindowPolicy

    return WindowPolicy(**settings.windows.model_dump())


def _tag_one(predictor: EnoPredictor, path: Path, top: int, threshold: float | None, as_json: bool) -> bool:
    """Print the tags of one file, or why there are none; whether there are."""
    try:
        tags = predictor.predict_tags(path)
    except AudioError as error:
        if as_json:
            _print_json({"path": str(path), "error": error.reason})
        else:
            console.print(f"[bold]{_escape(path)}[/]\n  [red]error[/] {_escape(error.reason)}")
        return False
    chosen = {
        family: [
            one
            for rank, one in enumerate(one for one in tags if one.family == family)
            if (rank < top if threshold is None else one.probability > threshold)
        ]
        for family in ("genre", "descriptor")
    }
    if as_json:
        _print_json({"path": str(path), **{f"{family}s": _probabilities(ones) for family, ones in chosen.items()}})
        return True
    console.print(f"[bold]{_escape(path)}[/]")
    for family, ones in chosen.items():
        shown = ", ".join(f"{_escape(one.tag)} [dim]{one.probability:.2f}[/]" for one in ones)
        console.print(f"  {family + 's':<12} {shown or '[dim]none[/]'}")
    return True


def _probabilities(tags: list[TagProbability]) -> dict[str, float]:
    return {one.tag: round(one.probability, 4) for one in tags}


def _print_rows(rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    for name, value in rows.items():
        console.print(f"{name:<{width}}  {_escape(value)}")


def _print_json(value: dict[str, Any]) -> None:
    # ASCII, so that a name whose bytes are no UTF-8 comes through as JSON escapes.
    typer.echo(json.dumps(value))


def _counts(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sizes.items())


def _escape(value: Any) -> str:
    """Text that may hold brackets and odd bytes of file names, as the console takes it."""
    return escape(printable(str(value)))

"""Vectors to heads: ``train``, and ``info``, which shows what is in a file, a store or a predictor."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from eno.cli.options import (
    ConfigOption,
    DataRootOption,
    DeviceOption,
    SetOption,
    StoreArgument,
    print_rows,
    settings,
    shown,
)
from eno.console import console
from eno.errors import EnoError

app = typer.Typer()


@app.command()
def train(
    store: StoreArgument,
    splits: Annotated[
        Path | None, typer.Option(help="Folder of train/val/test.parquet (default: that of 'eno split')")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Vocabulary (default: that of 'eno labels')")] = None,
    model: Annotated[Path, typer.Option(help="Folder that receives the predictor")] = Path("models/eno"),
    head: Annotated[str | None, typer.Option(help="Head by name")] = None,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Learn tags from a store, and show how good they are on held-out artists."""
    chosen = settings(config, overrides, head=head, device=device, data_root=data_root)

    from eno.data.labels import LabelEncoder
    from eno.data.layout import DataRoot
    from eno.data.stratify import SPLITS
    from eno.embeddings.store import EmbeddingStore
    from eno.evaluation.report import evaluate_head, metrics_table
    from eno.files import write_json
    from eno.inference.predictor import save_predictor
    from eno.models import create_head
    from eno.training.heads import load_tracks

    opened = EmbeddingStore.open(store)
    root = DataRoot(chosen.data_root)
    vocabulary = LabelEncoder.load(labels or root.label_encoder)
    parts = {part: load_tracks(opened, splits or root.splits, part, vocabulary) for part in SPLITS}
    console.print(f"tracks  {', '.join(f'{part} {len(one.ids)}' for part, one in parts.items())}")
    console.print(f"labels  {vocabulary.num_genres} genres, {vocabulary.num_descriptors} descriptors")
    train, val, test = parts.values()
    fitted = create_head(chosen.head, device=chosen.device, **chosen.options_of(chosen.head))
    fitted.fit(train.X, train.Y, val.X, val.truth)
    save_predictor(model, opened.spec, fitted, vocabulary, policy=opened.policy)
    results = evaluate_head(
        fitted, chosen.head, train_truth=train.truth, X=test.X, truth=test.truth, genres=vocabulary.num_genres
    )
    write_json(model / "metrics.json", {name: asdict(metrics) for name, metrics in results.items()})
    console.print(metrics_table(results))
    console.print(f"model   {shown(model)}")


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

    chosen = settings(config, overrides)
    if not paths:
        print_rows(describe_installation(chosen))
    failed = 0
    for path in paths or ():
        try:
            print_rows(describe(path))
        except EnoError as error:
            failed += 1
            console.print(f"[red]error[/]  {shown(error)}")
    if failed:
        raise EnoError(f"{failed} of {len(paths or ())} could not be shown.")

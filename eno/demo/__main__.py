"""The whole path once, on music that anyone can have: ``python -m eno.demo`` or ``make demo``.

Builds the demo corpus, takes it in, embeds it, learns its tags on some of its artists and shows how well they are
predicted on others. Every step is a public call that works the same on a user's own collection.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from eno.console import console, errors, progress
from eno.data.albums import read_albums
from eno.data.catalogue import choose_labels, divide_tracks
from eno.data.explore import explore
from eno.data.labels import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.lute import import_lute
from eno.data.matching import match
from eno.data.scan import read_tracks, scan
from eno.data.stratify import SPLITS
from eno.data.windows import WindowPolicy
from eno.demo.corpus import build_corpus
from eno.embeddings.job import embed_folder
from eno.embeddings.store import EmbeddingStore
from eno.encoders import load_encoder
from eno.errors import EnoError
from eno.evaluation.report import evaluate_head, metrics_table
from eno.exploration.html import write_html
from eno.files import write_json
from eno.inference.predictor import EnoPredictor, save_predictor
from eno.models import create_head
from eno.summary import import_lines, label_lines, match_lines, scan_lines, split_lines
from eno.training.heads import load_tracks

_MIN_ALBUMS = 5  # of a hundred, a label on fewer would be learned by heart
_MIN_ARTISTS = 3  # so that each part can have one
_SHOWN = 4


def run(
    root: Annotated[Path, typer.Option(help="Folder for all that the demo makes")] = Path("data/demo"),
    tracks: Annotated[int, typer.Option(min=60, help="Tracks of the corpus")] = 600,
    seed: Annotated[int, typer.Option(help="Seed of corpus, split and head")] = 0,
) -> None:
    """Build the demo corpus, embed it with musicnn, train a head, and evaluate it on held-out artists."""
    began = time.monotonic()
    data, model = DataRoot(root), root / "model"
    _step("1  corpus", "scores of the music21 library, rendered")
    with progress("building") as show:
        corpus = build_corpus(
            root, tracks=tracks, seed=seed, on_progress=lambda stage, done, total: show(done, total, stage)
        )
    console.print(f"   {corpus.tracks} tracks in {corpus.albums} albums" + ", built before" * corpus.reused)

    _step("2  catalogue", "import, scan, match, labels, split: the commands of 'eno'")
    labels = _catalogue(data, seed)

    # On this corpus better than msd by validation mAP, since MagnaTagATune's tags name instruments; both
    # together are no better than noise and take twice as long.
    _step("3  embeddings", "musicnn, trained on MagnaTagATune")
    encoder = load_encoder("musicnn", checkpoint="mtt")
    store = EmbeddingStore.open_or_create(root / "embeddings" / encoder.spec.label, encoder.spec, policy=WindowPolicy())
    with progress("embedding") as show:
        report = embed_folder(data.audio, encoder, store, on_progress=lambda at: show(at.done, at.total))
    if report.left or report.failed:
        raise EnoError(f"{report.left} tracks left, {report.failed} failed. The same command goes on from here.")
    console.print(f"   embedded {report.embedded}, done before {report.skipped}, in {report.seconds:.0f} s")

    _step("4  training", "a multi-layer perceptron on the labels of the albums")
    train, val, test = (load_tracks(store, data.splits, part, labels) for part in SPLITS)
    head = create_head("mlp", seed=seed).fit(train.X, train.Y, val.X, val.truth)
    save_predictor(model, encoder.spec, head, labels, policy=store.policy)
    console.print(f"   {len(train.ids)} tracks, {len(labels)} labels")

    _step("5  evaluation", "on instruments and tunes that were not heard in training")
    results = evaluate_head(head, "mlp", train_truth=train.truth, X=test.X, truth=test.truth, genres=labels.num_genres)
    write_json(model / "metrics.json", {name: asdict(metrics) for name, metrics in results.items()})
    console.print(metrics_table(results))
    # Evenly through the test part, so that they come from different albums.
    shown = test.ids[:: max(1, len(test.ids) // _SHOWN)][:_SHOWN]
    _show_tags(EnoPredictor.load(model), data.audio, shown, dict(zip(test.ids, test.truth, strict=True)))

    for name, path in {"data": root, "report": data.exploration, "vectors": store.path, "model": model}.items():
        console.print(f"{name:<8} {path}")
    console.print(f"\n{time.monotonic() - began:.0f} s. To tag a file with it: .venv/bin/eno tag --model {model} FILE")


def _catalogue(data: DataRoot, seed: int) -> LabelEncoder:
    """Run the steps from Lute's export to the splits, as the commands do."""
    imported = import_lute(data.root / "raw" / "metadata" / "lute.jsonl", data.albums, strict=True)
    _print(import_lines(imported))
    with progress("scanning") as show:
        _print(scan_lines(scan(data.audio, data.tracks, on_progress=show)))
    matched = match(read_tracks(data.tracks), read_albums(data.albums), data.matches, data.match_review)
    _print(match_lines(matched, data.match_review))
    labels, counts = choose_labels(data, min_albums=_MIN_ALBUMS, min_artists=_MIN_ARTISTS)
    _print(label_lines(labels, counts))
    report, _ = divide_tracks(data, val=0.15, test=0.15, seed=seed)
    _print(split_lines(report))
    write_html(explore(data), data.exploration)
    return labels


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(f"   {escape(line)}")


def _step(title: str, explanation: str) -> None:
    console.print(f"\n[bold]{title}[/]  [dim]{explanation}[/]")


def _show_tags(predictor: EnoPredictor, audio: Path, ids: list[str], truth: dict[str, np.ndarray]) -> None:
    table = Table(title="some of these tracks", box=box.SIMPLE_HEAD, show_lines=True)
    table.add_column("track", ratio=2)
    table.add_column("true tags", ratio=3)
    table.add_column("predicted, above 0.5", ratio=3)
    for track_id in ids:
        true = [name for names in predictor.labels.decode(truth[track_id]).values() for name in names]
        predicted = [tag for tag in predictor.predict_tags(audio / track_id) if tag.probability > 0.5]
        marks = ["[green]✓[/]" if tag.tag in true else "[red]✗[/]" for tag in predicted]
        named = ", ".join(f"{mark} {tag.tag}" for mark, tag in zip(marks, predicted, strict=True))
        table.add_row("/".join(track_id.split("/")[-3:]), ", ".join(true), named or "[dim]none[/]")
    console.print(table)


def main() -> None:
    """Run the demo; an error of eno's own is shown without a traceback."""
    try:
        typer.run(run)
    except EnoError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()

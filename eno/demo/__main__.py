"""The whole path once, on music that anyone can have: ``python -m eno.demo`` or ``make demo``.

Builds the demo corpus, takes it in, embeds it, learns its tags on some of its artists in several ways, and shows how
well each of them predicts the tags of others. Every step is a public call that works the same on a user's own
collection.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from eno.cnn.feature_files import prepare_features
from eno.cnn.predictor import CNN, CNNCandidate, FeatureCollection
from eno.cnn.settings import CNNSettings
from eno.console import console, errors, progress
from eno.data.catalogue import choose_labels, split_tracks
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.library.scanning import read_tracks, scan
from eno.data.lute.albums import read_albums
from eno.data.lute.importing import import_lute
from eno.data.matching.matcher import match
from eno.data.splits.stratify import SPLITS
from eno.demo.corpus import build_corpus
from eno.demo.neighbours import draw_map, neighbours_table
from eno.demo.stores import embed_corpus
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import EnoError
from eno.evaluation.report import REPORT_FILE, write_report
from eno.exploration import explore
from eno.exploration.html import write_html
from eno.inference.predictor import EnoPredictor
from eno.summary import import_lines, label_lines, match_lines, scan_lines, split_lines
from eno.training.collection import Collection
from eno.training.compare import Candidate, ComparisonRow, HeadCandidate, compare_candidates
from eno.training.comparison import comparison_table, write_comparison
from eno.training.evaluate import evaluate_predictor
from eno.training.record import EVALUATION, HeadPlan

_MIN_ALBUMS = 5  # of a hundred, a label on fewer would be learned by heart
_MIN_ARTISTS = 3  # so that each part can have one
_TRACKS, _QUICK_TRACKS = 600, 240
_EPOCHS, _QUICK_EPOCHS = CNNSettings().epochs, 8
_ENCODERS = ("stats", "musicnn-mtt", "musicnn-msd", "musicnn-both")
_QUICK_ENCODERS = ("stats", "musicnn-mtt")
_HEADS = ("linear", "mlp", "lightgbm")
_SHOWN = 4


def run(
    root: Annotated[Path | None, typer.Option(help="Folder for all that the demo makes (default: data/demo)")] = None,
    tracks: Annotated[int | None, typer.Option(min=60, help=f"Tracks of the corpus (default: {_TRACKS})")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer tracks, encoders and epochs")] = False,
    seed: Annotated[int, typer.Option(help="Seed of corpus, split and heads")] = 0,
) -> None:
    """Build the demo corpus, learn its tags from several encoders and from scratch, and compare them."""
    began = time.monotonic()
    root = root or Path("data/demo-quick" if quick else "data/demo")
    data = DataRoot(root)
    _step("1  corpus", "scores of the music21 library, rendered")
    with progress("building") as show:
        corpus = build_corpus(
            root,
            tracks=tracks or (_QUICK_TRACKS if quick else _TRACKS),
            seed=seed,
            on_progress=lambda stage, done, total: show(done, total, stage),
        )
    console.print(f"   {corpus.tracks} tracks in {corpus.albums} albums" + ", built before" * corpus.reused)

    _step("2  catalogue", "import, scan, match, labels, split: the commands of 'eno'")
    labels = _catalogue(data, seed)

    _step("3  embeddings", "statistics of the signal; musicnn, trained on MagnaTagATune, on the Million Song Dataset")
    stores = embed_corpus(data.audio, root / "embeddings", _QUICK_ENCODERS if quick else _ENCODERS)

    _step("4  training", f"{', '.join(_HEADS)} on each of them, and a CNN from scratch")
    rows = _train_all(data, labels, stores, CNNSettings(epochs=_QUICK_EPOCHS if quick else _EPOCHS, seed=seed), seed)

    _step("5  evaluation", "on instruments and tunes that were not heard in training")
    model, shown = _judge(data, labels, stores, rows)

    _step("6  sounds like", "the nearest of all tracks, by what the last encoder heard")
    store = list(stores.values())[-1]
    console.print(neighbours_table(data, store, shown))
    for name, path in {
        "data": root,
        "explored": data.exploration,
        "vectors": root / "embeddings",
        "model": model,
        "report": model / EVALUATION / REPORT_FILE,
        "map": draw_map(data, store),
    }.items():
        console.print(f"{name:<9} {path}")
    written = write_comparison(rows, root / "models")
    console.print(f"table     {', '.join(map(str, written))}\n")
    console.print(comparison_table(rows))
    console.print(
        f"{time.monotonic() - began:.0f} s. To tag a file with the best: .venv/bin/eno tag --model {model} FILE"
    )


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
    report, _ = split_tracks(data, val=0.15, test=0.15, seed=seed)
    _print(split_lines(report))
    write_html(explore(data), data.exploration)
    return labels


def _train_all(
    data: DataRoot, labels: LabelEncoder, stores: dict[str, EmbeddingStore], settings: CNNSettings, seed: int
) -> list[ComparisonRow]:
    with progress("features") as show:
        features = prepare_features(data, on_progress=show)
    if features.failures:
        raise EnoError(f"{len(features.failures)} tracks have no features, see {data.features}.")
    candidates: list[Candidate] = [
        HeadCandidate(name, Collection(store, data.splits, labels), HeadPlan(head, {"seed": seed}))
        for name, store in stores.items()
        for head in _HEADS
    ]
    cnn = CNNCandidate(data.root, labels, settings, HeadPlan(CNN))
    with progress("training") as show:
        return compare_candidates(
            [*candidates, cnn], data.root / "models", reference=cnn, audio_roots=data.audio, on_progress=show
        )


def _judge(
    data: DataRoot, labels: LabelEncoder, stores: dict[str, EmbeddingStore], rows: list[ComparisonRow]
) -> tuple[Path, list[str]]:
    """Write the report of the best by validation, and show what it says about some tracks; where it lies, and which."""
    best = next(row for row in rows if row.winner)
    assert best.folder is not None
    any_store = Collection(next(iter(stores.values())), data.splits, labels)
    from_store = best.encoder in stores
    source = replace(any_store, store=stores[best.encoder]) if from_store else FeatureCollection(data.root)
    write_report(evaluate_predictor(best.folder, source), best.folder / EVALUATION, audio_roots=data.audio)
    test = any_store.tracks(SPLITS[-1])
    # Evenly through the test part, so that they come from different albums.
    shown = test.ids[:: max(1, len(test.ids) // _SHOWN)][:_SHOWN]
    _show_tags(EnoPredictor.load(best.folder), data.audio, shown, dict(zip(test.ids, test.truth, strict=True)))
    return best.folder, shown


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(f"   {escape(line)}")


def _step(title: str, explanation: str) -> None:
    console.print(f"\n[bold]{title}[/]  [dim]{explanation}[/]")


def _show_tags(predictor: EnoPredictor, audio: Path, ids: list[str], truth: dict[str, np.ndarray]) -> None:
    table = Table(title="some of these tracks", box=box.SIMPLE_HEAD, show_lines=True)
    table.add_column("track", ratio=2)
    table.add_column("true tags", ratio=3)
    table.add_column("predicted, above their thresholds", ratio=3)
    for track_id in ids:
        true = [name for names in predictor.labels.decode(truth[track_id]).values() for name in names]
        predicted = [tag for tag in predictor.predict_tags(audio / track_id) if tag.probability > tag.threshold]
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

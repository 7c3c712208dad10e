"""The complete workflow on a demo corpus that anyone can build, which ``make demo`` runs.

It builds the corpus, imports and embeds it, trains several taggers on some of its artists, and compares them on the
others. Every step is a public call that works in the same way on a user's own collection.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from eno.cnn.feature_files import prepare_features
from eno.cnn.predictor import CNN, FeatureCollection, cnn_candidate
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
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import EnoError
from eno.evaluation.report import REPORT_FILE, write_report
from eno.exploration import explore
from eno.exploration.html import write_html
from eno.inference.predictor import EnoPredictor
from eno.mapping.map import write_map
from eno.similarity.index.build import build_index
from eno.similarity.metadata import TrackMetadata
from eno.similarity.sounds_like import SoundsLike
from eno.summary import import_lines, label_lines, match_lines, scan_lines, split_lines
from eno.training.collection import Collection
from eno.training.compare import ComparisonRow, compare_candidates, head_candidate
from eno.training.comparison_table import comparison_table, write_comparison
from eno.training.evaluate import evaluate_predictor
from eno.training.record import EVALUATION, HeadPlan
from scripts.demo.corpus import build_corpus
from scripts.demo.stores import embed_corpus
from scripts.demo.tables import first_tags, neighbour_lines, tag_lines

_TRACKS, _QUICK_TRACKS = 600, 240
_EPOCHS, _QUICK_EPOCHS = 12, 5
_ENCODERS = ("stats", "musicnn-mtt", "musicnn-msd", "musicnn-both")
_QUICK_ENCODERS = ("musicnn-mtt",)
_HEADS = ("linear", "auto")  # the second only for the last encoder, and not with --quick
_EXAMPLES = 4
_BEGAN = time.monotonic()
_WIDTH = 80


def run(
    root: Annotated[Path | None, typer.Option(help="Folder for all files of the demo (default: data/demo)")] = None,
    tracks: Annotated[int | None, typer.Option(min=60, help=f"Number of tracks (default: {_TRACKS})")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer tracks, encoders and epochs")] = False,
    seed: Annotated[int, typer.Option(help="Random seed of corpus, split and training")] = 0,
) -> None:
    """Build the demo corpus, train taggers on several encoders and a CNN from scratch, and compare them."""
    root = root or Path("data/demo-quick" if quick else "data/demo")
    data = DataRoot(root)
    _step("0  first track", "one tune, rendered to audio and tagged without any training")
    build_corpus(root / "first", tracks=1, seed=seed, workers=1)
    _print(first_tags(root / "first" / "raw" / "audio"))

    _step("1  corpus", "scores bundled with music21, rendered to audio")
    with progress("building") as show:
        corpus = build_corpus(
            root,
            tracks=tracks or (_QUICK_TRACKS if quick else _TRACKS),
            seed=seed,
            on_progress=lambda stage, done, total: show(done, total, stage),
        )
    console.print(f"   {corpus.tracks} tracks in {corpus.albums} albums" + ", built earlier" * corpus.reused)

    _step("2  catalogue", "eno import, eno scan, eno match, eno labels, eno split")
    labels = _catalogue(data, seed)

    _step("3  embeddings", "signal statistics; musicnn (mtt, msd: its training data)")
    stores = embed_corpus(data.audio, root / "embeddings", _QUICK_ENCODERS if quick else _ENCODERS)
    plans = [(name, _HEADS[0]) for name in stores] + [(list(stores)[-1], head) for head in _HEADS[1:] if not quick]

    _step("4  training", "a head on each of these, and a CNN from scratch")
    cnn = CNNSettings(epochs=_QUICK_EPOCHS if quick else _EPOCHS, seed=seed)
    rows = _train_all(data, labels, stores, plans, cnn)

    _step("5  evaluation", "on held-out instruments and tunes")
    model, examples = _evaluate(data, labels, stores, rows)

    encoder, store = list(stores.items())[-1]
    _step("6  similarity", f"cosine similarity of the embeddings of {encoder}")
    build_index(store)
    _print(neighbour_lines(SoundsLike.open(store, data_root=data), examples))
    ids, vectors = store.matrix()
    write_map(root / "map.html", ids, vectors, metadata=TrackMetadata.read(ids, data).table, audio_roots=data.audio)

    console.print(comparison_table(rows), soft_wrap=False, width=_WIDTH)
    for name, path in {
        "comparison": write_comparison(rows, root / "models")[-1],
        "best model": model,
        "its report": model / EVALUATION / REPORT_FILE,
        "collection": data.exploration,
        "map": root / "map.html",
        "embeddings": root / "embeddings",
    }.items():
        console.print(f"{name:<11} {path}")
    write_settings(root, store, _model_for(encoder, rows))
    console.print(f"\nDone in {time.monotonic() - _BEGAN:.0f} s. Three commands to try next:")
    eno = os.path.relpath(Path(sys.executable).with_name("eno"), root)
    title = Path(examples[0]).stem.partition(" - ")[2]
    for line in (f"cd {root}", f"{eno} tag first", f'{eno} similar "{title}"', f"{eno} serve"):
        console.print(escape(f"  {line}"))


def _model_for(encoder: str, rows: list[ComparisonRow]) -> Path:
    """Return the folder of the predictor of an encoder that is best on held-out tracks."""
    rows_of_encoder = [row for row in rows if row.encoder == encoder and row.folder is not None]
    folder = max(rows_of_encoder, key=lambda row: row.val_map or 0.0).folder
    assert folder is not None
    return folder


def write_settings(root: Path, store: EmbeddingStore, model: Path) -> None:
    """Write ``eno.toml``, so that the commands of eno in this folder use the demo's results."""
    values = {"data_root": ".", "store": Path(store.path).relative_to(root), "model": model.relative_to(root)}
    lines = [f'{key} = "{value}"' for key, value in values.items()]
    (root / "eno.toml").write_text("# Settings of eno for the demo.\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _catalogue(data: DataRoot, seed: int) -> LabelEncoder:
    """Run the steps from Lute's export to the splits."""
    imported = import_lute(data.root / "raw" / "metadata" / "lute.jsonl", data.albums, strict=True)
    _print_facts(import_lines(imported))
    with progress("scanning") as show:
        _print_facts(scan_lines(scan(data.audio, data.tracks, on_progress=show)))
    matched = match(read_tracks(data.tracks), read_albums(data.albums), data.matches, data.match_review)
    _print_facts(match_lines(matched, data.match_review))
    labels, counts = choose_labels(data)
    _print_facts(label_lines(labels, counts))
    report, _ = split_tracks(data, val=0.15, test=0.15, seed=seed)
    _print_facts(split_lines(report))
    write_html(explore(data), data.exploration)
    return labels


def _train_all(
    data: DataRoot,
    labels: LabelEncoder,
    stores: dict[str, EmbeddingStore],
    plans: list[tuple[str, str]],
    settings: CNNSettings,
) -> list[ComparisonRow]:
    with progress("features") as show:
        features = prepare_features(data, on_progress=show)
    if features.failures:
        raise EnoError(f"The features of {len(features.failures)} tracks could not be computed; see {data.features}.")
    candidates = [
        head_candidate(name, Collection(stores[name], data.splits, labels), HeadPlan(head, {"seed": settings.seed}))
        for name, head in plans
    ]
    cnn = cnn_candidate(data.root, labels, settings, HeadPlan(CNN))
    with progress("training") as show:
        return compare_candidates(
            [*candidates, cnn], data.root / "models", reference=cnn, audio_roots=data.audio, on_progress=show
        )


def _evaluate(
    data: DataRoot, labels: LabelEncoder, stores: dict[str, EmbeddingStore], rows: list[ComparisonRow]
) -> tuple[Path, list[str]]:
    """Write the report of the model that is best on held-out tracks; return its folder and some test tracks."""
    best = next(row for row in rows if row.winner)
    assert best.folder is not None
    collection = Collection(next(iter(stores.values())), data.splits, labels)
    from_store = best.encoder in stores
    source = replace(collection, store=stores[best.encoder]) if from_store else FeatureCollection(data.root)
    write_report(evaluate_predictor(best.folder, source), best.folder / EVALUATION, audio_roots=data.audio)
    test = collection.tracks(SPLITS[-1])
    # Evenly spaced, so that they come from different albums.
    truth = dict(list(zip(test.ids, test.truth, strict=True))[:: max(1, len(test.ids) // _EXAMPLES)][:_EXAMPLES])
    _print(tag_lines(EnoPredictor.load(best.folder), data.audio, truth))
    return best.folder, list(truth)


def _print_facts(lines: list[str]) -> None:
    for line in lines:
        console.print(f"   {escape(line)}", soft_wrap=False, width=_WIDTH)


def _print(lines: Iterable[str]) -> None:
    """Print lines with markup."""
    for line in lines:
        console.print(line)


def _step(title: str, explanation: str) -> None:
    console.print(f"\n[bold]{title}[/]  [dim]{explanation} ({time.monotonic() - _BEGAN:.0f} s)[/]")


def main() -> None:
    """Run the demo; print an `EnoError` without a traceback."""
    try:
        typer.run(run)
    except EnoError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(1)

"""Draw the collection: ``map``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eno.cli.commands import SEARCH, command
from eno.cli.options import (
    AudioRootOption,
    DeviceOption,
    JsonOption,
    LibraryOptions,
    PredictorOption,
    StoreOption,
    prepare_output,
    print_json,
    shown,
)
from eno.console import console, errors, progress
from eno.library import Library

if TYPE_CHECKING:
    from eno.data.labels.hierarchy import Hierarchy
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.mapping.map_content import TagStrengths
    from eno.similarity.index.index import SimilarityIndex

app = typer.Typer()

Layout = Literal["auto", "umap", "pca"]


@command(app, "map", panel=SEARCH, former={"--method": "--layout"}, former_argument="--store")
def draw(
    where: LibraryOptions,
    store: StoreOption = None,
    model: PredictorOption = None,
    audio_root: AudioRootOption = None,
    out: Annotated[Path, typer.Option(help="HTML file")] = Path("map.html"),
    layout: Annotated[
        Layout, typer.Option(help="umap keeps neighbours together (extra 'map'); pca preserves large distances")
    ] = "auto",
    sample: Annotated[int, typer.Option(min=1, help="Maximum number of tracks, drawn at random")] = 300_000,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the collection as an HTML page, on which every track is a point and similar tracks are close together.

    The layout is stored beside the index, if there is one, so that 'eno serve' shows the map at once.
    """
    from eno.mapping.map import write_places
    from eno.mapping.places import drawn_at_random, place_indexed, place_tracks
    from eno.similarity.metadata import TrackMetadata

    library = where.open(store=store, model=model, audio_root=audio_root, device=device)
    opened = library.store()
    every = opened.track_ids()
    ids = drawn_at_random(every, sample, seed)
    if len(ids) < len(every):
        errors.print(f"{len(every):,} tracks: drawing a random sample of {sample:,}; --sample changes the number")
    prepare_output(out)
    index = _index(opened)
    tags = None if model is None else _tags(library, opened, ids)
    with progress("placing the tracks") as show:
        if index is None:
            places = place_tracks(opened.view(ids), method=layout, seed=seed, on_progress=show)
        else:
            places = place_indexed(index, opened, ids, method=layout, seed=seed, on_progress=show)
    errors.print("writing the page")
    report = write_places(
        out,
        ids,
        places,
        of=len(every),
        metadata=TrackMetadata.read(ids, library.data).table,
        tags=tags,
        hierarchy=_hierarchy(library),
        audio_roots=library.present_audio_roots,
    )
    if as_json:
        print_json({"map": str(out), "tracks": report.tracks, "layout": report.method, "bytes": report.size})
        return
    console.print(f"{report.tracks:,} tracks by {report.method}, {report.size / 1e6:.1f} MB: {shown(out)}")


def _index(store: EmbeddingStore) -> SimilarityIndex | None:
    from eno.similarity.index.index import SimilarityIndex, index_folder
    from eno.similarity.index.manifest import MANIFEST

    if store.folder.local is None or not (index_folder(store) / MANIFEST).is_file():
        return None
    index = SimilarityIndex.open(index_folder(store))
    index.require(store.spec)
    return index


def _tags(library: Library, store: EmbeddingStore, ids: list[str]) -> TagStrengths:
    import numpy as np

    from eno.inference.predictor_folder import PredictorParts
    from eno.mapping.map_content import TagStrengths, halved
    from eno.training.record import stores_for

    model = library.predictor_folder()
    parts, stores = PredictorParts.load(model, device=library.settings.device), stores_for(model, store)
    labels, thresholds = parts.labels, np.asarray(parts.thresholds)
    known = set(stores.track_ids())
    found = np.array([row for row, name in enumerate(ids) if name in known])
    probabilities = np.zeros((len(ids), len(labels)), np.float16)  # of tracks that are not in all stores they stay 0
    with progress("predicting tags") as show:
        done = 0
        for rows, X in parts.vector_batches(stores, [ids[row] for row in found.tolist()]):
            probabilities[found[rows]] = halved(parts.predict_vectors(X), thresholds)
            show(done := done + len(rows), len(found))
    return TagStrengths(labels.all_labels, labels.families, probabilities, thresholds)


def _hierarchy(library: Library) -> Hierarchy | None:
    from eno.data.labels.hierarchy import Hierarchy

    path = library.settings.labels.hierarchy
    return None if path is None else Hierarchy.load(path)

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
    from eno.similarity.index.space import Space

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
    sample: Annotated[int, typer.Option(min=1, help="Maximum number of tracks, drawn at random")] = 100_000,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the collection as an HTML page, on which every track is a point and similar tracks are close together."""
    import numpy as np

    from eno.mapping.map import write_map
    from eno.similarity.metadata import TrackMetadata

    library = where.open(store=store, model=model, audio_root=audio_root, device=device)
    opened = library.store()
    ids = opened.track_ids()
    if len(ids) > sample:
        errors.print(f"{len(ids):,} tracks: drawing a random sample of {sample:,}; --sample changes the number")
        drawn = np.random.default_rng(seed).choice(len(ids), sample, replace=False)
        ids = [ids[row] for row in np.sort(drawn)]
    prepare_output(out)
    with progress("drawing the map") as show:
        report = write_map(
            out,
            ids,
            opened.matrix(ids)[1],
            space=_space(opened),
            method=layout,
            seed=seed,
            metadata=TrackMetadata.read(ids, library.data).table,
            tags=None if model is None else _tags(library, opened, ids),
            hierarchy=_hierarchy(library),
            audio_roots=library.present_audio_roots,
            on_progress=show,
        )
    if as_json:
        print_json({"map": str(out), "tracks": report.tracks, "layout": report.method, "bytes": report.size})
        return
    console.print(f"{report.tracks:,} tracks by {report.method}, {report.size / 1e6:.1f} MB: {shown(out)}")


def _space(store: EmbeddingStore) -> Space | None:
    from eno.similarity.index.index import SimilarityIndex, index_folder
    from eno.similarity.index.manifest import MANIFEST

    if store.folder.local is None or not (index_folder(store) / MANIFEST).is_file():
        return None
    index = SimilarityIndex.open(index_folder(store))
    index.require(store.spec)
    return index.space


def _tags(library: Library, store: EmbeddingStore, ids: list[str]) -> TagStrengths:
    import numpy as np

    from eno.inference.predictor_folder import PredictorParts
    from eno.mapping.map_content import TagStrengths
    from eno.training.record import stores_for

    model = library.predictor_folder()
    parts, stores = PredictorParts.load(model, device=library.settings.device), stores_for(model, store)
    labels, found = parts.labels, sorted(set(ids).intersection(stores.track_ids()))
    predicted = dict(zip(found, parts.predict_tracks(stores, found), strict=True))
    nothing = np.zeros(len(labels), np.float32)  # for tracks that are not in the stores of all encoders
    probabilities = np.stack([predicted.get(track_id, nothing) for track_id in ids])
    return TagStrengths(labels.all_labels, labels.families, probabilities, parts.thresholds)


def _hierarchy(library: Library) -> Hierarchy | None:
    from eno.data.labels.hierarchy import Hierarchy

    path = library.settings.labels.hierarchy
    return None if path is None else Hierarchy.load(path)

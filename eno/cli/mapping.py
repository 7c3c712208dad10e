"""A picture of a collection: ``map``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import ConfigOption, DataRootOption, DeviceOption, SetOption, StoreArgument, settings, shown
from eno.console import console, errors

if TYPE_CHECKING:
    from eno.config import Settings
    from eno.data.labels.hierarchy import Hierarchy
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.mapping.map_content import TagStrengths
    from eno.similarity.index.space import Space

app = typer.Typer()


class Method(StrEnum):
    """Ways to lay tracks out."""

    AUTO = "auto"
    UMAP = "umap"
    PCA = "pca"


@app.command("map")
def draw(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="The page")] = Path("map.html"),
    method: Annotated[
        Method, typer.Option(help="umap keeps neighbours together (extra 'map'), pca is true to distances")
    ] = Method.AUTO,
    model: Annotated[
        Path | None, typer.Option(help="Predictor whose tags are shown (default: those of the catalogue)")
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder of the tracks, to listen to them from the page")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Tracks drawn at random from a collection of more than so many")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same map")] = 0,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Draw a collection as one HTML page: every track a point, what sounds alike side by side."""
    import numpy as np

    from eno.data.layout import DataRoot
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.mapping.map import write_map
    from eno.similarity.metadata import TrackMetadata

    chosen = settings(config, overrides, device=device, data_root=data_root)
    opened = EmbeddingStore.open(store)
    ids = opened.track_ids()
    if len(ids) > sample:
        errors.print(f"{len(ids):,} tracks: {sample:,} are drawn at random; --sample sets how many")
        drawn = np.random.default_rng(seed).choice(len(ids), sample, replace=False)
        ids = [ids[row] for row in np.sort(drawn)]
    report = write_map(
        out,
        ids,
        opened.matrix(ids)[1],
        space=_space(opened),
        method=method.value,
        seed=seed,
        facts=TrackMetadata.read(ids, DataRoot(chosen.data_root)).table,
        tags=None if model is None else _tags(model, opened, ids, chosen),
        hierarchy=_hierarchy(chosen),
        audio_root=audio_root,
    )
    console.print(f"{report.tracks:,} tracks by {report.method}, {report.size / 1e6:.1f} MB: {shown(out)}")


def _space(store: EmbeddingStore) -> Space | None:
    """Give the space of the store's index, if it has one."""
    from eno.similarity.index.index import SimilarityIndex, index_folder

    if store.folder.local is None:
        return None
    folder = index_folder(store)
    return SimilarityIndex.open(folder).space if folder.is_dir() else None


def _tags(model: Path, store: EmbeddingStore, ids: list[str], chosen: Settings) -> TagStrengths:
    """Ask a predictor about tracks by their vectors; its encoder is not needed for that."""
    from eno.inference.predictor_folder import PredictorParts
    from eno.mapping.map_content import TagStrengths

    parts = PredictorParts.load(model, device=chosen.device)
    families = parts.labels.families
    return TagStrengths(parts.labels.all_labels, families, parts.predict_tracks(store, ids), parts.thresholds)


def _hierarchy(chosen: Settings) -> Hierarchy | None:
    from eno.data.labels.hierarchy import Hierarchy

    path = chosen.labels.hierarchy
    return None if path is None else Hierarchy.load(path)

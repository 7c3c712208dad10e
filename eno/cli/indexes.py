"""Looking after similarity indexes: ``index build``, ``info``, ``add``, ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import ConfigOption, SetOption, StoreArgument, print_rows, settings
from eno.console import console, progress

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.similarity.index.index import SimilarityIndex

app = typer.Typer(help="Build and look after indexes for 'eno similar'.", no_args_is_help=True)

WindowsOption = Annotated[bool, typer.Option("--windows", help="The index of single windows, which finds passages")]
IndexOption = Annotated[Path | None, typer.Option("--index", help="Folder of the index (default: inside the store)")]


@app.command()
def build(
    store: StoreArgument,
    windows: WindowsOption = False,
    index: IndexOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Build the index of a store; 'eno similar' does so itself where there is none."""
    from eno.similarity.index.build import build_index

    with progress("indexing") as show:
        built = build_index(
            _open(store),
            index,
            level=_level(windows),
            on_progress=show,
            **settings(config, overrides).index.model_dump(exclude_none=True),
        )
    print_rows(_described(built))


@app.command()
def info(store: StoreArgument, windows: WindowsOption = False, index: IndexOption = None) -> None:
    """Show what an index holds, and how good it was measured to be."""
    opened = _open(store)
    found = _index(opened, windows, index)
    rows = _described(found)
    if found.is_older_than(opened):
        rows["state"] = f"older than its store; bring it up to date: eno index add {store}"
    print_rows(rows)


@app.command()
def add(store: StoreArgument, windows: WindowsOption = False, index: IndexOption = None) -> None:
    """Bring an index up to date: add new tracks, forget what has vanished; built anew only if very much has changed."""
    from eno.similarity.index.build import update_index
    from eno.similarity.index.index import index_folder

    opened = _open(store)
    with progress("indexing") as show:
        done = update_index(opened, index or index_folder(opened, _level(windows)), on_progress=show)
    console.print(f"{done.added} tracks added, {done.changed} replaced, {done.removed} removed")
    if done.rebuilt:
        console.print(f"Built anew: {done.rebuilt}.")


@app.command()
def verify(
    store: StoreArgument,
    windows: WindowsOption = False,
    index: IndexOption = None,
    queries: Annotated[int, typer.Option(min=1, help="Rows that are looked for")] = 500,
) -> None:
    """Measure recall and time against exact search, and keep the figures with the index."""
    from eno.similarity.index.measure import measure_index

    found = _index(_open(store), windows, index)
    result = measure_index(found, queries=queries)
    console.print(
        f"recall@{result.k} {result.recall:.4f} over {result.queries} queries; a query takes {result.p50_ms:.2f} ms, "
        f"at most {result.p99_ms:.2f} ms in 99 of 100; comparing everything {result.exact_p50_ms:.2f} ms"
    )


def _open(store: str) -> EmbeddingStore:
    from eno.embeddings.store.embedding_store import EmbeddingStore

    return EmbeddingStore.open(store)


def _level(windows: bool) -> str:
    return "windows" if windows else "tracks"


def _index(store: EmbeddingStore, windows: bool, folder: Path | None) -> SimilarityIndex:
    from eno.similarity.index.index import SimilarityIndex, index_folder

    index = SimilarityIndex.open(folder or index_folder(store, _level(windows)))
    index.require(store.spec)
    return index


def _described(index: SimilarityIndex) -> dict[str, str]:
    from eno.similarity.index.ann import estimate_memory_mb

    manifest = index.manifest
    size = sum(path.stat().st_size for path in index.folder.iterdir() if path.name in manifest.files)
    gone = len(index.live) - len(index)
    memory = estimate_memory_mb(manifest.kind, manifest.rows, index.space.dim)
    rows = {
        "index": str(index.folder),
        "store": manifest.store,
        "encoder": manifest.encoder,
        "holds": f"{len(index):,} {manifest.level}" + (f", and {gone:,} that no longer count" if gone else ""),
        "space": f"{index.space.method}, {index.space.dim} values",
        "kind": manifest.kind,
        "size": f"{size / 1e6:.1f} MB on disk, of which {memory:.1f} MB are held in memory",
    }
    if index.ann.lists:
        rows["lists"] = f"{index.ann.lists:,}, of which {manifest.probes:,} are searched for a query"
    measured = manifest.measured
    rows["measured"] = (
        f"recall@{measured['k']} {measured['recall']:.4f}, {measured['p50_ms']:.2f} ms a query (median)"
        if measured
        else "not yet: eno index verify"
    )
    return rows

"""Maintain stores and indexes: ``store …`` and ``index …``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eno.cli.commands import EMBEDDINGS, SEARCH, EnoGroup, command, warn_former
from eno.cli.options import IndexOption, JsonOption, LibraryOptions, StoreOption, print_json, print_rows, shown, warn
from eno.console import console, progress
from eno.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.similarity.index.index import SimilarityIndex

app = typer.Typer()
stores = typer.Typer(help="Inspect, check, compact and export embedding stores.", no_args_is_help=True, cls=EnoGroup)
indexes = typer.Typer(help="Build, update and measure similarity indexes.", no_args_is_help=True, cls=EnoGroup)
app.add_typer(stores, name="store", rich_help_panel=EMBEDDINGS)
app.add_typer(indexes, name="index", rich_help_panel=SEARCH)


@dataclass(frozen=True)
class IndexOptions(LibraryOptions):
    """Which index a command works on."""

    store: StoreOption = None
    windows: Annotated[bool, typer.Option("--windows", help="The index of windows, which finds passages")] = False
    index: IndexOption = None

    @property
    def level(self) -> str:
        """What is indexed."""
        return "windows" if self.windows else "tracks"

    def folder(self, store: EmbeddingStore) -> Path:
        """Return the folder of the index."""
        from eno.similarity.index.index import index_folder

        return self.index or index_folder(store, self.level)

    def open_index(self, store: EmbeddingStore) -> SimilarityIndex:
        """Open the existing index of a store."""
        from eno.similarity.index.index import SimilarityIndex

        index = SimilarityIndex.open(self.folder(store))
        index.require(store.spec)
        return index


@command(stores, "info", former_argument="--store")
def store_info(where: LibraryOptions, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show the encoder, size and contents of a store."""
    from eno.describe import describe_store

    print_rows(describe_store(where.open(store=store).store_place()), as_json=as_json)


@command(stores, "verify", former_argument="--store")
def store_verify(where: LibraryOptions, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check the checksums and row counts of a store."""
    from eno.embeddings.store.maintenance import verify_store

    opened = where.open(store=store).store()
    with progress("verifying") as show:
        check = verify_store(opened, on_progress=show)
    if as_json:
        print_json(asdict(check))
    else:
        for problem in check.problems:
            console.print(f"[red]problem[/]  {shown(problem)}", soft_wrap=True)
        console.print(f"{check.parts} parts, {check.tracks} tracks, {check.windows} windows, {check.failures} failures")
        if check.dead:
            console.print(f"{check.dead} windows are obsolete; 'eno store compact' removes them")
    if check.problems:
        raise StoreError(
            f"{opened.path}: {len(check.problems)} problems found. Delete the damaged parts and run 'eno embed' again."
        )
    if not as_json:
        console.print("[green]no problems[/]")


@command(stores, "compact", former_argument="--store")
def store_compact(where: LibraryOptions, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Merge small parts, and remove the vectors of deleted and changed files."""
    from eno.embeddings.store.maintenance import compact_store

    opened = where.open(store=store).store()
    with progress("compacting") as show:
        done = compact_store(opened, on_progress=show)
    if as_json:
        print_json(asdict(done))
        return
    console.print(
        f"{done.parts_before} parts, {done.bytes_before / 1e6:.1f} MB → "
        f"{done.parts_after} parts, {done.bytes_after / 1e6:.1f} MB; {done.removed} windows removed"
    )


@command(stores, "export")
def store_export(
    where: LibraryOptions,
    folder: Annotated[list[Path], typer.Argument(help="Folder for vectors.npy and ids.csv")],
    store: StoreOption = None,
    windows: Annotated[bool, typer.Option("--windows", help="Export windows instead of track means")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the vectors to a NumPy file, and their ids to a CSV file."""
    from eno.embeddings.store.maintenance import export_store

    if len(folder) == 2 and store is None:
        warn_former(f"{folder[0]} without an option", f"--store {folder[0]}")
        store = str(folder.pop(0))
    if len(folder) != 1:
        raise ConfigError("Specify one folder to export to.")
    opened = where.open(store=store).store()
    with progress("exporting") as show:
        rows = export_store(opened, folder[0], windows=windows, on_progress=show)
    if as_json:
        print_json({"rows": rows, "folder": str(folder[0])})
    else:
        console.print(f"{rows} rows in {shown(folder[0])}: vectors.npy, ids.csv")


@command(stores, "import")
def store_import(
    where: LibraryOptions,
    vectors: Annotated[Path, typer.Argument(help=".npy, .npz, .parquet, or a folder with a Hugging Face data set")],
    encoder_name: Annotated[str, typer.Option("--encoder-name", help="What computed the vectors")],
    sample_rate: Annotated[int, typer.Option("--sample-rate", min=1, help="Sample rate of its audio in Hz")],
    ids: Annotated[
        Path | None, typer.Argument(help="CSV file with the column track_id or path, and perhaps start_s")
    ] = None,
    window: Annotated[float, typer.Option("--window", min=0.001, help="Length of the audio of a vector in s")] = 10.0,
    revision: Annotated[str, typer.Option("--revision", help="Version of the encoder")] = "1",
    column: Annotated[str | None, typer.Option("--column", help="Column or array with the vectors")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a store of vectors that another program computed, to train on them and to search them."""
    from eno.data.imports.paths import TrackPaths
    from eno.embeddings.store.importing import import_vectors, read_vectors

    library = where.open(store=store)
    tracks = library.tracks["track_id"].to_pylist() if library.data.tracks.is_file() else []
    paths, known = TrackPaths(tracks, library.audio_roots.folders), set(tracks)

    def track_of(name: str) -> str:
        found = paths.find(name)
        return found[0] if len(found) == 1 else name

    place = (
        library.settings.store or f"{library.settings.embeddings}/imported/{encoder_name.replace('/', '-')}-{revision}"
    )
    made = import_vectors(
        place, read_vectors(vectors, ids, column), encoder_name=encoder_name, sample_rate=sample_rate,
        window_s=window, revision=revision, track_of=track_of,
    )  # fmt: skip
    stored = made.tracks()["track_id"].to_pylist()
    if as_json:
        print_json({"tracks": len(stored), "known": len(known & set(stored)), "store": place})
        return
    console.print(f"{len(stored):,} tracks, {len(known & set(stored)):,} of them scanned, {made.spec.dim} dimensions")
    console.print(f"store   {shown(place)}")


@command(indexes, "build", former_argument="--store")
def index_build(
    where: IndexOptions,
    kind: Annotated[
        Literal["auto", "exact", "ivf", "ivfpq"] | None,
        typer.Option(help="Exhaustive search, or inverted lists (default: depends on the size)"),
    ] = None,
    memory_mb: Annotated[
        float | None, typer.Option(min=1, help="Memory limit for 'auto', in MB (default: the smallest kind)")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Transformation of the vectors: none, standardise, whiten (default: standardise)")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed")] = None,
    as_json: JsonOption = False,
) -> None:
    """Build the index of a store. 'eno similar' does this by itself if there is none."""
    from eno.similarity.index.build import build_index

    library = where.open(store=where.store)
    given = {"kind": kind, "memory_mb": memory_mb, "space": space, "seed": seed}
    options = library.settings.index.model_dump(exclude_none=True)
    options |= {name: value for name, value in given.items() if value is not None}
    with progress("indexing") as show:
        built = build_index(library.store(), where.index, level=where.level, on_progress=show, **options)
    print_rows(_described(built), as_json=as_json)


@command(indexes, "info", former_argument="--store")
def index_info(
    where: IndexOptions,
    as_json: JsonOption = False,
) -> None:
    """Show what an index contains, and its measured recall."""
    store = where.open(store=where.store).store()
    found = where.open_index(store)
    rows = _described(found)
    if found.is_older_than(store):
        rows["state"] = "older than its store; update it with: eno index add"
    print_rows(rows, as_json=as_json)


@command(indexes, "add", former_argument="--store")
def index_add(
    where: IndexOptions,
    as_json: JsonOption = False,
) -> None:
    """Update an index: add new tracks and remove deleted ones. It is rebuilt only after large changes."""
    from eno.similarity.index.build import update_index

    store = where.open(store=where.store).store()
    with progress("indexing") as show:
        done = update_index(store, where.folder(store), on_progress=show)
    if as_json:
        print_json(asdict(done))
        return
    console.print(f"{done.added} tracks added, {done.changed} replaced, {done.removed} removed")
    if done.rebuilt:
        console.print(f"The index was rebuilt: {done.rebuilt}.")


@command(indexes, "verify", former_argument="--store")
def index_verify(
    where: IndexOptions,
    queries: Annotated[int, typer.Option(min=1, help="Number of queries")] = 500,
    as_json: JsonOption = False,
) -> None:
    """Measure the recall and query time of an index against exhaustive search, and save them in the index."""
    from eno.similarity.index.measure import measure_index

    result = measure_index(where.open_index(where.open(store=where.store).store()), queries=queries)
    if as_json:
        print_json(asdict(result))
        return
    console.print(
        f"recall@{result.k} {result.recall:.4f} over {result.queries} queries; time per query {result.p50_ms:.2f} ms "
        f"(median), {result.p99_ms:.2f} ms (99th percentile); exhaustive search {result.exact_p50_ms:.2f} ms (median)"
    )
    console.print(", ".join(f"recall@{k} {recall:.4f}" for k, recall in result.deeper.items()))
    if not result.saved:
        warn("Not saved: the index cannot be written to, is being written, or has been changed since it was opened.")


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
        "contents": f"{len(index):,} {manifest.level}" + (f", and {gone:,} deleted ones" if gone else ""),
        "space": f"{index.space.method}, {index.space.dim} values",
        "kind": manifest.kind,
        "size": f"{size / 1e6:.1f} MB on disk, {memory:.1f} MB in memory",
    }
    if index.ann.lists:
        rows["lists"] = f"{index.ann.lists:,}, of which {manifest.probes:,} are searched per query"
    measured = manifest.measured
    rows["measured"] = (
        f"recall@{measured['k']} {measured['recall']:.4f}, {measured['p50_ms']:.2f} ms per query (median)"
        if measured
        else "not yet; run: eno index verify"
    )
    return rows

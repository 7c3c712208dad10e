"""Looking after embedding stores: ``store info``, ``store verify``, ``store compact``, ``store export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eno.cli.options import StoreArgument, print_rows, shown
from eno.console import console
from eno.errors import StoreError

app = typer.Typer(help="Look after embedding stores.", no_args_is_help=True)


@app.command()
def info(store: StoreArgument) -> None:
    """Show which encoder's vectors a store holds, and how many."""
    from eno.describe import describe_store

    print_rows(describe_store(store))


@app.command()
def verify(store: StoreArgument) -> None:
    """Check every part against its checksums and the counts."""
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.embeddings.store.maintenance import verify_store

    check = verify_store(EmbeddingStore.open(store))
    for problem in check.problems:
        console.print(f"[red]problem[/]  {shown(problem)}", soft_wrap=True)
    console.print(f"{check.parts} parts, {check.tracks} tracks, {check.windows} windows, {check.failures} failures")
    if check.dead:
        console.print(f"{check.dead} windows no longer count; 'eno store compact' removes them")
    if check.problems:
        raise StoreError(
            f"{store}: has {len(check.problems)} problems. Remove damaged parts and run 'eno embed' again."
        )
    console.print("[green]whole[/]")


@app.command()
def compact(store: StoreArgument) -> None:
    """Merge small parts, and remove for good what vanished files left and changed files replaced."""
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.embeddings.store.maintenance import compact_store

    done = compact_store(EmbeddingStore.open(store))
    console.print(
        f"{done.parts_before} parts, {done.bytes_before / 1e6:.1f} MB → "
        f"{done.parts_after} parts, {done.bytes_after / 1e6:.1f} MB; {done.removed} windows removed"
    )


@app.command()
def export(
    store: StoreArgument,
    folder: Annotated[Path, typer.Argument(help="Receives vectors.npy and ids.csv")],
    windows: Annotated[bool, typer.Option("--windows", help="One row a window in place of a track's mean")] = False,
) -> None:
    """Write the vectors as a NumPy array, and their ids as CSV."""
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.embeddings.store.maintenance import export_store

    rows = export_store(EmbeddingStore.open(store), folder, windows=windows)
    console.print(f"{rows} rows in {shown(folder)}: vectors.npy, ids.csv")

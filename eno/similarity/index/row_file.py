"""The file of an index's rows: a table in Arrow's format, in one piece, so that reading it takes milliseconds."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

_EARLIER = ".parquet"


def read_rows(path: Path) -> pa.Table:
    """Read a table of rows, also one of an earlier version, which is a Parquet file."""
    if path.suffix == _EARLIER:
        import pyarrow.parquet as pq

        return pq.read_table(path)
    with pa.memory_map(os.fspath(path)) as file:
        return pa.ipc.open_file(file).read_all()


def write_rows(rows: pa.Table, path: Path) -> None:
    """Write a table of rows."""
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(os.fspath(path), "wb") as file,
        pa.ipc.new_file(file, rows.schema, options=options) as writer,
    ):
        writer.write_table(rows.unify_dictionaries().combine_chunks())

"""Albums as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eno.data.lute.albums import ALBUM_SCHEMA, NEEDED_COLUMNS
from eno.data.lute.records import AlbumBatch, ProgressCallback
from eno.data.tables import require_columns, typed_column
from eno.errors import CatalogueError


def read_parquet(path: Path, on_progress: ProgressCallback) -> Iterator[AlbumBatch]:
    """Yield albums from Parquet. Missing columns become null; unknown ones are dropped."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            require_columns(path, names, NEEDED_COLUMNS, "Nothing was imported.")
            first, total = 1, file.metadata.num_rows
            for batch in file.iter_batches(batch_size=8192, columns=[n for n in ALBUM_SCHEMA.names if n in names]):
                columns = [typed_column(path, batch, field) for field in ALBUM_SCHEMA]
                table = pa.Table.from_arrays(columns, schema=ALBUM_SCHEMA)
                yield AlbumBatch(table, range(first, first + len(table)), "row")
                first += len(table)
                on_progress(first - 1, total)
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"{path}: cannot be read as Parquet ({error}); nothing was imported.") from error

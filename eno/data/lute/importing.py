"""Import of the albums that Lute (https://github.com/shedrachokonofua/lute) collects from RateYourMusic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from eno.data.lute.album_writer import AlbumWriter
from eno.data.lute.json_source import read_json
from eno.data.lute.parquet_source import read_parquet
from eno.data.lute.records import AlbumBatch, Malformed, ProgressCallback
from eno.data.lute.sqlite_source import read_sqlite
from eno.data.tables import warn_of_unreadable
from eno.errors import CatalogueError
from eno.files import write_json_lines

GRPC_SCHEMES = ("grpc://", "grpcs://")
_SHOWN = 1000


@dataclass(frozen=True)
class ImportReport:
    """Counts of an import. ``read == albums + malformed + repeated + duplicates``."""

    read: int
    albums: int  # written to the table
    malformed: int  # unusable records
    repeated: int  # records with the ``file_name`` of an earlier one
    duplicates: int  # albums omitted because Lute marks them as duplicates of another one in the source
    merged_spellings: int  # spellings of genres and descriptors replaced by a more frequent one
    examples: list[Malformed] = field(repr=False)  # the first malformed records
    ledger: Path  # all malformed records as JSON lines, if there are any
    seconds: float


def import_lute(
    source: Path | str, destination: Path, *, strict: bool = False, on_progress: ProgressCallback | None = None
) -> ImportReport:
    """Import Lute's albums into the albums table.

    Genres and descriptors are cleaned (see `eno.data.names.clean_label`), and spellings with the same
    `eno.data.names.label_key` are replaced by the most frequent one. Albums marked as duplicates are omitted if their
    original is present; its ``duplicates`` lists them. Memory use only grows by one short string per album.

    Parameters
    ----------
    source : Path or str
        Lute's SQLite database; JSON lines or a JSON array, optionally compressed with gzip or zstd; Parquet; or
        ``grpc://host:port`` (``grpcs://`` for TLS) of a running Lute. Files are recognised by their first bytes.
    destination : Path
        The Parquet file to write, usually ``raw/metadata/albums.parquet``; only a complete import replaces it.
    strict : bool
        Stop at the first malformed record instead of skipping it.
    on_progress : callable, optional
        Receives the amount read and the total, in bytes of a file or albums of a database or a server.
    """
    began = time.monotonic()
    malformed: list[Malformed] = []

    def reject(record: Malformed) -> None:
        if strict:
            raise CatalogueError(f"{source}: {record.place}: {record.reason}. To skip such records, omit --strict.")
        malformed.append(record)

    destination.parent.mkdir(parents=True, exist_ok=True)
    with AlbumWriter(destination, reject) as writer:
        for batch in _read(source, reject, on_progress or (lambda done, total: None)):
            writer.add(batch)
        if not writer.albums:
            raise CatalogueError(_no_albums(source, malformed))
        writer.write()
    warn_of_unreadable(source, writer.unreadable)
    ledger = destination.with_suffix(".malformed.jsonl")
    if malformed:
        write_json_lines(ledger, map(asdict, malformed))
    else:
        ledger.unlink(missing_ok=True)
    return ImportReport(
        read=writer.albums + writer.repeated + writer.duplicates + len(malformed),
        albums=writer.albums,
        malformed=len(malformed),
        repeated=writer.repeated,
        duplicates=writer.duplicates,
        merged_spellings=writer.merged_spellings,
        examples=malformed[:_SHOWN],
        ledger=ledger,
        seconds=time.monotonic() - began,
    )


def _read(
    source: Path | str, reject: Callable[[Malformed], None], on_progress: ProgressCallback
) -> Iterator[AlbumBatch]:
    if str(source).startswith(GRPC_SCHEMES):
        from eno.data.lute.grpc_source import read_grpc

        return read_grpc(str(source), on_progress)
    path = Path(source)
    try:
        with path.open("rb") as file:
            magic = file.read(16)
    except OSError as error:
        raise CatalogueError(
            f"{path}: cannot be read ({error.strerror}). Expected lute.db, JSON, JSON lines or Parquet of albums, "
            "or grpc://host:port of a running Lute."
        ) from error
    if not magic:
        raise CatalogueError(f"{path}: the file is empty.")
    if magic == b"SQLite format 3\0":
        return read_sqlite(path, reject, on_progress)
    if magic.startswith(b"PAR1"):
        return read_parquet(path, on_progress)
    return read_json(path, reject, on_progress)


def _no_albums(source: Path | str, malformed: list[Malformed]) -> str:
    if not malformed:
        return f"{source}: contains no albums."
    first = malformed[0]
    return (
        f"{source}: contains no usable album; all {len(malformed)} records are malformed, for example {first.place}: "
        f"{first.reason}. DATA.md describes the expected fields."
    )

"""Albums in: what Lute collects from RateYourMusic → the albums table.

References
----------
Lute, https://github.com/shedrachokonofua/lute
"""

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
from eno.errors import CatalogueError
from eno.files import write_json_lines

GRPC_SCHEMES = ("grpc://", "grpcs://")
_SHOWN = 1000


@dataclass(frozen=True)
class ImportReport:
    """How an import went. ``read == albums + malformed + repeated + duplicates``.

    Attributes
    ----------
    read : int
        Records of the source.
    albums : int
        Rows written.
    malformed : int
        Records that could not be used; where and why stands in `ledger`.
    repeated : int
        Records with the ``file_name`` of an earlier one.
    duplicates : int
        Albums that Lute marks as the duplicate of another one of the source.
    merged_spellings : int
        Spellings of genres and descriptors that were replaced by a more frequent one.
    examples : list of Malformed
        The first of the malformed records.
    ledger : Path
        JSON lines, one a malformed record; there only if there are any.
    seconds : float
    """

    read: int
    albums: int
    malformed: int
    repeated: int
    duplicates: int
    merged_spellings: int
    examples: list[Malformed] = field(repr=False)
    ledger: Path
    seconds: float


def import_lute(
    source: Path | str, destination: Path, *, strict: bool = False, on_progress: ProgressCallback | None = None
) -> ImportReport:
    """Read Lute's albums and write the albums table.

    Parameters
    ----------
    source : Path or str
        Lute's SQLite database; albums as JSON lines or as one JSON array, either of them plain, gzipped or as zstd;
        Parquet; or ``grpc://host:port`` (``grpcs://`` with TLS) of a running Lute. What a file is, is told by its
        first bytes, not by its name.
    destination : Path
        The Parquet file to write, usually ``raw/metadata/albums.parquet``. It is replaced only by a complete import.
    strict : bool
        Stop at the first malformed record instead of leaving it out.
    on_progress : callable, optional
        Called with the amounts read and to read: bytes of a file, albums of a database or a server.

    Returns
    -------
    ImportReport

    Raises
    ------
    CatalogueError
        The source is missing, is none of these, breaks off, cannot be read, or holds no album.
    MissingExtra
        For gRPC, grpcio is not installed.

    Notes
    -----
    Genres and descriptors are cleaned (Unicode NFC, single spaces); spellings that differ only in case, width or spaces
    become one, the most frequent. Albums marked as duplicates are left out where their original is there, and the
    original's ``duplicates`` names them. Memory does not grow with the size of the source, but for one short string
    an album.
    """
    began = time.monotonic()
    malformed: list[Malformed] = []

    def reject(record: Malformed) -> None:
        if strict:
            raise CatalogueError(f"{source}: {record.place}: {record.reason}. Without --strict it would be left out.")
        malformed.append(record)

    destination.parent.mkdir(parents=True, exist_ok=True)
    with AlbumWriter(destination, reject) as spool:
        for batch in _read(source, reject, on_progress or (lambda done, total: None)):
            spool.add(batch)
        if not spool.albums:
            raise CatalogueError(_nothing(source, malformed))
        spool.write()
    ledger = destination.with_suffix(".malformed.jsonl")
    if malformed:
        write_json_lines(ledger, map(asdict, malformed))
    else:
        ledger.unlink(missing_ok=True)
    return ImportReport(
        read=spool.albums + spool.repeated + spool.duplicates + len(malformed),
        albums=spool.albums,
        malformed=len(malformed),
        repeated=spool.repeated,
        duplicates=spool.duplicates,
        merged_spellings=spool.merged_spellings,
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
        raise CatalogueError(f"{path}: is empty (0 bytes).")
    if magic == b"SQLite format 3\0":
        return read_sqlite(path, reject, on_progress)
    if magic.startswith(b"PAR1"):
        return read_parquet(path, on_progress)
    return read_json(path, reject, on_progress)


def _nothing(source: Path | str, malformed: list[Malformed]) -> str:
    if not malformed:
        return f"{source}: holds no albums."
    first = malformed[0]
    return (
        f"{source}: holds no usable album; all {len(malformed)} records are malformed, the first one: "
        f"{first.place}: {first.reason}. DATA.md describes what is expected."
    )

"""Vectors on disk: Parquet parts beside a manifest.

A store is a folder::

    manifest.json          which encoder, which windows, how values are kept
    parts/000000.parquet   rows of track_id, start_s, vector
    failures.jsonl         tracks that could not be embedded, and why

A part is written under a temporary name, synced and renamed, so it is there whole or not at all. An id never leaves
its vector: both stand in the same row. Whatever else there is can be made again from the parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.data.windows import WindowPolicy
from eno.embeddings.pooled import pooled_tracks
from eno.errors import FingerprintMismatch, StoreError
from eno.files import replace_file, write_json
from eno.spec import EncoderSpec

_FORMAT = 1
_MANIFEST, _PARTS, _FAILURES = "manifest.json", "parts", "failures.jsonl"
_DTYPES = {"float16": np.float16, "float32": np.float32}


@dataclass(frozen=True)
class Failure:
    """A track that could not be embedded.

    Attributes
    ----------
    track_id, path : str
        Which track, and its file when it was tried.
    reason : str
        What was wrong and what to do.
    """

    track_id: str
    path: str
    reason: str


class EmbeddingStore:
    """The vectors of one encoder over one collection. Use `create`, `open` or `open_or_create`.

    Attributes
    ----------
    path : Path
        Its folder.
    spec : EncoderSpec
        The encoder of its vectors.
    policy : WindowPolicy
        Which windows of every track it holds.
    dtype : str
        ``"float16"`` or ``"float32"``: how values are kept on disk.
    """

    def __init__(self, path: Path, spec: EncoderSpec, policy: WindowPolicy, dtype: str) -> None:
        self.path, self.spec, self.policy, self.dtype = path, spec, policy, dtype
        width = len(spec.layers) * spec.dim
        self._schema = pa.schema(
            [
                pa.field("track_id", pa.string(), nullable=False),
                pa.field("start_s", pa.float64(), nullable=False),
                pa.field("vector", pa.list_(pa.from_numpy_dtype(_DTYPES[dtype]), width), nullable=False),
            ]
        )

    @classmethod
    def create(
        cls, path: Path | str, spec: EncoderSpec, *, policy: WindowPolicy, dtype: str = "float16"
    ) -> EmbeddingStore:
        """Make an empty store.

        Parameters
        ----------
        path : Path or str
            A folder that is missing or empty.
        spec : EncoderSpec
            The encoder whose vectors it will hold.
        policy : WindowPolicy
            Which windows of every track it will hold.
        dtype : {"float16", "float32"}
            How values are kept. Half precision takes half the space and rounds to 3 to 4 digits.

        Raises
        ------
        StoreError
            The folder holds something already.
        """
        path = Path(path)
        if path.exists() and any(path.iterdir()):
            raise StoreError(f"{path}: is not empty; open the store in it, or name another folder.")
        (path / _PARTS).mkdir(parents=True, exist_ok=True)
        content = {"format": _FORMAT, "fingerprint": spec.fingerprint, "encoder": spec.to_dict()}
        write_json(path / _MANIFEST, content | {"windows": asdict(policy), "dtype": dtype})
        return cls(path, spec, policy, dtype)

    @classmethod
    def open(cls, path: Path | str) -> EmbeddingStore:
        """Open a store that exists.

        Raises
        ------
        StoreError
            There is no store, or its manifest is damaged or newer than this eno.
        """
        path = Path(path)
        if not (path / _MANIFEST).is_file():
            raise StoreError(f"{path}: is not an embedding store ({_MANIFEST} is missing). 'eno embed' makes one.")
        try:
            content = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise StoreError(f"{path}: has format {content['format']}; this eno reads format {_FORMAT}.")
            spec = EncoderSpec.from_dict(content["encoder"])
            store = cls(path, spec, WindowPolicy(**content["windows"]), content["dtype"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path / _MANIFEST}: is damaged ({error!r}).") from error
        if spec.fingerprint != content["fingerprint"]:
            raise FingerprintMismatch(
                f"encoder settings with {spec.fingerprint}",
                content["fingerprint"],
                f"{_MANIFEST} was edited.",
            )
        return store

    @classmethod
    def open_or_create(
        cls, path: Path | str, spec: EncoderSpec, *, policy: WindowPolicy, dtype: str = "float16"
    ) -> EmbeddingStore:
        """Open the store at `path` if there is one, provided it holds what is wanted; else create it.

        Raises
        ------
        FingerprintMismatch
            The store holds vectors of another encoder.
        StoreError
            The store holds other windows.
        """
        if not (Path(path) / _MANIFEST).exists():
            return cls.create(path, spec, policy=policy, dtype=dtype)
        store = cls.open(path)
        store.require(spec)
        if store.policy != policy:
            raise StoreError(f"{path}: holds {store.policy}, asked for {policy}. Name another folder with --store.")
        return store

    def require(self, spec: EncoderSpec) -> None:
        """Make sure that the vectors are those of `spec`.

        Raises
        ------
        FingerprintMismatch
            They are not.
        """
        if spec.fingerprint != self.spec.fingerprint:
            raise FingerprintMismatch(
                f"{self.spec.label} {self.spec.options} in {self.path}",
                f"{spec.label} {spec.options}",
                "Use a store of that encoder, or embed the tracks with it ('eno embed').",
            )

    def append(self, track_ids: Sequence[str], starts_s: np.ndarray, vectors: np.ndarray) -> None:
        """Add windows as one part: afterwards all of them are on disk, or none.

        Parameters
        ----------
        track_ids : sequence of str
            Track of every window; all windows of a track belong in the same call.
        starts_s : np.ndarray [shape=(n,)]
            Where every window begins, in seconds.
        vectors : np.ndarray [shape=(n, layers, dim)]
            What the encoder gave.

        Raises
        ------
        StoreError
            A value is not finite, or too large for the store's dtype.
        """
        expected = (len(track_ids), len(self.spec.layers), self.spec.dim)
        if vectors.shape != expected:
            raise ValueError(f"vectors have the shape {vectors.shape}; expected {expected}.")
        with np.errstate(over="ignore"):
            values = vectors.astype(_DTYPES[self.dtype]).reshape(-1)
        if not np.isfinite(values).all():
            broken = ~np.isfinite(values.reshape(len(track_ids), -1)).all(axis=1)
            raise StoreError(
                f"vectors of {track_ids[int(broken.argmax())]} are not finite as {self.dtype}; "
                "if the encoder's values are large, make the store with dtype float32."
            )
        column = pa.FixedSizeListArray.from_arrays(pa.array(values), type=self._schema.field("vector").type)
        columns = [pa.array(track_ids, pa.string()), pa.array(starts_s, pa.float64()), column]
        parts = self.part_paths()
        number = int(parts[-1].stem) + 1 if parts else 0
        with replace_file(self.path / _PARTS / f"{number:06d}.parquet") as temporary:
            table = pa.Table.from_arrays(columns, schema=self._schema)
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    def bytes_of(self, vectors: np.ndarray) -> int:
        """Size of vectors as the store keeps them, before compression."""
        return vectors.size * np.dtype(_DTYPES[self.dtype]).itemsize

    def remove_leftovers(self) -> None:
        """Remove the halves of files that a killed writer left behind; only for who holds the store's lock."""
        for folder in (self.path, self.path / _PARTS):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def track_ids(self) -> list[str]:
        """Ids of the tracks in the store, sorted."""
        return sorted(
            {name for part in self.part_paths() for name in _read(part, ["track_id"])["track_id"].to_pylist()}
        )

    def windows(self, ids: Iterable[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read single windows.

        Parameters
        ----------
        ids : iterable of str, optional
            Only these tracks.

        Returns
        -------
        track_ids : np.ndarray [shape=(n,), dtype=object]
            Track of every window, in ascending order.
        starts_s : np.ndarray [shape=(n,), dtype=float64]
            Where it begins, ascending within a track.
        vectors : np.ndarray [shape=(n, layers, dim), dtype=float32]
            Its vectors.

        Raises
        ------
        StoreError
            An id is not in the store, or a part is damaged.
        """
        tables = [_read(part, self._schema.names) for part in self.part_paths()]
        table = pa.concat_tables(tables) if tables else self._schema.empty_table()
        if ids is not None:
            wanted = pa.array(sorted(set(ids)), pa.string())
            table = table.filter(pa.compute.is_in(table["track_id"], wanted))
            missing = set(wanted.to_pylist()) - set(table["track_id"].to_pylist())
            if missing:
                raise self._lacks(missing)
        return self._arrays(table.sort_by([("track_id", "ascending"), ("start_s", "ascending")]))

    def read_part(self, part: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read one part of `part_paths`, in its own order; otherwise as `windows`."""
        return self._arrays(_read(part, self._schema.names))

    def _arrays(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = table.combine_chunks()
        vectors = table["vector"].combine_chunks()
        values = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        shape = (len(table), len(self.spec.layers), self.spec.dim)
        return table["track_id"].to_numpy(), table["start_s"].to_numpy(), values.reshape(shape)

    def matrix(self, ids: Sequence[str] | None = None) -> tuple[list[str], np.ndarray]:
        """One vector a track: the mean over its windows; computed once and then mapped from a file.

        Parameters
        ----------
        ids : sequence of str, optional
            These tracks, in this order; without it all tracks in the order of their ids.

        Returns
        -------
        ids : list of str
            Track of every row.
        vectors : np.ndarray [shape=(n, dim) or (n, layers, dim), dtype=float32]
            The second shape where the encoder gives more than one layer. Changes to it are not kept.

        Raises
        ------
        StoreError
            An id is not in the store, or a part is damaged.
        """
        width = len(self.spec.layers) * self.spec.dim
        names, means = pooled_tracks(self.path, self.spec.fingerprint, self.part_paths(), width, _read)
        pooled = means.reshape(len(names), *self._pooled_shape)
        if ids is None:
            return names, pooled
        places = pa.compute.index_in(pa.array(ids, pa.string()), value_set=pa.array(names, pa.string()))
        if places.null_count:
            raise self._lacks(set(ids) - set(names))
        return list(ids), pooled[places.to_numpy(zero_copy_only=False)]

    def _lacks(self, missing: set[str]) -> StoreError:
        return StoreError(f"{self.path}: lacks {len(missing)} tracks, for instance {min(missing)}.")

    @property
    def _pooled_shape(self) -> tuple[int, ...]:
        layers = len(self.spec.layers)
        return (self.spec.dim,) if layers == 1 else (layers, self.spec.dim)

    def failures(self) -> list[Failure]:
        """Tracks that could not be embedded, in the order of their ids."""
        path = self.path / _FAILURES
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Failure(**json.loads(line)) for line in lines]

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Replace the ledger of failures."""
        rows = sorted(failures, key=lambda failure: failure.track_id)
        with replace_file(self.path / _FAILURES) as temporary:
            # Paths may hold bytes that are no UTF-8; JSON's escapes carry them through.
            temporary.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")

    def summary(self) -> dict[str, Any]:
        """Counts and sizes, for people to read."""
        parts = self.part_paths()
        return {
            "tracks": len(self.track_ids()),
            "windows": sum(pq.read_metadata(part).num_rows for part in parts),
            "failures": len(self.failures()),
            "parts": len(parts),
            "bytes": sum(part.stat().st_size for part in parts),
        }

    def part_paths(self) -> list[Path]:
        """Files of the parts, in the order in which they were written."""
        return sorted((self.path / _PARTS).glob("[0-9]*.parquet"))


def _read(part: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(part, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{part}: is damaged ({error}). Remove it and run 'eno embed' again.") from error

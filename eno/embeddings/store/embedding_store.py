"""Embeddings on disk.

A store is a folder, local or wherever pyarrow can read and write::

    manifest.json          encoder, windows, precision of the values
    parts/000000.parquet   one row per window: track_id, start_s, vector, and the embedded file
    parts.json             the parts that were written, with their numbers of rows
    amendments.parquet     changes since the parts were written, see `eno.embeddings.store.ledger`
    failures.jsonl         tracks that could not be embedded, and why

Parts are written atomically and never changed. If a track is in several parts, the last one counts: this is how the
windows of a changed file replace earlier ones, and why parts can be merged without a moment in which any are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.ledger import Ledger
from eno.embeddings.store.lock import WriterLock
from eno.embeddings.store.manifest import MANIFEST_FILE, Manifest, read_manifest, write_manifest
from eno.embeddings.store.parts import DTYPES, FOLDER, Part, Parts, latest
from eno.embeddings.store.track_means import Mode, compute_means, means_by_row, read_means
from eno.errors import FingerprintMismatch, StoreError
from eno.files import cache_folder
from eno.spec import EncoderSpec, fingerprint_of
from eno.views import RowView, forget

if TYPE_CHECKING:
    from eno.audio.track_decoding import FileStamp

_CACHE = "cache"


class EmbeddingStore:
    """The embeddings of one collection with one encoder. Use `create`, `open` or `open_or_create`.

    Attributes
    ----------
    spec : EncoderSpec
    policy : WindowPolicy
        Which windows of each track are embedded.
    dtype : {"float16", "float32"}
        Precision of the values on disk.
    """

    def __init__(self, folder: Folder, spec: EncoderSpec, policy: WindowPolicy, dtype: str) -> None:
        self.folder, self.spec, self.policy, self.dtype = folder, spec, policy, dtype
        self.ledger = Ledger(folder)
        self.parts = Parts(folder, len(spec.layers), spec.dim, dtype)

    @property
    def path(self) -> Path | str:
        """Path or URI."""
        return self.folder.place

    # The names that this class shares with `eno.embeddings.store.joined_stores.JoinedStores`.

    @property
    def places(self) -> list[str]:
        """The path or URI, in a list."""
        return [str(self.path)]

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        """The encoder, in a tuple."""
        return (self.spec,)

    @property
    def policies(self) -> tuple[WindowPolicy, ...]:
        """The windows, in a tuple."""
        return (self.policy,)

    @classmethod
    def create(
        cls, path: Path | str, spec: EncoderSpec, *, policy: WindowPolicy, dtype: str = "float16"
    ) -> EmbeddingStore:
        """Create an empty store in a new or empty folder, or at a URI such as ``s3://bucket/folder``.

        Half precision takes half the space and keeps 3 to 4 significant digits.
        """
        if dtype not in DTYPES:
            raise StoreError(f"dtype {dtype!r}: choose from {', '.join(DTYPES)}.")
        folder = Folder(path)
        if folder.entries() or folder.entries(FOLDER):
            raise StoreError(f"{folder}: is not empty; open the store in it, or name another folder.")
        folder.make(FOLDER)
        write_manifest(folder, Manifest(spec, policy, dtype))
        return cls(folder, spec, policy, dtype)

    @classmethod
    def open(cls, path: Path | str) -> EmbeddingStore:
        """Open an existing store; raise StoreError if there is none, or its manifest is damaged or too new."""
        folder = Folder(path)
        return cls(folder, *read_manifest(folder))

    @classmethod
    def open_or_create(
        cls, path: Path | str, spec: EncoderSpec, *, policy: WindowPolicy, dtype: str | None = None
    ) -> EmbeddingStore:
        """Open the store at `path`, or create it. A `dtype` of None accepts any, and creates float16.

        Raises
        ------
        FingerprintMismatch
            The store was made with another encoder.
        StoreError
            The store has other windows or another precision.
        """
        if not Folder(path).exists(MANIFEST_FILE):
            return cls.create(path, spec, policy=policy, dtype=dtype or "float16")
        store = cls.open(path)
        store.require(spec)
        for what, found, expected, same in (
            ("windows", store.policy, policy, store.policy.same_windows(policy, spec.sample_rate)),
            ("dtype", store.dtype, dtype, dtype in (None, store.dtype)),
        ):
            if not same:
                raise StoreError(
                    f"{store.folder}: found {what} {found}, expected {expected}. Name another folder with --store."
                )
        return store

    def require(self, *specs: EncoderSpec) -> EmbeddingStore:
        """Return the store; raise FingerprintMismatch unless it was made with this encoder and no other is needed."""
        if fingerprint_of(specs) != self.spec.fingerprint:
            raise encoder_mismatch([self], specs)
        return self

    def writing(self) -> WriterLock:
        """Lock the store for writing, and remove unfinished files of a killed writer."""
        return _Writing(self)

    def append(
        self,
        track_ids: Sequence[str],
        starts_s: np.ndarray,
        vectors: np.ndarray,
        *,
        files: Mapping[str, FileStamp] | None = None,
    ) -> None:
        """Add windows as one part, atomically.

        Parameters
        ----------
        track_ids : sequence of str
            Track of each window. All windows of a track must be in one call: they replace its earlier ones.
        starts_s : np.ndarray [shape=(n,)]
        vectors : np.ndarray [shape=(n, layers, dim)]
        files : mapping of str to FileStamp, optional
            The files of the tracks, to detect later changes.

        Raises
        ------
        StoreError
            A value is not finite, or too large for the store's dtype; or the part cannot be written.
        """
        expected = self._shape(len(track_ids))
        if vectors.shape != expected:
            raise ValueError(f"vectors have the shape {vectors.shape}; expected {expected}.")
        values = self.rounded(vectors).reshape(len(vectors), -1)
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            raise StoreError(
                f"The vectors of {track_ids[int(broken.argmax())]} are not finite as {self.dtype}. "
                "If the encoder's values are large, create the store with dtype float32."
            )
        number = self.parts.write(track_ids, starts_s, values, files or {})
        self.ledger.count({number: len(track_ids)})

    def rounded(self, vectors: np.ndarray) -> np.ndarray:
        """Round vectors to the store's dtype; values that are too large for it become infinite."""
        with np.errstate(over="ignore"):
            return vectors.astype(DTYPES[self.dtype], copy=False)

    def replace_parts(self, old: Sequence[Part], table: pa.Table) -> None:
        """Write the rows to keep of old parts as a new part, then remove the old parts."""
        new = {self.parts.write_table(table): len(table)} if len(table) else {}
        self.ledger.count(new, without=old)
        for part in old:
            self.folder.remove(part.entry.name)

    def tracks(self, *, also_gone: bool = False) -> pa.Table:
        """Read one row per track, sorted by ``track_id``, with the columns of `STORE_TRACK_SCHEMA`.

        With `also_gone`, tracks whose files were deleted are included.
        """
        amendments = self.ledger.amendments()  # before the parts: compaction merges these, then drops amendments
        table = latest(self._tracks_of_parts())
        pa.default_memory_pool().release_unused()  # for a million tracks 200 MB, which it would keep
        if len(amendments) == 0:
            return table
        amended = amendments.take(pc.index_in(table["track_id"], value_set=amendments["track_id"].combine_chunks()))
        for name in ("size", "mtime_ns"):
            column = pc.coalesce(amended[name], table[name])
            table = table.set_column(table.schema.get_field_index(name), name, column)
        return table if also_gone else table.filter(pc.invert(pc.fill_null(amended["gone"], False)))

    def _tracks_of_parts(self) -> list[pa.Table]:
        parts = self.parts.all()
        while True:
            try:
                return [self.parts.tracks(part) for part in parts]
            except StoreError:
                before, parts = parts, self.parts.all()
                if set(before) <= set(parts):  # nothing has been merged meanwhile
                    raise

    def track_ids(self) -> list[str]:
        """Return the ids of the tracks in the store, sorted."""
        names: list[str] = self.tracks()["track_id"].to_pylist()
        return names

    def windows(self, ids: Iterable[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the windows of tracks (default: all) in the order of their ids and start times.

        Returns
        -------
        track_ids : np.ndarray [shape=(n,), dtype=object]
        starts_s : np.ndarray [shape=(n,), dtype=float64]
        vectors : np.ndarray [shape=(n, layers, dim), dtype=float32]

        Raises
        ------
        StoreError
            A track is not in the store, or a part is damaged.
        """
        tracks = self.tracks()
        if ids is not None:
            wanted = pa.array(sorted(set(ids)), pa.string())
            tracks = tracks.filter(pc.is_in(tracks["track_id"], wanted))
            if len(tracks) < len(wanted):
                raise self.not_found(set(wanted.to_pylist()) - set(tracks["track_id"].to_pylist()))
        blocks = [(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, len(self.spec.layers) * self.spec.dim)))]
        rows, starts, vectors = (
            np.concatenate(columns) for columns in zip(*(list(self.live_windows(tracks)) or blocks), strict=True)
        )
        order = np.lexsort((starts, rows))
        names = tracks["track_id"].to_numpy()[rows[order]]
        return names, starts[order], vectors[order].astype(np.float32).reshape(self._shape(len(order)))

    def live_windows(self, tracks: pa.Table) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Read the windows of `tracks`, rows of the table of that name, one part at a time.

        Yields
        ------
        rows : np.ndarray [shape=(n,), dtype=int64]
            Row in `tracks` of each window.
        starts_s : np.ndarray [shape=(n,), dtype=float64]
        vectors : np.ndarray [shape=(n, layers * dim)]
            In the store's dtype.
        """
        names, numbers = tracks["track_id"].combine_chunks(), tracks["part"].to_numpy().copy()
        while (numbers >= 0).any():
            for part in self.parts.all():
                here = np.flatnonzero(numbers == part.number)
                if len(here) == 0:
                    continue
                try:
                    windows = self.parts.read(part)
                except StoreError:
                    if self.folder.exists(part.entry.name):
                        raise
                    break  # it has been merged into another part
                numbers[here] = -1
                # One lookup per track, not per window.
                places = pc.index_in(windows.track_ids.dictionary, value_set=names.take(pa.array(here)))
                rows = np.append(here, -1)[pc.fill_null(places, len(here)).to_numpy()]
                rows = rows[windows.track_ids.indices.to_numpy()]
                if (rows < 0).any():
                    live = rows >= 0
                    yield rows[live], windows.starts_s[live], windows.vectors[live]
                else:
                    yield rows, windows.starts_s, windows.vectors
            left = numbers >= 0
            numbers[left] = self._present_parts(tracks.filter(pa.array(left)))

    def _present_parts(self, tracks: pa.Table) -> np.ndarray:
        """Return the parts that tracks have been moved to [shape=(n,)]."""
        if len(tracks) == 0:
            return np.zeros(0, np.int32)
        now = self.tracks()
        now = now.take(pc.index_in(tracks["track_id"], value_set=now["track_id"].combine_chunks()))
        same = pc.equal(now["windows"], tracks["windows"])
        same = pc.and_(same, pc.fill_null(pc.equal(now["samples_hash"], tracks["samples_hash"]), True))
        changed = tracks["track_id"].filter(pc.invert(pc.fill_null(same, False)))
        if len(changed):
            raise StoreError(
                f"{self.folder}: {len(changed):,} tracks were removed or embedded again while they were read, for "
                f"example {changed[0]}. Run the command again."
            )
        parts: np.ndarray = now["part"].to_numpy()
        return parts

    def matrix(self, ids: Sequence[str] | None = None) -> tuple[list[str], np.ndarray]:
        """Return the mean vector of each track; computed once, then memory-mapped.

        If the encoder's vectors have length 1 (``EncoderSpec.normalized``), so do the means.

        Parameters
        ----------
        ids : sequence of str, optional
            Tracks in the order of the rows; by default all, sorted.

        Returns
        -------
        ids : list of str
        vectors : np.ndarray [shape=(n, dim), or (n, layers, dim) for several layers, dtype=float32]
            Changes to it are not saved.

        Raises
        ------
        StoreError
            A track is not in the store, or a part is damaged.
        """
        if ids is not None:
            return list(ids), np.asarray(self.view(ids))
        names, means = self._means("c")
        return names.to_pylist(), means

    def view(self, ids: Sequence[str]) -> RowView:
        """Return the vectors of `matrix` as a view that reads them when it is indexed."""
        names, means = self._means("r")
        wanted = pa.array(ids, pa.string())
        places = pc.index_in(wanted, value_set=names)
        if places.null_count:
            raise self.not_found(set(wanted.filter(places.is_null()).to_pylist()))
        return RowView(means, places.to_numpy(zero_copy_only=False).astype(np.int64))

    def _means(self, mode: Mode) -> tuple[pa.Array, np.ndarray]:
        if self.folder.local is not None:
            cache = self.folder.local / _CACHE
        else:
            cache = cache_folder() / "stores" / hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        (key, former), layers, dim = self.states(), len(self.spec.layers), self.spec.dim
        names, means = (
            read_means(cache, key, mode) or read_means(cache, former, mode) or self._compute_means(cache, key, mode)
        )
        return names, means.reshape(len(names), *((dim,) if layers == 1 else (layers, dim)))

    def _compute_means(self, cache: Path, key: str, mode: Mode) -> tuple[pa.Array, np.ndarray]:
        tracks = self.tracks()

        def fill(means: np.ndarray) -> None:
            for rows, _, vectors in self.live_windows(tracks):  # all windows of a track are in one part
                present, values = means_by_row(rows, vectors)
                means[present] = self.spec.renormalise(values)
                forget(means)

        ids = tracks["track_id"].combine_chunks()
        return compute_means(cache, key, ids, len(self.spec.layers) * self.spec.dim, fill, mode)

    def state(self) -> str:
        """Return a hash of 16 hexadecimal digits that changes with the encoder, the vectors or the deleted tracks.

        Copies of a store have the same one.
        """
        amendments = self.ledger.amendments()
        gone = sorted(amendments.filter(pc.fill_null(amendments["gone"], False))["track_id"].to_pylist())
        while True:
            try:
                listed = [[part.number, self.parts.digest(part)] for part in self.parts.all()]
                return _digest([self.spec.fingerprint, self.spec.normalized, gone, listed])
            except FileNotFoundError:  # parts have been merged meanwhile
                continue

    def states(self) -> tuple[str, str]:
        """Return the `state`, and what earlier versions called it, which changes with the times of files."""
        amended = hashlib.sha256(self.ledger.amendments_bytes()).hexdigest()
        listed = [[part.entry.name, part.entry.size, part.entry.mtime_ns] for part in self.parts.all()]
        return self.state(), _digest([self.spec.fingerprint, self.spec.normalized, amended, listed])

    def summary(self) -> dict[str, Any]:
        """Count tracks, windows, deleted tracks, failures, parts and bytes."""
        tracks, parts = self.tracks(), self.parts.all()
        return {
            "tracks": len(tracks),
            "windows": pc.sum(tracks["windows"]).as_py() or 0,
            "gone": pc.sum(self.ledger.amendments()["gone"]).as_py() or 0,
            "failures": len(self.ledger.failures()),
            "parts": len(parts),
            "bytes": sum(part.entry.size for part in parts),
        }

    def _shape(self, windows: int) -> tuple[int, int, int]:
        return windows, len(self.spec.layers), self.spec.dim

    def unavailable(self) -> list[str]:
        """Return the tracks that could not be embedded."""
        return [failure.track_id for failure in self.ledger.failures()]

    def not_found(self, missing: set[str]) -> StoreError:
        """Return the error for tracks that are not in the store."""
        return StoreError(f"{self.folder}: {len(missing)} tracks are not in this store, for example {min(missing)}.")


def encoder_mismatch(stores: Sequence[EmbeddingStore], specs: Sequence[EncoderSpec]) -> FingerprintMismatch:
    """Return the error for stores that were not made with the encoders that are needed."""
    if len(specs) == 1:
        remedy = "Use a store of that encoder, or embed the tracks with it ('eno embed')."
    else:
        remedy = "Specify one store of each encoder by repeating --store; 'eno embed' creates those that are missing."
    return FingerprintMismatch(
        ", ".join(f"{store.spec.label} {store.spec.options} in {store.folder}" for store in stores),
        ", ".join(f"{spec.label} {spec.options}" for spec in specs),
        remedy,
    )


def _digest(deciding: list[Any]) -> str:
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:16]


class _Writing(WriterLock):
    def __init__(self, store: EmbeddingStore) -> None:
        super().__init__(store.folder)
        self._store = store

    def __enter__(self) -> WriterLock:
        super().__enter__()
        try:
            for name in ("", FOLDER):
                self._store.folder.remove_leftovers(name)
            write_manifest(self._store.folder, Manifest(self._store.spec, self._store.policy, self._store.dtype))
        except BaseException:
            self.__exit__()
            raise
        return self

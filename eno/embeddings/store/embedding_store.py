"""Vectors on disk: Parquet parts beside a manifest.

A store is a folder, on a disk or wherever else pyarrow reaches::

    manifest.json          which encoder, which windows, how values are kept
    parts/000000.parquet   rows of track_id, start_s, vector, and the file that the track was
    parts.json             which parts there should be, and their rows
    amendments.parquet     what has changed since the parts were written, see `eno.embeddings.store.ledger`
    failures.jsonl         tracks that could not be embedded, and why

A part is written under a temporary name, synced and renamed, so it is there whole or not at all. An id never leaves
its vector: both stand in the same row. Of a track that is in several parts the last one counts: that is how a changed
file replaces what was there, and how parts are merged without a moment in which anything is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.track_decoding import FileStamp
from eno.audio.windows import WindowPolicy
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.ledger import Ledger
from eno.embeddings.store.lock import WriterLock
from eno.embeddings.store.parts import DTYPES, FOLDER, Part, Parts, Windows, latest
from eno.embeddings.store.pooled import pooled_tracks
from eno.errors import FingerprintMismatch, StoreError
from eno.spec import EncoderSpec
from eno.views import RowView

_FORMAT, _READABLE = 2, (1, 2)
_MANIFEST = "manifest.json"


class EmbeddingStore:
    """The vectors of one encoder over one collection. Use `create`, `open` or `open_or_create`.

    Attributes
    ----------
    folder : Folder
        Where it lies.
    spec : EncoderSpec
        The encoder of its vectors.
    policy : WindowPolicy
        Which windows of every track it holds.
    dtype : str
        ``"float16"`` or ``"float32"``: how values are kept on disk.
    ledger : Ledger
        Failures, changes to files, and which parts there should be.
    """

    def __init__(self, folder: Folder, spec: EncoderSpec, policy: WindowPolicy, dtype: str) -> None:
        self.folder, self.spec, self.policy, self.dtype = folder, spec, policy, dtype
        self.ledger = Ledger(folder)
        self._parts = Parts(folder, len(spec.layers), spec.dim, dtype)

    @property
    def path(self) -> Path | str:
        """Its path, or its URI."""
        return self.folder.place

    @classmethod
    def create(
        cls, path: Path | str, spec: EncoderSpec, *, policy: WindowPolicy, dtype: str = "float16"
    ) -> EmbeddingStore:
        """Make an empty store.

        Parameters
        ----------
        path : Path or str
            A folder that is missing or empty; or a URI of a file system that pyarrow knows, such as
            ``s3://bucket/folder``.
        spec : EncoderSpec
            The encoder whose vectors it will hold.
        policy : WindowPolicy
            Which windows of every track it will hold.
        dtype : {"float16", "float32"}
            How values are kept. Half precision takes half the space and rounds to 3 to 4 digits.

        Raises
        ------
        StoreError
            The folder holds something already, or cannot be written to.
        """
        if dtype not in DTYPES:
            raise StoreError(f"dtype {dtype!r}: choose from {', '.join(DTYPES)}.")
        folder = Folder(path)
        if folder.entries() or folder.entries(FOLDER):
            raise StoreError(f"{folder}: is not empty; open the store in it, or name another folder.")
        folder.make(FOLDER)
        store = cls(folder, spec, policy, dtype)
        store._write_manifest()
        return store

    def _write_manifest(self) -> None:
        content = {"format": _FORMAT, "fingerprint": self.spec.fingerprint, "encoder": self.spec.to_dict()}
        content |= {"windows": asdict(self.policy), "dtype": self.dtype}
        self.folder.write(_MANIFEST, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    @classmethod
    def open(cls, path: Path | str) -> EmbeddingStore:
        """Open a store that exists.

        Raises
        ------
        StoreError
            There is no store, or its manifest is damaged or newer than this eno.
        """
        folder = Folder(path)
        if not folder.exists(_MANIFEST):
            raise StoreError(f"{folder}: is not an embedding store ({_MANIFEST} is missing). 'eno embed' makes one.")
        try:
            content = json.loads(folder.read(_MANIFEST))
            if content["format"] not in _READABLE:
                raise StoreError(f"{folder}: has format {content['format']}; this eno reads up to {_FORMAT}.")
            spec = EncoderSpec.from_dict(content["encoder"])
            store = cls(folder, spec, WindowPolicy(**content["windows"]), content["dtype"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{folder}/{_MANIFEST}: is damaged ({error!r}).") from error
        if spec.fingerprint != content["fingerprint"]:
            raise FingerprintMismatch(
                f"encoder settings with {spec.fingerprint}",
                content["fingerprint"],
                f"{_MANIFEST} was edited.",
            )
        return store

    @classmethod
    def open_or_create(
        cls, path: Path | str, spec: EncoderSpec, *, policy: WindowPolicy, dtype: str | None = None
    ) -> EmbeddingStore:
        """Open the store at `path` if there is one, provided it holds what is wanted; else create it.

        Raises
        ------
        FingerprintMismatch
            The store holds vectors of another encoder.
        StoreError
            The store holds other windows, or in another precision than the one named.
        """
        if not Folder(path).exists(_MANIFEST):
            return cls.create(path, spec, policy=policy, dtype=dtype or "float16")
        store = cls.open(path)
        store.require(spec)
        for found, wanted in ((store.policy, policy), (store.dtype, dtype or store.dtype)):
            if found != wanted:
                raise StoreError(
                    f"{store.folder}: holds {found}, asked for {wanted}. Name another folder with --store."
                )
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
                f"{self.spec.label} {self.spec.options} in {self.folder}",
                f"{spec.label} {spec.options}",
                "Use a store of that encoder, or embed the tracks with it ('eno embed').",
            )

    def writing(self) -> WriterLock:
        """Keep the store for oneself; a context manager. Removes what a killed writer left half done.

        Raises
        ------
        StoreError
            On entering: somebody else is writing, or the store may only be read.
        """
        return _Writing(self)

    def append(
        self,
        track_ids: Sequence[str],
        starts_s: np.ndarray,
        vectors: np.ndarray,
        *,
        files: Mapping[str, FileStamp] | None = None,
    ) -> None:
        """Add windows as one part: afterwards all of them are on disk, or none.

        Parameters
        ----------
        track_ids : sequence of str
            Track of every window. All windows of a track belong in the same call: they replace those there were.
        starts_s : np.ndarray [shape=(n,)]
            Where every window begins, in seconds.
        vectors : np.ndarray [shape=(n, layers, dim)]
            What the encoder gave.
        files : mapping of str to FileStamp, optional
            What the tracks' files were, so that a change to them is noticed later.

        Raises
        ------
        StoreError
            A value is not finite, or too large for the store's dtype; or the part cannot be written.
        """
        expected = (len(track_ids), len(self.spec.layers), self.spec.dim)
        if vectors.shape != expected:
            raise ValueError(f"vectors have the shape {vectors.shape}; expected {expected}.")
        values = self.as_kept(vectors).reshape(len(vectors), -1)
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            raise StoreError(
                f"vectors of {track_ids[int(broken.argmax())]} are not finite as {self.dtype}; "
                "if the encoder's values are large, make the store with dtype float32."
            )
        number = self._parts.write(track_ids, starts_s, values, files or {})
        self.ledger.count({number: len(track_ids)})

    def as_kept(self, vectors: np.ndarray) -> np.ndarray:
        """Round vectors to the store's dtype, in the same shape; what is too large becomes infinite."""
        with np.errstate(over="ignore"):
            return vectors.astype(DTYPES[self.dtype], copy=False)

    def replace_parts(self, old: Sequence[Part], table: pa.Table) -> None:
        """Write rows of old parts as a new one, then remove these; a crash between leaves rows that do not count."""
        new = {self._parts.write_table(table): len(table)} if len(table) else {}
        self.ledger.count(new, without=old)
        for part in old:
            self.folder.remove(part.entry.name)

    def parts(self) -> list[Part]:
        """The parts, in the order in which they were written."""
        return self._parts.all()

    def read_part(self, part: Part) -> Windows:
        """Read all rows of a part, also those that no longer count.

        Raises
        ------
        StoreError
            It is damaged.
        """
        return self._parts.read(part)

    def part_tracks(self, part: Part) -> pa.Table:
        """Read what tracks are in a part, with the columns of `tracks`, also those that no longer count.

        Raises
        ------
        StoreError
            It is damaged.
        """
        return self._parts.tracks(part)

    def read_part_table(self, part: Part) -> pa.Table:
        """Read all rows and columns of a part as `replace_parts` takes them."""
        return self._parts.read_whole(part)

    def tracks(self, *, also_gone: bool = False) -> pa.Table:
        """What the store holds: one row a track, sorted by ``track_id``.

        Parameters
        ----------
        also_gone : bool
            Also tracks whose file has vanished, whose vectors no longer count.

        Returns
        -------
        pa.Table
            ``track_id``, ``part`` (number of the part with its windows), ``windows`` (how many), and ``size``,
            ``mtime_ns`` and ``audio_hash`` of the file that was embedded, null where not known.

        Raises
        ------
        StoreError
            A part is damaged.
        """
        table = latest([self.part_tracks(part) for part in self.parts()])
        pa.default_memory_pool().release_unused()  # of a million tracks 200 MB, which it would keep
        amendments = self.ledger.amendments()
        if len(amendments) == 0:
            return table
        amended = amendments.take(pc.index_in(table["track_id"], value_set=amendments["track_id"].combine_chunks()))
        for name in ("size", "mtime_ns"):
            column = pc.coalesce(amended[name], table[name])
            table = table.set_column(table.schema.get_field_index(name), name, column)
        return table if also_gone else table.filter(pc.invert(pc.fill_null(amended["gone"], False)))

    def track_ids(self) -> list[str]:
        """Ids of the tracks in the store, sorted."""
        names: list[str] = self.tracks()["track_id"].to_pylist()
        return names

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
        tracks = self.tracks()
        if ids is not None:
            wanted = pa.array(sorted(set(ids)), pa.string())
            tracks = tracks.filter(pc.is_in(tracks["track_id"], wanted))
            if len(tracks) < len(wanted):
                raise self._lacks(set(wanted.to_pylist()) - set(tracks["track_id"].to_pylist()))
        rows = list(self.live_windows(tracks))
        keys = pa.table(
            {
                "track": pa.array(np.concatenate([[], *(numbers for numbers, _, _ in rows)]).astype(np.int64)),
                "start_s": np.concatenate([[], *(starts for _, starts, _ in rows)]),
            }
        )
        order = pc.sort_indices(keys, [("track", "ascending"), ("start_s", "ascending")]).to_numpy()
        vectors = np.concatenate([vectors for _, _, vectors in rows])[order] if rows else np.zeros(0)
        names = tracks["track_id"].to_numpy()[keys["track"].to_numpy()[order]]
        return names, keys["start_s"].to_numpy()[order], vectors.astype(np.float32).reshape(self._shape(len(names)))

    def live_windows(self, tracks: pa.Table) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Read the windows of tracks, a part at a time.

        Parameters
        ----------
        tracks : pa.Table
            Rows of `tracks`.

        Yields
        ------
        rows : np.ndarray [shape=(n,), dtype=int64]
            Track of every window, as its row in `tracks`.
        starts_s : np.ndarray [shape=(n,), dtype=float64]
            Where it begins.
        vectors : np.ndarray [shape=(n, layers * dim)]
            Its vectors, in the store's dtype.
        """
        names, numbers = tracks["track_id"].combine_chunks(), tracks["part"].to_numpy()
        for part in self.parts():
            here = np.flatnonzero(numbers == part.number)
            if len(here) == 0:
                continue
            windows = self._parts.read(part)
            # Looked up once a track, not once a window.
            places = pc.index_in(windows.track_ids.dictionary, value_set=names.take(pa.array(here)))
            rows = np.append(here, -1)[pc.fill_null(places, len(here)).to_numpy()][windows.track_ids.indices.to_numpy()]
            if (rows < 0).any():
                live = rows >= 0
                yield rows[live], windows.starts_s[live], windows.vectors[live]
            else:
                yield rows, windows.starts_s, windows.vectors

    def _shape(self, windows: int) -> tuple[int, int, int]:
        return windows, len(self.spec.layers), self.spec.dim

    def matrix(self, ids: Sequence[str] | None = None) -> tuple[list[str], np.ndarray]:
        """One vector a track: the mean over its windows; computed once and then mapped from a file.

        Where the encoder gives vectors of length 1, means have that length too (``EncoderSpec.normalized``).

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
        if ids is not None:
            return list(ids), np.asarray(self.view(ids))
        names, means = self._means()
        return names.to_pylist(), means

    def view(self, ids: Sequence[str]) -> RowView:
        """Vectors as `matrix` gives them, but left on disk until they are asked for.

        Parameters
        ----------
        ids : sequence of str
            These tracks, in this order.

        Returns
        -------
        RowView [shape=(n, dim) or (n, layers, dim)]
            Indexing it with rows gives arrays.

        Raises
        ------
        StoreError
            An id is not in the store, or a part is damaged.
        """
        names, means = self._means()
        places = pc.index_in(pa.array(ids, pa.string()), value_set=names)
        if places.null_count:
            raise self._lacks(set(ids) - set(names.to_pylist()))
        return RowView(means, places.to_numpy(zero_copy_only=False).astype(np.int64))

    def _means(self) -> tuple[pa.Array, np.ndarray]:
        names, means = pooled_tracks(self)
        layers = len(self.spec.layers)
        return names, means.reshape(len(names), *((self.spec.dim,) if layers == 1 else (layers, self.spec.dim)))

    def _lacks(self, missing: set[str]) -> StoreError:
        return StoreError(f"{self.folder}: lacks {len(missing)} tracks, for instance {min(missing)}.")

    def summary(self) -> dict[str, Any]:
        """Counts and sizes, for people to read."""
        tracks, parts = self.tracks(), self.parts()
        return {
            "tracks": len(tracks),
            "windows": pc.sum(tracks["windows"]).as_py() or 0,
            "gone": pc.sum(self.ledger.amendments()["gone"]).as_py() or 0,
            "failures": len(self.ledger.failures()),
            "parts": len(parts),
            "bytes": sum(part.entry.size for part in parts),
        }


class _Writing(WriterLock):
    def __init__(self, store: EmbeddingStore) -> None:
        super().__init__(store.folder)
        self._store = store

    def __enter__(self) -> WriterLock:
        super().__enter__()
        for name in ("", FOLDER):
            self._store.folder.remove_leftovers(name)
        self._store._write_manifest()  # an eno that knows only the first format must not write here
        return self

"""Several stores of one collection, whose vectors are joined."""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore, encoder_mismatch
from eno.errors import StoreError
from eno.spec import EncoderSpec
from eno.views import JoinedView

logger = logging.getLogger(__name__)

_SAME_FILES = 0.5  # minimum share of common tracks whose files have the same size in both stores


class JoinedStores:
    """Stores of different encoders: a track's vector is the concatenation of its vectors in all of them.

    Layers are flattened. Tracks that are missing in one of the stores are left out, with a warning.

    Parameters
    ----------
    stores : sequence of EmbeddingStore
        In the order in which the vectors are joined.

    Raises
    ------
    StoreError
        Two stores have the same encoder, have no tracks in common, or have different files of the same names.
    """

    def __init__(self, stores: Sequence[EmbeddingStore]) -> None:
        self.stores = tuple(stores)
        for one, other in itertools.combinations(self.stores, 2):
            if one.spec.fingerprint == other.spec.fingerprint:
                raise StoreError(
                    f"{one.folder} and {other.folder} both hold vectors of {one.spec.label}. Only stores of different "
                    "encoders can be joined."
                )
        self._ids, self._partial = self._common_tracks()

    def _common_tracks(self) -> tuple[pa.Array, pa.Array]:
        """Return the tracks that are in all stores, sorted, and those that are only in some; check their files."""
        tables = [store.tracks() for store in self.stores]
        for store, table in zip(self.stores[1:], tables[1:], strict=True):
            if _same_files(tables[0], table) < _SAME_FILES:
                raise StoreError(
                    f"{self.stores[0].folder} and {store.folder} cannot be joined: the files of most tracks have "
                    "different sizes. If both are of the same collection, update them with 'eno embed'."
                )
        names = [table["track_id"].combine_chunks() for table in tables]
        everything = pc.unique(pa.concat_arrays(names))
        present = [pc.is_in(everything, value_set=one) for one in names]
        common = functools.reduce(pc.and_, present)
        ids, partial = everything.filter(common), everything.filter(pc.invert(common))
        if len(ids) == 0:
            raise StoreError(
                f"{', '.join(self.places)}: have no tracks in common. Only stores of the same collection can be joined."
            )
        if len(partial):
            absent = [len(everything) - pc.sum(one).as_py() for one in present]
            missing = [
                f"{count:,} in {store.folder}" for store, count in zip(self.stores, absent, strict=True) if count
            ]
            logger.warning(
                "%s of %s tracks are left out because they are not in all stores: %s are missing; see 'eno embed'.",
                f"{len(partial):,}", f"{len(everything):,}", ", ".join(missing),
            )  # fmt: skip
        return ids.sort(), partial

    @property
    def places(self) -> list[str]:
        """Paths or URIs."""
        return [str(store.path) for store in self.stores]

    @property
    def path(self) -> str:
        """Paths or URIs, for messages."""
        return ", ".join(self.places)

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        """The encoders."""
        return tuple(store.spec for store in self.stores)

    @property
    def policies(self) -> tuple[WindowPolicy, ...]:
        """Which windows of each track are embedded, by store."""
        return tuple(store.policy for store in self.stores)

    def require(self, *specs: EncoderSpec) -> JoinedStores:
        """Return the stores in the order of these encoders; raise FingerprintMismatch unless each has one store."""
        by_encoder = {store.spec.fingerprint: store for store in self.stores}
        wanted = [spec.fingerprint for spec in specs]
        if sorted(wanted) != sorted(by_encoder):
            raise encoder_mismatch(self.stores, specs)
        if wanted == list(by_encoder):
            return self
        ordered = copy.copy(self)
        ordered.stores = tuple(by_encoder[fingerprint] for fingerprint in wanted)
        return ordered

    def track_ids(self) -> list[str]:
        """Return the ids of the tracks that are in all stores, sorted."""
        names: list[str] = self._ids.to_pylist()
        return names

    def unavailable(self) -> list[str]:
        """Return the tracks that are not in all stores, or could not be embedded."""
        failed = (name for store in self.stores for name in store.unavailable())
        return list(dict.fromkeys([*self._partial.to_pylist(), *failed]))

    def view(self, ids: Sequence[str]) -> JoinedView:
        """Return the joined mean vectors of tracks [shape=(n, dim)], which are read when they are indexed.

        Raises
        ------
        StoreError
            A track is not in all stores, or a part is damaged.
        """
        return JoinedView([store.view(ids) for store in self.stores])

    def state(self) -> str:
        """Return a hash of 16 hexadecimal digits that changes with the `EmbeddingStore.state` of one of the stores."""
        return hashlib.sha256("".join(store.state() for store in self.stores).encode()).hexdigest()[:16]

    def states(self) -> tuple[str, ...]:
        """Return the `state`, and those of the stores; compare `EmbeddingStore.states`."""
        return (self.state(), *(state for store in self.stores for state in store.states()))


Stores: TypeAlias = EmbeddingStore | JoinedStores
"""One store, or several that are joined."""


def open_stores(places: Sequence[Path | str]) -> Stores:
    """Open a store, or join several; see `EmbeddingStore.open` and `JoinedStores` for the errors."""
    opened = [EmbeddingStore.open(place) for place in places]
    return opened[0] if len(opened) == 1 else JoinedStores(opened)


def _same_files(one: pa.Table, other: pa.Table) -> float:
    """Return the share of common tracks whose file has the same size in both stores, 1 if no sizes are known."""
    places = pc.index_in(one["track_id"], value_set=other["track_id"].combine_chunks())
    same = pc.mean(pc.equal(one["size"], other["size"].take(places))).as_py()
    return 1.0 if same is None else float(same)

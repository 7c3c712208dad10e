"""The map of the collection: drawn in the background, one at a time, for the newest snapshot."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.mapping.place_process import place_in_process
from eno.mapping.places import MOST_TRACKS, Places, drawn_at_random, find_places, place_indexed
from eno.processes import give_back_memory
from eno.serving.drawn_map import DrawnMap
from eno.serving.snapshot import Snapshot

logger = logging.getLogger(__name__)


_MANY_TRACKS = 20_000  # are placed in another process, which takes seconds to start


class _Superseded(Exception):
    """A newer snapshot needs other positions."""


class MapDrawer:
    """Draws the maps of snapshots.

    Positions depend on index and store only, so they are kept while these are the same, also on disk: after a reload of
    the predictor only the tags change. A map whose positions a newer snapshot does not need is abandoned; requests that
    wait for it get the newer map.
    """

    def __init__(self) -> None:
        self._drawing = threading.Lock()
        self._newest: Snapshot | None = None
        self._kept: tuple[tuple[str, ...], np.ndarray, Places] | None = None

    def draw(self, snapshot: Snapshot) -> None:
        """Start to compute the `map` of a snapshot, which takes seconds to minutes."""
        if snapshot.sounds is None:
            return
        self._newest = snapshot
        threading.Thread(target=self._draw, args=(snapshot,), name="eno-map", daemon=True).start()

    def _draw(self, snapshot: Snapshot) -> None:
        with self._drawing:
            try:
                self._check(snapshot, ())
                content = self._content(snapshot)
            except _Superseded:
                assert self._newest is not None
                _follow(snapshot.map, self._newest.map)
            except Exception as error:
                logger.exception("the map cannot be drawn")
                snapshot.map.set_exception(error)
            else:
                snapshot.map.set_result(content)

    def _check(self, snapshot: Snapshot, key: tuple[str, ...]) -> None:
        newest = self._newest
        if newest is not None and newest is not snapshot and _key(newest) != key:
            raise _Superseded

    def _content(self, snapshot: Snapshot) -> DrawnMap:
        sounds, catalogue = snapshot.sounds, snapshot.catalogue
        assert sounds is not None and catalogue is not None
        index = sounds.tracks.index
        in_store = pa.array(sounds.store.track_ids(), pa.string())  # some may have been removed since it was indexed
        names = index.distinct_ids.take(pa.array(index.codes[catalogue.rows]))
        row_of = {
            name: row
            for row, name, is_there in zip(
                catalogue.rows.tolist(), names.to_pylist(), pc.is_in(names, value_set=in_store).to_pylist(), strict=True
            )
            if is_there
        }
        chosen = drawn_at_random(sorted(row_of), MOST_TRACKS)
        rows, of, key = np.array([row_of[name] for name in chosen], np.int64), len(row_of), _key(snapshot)
        ids = pa.array(chosen, pa.string())  # a fraction of the memory while the tracks are placed
        del row_of, in_store, names, chosen
        give_back_memory()
        if self._kept is None or self._kept[0] != key or not np.array_equal(self._kept[1], rows):
            placed = self._place(snapshot, ids, key)
            self._kept = key, rows, placed
        drawn = DrawnMap(snapshot, self._kept[2], rows, of=of)
        give_back_memory()  # of all that was done to open the snapshot, too
        return drawn

    def _place(self, snapshot: Snapshot, ids: pa.Array, key: tuple[str, ...]) -> Places:
        assert snapshot.sounds is not None
        source = snapshot.sounds.tracks.index, snapshot.sounds.store, ids
        if len(ids) > _MANY_TRACKS and find_places(*source, method=snapshot.map_method) is None:
            return place_in_process(*source, method=snapshot.map_method, on_wait=lambda: self._check(snapshot, key))
        return place_indexed(
            *source, method=snapshot.map_method, on_progress=lambda _done, _total: self._check(snapshot, key)
        )


def _key(snapshot: Snapshot) -> tuple[str, ...]:
    """Return what the positions of a snapshot's map depend on."""
    assert snapshot.sounds is not None
    manifest = snapshot.sounds.index.manifest
    index = str(snapshot.sounds.index.folder), str(manifest.generation), manifest.state
    return (*index, snapshot.sounds.store.state(), snapshot.map_method)


def _follow(waiting: Future[DrawnMap], newer: Future[DrawnMap]) -> None:
    def copy(done: Future[DrawnMap]) -> None:
        error = done.exception()
        if error is None:
            waiting.set_result(done.result())
        else:
            waiting.set_exception(error)

    newer.add_done_callback(copy)

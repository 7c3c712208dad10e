"""The map of the collection: drawn in the background, one at a time, for the newest snapshot."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import Future

import numpy as np

from eno.mapping.map import Places, place_tracks
from eno.mapping.map_content import TagStrengths
from eno.serving.cacheable import Cacheable
from eno.serving.snapshot import Snapshot

logger = logging.getLogger(__name__)

_MAP_TRACKS = 100_000  # of a larger collection, a random sample is drawn


class _Superseded(Exception):
    """A newer snapshot needs other positions."""


class MapDrawer:
    """Draws the maps of snapshots.

    Positions depend on index and store only, so they are kept while these are the same: after a reload of the predictor
    only the tags change. A map whose positions a newer snapshot does not need is abandoned; requests that wait for it
    get the newer map.
    """

    def __init__(self) -> None:
        self._drawing = threading.Lock()
        self._newest: Snapshot | None = None
        self._kept: tuple[tuple[str, ...], list[str], Places] | None = None

    def draw(self, snapshot: Snapshot) -> None:
        """Start to compute the `map_json` of a snapshot, which takes seconds to minutes."""
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
                _follow(snapshot.map_json, self._newest.map_json)
            except Exception as error:
                logger.exception("the map cannot be drawn")
                snapshot.map_json.set_exception(error)
            else:
                snapshot.map_json.set_result(Cacheable.of(content))

    def _check(self, snapshot: Snapshot, key: tuple[str, ...]) -> None:
        newest = self._newest
        if newest is not None and newest is not snapshot and _key(newest) != key:
            raise _Superseded

    def _content(self, snapshot: Snapshot) -> bytes:
        sounds, catalogue = snapshot.sounds, snapshot.catalogue
        assert sounds is not None and catalogue is not None
        tracks, rows = sounds.tracks, catalogue.rows
        if len(rows) > _MAP_TRACKS:
            rows = np.sort(np.random.default_rng(0).choice(rows, _MAP_TRACKS, replace=False))
        key = _key(snapshot)
        in_store = set(sounds.store.track_ids())  # some may have been removed since the index was built
        kept = [(row, name) for row in rows.tolist() if (name := tracks.index.track_id(row)) in in_store]
        ids, places = [name for _, name in kept], tracks.tag_rows[[row for row, _ in kept]]
        if self._kept is None or self._kept[:2] != (key, ids):
            placed = place_tracks(
                sounds.store.matrix(ids)[1],
                space=tracks.index.space,
                method=snapshot.map_method,
                on_progress=lambda _done, _total: self._check(snapshot, key),
            )
            self._kept = key, ids, placed
        strengths = None
        if tracks.tags is not None and snapshot.predictor is not None:
            labels = snapshot.predictor.labels
            probabilities = np.asarray(tracks.tags.probabilities, np.float32).T[places]
            probabilities[places < 0] = 0
            strengths = TagStrengths(labels.all_labels, labels.families, probabilities, tracks.tags.thresholds)
        content = self._kept[2].content(ids, metadata=tracks.metadata.table, tags=strengths)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _key(snapshot: Snapshot) -> tuple[str, ...]:
    """Return what the positions of a snapshot's map depend on."""
    assert snapshot.sounds is not None
    manifest = snapshot.sounds.index.manifest
    index = str(snapshot.sounds.index.folder), str(manifest.generation), manifest.state
    return (*index, snapshot.sounds.store.state(), snapshot.map_method)


def _follow(waiting: Future[Cacheable], newer: Future[Cacheable]) -> None:
    def copy(done: Future[Cacheable]) -> None:
        error = done.exception()
        if error is None:
            waiting.set_result(done.result())
        else:
            waiting.set_exception(error)

    newer.add_done_callback(copy)

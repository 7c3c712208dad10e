"""What is served at a moment: predictor, index and catalogue, replaced as one when any of them has changed."""

from __future__ import annotations

import gzip
import json
import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eno.data.layout import DataRoot
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import Encoder
from eno.errors import ConfigError, EnoError
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PREDICTOR
from eno.mapping.map import draw_map
from eno.mapping.map_content import TagStrengths
from eno.mapping.projection import Method
from eno.serving.track_catalogue import TrackCatalogue
from eno.similarity.index.index import SimilarityIndex, index_folder
from eno.similarity.metadata import TrackMetadata
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.tag_table import make_tag_table, read_tag_table, table_key, with_predictor

logger = logging.getLogger(__name__)

_MAP_TRACKS = 100_000  # of a larger collection so many, drawn at random


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where what is served lies.

    Attributes
    ----------
    model : Path or None
        Folder of a predictor; without it nothing is tagged.
    store : Path or str or None
        Store whose tracks are served; without it there is only tagging.
    index : Path or None
        Its index of tracks, if it is not in the store.
    data_root : Path or None
        Where the tables of the catalogue are.
    audio_root : Path or None
        Folder that track ids are relative to; ``raw/audio`` of the data root if not given.
    map_method : str
        See `eno.mapping.projection.project`.
    """

    model: Path | None = None
    store: Path | str | None = None
    index: Path | None = None
    data_root: Path | None = None
    audio_root: Path | None = None
    map_method: Method = "auto"

    def stamp(self) -> tuple[tuple[int, int] | None, ...]:
        """Something that changes with the predictor and the index; None of what is not there, or half written."""
        return tuple(_stamp(path) for path in self._watched())

    def _watched(self) -> list[Path]:
        paths = [] if self.model is None else [self.model / PREDICTOR]
        if self.store is not None:
            paths.append((self.index or index_folder(EmbeddingStore.open(self.store))) / "manifest.json")
        return paths


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What one request sees from its beginning to its end.

    Attributes
    ----------
    encoder : Encoder
        Hears files.
    predictor : EnoPredictor or None
        Tags them.
    sounds : SoundsLike or None
        Finds what sounds alike.
    catalogue : TrackCatalogue or None
        Tracks by name.
    drawn : Future of bytes
        The map as `eno.mapping.map_content` packs it: JSON, compressed by gzip. `draw` gives it.
    """

    encoder: Encoder
    predictor: EnoPredictor | None
    sounds: SoundsLike | None
    catalogue: TrackCatalogue | None
    map_method: Method = "auto"
    drawn: Future[bytes] = field(default_factory=Future)

    @classmethod
    def open(cls, sources: Sources, encoder: Encoder) -> Snapshot:
        """Open what is there now.

        Parameters
        ----------
        sources : Sources
            Where it lies.
        encoder : Encoder
            That of the predictor and of the store.

        Raises
        ------
        ConfigError
            Neither predictor nor store is named.
        FingerprintMismatch
            They are not of the encoder.
        ModelError, StoreError, SimilarityError, CatalogueError
            Something is missing or damaged.
        """
        if sources.model is None and sources.store is None:
            raise ConfigError("There is nothing to serve: name a predictor (--model), a store (--store), or both.")
        predictor = None if sources.model is None else EnoPredictor.load(sources.model, encoder=encoder)
        if sources.store is None:
            return cls(encoder, predictor, None, None)
        store = EmbeddingStore.open(sources.store)
        store.require(encoder.spec)
        index = SimilarityIndex.open(sources.index or index_folder(store))
        if index.level != "tracks":
            raise ConfigError(f"{index.folder}: is an index of {index.level}; an index of tracks is served.")
        root = None if sources.data_root is None else DataRoot(sources.data_root)
        audio_root = sources.audio_root or (root.audio if root and root.audio.is_dir() else None)
        tags = None
        if predictor is not None and sources.model is not None:
            key = table_key(sources.model, store)
            table = read_tag_table(index.folder / "tags", key)
            if table is None:
                logger.info("predicting the tags of %s, once for this predictor", store.path)
                table = make_tag_table(index.folder / "tags", key, store, predictor)
            tags = with_predictor(table, predictor)
        metadata = TrackMetadata.read(index.track_ids(), root)
        sounds = SoundsLike(index, store, encoder=encoder, metadata=metadata, tags=tags, audio_roots=audio_root)
        for note in sounds.notes:
            logger.warning("%s", note)
        return cls(encoder, predictor, sounds, TrackCatalogue(sounds.tracks, predictor, audio_root), sources.map_method)

    def draw(self) -> None:
        """Draw the map, once; for a thread of its own, since it may take long."""
        if self.sounds is None:
            return
        try:
            content = json.dumps(self._content(), ensure_ascii=False, separators=(",", ":"))
            self.drawn.set_result(gzip.compress(content.encode(), mtime=0))
        except EnoError as error:
            self.drawn.set_exception(error)
        except Exception as error:
            logger.exception("the map cannot be drawn")
            self.drawn.set_exception(error)

    def _content(self) -> dict[str, Any]:
        assert self.sounds is not None and self.catalogue is not None
        tracks, rows = self.sounds.tracks, self.catalogue.rows
        if len(rows) > _MAP_TRACKS:
            rows = np.sort(np.random.default_rng(0).choice(rows, _MAP_TRACKS, replace=False))
        in_store = set(self.sounds.store.track_ids())  # what has vanished since the index was made has no vector
        kept = [(row, name) for row in rows.tolist() if (name := tracks.index.track_id(row)) in in_store]
        ids, places = [name for _, name in kept], tracks.tag_rows[[row for row, _ in kept]]
        strengths = None
        if tracks.tags is not None and self.predictor is not None:
            labels = self.predictor.labels
            probabilities = np.asarray(tracks.tags.probabilities, np.float32).T[places]
            probabilities[places < 0] = 0
            strengths = TagStrengths(
                labels.all_labels,
                ["genre"] * labels.num_genres + ["descriptor"] * labels.num_descriptors,
                probabilities,
                tracks.tags.thresholds,
            )
        return draw_map(
            ids,
            self.sounds.store.matrix(ids)[1],
            space=self.sounds.index.space,
            method=self.map_method,
            facts=tracks.metadata.table,
            tags=strengths,
        )

"""Predictor, index and catalogue in use, replaced together when one of them changes on disk."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eno.data.layout import DataRoot
from eno.data.library.outlines import own_audio, read_sections
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import open_stores
from eno.encoders import Encoder
from eno.errors import ConfigError
from eno.files import AudioRoots
from eno.inference.predictor import EnoPredictor
from eno.inference.predictor_folder import PREDICTOR, read_description
from eno.mapping.projection import Method
from eno.serving.track_catalogue import TrackCatalogue
from eno.similarity.index.index import SimilarityIndex, index_folder
from eno.similarity.index.manifest import MANIFEST
from eno.similarity.kept_metadata import metadata_of
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.tag_table import open_tag_table

if TYPE_CHECKING:
    from eno.serving.drawn_map import DrawnMap

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where predictor, store and catalogue are."""

    model: Path | None = None  # folder of a predictor; None: files are not tagged
    store: Path | str | None = None  # searched; None: there are no tracks
    joined: tuple[Path | str, ...] = ()  # the stores from which a predictor of several encoders tags the tracks
    index: Path | None = None  # an index of tracks; None: the one in the store
    data_root: Path | None = None
    audio_roots: AudioRoots | Path | None = None  # None: raw/audio in the data root
    map_method: Method = "auto"

    def stamp(self) -> tuple[tuple[int, int] | None, ...]:
        """Return modification times and inodes of predictor and index; None for one that is missing or half written."""
        paths = [] if self.model is None else [self.model / PREDICTOR]
        if self.store is not None:
            paths.append((self.index or index_folder(EmbeddingStore.open(self.store))) / MANIFEST)
        return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The models and tracks that a request uses to its end. Without a store there are neither search nor catalogue."""

    encoders: tuple[Encoder, ...]
    predictor: EnoPredictor | None
    sounds: SoundsLike | None
    catalogue: TrackCatalogue | None
    map_method: Method = "auto"
    map: Future[DrawnMap] = field(default_factory=Future)  # see `eno.serving.map_drawer`

    @classmethod
    def open(cls, sources: Sources, *encoders: Encoder) -> Snapshot:
        """Open predictor, store and index as they are on disk now; they must not need other encoders than these.

        Raises
        ------
        ConfigError
            Neither predictor nor store is specified.
        FingerprintMismatch
            One of them needs another encoder.
        ModelError, StoreError, SimilarityError, CatalogueError
            A file is missing or damaged.
        """
        if sources.model is None and sources.store is None:
            raise ConfigError("There is nothing to serve: specify a predictor (--model), a store (--store), or both.")
        loaded = {encoder.spec.fingerprint: encoder for encoder in encoders}
        predictor = None
        if sources.model is not None:
            needed = [loaded.get(spec.fingerprint) for spec in read_description(sources.model).specs]
            # Without one of them, `load` says which encoder is needed.
            found = [encoder for encoder in needed if encoder is not None]
            predictor = EnoPredictor.load(sources.model, encoder=found if len(found) == len(needed) else encoders)
        if sources.store is None:
            return cls(encoders, predictor, None, None)
        store = EmbeddingStore.open(sources.store)
        encoder = loaded.get(store.spec.fingerprint, encoders[0])
        store.require(encoder.spec)
        index = SimilarityIndex.open(sources.index or index_folder(store))
        if index.level != "tracks":
            raise ConfigError(f"{index.folder}: is an index of {index.level}; the service needs an index of tracks.")
        root = None if sources.data_root is None else DataRoot(sources.data_root)
        audio_roots = None if sources.audio_roots is None else AudioRoots.of(sources.audio_roots)
        if root is not None and audio_roots is not None:
            audio_roots = replace(audio_roots, sections=read_sections(root.tracks))  # the tables may be new
        elif root is not None and root.audio.is_dir():
            audio_roots = own_audio(root)
        tags = None
        if predictor is not None and sources.model is not None:
            tags = open_tag_table(
                index.folder / "tags",
                sources.model,
                open_stores(sources.joined) if len(predictor.specs) > 1 and sources.joined else store,
                predictor,
                on_predict=lambda: logger.info("predicting the tags of %s, once for this predictor", store.path),
            )
        metadata = metadata_of(index, root)
        sounds = SoundsLike(index, store, encoder=encoder, metadata=metadata, tags=tags, audio_roots=audio_roots)
        for note in sounds.notes:
            logger.warning("%s", note)
        catalogue = TrackCatalogue(sounds.tracks, predictor, audio_roots)
        return cls(encoders, predictor, sounds, catalogue, sources.map_method)

"""What sounds like what in the demo's corpus, and the map of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from eno.data.layout import DataRoot
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.mapping.map import write_map
from eno.similarity.index.build import build_index
from eno.similarity.metadata import TrackMetadata
from eno.similarity.sounds_like import SoundsLike

_NEIGHBOURS = 3


def neighbours_table(data: DataRoot, store: EmbeddingStore, ids: Sequence[str]) -> Table:
    """Find what sounds like some tracks, by a new index of the store.

    Parameters
    ----------
    data : DataRoot
        The corpus.
    store : EmbeddingStore
        Its vectors.
    ids : sequence of str
        Tracks.
    """
    build_index(store)
    sounds = SoundsLike.open(store, data_root=data)
    table = Table(title="what sounds like them, on other albums", box=box.SIMPLE_HEAD, show_lines=True)
    table.add_column("track", ratio=2)
    table.add_column("nearest", ratio=2)
    table.add_column("cosine", justify="right")
    table.add_column("tags of both", ratio=3)
    for track_id in ids:
        for number, found in enumerate(sounds.like(track_id, k=_NEIGHBOURS)):
            own = _short(track_id) if number == 0 else ""
            table.add_row(own, _short(found.track_id), f"{found.score:.2f}", escape(", ".join(found.shared)))
    return table


def draw_map(data: DataRoot, store: EmbeddingStore) -> Path:
    """Draw the map of the corpus, with its tracks to listen to; where it lies."""
    path = data.root / "map.html"
    ids, vectors = store.matrix()
    write_map(path, ids, vectors, metadata=TrackMetadata.read(ids, data).table, audio_roots=data.audio)
    return path


def _short(track_id: str) -> str:
    return escape("/".join(track_id.split("/")[-3:]))

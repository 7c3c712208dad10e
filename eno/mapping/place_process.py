"""Place the tracks of a large collection in a process of its own.

UMAP holds Python's global lock for up to a second at a time, in which a service could not answer. The memory
that UMAP and its compiler need is returned to the system when the process ends.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

from eno.audio.workers.processes import end_with_parent, start_process
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import SimilarityError
from eno.mapping.places import Places, TrackIds, place_indexed
from eno.mapping.projection import Method
from eno.similarity.index.index import SimilarityIndex

_CHECKED_S = 0.5


def place_in_process(
    index: SimilarityIndex,
    store: EmbeddingStore,
    ids: TrackIds,
    *,
    method: Method = "auto",
    on_wait: Callable[[], None] = lambda: None,
) -> Places:
    """Do what `eno.mapping.places.place_indexed` does, in another process.

    The process is ended if `on_wait`, which is called twice a second, raises an exception. A SimilarityError says why
    the other process failed.
    """
    arguments = index.folder, store.path, pa.array(ids, pa.string()), method
    process, receiving = start_process(_work, *arguments, daemon=True)
    try:
        while not receiving.poll(_CHECKED_S):
            on_wait()
        found = receiving.recv()
    except EOFError:
        process.join()
        raise SimilarityError(
            f"The process that places the tracks of the map ended with status {process.exitcode}. It may have run out "
            "of memory."
        ) from None
    finally:
        receiving.close()
        process.terminate()
        process.join()
    if isinstance(found, str):
        raise SimilarityError(f"The tracks of the map cannot be placed: {found}")
    places: Places = found
    return places


def _work(sending: Connection, index: Path, store: Path | str, ids: pa.Array, method: Method) -> None:
    end_with_parent()
    try:
        sending.send(place_indexed(SimilarityIndex.open(index), EmbeddingStore.open(store), ids, method=method))
    except Exception as error:
        sending.send(f"{error}" or type(error).__name__)

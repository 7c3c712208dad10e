"""The demo's embedding stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eno.audio.track_decoding import FileStamp
from eno.audio.windows import WindowPolicy
from eno.console import console, progress
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import Encoder, load_encoder
from eno.errors import EnoError

BOTH = "musicnn-both"
_WINDOWS = WindowPolicy(count=4)  # of tracks of half a minute, in half the time of eight


def embed_corpus(audio: Path, folder: Path, names: Sequence[str]) -> dict[str, EmbeddingStore]:
    """Embed the corpus with the encoders ``stats`` and ``musicnn-<checkpoint>``, into one store each below `folder`.

    Raises
    ------
    EnoError
        A track cannot be embedded, or the user interrupted.
    """
    stores: dict[str, EmbeddingStore] = {}
    # The store of both checkpoints comes first: the others are copied from it, which halves the time.
    for name in sorted(names, key=lambda name: name != BOTH):
        kind, _, checkpoint = name.partition("-")
        encoder = load_encoder(kind, **({"checkpoint": checkpoint} if checkpoint else {}))
        store = EmbeddingStore.open_or_create(folder / encoder.spec.label, encoder.spec, policy=_WINDOWS)
        if BOTH in stores and kind == "musicnn":
            copy_half(stores[BOTH], store, ("mtt", "msd").index(checkpoint))
        _embed(name, audio, encoder, store)
        stores[name] = store
    return {name: stores[name] for name in names}


def copy_half(both: EmbeddingStore, store: EmbeddingStore, half: int) -> None:
    """Copy the vectors of one checkpoint from the store of both, for tracks that are not in `store` yet."""
    missing = sorted(set(both.track_ids()) - set(store.track_ids()))
    if not missing:
        return
    columns = [both.tracks()[name].to_pylist() for name in ("track_id", "size", "mtime_ns", "samples_hash")]
    files = {track_id: FileStamp(*stamp) for track_id, *stamp in zip(*columns, strict=True)}
    ids, starts, vectors = both.windows(missing)
    of_one = np.split(vectors, 2, axis=2)[half]
    with store.writing():
        store.append(ids.tolist(), starts, of_one, files={name: files[name] for name in missing})


def _embed(name: str, audio: Path, encoder: Encoder, store: EmbeddingStore) -> None:
    with progress(name) as show:
        report = embed_folder(audio, encoder, store, on_progress=lambda at: show(at.done, at.total))
    if report.left or report.failed:
        raise EnoError(f"{report.left} tracks left, {report.failed} failed. Run the same command again to continue.")
    console.print(
        f"   {name}: {report.embedded} tracks embedded in {report.seconds:.0f} s, {report.skipped} already done"
    )

"""What is read of large files on disk does not stay in memory."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from eno import tagging
from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import JoinedStores
from eno.similarity.index.vector_file import VectorFile, append_vectors
from eno.similarity.tag_table import TagTable
from eno.tagging import VectorTagger
from tests.fakes import ProjectionEncoder

TRACKS, DIM, AT_ONCE = 8_000, 128, 1_000


def resident(folder):
    """Return how many bytes of the files in a folder are mapped and in memory."""
    total, counted = 0, False
    for line in Path("/proc/self/smaps").read_text(errors="replace").splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            counted = bool(rest) and str(folder) in rest[-1]
        elif first == "Rss:" and counted:
            total += int(rest[0]) * 1024
    return total


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@needs_proc
@pytest.mark.parametrize("stores", [1, 2])
def test_vectors_that_were_read_are_given_back(tmp_path, monkeypatch, stores):
    monkeypatch.setattr(tagging, "_TRACKS_AT_ONCE", AT_ONCE)
    ids = [f"{i:05d}.flac" for i in range(TRACKS)]
    opened = []
    for seed in range(stores):
        spec = ProjectionEncoder(dim=DIM, seed=seed).spec
        opened.append(EmbeddingStore.create(tmp_path / str(seed), spec, policy=WindowPolicy(), dtype="float32"))
        opened[-1].append(ids, np.zeros(TRACKS), np.full((TRACKS, 1, DIM), seed, np.float32))
    store = opened[0] if stores == 1 else JoinedStores(opened)
    tagger = SimpleNamespace(specs=store.specs, head=SimpleNamespace(takes_windows=False))
    held = [resident(tmp_path) for _ in VectorTagger.vector_batches(tagger, store, ids)]
    assert len(held) == TRACKS // AT_ONCE
    assert max(held) < 3 * stores * AT_ONCE * DIM * 4


@needs_proc
def test_tags_of_single_tracks_are_given_back(tmp_path):
    np.save(tmp_path / "tags.npy", np.random.default_rng(0).random((50, 40_000)).astype(np.float16))
    mapped = np.load(tmp_path / "tags.npy", mmap_mode="r")
    table = TagTable(pa.array([]), (), mapped, np.zeros(50))
    places = np.array([3, 39_999])
    found = table.of_tracks(places)
    assert resident(tmp_path) == 0
    assert found.dtype == np.float32 and np.array_equal(found, mapped[:, places])
    assert resident(tmp_path) > 0


@needs_proc
def test_vectors_of_single_tracks_can_be_given_back(tmp_path):
    vectors = np.random.default_rng(0).uniform(-1, 1, (10_000, 128)).astype(np.float32)
    append_vectors(tmp_path / "vectors.i16", 0, 128, [vectors])
    file, rows = VectorFile(tmp_path / "vectors.i16", len(vectors), 128), np.arange(0, 10_000, 100)
    first = file.read(rows)
    assert resident(tmp_path) > 0
    file.forget()
    assert resident(tmp_path) == 0
    assert np.array_equal(file.read(rows), first)

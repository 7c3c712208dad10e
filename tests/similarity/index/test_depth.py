"""The depth of search depends on how many neighbours are wanted and what a filter leaves."""

import numpy as np
import pytest

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.similarity.groups import Groups
from eno.similarity.index.build import build_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.manifest import Manifest
from eno.similarity.index.measure import recall_at
from eno.similarity.indexed import IndexedTracks
from eno.similarity.metadata import TrackMetadata
from eno.similarity.reranking import GroupLimit, rerank
from tests.fakes import ProjectionEncoder

ROWS, DIM, CLUSTERS = 24_000, 24, 120
CLUSTER = np.random.default_rng(0).integers(CLUSTERS, size=ROWS)


@pytest.fixture(scope="module", params=["ivf", "ivfpq"])
def index(request, tmp_path_factory):
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((CLUSTERS, DIM))
    vectors = (centres[CLUSTER] + 0.4 * rng.standard_normal((ROWS, DIM))).astype(np.float32)
    folder = tmp_path_factory.mktemp("depth")
    store = EmbeddingStore.create(folder / "store", ProjectionEncoder(dim=DIM).spec, policy=WindowPolicy(count=1))
    ids = [f"artist {row % 40}/{row:05d}.ogg" for row in range(ROWS)]
    store.append(ids, np.zeros(ROWS), vectors[:, np.newaxis])
    return build_index(store, folder / "index", kind=request.param)


@pytest.fixture(scope="module")
def queries(index):
    return index.vectors(np.arange(0, ROWS, ROWS // 60))


@pytest.fixture
def no_small_subsets(monkeypatch):
    monkeypatch.setattr("eno.similarity.index.ann._SUBSET_ROWS", 0)  # these are compared exhaustively


@pytest.mark.parametrize("k", [1, 10, 11, 50, 100, 400, 1000])
def test_recall_does_not_depend_on_the_number_of_neighbours(index, queries, k):
    true = index.search(queries, k, exact=True)[1]
    assert recall_at(index.search(queries, k)[1], true) >= 0.97


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("chosen", ["random", "far"])
def test_recall_does_not_depend_on_where_a_filter_leaves_tracks(index, queries, no_small_subsets, k, chosen):
    rng = np.random.default_rng(2)
    allowed = rng.random(ROWS) < 0.3 if chosen == "random" else CLUSTER < 0.3 * CLUSTERS
    true = index.search(queries, k, allowed=allowed, exact=True)[1]
    assert recall_at(np.vstack([index.search(q[None], k, allowed=allowed)[1] for q in queries]), true) >= 0.96


@pytest.mark.parametrize("most", [1, 5])
def test_recall_does_not_depend_on_limits_per_artist(index, queries, no_small_subsets, most):
    # The nearest rows of an artist that has enough are excluded, and the search goes on beyond them.
    tracks = IndexedTracks(index, TrackMetadata.read(index.distinct_ids))
    artists = np.arange(ROWS) % 40
    found = []
    for query in queries[:20]:
        limits = [GroupLimit(Groups(artists, np.arange(ROWS + 1)), most)]
        _, rows = rerank(
            lambda n, allowed, q=query: tracks.nearest(q[None], n, allowed), 40, allowed=index.live, limits=limits
        )
        order = index.search(query[None], ROWS, exact=True)[1][0]
        wanted, counts = [], np.zeros(40, int)
        for row in order:
            counts[artists[row]] += 1
            if counts[artists[row]] <= most:
                wanted.append(row)
        found.append(len({*wanted[:40]} & {*rows.tolist()}) / 40)
    assert np.mean(found) >= 0.97


def test_an_index_of_an_earlier_version_searches_more_lists_for_more_neighbours(index, queries):
    manifest = Manifest(**{**vars(index.manifest), "deeper": {}})
    earlier = SimilarityIndex.read(index.folder, manifest)
    assert manifest.probes_for(10) == index.manifest.probes
    assert manifest.probes_for(1000) == 100 * index.manifest.probes
    for k in (50, 400):
        true = earlier.search(queries, k, exact=True)[1]
        assert recall_at(earlier.search(queries, k)[1], true) >= 0.97


def test_the_number_of_lists_grows_with_the_number_of_neighbours():
    fields = dict.fromkeys(("encoder", "fingerprint", "store", "state", "level", "kind", "space", "vectors"), "")
    fields |= {"rows_file": "", "finder": "", "asked": {}, "rows": 0, "built_rows": 0, "generation": 1}
    manifest = Manifest(**fields, probes=3, deeper={"30": 5, "100": 9, "300": 20, "1000": 50})
    assert [manifest.probes_for(k) for k in (0, 1, 10, 30, 100, 1000, 4000)] == [3, 3, 3, 5, 9, 50, 200]
    depths = [manifest.probes_for(k) for k in range(2000)]
    assert depths == sorted(depths)

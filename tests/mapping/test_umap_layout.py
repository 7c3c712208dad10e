"""The layout of UMAP and the graph that it draws."""

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="needs the extra 'map'")

from eno.mapping import umap_layout as layout  # noqa: E402
from eno.mapping.umap_layout import neighbour_graph, umap_layout  # noqa: E402


def ring(count, k):
    """Return the neighbours of points on a circle, and their cosines."""
    offsets = np.array([step for near in range(1, k // 2 + 1) for step in (-near, near)])
    rows = (np.arange(count)[:, np.newaxis] + offsets) % count
    return rows, np.broadcast_to(np.cos(2 * np.pi * np.abs(offsets) / count), rows.shape).astype(np.float32)


def test_memberships_sum_to_the_logarithm_of_the_neighbours():
    rng = np.random.default_rng(0)
    distances = np.sort(rng.random((50, 15)), axis=1)
    weights = layout._memberships(distances.astype(np.float32))
    np.testing.assert_allclose(weights.sum(axis=1), np.log2(16), rtol=1e-4)
    np.testing.assert_allclose(weights[:, 0], 1)
    assert (np.diff(weights, axis=1) <= 0).all()


def test_the_graph_joins_both_directions():
    rows = np.array([[1, 2], [0, 2], [1, 0], [2, 1]])
    distances = np.array([[0.1, 0.3], [0.1, 0.2], [0.2, 0.3], [0.4, 0.4]])
    graph = neighbour_graph(rows, distances).toarray()
    own = np.zeros((4, 4))
    np.put_along_axis(own, rows, layout._memberships(distances.astype(np.float32)), axis=1)
    np.testing.assert_allclose(graph, own + own.T - own * own.T, atol=1e-6)
    np.testing.assert_array_equal(graph, graph.T)
    assert graph[0, 3] == 0


@pytest.mark.parametrize("distance", [0.0, 0.5])
def test_neighbours_at_the_same_distance_all_belong_to_a_track(distance):
    weights = layout._memberships(np.full((3, 15), distance, np.float32))
    np.testing.assert_allclose(weights, 1)


def test_neighbours_on_a_ring_stay_neighbours_whatever_the_number_of_threads(monkeypatch):
    rows, cosines = ring(300, 10)
    start = np.random.default_rng(1).normal(size=(300, 2))
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(layout, "usable_cores", lambda cores=cores: cores)
        found.append(umap_layout(rows, cosines, start=start, seed=0))
    np.testing.assert_array_equal(*found)
    apart = np.linalg.norm(found[0][:, np.newaxis] - found[0], axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1)[:, :10]
    assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(nearest.tolist(), rows.tolist(), strict=True)]) > 0.6

"""The layout of UMAP, for neighbours that are known. It needs Numba, which is an optional dependency."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from eno.cores import usable_cores
from eno.errors import MissingExtra

try:
    import numba
except ImportError as error:
    raise MissingExtra("map", "numba") from error

_SPREAD = 10.0  # of the initial coordinates, the same as that of the reference implementation
_EPOCHS, _MANY_TRACKS, _EPOCHS_OF_MANY = 500, 20_000, 150
_STRANGERS, _REPULSION = 10, 5.0  # drawn for each track in each epoch; weight relative to the attraction
_LONGEST_STEP = 4.0
_BISECTIONS = 40
_AT_ONCE = 50_000
_running = threading.Lock()  # one of Numba's threading layers ends the process if two threads use it at once


def umap_layout(
    rows: np.ndarray,
    cosines: np.ndarray,
    *,
    start: np.ndarray,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Return coordinates [shape=(n, 2), dtype=float32] with which neighbours stay together.

    The cost is that of UMAP [1]_ with similarities of 1 / (1 + d²) in the map, that is with a = b = 1. Unlike the
    reference implementation, each epoch uses all edges with their weights instead of a sample of them, and moves all
    tracks at once, so that the cores share the work and the result does not depend on their number.

    Parameters
    ----------
    rows, cosines : np.ndarray [shape=(n, k)]
        The nearest neighbours of each track, nearest first, and their cosine similarities.
    start : np.ndarray [shape=(n, 2)]
        Initial coordinates; principal components preserve the large-scale structure.
    seed : int
        Seed of the tracks that are drawn to push each one away.
    on_progress : callable
        Called with the number of epochs done and their total.

    References
    ----------
    .. [1] L. McInnes, J. Healy and J. Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018.
    """
    graph = neighbour_graph(rows, np.clip(1 - cosines, 0, 2))
    extent = float(np.abs(start).max()) or 1.0
    jitter = np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)  # separates tracks with equal vectors
    places = (start * (_SPREAD / extent) + jitter).astype(np.float32)
    moved = np.empty_like(places)
    epochs = _EPOCHS if len(places) <= _MANY_TRACKS else _EPOCHS_OF_MANY
    for epoch in range(epochs):
        with _running:
            before = numba.get_num_threads()
            numba.set_num_threads(min(usable_cores(), before))
            rate = np.float32(1 - epoch / epochs)
            _move(places, moved, graph.indptr, graph.indices, graph.data, rate, np.uint64(seed * epochs + epoch))
            numba.set_num_threads(before)
        places, moved = moved, places
        on_progress(epoch + 1, epochs)
    return places


def neighbour_graph(rows: np.ndarray, distances: np.ndarray) -> sparse.csr_array:
    """Return how strongly tracks belong together, from 0 to 1 [shape=(n, n), dtype=float32, symmetric].

    A neighbour at distance d belongs to a track by exp(-(d - nearest) / scale), with a scale for each track that makes
    the sum log₂(k + 1). Two tracks belong together if either one belongs to the other (the probabilistic sum).

    Parameters
    ----------
    rows, distances : np.ndarray [shape=(n, k)]
        The neighbours of each track, nearest first.
    """
    count, k = rows.shape
    weights = np.empty(rows.shape, np.float32)
    for first in range(0, count, _AT_ONCE):
        block = slice(first, first + _AT_ONCE)
        weights[block] = _memberships(distances[block].astype(np.float32))
    own = sparse.csr_array((weights.ravel(), rows.ravel().astype(np.int32), np.arange(0, count * k + 1, k)))
    own.resize((count, count))
    other = own.T.tocsr()
    both: sparse.csr_array = (own + other - own.multiply(other)).tocsr()
    both.sort_indices()  # so that the order of sums is always the same
    return both


def _memberships(distances: np.ndarray) -> np.ndarray:
    beyond = distances - distances[:, :1]
    low, scale = np.zeros((2, len(distances), 1), np.float32)
    high, scale = np.full_like(low, np.inf), scale + 1
    for _ in range(_BISECTIONS):
        too_large = np.exp(-beyond / scale).sum(axis=1, keepdims=True) > np.log2(distances.shape[1] + 1)
        high, low = np.where(too_large, scale, high), np.where(too_large, low, scale)
        scale = np.where(np.isinf(high), 2 * scale, (low + high) / 2)
    # Where many neighbours are equally near, no scale is small enough.
    scale = np.maximum(scale, 1e-3 * distances.mean(axis=1, keepdims=True) + 1e-12)
    weights: np.ndarray = np.exp(-beyond / scale)
    return weights


def _move_all(
    places: np.ndarray,
    moved: np.ndarray,
    starts: np.ndarray,
    others: np.ndarray,
    weights: np.ndarray,
    rate: np.float32,
    seed: np.uint64,
) -> None:
    """Write where all tracks are after one epoch to `moved`."""
    count = len(places)
    for track in numba.prange(count):
        x, y = places[track, 0], places[track, 1]
        total = np.float32(0)
        for edge in range(starts[track], starts[track + 1]):
            other, weight = others[edge], weights[edge]
            dx, dy = places[other, 0] - x, places[other, 1] - y
            # Both ends of an edge move in the reference implementation, hence twice the gradient.
            step = min(np.float32(4) * weight * rate / (1 + dx * dx + dy * dy), np.float32(0.9))
            x += step * dx
            y += step * dy
            total += weight
        scale = rate * np.float32(_REPULSION) * total / np.float32(_STRANGERS)
        state = (seed + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(track) * np.uint64(0xD1B54A32D192ED03)
        for _ in range(_STRANGERS):
            state ^= state << np.uint64(13)  # xorshift64 of G. Marsaglia, 2003
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            other = np.int64(((state >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))
            if other != track:
                dx, dy = x - places[other, 0], y - places[other, 1]
                square = dx * dx + dy * dy
                push = np.float32(2) / ((np.float32(0.001) + square) * (1 + square))
                x += scale * min(max(push * dx, -np.float32(_LONGEST_STEP)), np.float32(_LONGEST_STEP))
                y += scale * min(max(push * dy, -np.float32(_LONGEST_STEP)), np.float32(_LONGEST_STEP))
        moved[track, 0], moved[track, 1] = x, y


_move: Any = numba.njit(parallel=True, fastmath=True, nogil=True)(_move_all)

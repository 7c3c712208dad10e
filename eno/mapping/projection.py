"""Project vectors to two dimensions, by PCA or UMAP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from eno.errors import SimilarityError, UnknownName
from eno.similarity.index.neighbours import nearest_others
from eno.similarity.index.statistics import VALUES_AT_ONCE
from eno.views import MappedView, RowView, forget

Method = Literal["auto", "pca", "umap"]
METHODS: tuple[Method, ...] = ("auto", "pca", "umap")
"""``auto`` is UMAP if it is installed and there are at least 50 tracks, otherwise PCA."""

UMAP_NEIGHBOURS = 15
"""Number of neighbours per track that UMAP keeps close."""

_NO_VARIANCE = 1e-12
_SAMPLED = 50_000  # tracks, evenly spaced, whose principal components are used
_ENOUGH = 50  # with fewer tracks UMAP's layout depends mostly on its initialisation


@dataclass(frozen=True)
class Projection:
    """Coordinates in two dimensions [shape=(n, 2), dtype=float32], with the same scale on both axes."""

    coordinates: np.ndarray
    method: str  # "pca" or "umap"
    explained: tuple[float, ...] = ()  # fraction of the variance along each axis; empty for UMAP


def choose_method(method: Method, tracks: int) -> Method:
    """Resolve ``"auto"`` for a number of tracks; raises a SimilarityError if they are too few."""
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if tracks == 0:
        raise SimilarityError("There are no tracks to draw a map of.")
    if method == "umap" and tracks <= UMAP_NEIGHBOURS:
        raise SimilarityError(f"UMAP needs more than {UMAP_NEIGHBOURS} tracks, found {tracks}. Use the method pca.")
    if method == "auto":
        return "umap" if tracks >= _ENOUGH and find_spec("umap") is not None else "pca"
    return method


def project(
    vectors: np.ndarray | MappedView,
    neighbours: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    method: Method = "auto",
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Projection:
    """Project vectors to two dimensions.

    Parameters
    ----------
    vectors : np.ndarray or MappedView [shape=(n, dim)]
        Unit vectors; a view is read in blocks. They should not be whitened, because whitening makes all directions
        equally important.
    neighbours : tuple of np.ndarray [shape=(n, k)], optional
        Rows and cosine similarities of the neighbours that UMAP keeps close, possibly found in another space; by
        default the nearest neighbours among `vectors`.
    method : {"auto", "pca", "umap"}
        PCA [1]_ preserves distances along the first two principal components. UMAP [2]_ keeps neighbours together;
        distances between groups mean little.
    seed : int
        Only used by UMAP.
    on_progress : callable
        Called with the number of UMAP's epochs done and their total.

    Raises
    ------
    SimilarityError
        There are no vectors, or too few for UMAP.
    MissingExtra
        UMAP was requested and is not installed.

    References
    ----------
    .. [1] H. Hotelling, "Analysis of a complex of statistical variables into principal components", 1933.
    .. [2] L. McInnes, J. Healy and J. Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018.
    """
    method = choose_method(method, len(vectors))
    principal = _principal(vectors)
    if method == "pca":
        return principal
    from eno.mapping.umap_layout import umap_layout

    neighbours = neighbours or nearest_others(vectors, UMAP_NEIGHBOURS)[::-1]
    coordinates = umap_layout(*neighbours, start=principal.coordinates, seed=seed, on_progress=on_progress)
    return Projection(coordinates, "umap")


def _principal(vectors: np.ndarray | MappedView) -> Projection:
    rows, dim = vectors.shape
    axes = min(2, rows - 1, dim)
    coordinates = np.zeros((rows, 2), np.float32)
    if axes == 0:
        return Projection(coordinates, "pca", (0.0, 0.0))
    sample = np.arange(0, rows, -(-rows // _SAMPLED))
    total, products = np.zeros(dim), np.zeros((dim, dim))
    for _, block in _blocks(RowView(vectors, sample)):
        total += block.sum(axis=0)
        products += block.T @ block
    mean = total / len(sample)
    variances, loadings = np.linalg.eigh(products / len(sample) - np.outer(mean, mean))  # in ascending order
    variances, loadings = np.maximum(variances[::-1], 0), loadings[:, ::-1][:, :axes]
    largest = loadings[np.abs(loadings).argmax(axis=0), np.arange(axes)]
    loadings = loadings * np.where(largest < 0, -1, 1)  # the sign is arbitrary, and should not depend on rounding
    for part, block in _blocks(vectors):
        coordinates[part, :axes] = (block - mean) @ loadings
    if variances.sum() <= _NO_VARIANCE:  # identical vectors
        return Projection(np.zeros((rows, 2), np.float32), "pca", (0.0, 0.0))
    shares = (variances[:axes] / variances.sum()).tolist()
    return Projection(coordinates, "pca", (*shares, 0.0)[:2])


def _blocks(vectors: np.ndarray | MappedView | RowView) -> Iterator[tuple[slice, np.ndarray]]:
    step = max(1, VALUES_AT_ONCE // vectors.shape[1])
    for first in range(0, len(vectors), step):
        part = slice(first, first + step)
        yield part, np.asarray(vectors[part], np.float64)
        forget(vectors)

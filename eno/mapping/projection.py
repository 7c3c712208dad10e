"""Project vectors to two dimensions, by PCA or UMAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from sklearn.decomposition import PCA

from eno.errors import SimilarityError, UnknownName
from eno.similarity.index.vector_file import nearest_others

Method = Literal["auto", "pca", "umap"]
METHODS: tuple[Method, ...] = ("auto", "pca", "umap")
"""``auto`` is UMAP if it is installed and there are at least 50 tracks, otherwise PCA."""

UMAP_NEIGHBOURS = 15
"""Number of neighbours per track that UMAP keeps close."""

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
    vectors: np.ndarray,
    neighbours: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    method: Method = "auto",
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Projection:
    """Project vectors to two dimensions.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, dim)]
        Unit vectors. They should not be whitened, because whitening makes all directions equally important.
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


def _principal(vectors: np.ndarray) -> Projection:
    axes = min(2, len(vectors) - 1, vectors.shape[1])
    if axes == 0:
        return Projection(np.zeros((len(vectors), 2), np.float32), "pca", (0.0, 0.0))
    pca = PCA(axes, svd_solver="covariance_eigh" if len(vectors) > vectors.shape[1] else "full")
    coordinates = np.zeros((len(vectors), 2), np.float32)
    with np.errstate(invalid="ignore"):  # identical vectors have no variance
        coordinates[:, :axes] = pca.fit_transform(np.asarray(vectors, np.float64))
    shares = np.nan_to_num(pca.explained_variance_ratio_).tolist()
    return Projection(coordinates, "pca", (*shares, 0.0)[:2])

"""From vectors to a plane: where each track stands on the map, and who its neighbours were before."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from sklearn.decomposition import PCA

from eno.errors import SimilarityError, UnknownName
from eno.similarity.index.vector_file import nearest_others

Method = Literal["auto", "pca", "umap"]
METHODS: tuple[Method, ...] = ("auto", "pca", "umap")
"""Ways to lay vectors out; auto is UMAP where it is installed and there are tracks enough."""

UMAP_NEIGHBOURS = 15
"""How many neighbours of a track UMAP keeps close."""

_ENOUGH = 50  # of fewer tracks UMAP's picture says more about its start than about them


@dataclass(frozen=True)
class Projection:
    """Vectors laid out on a plane.

    Attributes
    ----------
    coordinates : np.ndarray [shape=(n, 2), dtype=float32]
        Both axes have the same scale.
    method : str
        ``"pca"`` or ``"umap"``.
    explained : tuple of float
        The share of the variance that lies along each axis; empty for UMAP, whose axes mean nothing.
    """

    coordinates: np.ndarray
    method: str
    explained: tuple[float, ...] = ()


def project(
    vectors: np.ndarray,
    neighbours: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    method: Method = "auto",
    seed: int = 0,
) -> Projection:
    """Lay vectors out on a plane.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, dim)]
        One a track, of length 1. Not whitened ones: where all directions matter the same, no two matter most.
    neighbours : tuple of np.ndarray [shape=(n, k)], optional
        What UMAP shall keep together: rows and cosines, by default among `vectors`. They
        may be found in another space, also in a whitened one.
    method : {"auto", "pca", "umap"}
        Principal components [1]_ show the two directions in which the collection varies most, and distances along
        them are true. UMAP [2]_ keeps neighbours together; how far groups are from each other says little.
    seed : int
        For UMAP; PCA draws nothing at random.

    Raises
    ------
    SimilarityError
        There are no vectors, or too few for UMAP.
    MissingExtra
        UMAP is asked for and not installed.

    References
    ----------
    .. [1] H. Hotelling, "Analysis of a complex of statistical variables into principal components", 1933.
    .. [2] L. McInnes, J. Healy and J. Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if len(vectors) == 0:
        raise SimilarityError("There are no tracks to draw a map of.")
    if method == "auto":
        method = "umap" if len(vectors) >= _ENOUGH and find_spec("umap") is not None else "pca"
    if method == "umap" and len(vectors) <= UMAP_NEIGHBOURS:
        raise SimilarityError(
            f"UMAP needs more than {UMAP_NEIGHBOURS} tracks, there are {len(vectors)}. Use the method pca."
        )
    principal = _principal(vectors)
    if method == "pca":
        return principal
    from eno.mapping.umap_layout import lay_out

    neighbours = neighbours or nearest_others(vectors, UMAP_NEIGHBOURS)[::-1]
    return Projection(lay_out(*neighbours, start=principal.coordinates, seed=seed), "umap")


def _principal(vectors: np.ndarray) -> Projection:
    axes = min(2, len(vectors) - 1, vectors.shape[1])
    if axes == 0:
        return Projection(np.zeros((len(vectors), 2), np.float32), "pca", (0.0, 0.0))
    pca = PCA(axes, svd_solver="covariance_eigh" if len(vectors) > vectors.shape[1] else "full")
    coordinates = np.zeros((len(vectors), 2), np.float32)
    with np.errstate(invalid="ignore"):  # vectors that are all the same vary along no axis
        coordinates[:, :axes] = pca.fit_transform(np.asarray(vectors, np.float64))
    shares = np.nan_to_num(pca.explained_variance_ratio_).tolist()
    return Projection(coordinates, "pca", (*shares, 0.0)[:2])

"""UMAP, which is an extra."""

from __future__ import annotations

import warnings

import numpy as np

from eno.errors import MissingExtra

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses TensorFlow, of which nothing here makes use
        import umap
except ImportError as error:
    raise MissingExtra("map", "umap-learn") from error

_SPREAD = 10.0  # of the start, as UMAP scales its own


def lay_out(rows: np.ndarray, cosines: np.ndarray, *, start: np.ndarray, seed: int) -> np.ndarray:
    """Lay tracks out so that neighbours stay together.

    Parameters
    ----------
    rows : np.ndarray [shape=(n, k), dtype=int64]
        The nearest others of each.
    cosines : np.ndarray [shape=(n, k)]
        Their similarities.
    start : np.ndarray [shape=(n, 2)]
        Where to begin; principal components keep the large groups where they belong.
    seed : int
        The same seed gives the same picture.

    Returns
    -------
    np.ndarray [shape=(n, 2), dtype=float32]
    """
    itself = np.arange(len(rows))[:, np.newaxis]
    known = np.hstack([itself, rows]), np.hstack([np.zeros_like(itself, np.float32), np.clip(1 - cosines, 0, 2)])
    extent = float(np.abs(start).max()) or 1.0
    # Tracks with one and the same vector would otherwise never part.
    jitter = np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)
    layout = umap.UMAP(
        n_neighbors=known[0].shape[1],
        metric="cosine",
        init=(start * (_SPREAD / extent) + jitter).astype(np.float32),
        precomputed_knn=known,
        random_state=seed,
        n_jobs=1,
    )
    # With neighbours and a start of ours, UMAP has no use for the vectors themselves.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*knn_search_index.*")  # nothing is added to the map later
        return np.asarray(layout.fit_transform(start), np.float32)

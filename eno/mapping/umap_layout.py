"""UMAP, which is an optional dependency."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable

import numpy as np

from eno.errors import MissingExtra

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TensorFlow, which is not used here
        import umap
except ImportError as error:
    raise MissingExtra("map", "umap-learn") from error

_SPREAD = 10.0  # of the initial coordinates, the same as UMAP's own


class _EpochSink(io.TextIOBase):
    """Passes the numbers that tqdm writes to a callback."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self._on_progress = on_progress

    def write(self, text: str) -> int:
        numbers = [int(word) for word in text.split() if word.isdigit()]
        if len(numbers) == 2:
            self._on_progress(*numbers)
        return len(text)


def umap_layout(
    rows: np.ndarray,
    cosines: np.ndarray,
    *,
    start: np.ndarray,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Return coordinates [shape=(n, 2), dtype=float32] with which neighbours stay together.

    Parameters
    ----------
    rows, cosines : np.ndarray [shape=(n, k)]
        The nearest neighbours of each track, and their cosine similarities.
    start : np.ndarray [shape=(n, 2)]
        Initial coordinates; principal components preserve the large-scale structure.
    on_progress : callable
        Called with the number of epochs done and their total.
    """
    itself = np.arange(len(rows))[:, np.newaxis]
    known = np.hstack([itself, rows]), np.hstack([np.zeros_like(itself, np.float32), np.clip(1 - cosines, 0, 2)])
    extent = float(np.abs(start).max()) or 1.0
    jitter = np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)  # separates tracks with equal vectors
    layout = umap.UMAP(
        n_neighbors=known[0].shape[1],
        metric="cosine",
        init=(start * (_SPREAD / extent) + jitter).astype(np.float32),
        precomputed_knn=known,
        random_state=seed,
        n_jobs=1,
        verbose=True,  # for the progress bar; other messages are discarded below
        tqdm_kwds={"file": _EpochSink(on_progress), "bar_format": "{n_fmt} {total_fmt}", "mininterval": 0.5},
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", message=".*knn_search_index.*")  # only needed to add tracks to the layout
        # With known neighbours and initial coordinates, UMAP does not use the vectors, so any array will do.
        return np.asarray(layout.fit_transform(start), np.float32)

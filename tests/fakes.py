"""Fakes that keep tests fast."""

import time
from functools import partial

import numpy as np

from eno.audio.workers.pool import WorkerPool
from eno.spec import EncoderSpec


class ProjectionEncoder:
    """Random but fixed projections of windows of half a second at 8 kHz."""

    def __init__(self, dim: int = 6, layers: int = 1, seed: int = 0) -> None:
        self.projection = np.random.default_rng(seed).standard_normal((4000, layers * dim)).astype(np.float32)
        self.spec = EncoderSpec(
            name="projection",
            options={"seed": seed},
            revision="1",
            weights_sha256=f"{seed:064x}",
            sample_rate=8000,
            window_samples=4000,
            layers=tuple(f"layer {i}" for i in range(layers)),
            pooling="none",
            dim=dim,
        )

    def encode(self, windows: np.ndarray) -> np.ndarray:
        return (windows @ self.projection).reshape(len(windows), len(self.spec.layers), self.spec.dim)


def with_hanging_files(pool: WorkerPool) -> WorkerPool:
    """Let the pool hang at files whose name ends with "hangs", as a decoder may at a damaged file."""
    pool._settings = pool._settings._replace(work=partial(_hang_or_work, pool._settings.work))
    return pool


def _hang_or_work(work, task):
    while "hangs." in str(task):
        time.sleep(0.02)
    return work(task)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors to length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def three_groups() -> np.ndarray:
    """Return 60 unit vectors of 24 values in three groups, every third of them in the same one."""
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(3, 24))[np.arange(60) % 3] + 0.3 * rng.normal(size=(60, 24)))

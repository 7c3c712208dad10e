"""Encode many files: threads decode ahead, and batches of several files are encoded together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from eno.cores import usable_cores
from eno.errors import AudioError

_MAX_THREADS = 8  # more would only wait for the encoder

Encoded = tuple[Path, np.ndarray | AudioError]


def encode_files(
    paths: Iterable[Path | str],
    *,
    read: Callable[[Path], np.ndarray],
    encode: Callable[[np.ndarray], np.ndarray],
    batch_windows: int,
    threads: int | None = None,
) -> Generator[list[Encoded], None, None]:
    """Encode files in batches; yields lists of files in their order, each with its vectors or an AudioError.

    Parameters
    ----------
    paths : iterable of Path or str
        Consumed lazily, two files ahead per thread.
    read : callable
        File → windows [shape=(n, window_samples)]; may raise AudioError.
    encode : callable
        Windows → vectors [shape=(n, layers, dim)].
    batch_windows : int
        Minimum number of windows in a batch. The windows of a file stay together.
    threads : int, optional
        Decoding threads; by default one per core, at most 8.
    """
    threads = min(usable_cores(), _MAX_THREADS) if threads is None else threads
    if batch_windows < 1 or threads < 1:
        raise ValueError(f"batch_windows is {batch_windows} and threads is {threads}; both must be at least 1.")
    remaining = (Path(path) for path in paths)
    decoding: deque[tuple[Path, Future[np.ndarray]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        batch: list[Encoded] = []
        gathered = 0
        while True:
            for path in islice(remaining, 2 * threads - len(decoding)):
                decoding.append((path, pool.submit(read, path)))
            if not decoding:
                break
            path, future = decoding.popleft()
            try:
                windows = future.result()
                gathered += len(windows)
                batch.append((path, windows))
            except AudioError as error:
                batch.append((path, error))
            if gathered >= batch_windows:
                yield _encoded(batch, encode)
                batch, gathered = [], 0
        if batch:
            yield _encoded(batch, encode)
    finally:
        pool.shutdown(cancel_futures=True)


def _encoded(batch: list[Encoded], encode: Callable[[np.ndarray], np.ndarray]) -> list[Encoded]:
    readable = [windows for _, windows in batch if not isinstance(windows, AudioError)]
    if not readable:
        return batch
    vectors = encode(np.concatenate(readable))
    parts = iter(np.split(vectors, np.cumsum([len(windows) for windows in readable])[:-1]))
    return [(path, found if isinstance(found, AudioError) else next(parts)) for path, found in batch]

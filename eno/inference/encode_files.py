"""Many files at once: decoded in threads, encoded together, in the order in which they were named."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from eno.cores import usable_cores
from eno.errors import AudioError

_MAX_THREADS = 8  # more of them only wait for the encoder

Encoded = tuple[Path, np.ndarray | AudioError]


def encode_files(
    paths: Iterable[Path | str],
    *,
    read: Callable[[Path], np.ndarray],
    encode: Callable[[np.ndarray], np.ndarray],
    batch_windows: int,
    threads: int | None = None,
) -> Generator[list[Encoded], None, None]:
    """Decode files ahead in threads, and encode the windows of several together.

    Parameters
    ----------
    paths : iterable of Path or str
        Audio files; taken only as far ahead as there are threads for.
    read : callable
        File → windows [shape=(n, window_samples)]; raises AudioError.
    encode : callable
        Windows → vectors [shape=(n, layers, dim)].
    batch_windows : int
        As soon as there are so many, they are encoded. The windows of a file stay together.
    threads : int, optional
        How many decode: as many as there are processor cores, at most 8.

    Yields
    ------
    list of (Path, np.ndarray or AudioError)
        Files in their order: the vectors of their windows, or why there are none.

    Raises
    ------
    ValueError
        `batch_windows` or `threads` is below 1.
    """
    threads = min(usable_cores(), _MAX_THREADS) if threads is None else threads
    if batch_windows < 1 or threads < 1:
        raise ValueError(f"batch_windows is {batch_windows} and threads {threads}; each must be at least 1.")
    names = (Path(path) for path in paths)
    waiting: deque[tuple[Path, Future[np.ndarray]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        batch: list[Encoded] = []
        gathered = 0
        while True:
            for path in islice(names, 2 * threads - len(waiting)):
                waiting.append((path, pool.submit(read, path)))
            if not waiting:
                break
            path, decoding = waiting.popleft()
            try:
                windows = decoding.result()
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
    heard = [windows for _, windows in batch if not isinstance(windows, AudioError)]
    if not heard:
        return batch
    vectors = encode(np.concatenate(heard))
    parts = iter(np.split(vectors, np.cumsum([len(windows) for windows in heard])[:-1]))
    return [(path, found if isinstance(found, AudioError) else next(parts)) for path, found in batch]

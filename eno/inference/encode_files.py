"""Encode many files: threads decode ahead, and batches of several files are encoded together.

A file with too many windows to hold in memory is decoded and encoded in blocks, on its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from eno.cores import usable_cores
from eno.errors import AudioError

_MAX_THREADS = 8  # more would only wait for the encoder

Arrays = Sequence[np.ndarray]  # windows or vectors of a file, one array per encoder
Encoded = tuple[Path, Arrays | AudioError]


def encode_files(
    paths: Iterable[Path | str],
    *,
    read: Callable[[Path], Arrays | None],
    encode_long: Callable[[Path], Arrays],
    encoders: Sequence[Callable[[np.ndarray], np.ndarray]],
    batch_windows: int,
    threads: int | None = None,
) -> Generator[list[Encoded], None, None]:
    """Encode files in batches; yields lists of files in their order, each with its vectors or an AudioError.

    Parameters
    ----------
    paths : iterable of Path or str
        Consumed lazily, two files ahead per thread.
    read : callable
        File → windows for each encoder [shape=(n, window_samples)], or None if there are too many to hold; may raise
        AudioError.
    encode_long : callable
        File for which `read` returned None → vectors for each encoder [shape=(n, layers, dim)]; may raise AudioError.
    encoders : sequence of callable
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
    decoding: deque[tuple[Path, Future[Arrays | None]]] = deque()
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
                if windows is None:
                    if batch:
                        yield _encoded(batch, encoders)
                    batch, gathered = [], 0
                    yield [(path, encode_long(path))]
                    continue
                gathered += sum(map(len, windows))
                batch.append((path, windows))
            except AudioError as error:
                batch.append((path, error))
            if gathered >= batch_windows:
                yield _encoded(batch, encoders)
                batch, gathered = [], 0
        if batch:
            yield _encoded(batch, encoders)
    finally:
        pool.shutdown(cancel_futures=True)


def decoded_ahead(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield blocks of windows, while a thread already decodes the next one."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        following = pool.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, blocks, None)
            yield block


def _encoded(batch: list[Encoded], encoders: Sequence[Callable[[np.ndarray], np.ndarray]]) -> list[Encoded]:
    readable = [windows for _, windows in batch if not isinstance(windows, AudioError)]
    if not readable:
        return batch
    of_encoders = []
    for encode, windows in zip(encoders, zip(*readable, strict=True), strict=True):
        ends = np.cumsum([len(one) for one in windows])[:-1]
        of_encoders.append(np.split(encode(np.concatenate(windows)), ends))
    parts = iter(zip(*of_encoders, strict=True))
    return [(path, found if isinstance(found, AudioError) else next(parts)) for path, found in batch]
